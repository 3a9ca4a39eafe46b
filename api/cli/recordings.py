"""motionseek recordings"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from motionseek.cli._common import archive_option, as_json, emit, example, table

COLUMNS = ("recording_id", "uris", "source_format", "streams", "duration_s", "labels", "status", "reason", "quality")


@click.command("recordings")
@archive_option
@click.option("--label", "labels", multiple=True, help="Only recordings with this label; repeat for any of several.")
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice(("ok", "partial", "failed")),
    help="Only recordings that were read so; repeat for any of several.",
)
@as_json
@example("motionseek recordings --archive archive --status failed --status partial")
def verb(archive: str, labels: tuple[str, ...], statuses: tuple[str, ...], as_json: bool) -> None:
    """List the recordings of an archive: what each holds, where it lies, and what is wrong with it."""
    from motionseek.indexer.filters import Filter
    from motionseek.indexer.store import Store

    where = Filter(label=labels or None, status=statuses or None)
    rows = Store.open(archive).recordings(where, COLUMNS).to_pylist()
    if as_json:
        emit({"archive": archive, "recordings": rows})
    elif not rows:
        click.echo("nothing found")
    else:
        columns = ("recording", "source", "s", "holds", "labels", "status", "reason")
        table("", columns, [_told(row) for row in sorted(rows, key=lambda row: row["uris"])])


def _told(row: Mapping[str, Any]) -> tuple[str, ...]:
    holds = [stream["placement"] or stream["modality"] for stream in row["streams"]]
    return (
        row["recording_id"][:12],
        row["uris"][0] if row["uris"] else "",
        f"{row['duration_s']:.1f}",
        ", ".join(f"{holds.count(one)} {one}" if holds.count(one) > 1 else one for one in dict.fromkeys(holds)),
        ", ".join(row["labels"]),
        row["status"],
        row["reason"],
    )
