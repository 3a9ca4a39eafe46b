"""Is the archive what it should be? Looks at every row's key, at what refers to what, and at the FAISS files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from motionseek.indexer.ann import why_stale
from motionseek.indexer.filters import one_of, quote
from motionseek.indexer.schema import row_id, token_table_name, vector_table_name
from motionseek.indexer.store import READABLE, ModelRow, Store
from motionseek.indexer.windows import grid
from motionseek.types import LEVELS, PARTS

__all__ = ["Finding", "verify"]

Kind = Literal["unreadable", "duplicate", "orphan", "missing", "foreign", "stale"]
VECTORS = ("_global", "_local", "_projected")
NEEDED = ("recordings", "models")
LARGE = ("vector", "tokens")
"""Columns that are not read."""
THERE = 0.5
"""A window of at least this quality has vectors of every model that knows its modality."""


@dataclass(frozen=True)
class Finding:
    """Something wrong. kind: an "unreadable" table; "duplicate" keys; "orphan" rows that nothing owns (left by a killed
    run; never seen by a search); "missing" rows; "foreign" vectors of another model; a "stale" index (built again when
    opened).

    count: rows.   mended: what was done about it, "" where nothing was.
    """

    kind: Kind
    table: str
    count: int
    detail: str
    mended: str = ""
    keys: Sequence[str] = field(default=(), repr=False, compare=False)
    """Of the rows that are too many or wrong."""
    redo: Sequence[str] = field(default=(), repr=False, compare=False)
    """Recordings that have to be read again."""
    space: str = field(default="", repr=False, compare=False)
    """For this space only; "" for all."""

    def __str__(self) -> str:
        done = f" ({self.mended})" if self.mended else ""
        return f"{self.table}: {self.count} {self.kind}: {self.detail}{done}"

    def to_json(self) -> dict[str, Any]:
        said = ("kind", "table", "count", "detail", "mended")
        return {name: getattr(self, name) for name in said} | {"index_again": len(self.redo)}


def verify(archive: str | Path) -> list[Finding]:
    """Everything that is wrong with an archive; nothing, for a good one. Raises ArchiveError where it is none."""
    look = Look(Store.open(archive))
    # Without these nothing else of an archive means anything.
    checks = CHECKS[:1] if look.damaged.keys() & set(NEEDED) else CHECKS
    return [finding for check in checks for finding in check(look)]


class Look:
    """An archive's tables as they are now, without those that cannot be read; columns are read once."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.damaged: dict[str, str] = {}
        self._columns: dict[tuple[str, str], pa.ChunkedArray] = {}
        self._names: list[str] = []
        for name in store.table_names():
            try:
                if (table := store.table(name)) is None:
                    continue  # a folder that a killed writer left, and no table
                self._names.append(name)
                small = [column for column in table.schema.names if column not in LARGE]
                for _ in table.search().select(small).to_batches():
                    pass
                if name == "models":
                    store.models()
            except Exception as error:  # LanceDB's own panics among them
                self.damaged[name] = " ".join(str(error.__cause__ or error).split())[:200]

    def column(self, table: str, column: str) -> pa.ChunkedArray:
        if (table, column) not in self._columns:
            found = self.store.need(table).search().select([column]).to_arrow()[column]
            self._columns[table, column] = found
        return self._columns[table, column]

    def keys(self, table: str) -> pa.ChunkedArray:
        return self.column(table, self.store.need(table).schema.names[0])

    @cached_property
    def tables(self) -> list[str]:
        return [name for name in self._names if name not in self.damaged]

    def ending(self, *suffixes: str) -> list[str]:
        return [name for name in self.tables if name.endswith(suffixes)]

    @cached_property
    def readable(self) -> pa.ChunkedArray:
        table = self.store.need("recordings")
        return table.search().where(READABLE).select(["recording_id"]).to_arrow()["recording_id"]

    @cached_property
    def recording_of(self) -> Mapping[str, str]:
        """window_id → recording_id."""
        if "windows" not in self.tables:
            return {}
        ids, owners = (self.column("windows", c).to_pylist() for c in ("window_id", "recording_id"))
        return dict(zip(ids, owners, strict=True))

    def owners(self, table: str, rows: pa.ChunkedArray) -> list[str]:
        """The readable recordings that the rows of a table belong to, rows: bool."""
        if table == "recordings" or "recording_id" in self.store.need(table).schema.names:
            owners = self.column(table, "recording_id").filter(rows).to_pylist()
        elif "window_id" in self.store.need(table).schema.names:
            owners = [self.recording_of.get(w, "") for w in self.column(table, "window_id").filter(rows).to_pylist()]
        else:
            return []
        return sorted(set(owners) & set(self.readable.to_pylist()))

    def own(self, space: str, *levels: str) -> list[str]:
        names = [vector_table_name(space, level) for level in LEVELS if level in (levels or LEVELS)]
        return [name for name in names if name in self.tables]


