"""The windows of an archive as files that training maps into memory: a cache under `train/`, made from the sources.

Signals are kept once per recording and rate, in shards; a recording that is there already is not read again, so a run
that was cut off goes on where it stopped. What an archive knows of its windows is written anew whenever it changed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from motionseek.encoders.preprocess import IMU_SLOTS, PREPROCESSING, imu_grid, keypoint_grid
from motionseek.encoders.train.files import FORMAT, SHARD, WINDOWS, Body, open_arrow, shard_table, vector_schema
from motionseek.errors import ArchiveError, MotionseekError, UsageError
from motionseek.indexer.catalog import read_again
from motionseek.indexer.filters import Filter
from motionseek.indexer.schema import row_id
from motionseek.indexer.store import Store
from motionseek.indexer.windows import wearers
from motionseek.types import MODALITIES, Float32, Imu, Modality, PoseTrack, Recording, Span

Progress = Callable[[int, int, str], None]
"""Recordings done, of how many, and which one is read now."""
SHARD_BYTES = 64 << 20
RECORDINGS_PER_READ = 64
_KEPT = b"motionseek.recordings"


@dataclass(frozen=True)
class Exported:
    """The folder to train from, and the recordings whose files could not be read again: (uri, reason)."""

    folder: Path
    unread: tuple[tuple[str, str], ...]


def training_files(
    archive: str | Path,
    *,
    rate_hz: float = 50.0,
    windows: Modality = "imu",
    window_s: float = 5.0,
    space: str | None = None,
    progress: Progress | None = None,
) -> Exported:
    """Everything that training on `archive` needs, as Arrow files inside it; what is there already is kept.

    windows: the modality whose windows in the archive are trained on. The window of a sentence is centred on it; the
    others start where they start in the archive. All last window_s.
    space: the space whose text and video vectors are targets; by default the first that has text.
    Raises ArchiveError where the archive has no such windows or space, UsageError for arguments that do not fit.
    """
    if windows not in MODALITIES:
        raise UsageError(f"windows {windows!r} is not known; use one of: {', '.join(MODALITIES)}")
    if not rate_hz > 0 or not window_s > 0:
        raise UsageError(f"rate_hz and window_s must be more than 0, not {rate_hz:g} and {window_s:g}")
    store = Store.open(archive)
    rows = store.windows(Filter(modality=windows))
    if not len(rows):
        held = sorted(set(store.windows(columns=["modality"])["modality"].to_pylist()))
        raise ArchiveError(
            f"{store.uri} has no {windows} windows to train on; it has {', '.join(held) or 'no windows at all'}"
        )
    space = _target_space(store, space)
    root = Path(store.root) / "train"
    signals = root / f"signals-{rate_hz:g}hz-{PREPROCESSING}.{FORMAT}"
    wanted = {r["recording_id"]: r for r in store.recordings().to_pylist() if r["status"] in ("ok", "partial")}
    unread = _read_missing(signals, wanted, rate_hz, progress)
    shards = {path.name: recordings for path, recordings in _shards(signals).items() if recordings & wanted.keys()}
    settings = {"rate_hz": rate_hz, "windows": windows, "window_s": window_s, "space": space}
    state = {
        "format": FORMAT,
        **settings,
        "tables": {name: store.need(name).version for name in store.table_names() if name not in ("runs", "writer")},
        "shards": [f"../{signals.name}/{name}" for name in sorted(shards)],
        "unread": unread,
    }
    family = row_id(json.dumps(settings))[:12]
    folder = root / f"windows-{family}-{row_id(json.dumps(state, sort_keys=True))[:12]}"
    if not (folder / "training.json").is_file():
        _write_windows(folder, store, rows, state, [signals / name for name in sorted(shards)])
        for old in root.glob(f"windows-{family}-*"):
            if old != folder:
                shutil.rmtree(old)
    return Exported(folder, tuple(unread))


def _target_space(store: Store, space: str | None) -> str | None:
    """The space of the frozen vectors, None where the archive has none."""
    held = {name: sorted(model.encoders) for name, model in store.models().items()}
    if space is None:
        return next((name for name, modalities in held.items() if "text" in modalities), None)
    if space not in held:
        raise ArchiveError(f"{store.uri} has no space {space!r}; it has {', '.join(held)}")
    return space


# -- signals


def bodies(recording: Recording, rate_hz: float) -> Iterator[Body]:
    """Every wearer of a recording with the pose that is theirs, and every pose without a wearer, each on one clock.

    A pose is a wearer's where it has their name, or where there is one of each.
    """
    worn = wearers(recording)
    people = {name.partition("#")[0] for name in worn}
    tracks = {track.person: track for track in recording.poses}
    alone = len(people) == 1 and len(tracks) == 1
    taken = set()
    for name, imus in worn.items():
        track = tracks.get(name.partition("#")[0]) or (next(iter(tracks.values())) if alone else None)
        taken |= {track.person} if track else set()
        yield _body(recording, name, imus, track, rate_hz)
    for person, track in tracks.items():
        if person not in taken:
            yield _body(recording, person, (), track, rate_hz)


def _body(recording: Recording, person: str, imus: Sequence[Imu], track: PoseTrack | None, rate_hz: float) -> Body:
    streams: list[Imu | PoseTrack] = [*imus, *([track] if track else [])]
    # The clock's ticks are the sensors', so that the windows of sensors start on a sample.
    tick_s = min(s.start_s for s in imus or streams)
    early = np.ceil(round((tick_s - min(s.start_s for s in streams)) * rate_hz, 6))
    start_s = float(tick_s - early / rate_hz)
    span = Span(start_s, max(s.end_s for s in streams) + 1e-6)
    imu, there, xy, seen = {}, {}, None, None
    if imus:
        grid = imu_grid(imus, rate_hz, span)
        for slot in sorted(IMU_SLOTS.index(i.part) for i in imus):
            imu[slot], there[slot] = np.ascontiguousarray(grid.x[slot].T), grid.mask[slot]
    if track:
        _, xy, seen = keypoint_grid(track, rate_hz, span)
    name = f"{recording.recording_id}/{person}"
    who = (name, recording.recording_id, person, track.person if track else None)
    return Body(*who, start_s, imu, there, xy, seen, track.image_size if track else (0, 0))


def _read_missing(
    signals: Path, wanted: Mapping[str, Mapping[str, Any]], rate_hz: float, progress: Progress | None
) -> list[tuple[str, str]]:
    """Bring the shards up to date; what could not be read, and why."""
    held = set().union(*_shards(signals).values())
    missing = [row for recording_id, row in sorted(wanted.items()) if recording_id not in held]
    unread: list[tuple[str, str]] = []
    pending: list[Body] = []
    of: list[str] = []
    size = 0
    for done, row in enumerate(missing):
        uri = (row["uris"] or [""])[0]
        if progress is not None:
            progress(done, len(missing), uri)
        try:
            found = list(bodies(_again(row, uri), rate_hz))
        except MotionseekError as error:
            unread.append((uri, str(error)))
            continue
        pending += found
        of.append(row["recording_id"])
        size += sum(body.nbytes for body in found)
        if size >= SHARD_BYTES:
            _write_shard(signals, pending, of)
            pending, of, size = [], [], 0
    if of:
        _write_shard(signals, pending, of)
    if progress is not None and missing:
        progress(len(missing), len(missing), "")
    return unread


def _again(row: Mapping[str, Any], uri: str) -> Recording:
    recording = read_again(dict(row), uri)
    if recording.recording_id != row["recording_id"]:
        raise ArchiveError(f"{uri} was changed since it was indexed: index it again")
    return recording


def _shards(signals: Path) -> dict[Path, set[str]]:
    """The shards, and the recordings that each holds."""
    found = {}
    for path in sorted(signals.glob("shard-*.arrow")):
        with pa.memory_map(str(path)) as file:
            kept = (pa.ipc.open_file(file).schema.metadata or {})[_KEPT]
        found[path] = set(json.loads(kept))
    return found


def _write_shard(signals: Path, pending: Sequence[Body], of: Sequence[str]) -> None:
    name = hashlib.sha256("\n".join(of).encode()).hexdigest()[:16]
    schema = SHARD.with_metadata({_KEPT: json.dumps(list(of)).encode()})
    batch = shard_table(pending)
    with _written(signals / f"shard-{name}.arrow") as temporary, pa.ipc.new_file(str(temporary), schema) as file:
        file.write_batch(batch.replace_schema_metadata(schema.metadata))


class _written:
    """A file under another name until it is whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")

    def __enter__(self) -> Path:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        return self.temporary

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.temporary.unlink(missing_ok=True)
            return
        with self.temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(self.temporary, self.path)


