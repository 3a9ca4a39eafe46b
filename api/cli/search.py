"""motionseek search"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from motionseek.cli._common import archive_option, as_json, emit, example, table
from motionseek.cli._query import answer, query_options


@click.command("search")
@query_options
@archive_option
@as_json
@example(
    'motionseek search "jumping" --target video',
    "motionseek search --imu watch.csv@10-15 --placement left_wrist",
    'motionseek search "jumping" --not "cycling" --like 3f2a9c41@12-15',
)
def verb(archive: Path, as_json: bool, **asked: Any) -> None:
    """Find the moments of an archive that fit a sentence, a sensor, a body pose or a video.

    Several of them, --like and --not make a sum: their vectors are added and subtracted.
    """
    _, found = answer(archive, **asked)
    if as_json:
        emit(found.to_json())
        return
    if not len(found):
        click.echo("nothing found")
        return
    rows = [
        (
            m.rank,
            m.uri,
            f"{m.start_s:.2f}-{m.end_s:.2f}",
            f"{m.score:.3f}",
            m.through,
            "" if m.offset_s is None else f"{m.offset_s:+.3f}",
            m.caption or ", ".join(m.labels),
        )
        for m in found
    ]
    table("", ("#", "recording", "span_s", "score", "through", "offset_s", "caption"), rows)
    click.echo(f"{found.timings_ms['total']:.0f} ms", err=True)
