"""motionseek export"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from motionseek.cli._common import FILE, archive_option, as_json, emit, example
from motionseek.cli._query import answer, query_options

if TYPE_CHECKING:
    from motionseek.search.export import TableFormat


@click.command("export")
@query_options
@click.option("--hits", type=FILE, metavar="FILE", help="An answer that `search --json` printed, in place of a query.")
@click.option("--out", "-o", type=FILE, required=True, help="A new folder; it appears whole, or not at all.")
@click.option("--around", "around_s", type=click.FloatRange(min=0), default=0.0, help="Seconds kept on each side.")
@click.option("--clips/--no-clips", default=True, show_default=True, help="Cut the film.")
@click.option("--sensors/--no-sensors", default=True, show_default=True, help="Cut the worn sensors.")
@click.option(
    "--format",
    "formats",
    type=click.Choice(("json", "csv", "parquet")),
    multiple=True,
    help="Of the table of hits; repeat for several.  [default: all]",
)
@archive_option
@as_json
@example(
    'motionseek export "jumping" --k 5 --out jumps',
    "motionseek search jumping --json > hits.json && motionseek export --hits hits.json --out jumps",
)
def verb(
    hits: Path | None,
    out: Path,
    around_s: float,
    clips: bool,
    sensors: bool,
    formats: tuple[TableFormat, ...],
    archive: str,
    as_json: bool,
    **asked: Any,
) -> None:
    """Write the moments that a query finds: the clip, the sensors' slices, and a table of the hits.

    Takes the query as search does, or its saved answer. Clips are encoded anew, so that they begin and end exactly
    with the moment. Exit code 1 where a recording could not be read again; the table holds its moments all the same.
    """
    from motionseek.errors import UsageError
    from motionseek.search.archive import open as open_archive
    from motionseek.search.export import TABLE_FORMATS, export, read_hits

    if hits is not None:
        if any(asked[name] for name in ("text", "imus", "pose", "video", "likes", "nots")):
            raise UsageError("give a query, or --hits with a saved answer, not both")
        opened, moments = open_archive(archive), read_hits(hits)
    else:
        opened, _, found = answer(archive, **asked)
        moments = found.moments

    def tell(done: int, total: int) -> None:
        click.echo(f"\r{done} of {total} moments", nl=done == total, err=True)

    written = export(
        opened,
        moments,
        out,
        clips=clips,
        sensors=sensors,
        around_s=around_s,
        formats=formats or TABLE_FORMATS,
        progress=tell if sys.stderr.isatty() else None,
    )
    if as_json:
        emit(written.to_json())
    else:
        click.echo(f"{written.moments} moments, {len(written.files)} files in {written.folder}")
        for rank, reason in written.failed:
            click.echo(f"moment {rank}: {reason}", err=True)
    sys.exit(1 if written.failed else 0)