# -- windows


def _write_windows(
    folder: Path, store: Store, rows: pa.Table, state: Mapping[str, Any], shards: Sequence[Path]
) -> None:
    windows = _window_columns(store, rows, state, shards)
    texts = _sentences(store, state["space"], windows)
    if texts is not None:
        sentences, vectors = texts
        row_of = {sentence: i for i, sentence in enumerate(sentences)}
        windows["caption_text"] = [row_of.get(caption, -1) for caption in windows["caption"]]
        windows["label_text"] = [row_of.get(labels[0], -1) if labels else -1 for labels in windows["labels"]]
        _write_vectors(folder / "texts.arrow", iter([(sentences, vectors)]))
    shown = _shown(store, state["space"], windows)
    if shown is not None:
        windows["video"], pieces = shown
        _write_vectors(folder / "videos.arrow", pieces)
    table = pa.table(windows, schema=WINDOWS)
    with _written(folder / "windows.arrow") as temporary, pa.ipc.new_file(str(temporary), WINDOWS) as file:
        file.write_table(table)
    with _written(folder / "training.json") as temporary:
        temporary.write_text(json.dumps(dict(state), indent=1) + "\n")


def _window_columns(
    store: Store, rows: pa.Table, state: Mapping[str, Any], shards: Sequence[Path]
) -> dict[str, list[Any]]:
    """The columns of WINDOWS; a window of a modality that is nobody's stands once for each body of its recording."""
    modality, window_s = state["windows"], state["window_s"]
    by_recording: dict[str, list[dict[str, Any]]] = {}
    for path in shards:
        table = open_arrow(path).select(["body", "recording_id", "person", "track", "start_s"])
        for body in table.to_pylist():
            by_recording.setdefault(body["recording_id"], []).append(body)
    uri_of = {r["recording_id"]: (r["uris"] or [""])[0] for r in store.recordings().to_pylist()}
    columns: dict[str, list[Any]] = {name: [] for name in WINDOWS.names}
    for row in rows.to_pylist():
        there = by_recording.get(row["recording_id"], [])
        if modality in ("imu", "pose"):
            there = [b for b in there if row["person"] == (b["person"] if modality == "imu" else b["track"])]
        start_s = row["start_s"]
        if modality == "text":
            start_s = (row["start_s"] + row["end_s"] - window_s) / 2
        owners: list[dict[str, Any] | None] = [*there] or [None]
        for body in owners:
            name = "" if body is None else body["body"]
            several = len(there) > 1
            columns["window_id"].append(row_id(row["window_id"], name) if several else row["window_id"])
            columns["recording_id"].append(row["recording_id"])
            columns["uri"].append(uri_of.get(row["recording_id"], ""))
            columns["person"].append(_known(row["person"] if body is None else body["person"]))
            columns["body"].append(name)
            columns["first"].append(0 if body is None else round((start_s - body["start_s"]) * state["rate_hz"]))
            columns["start_s"].append(start_s)
            columns["caption"].append(row["caption"])
            columns["labels"].append(row["labels"])
    for name in ("caption_text", "label_text", "video"):
        columns[name] = [-1] * len(columns["window_id"])
    return columns


