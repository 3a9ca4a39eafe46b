"""Training windows cut from memory-mapped files, varied, a batch at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from motionseek.encoders.preprocess import IMU_SLOTS, POSE_CHANNELS, normalise_picture, normalise_pose
from motionseek.encoders.train import augment as vary
from motionseek.encoders.train.augment import Augment
from motionseek.encoders.train.files import Int, TrainingFiles
from motionseek.encoders.train.windows import TrainBatch
from motionseek.errors import UsageError
from motionseek.types import PARTS, Bool, Float32

PoseForm = Literal["person", "picture"]
TextSource = Literal["caption", "label", "either"]


@dataclass(frozen=True)
class WindowSettings:
    """What a batch holds. placements: the slots of IMU_SLOTS that are read, () for all.

    pose_form: "person" gives 12 channels around the trunk with velocities, "picture" MoBind's published 6.
    text: what a window's sentence is: its caption, its first label, or the caption where there is one.
    """

    placements: tuple[str, ...] = ()
    pose_form: PoseForm = "person"
    text: TextSource = "either"

    def __post_init__(self) -> None:
        unknown = sorted(set(self.placements) - set(IMU_SLOTS))
        if unknown:
            raise UsageError(f"placement {unknown[0]!r} is not known; use some of: {', '.join(IMU_SLOTS)}")
        for name, known in (("pose_form", ("person", "picture")), ("text", ("caption", "label", "either"))):
            if getattr(self, name) not in known:
                raise UsageError(f"{name} must be one of {', '.join(known)}, not {getattr(self, name)!r}")


class WindowData:
    """Some windows of TrainingFiles as `Batches`.

    rows: which windows, in order.     batch: how many at once; the last batch of a pass is left out while shuffling,
    and short otherwise.     labels: names that TrainBatch.label counts, by default those of `rows`.
    Raises UsageError where a placement is asked for that no window has.
    """

    def __init__(
        self,
        files: TrainingFiles,
        rows: Int,
        *,
        batch: int,
        settings: WindowSettings | None = None,
        augment: Augment | None = None,
        shuffle: bool = True,
        seed: int = 0,
        labels: Sequence[str] | None = None,
    ) -> None:
        if not len(rows) or batch < 1:
            raise UsageError("there is no window to train on" if not len(rows) else f"batch must be 1 or more: {batch}")
        self.files = files
        self.rows = np.asarray(rows, np.int64)
        self.size = min(batch, len(rows)) if shuffle else batch
        self.settings = settings or WindowSettings()
        self.augment = augment or Augment()
        self.shuffle = shuffle
        self.seed = seed
        self.length = round(files.window_s * files.rate_hz)
        known = files.labels[self.rows]
        self.labels = tuple(labels) if labels is not None else tuple(sorted(set(known.tolist()) - {""}))
        place = {name: i for i, name in enumerate(self.labels)}
        self._label = np.array([place.get(name, -1) for name in known.tolist()], np.int64)
        self._slots = np.array([not self.settings.placements or s in self.settings.placements for s in IMU_SLOTS])
        worn: Bool = np.any(files.sensors(self.rows), axis=0)
        absent = [p for p in self.settings.placements if not worn[IMU_SLOTS.index(p)]]
        if absent:
            has = ", ".join(s for s, w in zip(IMU_SLOTS, worn, strict=True) if w) or "none"
            raise UsageError(f"no window has a sensor at {', '.join(absent)}; there are sensors at: {has}")
        self._order: tuple[int, Int] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def steps(self) -> int:
        """Batches in one pass."""
        return len(self.rows) // self.size if self.shuffle else -(-len(self.rows) // self.size)

    def batch(self, step: int, *, rank: int = 0, world: int = 1) -> TrainBatch:
        """Batch `step`, counted over all passes; each of `world` processes gets every world-th of its rows."""
        turn, at = divmod(step, self.steps)
        mine = self._pass(turn)[at * self.size : (at + 1) * self.size]
        mine = mine[: len(mine) // world * world][rank::world]
        return self.cut(mine, np.random.default_rng([self.seed, step, rank]))

    def _pass(self, turn: int) -> Int:
        if not self.shuffle:
            return np.arange(len(self.rows))
        if self._order is None or self._order[0] != turn:
            self._order = turn, np.random.default_rng([self.seed, turn]).permutation(len(self.rows))
        return self._order[1]

    def cut(self, at: Int, rng: np.random.Generator) -> TrainBatch:
        """The windows at places `at` (B,) of `rows`, varied as `augment` says."""
        rows, files = self.rows[at], self.files
        before = vary.margin(self.length, files.rate_hz, self.augment)
        imu_at, pose_at, speed = vary.time_maps(len(rows), self.length, files.rate_hz, rng, self.augment)
        imu, imu_mask = self._imu(rows, imu_at + before, speed, before, rng)
        pose, pose_mask = self._pose(rows, pose_at + before, before, rng)
        text = video = None
        if files.texts is not None:
            said = self._sentence(rows)
            text = (files.texts.take(said), said >= 0)
        if files.videos is not None:
            vectors = files.videos.take(files.video[rows])
            video = (vectors, (files.video[rows] >= 0) & vectors.any(1))
        return TrainBatch(
            torch.from_numpy(imu),
            torch.from_numpy(imu_mask),
            torch.from_numpy(pose),
            torch.from_numpy(pose_mask),
            None if text is None else torch.from_numpy(text[0]),
            None if text is None else torch.from_numpy(text[1]),
            None if video is None else torch.from_numpy(video[0]),
            None if video is None else torch.from_numpy(video[1]),
            torch.from_numpy(self._label[at]),
            tuple(files.windows["window_id"].take(rows).to_pylist()),
        )

    def _sentence(self, rows: Int) -> Int:
        caption, label = self.files.caption_text[rows], self.files.label_text[rows]
        if self.settings.text == "either":
            return np.where(caption >= 0, caption, label)
        return caption if self.settings.text == "caption" else label

    def _imu(
        self,
        rows: Int,
        at: npt.NDArray[np.float64],
        speed: npt.NDArray[np.float64],
        before: int,
        rng: np.random.Generator,
    ) -> tuple[Float32, Bool]:
        """(B, 7, 6, L) and (B, 7, L); only sensors that are there are read and varied."""
        augment, rate_hz = self.augment, self.files.rate_hz
        worn = vary.drop_sensors(self.files.sensors(rows) & self._slots, rng, augment)
        window, slot = np.nonzero(worn)
        x = np.zeros((len(rows), len(IMU_SLOTS), 6, self.length), np.float32)
        mask = np.zeros((len(rows), len(IMU_SLOTS), self.length), np.bool_)
        if len(window):
            found, there = self.files.read_imu(rows[window], slot, length=self.length, before=before)
            if augment.moves_time:
                found, there = vary.read_at(found, there, at[window])
            if augment.time_warp:
                found = vary.play_faster(found, speed[window])
            found = vary.vary_imu(found, rng, augment, anywhere=np.asarray(slot == len(IMU_SLOTS) - 1))
            if augment.cut_s:
                there = (
                    there & vary.cut_ends(np.ones((len(rows), self.length), np.bool_), rate_hz, rng, augment)[window]
                )
            x[window, slot], mask[window, slot] = found * there[:, None], there
        return x, mask

    def _pose(
        self, rows: Int, at: npt.NDArray[np.float64], before: int, rng: np.random.Generator
    ) -> tuple[Float32, Bool]:
        """(B, 6, 12 or 6, L) and (B, 6, L)."""
        augment, rate_hz = self.augment, self.files.rate_hz
        channels = POSE_CHANNELS if self.settings.pose_form == "person" else 6
        x = np.zeros((len(rows), len(PARTS), channels, self.length), np.float32)
        mask = np.zeros((len(rows), len(PARTS), self.length), np.bool_)
        window = np.flatnonzero(self.files.poses(rows))
        if len(window):
            xy, seen = self.files.read_pose(rows[window], length=self.length, before=before)
            if augment.moves_time:
                xy, seen = self._read_pose_at(xy, seen, at[window])
            xy = vary.vary_view(xy, seen, rng, augment)
            xy, seen = vary.vary_keypoints(xy, seen, rng, augment)
            if augment.cut_s:
                seen = seen & vary.cut_ends(np.ones(seen.shape[:2], np.bool_), rate_hz, rng, augment)[..., None]
            if self.settings.pose_form == "person":
                x[window], mask[window] = normalise_pose(xy, seen, rate_hz)
            else:
                size = self.files.size_px[self.files.body[rows[window]]]
                x[window], mask[window] = normalise_picture(xy, seen, size)
        return x, mask

    @staticmethod
    def _read_pose_at(xy: Float32, seen: Bool, at: npt.NDArray[np.float64]) -> tuple[Float32, Bool]:
        n, length = xy.shape[:2]
        flat = xy.transpose(0, 2, 3, 1).reshape(n * 17, 2, length)
        moved, there = vary.read_at(flat, seen.transpose(0, 2, 1).reshape(n * 17, length), np.repeat(at, 17, axis=0))
        shape = (n, 17, 2, at.shape[1])
        return (
            np.ascontiguousarray(moved.reshape(shape).transpose(0, 3, 1, 2)),
            np.ascontiguousarray(there.reshape(n, 17, -1).transpose(0, 2, 1)),
        )

    def quiet(self, rows: Int | None = None, *, batch: int | None = None) -> WindowData:
        """The same windows (or others) in order and as they were measured."""
        return WindowData(
            self.files,
            self.rows if rows is None else rows,
            batch=batch or self.size,
            settings=self.settings,
            shuffle=False,
            labels=self.labels,
        )
