"""The Arrow files that training reads: what an archive's windows are cut from, memory-mapped.

Signals lie in shards, one record batch each: a row is a body, that is one wearer of one recording, on one regular
clock. `windows.arrow` says which stretches of which bodies are windows, what is said about each, and which of the
frozen vectors in `texts.arrow` and `videos.arrow` are theirs. `training.json` is written last and names them all.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from motionseek.encoders.preprocess import IMU_SLOTS
from motionseek.errors import ArchiveError
from motionseek.types import Bool, Float32

FORMAT = 1
Int = npt.NDArray[np.int64]

SHARD = pa.schema(
    [
        ("body", pa.string()),
        ("recording_id", pa.string()),
        ("person", pa.string()),
        ("track", pa.string()),
        ("start_s", pa.float64()),
        ("samples", pa.int64()),
        ("slots", pa.list_(pa.int8())),
        ("imu", pa.large_list(pa.float32())),
        ("imu_there", pa.large_list(pa.uint8())),
        ("xy_px", pa.large_list(pa.float32())),
        ("seen", pa.large_list(pa.uint8())),
        ("width_px", pa.int32()),
        ("height_px", pa.int32()),
    ]
)
"""person: who wears the sensors; track: whose pose it is, null without one.     slots: places in IMU_SLOTS of the
sensors worn, S of them.     imu: (S, N, 6) m/s² and rad/s, zero where imu_there (S, N) is 0.     xy_px: (N, 17, 2),
zero where seen (N, 17) is 0; both empty without a pose."""

WINDOWS = pa.schema(
    [
        ("window_id", pa.string()),
        ("recording_id", pa.string()),
        ("uri", pa.string()),
        ("person", pa.string()),
        ("body", pa.string()),
        ("first", pa.int64()),
        ("start_s", pa.float64()),
        ("caption", pa.string()),
        ("labels", pa.list_(pa.string())),
        ("caption_text", pa.int64()),
        ("label_text", pa.int64()),
        ("video", pa.int64()),
    ]
)
"""body: "" where there are no signals.     first: the window's first sample in its body, which may lie before it.
caption_text, label_text: rows of texts.arrow; video: of videos.arrow; -1 where there is none."""


def vector_schema(width: int) -> pa.Schema:
    return pa.schema([("name", pa.string()), ("vector", pa.list_(pa.float32(), width))])


@dataclass(frozen=True, eq=False)
class Body:
    """One wearer on one clock, to be written. imu: {slot of IMU_SLOTS: (N, 6)}, there: {slot: (N,)}; xy_px (N, 17, 2)
    and seen (N, 17), None without a pose."""

    name: str
    recording_id: str
    person: str
    track: str | None
    start_s: float
    imu: dict[int, Float32]
    there: dict[int, Bool]
    xy_px: Float32 | None
    seen: Bool | None
    size_px: tuple[int, int] = (0, 0)

    @property
    def samples(self) -> int:
        return len(self.xy_px) if self.xy_px is not None else len(next(iter(self.imu.values())))

    @property
    def nbytes(self) -> int:
        return 25 * self.samples * len(self.imu) + (0 if self.xy_px is None else 153 * self.samples)


def shard_table(bodies: Sequence[Body]) -> pa.RecordBatch:
    """Bodies as the one record batch of a shard."""

    def lists(arrays: Iterable[npt.NDArray[np.generic]], kind: pa.DataType) -> pa.LargeListArray:
        flat = [np.ascontiguousarray(a).reshape(-1) for a in arrays]
        offsets = np.concatenate([[0], np.cumsum([len(a) for a in flat])]).astype(np.int64)
        values = np.concatenate(flat) if flat else np.zeros(0)
        return pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(values, kind))

    none_xy, none_seen = np.zeros(0, np.float32), np.zeros(0, np.uint8)

    def stacked(sensors: Sequence[npt.NDArray[np.generic]], kind: type[np.generic]) -> npt.NDArray[np.generic]:
        return np.stack(sensors).astype(kind) if sensors else np.zeros(0, kind)

    columns = [
        pa.array([b.name for b in bodies]),
        pa.array([b.recording_id for b in bodies]),
        pa.array([b.person for b in bodies]),
        pa.array([b.track for b in bodies], pa.string()),
        pa.array([b.start_s for b in bodies]),
        pa.array([b.samples for b in bodies], pa.int64()),
        pa.array([sorted(b.imu) for b in bodies], pa.list_(pa.int8())),
        lists((stacked([b.imu[s] for s in sorted(b.imu)], np.float32) for b in bodies), pa.float32()),
        lists((stacked([b.there[s] for s in sorted(b.imu)], np.uint8) for b in bodies), pa.uint8()),
        lists((none_xy if b.xy_px is None else b.xy_px for b in bodies), pa.float32()),
        lists((none_seen if b.seen is None else b.seen.astype(np.uint8) for b in bodies), pa.uint8()),
        pa.array([b.size_px[0] for b in bodies], pa.int32()),
        pa.array([b.size_px[1] for b in bodies], pa.int32()),
    ]
    return pa.record_batch(columns, schema=SHARD)


def open_arrow(path: Path) -> pa.Table:
    """An Arrow IPC file, memory-mapped. Raises ArchiveError where it cannot be read."""
    try:
        return pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    except (OSError, pa.ArrowInvalid) as error:
        raise ArchiveError(f"{path} cannot be read ({error}); delete its folder, it is made anew") from error


class Vectors:
    """Frozen unit vectors of an Arrow file, read where they are asked for."""

    def __init__(self, path: Path) -> None:
        chunks = open_arrow(path)["vector"]
        self.width = int(chunks.type.list_size)
        self._pieces = [c.flatten().to_numpy().reshape(-1, self.width) for c in chunks.chunks]
        self._start = np.cumsum([0, *(len(p) for p in self._pieces)])

    def __len__(self) -> int:
        return int(self._start[-1])

    def take(self, rows: Int) -> Float32:
        """rows (B,), -1 for none → (B, D), zero where there is none."""
        out = np.zeros((len(rows), self.width), np.float32)
        piece = np.searchsorted(self._start, rows, side="right") - 1
        for i in np.unique(piece[rows >= 0]):
            at = piece == i
            out[at] = self._pieces[i][rows[at] - self._start[i]]
        return out


@dataclass(frozen=True, eq=False)
class _Shard:
    """imu (rows, 6), there (rows,), xy_px (rows, 17, 2), seen (rows, 17): views of the file."""

    imu: Float32
    there: npt.NDArray[np.uint8]
    xy_px: Float32
    seen: npt.NDArray[np.uint8]


class TrainingFiles:
    """A folder with `training.json`, as `indexer.signals.training_files` makes it. Raises ArchiveError."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            held = json.loads((folder / "training.json").read_text())
        except (OSError, json.JSONDecodeError) as error:
            raise ArchiveError(f"{folder} holds no training windows ({error}); export them again") from error
        if held.get("format") != FORMAT:
            raise ArchiveError(f"{folder} was written by another version of motionseek: delete it, it is made anew")
        self.rate_hz: float = held["rate_hz"]
        self.window_s: float = held["window_s"]
        self.settings: dict[str, object] = held
        self._shard_files = [(folder / name).resolve() for name in held["shards"]]
        self._open_bodies()
        self._open_windows()

    def _open_bodies(self) -> None:
        """Where the streams of each body lie: shard, first row of each slot's sensor (-1 none), of its pose, length."""
        self._shards: list[_Shard] = []
        body, shard, imu_row, pose_row, samples, size = [], [], [], [], [], []
        for number, path in enumerate(self._shard_files):
            table = open_arrow(path)
            rows = table.to_batches()[0]
            column = {name: rows.column(name) for name in rows.schema.names}
            self._shards.append(
                _Shard(
                    column["imu"].values.to_numpy().reshape(-1, 6),
                    column["imu_there"].values.to_numpy(),
                    column["xy_px"].values.to_numpy().reshape(-1, 17, 2),
                    column["seen"].values.to_numpy().reshape(-1, 17),
                )
            )
            n = column["samples"].to_numpy()
            body += column["body"].to_pylist()
            shard.append(np.full(len(n), number))
            samples.append(n)
            first = np.full((len(n), len(IMU_SLOTS)), -1, np.int64)
            slots = column["slots"]
            owner = np.repeat(np.arange(len(n)), slots.value_lengths().to_numpy())
            place = np.arange(len(owner)) - slots.offsets.to_numpy()[owner]
            first[owner, slots.values.to_numpy()] = column["imu_there"].offsets.to_numpy()[owner] + place * n[owner]
            imu_row.append(first)
            at = column["seen"].offsets.to_numpy()
            pose_row.append(np.where(np.diff(at) > 0, at[:-1] // 17, -1))
            size.append(np.stack([column["width_px"].to_numpy(), column["height_px"].to_numpy()], 1))
        self.body_names = body
        self.shard = np.concatenate([*shard, np.zeros(0, np.int64)]).astype(np.int64)
        self.samples = np.concatenate([*samples, np.zeros(0, np.int64)]).astype(np.int64)
        self.imu_row = np.concatenate([*imu_row, np.zeros((0, len(IMU_SLOTS)), np.int64)])
        self.pose_row = np.concatenate([*pose_row, np.zeros(0, np.int64)]).astype(np.int64)
        self.size_px = np.concatenate([*size, np.zeros((0, 2), np.int64)]).astype(np.float32)

    def _open_windows(self) -> None:
        table = self.windows = open_arrow(self.folder / "windows.arrow")
        place = {name: i for i, name in enumerate(self.body_names)}
        self.body = np.array([place.get(name, -1) for name in table["body"].to_pylist()], np.int64)
        self.first: Int = table["first"].to_numpy()
        self.caption_text: Int = table["caption_text"].to_numpy()
        self.label_text: Int = table["label_text"].to_numpy()
        self.video: Int = table["video"].to_numpy()

    def __len__(self) -> int:
        return len(self.first)

    @cached_property
    def texts(self) -> Vectors | None:
        return Vectors(path) if (path := self.folder / "texts.arrow").is_file() else None

    @cached_property
    def videos(self) -> Vectors | None:
        return Vectors(path) if (path := self.folder / "videos.arrow").is_file() else None

    @cached_property
    def persons(self) -> npt.NDArray[np.str_]:
        return np.array(self.windows["person"].to_pylist(), np.str_)

    @cached_property
    def recordings(self) -> npt.NDArray[np.str_]:
        return np.array(self.windows["recording_id"].to_pylist(), np.str_)

    @cached_property
    def labels(self) -> npt.NDArray[np.str_]:
        """The first label of each window, "" where it has none."""
        return np.array([(held or [""])[0] for held in self.windows["labels"].to_pylist()], np.str_)

    def sensors(self, windows: Int) -> Bool:
        """windows (B,) → (B, 7), the slots whose sensor the window's body wears."""
        body = self.body[windows]
        worn: Bool = (self.imu_row[body] >= 0) & (body >= 0)[:, None] if len(self.body_names) else _none(windows)
        return worn

    def poses(self, windows: Int) -> Bool:
        """windows (B,) → (B,), whether the window's body has a pose."""
        body = self.body[windows]
        seen: Bool = (self.pose_row[body] >= 0) & (body >= 0) if len(self.body_names) else _none(windows)[:, 0]
        return seen

    def read_imu(self, windows: Int, slots: Int, *, length: int, before: int = 0) -> tuple[Float32, Bool]:
        """One sensor each: windows (N,), slots (N,) → x (N, 6, before + length + before), mask (N, …)."""
        return self._read(windows, self.imu_row[self.body[windows], slots], length, before, "imu")

    def read_pose(self, windows: Int, *, length: int, before: int = 0) -> tuple[Float32, Bool]:
        """windows (N,) → keypoints (N, …, 17, 2) in pixels and which of them are seen (N, …, 17)."""
        return self._read(windows, self.pose_row[self.body[windows]], length, before, "pose")

    def _read(self, windows: Int, rows: Int, length: int, before: int, what: str) -> tuple[Float32, Bool]:
        body, inner = self.body[windows], (6,) if what == "imu" else (17, 2)
        sample = self.first[windows][:, None] + np.arange(-before, length + before)
        inside = (sample >= 0) & (sample < self.samples[body][:, None])
        at = rows[:, None] + np.clip(sample, 0, self.samples[body][:, None] - 1)
        x = np.empty((*at.shape, *inner), np.float32)
        mask = np.empty((*at.shape, *inner[:-1]), np.uint8)
        for shard in np.unique(self.shard[body]):
            mine = self.shard[body] == shard
            of = self._shards[shard]
            x[mine] = (of.imu if what == "imu" else of.xy_px)[at[mine]]
            mask[mine] = (of.there if what == "imu" else of.seen)[at[mine]]
        there: Bool = mask.astype(np.bool_) & (inside if what == "imu" else inside[..., None])
        x *= there[..., None]
        return (np.ascontiguousarray(x.transpose(0, 2, 1)) if what == "imu" else x), there


def _none(windows: Int) -> Bool:
    return np.zeros((len(windows), len(IMU_SLOTS)), np.bool_)
