"""The archive as readers see it: LanceDB tables under `lance/`, FAISS files under `ann/`.

The row of a recording is the commit: everything of it was written before, and is taken out only after. Readers
therefore take only windows whose recording is there with status ok or partial, and a killed writer leaves nothing that
anybody sees.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from motionseek.errors import ArchiveError
from motionseek.indexer.filters import Filter, one_of
from motionseek.indexer.place import Place
from motionseek.indexer.schema import (
    FILES,
    FORMAT,
    FORMAT_KEY,
    MODELS,
    RECORDINGS,
    RUNS,
    WINDOWS,
    slots,
    token_table_name,
    vector_table,
    vector_table_name,
)
from motionseek.indexer.token_reader import TokenReader
from motionseek.indexer.tokens import StreamKey, TokenStream
from motionseek.types import Float32, Level, Span

__all__ = ["Filter", "ModelRow", "Store", "StreamKey", "TokenStream"]

MOST_LOOKS = 50
READABLE = "status IN ('ok', 'partial')"


@dataclass(frozen=True)
class ModelRow:
    """The model that filled a space.

    encoders: modality → {"fingerprint", "levels", "rate_hz", "window_s", "token_s"}.
    """

    space: str
    fingerprint: str
    name: str
    encoders: Mapping[str, Mapping[str, Any]]
    card: Mapping[str, Any]
    window_s: float
    stride_s: float


class Store:
    """Read access to an archive. A store sees the archive as it was when opened, until `refresh`."""

    def __init__(self, place: Place, db: Any) -> None:
        self._place, self._db = place, db
        self._names: set[str] = set()
        self._tables: dict[str, Any] = {}
        self._readers: dict[str, TokenReader] = {}

    @classmethod
    def open(cls, uri: str | Path, *, create: bool = False) -> Store:
        """Open the archive `uri`, a folder or s3://BUCKET/ARCHIVE; with `create`, make it where it is not there yet.

        Raises ArchiveError where it is no archive, or one of a later format, or cannot be reached.
        """
        place = Place.of(uri)
        if not place.remote:
            _check_folder(place.folder, create)
        store = cls(place, place.connect())
        store._names = set(store.table_names())
        if "recordings" not in store._names and not create:
            raise ArchiveError(_no_archive(place.uri))
        if create:
            try:
                store.ann_dir.mkdir(parents=True, exist_ok=True)
                store.table("recordings", create=RECORDINGS)
            except (OSError, RuntimeError) as error:
                said = getattr(error, "strerror", None) or " ".join(str(error).split())[:300]
                raise ArchiveError(f"{place.uri} cannot be written to: {said}") from error
        store.refresh()
        store._check_format()
        return store

    @staticmethod
    def exists(uri: str | Path) -> bool:
        """Whether there is anything at `uri` that `open` would take for an archive, or complain about."""
        place = Place.of(uri)
        if place.remote:
            return "recordings" in place.connect().list_tables().tables
        return place.folder.is_file() or (place.folder.is_dir() and any(place.folder.iterdir()))

    def _check_format(self) -> None:
        found = (self.need("recordings").schema.metadata or {}).get(FORMAT_KEY, b"?").decode()
        if found != str(FORMAT):
            raise ArchiveError(
                f"{self.uri} has archive format {found}; this version of motionseek reads format {FORMAT}: "
                f"upgrade motionseek, or index the sources into a new folder"
            )

    def __repr__(self) -> str:
        return f"Store({self.uri})"

    @property
    def uri(self) -> str:
        """Where the archive lies, as its user named it."""
        return self._place.uri

    @property
    def root(self) -> Path:
        """The folder on this machine that holds the archive, or what was derived from it."""
        return self._place.folder

    @property
    def remote(self) -> bool:
        """Whether the tables lie on an object store."""
        return self._place.remote

    @property
    def ann_dir(self) -> Path:
        return self.root / "ann"

    # -- tables

    def table(self, name: str, *, create: pa.Schema | None = None) -> Any | None:
        """The LanceDB table, or None where nothing was ever written to it. Raises ArchiveError for a damaged one."""
        if name not in self._tables and name in self._names:
            try:
                self._tables[name] = self._opened(name)
            except ValueError:  # its folder was made, and then its writer was killed
                self._names.discard(name)
        if name not in self._tables and create is not None:
            self._tables[name] = self._db.create_table(name, schema=create, exist_ok=True)
            self._names.add(name)
        return self._tables.get(name)

    def _opened(self, name: str) -> Any:
        """Raises ValueError where there is none."""
        try:
            table = self._db.open_table(name)
        except (OSError, RuntimeError) as error:
            raise ArchiveError(_damaged(self.uri, name, error)) from error
        if not table.schema.names:  # as LanceDB reads a list of versions that holds nothing but zeros
            raise ArchiveError(_damaged(self.uri, name, "it has no columns"))
        return table

    def need(self, name: str) -> Any:
        """The LanceDB table. Raises ArchiveError where it is not there."""
        table = self.table(name)
        if table is None:
            raise ArchiveError(f"{self.uri} holds no table {name}: index into it again, it may have been cut off early")
        return table

    def table_names(self) -> list[str]:
        return sorted(self._db.list_tables().tables)

    def drop(self, names: Iterable[str]) -> None:
        """Tables that are not needed any more: for the writer alone."""
        for name in list(names):
            self._tables.pop(name, None)
            self._names.discard(name)
            self._db.drop_table(name)

    def refresh(self) -> None:
        """See what was written since the store was opened: all tables as they were at one moment."""
        for _ in range(MOST_LOOKS):
            self._readers = {}
            self._tables = {"recordings": self._recordings()}
            self._names = set(self.table_names())
            for name in sorted(self._names):
                try:
                    self.table(name)
                except ArchiveError:  # a damaged table: whoever asks for it is told
                    continue
            # What was committed or removed meanwhile would be half there.
            if self._tables["recordings"].version == self._recordings().version:
                return
        raise ArchiveError(f"{self.uri} is being written faster than it can be opened: try again")

    def _recordings(self) -> Any:
        try:
            return self._opened("recordings")
        except ValueError as error:
            raise ArchiveError(_damaged(self.uri, "recordings", error)) from error

    def versions(self, space: str, level: Level) -> dict[str, int]:
        """Versions of the tables that an index over (space, level) is built from."""
        names = ("recordings", "windows", vector_table_name(space, level))
        return {n: int(t.version) for n in names if (t := self.table(n)) is not None}

    def _read(self, name: str, where: str, columns: Sequence[str] | None, empty: pa.Schema) -> pa.Table:
        table = self.table(name)
        if table is None:
            return empty.empty_table() if columns is None else empty.empty_table().select(list(columns))
        query = table.search()
        if where:
            query = query.where(where)
        if columns is not None:
            query = query.select(list(columns))
        try:
            return query.to_arrow()
        except (OSError, RuntimeError) as error:
            raise ArchiveError(_damaged(self.uri, name, error)) from error

    # -- rows

    def recordings(self, where: Filter | None = None, columns: Sequence[str] | None = None) -> pa.Table:
        """Recordings by recording_id, failed ones too."""
        sql = " AND ".join(s for s in ("status <> 'removed'", where.recordings_sql() if where else "") if s)
        rows = self._read("recordings", sql, columns, RECORDINGS)
        return rows.sort_by("recording_id") if "recording_id" in rows.column_names else rows

    def readable_ids(self, where: Filter | None = None) -> pa.ChunkedArray:
        """recording_id of all that were wholly written and could be read."""
        sql = " AND ".join(s for s in (READABLE, where.recordings_sql() if where else "") if s)
        return self._read("recordings", sql, ["recording_id"], RECORDINGS)["recording_id"]

    def windows(self, where: Filter | None = None, columns: Sequence[str] | None = None) -> pa.Table:
        """Windows of readable recordings by (recording_id, modality, person, start_s, window_id)."""
        order = ["recording_id", "modality", "person", "start_s", "window_id"]
        readable = self.readable_ids(where)
        need = None if columns is None else [*columns, *(c for c in order if c not in columns)]
        rows = self._read("windows", where.to_sql() if where else "", need, WINDOWS)
        rows = rows.filter(pc.is_in(rows["recording_id"], value_set=readable.combine_chunks()))
        rows = rows.sort_by([(c, "ascending") for c in order])
        return rows if columns is None else rows.select(list(columns))

    def models(self) -> dict[str, ModelRow]:
        """The model of each space. Raises ArchiveError where the table is damaged."""
        rows = self._read("models", "", None, MODELS).sort_by("space")
        try:
            return {
                r["space"]: ModelRow(**{**r, "encoders": json.loads(r["encoders"]), "card": json.loads(r["card"])})
                for r in rows.to_pylist()
            }
        except ValueError as error:
            raise ArchiveError(_damaged(self.uri, "models", error)) from error

    def runs(self) -> pa.Table:
        """What was done to the archive, oldest first."""
        return self._read("runs", "", None, RUNS).sort_by("started")

    def files(self) -> pa.Table:
        """Files as they were when they were hashed."""
        return self._read("files", "", None, FILES)

    # -- vectors

    def vectors(self, space: str, level: Level, where: Filter | None = None) -> tuple[pa.Table, Float32]:
        """Windows and their vectors (N, D) float32, aligned, in the order of `windows`; parts in slot order.

        For the level `local` a window stands once for each of its parts, named in the further column `part`; the
        level `token` gives the projected vectors. Raises ArchiveError where the archive has no such vectors.
        """
        name = vector_table_name(space, level)
        if self.table(name) is None:
            held = sorted(n for n in self.table_names() if n.endswith(("_global", "_local", "_projected")))
            raise ArchiveError(f"{self.uri} holds no {level} vectors of the space {space!r}; it has: {', '.join(held)}")
        windows = self.windows(where)
        few = where is not None and len(windows) <= 2000
        sql = one_of("window_id", windows["window_id"].to_pylist()) if few else ""
        columns = ["window_id", "vector", *(["part"] if level == "local" else [])]
        rows = self._read(name, sql, columns, vector_table(level, 1))
        at = pc.index_in(rows["window_id"], value_set=windows["window_id"].combine_chunks())
        rows, at = rows.filter(pc.is_valid(at)), at.drop_null().to_numpy()
        order = np.argsort(at, kind="stable")
        if level == "local":
            slot = pc.index_in(rows["part"], value_set=pa.array(_all_slots())).to_numpy()
            order = np.lexsort((slot, at))
        matrix = _matrix(rows["vector"])[order]
        windows = windows.take(at[order])
        if level == "local":
            windows = windows.append_column("part", rows["part"].take(order))
        return windows, matrix

    def tokens(
        self,
        space: str,
        keys: Sequence[StreamKey],
        spans: Mapping[StreamKey, Span] | None = None,
        *,
        parts: Collection[str] | None = None,
    ) -> dict[StreamKey, TokenStream]:
        """Token streams of `keys`, in one read. A key without tokens is left out.

        spans: where only a stretch of a long recording is wanted; the stream then has the tokens that it touches.
        parts: where only these of its parts are wanted, which are all masked where it has none of them.
        Raises ArchiveError where the table is damaged.
        """
        name = token_table_name(space)
        table = self.table(name)
        if table is None or not keys:
            return {}
        try:
            if name not in self._readers:
                self._readers[name] = TokenReader(table, self.readable_ids().combine_chunks(), near=not self.remote)
            return self._readers[name].read(keys, spans or {}, parts)
        except (OSError, RuntimeError) as error:
            raise ArchiveError(_damaged(self.uri, name, error)) from error


def _check_folder(root: Path, create: bool) -> None:
    if root.exists() and not root.is_dir():
        raise ArchiveError(f"{root} is a file; an archive is a folder: give another path")
    if (root / "lance" / "recordings.lance").is_dir():
        return
    if not create:
        raise ArchiveError(_no_archive(root))
    foreign = sorted({p.name for p in root.iterdir()} - {"lance", "ann", "writer.lock"}) if root.is_dir() else []
    if foreign:
        raise ArchiveError(f"{root} holds other files ({', '.join(foreign[:3])}) and no archive: give a new folder")


def _damaged(uri: str, table: str, error: object) -> str:
    return f"{uri}: the table {table} cannot be read: {error}; `motionseek verify` says what is wrong"


def _no_archive(uri: object) -> str:
    return f"{uri} is no motionseek archive; make one with:  motionseek index SOURCE --archive {uri}"


def _matrix(column: pa.ChunkedArray) -> Float32:
    array = column.combine_chunks()
    width = array.type.list_size
    return np.ascontiguousarray(array.flatten().to_numpy(zero_copy_only=False), np.float32).reshape(-1, width)


def _all_slots() -> list[str]:
    names: list[str] = []
    for modality in ("imu", "video", "text"):
        names += slots(modality)
    return names