def _known(person: str) -> str:
    """A second sensor on the same part of a person is the person's too."""
    return person.partition("#")[0]


def _sentences(store: Store, space: str | None, windows: Mapping[str, list[Any]]) -> tuple[list[str], Float32] | None:
    """Captions and first labels, and their vectors: those of the archive, else by the model that filled it; sentences
    that neither knows are left out."""
    said = sorted({*windows["caption"], *(labels[0] for labels in windows["labels"] if labels)} - {""})
    model = store.models().get(space or "")
    if model is None or "text" not in model.encoders or not said:
        return None
    known: dict[str, Float32] = {}
    if store.table(f"{space}_global") is not None:
        told, vectors = store.vectors(str(space), "global", Filter(modality="text"))
        known = dict(zip(told["caption"].to_pylist(), vectors, strict=True))
    new = [sentence for sentence in said if sentence not in known]
    if new and can_load(model.name):
        from motionseek.encoders.model import load_model

        encoded = load_model(model.name).encode_text(new, space=space).global_
        if encoded is None:
            raise ArchiveError(f"the model {model.name} of {store.uri} gives no vectors of sentences")
        known |= dict(zip(new, encoded, strict=True))
    said = [sentence for sentence in said if sentence in known]
    return (said, np.stack([known[sentence] for sentence in said])) if said else None


