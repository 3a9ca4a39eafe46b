"""Frames of a video by presentation time, exactly.

Times are seconds since the start of the container. What frame is shown when is read from the packets, so that neither
B-frames nor a variable frame rate nor an edit list shifts it. decord decodes where it is right; PyAV where decord is
wrong (leading pictures of an open GOP, rotation, damaged files) or blind (AV1, or not installed on this platform).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from motionseek.errors import DamagedFile, UsageError
from motionseek.indexer.container import Int64, VideoIndex, decoded, index_of, opened, stills, unbroken
from motionseek.indexer.decode import picked
from motionseek.types import Float64, Span, VideoRef

try:
    import decord
except ImportError:  # there are wheels for Linux on x86-64 only
    decord = None

UInt8 = npt.NDArray[np.uint8]

SLACK_S = 1e-6
"""How far before a frame's time a request may lie and still mean it: i / rate rounds either way."""


def probe(path: str | Path) -> VideoRef:
    """`probe_checked` without the list of what is missing."""
    return probe_checked(path)[0]


def probe_checked(path: str | Path) -> tuple[VideoRef, tuple[str, ...]]:
    """What the file holds and what is wrong with it, for instance that it was cut off.

    Raises DamagedFile where no frame can be decoded.
    """
    index = index_of(path)
    span_s = float(index.t_s[-1] - index.t_s[0])
    duration_s = index.end_s - float(index.t_s[0])
    rate_hz = (len(index.t_s) - 1) / span_s if span_s else 1 / duration_s
    video = VideoRef(
        str(path), float(index.t_s[0]), duration_s, rate_hz, index.shown_size, codec=index.codec, camera=index.camera
    )
    return video, index.problems


def frame_times(path: str | Path) -> Float64:
    """Presentation time of every frame, (N,) float64, seconds, increasing. Raises DamagedFile."""
    return index_of(path).t_s


def frames_at(path: str | Path, times_s: npt.ArrayLike, *, size: int | None = None) -> UInt8:
    """The frames shown at `times_s` (K,), in any order → (K, H, W, 3) uint8 RGB, upright.

    A frame is shown from its time until the next one's; times before the first or after the last frame give those.
    `size` scales the shorter side to that many pixels and keeps the aspect.
    Raises DamagedFile, UsageError.
    """
    index, times = index_of(path), _times(times_s, size)
    wanted, back = np.unique(_number(index, times), return_inverse=True)
    width, height = _scaled(index.size, size)
    if not len(wanted):
        return np.empty((0, *_turned((height, width), index.rotation), 3), dtype=np.uint8)
    frames = _by_decord(path, index, wanted, width, height)
    if frames is None:
        frames = np.empty((len(wanted), height, width, 3), dtype=np.uint8)
        left = dict(zip(index.pts[wanted].tolist(), range(len(wanted)), strict=True))
        for pts, frame in picked(path, index, index.pts[wanted]):
            frames[left.pop(pts)] = _rgb(frame, width, height)
        for pts in left:
            raise DamagedFile(path, f"the frame at {index.time_of(pts):.3f} s is damaged or cannot be decoded")
    return np.ascontiguousarray(np.rot90(frames, index.rotation, axes=(1, 2))[back])


def sample(
    path: str | Path, times_s: npt.ArrayLike, *, size: int | None = None, batch: int = 32
) -> Iterator[tuple[Int64, UInt8]]:
    """The frames shown at `times_s` (K,), a few of many, in batches: rows of times_s (n,), frames (n, H, W, 3).

    As `frames_at`, but in memory that does not grow with K, in no certain order, and without the frames that are
    damaged. Raises DamagedFile where nothing can be read, UsageError.
    """
    index, times = index_of(path), _times(times_s, size)
    if not len(times):
        return
    number = _number(index, times)
    order = np.argsort(number, kind="stable")
    wanted, first = np.unique(number[order], return_index=True)
    rows_of = dict(zip(index.pts[wanted].tolist(), np.split(order, first[1:]), strict=True))
    width, height = _scaled(index.size, size)
    rows: list[Int64] = []
    frames: list[UInt8] = []
    for pts, frame in picked(path, index, index.pts[wanted]):
        rows.append(rows_of[pts])
        frames += [np.rot90(_rgb(frame, width, height), index.rotation)] * len(rows_of[pts])
        if len(frames) >= batch:
            yield np.concatenate(rows), np.stack(frames)
            rows, frames = [], []
    if frames:
        yield np.concatenate(rows), np.stack(frames)


def _times(times_s: npt.ArrayLike, size: int | None) -> Float64:
    times = np.asarray(times_s, dtype=np.float64)
    if times.ndim != 1 or not np.isfinite(times).all():
        raise UsageError(f"times_s must be one-dimensional and finite, not of shape {times.shape}")
    if size is not None and size < 1:
        raise UsageError(f"size must be at least 1 pixel, not {size}")
    return times


