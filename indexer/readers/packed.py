"""Many trials in one npz: looking inside without loading it, and loading it without running anything."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from motionseek.errors import DamagedFile


def has_arrays(path: Path, names: Sequence[str]) -> bool:
    """Whether `path` is an npz that holds at least these arrays, from its directory alone."""
    if path.suffix.lower() != ".npz" or not path.is_file():
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return {f"{name}.npy" for name in names} <= set(archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def is_cut_off(path: Path) -> bool:
    """Whether `path` is called npz and is none."""
    return path.suffix.lower() == ".npz" and path.is_file() and not zipfile.is_zipfile(path)


def version_of(path: Path) -> tuple[int, int]:
    """What changes with the file, to keep what was read of it: mtime in ns, size. Raises DamagedFile."""
    try:
        stat = path.stat()
    except OSError as error:
        raise DamagedFile(path, f"cannot be read: {error.strerror}") from error
    return stat.st_mtime_ns, stat.st_size


def load_arrays(path: Path, names: Sequence[str], what: str) -> Mapping[str, Any]:
    """The arrays `names` of an npz that must be a `what`. Raises DamagedFile."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in names}
    except (OSError, ValueError, KeyError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        raise DamagedFile(path, f"is not a {what} npz: {error}") from error
