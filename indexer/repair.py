"""Mends what `verify` finds. What cannot be known without the source is marked, and the next `index` redoes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from motionseek.errors import ArchiveError
from motionseek.indexer.filters import one_of
from motionseek.indexer.pipeline import build_indexes
from motionseek.indexer.store import Store
from motionseek.indexer.verify import CHECKS, NEEDED, Finding, Look, verify
from motionseek.indexer.writer import Writer

KEYS_PER_STEP = 2000


def repair(archive: str | Path) -> list[Finding]:
    """What was wrong with an archive, each with what was done about it in `mended`.

    Rows that are too many are taken out, indexes are built again. Where rows are missing or not to be trusted, their
    recordings are marked: the next `index` of their sources encodes exactly those again, and until then what is left
    of them is found. Cut off, it is run again.
    Raises ArchiveError where it is no archive or its recordings cannot be read, ArchiveLocked while another writes.
    """
    for finding in verify(archive):
        if finding.kind == "unreadable" and finding.table in NEEDED:
            raise ArchiveError(
                f"{archive}: {finding.table}: {finding.detail}. Nothing can be mended without it: restore the folder "
                f"from a copy, or index the sources into a new archive"
            )
    with Writer(archive, finish=False) as writer:  # what cannot be read keeps removals from being finished
        found = []
        for check in CHECKS:
            writer.store.refresh()
            found += [_mended(writer, finding) for finding in check(Look(writer.store))]
            if check is CHECKS[0]:
                writer.finish_removals()
        if any(finding.kind == "stale" for finding in found):
            build_indexes(writer.store)
    return found


def _mended(writer: Writer, finding: Finding) -> Finding:
    done = []
    redo = list(finding.redo)
    if finding.kind == "duplicate":
        redo = redo if _differ(writer.store, finding) else []
    if redo:
        # First, so that whatever comes between, the rows taken out come back.
        _mark(writer, redo, finding.space)
        done.append(f"{len(redo)} recordings marked: index their sources again")
    if finding.kind == "unreadable":
        writer.store.drop([finding.table])
        done.append("table dropped")
    elif finding.kind == "duplicate":
        _keep_one(writer.store, finding)
        done.append("one of each kept")
    elif finding.keys:
        _take_out(writer.store, finding.table, finding.keys)
        done.append("taken out")
    elif finding.kind == "stale":
        done.append("built again")
    return replace(finding, mended=", ".join(done), redo=redo)


def _steps(keys: Sequence[str]) -> list[Sequence[str]]:
    return [keys[first : first + KEYS_PER_STEP] for first in range(0, len(keys), KEYS_PER_STEP)]


def _rows(store: Store, table: str, keys: Sequence[str]) -> pa.Table:
    return store.need(table).search().where(one_of(store.need(table).schema.names[0], keys)).to_arrow()


def _take_out(store: Store, table: str, keys: Sequence[str]) -> None:
    for some in _steps(keys):
        store.need(table).delete(one_of(store.need(table).schema.names[0], some))


def _differ(store: Store, finding: Finding) -> bool:
    """Whether rows with the same key say different things: then neither is to be trusted."""
    for some in _steps(finding.keys):
        key = store.need(finding.table).schema.names[0]
        said: dict[str, object] = {}
        for row in _rows(store, finding.table, some).to_pylist():
            if said.setdefault(row[key], row) != row:
                return True
    return False


def _keep_one(store: Store, finding: Finding) -> None:
    """The row written last; the others go in one commit a step, so that no key is ever without a row."""
    table = store.need(finding.table)
    key = table.schema.names[0]
    for some in _steps(finding.keys):
        rows = table.search().with_row_id(True).where(one_of(key, some)).select([key]).to_arrow()
        kept = rows.group_by(key).aggregate([("_rowid", "max")])["_rowid_max"].to_pylist()
        extra = sorted({int(row) for row in rows["_rowid"].to_pylist()} - set(kept))
        for first in range(0, len(extra), KEYS_PER_STEP):
            table.delete(f"_rowid IN ({', '.join(map(str, extra[first : first + KEYS_PER_STEP]))})")


def _mark(writer: Writer, recording_ids: Sequence[str], space: str) -> None:
    """As if the model of `space` ("": no model) had not encoded them yet."""
    models = writer.store.models()
    gone = {models[space].fingerprint} if space in models else {model.fingerprint for model in models.values()}
    for some in _steps(recording_ids):
        rows = _rows(writer.store, "recordings", some).to_pylist()
        for row in rows:
            writer.add({**row, "fingerprints": [f for f in row["fingerprints"] if f not in gone]}, {})
    writer.flush()
