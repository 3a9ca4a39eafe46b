"""Pictures that lie one by one in a log, each with its stamp, as a video: those of VRS and of MCAP files."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from motionseek.errors import DamagedFile
from motionseek.indexer import mcap, vrs
from motionseek.indexer.vrs import Int64
from motionseek.types import Float64


class Stills(Protocol):
    """The pictures of one camera."""

    stamps_ns: Int64
    """(N,) increasing, on the log's clock."""
    size: tuple[int, int]
    """(width, height) as stored."""
    rotation: int
    """Quarter turns counter-clockwise that show a picture upright."""
    codec: str
    camera: str
    problems: tuple[str, ...]

    @property
    def t_s(self) -> Float64:
        """(N,) seconds since the first."""
        ...

    def frame(self, number: int) -> Any:
        """An av.VideoFrame. Raises DamagedFile."""
        ...


def holds_stills(path: Path) -> bool:
    """Whether the pictures in a file, if any, are such."""
    return vrs.is_vrs(path) or mcap.is_mcap(path)


def stills_of(path: str | Path) -> Stills | None:
    """None where the file has none. Raises DamagedFile, MissingExtra."""
    try:
        stat = os.stat(path)
    except OSError as error:
        raise DamagedFile(path, f"cannot be read: {error.strerror}") from error
    return _stills(str(path), stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=4)
def _stills(path: str, mtime_ns: int, size: int) -> Stills | None:
    """`stills_of`, kept as long as the file stays as it is."""
    return mcap.pictures_of(path) if mcap.is_mcap(Path(path)) else vrs.pictures_of(path)