def _isin(values: pa.ChunkedArray, known: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.is_in(values, value_set=pa.array(known.unique()) if len(known) else pa.array([], values.type))


def _unreadable(look: Look) -> Iterator[Finding]:
    everything = [] if "recordings" in look.damaged else look.readable.to_pylist()
    for name, why in look.damaged.items():
        space = name.rpartition("_")[0] if name != "windows" else ""
        redo = everything if name == "windows" or name.endswith((*VECTORS, "_token")) else []
        yield Finding("unreadable", name, 1, f"the table cannot be read: {why}", redo=redo, space=space)


def _duplicates(look: Look) -> Iterator[Finding]:
    for name in look.tables:
        keys = look.keys(name)
        counted = keys.value_counts()
        values, counts = counted.field("values"), counted.field("counts")
        many = values.filter(pc.greater(counts, 1))
        if len(many):
            rows = _isin(keys, pa.chunked_array([many]))
            yield Finding(
                "duplicate",
                name,
                len(keys) - len(values),
                "rows with a key that another row has",
                keys=many.to_pylist(),
                redo=look.owners(name, rows),
            )


def _orphans(look: Look) -> Iterator[Finding]:
    windows = "windows" in look.tables
    for name in [*(["windows"] if windows else []), *look.ending("_token")]:
        lost = pc.invert(_isin(look.column(name, "recording_id"), look.readable))
        keys = look.keys(name).filter(lost).to_pylist()
        if keys:
            yield Finding("orphan", name, len(keys), "rows of recordings that were not committed", keys=keys)
    if not windows:
        return
    owned = look.keys("windows").filter(_isin(look.column("windows", "recording_id"), look.readable))
    for name in look.ending(*VECTORS):
        ids = look.column(name, "window_id")
        lost = pc.invert(_isin(ids, owned))
        keys = look.keys(name).filter(lost).to_pylist()
        if keys:
            ids = ids.filter(lost)
            unknown = ids.filter(pc.invert(_isin(ids, look.keys("windows")))).to_pylist()
            redo = _lost_windows(look, set(unknown)) if unknown else []
            yield Finding("orphan", name, len(keys), "vectors of windows that are not there", keys=keys, redo=redo)


def _lost_windows(look: Look, orphans: set[str]) -> list[str]:
    """Recordings that once had a window of `orphans`: where a window may lie follows from a recording's streams."""
    settings = next(iter(look.store.models().values()), None)
    if settings is None:
        return []
    held = look.store.need("windows").search().select(["recording_id", "modality", "person"]).to_arrow()
    who: dict[str, set[tuple[str, str]]] = {}
    for row in held.group_by(held.schema.names).aggregate([]).to_pylist():
        who.setdefault(row["recording_id"], set()).add((row["modality"], row["person"]))
    columns = ["recording_id", "streams", "narrations"]
    found = []
    for batch in look.store.need("recordings").search().where(READABLE).select(columns).to_batches():
        for row in batch.to_pylist():
            if not orphans.isdisjoint(_possible(row, who.get(row["recording_id"], set()), settings)):
                found.append(row["recording_id"])
    return found


def _possible(row: Mapping[str, Any], known: set[tuple[str, str]], settings: ModelRow) -> Iterator[str]:
    """The ids that windows of a recording may have."""
    recording_id, window_s = row["recording_id"], settings.window_s
    for stream in row["streams"]:
        names = known | {(stream["modality"], stream["person"])}
        people = [person for modality, person in names if modality == stream["modality"]]
        duration_s = stream["end_s"] - stream["start_s"] + 0.2
        ticks = grid(duration_s, window_s=window_s, stride_s=settings.stride_s)
        ends = ticks[-1] + np.arange(-2, 3)  # the last window ends with the stream, whose end is known to a tick
        for start_s in (stream["start_s"] + np.union1d(ticks, ends) * 0.2).tolist():
            for person in people:
                length = round((start_s + window_s - start_s) * 1e6)
                yield row_id(recording_id, stream["modality"], person, round(start_s * 1e6), length, "")
    for told in row["narrations"]:
        start, length = round(told["start_s"] * 1e6), round((told["end_s"] - told["start_s"]) * 1e6)
        yield row_id(recording_id, "text", "", start, length, told["text"])


def _missing(look: Look) -> Iterator[Finding]:
    """Recordings without their windows, windows without any vector or with some of a model's levels only, and
    windows whose tokens are not there."""
    held = look.column("windows", "recording_id") if "windows" in look.tables else pa.chunked_array([[]], pa.string())
    had = look.store.need("recordings").search().where(f"{READABLE} AND quality > 0").select(["recording_id"])
    without = had.to_arrow()["recording_id"]
    without = without.filter(pc.invert(_isin(without, held))).to_pylist()
    if without:
        yield Finding("missing", "windows", len(without), "recordings that had windows have none", redo=without)
    if "windows" not in look.tables:
        return
    owned = _isin(held, look.readable)
    windows = look.keys("windows").filter(owned)
    vectors = look.ending(*VECTORS)
    every = [chunk for name in vectors for chunk in look.column(name, "window_id").chunks]
    yield from _lacking(look, "windows", windows, pa.chunked_array(every, pa.string()), "without any vector")
    for space in look.store.models():
        own = look.own(space)
        for one in own:
            for other in (name for name in own if name != one):
                in_one = look.column(one, "window_id")
                in_one = in_one.filter(_isin(in_one, windows)).unique()
                lacking = f"that are in {one} only"
                yield from _lacking(look, other, in_one, look.column(other, "window_id"), lacking, space)
        yield from _without_vectors(look, space)
        yield from _without_tokens(look, space)


def _lacking(
    look: Look, table: str, wanted: Any, there: pa.ChunkedArray, detail: str, space: str = ""
) -> Iterator[Finding]:
    lost = wanted.filter(pc.invert(_isin(wanted, there))).to_pylist()
    if lost:
        redo = sorted({look.recording_of[window] for window in lost})
        yield Finding("missing", table, len(lost), f"windows {detail}", redo=redo, space=space)


def _without_vectors(look: Look, space: str) -> Iterator[Finding]:
    """Windows that an encoder must have given a vector: sentences, and those that are mostly there."""
    name, model = vector_table_name(space, "global"), look.store.models()[space]
    modalities = [m for m, e in model.encoders.items() if m != "video" and "global" in e["levels"]]
    if name in look.damaged or not modalities:
        return
    table = look.store.need("recordings").search()
    mine = table.where(f"{READABLE} AND array_has_any(fingerprints, [{quote(model.fingerprint)}])")
    encoded = mine.select(["recording_id"]).to_arrow()["recording_id"]
    told = f"modality = 'text' OR (quality >= {THERE} AND array_has_any(parts, [{', '.join(map(quote, PARTS))}]))"
    rows = look.store.need("windows").search().where(f"{one_of('modality', modalities)} AND ({told})")
    windows = rows.select(["window_id", "recording_id"]).to_arrow()
    windows = windows.filter(_isin(windows["recording_id"], encoded))["window_id"]
    there = look.column(name, "window_id") if name in look.tables else pa.chunked_array([[]], pa.string())
    yield from _lacking(look, name, windows, there, "that have no vector", space)


def _without_tokens(look: Look, space: str) -> Iterator[Finding]:
    """Windows with token vectors, of which no token of their stream is there."""
    name, projected = token_table_name(space), vector_table_name(space, "token")
    if name not in look.tables or projected not in look.tables:
        return
    stream = ["recording_id", "modality", "person"]
    rows = look.store.need("windows").search().select(["window_id", *stream]).to_arrow()
    rows = rows.filter(_isin(rows["window_id"], look.column(projected, "window_id")))
    rows = rows.filter(_isin(rows["recording_id"], look.readable)).select(stream)
    tokens = look.store.need(name).search().select(stream).to_arrow()
    lost = (
        rows.group_by(stream).aggregate([]).join(tokens.group_by(stream).aggregate([]), stream, join_type="left anti")
    )
    if len(lost):
        redo = sorted(set(lost["recording_id"].to_pylist()))
        yield Finding("missing", name, len(lost), "streams without tokens", redo=redo, space=space)


def _foreign(look: Look) -> Iterator[Finding]:
    for space, model in look.store.models().items():
        known = pa.chunked_array([[str(e["fingerprint"]) for e in model.encoders.values()]], pa.string())
        for name in (n for n in look.tables if n.rpartition("_")[0] == space):
            other = pc.invert(_isin(look.column(name, "fingerprint"), known))
            keys = look.keys(name).filter(other).to_pylist()
            if keys:
                yield Finding(
                    "foreign",
                    name,
                    len(keys),
                    f"rows of another model than {model.name or model.fingerprint[:12]}",
                    keys=keys,
                    redo=look.owners(name, other),
                    space=space,
                )


def _stale(look: Look) -> Iterator[Finding]:
    if "windows" in look.damaged:
        return
    for space in look.store.models():
        for level in LEVELS:
            name = vector_table_name(space, level)
            kept = level != "local" or (look.store.ann_dir / f"{name}.json").exists()
            if kept and name in look.tables and (why := why_stale(look.store, space, level)):
                yield Finding("stale", f"{name}.faiss", 1, why)


CHECKS: tuple[Callable[[Look], Iterator[Finding]], ...] = (
    _unreadable,
    _duplicates,
    _orphans,
    _missing,
    _foreign,
    _stale,
)
"""In the order in which what they find is to be mended."""