def can_load(model: str) -> bool:
    """Whether an archive's model is a name or a folder; one that was given to `index` as an object is neither."""
    from motionseek.encoders.model import available

    return model in available() or model.startswith("open_clip:") or Path(model).is_dir()


def _shown(
    store: Store, space: str | None, windows: Mapping[str, list[Any]]
) -> tuple[list[int], Iterator[tuple[list[str], Float32]]] | None:
    """For each window the row of the video vector nearest in time, and those vectors, a few recordings at a time."""
    model = store.models().get(space or "")
    if model is None or "video" not in model.encoders or store.table(f"{space}_global") is None:
        return None
    films = store.windows(Filter(modality="video"), ["window_id", "recording_id", "start_s"])
    if not len(films):
        return None
    recordings = films["recording_id"].combine_chunks().dictionary_encode()
    codes, start_s = recordings.indices.to_numpy(), films["start_s"].to_numpy()  # both in order, as windows come
    row = pc.index_in(pa.array(windows["recording_id"], pa.string()), value_set=recordings.dictionary).fill_null(-1)
    order = np.argsort(row.to_numpy(), kind="stable")
    at_s, found = np.array(windows["start_s"]), np.full(len(order), -1, np.int64)
    each = np.arange(len(recordings.dictionary))
    for film, mine in zip(_slices(codes, each), _slices(row.to_numpy()[order], each), strict=True):
        shown_s, asked = start_s[film], order[mine]
        after = np.clip(np.searchsorted(shown_s, at_s[asked]), 1, len(shown_s) - 1) if len(shown_s) > 1 else 0
        before = np.maximum(after - 1, 0)
        nearest = np.where(at_s[asked] - shown_s[before] <= shown_s[after] - at_s[asked], before, after)
        close = np.abs(at_s[asked] - shown_s[nearest]) <= model.stride_s / 2 + 1e-6
        found[asked[close]] = film.start + nearest[close]
    return found.tolist(), _films(store, str(space), films, recordings.dictionary.to_pylist())


def _slices(codes: npt.NDArray[np.integer[Any]], wanted: npt.NDArray[np.integer[Any]]) -> list[slice]:
    """Where each of `wanted` lies in sorted codes."""
    ends = np.searchsorted(codes, wanted, side="right").tolist()
    return list(map(slice, np.searchsorted(codes, wanted).tolist(), ends))


def _films(store: Store, space: str, films: pa.Table, order: Sequence[str]) -> Iterator[tuple[list[str], Float32]]:
    """The vectors of all video windows, in the order of `films`; one without a vector is zero."""
    for first in range(0, len(order), RECORDINGS_PER_READ):
        some = tuple(order[first : first + RECORDINGS_PER_READ])
        held, vectors = store.vectors(space, "global", Filter(modality="video", recording_id=some))
        ids = films.filter(pc.is_in(films["recording_id"], value_set=pa.array(some)))["window_id"]
        at = pc.index_in(ids, value_set=held["window_id"].combine_chunks())
        there = pc.is_valid(at).to_numpy()
        out = np.zeros((len(ids), vectors.shape[1]), np.float32)
        out[there] = vectors[at.drop_null().to_numpy()]
        yield ids.to_pylist(), out


def _write_vectors(path: Path, pieces: Iterator[tuple[list[str], Float32]]) -> None:
    names, vectors = next(pieces)
    schema = vector_schema(vectors.shape[1])
    with _written(path) as temporary, pa.ipc.new_file(str(temporary), schema) as file:
        while True:
            flat = pa.array(np.ascontiguousarray(vectors, np.float32).reshape(-1))
            column = pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
            file.write_batch(pa.record_batch([pa.array(names), column], schema=schema))
            following = next(pieces, None)
            if following is None:
                return
            names, vectors = following
