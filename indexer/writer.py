"""Writing an archive: whole recordings in batches, the recording's own row last.

A recording that the archive knows nothing of is first noted as removed, then its rows are added, and last its own row
takes the note's place. Killed in between, the next writer finishes the removal: what is added never meets rows of its
own. Rows of what is known already have ids that their content gives, and are merged by them, so that writing them again
ends with the same rows. A recording that is too long for a batch is written in several; nothing of it is seen before
its own row.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import pyarrow as pa

from motionseek.errors import ArchiveError
from motionseek.indexer.catalog import Row, failed_row
from motionseek.indexer.filters import one_of, quote
from motionseek.indexer.lease import WriterLease
from motionseek.indexer.lock import WriterLock
from motionseek.indexer.schema import FILES, MODELS, RECORDINGS, RUNS
from motionseek.indexer.store import Store

BATCH_ROWS = 16_000
BATCH_BYTES = 128 << 20
FEW_ROWS, ROW_BYTES = 64, 8 << 10
BATCH_S = 120.0
"""Where rows come slowly, they are committed at least so often."""
Held = tuple[str, pa.Table, bool]
"""Rows of a table, and whether they are of a recording that the archive knows nothing of."""
Move = tuple[str, str, list[str]]
"""A recording, the place that it is no longer at, and those that it is at."""
SCHEMAS = {"recordings": RECORDINGS, "files": FILES}
ORDER = ("windows", "_token", "_projected", "_local", "_global", "recordings", "files")
"""Suffixes of table names, in the order of writing: a removal finds rows of vectors by their windows."""
IDS_PER_STEP = 1000


class Writer:
    """The only writer of an archive: `with Writer(path) as writer`. Raises ArchiveLocked where there is another."""

    def __init__(self, uri: str | Path, *, finish: bool = True) -> None:
        """finish: removals that were cut off, before anything else."""
        self._finish = finish
        self.store = Store.open(uri, create=True)
        self._stack = ExitStack()
        self._pending: list[Held] = []
        self._listed = defaultdict[str, list[Row]](list)
        self._rows = self._bytes = 0
        self._coming: dict[str, list[tuple[str, pa.Table]]] = {}
        self._coming_bytes: dict[str, int] = {}
        self._new: list[str] = []
        self._spilled: set[str] = set()
        self._moves: list[Move] = []
        self._thread = ThreadPoolExecutor(1, "writer")
        self._writing: Future[None] | None = None
        self._flushed = time.monotonic()
        self._lease: WriterLease | None = None

    def __enter__(self) -> Writer:
        if self.store.remote:
            self._lease = self._stack.enter_context(WriterLease(self.store))
        else:
            self._stack.enter_context(WriterLock(self.store.root))
        self.store.refresh()
        if self._finish:
            self.finish_removals()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._stack, self._thread:
            if error is None:
                self.flush()

    def stage(self, recording_id: str, name: str, rows: pa.Table, *, spill: bool) -> None:
        """Rows of a recording that is still coming, held until `add` has its row.

        spill: where they grow large, they may be written before: only for what no reader sees any part of yet.
        """
        held = self._coming.setdefault(recording_id, [])
        held.append((name, rows))
        self._coming_bytes[recording_id] = self._coming_bytes.get(recording_id, 0) + _bytes(rows)
        if spill and self._coming_bytes[recording_id] >= BATCH_BYTES:
            self._settle()
            if recording_id not in self._spilled:
                self._put("recordings", _removed([recording_id]))
                self._spilled.add(recording_id)
            self._write([(its, some, True) for its, some in held])
            held.clear()
            self._coming_bytes[recording_id] = 0

    def discard(self, recording_id: str) -> None:
        """A recording that was staged will not come after all."""
        self._coming.pop(recording_id, None)
        self._coming_bytes.pop(recording_id, None)
        if recording_id in self._spilled:
            self._spilled.discard(recording_id)
            self._settle()
            self.finish_removals()

    def add(
        self, recording: Mapping[str, Any], tables: Mapping[str, pa.Table] | None = None, *, new: bool = False
    ) -> None:
        """One whole recording: its row, and its rows of the other tables, by name or staged before.

        new: the archive has no row of it, not even that it failed."""
        self.add_together([recording], list((tables or {}).items()), new=new)

    def add_together(
        self, recordings: Sequence[Mapping[str, Any]], tables: Iterable[tuple[str, pa.Table]], *, new: bool
    ) -> None:
        """Several of them, and the rows of all."""
        coming = list(tables)
        self._bytes += sum(_bytes(rows) for _, rows in coming)
        for recording in recordings:
            recording_id = recording["recording_id"]
            if recording_id in self._spilled:
                self._spilled.discard(recording_id)
            elif new:
                self._new.append(recording_id)
            self._bytes += self._coming_bytes.pop(recording_id, 0)
            coming += self._coming.pop(recording_id, [])
            self._list("recordings", recording)
        for name, rows in coming:
            if len(rows):
                self._pending.append((name, rows, new))
                self._rows += len(rows)
        late = time.monotonic() - self._flushed > BATCH_S
        if self._rows >= BATCH_ROWS or self._bytes >= BATCH_BYTES or late:
            self._commit()

    def put_files(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """With the next commit."""
        for row in rows:
            self._list("files", row)

    def move(self, recording_id: str, gone: str, uris: Sequence[str]) -> None:
        """With the next commit: the content is no longer at `gone`, but at `uris`, and so are its streams' files."""
        self._moves.append((recording_id, gone, list(uris)))

    def _list(self, name: Literal["recordings", "files"], row: Mapping[str, Any]) -> None:
        self._listed[name].append(dict(row))
        self._rows += 1

    def flush(self) -> None:
        """Commit what is pending. Killed in between, nothing of it is seen."""
        self._commit()
        self._settle()

    def _commit(self) -> None:
        """Begin to write what is pending: the encoders go on meanwhile, until the next batch is full."""
        self._settle()
        held, self._pending = self._pending, []
        new, self._new = self._new, []
        moves, self._moves = self._moves, []
        listed, self._listed = self._listed, defaultdict[str, list[Row]](list)
        self._rows = self._bytes = 0
        self._flushed = time.monotonic()
        self._writing = self._thread.submit(self._write_batch, new, held, listed, moves)

    def _settle(self) -> None:
        """Wait for what is being written: an archive has one writer at a time. Raises what went wrong with it."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def _write_batch(
        self, new: Sequence[str], held: Sequence[Held], listed: Mapping[str, Sequence[Row]], moves: Sequence[Move]
    ) -> None:
        """Raises ArchiveError for whatever goes wrong: the recording that waits for it is not to blame."""
        with self._told("recordings"):
            if new:
                self._put("recordings", _removed(new), new=True)
            self._write(held)
            self._write([(name, pa.Table.from_pylist(rows, SCHEMAS[name]), False) for name, rows in listed.items()])
            for recording_id, gone, uris in moves:
                where = one_of("recording_id", [recording_id])
                for row in self.store.need("recordings").search().where(where).to_list():
                    streams = [{**s, "path": _moved(s["path"], gone, uris[0])} for s in row["streams"]]
                    row |= {"uris": uris, "streams": streams}
                    self._put("recordings", pa.Table.from_pylist([row], schema=RECORDINGS))

    def _write(self, held: Sequence[Held]) -> None:
        together: dict[tuple[str, bool], list[pa.Table]] = {}
        for name, rows, new in held:
            together.setdefault((name, new), []).append(rows)
        for name, new in sorted(together, key=lambda one: (_rank(one[0]), not one[1])):
            self._put(name, pa.concat_tables(together[name, new]), new=new)

    def _put(self, name: str, rows: pa.Table, *, new: bool = False) -> None:
        """new: no row with one of their keys is there. Raises ArchiveError where the disk is full or will not be
        written to."""
        key = rows.schema.names[0]
        rows = _last_of_each(rows, key)
        if self._lease is not None:
            self._lease.check()
        with self._told(name):
            table: Any = self.store.table(name, create=rows.schema)
            # On an object store a writer that was stopped may wake up after its lease ended: merged, its rows are the
            # next writer's own.
            if new and self._lease is None:
                table.add(rows)
            else:
                table.merge_insert(key).when_matched_update_all().when_not_matched_insert_all().execute(rows)

    @contextmanager
    def _told(self, name: str) -> Iterator[None]:
        """Raises ArchiveError for what goes wrong in the table `name`."""
        try:
            yield
        except (OSError, RuntimeError, ValueError, TypeError) as error:
            raise ArchiveError(_why(self.store.uri, name, error)) from error

    def put_models(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self._settle()
        self._put("models", pa.Table.from_pylist([dict(r) for r in rows], schema=MODELS))

    def empty_space(self, space: str, fingerprint: str) -> None:
        """Take out all vectors of a space, and that the model `fingerprint` has encoded anything: cut off in between,
        that model encodes again."""
        self._settle()
        table = self.store.need("recordings")
        rows = table.search().where(f"array_has_any(fingerprints, [{quote(fingerprint)}])").to_arrow()
        left = [[f for f in held if f != fingerprint] for held in rows["fingerprints"].to_pylist()]
        if len(rows):
            at = rows.schema.get_field_index("fingerprints")
            self._put("recordings", rows.set_column(at, rows.schema.field(at), pa.array(left, pa.list_(pa.string()))))
        self.store.drop(n for n in self.store.table_names() if n.rpartition("_")[0] == space)

    def put_run(self, row: Mapping[str, Any]) -> None:
        self._settle()
        self._put("runs", pa.Table.from_pylist([dict(row)], schema=RUNS))

    def remove(self, recording_ids: Iterable[str]) -> None:
        """Take recordings out. They vanish for readers at once; a removal that was cut off is finished by the next
        writer."""
        self._settle()
        ids = list(recording_ids)
        if ids:
            with self._told("recordings"):
                self.store.need("recordings").update(where=one_of("recording_id", ids), values={"status": "removed"})
            self.finish_removals()

    def finish_removals(self) -> None:
        """Those that were cut off."""
        removed = self.store.need("recordings").search().where("status = 'removed'").select(["recording_id"])
        ids = [i for i in removed.to_arrow()["recording_id"].to_pylist() if i not in self._spilled]
        for first in range(0, len(ids), IDS_PER_STEP):
            self._delete(one_of("recording_id", ids[first : first + IDS_PER_STEP]))

    def _delete(self, mine: str) -> None:
        """Every row of some recordings, their own last."""
        names = self.store.table_names()
        if (windows := self.store.table("windows")) is not None:
            window_ids = windows.search().where(mine).select(["window_id"]).to_arrow()["window_id"].to_pylist()
            for name in names:
                if name.endswith(("_global", "_local", "_projected")):
                    for first in range(0, len(window_ids), IDS_PER_STEP):
                        self._delete_from(name, one_of("window_id", window_ids[first : first + IDS_PER_STEP]))
        for name in [*(name for name in names if name.endswith("_token")), "windows", "recordings"]:
            self._delete_from(name, mine)

    def _delete_from(self, name: str, where: str) -> None:
        with self._told(name):
            if (table := self.store.table(name)) is not None:
                table.delete(where)

    def optimize(self, *, max_fragments: int = 50) -> list[str]:
        """Compact the tables that have more than `max_fragments` fragments; names of those compacted."""
        self.flush()
        done = []
        for name in self.store.table_names():
            with self._told(name):
                table = self.store.table(name)
                if table is not None and table.stats()["fragment_stats"]["num_fragments"] > max_fragments:
                    table.optimize()
                    done.append(name)
        return done


def _bytes(rows: pa.Table) -> int:
    """Of few rows about: Arrow takes as long to count them as to make them."""
    return len(rows) * ROW_BYTES if len(rows) < FEW_ROWS else int(rows.get_total_buffer_size())


def _rank(name: str) -> tuple[int, str]:
    return next(i for i, suffix in enumerate(ORDER) if name.endswith(suffix)), name


def _moved(path: str, gone: str, to: str) -> str:
    return to + path.removeprefix(gone) if path == gone or path.startswith(gone + "/") else path


def _removed(recording_ids: Sequence[str]) -> pa.Table:
    return pa.Table.from_pylist([{**failed_row(i, [], ""), "status": "removed"} for i in recording_ids], RECORDINGS)


def _why(root: object, table: str, error: Exception) -> str:
    said = " ".join(str(error).split())
    if "No space left" in said or "os error 28" in said:
        why = "the disk is full: free some space"
    elif "File too large" in said or "os error 27" in said or "quota" in said.lower():
        why = "a limit on the size of files or on the disk's quota was reached: raise it"
    else:
        why = f"{said[:300]}: mend it"
    return f"{root}: the table {table} cannot be written: {why} and run again; what was committed is kept"


def _last_of_each(rows: pa.Table, key: str) -> pa.Table:
    """A batch may hold a row twice; the later one counts."""
    seen = {value: i for i, value in enumerate(rows[key].to_pylist())}
    return rows if len(seen) == len(rows) else rows.take(sorted(seen.values()))
