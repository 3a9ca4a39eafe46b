"""A recording → the pieces that encoders take: windows, and what was sensed in them, on regular grids.

Long streams come in pieces of `PIECE_S`, so that memory does not grow with them. A piece holds the windows that start
in it; its grids reach `window_s` and a margin further, for the windows and for the tokens' context.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from motionseek.encoders.base import Encoder, tokenises
from motionseek.encoders.preprocess import POSE_CHANNELS, Grid, signal_grid
from motionseek.indexer import windows as of
from motionseek.indexer.catalog import Row, recording_row
from motionseek.indexer.quality import Checks
from motionseek.indexer.schema import slots
from motionseek.indexer.video import frame_times, sample
from motionseek.indexer.windows import TICK_S, Windows
from motionseek.types import Float64, Imu, Modality, PoseTrack, Recording, Span, VideoRef

UInt8 = npt.NDArray[np.uint8]
Int64 = npt.NDArray[np.int64]
Encoders = Mapping[tuple[str, Modality], Encoder]

PIECE_S = 1024.0
MARGIN_S = 2.0
"""Beyond a piece on both sides, at least; what resampling at a cut gets wrong dies away within it."""
SAMPLES_BEYOND = 8
FRAMES_PER_PIECE = 32
LOOKED_S = 10.0
"""How often looking for people gives a sign of life."""


@dataclass(frozen=True)
class Sampling:
    """How an encoder looks at video: frames a second, over how long, scaled to how many pixels (0: as they are)."""

    rate_hz: float
    window_s: float
    size: int


@dataclass(frozen=True)
class Form:
    """How an encoder reads signals: samples a second, and what a pose is measured against."""

    rate_hz: float
    pose_form: str = "person"


@dataclass(frozen=True)
class Needs:
    """What the encoders of a run ask of a recording; nothing, where only its description is wanted."""

    window_s: float
    stride_s: float
    imu: tuple[Form, ...] = ()
    pose: tuple[Form, ...] = ()
    video: tuple[Sampling, ...] = ()
    text: bool = False
    margin_s: float = MARGIN_S
    estimator: str = ""
    """Of poses, for a video that comes without any; "" where none are wanted."""

    @classmethod
    def of(cls, encoders: Encoders, window_s: float, stride_s: float) -> Needs:
        contexts = [e.context_s for e in encoders.values() if tokenises(e)]
        asked = {m: {form(e, m) for (_, o), e in encoders.items() if o == m} for m in ("imu", "pose")}
        imu, pose = (tuple(sorted(asked[m], key=lambda f: (f.rate_hz, f.pose_form))) for m in ("imu", "pose"))
        video = {sampling(e, window_s) for (_, m), e in encoders.items() if m == "video"}
        return cls(
            window_s,
            stride_s,
            imu,
            pose,
            tuple(sorted(video, key=lambda s: (s.rate_hz, s.window_s, s.size))),
            any(m == "text" for _, m in encoders),
            float(np.ceil(max([*contexts, MARGIN_S]))),
        )


def form(encoder: Encoder, modality: str) -> Form:
    return Form(encoder.rate_hz, getattr(encoder, "pose_form", "person") if modality == "pose" else "person")


def sampling(encoder: Encoder, window_s: float) -> Sampling:
    return Sampling(encoder.rate_hz, encoder.window_s or window_s, getattr(encoder, "frame_size", None) or 0)


@dataclass(frozen=True, eq=False)
class Head:
    """What is known of a recording before its pieces: its row, without what only the archive knows."""

    row: Row
    duration_s: float


@dataclass(frozen=True, eq=False)
class Signals:
    """A piece of a stream of sensors or of pose.

    windows: those that start in it.   first, stop: its ticks since the stream's start.   last: nothing follows.
    slots: which of the modality's slots the grids' rows are.   grids: one for each of forms, from `first` or before.
    """

    windows: Windows
    origin_s: float
    first: int
    stop: int
    last: bool
    slots: tuple[int, ...]
    forms: tuple[Form, ...]
    grids: tuple[Grid, ...]


@dataclass(frozen=True, eq=False)
class Frames:
    """Frames (K, H, W, 3) uint8, shown at times_ms (K,) of the recording's clock."""

    sampling: Sampling
    times_ms: Int64
    frames: UInt8


@dataclass(frozen=True, eq=False)
class Pictures:
    """Windows of the picture, after the frames that they show: times_ms (N, F). What did not come is damaged.

    first, stop, last: as in Signals."""

    sampling: Sampling
    windows: Windows
    times_ms: Int64
    origin_s: float
    first: int
    stop: int
    last: bool


