"""Recordings in pieces, from several child processes at once, no further ahead of the encoder than a little memory."""

from __future__ import annotations

import os
import stat
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from motionseek.errors import UsageError
from motionseek.indexer.ahead import MESSAGE_BYTES, Ahead, Stopped
from motionseek.indexer.child import Child, ChildDied
from motionseek.indexer.prepare import End, Frames, Head, Looked, Needs, Piece, Signals, as_dict, prepare
from motionseek.indexer.readers import Source, content_id
from motionseek.indexer.readers.hashes import NotHashed, Stamp, only_known
from motionseek.indexer.wire import unpacked
from motionseek.indexer.worker import KINDS, Failure, Identity, Packed, failure_of
from motionseek.types import Recording

AHEAD_BYTES = 32 << 20
"""What each child may have read before it is taken; one message may be larger."""
SMALL, SMALL_BYTES = "imu", 256 << 10
"""The format of single sensors, and how large a file of it may be to be read together with others: what passes between
the processes for each of them would take longer than reading it."""
TOGETHER = 64
MOST_GB = 1e9
"""More is no limit that a system could keep."""


@dataclass(frozen=True)
class Limits:
    """What reading may take. workers: child processes, 0 for as many as there are cores, at most 4.   timeout_s: how
    long a child may give no sign of life before it is ended, and the file has failed.   memory_gb: of each child."""

    workers: int = 0
    timeout_s: float = 600.0
    memory_gb: float = 4.0

    def __post_init__(self) -> None:
        if self.workers < 0 or not self.timeout_s > 0 or not 1 <= self.memory_gb < MOST_GB:
            raise UsageError(
                f"workers must be 0 or more, timeout_s above 0 and memory_gb from 1 to {MOST_GB:g}, not "
                f"{self.workers}, {self.timeout_s:g} and {self.memory_gb:g}"
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
_Told = TypeVar("_Told")


class Feed:
    """`with Feed(limits) as feed:`; `feed.messages(items, claim, stamps)` gives what the children say."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._children: list[Child] = []
        self._items = deque[Item]()
        self._ahead = Ahead(AHEAD_BYTES * limits.children)
        self._lock = threading.Lock()
        self._later: list[Item] = []
        self._claim: Callable[[Item, str], Claim] = lambda item, recording_id: Claim("nothing")
        self._stamps: Mapping[str, Stamp] = {}
        self.read_s = 0.0
        self._reading = 0

    @property
    def reading(self) -> int:
        """Processes that read at the moment: they are not done, and do not wait for what they sent to be taken."""
        return self._reading

    def start(self, files: int) -> None:
        """As many children as so many files need, so that they are ready when they are asked."""
        for _ in range(len(self._children), min(self._limits.children, files)):
            self._children.append(Child(self._limits.timeout_s, self._limits.memory_gb))
            self._children[-1].start()

    def __enter__(self) -> Feed:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ahead.close()
        for child in self._children:
            child.close()

    def messages(
        self, items: Sequence[Item], claim: Callable[[Item, str], Claim], stamps: Mapping[str, Stamp]
    ) -> Iterator[list[tuple[Item, Message]]]:
        """(item, message), of several small recordings all at once. For each item first its Identity; then, where
        `claim` says that it is to be read, Head, pieces and End; or, at any point, a Failure as the last. Messages of
        several items interleave.

        claim: item, recording_id → Claim; called in other threads, one at a time.   stamps: files whose hash is known.
        """
        self._items, self._claim, self._stamps = deque(items), claim, stamps
        self.start(sum(isinstance(item.given, Source) for item in items))
        if not self._children:  # what is in memory needs no process
            self._children.append(Child(self._limits.timeout_s, self._limits.memory_gb))
        yield from self._round(self._children)
        while self._later:
            # Copies of what was being read when they were met: now it is known.
            self._items, self._later = deque(self._later), []
            yield from self._round(self._children[:1])

    def _round(self, children: Sequence[Child]) -> Iterator[list[tuple[Item, Message]]]:
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
                yield [(item, message) for item, messages, _ in entry for message in messages]
        for thread in threads:
            thread.join()

    def _serve(self, child: Child) -> None:
        try:
            while items := self._next():
                if len(items) > 1:
                    told = list(self._timed(self._together(items, child)))
                    self._ahead.put(told, sum(size for _, _, size in told))
                    continue
                for message in self._timed(self._told(items[0], child)):
                    size = _size(message)
                    self._ahead.put([(items[0], (message,), size)], size)
            self._ahead.put(_STOP)
        except Stopped:
            return
        except BaseException as error:
            with suppress(Stopped):  # its child was closed under it
                self._ahead.put(error)
        finally:
            child.close()

    def _next(self) -> list[Item]:
        """One, or several small ones; none where all are done."""
        with self._lock:
            # Towards the end fewer, so that no child has nothing to do while another has many left.
            most = min(TOGETHER, 1 + len(self._items) // (2 * len(self._children)))
            found: list[Item] = []
            while self._items and len(found) < most and (not found or _is_small(self._items[0])):
                found.append(self._items.popleft())
                if not _is_small(found[0]):
                    break
            return found

    def _timed(self, told: Iterator[_Told]) -> Iterator[_Told]:
        while True:
            with self._clocked():
                one = next(told, None)
            if one is None:
                return
            yield one

    @contextmanager
    def _clocked(self) -> Iterator[None]:
        began = time.perf_counter()
        with self._lock:
            self._reading += 1
        try:
            yield
        finally:
            with self._lock:
                self._reading -= 1
                self.read_s += time.perf_counter() - began

    def _told(self, item: Item, child: Child) -> Iterator[Message]:
        """All of one item, as it comes."""
        try:
            yield from self._read(item, child)
        except ChildDied as error:
            yield Failure(str(error), error.lasting)
        except Exception as error:
            yield failure_of(error)

    def _read(self, item: Item, child: Child) -> Iterator[Message]:
        identity: Message | None = self._known(item.given)
        if identity is None:
            identity = next(child.ask(_to_identify(item)))
        if not isinstance(identity, Identity):
            yield identity
            return
        claim = self._claimed(item, identity)
        if claim.what in ("stop", "later"):
            return
        yield identity
        if claim.needs is None:
            return
        if isinstance(item.given, Recording):
            yield from prepare(item.given, claim.needs)
        else:
            yield from child.ask(_to_read(item, identity, claim.needs))

    def _together(self, items: Sequence[Item], child: Child) -> Iterator[tuple[Item, Iterable[Message], int]]:
        """All of several small ones, and how many bytes that is."""
        wanted: list[tuple[Item, dict[str, Any]]] = []
        for item, identity in zip(items, self._identified(items, child), strict=True):
            if not isinstance(identity, Identity):
                yield item, (identity,), MESSAGE_BYTES
                continue
            claim = self._claimed(item, identity)
            if claim.what == "stop":
                break
            if claim.what != "later":
                yield item, (identity,), MESSAGE_BYTES
            if claim.needs is not None:
                wanted.append((item, _to_read(item, identity, claim.needs)))
        answers = _answers(child, [job for _, job in wanted])
        for (item, _), (messages, size) in zip(wanted, answers, strict=True):
            yield item, messages, size

    def _identified(self, items: Sequence[Item], child: Child) -> list[Message]:
        found = [self._known(item.given) for item in items]
        answers = _answers(child, [_to_identify(item) for item, one in zip(items, found, strict=True) if one is None])
        return [one or list(next(answers)[0])[-1] for one in found]

    def _claimed(self, item: Item, identity: Identity) -> Claim:
        with self._lock:
            claim = self._claim(item, identity.recording_id)
            if claim.what == "stop":
                self._items.clear()
            elif claim.what == "later":
                self._later.append(item)
        return claim

    def _known(self, given: Source | Recording) -> Identity | Failure | None:
        """Without reading: what is in memory, and files that look as they did when they were hashed."""
        if isinstance(given, Recording):
            return Identity(given.recording_id, ())
        if not self._stamps:
            return None
        try:
            with only_known(self._stamps):
                return Identity(content_id(given), ())
        except NotHashed:
            return None
        except Exception as error:
            return failure_of(error)


def _to_identify(item: Item) -> dict[str, Any]:
    return {"do": "identify", "source": vars(item.given)}


def _to_read(item: Item, identity: Identity, needs: Needs) -> dict[str, Any]:
    return {
        "do": "read",
        "source": vars(item.given),
        "recording_id": identity.recording_id,
        "needs": as_dict(needs),
    }


def _answers(child: Child, jobs: Sequence[dict[str, Any]]) -> Iterator[tuple[Iterable[Message], int]]:
    """All that is said to each job, and how many bytes that is. Of jobs done together it is taken apart by who goes
    through it: here it would keep the encoder from Python's lock.

    What a child that died has not answered is asked again, one by one: only so is it known which job it died of."""
    answers: Sequence[npt.NDArray[np.uint8]] = ()
    if len(jobs) > 1:
        with suppress(ChildDied):
            (told,) = child.ask({"do": "together", "jobs": jobs})
            answers = told.answers if isinstance(told, Packed) else ()
    for packed in answers:
        yield unpacked(packed, KINDS), packed.nbytes + MESSAGE_BYTES
    for job in jobs[len(answers) :]:
        try:
            messages = list(child.ask(job))
        except ChildDied as error:
            messages = [Failure(str(error), error.lasting)]
        yield messages, sum(_size(message) for message in messages)


def _is_small(item: Item) -> bool:
    given = item.given
    if not isinstance(given, Source) or given.format != SMALL or given.problem:
        return False
    try:
        held = os.stat(given.path)
    except OSError:
        return False
    return stat.S_ISREG(held.st_mode) and held.st_size <= SMALL_BYTES


def _size(message: Message) -> int:
    if isinstance(message, Frames):
        return message.frames.nbytes + MESSAGE_BYTES
    if isinstance(message, Signals):
        return sum(grid.x.nbytes + grid.mask.nbytes for grid in message.grids) + MESSAGE_BYTES
    return MESSAGE_BYTES
