"""Taking recordings out of an archive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from motionseek.errors import UsageError
from motionseek.indexer.pipeline import build_indexes
from motionseek.indexer.store import Store
from motionseek.indexer.writer import Writer

RECORDINGS_PER_STEP = 200
SHORTEST_ID = 6


@dataclass(frozen=True)
class Removed:
    """A recording that was taken out; whole: False where only some of its places were forgotten."""

    recording_id: str
    uris: tuple[str, ...]
    whole: bool = True


def remove(
    archive: str | Path, recordings: Sequence[str] = (), *, source: str | None = None, dry_run: bool = False
) -> tuple[Removed, ...]:
    """Take recordings out of an archive, with all that was indexed of them; the sources stay as they are.

    recordings: ids, or the first characters of one (at least 6).   source: a pattern of paths, as in a shell
    ("*/walk/*"); a recording that also lies at a place that does not match stays, without the places that do.
    dry_run: only say which. They vanish from searches at once; cut off, the next writer finishes it.
    Raises UsageError for an id or a pattern that fits nothing; ArchiveError, ArchiveLocked.
    """
    if not recordings and source is None:
        raise UsageError("give the recordings to remove, or a pattern of their sources")
    if dry_run:
        return _chosen(Store.open(archive), recordings, source)
    Store.open(archive)
    with Writer(archive) as writer:
        chosen = _chosen(writer.store, recordings, source)
        places = {row["recording_id"]: row["uris"] for row in _rows(writer.store)}
        for one in chosen:
            if not one.whole:
                for uri in one.uris:
                    places[one.recording_id] = [u for u in places[one.recording_id] if u != uri]
                    writer.move(one.recording_id, uri, places[one.recording_id])
        writer.flush()
        whole = [one.recording_id for one in chosen if one.whole]
        for first in range(0, len(whole), RECORDINGS_PER_STEP):
            writer.remove(whole[first : first + RECORDINGS_PER_STEP])
        writer.optimize()
        build_indexes(writer.store)
    return chosen


def _rows(store: Store) -> list[dict[str, Any]]:
    rows: list[dict[str, list[str]]] = store.recordings(columns=["recording_id", "uris"]).to_pylist()
    return rows


def _chosen(store: Store, recordings: Sequence[str], source: str | None) -> tuple[Removed, ...]:
    rows = {str(row["recording_id"]): row["uris"] for row in _rows(store)}
    found = {name: Removed(name, tuple(rows[name])) for name in (_named(given, list(rows)) for given in recordings)}
    if source is not None:
        fitting = {name: [u for u in uris if fnmatchcase(u, source)] for name, uris in rows.items()}
        if not any(fitting.values()):
            raise UsageError(f"no source in {store.uri} fits {source!r}; patterns fit whole paths, as in '*/walk/*'")
        for name, uris in fitting.items():
            if uris and name not in found:
                found[name] = Removed(name, tuple(uris), len(uris) == len(rows[name]))
    return tuple(found.values())


def _named(given: str, known: Sequence[str]) -> str:
    fitting = [name for name in known if name == given or (len(given) >= SHORTEST_ID and name.startswith(given))]
    if len(fitting) != 1:
        what = "no recording" if not fitting else f"{len(fitting)} recordings"
        raise UsageError(
            f"{given!r} names {what}: give an id, or its first {SHORTEST_ID} characters or more, as `search --json` "
            f"prints them; a path goes with --source"
        )
    return fitting[0]
