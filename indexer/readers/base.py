"""What every reader gives, and how a recording gets its name."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from motionseek.indexer.readers.hashes import file_id
from motionseek.types import Recording

__all__ = ["Reader", "Source", "columns_of", "file_id", "joint_id"]


@dataclass(frozen=True)
class Source:
    """One recording that was found, not read yet."""

    path: str
    """A file or folder; "file#part" where one file holds many recordings."""
    format: str
    """A key of READERS, "" where no reader knows it."""
    problem: str = ""
    """Why it cannot be read, where that is already known: `read` raises it, so that it is counted as failed."""
    units: Mapping[str, str] = field(default_factory=dict, hash=False)
    """What its numbers are in, where the user says so and the format does not; see `checks.UNITS`."""

    def __str__(self) -> str:
        return self.path


def _itself(path: Path) -> list[str]:
    return [str(path)]


@dataclass(frozen=True)
class Reader:
    """One format."""

    name: str
    matches: Callable[[Path], bool]
    """Whether a file or folder looks like this format, from its name and at most its first bytes; raises nothing."""
    read: Callable[..., Recording]
    """Source path → recording; with `units=` where it `takes_units`. Raises MediaError, UsageError."""
    content_id: Callable[[str], str]
    """Source path → recording_id, without decoding. Raises DamagedFile."""
    expand: Callable[[Path], list[str]] = _itself
    """The source paths that a file or folder holds. Raises DamagedFile."""
    takes_units: bool = False
    """Whether the format leaves open what its numbers are in."""
    holds: Callable[[Path, str], bool] | None = None
    """Whether a file has this part, where that is known without finding all of its parts."""


def columns_of(path: Path) -> set[str]:
    """The names in the first line of a csv, none where it has none or cannot be read: for `Reader.matches`."""
    try:
        with path.open("rb") as file:
            line = file.readline(4096).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return set()
    return {name.strip(' "\r\n') for name in line.split(",")}


def joint_id(named: Iterable[tuple[str, str]]) -> str:
    """sha256 of several (name, sha256): the identity of what consists of several files."""
    digest = hashlib.sha256()
    for name, content in named:
        digest.update(f"{len(name)}:{name}={content}\n".encode())
    return digest.hexdigest()
