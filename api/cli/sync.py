"""motionseek sync"""

from __future__ import annotations

import sys

import click

from motionseek.cli._common import as_json, emit, example, table, units_option


@click.command("sync")
@click.argument("imus", nargs=-1, required=True, metavar="IMU...")
@click.argument("media")
@click.option(
    "--placement",
    "-p",
    "placements",
    multiple=True,
    help="Where each IMU file's sensor is worn, in their order; a single one may be left unknown.",
)
@click.option("--model", "-m", help='A model with a "motion" space; without one no training is needed.')
@click.option("--max-offset", "max_offset_s", type=float, help="Bound of the offset, seconds.")
@units_option
@as_json
@example(
    "motionseek sync watch.csv recordings/walk/recording.json --placement left_wrist",
    "motionseek sync clip.mp4 clip.mp4",
)
def verb(
    imus: tuple[str, ...],
    media: str,
    placements: tuple[str, ...],
    model: str | None,
    max_offset_s: float | None,
    units: dict[str, str],
    as_json: bool,
) -> None:
    """Align worn sensors with the body pose of a recording, or a camera's own IMU with its picture.

    MEDIA with a video and no pose is aligned by the motion of its picture; the same GoPro file twice checks it.
    IMU is a sensor file or a recording; several share one clock. Prints what to add to the sensors' time to get the
    media's time. Where nothing moves, or several offsets fit about as well, the alignment is refused, with the reason
    and the exit code 1.
    """
    from motionseek.errors import UsageError
    from motionseek.search.query import sensors_of
    from motionseek.search.sync import sync

    if placements and len(placements) != len(imus):
        raise UsageError(f"{len(placements)} placements for {len(imus)} IMU files: give one for each")
    worn: tuple[str | None, ...] = placements or (None,) * len(imus)
    sensors = [
        sensor
        for path, where in zip(imus, worn, strict=True)
        for sensor in sensors_of(path, placement=where, units=units)
    ]
    loaded = None
    if model is not None:
        from motionseek.encoders.model import load_model

        loaded = load_model(model)
    found = sync(sensors, media, model=loaded, max_offset_s=max_offset_s, units=units)
    if as_json:
        emit(found.to_json())
    elif found.offset_s is None:
        click.echo(f"refused: {found.reason}")
        if found.aliases_s:
            click.echo("candidates: " + ", ".join(f"{a:+.3f} s" for a in found.aliases_s))
    else:
        drift = "" if found.drift_ppm is None else f", drift {found.drift_ppm:+.1f} ± {found.drift_error_ppm:.1f} ppm"
        whose = f", person {found.person}" if found.person else ""
        click.echo(f"offset {found.offset_s:+.4f} s{drift}, confidence {found.confidence:.2f} ({found.method}{whose})")
        own = found.part_offsets_s
        rows = [(part, f"{r:.3f}", f"{own[part]:+.4f}" if part in own else "") for part, r in found.parts.items()]
        table("", ("sensor", "score", "by itself"), rows)
    sys.exit(0 if found.accepted else 1)