@dataclass(frozen=True, eq=False)
class Sentences:
    """One window a narration."""

    windows: Windows


@dataclass(frozen=True)
class Looked:
    """People were looked for in the picture up to time_s; before the Head."""

    time_s: float


@dataclass(frozen=True)
class End:
    """The recording is whole. problems: what turned out only while its pieces were made."""

    problems: tuple[str, ...]


Piece = Signals | Frames | Pictures | Sentences


def prepare(recording: Recording, needs: Needs) -> Iterator[Looked | Head | Piece | End]:
    """Head, pieces in the order of time within each stream, End. Raises DamagedFile where a stream cannot be used."""
    if needs.estimator and needs.pose and recording.video and not recording.poses:
        recording = yield from _with_people(recording, recording.video, needs.estimator)
    yield Head(recording_row(recording, [], [], 0.0), recording.duration_s)
    problems: list[str] = []
    size = {"window_s": needs.window_s, "stride_s": needs.stride_s}
    if needs.imu:
        for person, imus in of.wearers(recording).items():
            yield from _sensed(imus, of.of_imus(recording, person, imus, **size), needs)
    if needs.pose:
        for track in recording.poses:
            yield from _seen(track, of.of_pose(recording, track, **size), needs)
    if recording.video:
        for one in needs.video:
            yield from _shown(recording.video, of.of_video(recording, recording.video, **size), one, problems)
    if needs.text and recording.narrations:
        yield Sentences(of.of_text(recording))
    yield End(tuple(problems))


def _with_people(recording: Recording, video: VideoRef, estimator: str) -> Generator[Looked, None, Recording]:
    from motionseek.indexer.pose import look

    looking, told_s = look(video, estimator=estimator), video.start_s
    while True:
        try:
            time_s = next(looking)
        except StopIteration as whole:
            return replace(recording, poses=whole.value)
        if time_s >= told_s + LOOKED_S:
            told_s = time_s
            yield Looked(time_s)


