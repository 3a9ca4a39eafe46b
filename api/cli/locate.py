"""motionseek locate"""

from __future__ import annotations

import sys
from dataclasses import replace

import click

from motionseek.cli._common import as_json, emit, example, table, units_option


@click.command("locate")
@click.argument("imus", nargs=-1, required=True, metavar="IMU...")
@click.argument("media")
@click.option(
    "--placement", "-p", "placements", multiple=True, help="Where each IMU file's sensor is worn, in their order."
)
@click.option("--together", is_flag=True, help="One person wears all of the sensors.")
@click.option("--model", "-m", help='A model with a "motion" space; without one no training is needed.')
@click.option("--offset", "offset_s", type=float, default=0.0, show_default=True, help="Media time less IMU time.")
@click.option(
    "--max-offset",
    "max_offset_s",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="Search the offset this many seconds around --offset.",
)
@click.option("--min-score", type=float, help="Nobody wears a sensor that scores below.  [default: by chance]")
@units_option
@as_json
@example("motionseek locate watch.csv phone.csv scene/recording.json --model starter")
def verb(
    imus: tuple[str, ...],
    media: str,
    placements: tuple[str, ...],
    together: bool,
    model: str | None,
    offset_s: float,
    max_offset_s: float,
    min_score: float | None,
    units: dict[str, str],
    as_json: bool,
) -> None:
    """Say which person of a recording wears each sensor, and on which part of the body.

    IMU is a sensor file or a recording; all share one clock. A sensor whose placement is not known is tried on every
    part. Sensors that name the same wearer are kept on one person. Where nobody moves like a sensor, it is worn by
    nobody, and the exit code is 1.
    """
    from motionseek.errors import UsageError
    from motionseek.search.locate import all_sensors, locate

    if placements and len(placements) != len(imus):
        raise UsageError(f"{len(placements)} placements for {len(imus)} IMU files: give one for each")
    worn: tuple[str | None, ...] = placements or (None,) * len(imus)
    sensors = [
        sensor
        for path, where in zip(imus, worn, strict=True)
        for sensor in all_sensors(path, placement=where, units=units)
    ]
    if together:
        sensors = [replace(sensor, person="one wearer") for sensor in sensors]
    loaded = None
    if model is not None:
        from motionseek.encoders.model import load_model

        loaded = load_model(model)
    found = locate(
        sensors,
        media,
        model=loaded,
        offset_s=offset_s,
        max_offset_s=max_offset_s,
        min_score=min_score,
        units=units,
    )
    if as_json:
        emit(found.to_json())
    else:
        rows = [
            (w.sensor, w.person or "nobody", w.part or "", f"{w.score:.3f}", f"{w.margin:+.3f}", w.reason)
            for w in found.sensors
        ]
        table("", ("sensor", "person", "part", "score", "margin", "reason"), rows)
        if max_offset_s:
            click.echo(f"offset {found.offset_s:+.2f} s")
    sys.exit(0 if all(w.person is not None for w in found.sensors) else 1)
