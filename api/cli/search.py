"""motionseek search"""

from __future__ import annotations

from typing import Any

import click

from motionseek.cli._common import archive_option, as_json, emit, example, table
from motionseek.cli._query import answer, query_options


@click.command("search")
@query_options
@click.option("--explain", is_flag=True, help="Show what made each hit: per part and token, or per instant and term.")
@archive_option
@as_json
@example(
    'motionseek search "jumping" --target video',
    "motionseek search --imu watch.csv@10-15 --placement left_wrist",
    """motionseek search '"jumping" + clip.mp4@12-15 - 0.5 * "cycling"' --min-confidence 0.8""",
)
def verb(archive: str, as_json: bool, explain: bool, **asked: Any) -> None:
    """Find the moments of an archive that fit a sentence, a sensor, a body pose or a video.

    A TEXT with double quotes in it is a sum of signed terms, each a "sentence", a file, or RECORDING@a-b. Several of
    the options, --like and --not make a sum, too: their vectors are added and subtracted. "sure" is how little of the
    same moment chance, or something else, explains.
    """
    opened, query, found = answer(archive, **asked)
    why = [opened.explain(query, moment) for moment in found] if explain else []
    if as_json:
        said = found.to_json()
        for hit, reason in zip(said["hits"], why, strict=False):
            hit["explain"] = reason.to_json()
        emit(said)
        return
    if not len(found):
        sure = f" with a confidence of {asked['min_confidence']:g}" if asked["min_confidence"] else ""
        click.echo(f"nothing found{sure}")
        return
    rows = [
        (
            m.rank,
            m.uri,
            f"{m.start_s:.2f}-{m.end_s:.2f}",
            f"{m.score:.3f}",
            "" if m.confidence is None else f"{m.confidence:.2f}",
            " → ".join(m.path),
            "" if m.offset_s is None else f"{m.offset_s:+.3f}",
            m.caption or ", ".join(m.labels),
        )
        for m in found
    ]
    table("", ("#", "recording", "span_s", "score", "sure", "way", "offset_s", "caption"), rows)
    for moment, reason in zip(found, why, strict=False):
        click.echo(f"\n#{moment.rank} {reason.text()}")
    if found.more:
        click.echo(f"there are more: --page {asked['page'] + 1}", err=True)
    click.echo(f"{found.timings_ms['total']:.0f} ms", err=True)
