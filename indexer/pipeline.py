"""Indexing: sources → recordings → windows and vectors → one archive."""

from __future__ import annotations

import json
import platform
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from motionseek.errors import ArchiveError, UsageError
from motionseek.indexer.ann import import_faiss, open_index
from motionseek.indexer.catalog import Catalog, Row
from motionseek.indexer.feed import Feed, Item, Limits
from motionseek.indexer.pose import load_estimator
from motionseek.indexer.prepare import Encoders
from motionseek.indexer.readers import discover
from motionseek.indexer.readers.hashes import Stamp
from motionseek.indexer.report import Event, IndexReport, Progress, Tally
from motionseek.indexer.run import Run
from motionseek.indexer.schema import vector_table_name
from motionseek.indexer.spaces import ModelLike, check_spaces, claim_spaces, encoders_of, load_models
from motionseek.indexer.store import Store
from motionseek.indexer.windows import grid
from motionseek.indexer.writer import Writer
from motionseek.types import Level, Recording

__all__ = ["Event", "IndexReport", "Limits", "ModelLike", "Progress", "build_indexes", "index"]


def index(
    sources: str | Path | Recording | Sequence[str | Path | Recording],
    archive: str | Path,
    *,
    models: Sequence[str | Path | ModelLike] = ("starter",),
    format: str = "auto",
    stride_s: float = 1.0,
    window_s: float = 5.0,
    progress: Progress | None = None,
    replace: bool = False,
    retry: bool = False,
    limit: int | None = None,
    dry_run: bool = False,
    limits: Limits | None = None,
    pose: str = "none",
    units: Mapping[str, str] | None = None,
) -> IndexReport:
    """Index files, folders or Recording objects into `archive`, a folder or s3://BUCKET/ARCHIVE, made where it is not
    there.

    What the archive knows already is skipped by its content; a file that cannot be read is recorded as failed, with
    the reason, and the others go on. Killed at any moment and run again, it ends with the same rows.

    models: names, folders or Model objects, each filling the spaces that it has.   format: of the sources; "auto"
    finds out.   window_s, stride_s: multiples of 0.2 s, the same for the whole archive.
    replace: a space that another model fills is emptied, and everything found is encoded again.   retry: files that
    could not be read before are tried again.   limit: stop after so many recordings that are not known.
    dry_run: say what would be done and write nothing.   limits: of the processes that read.
    pose: of people in videos that come without keypoints, by the estimator "auto", "blazepose", "rtmpose" or
    "rtmpose:FOLDER" (see `estimate_pose`); also of videos that the archive knows already, once.
    units: what the numbers of plain sensor files are in, as {"acc": "g", "gyro": "deg/s", "time": "ms"}.
    Raises UsageError for arguments that do not fit; ArchiveLocked while another process writes; StaleIndex where the
    archive was filled by another model; ModelError where a model cannot be used; MissingExtra without FAISS.
    """
    began = time.perf_counter()
    started = datetime.now(UTC).isoformat()
    import_faiss()
    grid(window_s, window_s=window_s, stride_s=stride_s)
    if limit is not None and limit < 1:
        raise UsageError(f"limit must be at least 1, not {limit}")
    tell = progress or (lambda event: None)
    listed = [sources] if isinstance(sources, str | Path | Recording) else list(sources)
    with Feed(limits or Limits()) as feed:  # its processes start while sources are looked for and models loaded
        feed.start(sum(not isinstance(source, Recording) for source in listed))
        items = _discover(listed, format, units)
        feed.start(sum(not isinstance(item.given, Recording) for item in items))
        loaded = load_models(models)
        encoders = encoders_of(loaded, window_s)
        of_model = {model.fingerprint: {key: encoders[key] for key in model.encoders} for _, model in loaded}
        estimator = _estimator(pose)
        if dry_run:
            return _planned(
                archive, items, feed, loaded, of_model, window_s, stride_s, tell, replace, retry, limit, estimator
            )
        configuration = {
            "sources": [item.uri for item in items],
            "models": [name for name, _ in loaded],
            "format": format,
            "window_s": window_s,
            "stride_s": stride_s,
            "replace": replace,
            "retry": retry,
            "limit": limit,
            "pose": pose,
            "units": dict(units or {}),
        }
        with Writer(archive) as writer:
            claim_spaces(writer, loaded, window_s, stride_s, replace=replace)
            run = Run(writer, Catalog(writer.store), of_model, window_s, stride_s, len(items), retry=retry, limit=limit)
            run.estimator, run.readers = estimator, lambda: feed.reading
            log = _run_row(started, configuration)
            writer.put_run(log)
            try:
                _pass(run, feed, items, _stamps(writer.store), tell)
                tell(Event("writing", run.done, len(items)))
                with run.tally.timed("write"):
                    run.finish()
                tell(Event("building", run.done, len(items)))
                with run.tally.timed("build"):
                    indexes = build_indexes(writer.store)
            except BaseException as error:
                report = _report(run.tally, began, {})
                with suppress(ArchiveError):  # where the disk is full, that is what ended the run
                    writer.put_run({**log, **_outcome(report, cut_off=f"{type(error).__name__}: {error}")})
                raise
            report = _report(run.tally, began, indexes)
            writer.put_run({**log, **_outcome(report)})
        tell(Event("done", run.done, len(items), windows=report.windows))
        return report


