"""Indexing: sources → recordings → windows and vectors → one archive."""

from __future__ import annotations

import json
import logging
import platform
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from motionseek.errors import ArchiveError, DamagedFile, MediaError, ModelError, MotionseekError, UsageError
from motionseek.indexer.ann import import_faiss, open_index
from motionseek.indexer.catalog import Catalog, Row, failed_row, recording_row
from motionseek.indexer.encode import Encoders, encode_recording
from motionseek.indexer.readers import Source, content_id, discover, read
from motionseek.indexer.report import Event, IndexReport, Progress
from motionseek.indexer.schema import row_id, vector_table_name
from motionseek.indexer.spaces import ModelLike, claim_spaces, encoders_of, load_models
from motionseek.indexer.store import Store
from motionseek.indexer.windows import grid
from motionseek.indexer.writer import Writer
from motionseek.types import Level, Recording

__all__ = ["Event", "IndexReport", "ModelLike", "Progress", "build_indexes", "index"]

log = logging.getLogger(__name__)


@dataclass
class _Tally:
    indexed: int = 0
    skipped: int = 0
    windows: int = 0
    recorded_s: float = 0.0
    failed: list[tuple[str, str]] = field(default_factory=list)
    partial: list[tuple[str, str]] = field(default_factory=list)
    timings_s: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(("read", "encode", "write", "build"), 0.0)
    )


def index(
    sources: str | Path | Recording | Sequence[str | Path | Recording],
    archive: str | Path,
    *,
    models: Sequence[str | Path | ModelLike] = ("starter",),
    format: str = "auto",
    stride_s: float = 1.0,
    window_s: float = 5.0,
    progress: Progress | None = None,
) -> IndexReport:
    """Index files, folders or Recording objects into the folder `archive`, which is made where it is not there.

    What the archive knows already is skipped by its content; a file that cannot be read is recorded as failed, with
    the reason, and the others go on. Killed at any moment and run again, it ends with the same rows.

    models: names, folders or Model objects, each filling the spaces that it has.   format: of the sources; "auto"
    finds out.   window_s, stride_s: multiples of 0.2 s, the same for the whole archive.
    Raises UsageError for arguments that do not fit; ArchiveLocked while another process writes; StaleIndex where the
    archive was filled by another model; ModelError where a model cannot be used; MissingExtra without FAISS.
    """
    began = time.perf_counter()
    started = datetime.now(UTC).isoformat()
    import_faiss()
    grid(window_s, window_s=window_s, stride_s=stride_s)
    loaded = load_models(models)
    encoders = encoders_of(loaded, window_s)
    items = _discover(sources, format)
    tell = progress or (lambda event: None)
    tally = _Tally()
    with Writer(archive) as writer:
        claim_spaces(writer, loaded, window_s, stride_s)
        run = _Run(writer, Catalog(writer.store), encoders, loaded, window_s, stride_s, tally)
        tell(Event("found", 0, len(items)))
        for i, item in enumerate(items):
            tell(run.take(item, i + 1, len(items)))
        tell(Event("writing", len(items), len(items)))
        with _Timer(tally.timings_s, "write"):
            run.finish()
        tell(Event("building", len(items), len(items)))
        with _Timer(tally.timings_s, "build"):
            indexes = build_indexes(writer.store)
        report = IndexReport(
            tally.indexed,
            tally.skipped,
            tuple(tally.failed),
            tuple(tally.partial),
            time.perf_counter() - began,
            tally.windows,
            tally.recorded_s,
            tally.timings_s,
            indexes,
        )
        configuration = {
            "sources": [item.uri for item in items],
            "models": [name for name, _ in loaded],
            "format": format,
            "window_s": window_s,
            "stride_s": stride_s,
        }
        writer.put_run(_run_row(started, configuration, report))
    tell(Event("done", len(items), len(items), windows=tally.windows))
    return report


def build_indexes(store: Store) -> dict[str, dict[str, Any]]:
    """Bring the FAISS files of every space up to date, at the levels that searches start from."""
    store.refresh()
    built = {}
    levels: tuple[Level, ...] = ("global", "token")
    for space in store.models():
        for level in levels:
            name = vector_table_name(space, level)
            if store.table(name) is not None:
                ann = open_index(store, space, level)
                built[name] = {"kind": ann.kind, "rows": len(ann), "recall_at_10": ann.recall}
    return built


@dataclass(frozen=True, eq=False)
class _Item:
    """Something to index: a source on disk, or a recording in memory."""

    given: Source | Recording

    @property
    def uri(self) -> str:
        return self.given.uri if isinstance(self.given, Recording) else self.given.path

    @property
    def format(self) -> str:
        return self.given.source_format if isinstance(self.given, Recording) else self.given.format

    def content_id(self) -> str:
        return self.given.recording_id if isinstance(self.given, Recording) else content_id(self.given)

    def read(self, recording_id: str) -> Recording:
        recording = self.given if isinstance(self.given, Recording) else read(self.given)
        if recording.recording_id != recording_id:
            raise DamagedFile(self.uri, "it changed while it was read: index it again")
        return recording


