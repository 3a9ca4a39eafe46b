"""motionseek index"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from motionseek.cli._common import archive_option, as_json, emit, example, index_progress, table


@click.command("index")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@archive_option
@click.option("--model", "-m", "models", multiple=True, default=("starter",), show_default=True, help="Name or folder.")
@click.option("--format", default="auto", show_default=True, help="Format of the sources.")
@click.option("--window", "window_s", type=float, default=5.0, show_default=True, help="Length of a window, seconds.")
@click.option("--stride", "stride_s", type=float, default=1.0, show_default=True, help="Seconds between windows.")
@as_json
@example("motionseek index ~/gopro recordings/walk/recording.json --archive archive")
def verb(
    sources: tuple[str, ...],
    archive: Path,
    models: tuple[str, ...],
    format: str,
    window_s: float,
    stride_s: float,
    as_json: bool,
) -> None:
    """Index recordings: files, folders, or manifests (recording.json).

    What the archive knows already is skipped. A file that cannot be read is listed with its reason, the others go on,
    and the exit code is 1.
    """
    from motionseek.indexer.pipeline import index

    with index_progress() as progress:
        report = index(
            sources, archive, models=models, format=format, window_s=window_s, stride_s=stride_s, progress=progress
        )
    if as_json:
        emit(report.to_json())
    else:
        click.echo(
            f"{report.indexed} recordings indexed ({report.recorded_s / 60:.1f} min, {report.windows} windows) in "
            f"{report.seconds:.1f} s, {report.skipped} known already, {len(report.partial)} partial, "
            f"{len(report.failed)} failed"
        )
        if report.failed or report.partial:
            rows = [("failed", *row) for row in report.failed] + [("partial", *row) for row in report.partial]
            table("", ("status", "source", "reason"), rows)
    sys.exit(1 if report.failed else 0)
