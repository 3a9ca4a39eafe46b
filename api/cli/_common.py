"""What the verbs share: options, output, progress."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from motionseek.indexer.pipeline import Progress

Verb = TypeVar("Verb", bound=Callable[..., Any])
WIDEST = 10_000
FILE = click.Path(path_type=Path)

as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object, and nothing else, on stdout.")
archive_option = click.option(
    "--archive",
    "-a",
    default="archive",
    show_default=True,
    envvar="MOTIONSEEK_ARCHIVE",
    metavar="FOLDER|s3://…",
    help="Where the archive lies.",
)


def _units(_context: click.Context, _option: click.Parameter, given: str) -> dict[str, str]:
    """ "acc=g,gyro=deg/s" → what is in which unit; the readers check the names."""
    pairs = [pair.partition("=") for pair in given.split(",") if pair.strip()]
    return {what.strip(): unit.strip() for what, _, unit in pairs}


units_option = click.option(
    "--units",
    default="",
    callback=_units,
    metavar="acc=g,gyro=deg/s,time=ms",
    help="What plain sensor files are in.  [default: m/s², rad/s, s]",
)


def example(*lines: str) -> Callable[[Verb], Verb]:
    """Ends the help of a verb with an example."""

    def add(verb: Verb) -> Verb:
        verb.__doc__ = f"{verb.__doc__}\n\n    \b\n    Example:\n" + "\n".join(f"      {line}" for line in lines)
        return verb

    return add


def emit(said: Mapping[str, Any]) -> None:
    """One JSON object on stdout; in ASCII where that takes no UTF-8."""
    utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    click.echo(json.dumps(said, ensure_ascii=not utf8, allow_nan=False))


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Rows on stdout, as wide as the terminal allows; where it is a file, each on a line of its own."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDEST)
    drawn = Table(title=title or None, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for column in columns:
        drawn.add_column(column, overflow="fold", justify="right" if column.endswith(("_s", "score", "#")) else "left")
    for row in rows:
        drawn.add_row(*(Text(" ".join(str(cell).splitlines())) for cell in row))
    with console.capture() as capture:
        console.print(drawn)
    click.echo("\n".join(line.rstrip() for line in capture.get().splitlines()))


@contextmanager
def index_progress() -> Iterator[Progress]:
    """A bar on stderr that `index` can report to."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    from motionseek.indexer.pipeline import Event

    console = Console(stderr=True, highlight=False)
    rate = TextColumn("{task.fields[rate]}")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn())
    started, recorded_s, failures = time.monotonic(), 0.0, 0
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("looking for recordings", total=None, rate="")

        def tell(event: Event) -> None:
            nonlocal recorded_s, failures
            if event.stage == "recording":
                recorded_s, failures = recorded_s + event.seconds, failures + (event.status == "failed")
            rate = f"{recorded_s / (time.monotonic() - started):.0f}× real time"
            rate += f", {failures} failed" if failures else ""
            words = {"found": "indexing", "recording": "indexing", "writing": "writing", "building": "building indexes"}
            does = words.get(event.stage, "done")
            if event.stage == "piece":
                does = f"{Path(event.uri).name}: {event.seconds / 60:.0f} min"
            bar.update(task, description=does, total=event.total, completed=event.done, rate=rate)
            if event.status in ("failed", "partial"):
                console.print(f"{event.status}: {event.uri}: {event.reason}", markup=False)

        yield tell
