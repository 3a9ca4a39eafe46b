"""One writer an archive."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import TracebackType
from typing import IO

from motionseek.errors import ArchiveError, ArchiveLocked

if sys.platform == "win32":
    import msvcrt

    def _try_lock(file: IO[str]) -> None:
        file.seek(64)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        file.seek(0)

else:
    import fcntl

    def _try_lock(file: IO[str]) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


class WriterLock:
    """Held by the operating system on `writer.lock`, so that a killed writer never leaves it behind.

    The file stays; it says which process wrote last.
    """

    def __init__(self, root: Path) -> None:
        self.path = root / "writer.lock"
        self._file: IO[str] | None = None

    def __enter__(self) -> WriterLock:
        try:
            file = self.path.open("a+", encoding="utf-8")
        except OSError as error:
            raise ArchiveError(f"{self.path.parent} cannot be written to: {error.strerror}") from error
        try:
            _try_lock(file)
        except OSError as error:
            file.seek(0)
            holder = file.read(40).strip() or "another process"
            file.close()
            raise ArchiveLocked(
                f"{self.path.parent} is being written by {holder}: wait until it is done, or index into another archive"
            ) from error
        file.truncate(0)
        file.write(f"process {os.getpid()}")
        file.flush()
        self._file = file
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
