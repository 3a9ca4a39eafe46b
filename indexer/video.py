"""Frames of a video by presentation time, exactly.

Times are seconds since the start of the container. What frame is shown when is read from the packets, so that neither
B-frames nor a variable frame rate nor an edit list shifts it. decord decodes where it is right; PyAV where decord is
wrong (leading pictures of an open GOP, rotation, damaged files) or blind (AV1, or not installed on this platform).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from motionseek.errors import DamagedFile, UsageError
from motionseek.types import Float64, Span, VideoRef

try:
    import decord
except ImportError:  # there are wheels for Linux on x86-64 only
    decord = None

UInt8 = npt.NDArray[np.uint8]
Int64 = npt.NDArray[np.int64]

DECORD_CODECS = ("h264", "vp8", "vp9")
DECORD_CONTAINERS = ("mp4", "webm")
"""Parts of libav's format names. In transport streams decord's seeks miss the first GOP."""

WITHOUT_PTS = ("avi",)
SLACK_S = 1e-6
"""How far before a frame's time a request may lie and still mean it: i / rate rounds either way."""


@dataclass(frozen=True, eq=False)
class _Index:
    """Which frames a file holds, in the order they are shown."""

    pts: Int64
    """(N,) in units of the stream's time base, strictly increasing."""
    key_pts: Int64
    """Those that decoding can start from."""
    t_s: Float64
    """(N,) seconds since the start of the container."""
    end_s: float
    size: tuple[int, int]
    """(width, height) as stored."""
    rotation: int
    """Quarter turns counter-clockwise that `np.rot90` must apply to show it upright."""
    codec: str
    camera: str
    for_decord: bool
    """decord is right about this codec in this container, and every GOP is closed: no picture is shown before the key
    frame that it was stored after."""
    ordinal: bool
    """The container holds no presentation times (AVI, raw streams): pts is the number of the frame, at a fixed rate."""
    problems: tuple[str, ...]

    @property
    def shown_size(self) -> tuple[int, int]:
        return (self.size[1], self.size[0]) if self.rotation % 2 else self.size


def probe(path: str | Path) -> VideoRef:
    """`probe_checked` without the list of what is missing."""
    return probe_checked(path)[0]


def probe_checked(path: str | Path) -> tuple[VideoRef, tuple[str, ...]]:
    """What the file holds and what is wrong with it, for instance that it was cut off.

    Raises DamagedFile where no frame can be decoded.
    """
    index = _index(path)
    span_s = float(index.t_s[-1] - index.t_s[0])
    duration_s = index.end_s - float(index.t_s[0])
    rate_hz = (len(index.t_s) - 1) / span_s if span_s else 1 / duration_s
    video = VideoRef(
        str(path), float(index.t_s[0]), duration_s, rate_hz, index.shown_size, codec=index.codec, camera=index.camera
    )
    return video, index.problems


def frame_times(path: str | Path) -> Float64:
    """Presentation time of every frame, (N,) float64, seconds, increasing. Raises DamagedFile."""
    return _index(path).t_s


def frames_at(path: str | Path, times_s: npt.ArrayLike, *, size: int | None = None) -> UInt8:
    """The frames shown at `times_s` (K,), in any order → (K, H, W, 3) uint8 RGB, upright.

    A frame is shown from its time until the next one's; times before the first or after the last frame give those.
    `size` scales the shorter side to that many pixels and keeps the aspect.
    Raises DamagedFile, UsageError.
    """
    times = np.asarray(times_s, dtype=np.float64)
    if times.ndim != 1 or not np.isfinite(times).all():
        raise UsageError(f"times_s must be one-dimensional and finite, not of shape {times.shape}")
    if size is not None and size < 1:
        raise UsageError(f"size must be at least 1 pixel, not {size}")
    index = _index(path)
    width, height = _scaled(index.size, size)
    shown = np.clip(np.searchsorted(index.t_s, times + SLACK_S, side="right") - 1, 0, None)
    wanted, back = np.unique(shown, return_inverse=True)
    if not len(wanted):
        return np.empty((0, *_turned((height, width), index.rotation), 3), dtype=np.uint8)
    frames = _by_decord(path, index, wanted, width, height)
    if frames is None:
        frames = np.empty((len(wanted), height, width, 3), dtype=np.uint8)
        for i, frame in enumerate(_decode(path, index, index.pts[wanted])):
            frames[i] = frame.to_ndarray(format="rgb24", width=width, height=height, interpolation="BICUBIC")
    return np.ascontiguousarray(np.rot90(frames, index.rotation, axes=(1, 2))[back])


