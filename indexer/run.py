"""One pass over the sources: what each means for the archive, and what is written of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace

from motionseek.errors import ArchiveError, ModelError
from motionseek.indexer.catalog import Catalog, Row
from motionseek.indexer.encode import Encoding, beside
from motionseek.indexer.feed import Claim, Item, Message
from motionseek.indexer.filters import Filter
from motionseek.indexer.prepare import Encoders, End, Head, Looked, Needs, Piece, Signals
from motionseek.indexer.readers.hashes import settled
from motionseek.indexer.report import Event, Tally
from motionseek.indexer.schema import row_id
from motionseek.indexer.windows import TICK_S
from motionseek.indexer.worker import Failure, Identity, failure_of
from motionseek.indexer.writer import Writer
from motionseek.types import Recording

log = logging.getLogger(__name__)

POSE = "pose:"
"""Before the name of an estimator, among the fingerprints of a recording whose picture it has looked at."""


@dataclass(eq=False)
class _Open:
    """A recording whose pieces are coming."""

    recording_id: str
    fingerprints: set[str]
    fresh: bool
    estimator: str = ""
    encoding: Encoding | None = None
    head: Head | None = None
    told: list[Looked | Head | Piece | End] = field(default_factory=list)
    """What came and was not looked at yet."""


@dataclass(eq=False)
class Run:
    """Messages of a Feed → rows and events. Without a writer nothing is written, and nothing is asked to be read."""

    writer: Writer | None
    catalog: Catalog
    models: Mapping[str, Encoders]
    window_s: float
    stride_s: float
    total: int
    retry: bool = False
    limit: int | None = None
    estimator: str = ""
    """Of poses in videos that come without any."""
    readers: Callable[[], int] = lambda: 1
    """How many processes read at the moment."""
    tally: Tally = field(default_factory=Tally)
    done: int = 0
    _open: dict[str, _Open] = field(default_factory=dict)
    _claimed: dict[str, _Open] = field(default_factory=dict)
    _reading: set[str] = field(default_factory=set)
    """The recording_id of each that is claimed."""
    _planned: set[str] = field(default_factory=set)
    """Of each that a dry run would have read."""
    _known: dict[str, Failure] = field(default_factory=dict)
    _displaced: list[str] = field(default_factory=list)
    _needs: dict[tuple[frozenset[str], str], Needs] = field(default_factory=dict)
    _taken: int = 0

    def claim(self, item: Item, recording_id: str) -> Claim:
        """What to do with content met at a place; see `Feed`."""
        if recording_id in self._reading:
            return Claim("later")
        if recording_id in self._planned:
            return Claim("nothing")
        known = self.catalog.readable(recording_id)
        held = set(known["fingerprints"]) if known else set()
        # Poses that were found once stay, so whatever makes the recording be read again looks for them again.
        looked = next((name.removeprefix(POSE) for name in sorted(held) if name.startswith(POSE)), "")
        missing = set(self.models) - held if looked or not self.estimator else set(self.models)
        if known and not missing:
            if item.uri in known["uris"] or self.writer is None:
                return Claim("nothing")
            self._take_up(item, _Open(recording_id, set(), False))
            return Claim("read", Needs(self.window_s, self.stride_s))
        reason = (
            ""
            if self.retry or isinstance(item.given, Recording)
            else self.catalog.known_failure(recording_id, item.format)
        )
        if reason:
            self._known[item.uri] = Failure(reason, True)
            return Claim("nothing")
        if self.limit is not None and self._taken >= self.limit:
            return Claim("stop")
        self._taken += 1
        estimator = looked or self.estimator
        self._take_up(item, _Open(recording_id, missing, known is None, estimator))
        return Claim("nothing") if self.writer is None else Claim("read", self._needs_of(frozenset(missing), estimator))

    def _take_up(self, item: Item, opened: _Open) -> None:
        self._let_go(item)  # a file named twice that became another meanwhile
        self._claimed[item.uri] = opened
        self._reading.add(opened.recording_id)

    def _let_go(self, item: Item) -> None:
        if (opened := self._claimed.pop(item.uri, None)) is not None:
            self._reading.discard(opened.recording_id)

    def _needs_of(self, missing: frozenset[str], estimator: str) -> Needs:
        if (missing, estimator) not in self._needs:
            needs = Needs.of(self._encoders(missing), self.window_s, self.stride_s)
            self._needs[missing, estimator] = replace(needs, estimator=estimator)
        return self._needs[missing, estimator]

    def _encoders(self, fingerprints: Set[str]) -> Encoders:
        return {key: e for name in self.models if name in fingerprints for key, e in self.models[name].items()}

    def take(self, told: Sequence[tuple[Item, Message]]) -> Iterator[Event]:
        """What was said at once.

        Errors of the archive and of models end the run; all others are the source's, and are recorded with it."""
        met: dict[str, Item] = {}
        for item, message in told:
            event = None
            if isinstance(message, Identity):
                event = self._identified(item, message)
            elif isinstance(message, Failure):
                event = self._failed(item, message)
            elif item.uri in self._open:  # else it has failed already, and this is what was still on its way
                self._open[item.uri].told.append(message)
                met[item.uri] = item
            if event is not None:
                yield event
        for items in self._alike([item for item in met.values() if item.uri in self._open]):
            yield from self._go_on(items)

    def _alike(self, items: Sequence[Item]) -> list[list[Item]]:
        """Small recordings that are whole and that the same models encode, together; all others one by one."""
        found: dict[Hashable, list[Item]] = {}
        for item in items:
            opened = self._open[item.uri]
            kind = self._is_new(opened), frozenset(opened.fingerprints)
            found.setdefault(kind if _is_small(opened.told) else item.uri, []).append(item)
        return list(found.values())

    def _is_new(self, opened: _Open) -> bool:
        return opened.recording_id not in self.catalog.rows

    def _go_on(self, items: Sequence[Item]) -> Iterator[Event]:
        try:
            events = self._together(items) if len(items) > 1 else self._alone(items[0])
        except (ArchiveError, ModelError):
            raise
        except Exception as error:
            log.info("%s failed", ", ".join(item.uri for item in items), exc_info=error)
            if len(items) > 1:  # it was one of them
                for item in items:
                    yield from self._go_on([item])
                return
            events = [self._failed(items[0], failure_of(error))]
        yield from events

    def _identified(self, item: Item, identity: Identity) -> Event | None:
        if self.writer is not None:
            self.writer.put_files([vars(f) for f in identity.files if settled(f)])
        if (failure := self._known.pop(item.uri, None)) is not None:
            self._open[item.uri] = _Open(identity.recording_id, set(), True)
            return self._failed(item, failure)
        opened = self._claimed.get(item.uri)
        if opened is not None and self.writer is not None:
            self._open[item.uri] = opened
            return None
        self._let_go(item)
        if opened is not None:
            self._planned.add(identity.recording_id)
            self.tally.planned += 1
            return self._event(item, "new")
        self.tally.skipped += 1
        self._displace(identity.recording_id, item.uri)
        return self._event(item, "known")

    def _together(self, items: Sequence[Item]) -> list[Event]:
        """Small recordings, all that there is of each."""
        several = [self._open[item.uri] for item in items]
        labels: dict[str, Sequence[str]] = {}
        pieces: list[Signals] = []
        for opened in several:
            opened.head = next(one for one in opened.told if isinstance(one, Head))
            labels[opened.recording_id] = opened.head.row["labels"]
            pieces += [one for one in opened.told if isinstance(one, Signals)]
        encoding = Encoding(self._encoders(several[0].fingerprints), self.window_s, labels)
        with self.tally.timed("encode"), beside(self.readers()):
            tables = list(encoding.together(pieces))
        rows = []
        for item, opened in zip(items, several, strict=True):
            opened.encoding = encoding
            rows.append(self._row(item, opened, next(one for one in opened.told if isinstance(one, End))))
        with self.tally.timed("write"):
            self._writer.add_together(rows, tables, new=self._is_new(several[0]))
        return [self._whole(item, self._open[item.uri], row) for item, row in zip(items, rows, strict=True)]

    def _alone(self, item: Item) -> list[Event]:
        opened, events = self._open[item.uri], list[Event]()
        told, opened.told = opened.told, []
        for message in told:
            if isinstance(message, Looked):
                events.append(self._event(item, "", stage="piece", seconds=message.time_s))
            elif isinstance(message, Head):
                opened.head, labels = message, {opened.recording_id: message.row["labels"]}
                opened.encoding = Encoding(self._encoders(opened.fingerprints), self.window_s, labels)
            elif opened.encoding is None:
                raise ArchiveError(f"{item.uri}: its reader sent a piece before its head: report this")
            elif isinstance(message, End):
                row = self._row(item, opened, message)
                with self.tally.timed("write"):
                    self._writer.add(row, new=self._is_new(opened))
                events.append(self._whole(item, opened, row))
            else:
                # Pictures take long passes, and their readers little of the cores.
                with self.tally.timed("encode"), beside(self.readers() if isinstance(message, Signals) else 0):
                    for name, rows in opened.encoding.take(message):
                        self._writer.stage(opened.recording_id, name, rows, spill=opened.fresh)
                if isinstance(message, Signals) and not message.last:
                    events.append(self._event(item, "", stage="piece", seconds=message.stop * TICK_S))
        return events

    def _row(self, item: Item, opened: _Open, end: End) -> Row:
        if opened.encoding is None or opened.head is None:
            raise ArchiveError(f"{item.uri}: its reader sent an end before its head: report this")
        head, known = opened.head, self.catalog.readable(opened.recording_id)
        windows, quality = opened.encoding.windows[opened.recording_id], opened.encoding.quality(opened.recording_id)
        problems = "; ".join(p for p in (head.row["reason"], *end.problems) if p)
        row: Row = {
            **head.row,
            "uris": self.catalog.uris(opened.recording_id, item.uri),
            "status": "partial" if problems else "ok",
            "reason": problems,
            "quality": known["quality"] if known and not windows else quality,
            "fingerprints": sorted({*(known["fingerprints"] if known else []), *opened.fingerprints}),
        }
        if opened.estimator:
            row["fingerprints"] = sorted({*row["fingerprints"], POSE + opened.estimator})
        if not opened.fingerprints and known:
            row |= {"status": known["status"], "reason": known["reason"]}
        looked = known is not None and any(name.startswith(POSE) for name in known["fingerprints"])
        if looked and not any(modality == "pose" for _, modality in self._encoders(opened.fingerprints)):
            row["streams"] = [*row["streams"], *self._found_poses(opened.recording_id)]
        return row

    def _whole(self, item: Item, opened: _Open, row: Row) -> Event:
        """After the rows of a recording were given to the writer."""
        self.catalog.put(row)
        self._close(item)
        self._displace(opened.recording_id, item.uri)
        if not opened.fingerprints:
            self.tally.skipped += 1
            return self._event(item, "known", "met at another place")
        windows = opened.encoding.windows[opened.recording_id] if opened.encoding else 0
        self.tally.indexed += 1
        self.tally.windows += windows
        self.tally.recorded_s += row["duration_s"]
        if row["reason"]:
            self.tally.partial.append((item.uri, row["reason"]))
        return self._event(item, row["status"], row["reason"], seconds=row["duration_s"], windows=windows)

    def _found_poses(self, recording_id: str) -> list[Row]:
        """Streams of the archive's own making: the source does not name them."""
        rows = self._writer.store.recordings(Filter(recording_id=recording_id), columns=["streams"])["streams"]
        return [s for held in rows.to_pylist() for s in held if s["modality"] == "pose" and s["name"]]

    def _failed(self, item: Item, failure: Failure) -> Event:
        opened = self._open.get(item.uri) or self._claimed.get(item.uri)
        self._close(item)
        self.tally.failed.append((item.uri, failure.reason))
        recording_id = opened.recording_id if opened else row_id("unreadable", item.uri)
        if self.writer is not None:
            self.writer.discard(recording_id)
            if not self.catalog.readable(recording_id):
                self._note(item, recording_id, failure)
                if opened is not None:
                    # Content that could not even be looked at may come back as it was; what changed will not.
                    self._displace(recording_id, item.uri)
        return self._event(item, "failed", failure.reason)

    def _note(self, item: Item, recording_id: str, failure: Failure) -> None:
        uris = self.catalog.uris(recording_id, item.uri)
        row = self.catalog.failure(recording_id, uris, failure.reason, item.format, lasting=failure.lasting)
        if row is not None:
            self._writer.add(row)
            self.catalog.put(row)

    def _close(self, item: Item) -> None:
        self._open.pop(item.uri, None)
        self._let_go(item)

    def _displace(self, recording_id: str, uri: str) -> None:
        """Whatever else was met at this place is no longer there."""
        if self.writer is None:
            return
        gone, elsewhere = self.catalog.displaced(recording_id, uri)
        for other, left in elsewhere.items():
            self.writer.move(other, uri, left)
        for other in [*gone, *elsewhere]:
            self.catalog.forget(other, uri)
        self._displaced += gone

    def finish(self) -> None:
        """Commit; only then take out what was replaced."""
        self._writer.flush()
        self._writer.remove(sorted(i for i in set(self._displaced) if self.catalog.lies_nowhere(i)))
        self._writer.optimize()

    @property
    def _writer(self) -> Writer:
        if self.writer is None:
            raise ArchiveError("a dry run writes nothing")
        return self.writer

    def _event(self, item: Item, status: str, reason: str = "", *, stage: str = "recording", **more: float) -> Event:
        self.done += stage == "recording"
        return Event(stage, self.done, self.total, item.uri, status, reason, **more)  # type: ignore[arg-type]


def _is_small(told: Sequence[Looked | Head | Piece | End]) -> bool:
    """A recording of one piece, and whole."""
    kinds = [type(message) for message in told]
    return kinds == [Head, Signals, End]