def _cuts(origin_s: float, end_s: float) -> list[tuple[int, int, bool]]:
    """(first, stop, last) in ticks of the pieces of a stream."""
    per_piece, ticks = round(PIECE_S / TICK_S), int(np.ceil((end_s - origin_s) / TICK_S)) + 1
    starts = list(range(0, max(1, ticks - per_piece // 2), per_piece))
    return [(a, b, b == ticks) for a, b in zip(starts, [*starts[1:], ticks], strict=True)]


def _parts(windows: Windows) -> tuple[int, ...]:
    """The slots that the stream has anything of."""
    return tuple(np.flatnonzero(windows.coverage.any(axis=0)).tolist())


def _starting(windows: Windows, first: int, stop: int) -> Windows:
    return windows.take((windows.tick >= first) & (windows.tick < stop))


def _reach(origin_s: float, end_s: float, first: int, stop: int, needs: Needs) -> Span:
    """What the grids of a piece cover."""
    start_s = origin_s + max(0.0, first * TICK_S - needs.margin_s)
    return Span(start_s, min(end_s, origin_s + stop * TICK_S + needs.window_s + needs.margin_s) + 1e-6)


def _sensed(imus: tuple[Imu, ...], windows: Windows, needs: Needs) -> Iterator[Signals]:
    if not len(windows):
        return
    origin_s, end_s = min(i.start_s for i in imus), max(i.end_s for i in imus)
    there, cuts = _parts(windows), _cuts(origin_s, end_s)
    for first, stop, last in cuts:
        span = _reach(origin_s, end_s, first, stop, needs)
        near = imus if len(cuts) == 1 else tuple(i for i in (_near(i, span) for i in imus) if i is not None)
        found = [signal_grid(f, near, span) if near else _nothing(span, f, "imu") for f in needs.imu]
        grids = tuple(replace(g, x=g.x[list(there)], mask=g.mask[list(there)]) for g in found)
        yield Signals(_starting(windows, first, stop), origin_s, first, stop, last, there, needs.imu, grids)


def _seen(track: PoseTrack, windows: Windows, needs: Needs) -> Iterator[Signals]:
    if not len(windows):
        return
    there, cuts = _parts(windows), _cuts(track.start_s, track.end_s)
    for first, stop, last in cuts:
        span = _reach(track.start_s, track.end_s, first, stop, needs)
        near = track if len(cuts) == 1 else _near_pose(track, span)
        found = [signal_grid(f, near, span) if near else _nothing(span, f, "pose") for f in needs.pose]
        grids = tuple(replace(g, x=g.x[list(there)], mask=g.mask[list(there)]) for g in found)
        yield Signals(_starting(windows, first, stop), track.start_s, first, stop, last, there, needs.pose, grids)


def _near(imu: Imu, span: Span) -> Imu | None:
    """The samples that a grid over `span` is made from."""
    acc, gyro = (_within(t_s, span) for t_s in (imu.acc_t_s, imu.gyro_t_s))
    if acc is None:
        return None
    gyro = gyro or slice(0, 0)
    return replace(
        imu,
        acc_t_s=imu.acc_t_s[acc],
        acc_mps2=imu.acc_mps2[acc],
        gyro_t_s=imu.gyro_t_s[gyro],
        gyro_rps=imu.gyro_rps[gyro],
    )


def _near_pose(track: PoseTrack, span: Span) -> PoseTrack | None:
    at = _within(track.t_s, span)
    if at is None:
        return None
    return replace(track, t_s=track.t_s[at], xy_px=track.xy_px[at], confidence=track.confidence[at])


def _within(t_s: Float64, span: Span) -> slice | None:
    """The samples in and around `span`, None where none is in it. Those beyond show that a gap there is one: cut off at
    it, the stream would seem to end."""
    first, stop = np.searchsorted(t_s, [span.start_s - MARGIN_S, span.end_s + MARGIN_S])
    if first == stop:
        return None
    return slice(max(0, int(first) - SAMPLES_BEYOND), int(stop) + SAMPLES_BEYOND)


def _nothing(span: Span, form: Form, modality: Modality) -> Grid:
    """The grid of a gap."""
    length = int((span.end_s - span.start_s) * form.rate_hz) + 1
    channels = POSE_CHANNELS if modality == "pose" and form.pose_form == "person" else 6
    x = np.zeros((len(slots(modality)), channels, length), np.float32)
    return Grid(span.start_s, form.rate_hz, x, np.zeros((len(x), length), np.bool_))


def _shown(video: VideoRef, windows: Windows, how: Sampling, problems: list[str]) -> Iterator[Frames | Pictures]:
    """Frames at the encoder's rate, each once, however many windows show it."""
    origin_s = float(frame_times(video.path)[0])
    count = max(1, round(how.window_s * how.rate_hz))
    shown_s = windows.start_s[:, None] + (np.arange(count) + 0.5) / how.rate_hz
    last_s = windows.end_s[:, None] - 0.5 / max(video.rate_hz, 1.0)
    wanted_ms = np.rint(np.minimum(shown_s, np.maximum(last_s, windows.start_s[:, None])) * 1000).astype(np.int64)
    asked, damaged = np.zeros(0, np.int64), []
    for first, stop, last in _cuts(video.start_s, video.end_s):
        here = (windows.tick >= first) & (windows.tick < stop)
        new_ms = np.setdiff1d(wanted_ms[here], asked)
        came = np.zeros(len(new_ms), np.bool_)
        file_s = new_ms / 1000 - video.start_s + origin_s
        for rows, frames in sample(video.path, file_s, size=how.size or None, batch=FRAMES_PER_PIECE):
            came[rows] = True
            yield Frames(how, new_ms[rows], frames)
        damaged += (new_ms[~came] / 1000).tolist()
        asked = np.concatenate([asked[asked >= round((video.start_s + stop * TICK_S) * 1000)], new_ms])
        yield Pictures(how, windows.take(here), wanted_ms[here], video.start_s, first, stop, last)
    if damaged:
        problems.append(
            f"{len(damaged)} of the frames looked at are damaged, from {min(damaged):.1f} to {max(damaged):.1f} s"
        )


KINDS: Mapping[str, type] = {
    c.__name__: c
    for c in (Looked, Head, Signals, Frames, Pictures, Sentences, End, Form, Sampling, Grid, Windows, Checks)
}
"""What `wire` may meet in a message of `prepare`."""


@lru_cache(maxsize=16)
def as_dict(needs: Needs) -> Mapping[str, Any]:
    """As JSON values; `needs_from` reads them back."""
    lists = {name: [vars(one) for one in getattr(needs, name)] for name in ("imu", "pose", "video")}
    return {**vars(needs), **lists}


def needs_from(values: Mapping[str, Any]) -> Needs:
    kinds = {"imu": Form, "pose": Form, "video": Sampling}
    return Needs(**{**values, **{name: tuple(kind(**one) for one in values[name]) for name, kind in kinds.items()}})