def grey_frames(path: str | Path, *, longer: int, span: Span | None = None) -> Iterator[tuple[float, UInt8]]:
    """Every frame in the order shown, decoded once from the front: its time, and (H, W) uint8 grey, upright.

    longer: the longer side in pixels.   span: only the frames shown within it. Frames that are damaged are left out.
    Raises DamagedFile.
    """
    index = _index(path)
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
    index = _index(path)
    width, height = _fitted(index.size, min(longest, max(index.size)))
    step_s, due_s = 1 / max_rate_hz, -np.inf
    for time_s, frame in _shown(path, index, span):
        # A quarter early is on time, or a clock that jitters would lose frames.
        if time_s < due_s - step_s / 4:
            continue
        due_s = (due_s if time_s < due_s + step_s else time_s) + step_s
        rgb = frame.to_ndarray(format="rgb24", width=width, height=height, interpolation="BILINEAR")
        yield time_s, np.ascontiguousarray(np.rot90(rgb, index.rotation))


def _shown(path: str | Path, index: _Index, span: Span | None) -> Iterator[tuple[float, Any]]:
    """Time and av.VideoFrame of every sound frame within `span`, in the order shown."""
    first, last = (-np.inf, np.inf) if span is None else (span.start_s - SLACK_S, span.end_s)
    with _opened(path) as (container, stream):
        if span is not None and not index.ordinal:
            # One key frame early: a seek may land late.
            key = max(int(np.searchsorted(index.t_s[np.searchsorted(index.pts, index.key_pts)], first)) - 2, 0)
            container.seek(int(index.key_pts[key]), stream=stream, backward=True)
        shown = -np.inf
        for number, frame in enumerate(container.decode(stream)):
            if frame.pts is None and not index.ordinal:
                continue  # without a time it tells nothing of motion
            at = number if index.ordinal else int(np.searchsorted(index.pts, frame.pts))
            if at >= len(index.t_s) or index.t_s[at] >= last:
                return
            time_s = float(index.t_s[at])
            if time_s < first or time_s <= shown or frame.is_corrupt:
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


def _by_decord(path: str | Path, index: _Index, wanted: Int64, width: int, height: int) -> UInt8 | None:
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


def _decode(path: str | Path, index: _Index, wanted: Int64) -> Iterator[Any]:
    """av.VideoFrame for each of `wanted` (increasing pts), decoding only from the key frame before each."""
    key_of = np.searchsorted(index.key_pts, wanted, side="right") - 1
    with _opened(path) as (container, stream):
        if index.ordinal:
            numbers = set(wanted.tolist())
            yield from (frame for number, frame in enumerate(container.decode(stream)) if number in numbers)
            return
        for key in np.unique(key_of):
            group = wanted[key_of == key]
            done = 0
            # A seek may land late (transport streams, odd decoding times): then earlier, at last from the beginning.
            for earlier in (0, 1, 3, key + 1):
                if earlier <= key:
                    container.seek(int(index.key_pts[key - earlier]), stream=stream, backward=True)
                else:
                    container.seek(0, backward=True)
                for frame in container.decode(stream):
                    if frame.pts is None or frame.pts < group[done]:
                        continue
                    if frame.pts > group[done]:
                        break
                    if frame.is_corrupt:
                        raise DamagedFile(path, f"the frame at {_time_of(index, group[done]):.3f} s is damaged")
                    yield frame
                    done += 1
                    if done == len(group):
                        break
                if done == len(group):
                    break
            else:
                raise DamagedFile(path, f"the frame at {_time_of(index, group[done]):.3f} s cannot be decoded")


def _time_of(index: _Index, pts: int) -> float:
    return float(index.t_s[np.searchsorted(index.pts, pts)])


@contextmanager
def _opened(path: str | Path) -> Iterator[tuple[Any, Any]]:
    """The container and its video stream. Raises DamagedFile for all that libav raises inside the block."""
    try:
        with av.open(str(path), metadata_errors="replace") as container:
            pictures = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
            if not pictures:
                raise DamagedFile(path, "holds no video stream")
            if pictures[0].codec_context is None:
                raise DamagedFile(path, "its video codec is not known")
            pictures[0].thread_type = "AUTO"
            yield container, pictures[0]
    except (av.FFmpegError, OSError) as error:
        raise DamagedFile(path, f"cannot be read as video: {error.strerror or error}") from error


