"""A video → the pose tracks of the people in it."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from pathlib import Path

import numpy as np

from motionseek.errors import UsageError
from motionseek.indexer.pose.people import Estimator, People, Person
from motionseek.indexer.video import frame_times, probe, rgb_frames
from motionseek.types import PoseTrack, Span, VideoRef

ESTIMATORS = ("auto", "blazepose", "rtmpose")
LONGEST_PX = 1920
"""Larger pictures are scaled down to this: more is not needed for a square of 256 pixels around a person."""
MIN_CONFIDENCE = 0.2
"""A joint of less is unseen."""
MIN_PICTURES, MIN_S, MIN_PRESENCE = 5, 0.5, 0.9
"""Whoever is seen in fewer pictures, for less time, or mostly with less certainty, was nobody."""


def estimate_pose(
    video: VideoRef | str | Path,
    *,
    estimator: str = "auto",
    most: int = 4,
    rate_hz: float = 30.0,
    span: Span | None = None,
    progress: Callable[[float], None] | None = None,
) -> tuple[PoseTrack, ...]:
    """The people in a video, at its own presentation times, on the recording's clock; the longest seen first.

    estimator: "blazepose" works offline; "rtmpose" downloads its models, "rtmpose:FOLDER" takes them from there;
    "auto" is blazepose.   most: how many people are followed at once.   rate_hz: of a video with more pictures a second
    no more are looked at.   span: only this stretch, on the recording's clock.   progress: told the time reached.

    Joints come smoothed, in pixels of the video as shown; a joint outside of the picture or hidden is NaN.
    Raises UsageError, MissingExtra; DamagedFile where the video cannot be decoded; ModelError for models of rtmpose.
    """
    looking = look(video, estimator=estimator, most=most, rate_hz=rate_hz, span=span)
    while True:
        try:
            time_s = next(looking)
        except StopIteration as whole:
            tracks: tuple[PoseTrack, ...] = whole.value
            return tracks
        if progress is not None:
            progress(time_s)


def look(
    video: VideoRef | str | Path, *, estimator: str, most: int = 4, rate_hz: float = 30.0, span: Span | None = None
) -> Generator[float, None, tuple[PoseTrack, ...]]:
    """As `estimate_pose`: the time of each picture that was looked at, and at the end what was found."""
    if most < 1 or not (math.isfinite(rate_hz) and rate_hz > 0):
        raise UsageError(f"most and rate_hz must be positive, not {most} and {rate_hz}")
    people = People(load_estimator(estimator), most=most)
    video = video if isinstance(video, VideoRef) else probe(video)
    shift_s = video.start_s - float(frame_times(video.path)[0])
    within = None if span is None else Span(span.start_s - shift_s, span.end_s - shift_s)
    size = video.size
    for file_s, picture in rgb_frames(video.path, longest=LONGEST_PX, max_rate_hz=rate_hz, span=within):
        size = (picture.shape[1], picture.shape[0])
        people.step(file_s + shift_s, picture)
        yield file_s + shift_s
    seen = sorted(filter(_real, people.everybody), key=lambda p: (-len(p.t_s), p.number))
    return tuple(_track(str(i), person, size, video.size, people.name) for i, person in enumerate(seen))


def load_estimator(name: str) -> Estimator:
    """Raises UsageError for an unknown name, MissingExtra, ModelError."""
    kind, _, folder = name.partition(":")
    if kind in ("auto", "blazepose") and not folder:
        from motionseek.indexer.pose.blazepose import BlazePose

        return BlazePose()
    if kind == "rtmpose":
        from motionseek.indexer.pose.rtmpose import RtmPose

        return RtmPose(Path(folder).expanduser() if folder else None)
    raise UsageError(f"pose estimator {name!r} is not known; use one of: {', '.join(ESTIMATORS)}, rtmpose:FOLDER")


def _real(person: Person) -> bool:
    long = len(person.t_s) >= MIN_PICTURES and person.t_s[-1] - person.t_s[0] >= MIN_S
    return long and float(np.median(person.presence)) >= MIN_PRESENCE


def _track(name: str, person: Person, size: tuple[int, int], video_size: tuple[int, int], estimator: str) -> PoseTrack:
    """size: of the pictures that were looked at, (width, height)."""
    joints, confidence = np.stack(person.joints), np.stack(person.confidence)
    outside = ((joints < 0) | (joints >= size)).any(axis=2)
    unseen = outside | (confidence < MIN_CONFIDENCE)
    xy_px = np.where(unseen[..., None], np.nan, joints * (np.array(video_size) / size))
    return PoseTrack(
        np.array(person.t_s),
        xy_px.astype(np.float32),
        np.where(unseen, 0, confidence).astype(np.float32),
        video_size,
        name,
        estimator,
    )
