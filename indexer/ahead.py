"""What is read ahead of who takes it: a queue bounded by bytes."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

MESSAGE_BYTES = 1 << 10
"""Of an entry that holds little else than what it says."""


class Stopped(Exception):
    """Nobody takes the messages any more."""


class Ahead:
    """A queue bounded by the bytes in it, of which one entry may have more."""

    def __init__(self, most_bytes: int) -> None:
        self._most, self._held, self._open = most_bytes, 0, True
        self._entries: deque[tuple[Any, int]] = deque()
        self._changed = threading.Condition()

    def put(self, entry: Any, size: int = MESSAGE_BYTES) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._open or not self._held or self._held + size <= self._most)
            if not self._open:
                raise Stopped
            self._entries.append((entry, size))
            self._held += size
            self._changed.notify_all()

    def take(self) -> Any:
        with self._changed:
            self._changed.wait_for(lambda: self._entries)
            entry, size = self._entries.popleft()
            self._held -= size
            self._changed.notify_all()
            return entry

    def close(self) -> None:
        with self._changed:
            self._open = False
            self._changed.notify_all()
