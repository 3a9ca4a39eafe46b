"""A camera's own IMU against the picture of a file, stabilisation undone where the file says how, else refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from motionseek.indexer.readers.gopro import Steadied, steadied
from motionseek.indexer.video import frame_times
from motionseek.search.camera import METHOD, align_camera
from motionseek.search.flow import ImageMotion, Steadying, image_motion
from motionseek.types import Alignment, Imu, Span, VideoRef

UNDONE = f"{METHOD}, stabilisation undone"
FRAMES_OFF = 2
"""By how many the file's orientations may differ from its frames: the last ones may lack their picture."""


def align_film(
    imus: Sequence[Imu], video: VideoRef, *, span: Span | None = None, max_offset_s: float | None = None
) -> Alignment:
    """Align the sensors with the picture's motion, each on its own; the one that fits best is answered.

    span: the stretch to look at, on the recording's clock. Raises MediaError, MissingExtra without opencv.
    """
    shift_s = video.start_s - float(frame_times(video.path)[0])
    inside = None if span is None else Span(span.start_s - shift_s, span.end_s - shift_s)
    told = steadied(video.path)
    refused = {i: reason for i, imu in enumerate(imus) if (reason := _reason(told, imu, video))}
    if len(refused) == len(imus):
        return Alignment(None, None, 0.0, (), METHOD, {}, refused[0])
    motion = image_motion(video.path, inside)
    method = METHOD
    if told is not None and told.kind:
        motion, method = _with_steadying(motion, told, video), UNDONE
    motion = motion.shifted(shift_s)
    found = [align_camera(imu, motion, max_offset_s=max_offset_s) for i, imu in enumerate(imus) if i not in refused]
    best = max(found, key=lambda alignment: (alignment.accepted, alignment.confidence))
    return replace(best, method=method)


def _reason(told: Steadied | None, imu: Imu, video: VideoRef) -> str:
    """Why the picture cannot be compared with this sensor, "" where it can."""
    if told is None or not told.kind:
        return ""
    if told.orientation is None or abs(len(told.orientation) - len(frame_times(video.path))) > FRAMES_OFF:
        return (
            f"the camera stabilised the picture ({told.kind}), which took its motion away, and the file does not say "
            "how each picture was turned: film without stabilisation"
        )
    if imu.name != told.camera:
        return (
            f"the camera stabilised the picture ({told.kind}), which took its motion away; only the camera's own IMU, "
            f"whose axes are known, can be compared with it: give {video.path} for the sensor too"
        )
    return ""


def _with_steadying(motion: ImageMotion, told: Steadied, video: VideoRef) -> ImageMotion:
    """The motion with what the stabiliser did between its frames."""
    if told.orientation is None:
        return motion
    number = np.searchsorted(frame_times(video.path), motion.t_s - 1e-6)
    number = np.minimum(number, len(told.orientation) - 1)
    return replace(motion, steadying=Steadying.of(told.orientation[number], motion.t_s))
