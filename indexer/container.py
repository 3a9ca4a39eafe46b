"""Which frames a video file holds and when each is shown, read from its packets."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from motionseek.errors import DamagedFile
from motionseek.indexer.stills import holds_stills, stills_of
from motionseek.types import Float64

Int64 = npt.NDArray[np.int64]

DECORD_CODECS = ("h264", "vp8", "vp9")
DECORD_CONTAINERS = ("mp4", "webm")
"""Parts of libav's format names. In transport streams decord's seeks miss the first GOP."""

WITHOUT_PTS = ("avi",)


@dataclass(frozen=True, eq=False)
class VideoIndex:
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
    stills: bool = False
    """The pictures lie one by one in a log (see `stills`): pts is the number of the picture."""

    def time_of(self, pts: int) -> float:
        return float(self.t_s[np.searchsorted(self.pts, pts)])

    @property
    def shown_size(self) -> tuple[int, int]:
        return (self.size[1], self.size[0]) if self.rotation % 2 else self.size


@contextmanager
def opened(path: str | Path) -> Iterator[tuple[Any, Any]]:
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
    except MemoryError:  # libav's own is an OSError as well
        raise
    except (av.FFmpegError, OSError) as error:
        raise DamagedFile(path, f"cannot be read as video: {error.strerror or error}") from error


def decoded(packets: Iterable[Any]) -> Iterator[Any]:
    """Their frames; what the decoder refuses is passed over, and what was predicted from it: up to the next key frame,
    pictures come that were never filmed."""
    spoilt = False
    for packet in packets:
        try:
            frames = packet.decode()
        except av.InvalidDataError:
            spoilt = True
            continue
        for frame in frames:
            spoilt = frame.is_corrupt or (spoilt and not frame.key_frame)
            if not spoilt:
                yield frame


def unbroken(packets: Iterable[Any]) -> Iterator[Any]:
    """Their frames up to the first that is damaged, where only counting tells which frame is which."""
    for packet in packets:
        try:
            frames = packet.decode()
        except av.InvalidDataError:
            return
        for frame in frames:
            if frame.is_corrupt:
                return
            yield frame


def index_of(path: str | Path) -> VideoIndex:
    try:
        stat = os.stat(path)
    except OSError as error:
        raise DamagedFile(path, f"cannot be read: {error.strerror}") from error
    return _indexed(str(path), stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=64)
def _indexed(path: str, mtime_ns: int, size: int) -> VideoIndex:
    """`index_of`, kept as long as the file stays as it is."""
    if not size:
        raise DamagedFile(path, "is empty")
    if holds_stills(Path(path)):
        return _of_stills(path)
    with opened(path) as (container, stream):
        time_base = stream.time_base
        start_pts = round(Fraction(container.start_time or 0, av.time_base) / time_base)
        declared_s = _declared_s(container, stream)
        declared_frames = sum(not e.is_discard for e in stream.index_entries) if "mp4" in container.format.name else 0
        codec, camera = stream.codec_context.name, _camera(container.metadata)
        for_decord = codec in DECORD_CODECS and any(name in container.format.name for name in DECORD_CONTAINERS)
        packets, cut, closed = _packets(container, stream)
        container.seek(0, backward=True)
        frame = next(decoded(container.demux(stream)), None)
        if frame is None or not packets:
            raise DamagedFile(path, "no frame can be decoded")
        ordinal = container.format.name in WITHOUT_PTS or any(packet[0] is None for packet in packets)
        if ordinal:
            container.seek(0, backward=True)
            time_base, start_pts = 1 / Fraction(stream.average_rate or 25), 0
            packets = [(number, 1, number == 0) for number, _ in enumerate(unbroken(container.demux(stream)))]
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
    return VideoIndex(
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


def _of_stills(path: str) -> VideoIndex:
    pictures = stills_of(path)
    if pictures is None:
        raise DamagedFile(path, "holds no picture that can be read")
    t_s, number = pictures.t_s, np.arange(len(pictures.t_s), dtype=np.int64)
    last_s = float(np.median(np.diff(t_s))) if len(t_s) > 1 else 0.04
    return VideoIndex(
        pts=number,
        key_pts=number,
        t_s=t_s,
        end_s=float(t_s[-1]) + last_s,
        size=pictures.size,
        rotation=pictures.rotation,
        codec=pictures.codec,
        camera=pictures.camera,
        for_decord=False,
        ordinal=False,
        problems=pictures.problems,
        stills=True,
    )


def stills(path: str | Path, numbers: Iterable[int]) -> Iterator[tuple[int, Any]]:
    """(number, av.VideoFrame) of those pictures of a log that can be read. Raises DamagedFile."""
    if (pictures := stills_of(path)) is None:
        return
    for number in numbers:
        with suppress(DamagedFile):
            yield number, pictures.frame(number)


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
