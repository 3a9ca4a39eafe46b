"""motionseek find"""

from __future__ import annotations

import sys

import click

from motionseek.cli._common import archive_option, as_json, emit, example, table, units_option


@click.command("find")
@click.argument("imus", nargs=-1, required=True, metavar="IMU...")
@archive_option
@click.option(
    "--placement", "-p", "placements", multiple=True, help="Where each IMU file's sensor is worn, in their order."
)
@click.option("--max-offset", "max_offset_s", type=float, help="Bound of the offset, seconds.  [default: none]")
@click.option("--min-confidence", type=float, help="Less is refused.  [default: by how many sensors there are]")
@click.option("--label", "labels", multiple=True, help="Only recordings with this label; repeat for any of several.")
@units_option
@as_json
@example("motionseek find watch.csv --placement left_wrist --archive archive")
def verb(
    imus: tuple[str, ...],
    archive: str,
    placements: tuple[str, ...],
    max_offset_s: float | None,
    min_confidence: float | None,
    labels: tuple[str, ...],
    units: dict[str, str],
    as_json: bool,
) -> None:
    """Say which recordings of an archive a worn sensor belongs to, and at which offset, or that it belongs to none.

    IMU is a sensor file (with @from-to a stretch of it) or a recording; several are those of one wearer and share one
    clock. The offset is what to add to the sensor's time to get the recording's. Where no recording stands out the
    nearest are listed as refused, with the reason, and the exit code is 1.
    """
    from motionseek.errors import UsageError
    from motionseek.indexer.filters import Filter
    from motionseek.search.archive import open as open_archive
    from motionseek.search.query import sensors_of

    if placements and len(placements) != len(imus):
        raise UsageError(f"{len(placements)} placements for {len(imus)} IMU files: give one for each")
    worn: tuple[str | None, ...] = placements or (None,) * len(imus)
    sensors = [
        sensor
        for path, where in zip(imus, worn, strict=True)
        for sensor in sensors_of(path, placement=where, units=units)
    ]
    found = open_archive(archive).find(
        sensors,
        where=Filter(label=labels) if labels else None,
        max_offset_s=max_offset_s,
        min_confidence=min_confidence,
    )
    if as_json:
        emit({"archive": str(archive), **found.to_json()})
    else:
        rows = [
            (said, m.uri, m.modality, m.person, f"{m.offset_s:+.3f}", f"{m.score:.2f}", f"{m.confidence:.2f}")
            for said, matches in (("belongs", found.matches), ("refused", found.nearest))
            for m in matches
        ]
        table("", ("", "recording", "against", "person", "offset_s", "score", "confidence score"), rows)
        click.echo(found.reason or f"{len(found.matches)} of {found.looked} streams that were looked at")
    sys.exit(0 if found else 1)