def _pass(run: Run, feed: Feed, items: Sequence[Item], stamps: Mapping[str, Stamp], tell: Progress) -> None:
    tell(Event("found", 0, run.total))
    messages = feed.messages(items, run.claim, stamps)
    while True:
        with run.tally.timed("wait"):
            told = next(messages, None)
        if told is None:
            break
        for event in run.take(told):
            tell(event)
    run.tally.timings_s["read"] = feed.read_s


def _planned(
    archive: str | Path,
    items: Sequence[Item],
    feed: Feed,
    loaded: Sequence[tuple[str, ModelLike]],
    models: Mapping[str, Encoders],
    window_s: float,
    stride_s: float,
    tell: Progress,
    replace: bool,
    retry: bool,
    limit: int | None,
    estimator: str,
) -> IndexReport:
    began = time.perf_counter()
    store = Store.open(archive) if Store.exists(archive) else None
    emptied = check_spaces(store, loaded, window_s, stride_s, replace=replace) if store else []
    catalog = Catalog(store, without={row.fingerprint for row in emptied})
    run = Run(None, catalog, models, window_s, stride_s, len(items), retry=retry, limit=limit, estimator=estimator)
    _pass(run, feed, items, _stamps(store) if store else {}, tell)
    tell(Event("done", run.done, len(items)))
    return _report(run.tally, began, {})


def _estimator(pose: str) -> str:
    """Raises UsageError, MissingExtra, ModelError, before anything is read."""
    if pose == "none":
        return ""
    load_estimator(pose)
    return "blazepose" if pose == "auto" else pose


def _report(tally: Tally, began: float, indexes: Mapping[str, Mapping[str, Any]]) -> IndexReport:
    return IndexReport(
        tally.indexed,
        tally.skipped,
        tuple(tally.failed),
        tuple(tally.partial),
        time.perf_counter() - began,
        tally.windows,
        tally.recorded_s,
        tally.timings_s,
        indexes,
        tally.planned,
    )


def _stamps(store: Store) -> dict[str, Stamp]:
    return {row["path"]: Stamp(**row) for row in store.files().to_pylist()}


def build_indexes(store: Store) -> dict[str, dict[str, Any]]:
    """Bring the FAISS files of every space up to date, at the levels that searches start from.

    Raises ArchiveError where they cannot be written."""
    store.refresh()
    built = {}
    levels: tuple[Level, ...] = ("global", "token")
    for space in store.models():
        for level in levels:
            name = vector_table_name(space, level)
            if store.table(name) is not None:
                ann = open_index(store, space, level, written=True)
                built[name] = {"kind": ann.kind, "rows": len(ann), "recall_at_10": ann.recall}
    return built


def _discover(listed: Sequence[str | Path | Recording], format: str, units: Mapping[str, str] | None) -> list[Item]:
    if not listed:
        raise UsageError("sources is empty: give at least one file, folder or Recording")
    found: dict[str, Item] = {}
    for source in listed:
        inside = [source] if isinstance(source, Recording) else discover([source], format=format, units=units)
        for given in inside:
            item = Item(given)
            found.setdefault(item.uri, item)
    return list(found.values())


def _run_row(started: str, configuration: Mapping[str, Any]) -> Row:
    """A row of RUNS as it stands while the run goes on; a run that was killed leaves it so."""
    versions = {name: version(name) for name in ("motionseek", "lancedb", "numpy", "pyarrow", "torch")}
    versions |= {"faiss": import_faiss().__version__, "python": platform.python_version()}
    return {
        "run_id": uuid.uuid4().hex,
        "started": started,
        "seconds": 0.0,
        "configuration": json.dumps(configuration, ensure_ascii=False),
        "versions": json.dumps(versions),
        "counts": "{}",
        "errors": "[]",
        "timings": "{}",
    }


def _outcome(report: IndexReport, *, cut_off: str = "") -> Row:
    counts = {name: getattr(report, name) for name in ("indexed", "skipped", "windows", "recorded_s")}
    counts |= {"failed": len(report.failed), "partial": len(report.partial)}
    errors = [{"uri": uri, "reason": reason} for uri, reason in report.failed]
    errors += [{"uri": "", "reason": cut_off}] if cut_off else []
    return {
        "seconds": report.seconds,
        "counts": json.dumps(counts),
        "errors": json.dumps(errors, ensure_ascii=False),
        "timings": json.dumps(dict(report.timings_s)),
    }
