"""motionseek audit"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from motionseek.cli._common import FILE, archive_option, as_json, emit, example, table


@click.command("audit")
@archive_option
@click.option("--csv", "csv_file", type=FILE, help="Also write the findings to this file, one row each.")
@click.option("--html", "html_file", type=FILE, help="Also write a page with pictures of every check to this file.")
@click.option(
    "--tolerance", "tolerance_s", type=float, default=0.1, show_default=True, help='"off" beyond this, seconds.'
)
@click.option("--max-offset", "max_offset_s", type=float, default=8.0, show_default=True, help="Bound, seconds.")
@click.option("--label", "labels", multiple=True, help="Only recordings with this label; repeat for any of several.")
@click.option("--model", "-m", help='A model with a "motion" space for body sensors; without one none is needed.')
@as_json
@example("motionseek audit --archive archive --csv audit.csv --html audit.html")
def verb(
    archive: str,
    csv_file: Path | None,
    html_file: Path | None,
    tolerance_s: float,
    max_offset_s: float,
    labels: tuple[str, ...],
    model: str | None,
    as_json: bool,
) -> None:
    """Check the clocks of every recording: body sensors against pose, a camera's IMU against its picture.

    Prints offset, drift and confidence, worst first. A recording that cannot be read or does not tell is listed with
    its reason. The exit code is 1 where one cannot be read or is off by more than the tolerance.
    """
    from rich.console import Console
    from rich.progress import Progress

    from motionseek.indexer.filters import Filter
    from motionseek.search.archive import open as open_archive
    from motionseek.search.audit_page import write_page

    loaded = None
    if model is not None:
        from motionseek.encoders.model import load_model

        loaded = load_model(model)
    opened = open_archive(archive)
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("checking clocks")
        report = opened.audit(
            where=Filter(label=labels) if labels else None,
            model=loaded,
            max_offset_s=max_offset_s,
            tolerance_s=tolerance_s,
            progress=lambda done, total, uri: bar.update(task, completed=done, total=total),
        )
    if csv_file is not None:
        report.write_csv(csv_file)
    if html_file is not None:
        write_page(report, html_file)
    if as_json:
        emit({"archive": str(archive), **report.to_json()})
    else:
        rows = []
        for finding in report.findings:
            a = finding.alignment
            drift = "" if a is None or a.drift_ppm is None else f"{a.drift_ppm:+.0f}"
            offset = "" if a is None or a.offset_s is None else f"{a.offset_s:+.4f}"
            score = "" if a is None else f"{a.confidence:.2f}"
            rows.append((finding.verdict, finding.uri, finding.check, offset, drift, score, finding.reason))
        table("", ("verdict", "recording", "check", "offset_s", "drift_ppm", "confidence", "reason"), rows)
        for camera, usual_s in report.usual_s.items():
            click.echo(f"{camera}: usually {usual_s:+.4f} s")
        click.echo(", ".join(f"{count} {verdict}" for verdict, count in report.counts.items()))
    sys.exit(1 if report.counts["failed"] or report.counts["off"] else 0)
