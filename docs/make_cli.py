"""Writes docs/cli.md from the live command line:  python docs/make_cli.py"""

from __future__ import annotations

from pathlib import Path

import click

from motionseek.cli import cli

PAGE = Path(__file__).with_name("cli.md")


def page() -> str:
    """The help of every verb, as Markdown."""
    parts = ["# The command line", "Made from `motionseek --help` by `docs/make_cli.py`; do not edit."]
    parts += _section(cli, "motionseek", None, 2)
    return "\n\n".join(parts) + "\n"


def _section(command: click.Command, name: str, parent: click.Context | None, depth: int) -> list[str]:
    settings = {**command.context_settings, "max_content_width": 100, "terminal_width": 100}
    context = click.Context(command, info_name=name, parent=parent, **settings)
    parts = [f"{'#' * depth} {context.command_path}", f"```\n{command.get_help(context).strip()}\n```"]
    if isinstance(command, click.Group):
        for verb in command.list_commands(context):
            child = command.get_command(context, verb)
            assert child is not None
            parts += _section(child, verb, context, depth + 1)
    return parts


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
