"""The command line: one verb, one file, one library call."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from io import TextIOWrapper
from typing import Any

import click

from motionseek.cli._common import emit
from motionseek.errors import MotionseekError

VERBS = (
    "demo",
    "index",
    "recordings",
    "search",
    "export",
    "log",
    "ask",
    "sync",
    "find",
    "audit",
    "locate",
    "models",
    "train",
    "tune",
    "verify",
    "remove",
)


class Verbs(click.Group):
    """A group whose verbs are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        verb: click.Command = import_module(f"motionseek.cli.{cmd_name}").verb
        return verb

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            # Whoever read the output has seen enough, which click would call a failure; nothing may be written to it
            # at exit either.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise click.exceptions.Exit(0) from error


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(version("motionseek"), prog_name="motionseek")
def cli() -> None:
    """The search engine for motion: find moments across wearable IMU, video, body pose and text.

    Every verb has --json, which prints one JSON object; progress goes to stderr. The exit code is 0 when all is done,
    1 when some of it failed and is listed, 2 when the call is wrong.
    """


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    given = list(sys.argv[1:] if args is None else args)
    for stream in (sys.stdout, sys.stderr):
        # Latin-1 has no arrow, and no name in another script: they are a question mark there, not the end.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        code = cli.main(args=given, prog_name="motionseek", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        sys.exit(2)
    except click.ClickException as error:
        error.show()
        _as_json(given, type(error).__name__, error.format_message())
        sys.exit(2)
    except MotionseekError as error:
        click.echo(f"Error: {error}", err=True)
        _as_json(given, type(error).__name__, str(error))
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(130)
    except OSError as error:
        # A full disk, a folder that may not be looked into: the system says what and where.
        click.echo(f"Error: {error}", err=True)
        _as_json(given, type(error).__name__, str(error))
        sys.exit(2)
    sys.exit(code if isinstance(code, int) else 0)


def _as_json(given: Sequence[str], kind: str, message: str) -> None:
    if "--json" in given:
        emit({"error": {"type": kind, "message": message}})
