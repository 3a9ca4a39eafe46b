"""sha256 of files, each read once: what is unchanged by path, size, time and inode is not read again."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from motionseek.errors import DamagedFile

CHUNK_BYTES = 1 << 20
SETTLED_NS = 2_000_000_000
"""A file changed less than this long before it was hashed may change again without its time showing it."""


@dataclass(frozen=True)
class Stamp:
    """A file as it was when it was hashed."""

    path: str
    size: int
    mtime_ns: int
    inode: int
    sha256: str

    def still(self) -> bool:
        """Whether the file looks as it did."""
        try:
            return _look(self.path) == (self.size, self.mtime_ns, self.inode)
        except OSError:
            return False


class NotHashed(Exception):
    """A file is not among those that are known, or is no longer what it was."""


_known: ContextVar[Mapping[str, Stamp] | None] = ContextVar("known", default=None)
_used: ContextVar[dict[str, Stamp] | None] = ContextVar("used", default=None)


def file_id(path: str | Path) -> str:
    """sha256 of a file's bytes. Raises DamagedFile; NotHashed inside `only_known`, where it would have to be read."""
    path = str(path)
    try:
        look = _look(path)
        if (known := _known.get()) is not None:
            stamp = known.get(path)
            if stamp is None or (stamp.size, stamp.mtime_ns, stamp.inode) != look:
                raise NotHashed(path)
            return stamp.sha256
        digest = _sha256(path, *look)
    except OSError as error:
        raise DamagedFile(path, f"cannot be read: {error.strerror or error}") from error
    if (used := _used.get()) is not None:
        used[path] = Stamp(path, *look, digest)
    return digest


@contextmanager
def only_known(stamps: Mapping[str, Stamp]) -> Iterator[None]:
    """Inside, `file_id` reads no file: it answers from `stamps` by path, or raises NotHashed."""
    token = _known.set(stamps)
    try:
        yield
    finally:
        _known.reset(token)


@contextmanager
def noting() -> Iterator[dict[str, Stamp]]:
    """The files that `file_id` is asked for inside, by path."""
    used: dict[str, Stamp] = {}
    token = _used.set(used)
    try:
        yield used
    finally:
        _used.reset(token)


def settled(stamp: Stamp) -> bool:
    """Whether the stamp may be trusted later: a file changed within the clock's grain would look the same."""
    return time.time_ns() - stamp.mtime_ns > SETTLED_NS


def _look(path: str) -> tuple[int, int, int]:
    stat = os.stat(path)
    return stat.st_size, stat.st_mtime_ns, stat.st_ino & (2**63 - 1)


@lru_cache(maxsize=4096)
def _sha256(path: str, size: int, mtime_ns: int, inode: int) -> str:
    with open(path, "rb") as file:
        digest = hashlib.sha256()
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
