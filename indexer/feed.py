"""Recordings in pieces, from several child processes at once, no further ahead of the encoder than a little memory."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal

from motionseek.errors import UsageError
from motionseek.indexer.child import Child, ChildDied
from motionseek.indexer.prepare import End, Frames, Head, Looked, Needs, Piece, Signals, as_dict, prepare
from motionseek.indexer.readers import Source, content_id
from motionseek.indexer.readers.hashes import NotHashed, Stamp, only_known
from motionseek.indexer.worker import Failure, Identity, failure_of
from motionseek.types import Recording

AHEAD_BYTES = 32 << 20
"""What each child may have read before it is taken; one message may be larger."""
MESSAGE_BYTES = 1 << 10


@dataclass(frozen=True)
class Limits:
    """What reading may take. workers: child processes, 0 for as many as there are cores, at most 4.   timeout_s: how
    long a child may give no sign of life before it is ended, and the file has failed.   memory_gb: of each child."""

    workers: int = 0
    timeout_s: float = 600.0
    memory_gb: float = 4.0

    def __post_init__(self) -> None:
        if self.workers < 0 or self.timeout_s <= 0 or self.memory_gb < 1:
            raise UsageError(
                f"workers must be 0 or more, timeout_s above 0 and memory_gb at least 1, not {self.workers}, "
                f"{self.timeout_s:g} and {self.memory_gb:g}"
            )

    @property
    def children(self) -> int:
        return self.workers or min(4, os.cpu_count() or 1)


@dataclass(frozen=True, eq=False)
class Item:
    """Something to index: a source on disk, or a recording in memory."""

    given: Source | Recording

    @property
    def uri(self) -> str:
        return self.given.uri if isinstance(self.given, Recording) else self.given.path

    @property
    def format(self) -> str:
        return self.given.source_format if isinstance(self.given, Recording) else self.given.format


@dataclass(frozen=True)
class Claim:
    """What is to be done with a recording: read it as `needs` say, nothing, look at it again later, or stop here."""

    what: Literal["read", "nothing", "later", "stop"]
    needs: Needs | None = None


Message = Identity | Looked | Head | Piece | End | Failure
_STOP = ("stop",)


class Feed:
    """`with Feed(items, limits) as feed:` starts the children; `feed.messages(claim, stamps)` gives what they say."""

    def __init__(self, items: Sequence[Item], limits: Limits) -> None:
        self._items = iter(items)
        files = sum(isinstance(item.given, Source) for item in items)
        self._children = [Child(limits.timeout_s, limits.memory_gb) for _ in range(max(1, min(limits.children, files)))]
        self._ahead = _Ahead(AHEAD_BYTES * len(self._children))
        self._lock = threading.Lock()
        self._later: list[Item] = []
        self._claim: Callable[[Item, str], Claim] = lambda item, recording_id: Claim("nothing")
        self._stamps: Mapping[str, Stamp] = {}
        self.read_s = 0.0
        if files:
            for child in self._children:
                child.start()

    def __enter__(self) -> Feed:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ahead.close()
        for child in self._children:
            child.close()

    def messages(
        self, claim: Callable[[Item, str], Claim], stamps: Mapping[str, Stamp]
    ) -> Iterator[tuple[Item, Message]]:
        """(item, message). For each item first its Identity; then, where `claim` says that it is to be read, Head,
        pieces and End; or, at any point, a Failure as the last. Messages of several items interleave.

        claim: item, recording_id → Claim; called in other threads, one at a time.   stamps: files whose hash is known.
        """
        self._claim, self._stamps = claim, stamps
        yield from self._round(self._children)
        while self._later:
            # Copies of what was being read when they were met: now it is known.
            self._items, self._later = iter(self._later), []
            yield from self._round(self._children[:1])

    def _round(self, children: Sequence[Child]) -> Iterator[tuple[Item, Message]]:
        threads = [threading.Thread(target=self._serve, args=(child,), daemon=True) for child in children]
        for thread in threads:
            thread.start()
        count = len(threads)
        while count:
            entry = self._ahead.take()
            if isinstance(entry, BaseException):
                raise entry
            if entry is _STOP:
                count -= 1
            else:
                yield entry
        for thread in threads:
            thread.join()

    def _serve(self, child: Child) -> None:
        try:
            while (item := self._next()) is not None:
                for message in self._told(item, child):
                    self._ahead.put((item, message), _size(message))
            self._ahead.put(_STOP)
        except _Stopped:
            return
        except BaseException as error:
            self._ahead.put(error)
        finally:
            child.close()

    def _next(self) -> Item | None:
        with self._lock:
            return next(self._items, None)

    def _told(self, item: Item, child: Child) -> Iterator[Message]:
        began = time.perf_counter()
        try:
            for message in self._read(item, child):
                self._spent(began)
                yield message
                began = time.perf_counter()
        except ChildDied as error:
            yield Failure(str(error), error.lasting)
        except Exception as error:
            yield failure_of(error)
        self._spent(began)

    def _spent(self, began: float) -> None:
        with self._lock:
            self.read_s += time.perf_counter() - began

    def _read(self, item: Item, child: Child) -> Iterator[Message]:
        given = item.given
        identity = self._known(given)
        if identity is None:
            answer = next(child.ask({"do": "identify", "source": vars(given)}))
            if not isinstance(answer, Identity):
                yield answer
                return
            identity = answer
        with self._lock:
            claim = self._claim(item, identity.recording_id)
            if claim.what == "stop":
                self._items = iter(())
            elif claim.what == "later":
                self._later.append(item)
        if claim.what in ("stop", "later"):
            return
        yield identity
        if claim.needs is None:
            return
        if isinstance(given, Recording):
            yield from prepare(given, claim.needs)
            return
        job = {"do": "read", "source": vars(given), "recording_id": identity.recording_id}
        yield from child.ask({**job, "needs": as_dict(claim.needs)})

    def _known(self, given: Source | Recording) -> Identity | None:
        """Without reading: what is in memory, and files that look as they did when they were hashed."""
        if isinstance(given, Recording):
            return Identity(given.recording_id, ())
        try:
            with only_known(self._stamps):
                return Identity(content_id(given), ())
        except NotHashed:
            return None


class _Stopped(Exception):
    """Nobody takes the messages any more."""


class _Ahead:
    """A queue bounded by the bytes in it, of which one entry may have more."""

    def __init__(self, most_bytes: int) -> None:
        self._most, self._held, self._open = most_bytes, 0, True
        self._entries: deque[tuple[Any, int]] = deque()
        self._changed = threading.Condition()

    def put(self, entry: Any, size: int = MESSAGE_BYTES) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._open or not self._held or self._held + size <= self._most)
            if not self._open:
                raise _Stopped
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


def _size(message: Message) -> int:
    if isinstance(message, Frames):
        return message.frames.nbytes + MESSAGE_BYTES
    if isinstance(message, Signals):
        return sum(grid.x.nbytes + grid.mask.nbytes for grid in message.grids) + MESSAGE_BYTES
    return MESSAGE_BYTES