@dataclass(eq=False)
class _Run:
    """One pass over the sources."""

    writer: Writer
    catalog: Catalog
    encoders: Encoders
    models: Sequence[tuple[str, ModelLike]]
    window_s: float
    stride_s: float
    tally: _Tally
    displaced: list[str] = field(default_factory=list)

    def take(self, item: _Item, done: int, total: int) -> Event:
        """Index one source, or say why not. Errors of the archive and of models end the run; all others are the
        source's, and are recorded with it."""
        recording_id = ""
        try:
            with _Timer(self.tally.timings_s, "read"):
                recording_id = item.content_id()
            return self._take(item, recording_id, done, total)
        except (ArchiveError, ModelError):
            raise
        except Exception as error:
            reason = error.reason if isinstance(error, MediaError) else _reason(error)
            log.info("%s failed", item.uri, exc_info=error)
            self._fail(item, recording_id, reason)
            return Event("recording", done, total, item.uri, "failed", reason)

    def _take(self, item: _Item, recording_id: str, done: int, total: int) -> Event:
        known = self.catalog.readable(recording_id)
        wanted = {model.fingerprint for _, model in self.models}
        missing = wanted - set(known["fingerprints"]) if known else wanted
        if known and not missing and item.uri in known["uris"]:
            self.tally.skipped += 1
            self._displace(recording_id, item.uri)
            return Event("recording", done, total, item.uri, "known")
        with _Timer(self.tally.timings_s, "read"):
            recording = item.read(recording_id)
        uris = self.catalog.uris(recording_id, item.uri)
        if known and not missing:
            self._put(recording_row(recording, uris, known["fingerprints"], known["quality"]), {}, item.uri)
            self.tally.skipped += 1
            return Event("recording", done, total, item.uri, "known")
        spaces = {space for _, model in self.models if model.fingerprint in missing for space, _ in model.encoders}
        encoders = {key: encoder for key, encoder in self.encoders.items() if key[0] in spaces}
        with _Timer(self.tally.timings_s, "encode"):
            tables = encode_recording(recording, encoders, window_s=self.window_s, stride_s=self.stride_s)
        windows = tables.get("windows")
        count = len(windows) if windows is not None else 0
        quality = round(float(windows["quality"].to_numpy().mean()), 4) if windows is not None and count else 0.0
        held = known["fingerprints"] if known else []
        row = recording_row(recording, uris, {*held, *missing}, quality)
        with _Timer(self.tally.timings_s, "write"):
            self._put(row, tables, item.uri)
        self.tally.indexed += 1
        self.tally.windows += count
        self.tally.recorded_s += recording.duration_s
        if row["status"] == "partial":
            self.tally.partial.append((item.uri, row["reason"]))
        return Event("recording", done, total, item.uri, row["status"], row["reason"], recording.duration_s, count)

    def _put(self, row: Row, tables: Mapping[str, Any], uri: str) -> None:
        self.writer.add(row, tables)
        self.catalog.put(row)
        self._displace(row["recording_id"], uri)

    def _fail(self, item: _Item, recording_id: str, reason: str) -> None:
        self.tally.failed.append((item.uri, reason))
        unread = not recording_id
        recording_id = recording_id or row_id("unreadable", item.uri)
        if self.catalog.readable(recording_id):
            return
        known = self.catalog.rows.get(recording_id)
        row = failed_row(recording_id, self.catalog.uris(recording_id, item.uri), reason, item.format)
        if known is None or (known["reason"], known["uris"]) != (reason, row["uris"]):
            self.writer.add(row, {})
            self.catalog.put(row)
        if not unread:
            # Content that could not even be looked at may come back as it was; content that changed will not.
            self._displace(recording_id, item.uri)

    def _displace(self, recording_id: str, uri: str) -> None:
        """Whatever else was met at this place is no longer there."""
        gone, elsewhere = self.catalog.displaced(recording_id, uri)
        for row in elsewhere:
            self.writer.add(row, {})
            self.catalog.put(row)
        for other in [*gone, *(row["recording_id"] for row in elsewhere)]:
            self.catalog.forget(other, uri)
        self.displaced += gone

    def finish(self) -> None:
        """Commit; only then take out what was replaced."""
        self.writer.flush()
        self.writer.remove(sorted(i for i in set(self.displaced) if self.catalog.lies_nowhere(i)))
        self.writer.optimize()


def _reason(error: Exception) -> str:
    if isinstance(error, MotionseekError):
        return str(error)
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return f"{type(error).__name__}: {error}"


class _Timer:
    def __init__(self, into: dict[str, float], name: str) -> None:
        self.into, self.name = into, name

    def __enter__(self) -> None:
        self.began = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.into[self.name] += time.perf_counter() - self.began


def _discover(sources: str | Path | Recording | Sequence[str | Path | Recording], format: str) -> list[_Item]:
    listed = [sources] if isinstance(sources, str | Path | Recording) else list(sources)
    if not listed:
        raise UsageError("sources is empty: give at least one file, folder or Recording")
    found: dict[str, _Item] = {}
    for source in listed:
        inside = [source] if isinstance(source, Recording) else discover([source], format=format)
        for given in inside:
            item = _Item(given)
            found.setdefault(item.uri, item)
    return list(found.values())


def _run_row(started: str, configuration: Mapping[str, Any], report: IndexReport) -> Row:
    versions = {name: version(name) for name in ("motionseek", "lancedb", "numpy", "pyarrow", "torch")}
    versions |= {"faiss": import_faiss().__version__, "python": platform.python_version()}
    counts = {name: getattr(report, name) for name in ("indexed", "skipped", "windows", "recorded_s")}
    return {
        "run_id": uuid.uuid4().hex,
        "started": started,
        "seconds": report.seconds,
        "configuration": json.dumps(configuration, ensure_ascii=False),
        "versions": json.dumps(versions),
        "counts": json.dumps(counts),
        "errors": json.dumps([{"uri": uri, "reason": reason} for uri, reason in report.failed], ensure_ascii=False),
        "timings": json.dumps(dict(report.timings_s)),
    }
