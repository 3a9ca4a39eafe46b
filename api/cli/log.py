"""motionseek log"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from motionseek.cli._common import FILE, as_json, emit, example
from motionseek.cli._timeline import timeline_of, timeline_options
from motionseek.errors import MediaError, UsageError

if TYPE_CHECKING:
    from motionseek.search.archive import Archive
    from motionseek.types import Imu


def _sensor(archive: Archive, recording_id: str) -> Imu | None:
    """The recording's first sensor, to be drawn above the segments; none where its file cannot be read any more."""
    try:
        return next(iter(archive.read_again(recording_id).imus), None)
    except (MediaError, UsageError) as error:
        click.echo(f"the picture has no sensor: {error}", err=True)
        return None


@click.command("log")
@click.argument("recording")
@timeline_options
@click.option("--png", type=FILE, help="Draw it into this file, too: sensor, segments, scores.")
@as_json
@example("motionseek log 3f2a9c41 --class walking --class 'sitting=a person sits on a chair' --png day.png")
def verb(recording: str, png: Path | None, as_json: bool, **asked: Any) -> None:
    """Print what somebody did when, in one recording of an archive.

    RECORDING is a recording_id, how one begins, or where the recording lies. Stretches that no activity fits are
    "nothing of these".
    """
    archive, found = timeline_of(recording, **asked)
    if png is not None:
        found.draw(png, sensor=_sensor(archive, found.recording_id))
    if as_json:
        emit(found.to_json())
    else:
        click.echo(found.log())
