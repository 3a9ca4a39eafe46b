"""Writing an archive: whole recordings in batches, the recording's own row last.

Every row has an id that its content gives, and is merged by it: writing a recording a second time, after a kill
anywhere between, ends with the same rows as writing it once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa

from motionseek.indexer.filters import one_of
from motionseek.indexer.lock import WriterLock
from motionseek.indexer.schema import MODELS, RECORDINGS, RUNS
from motionseek.indexer.store import Store

BATCH_ROWS = 8_000
BATCH_BYTES = 128 << 20
ORDER = ("_token", "_projected", "_local", "_global", "windows", "recordings")
"""Suffixes of table names, in the order of writing."""


class Writer:
    """The only writer of an archive: `with Writer(path) as writer`. Raises ArchiveLocked where there is another."""

    def __init__(self, uri: str | Path) -> None:
        self.store = Store.open(uri, create=True)
        self._stack = ExitStack()
        self._pending: dict[str, list[pa.Table]] = {}
        self._rows = self._bytes = 0

    def __enter__(self) -> Writer:
        self._stack.enter_context(WriterLock(self.store.root))
        self.store.refresh()
        self._finish_removals()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._stack:
            if error is None:
                self.flush()

    def add(self, recording: Mapping[str, Any], tables: Mapping[str, pa.Table]) -> None:
        """One whole recording: its row, and its rows of the other tables by table name."""
        for name, rows in {**tables, "recordings": pa.Table.from_pylist([dict(recording)], schema=RECORDINGS)}.items():
            if len(rows):
                self._pending.setdefault(name, []).append(rows)
                self._rows += len(rows)
                self._bytes += rows.nbytes
        if self._rows >= BATCH_ROWS or self._bytes >= BATCH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Commit what is pending. Killed in between, nothing of it is seen."""
        for name in sorted(self._pending, key=_rank):
            self._merge(name, pa.concat_tables(self._pending[name]))
        self._pending.clear()
        self._rows = self._bytes = 0

    def _merge(self, name: str, rows: pa.Table) -> None:
        key = rows.schema.names[0]
        rows = _last_of_each(rows, key)
        table: Any = self.store.table(name, create=rows.schema)
        table.merge_insert(key).when_matched_update_all().when_not_matched_insert_all().execute(rows)

    def put_models(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self._merge("models", pa.Table.from_pylist([dict(r) for r in rows], schema=MODELS))

    def put_run(self, row: Mapping[str, Any]) -> None:
        self._merge("runs", pa.Table.from_pylist([dict(row)], schema=RUNS))

    def remove(self, recording_ids: Iterable[str]) -> None:
        """Take recordings out. They vanish for readers at once; a removal that was cut off is finished by the next
        writer."""
        ids = list(recording_ids)
        if ids:
            self.store.need("recordings").update(where=one_of("recording_id", ids), values={"status": "removed"})
            self._finish_removals()

    def _finish_removals(self) -> None:
        removed = self.store.need("recordings").search().where("status = 'removed'").select(["recording_id"])
        ids = removed.to_arrow()["recording_id"].to_pylist()
        if not ids:
            return
        mine = one_of("recording_id", ids)
        if (windows := self.store.table("windows")) is not None:
            window_ids = windows.search().where(mine).select(["window_id"]).to_arrow()["window_id"].to_pylist()
            for name in self.store.table_names():
                if name.endswith(("_global", "_local", "_projected")):
                    for first in range(0, len(window_ids), 2000):
                        self.store.need(name).delete(one_of("window_id", window_ids[first : first + 2000]))
        tokens = [n for n in self.store.table_names() if n.endswith("_token")]
        for name in [*tokens, "windows", "recordings"]:
            if (table := self.store.table(name)) is not None:
                table.delete(mine)

    def optimize(self, *, max_fragments: int = 50) -> list[str]:
        """Compact the tables that have more than `max_fragments` fragments; names of those compacted."""
        self.flush()
        done = []
        for name in self.store.table_names():
            table = self.store.need(name)
            if table.stats()["fragment_stats"]["num_fragments"] > max_fragments:
                table.optimize()
                done.append(name)
        return done


def _rank(name: str) -> tuple[int, str]:
    return next(i for i, suffix in enumerate(ORDER) if name.endswith(suffix)), name


def _last_of_each(rows: pa.Table, key: str) -> pa.Table:
    """A batch may hold a row twice; the later one counts."""
    seen = {value: i for i, value in enumerate(rows[key].to_pylist())}
    return rows if len(seen) == len(rows) else rows.take(sorted(seen.values()))