def _index(path: str | Path) -> _Index:
    try:
        stat = os.stat(path)
    except OSError as error:
        raise DamagedFile(path, f"cannot be read: {error.strerror}") from error
    return _indexed(str(path), stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=64)
def _indexed(path: str, mtime_ns: int, size: int) -> _Index:
    """`_index`, kept as long as the file stays as it is."""
    if not size:
        raise DamagedFile(path, "is empty")
    with _opened(path) as (container, stream):
        time_base = stream.time_base
        start_pts = round(Fraction(container.start_time or 0, av.time_base) / time_base)
        declared_s = _declared_s(container, stream)
        declared_frames = sum(not e.is_discard for e in stream.index_entries) if "mp4" in container.format.name else 0
        codec, camera = stream.codec_context.name, _camera(container.metadata)
        for_decord = codec in DECORD_CODECS and any(name in container.format.name for name in DECORD_CONTAINERS)
        packets, cut, closed = _packets(container, stream)
        container.seek(0, backward=True)
        frame = next(container.decode(stream), None)
        if frame is None or not packets:
            raise DamagedFile(path, "no frame can be decoded")
        ordinal = container.format.name in WITHOUT_PTS or any(packet[0] is None for packet in packets)
        if ordinal:
            container.seek(0, backward=True)
            time_base, start_pts = 1 / Fraction(stream.average_rate or 25), 0
            packets = [(number, 1, number == 0) for number, _ in enumerate(container.decode(stream))]
    pts, first = np.unique(np.array([p[0] for p in packets], dtype=np.int64), return_index=True)
    t_s = (pts - start_pts) * float(time_base)
    last_s = packets[int(first[-1])][1] * float(time_base)
    if not last_s:
        last_s = float(np.median(np.diff(t_s))) if len(t_s) > 1 else 0.04
    end_s = float(t_s[-1]) + last_s
    problems = []
    if cut or len(packets) < declared_frames:
        held = f"{len(packets)} of {max(declared_frames, len(packets) + cut)} frames are there"
        problems.append(f"the video is cut off at {end_s:.2f} s: {held}")
    elif not declared_frames and declared_s - (end_s - float(t_s[0])) > max(0.25, 0.01 * declared_s):
        problems.append(f"the video is cut off: {end_s:.2f} of {declared_s:.2f} s are there")
    return _Index(
        pts=pts,
        key_pts=np.unique(np.array([p[0] for p in packets if p[2]] or [pts[0]], dtype=np.int64)),
        t_s=t_s,
        end_s=end_s,
        size=(frame.width, frame.height),
        rotation=round(frame.rotation / 90) % 4,
        codec=codec,
        camera=camera,
        for_decord=for_decord and closed and not ordinal,
        ordinal=ordinal,
        problems=tuple(problems),
    )


def _packets(container: Any, stream: Any) -> tuple[list[tuple[int | None, int, bool]], int, bool]:
    """(pts, duration, is it a key frame) of every frame shown; how many are cut off; whether all GOPs are closed."""
    packets: list[tuple[int | None, int, bool]] = []
    cut, closed, key = 0, True, None
    for packet in container.demux(stream):
        if not packet.size or packet.is_discard:
            continue
        if packet.is_corrupt:
            cut += 1
            continue
        packets.append((packet.pts, packet.duration or 0, packet.is_keyframe))
        key = packet.pts if packet.is_keyframe else key
        closed = closed and key is not None and packet.pts is not None and packet.pts >= key
    return packets, cut, closed


def _declared_s(container: Any, stream: Any) -> float:
    """How long the container says the video is; 0 where it says nothing that holds for the picture."""
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    clock = re.fullmatch(r"(\d+):(\d+):([\d.]+)", stream.metadata.get("DURATION", ""))  # Matroska, by libav
    if clock:
        return 3600 * int(clock[1]) + 60 * int(clock[2]) + float(clock[3])
    if container.duration is not None and len(container.streams) == 1:
        return float(container.duration / av.time_base)
    return 0.0


def _camera(metadata: dict[str, str]) -> str:
    keys = (("make", "model"), ("com.apple.quicktime.make", "com.apple.quicktime.model"))
    named = (" ".join(metadata[k] for k in pair if metadata.get(k)) for pair in keys)
    return next((name for name in named if name), metadata.get("com.android.model", ""))
