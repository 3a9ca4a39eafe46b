"""VRS, the container of Project Aria's glasses: its streams, and the pictures of the colour camera as a video.

The pictures are single images, each with its stamp of the device clock; the camera is mounted a quarter turn off.
Needs projectaria-tools, the extra `aria`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from motionseek.errors import DamagedFile, MissingExtra
from motionseek.indexer.begins import begins
from motionseek.types import Float64

Int64 = npt.NDArray[np.int64]

MAGIC = b"VisionRe"
CAMERA = "camera-rgb"
ROTATION = 3
"""Quarter turns counter-clockwise that show a picture upright."""


def is_vrs(path: Path) -> bool:
    return begins(path, ".vrs", MAGIC)


def open_vrs(path: str) -> Any:
    """The library's provider of a file. Raises DamagedFile, MissingExtra."""
    try:
        with open(path, "rb") as file:
            magic = file.read(len(MAGIC))
    except OSError as error:
        raise DamagedFile(path, f"cannot be read: {error.strerror}") from error
    if magic != MAGIC:
        raise DamagedFile(path, "is not a VRS file" if magic else "is empty")
    try:
        from projectaria_tools.core import data_provider
    except ImportError as error:
        raise MissingExtra("projectaria-tools, which reads VRS files,", "aria") from error
    try:
        with _quiet():
            provider = data_provider.create_vrs_data_provider(path)
    except (RuntimeError, ValueError, IndexError, MemoryError) as error:
        raise DamagedFile(path, f"cannot be opened as VRS: {error}") from error
    if provider is None:
        raise DamagedFile(path, "cannot be opened as VRS")
    return provider


@contextmanager
def _quiet() -> Iterator[None]:
    """The library tells of every stream it opens on the process's own outputs, past Python."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    kept = {fd: os.dup(fd) for fd in (1, 2)}
    try:
        with open(os.devnull, "wb") as nowhere:
            for fd in kept:
                os.dup2(nowhere.fileno(), fd)
        yield
    finally:
        for fd, own in kept.items():
            os.dup2(own, fd)
            os.close(own)


def stamps_ns(provider: Any, name: str) -> Int64:
    """Of every record of a stream, on the device clock; none where the file has no such stream."""
    from projectaria_tools.core.sensor_data import TimeDomain

    stream = provider.get_stream_id_from_label(name)
    if stream is None:
        return np.empty(0, np.int64)
    return np.asarray(provider.get_timestamps_ns(stream, TimeDomain.DEVICE_TIME), np.int64)


@dataclass(eq=False)
class Pictures:
    """The colour camera's; a `Stills`. stamps_ns: (N,) increasing, of the device clock."""

    path: str
    stamps_ns: Int64
    size: tuple[int, int]
    _provider: Any
    _stream: Any
    _number: Int64
    rotation: int = ROTATION
    codec: str = "vrs"
    camera: str = "Project Aria"
    problems: tuple[str, ...] = ()

    @property
    def t_s(self) -> Float64:
        """(N,) seconds since the first."""
        return np.asarray((self.stamps_ns - self.stamps_ns[0]) * 1e-9, np.float64)

    def frame(self, number: int) -> av.VideoFrame:
        """Raises DamagedFile."""
        try:
            picture, _ = self._provider.get_image_data_by_index(self._stream, int(self._number[number]))
            pixels = np.ascontiguousarray(picture.to_numpy_array())
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24" if pixels.ndim == 3 else "gray")
        except (RuntimeError, IndexError, ValueError, TypeError) as error:
            raise DamagedFile(self.path, f"its picture {number} cannot be read: {error}") from error
        frame.pts = number
        return frame


def pictures_of(path: str) -> Pictures | None:
    """None where the file has none. Raises DamagedFile, MissingExtra."""
    provider = open_vrs(path)
    ns, number = np.unique(stamps_ns(provider, CAMERA), return_index=True)
    if not len(ns):
        return None
    stream = provider.get_stream_id_from_label(CAMERA)
    stored = provider.get_image_configuration(stream)
    return Pictures(path, ns, (stored.image_width, stored.image_height), provider, stream, number)
