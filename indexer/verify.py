"""Is the archive what it should be? Looks at every row's key, at what refers to what, and at the FAISS files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from motionseek.indexer.ann import why_stale
from motionseek.indexer.schema import vector_table_name
from motionseek.indexer.store import Store
from motionseek.types import LEVELS

Kind = Literal["duplicate", "orphan", "missing", "foreign", "stale"]


@dataclass(frozen=True)
class Finding:
    """Something wrong. kind: "duplicate" keys, "orphan" rows that nothing owns (left by a killed run; never seen by
    a search), "missing" vectors, "foreign" vectors of another model, a "stale" index (built again when opened)."""

    kind: Kind
    table: str
    count: int
    detail: str

    def __str__(self) -> str:
        return f"{self.table}: {self.count} {self.kind}: {self.detail}"


def verify(archive: str | Path) -> list[Finding]:
    """Everything that is wrong with an archive; nothing, for a good one. Raises ArchiveError where it is none."""
    store = Store.open(archive)
    return [*_duplicates(store), *_orphans(store), *_missing(store), *_foreign(store), *_stale(store)]


def _column(store: Store, table: str, column: str) -> pa.ChunkedArray:
    return store.need(table).search().select([column]).to_arrow()[column]


def _found(kind: Kind, table: str, count: int, detail: str) -> list[Finding]:
    return [Finding(kind, table, count, detail)] if count else []


def _outside(values: pa.ChunkedArray, known: Any) -> int:
    return len(values) - int(pc.sum(pc.is_in(values, value_set=pa.array(known.unique()))).as_py() or 0)


def _vector_tables(store: Store) -> list[str]:
    return [n for n in store.table_names() if n.endswith(("_global", "_local", "_projected"))]


def _duplicates(store: Store) -> list[Finding]:
    found = []
    for name in store.table_names():
        keys = _column(store, name, store.need(name).schema.names[0])
        found += _found("duplicate", name, len(keys) - len(keys.unique()), "rows with a key that another row has")
    return found


def _orphans(store: Store) -> list[Finding]:
    readable = store.readable_ids()
    found: list[Finding] = []
    if store.table("windows") is None:
        return found
    for name in ["windows", *(n for n in store.table_names() if n.endswith("_token"))]:
        lost = _outside(_column(store, name, "recording_id"), readable)
        found += _found("orphan", name, lost, "rows of recordings that were not committed")
    windows = _column(store, "windows", "window_id")
    for name in _vector_tables(store):
        lost = _outside(_column(store, name, "window_id"), windows)
        found += _found("orphan", name, lost, "vectors of windows that are not there")
    return found


def _missing(store: Store) -> list[Finding]:
    """Windows without any vector; and where a model gives several levels, windows that have one but not the other."""
    windows = store.windows(columns=["window_id"])["window_id"]
    held = {name: _column(store, name, "window_id") for name in _vector_tables(store)}
    found = []
    if len(windows):
        every = pa.chunked_array([chunk for ids in held.values() for chunk in ids.chunks], pa.string())
        found += _found("missing", "windows", _outside(windows, every), "windows without any vector")
    for space in store.models():
        one, other = vector_table_name(space, "global"), vector_table_name(space, "token")
        if one in held and other in held:
            found += _found("missing", other, _outside(held[one], held[other]), f"windows that are in {one} only")
            found += _found("missing", one, _outside(held[other], held[one]), f"windows that are in {other} only")
    return found


def _foreign(store: Store) -> list[Finding]:
    found = []
    for space, model in store.models().items():
        known = pa.chunked_array([[str(e["fingerprint"]) for e in model.encoders.values()]], pa.string())
        for name in (n for n in store.table_names() if n.rpartition("_")[0] == space):
            other = _outside(_column(store, name, "fingerprint"), known)
            found += _found(
                "foreign", name, other, f"rows of another model than {model.name or model.fingerprint[:12]}"
            )
    return found


def _stale(store: Store) -> list[Finding]:
    found = []
    for space in store.models():
        for level in LEVELS:
            name = vector_table_name(space, level)
            kept = level != "local" or (store.ann_dir / f"{name}.json").exists()
            if kept and store.table(name) is not None and (why := why_stale(store, space, level)):
                found.append(Finding("stale", f"{name}.faiss", 1, why))
    return found
