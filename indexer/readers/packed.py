"""Many trials in one npz: looking inside without loading it, and loading it without running anything."""

from __future__ import annotations

import math
import tokenize
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

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


def npy_header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of the npy that begins here; the file is then at its data. Raises ValueError."""
    version = np.lib.format.read_magic(file)
    head = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    try:
        shape, _, dtype = head(file)
    except (SyntaxError, tokenize.TokenError) as error:  # numpy parses the header as Python
        raise ValueError(f"its header is damaged: {error}") from error
    return shape, dtype


def check_claim(file: IO[bytes], size: int) -> None:
    """Before memory is taken for it: an npy of `size` bytes holds what its header says, or ValueError."""
    shape, dtype = npy_header(file)
    if math.prod(shape) * dtype.itemsize > size and not dtype.hasobject:
        raise ValueError(f"its header says {shape} of {dtype}, which {size} bytes do not hold")


def load_npy(path: Path) -> Any:
    """The array of an npy file. Raises DamagedFile."""
    try:
        size = path.stat().st_size
        if not size:
            raise DamagedFile(path, "is empty")
        with path.open("rb") as file:
            if file.read(6) != b"\x93NUMPY":
                raise DamagedFile(path, "is not an npy file")
            file.seek(0)
            check_claim(file, size)
        return np.load(path, allow_pickle=False)
    except OSError as error:
        raise DamagedFile(path, f"cannot be read: {error.strerror or error}") from error
    except (ValueError, EOFError, MemoryError) as error:
        raise DamagedFile(path, f"is not an npy file of numbers: {' '.join(str(error).split())[:200]}") from error


def load_arrays(path: Path, names: Sequence[str], what: str) -> Mapping[str, Any]:
    """The arrays `names` of an npz that must be a `what`. Raises DamagedFile."""
    try:
        with zipfile.ZipFile(path) as archive:
            for name in names:
                with archive.open(f"{name}.npy") as member:
                    check_claim(member, archive.getinfo(f"{name}.npy").file_size)
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in names}
    except (
        OSError,
        ValueError,
        KeyError,
        EOFError,
        MemoryError,
        RuntimeError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise DamagedFile(path, f"is not a {what} npz: {error}") from error
