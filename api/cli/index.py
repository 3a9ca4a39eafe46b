"""motionseek index"""

from __future__ import annotations

import sys
from contextlib import ExitStack

import click

from motionseek.cli._common import archive_option, as_json, emit, example, index_progress, table, units_option
from motionseek.cli._events import event_lines


@click.command("index")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@archive_option
@click.option("--model", "-m", "models", multiple=True, default=("starter",), show_default=True, help="Name or folder.")
@click.option("--format", default="auto", show_default=True, help="Format of the sources.")
@units_option
@click.option("--window", "window_s", type=float, default=5.0, show_default=True, help="Length of a window, seconds.")
@click.option("--stride", "stride_s", type=float, default=1.0, show_default=True, help="Seconds between windows.")
@click.option(
    "--pose",
    default="none",
    metavar="auto|blazepose|rtmpose|none",
    show_default=True,
    help="Find people in videos without keypoints; rtmpose:FOLDER takes its models from there.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be done; write nothing.")
@click.option("--limit", type=click.IntRange(min=1), help="Stop after so many recordings that are not known.")
@click.option("--retry", is_flag=True, help="Try files again that could not be read before.")
@click.option("--replace", is_flag=True, help="Empty spaces that another model fills, and encode everything again.")
@click.option("--events", metavar="FILE", help="Write what happens as JSON lines to FILE, or to stdout for -.")
@click.option("--workers", type=click.IntRange(min=0), default=0, help="Reader processes; as many as cores, at most 4.")
@click.option("--timeout", "timeout_s", type=float, default=600.0, show_default=True, help="Of a silent reader, s.")
@click.option("--memory", "memory_gb", type=float, default=4.0, show_default=True, help="Of each reader, GiB.")
@as_json
@example(
    "motionseek index ~/gopro recordings/walk/recording.json --archive archive",
    "motionseek index ~/ego4d --archive archive --dry-run",
)
def verb(
    sources: tuple[str, ...],
    archive: str,
    models: tuple[str, ...],
    format: str,
    units: dict[str, str],
    window_s: float,
    stride_s: float,
    pose: str,
    dry_run: bool,
    limit: int | None,
    retry: bool,
    replace: bool,
    events: str | None,
    workers: int,
    timeout_s: float,
    memory_gb: float,
    as_json: bool,
) -> None:
    """Index recordings: files, folders, or manifests (recording.json, recordings.json).

    What the archive knows already is skipped. A file that cannot be read is listed with its reason, the others go on,
    and the exit code is 1.
    """
    from motionseek.indexer.pipeline import Event, Limits, index

    with ExitStack() as stack:
        show = stack.enter_context(index_progress())
        write = stack.enter_context(event_lines(events)) if events else None

        def tell(event: Event) -> None:
            show(event)
            if write:
                write(event)

        report = index(
            sources,
            archive,
            models=models,
            format=format,
            window_s=window_s,
            stride_s=stride_s,
            progress=tell,
            replace=replace,
            retry=retry,
            limit=limit,
            dry_run=dry_run,
            pose=pose,
            units=units,
            limits=Limits(workers, timeout_s, memory_gb),
        )
    if as_json:
        emit(report.to_json())
    elif events != "-":
        click.echo(report.headline)
        table("", ("", "recordings", "hours", "windows"), report.summary())
        if report.failed or report.partial:
            rows = [("failed", *row) for row in report.failed] + [("partial", *row) for row in report.partial]
            table("", ("status", "source", "reason"), rows)
    sys.exit(1 if report.failed else 0)
