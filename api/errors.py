"""Every error that motionseek raises.

MotionseekError
├── UsageError            the call itself is wrong: an argument, a combination, a missing extra
│   ├── MissingExtra      an optional dependency is not installed; the message is the line that installs it
│   └── QueryError        a query that cannot be answered as asked
├── MediaError            a file that cannot be used; always names the file
│   ├── UnknownFormat     no reader knows this file or folder
│   ├── DamagedFile       the reader knows it, but it cannot be decoded or lacks what it must hold
│   └── UnitError         the numbers cannot be in the units that the file claims
├── ModelError            a model folder, checkpoint or hub name that cannot be loaded or does not fit
└── ArchiveError          an archive that cannot be opened, read or written
    ├── ArchiveLocked     another process is writing to it
    └── StaleIndex        vectors were built by another model than the one asked for
"""

from __future__ import annotations

__all__ = [
    "ArchiveError",
    "ArchiveLocked",
    "DamagedFile",
    "MediaError",
    "MissingExtra",
    "ModelError",
    "MotionseekError",
    "QueryError",
    "StaleIndex",
    "UnitError",
    "UnknownFormat",
    "UsageError",
]


class MotionseekError(Exception):
    """Base of all errors of this package."""


class UsageError(MotionseekError):
    """The call is wrong; the message names the argument and what to do."""


class MissingExtra(UsageError):
    """An optional dependency is missing."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} is not installed. Install it with:  pip install 'motionseek[{extra}]'")
        self.extra = extra


class QueryError(UsageError):
    """A query that cannot be answered as asked."""


class MediaError(MotionseekError):
    """A media file that cannot be used."""

    def __init__(self, path: object, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = str(path)
        self.reason = reason

    def __reduce__(self) -> tuple[type[MediaError], tuple[str, str]]:
        return type(self), (self.path, self.reason)


class UnknownFormat(MediaError):
    """No reader knows this file or folder."""


class DamagedFile(MediaError):
    """A known format that cannot be decoded, or that lacks what it must hold."""


class UnitError(MediaError):
    """The numbers cannot be in the units claimed."""


class ModelError(MotionseekError):
    """A model that cannot be loaded or does not fit."""


class ArchiveError(MotionseekError):
    """An archive that cannot be opened, read or written."""


class ArchiveLocked(ArchiveError):
    """Another process is writing to the archive."""


class StaleIndex(ArchiveError):
    """The stored vectors were built by another model."""