def _number(index: VideoIndex, times_s: Float64) -> Int64:
    """Which frame is shown at each time."""
    return np.clip(np.searchsorted(index.t_s, times_s + SLACK_S, side="right") - 1, 0, None)


def _rgb(frame: Any, width: int, height: int) -> UInt8:
    pixels: UInt8 = frame.to_ndarray(format="rgb24", width=width, height=height, interpolation="BICUBIC")
    return pixels


def grey_frames(path: str | Path, *, longer: int, span: Span | None = None) -> Iterator[tuple[float, UInt8]]:
    """Every frame in the order shown, decoded once from the front: its time, and (H, W) uint8 grey, upright.

    longer: the longer side in pixels.   span: only the frames shown within it. Frames that are damaged are left out.
    Raises DamagedFile.
    """
    index = index_of(path)
    width, height = _fitted(index.size, longer)
    for time_s, frame in _shown(path, index, span):
        grey = frame.to_ndarray(format="gray", width=width, height=height, interpolation="AREA")
        yield time_s, np.ascontiguousarray(np.rot90(grey, index.rotation))


def rgb_frames(
    path: str | Path, *, longest: int, max_rate_hz: float, span: Span | None = None
) -> Iterator[tuple[float, UInt8]]:
    """As `grey_frames`, in colour: (H, W, 3) uint8 RGB, no side longer than `longest` pixels.

    max_rate_hz: of a video with more frames a second, only as many are converted and given.
    """
    index = index_of(path)
    width, height = _fitted(index.size, min(longest, max(index.size)))
    step_s, due_s = 1 / max_rate_hz, -np.inf
    for time_s, frame in _shown(path, index, span):
        # A quarter early is on time, or a clock that jitters would lose frames.
        if time_s < due_s - step_s / 4:
            continue
        due_s = (due_s if time_s < due_s + step_s else time_s) + step_s
        rgb = frame.to_ndarray(format="rgb24", width=width, height=height, interpolation="BILINEAR")
        yield time_s, np.ascontiguousarray(np.rot90(rgb, index.rotation))


def _shown(path: str | Path, index: VideoIndex, span: Span | None) -> Iterator[tuple[float, Any]]:
    """Time and av.VideoFrame of every sound frame within `span`, in the order shown."""
    first, last = (-np.inf, np.inf) if span is None else (span.start_s - SLACK_S, span.end_s)
    if index.stills:
        inside = np.flatnonzero((index.t_s >= first) & (index.t_s < last))
        yield from ((float(index.t_s[number]), frame) for number, frame in stills(path, inside.tolist()))
        return
    with opened(path) as (container, stream):
        if span is not None and not index.ordinal:
            # One key frame early: a seek may land late.
            key = max(int(np.searchsorted(index.t_s[np.searchsorted(index.pts, index.key_pts)], first)) - 2, 0)
            container.seek(int(index.key_pts[key]), stream=stream, backward=True)
        shown = -np.inf
        packets = container.demux(stream)
        for number, frame in enumerate(unbroken(packets) if index.ordinal else decoded(packets)):
            if frame.pts is None and not index.ordinal:
                continue  # without a time it tells nothing of motion
            at = number if index.ordinal else int(np.searchsorted(index.pts, frame.pts))
            if at >= len(index.t_s) or index.t_s[at] >= last:
                return
            time_s = float(index.t_s[at])
            if time_s < first or time_s <= shown:
                continue
            shown = time_s
            yield time_s, frame


def _fitted(size: tuple[int, int], longer: int) -> tuple[int, int]:
    factor = longer / max(size)
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def _scaled(size: tuple[int, int], shorter: int | None) -> tuple[int, int]:
    factor = 1.0 if shorter is None else shorter / min(size)
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def _turned(size: tuple[int, int], rotation: int) -> tuple[int, int]:
    return (size[1], size[0]) if rotation % 2 else size


def _by_decord(path: str | Path, index: VideoIndex, wanted: Int64, width: int, height: int) -> UInt8 | None:
    """Frames number `wanted`, or None where decord is not to be trusted with this file."""
    if decord is None or not index.for_decord or index.rotation or index.problems:
        return None
    try:
        reader = decord.VideoReader(str(path), ctx=decord.cpu(0), width=width, height=height, num_threads=2)
        if len(reader) != len(index.pts):
            return None
        frames: UInt8 = reader.get_batch(wanted.tolist()).asnumpy()
    except (decord.DECORDError, RuntimeError):
        return None  # PyAV reads more, and says what is wrong where it cannot
    return frames
