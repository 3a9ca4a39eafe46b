"""UTD-MHAD as pairs of windows: one worn sensor, and the skeleton of the same trial as a camera sees it.

The skeleton has no clock of its own: both streams of a trial span the same time, so its step follows from the
sensor's length (see the reader). Trials end when the movement does, and their lengths alone would find the partner of
every third trial. So lengths are never an input, and each side is cut at both ends by an amount of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from scipy.interpolate import CubicSpline
from scipy.spatial.transform import Rotation

from motionseek.encoders.preprocess import normalise_pose
from motionseek.encoders.train.augment import Augment, cut_ends, vary_imu
from motionseek.encoders.train.windows import TrainBatch
from motionseek.indexer.readers.utd_mhad import COCO_OF_KINECT, FIRST_THIGH_ACTION, FOCAL_PX
from motionseek.types import PARTS, STANDARD_GRAVITY_MPS2, Bool, Float32, Float64

RATE_HZ = 50.0
LENGTH = 310
"""Samples of the longest trial."""
WORN = (PARTS.index("right_wrist"), PARTS.index("right_knee"))
"""The two parts that a sensor is worn on; the thigh belongs to the knee's."""
CUT_S = 0.4
Int = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Trials:
    """action (1 to 27), subject, repetition: (K,).     imu: K of (L, 6), m/s² and rad/s.     points_m: K of (N, 17, 3),
    the Kinect's camera frame."""

    action: Int
    subject: Int
    repetition: Int
    imu: list[Float64]
    points_m: list[Float64]

    def of(self, subjects: tuple[int, ...]) -> Int:
        return np.flatnonzero(np.isin(self.subject, subjects))

    @property
    def worn(self) -> Int:
        """Which of WORN each trial's sensor is on."""
        return (self.action >= FIRST_THIGH_ACTION).astype(np.int64)


def load_trials(path: Path) -> Trials:
    with np.load(path, allow_pickle=False) as d:
        trial = d["trial"].astype(np.int64)
        imu = np.split(d["imu"].astype(np.float64), np.cumsum(d["imu_len"])[:-1])
        points = np.split(d["skel_xyz_m"][:, COCO_OF_KINECT].astype(np.float64), np.cumsum(d["skel_len"])[:-1])
    units = np.repeat([STANDARD_GRAVITY_MPS2, np.pi / 180], 3)
    return Trials(trial[:, 0], trial[:, 1], trial[:, 2], [x * units for x in imu], points)


@dataclass(frozen=True, eq=False)
class Windows:
    """Whole trials from their first sample on. imu (N, 6, L), pose (N, 6, 12, L), length (N,) in samples, worn (N,),
    action (N,)."""

    imu: Float32
    pose: npt.NDArray[np.float16] | Float32
    length: Int
    worn: Int
    action: Int


def windows(trials: Trials, which: Int, rng: np.random.Generator | None = None) -> Windows:
    """The trials as recorded; with `rng`, each as if played 0.8 to 1.25 times as fast and seen by another camera, up
    to 25° to the side and 10° up or down from the Kinect, 2 to 5 m away."""
    n = len(which)
    imu, xy = np.zeros((n, 6, LENGTH), np.float32), np.zeros((n, LENGTH, 17, 2), np.float32)
    length = np.zeros(n, np.int64)
    for row, k in enumerate(which):
        signal, points = trials.imu[k], trials.points_m[k]
        span_s = len(signal) / RATE_HZ
        speed = 1.0 if rng is None else float(np.exp(rng.uniform(np.log(0.8), np.log(1.25))))
        length[row] = m = min(LENGTH, int(len(signal) / speed))
        t_s = np.arange(m) / RATE_HZ * speed
        x = _read(signal, np.arange(len(signal)) / RATE_HZ, t_s)
        middle = x[:, :3].mean(axis=0)
        x[:, :3], x[:, 3:] = middle + (x[:, :3] - middle) * speed**2, x[:, 3:] * speed
        imu[row, :, :m] = x.T
        flat = _read(points.reshape(len(points), -1), np.arange(len(points)) * span_s / len(points), t_s)
        seen = flat.reshape(m, 17, 3) if rng is None else _moved(flat.reshape(m, 17, 3), rng)
        picture = FOCAL_PX * seen[..., :2] / np.maximum(seen[..., 2:], 0.3) * [-1.0, -1.0]
        xy[row, :m], xy[row, m:] = picture, picture[-1]
    there = np.arange(LENGTH) < length[:, None]
    pose, _ = normalise_pose(xy, np.repeat(there[:, :, None], 17, axis=2), RATE_HZ)
    return Windows(imu, pose * there[:, None, None], length, trials.worn[which], trials.action[which])


def _read(x: Float64, at_s: Float64, t_s: Float64) -> Float64:
    out: Float64 = CubicSpline(at_s, x)(np.clip(t_s, at_s[0], at_s[-1]))
    return out


def _moved(points_m: Float64, rng: np.random.Generator) -> Float64:
    middle = points_m[:, 11:13].mean(axis=(0, 1))
    turn = Rotation.from_euler("yx", [rng.uniform(-25, 25), rng.uniform(-10, 10)], degrees=True).as_matrix()
    moved: Float64 = (points_m - middle) @ turn.T + [0, 0, rng.uniform(2, 5)]
    return moved


AUGMENT = Augment(
    mounting_deg=20.0,
    acc_noise_mps2=0.1,
    gyro_noise_rps=0.02,
    acc_bias_mps2=0.1,
    gyro_bias_rps=0.02,
    scale=0.05,
    cut_s=0.5,
)
PLAIN = Augment(cut_s=0.5)
"""Nothing varies but the ends, which must tell nothing."""


@dataclass(frozen=True, eq=False)
class Stretches:
    """Random stretches of different trials, as the training loop reads them.

    versions: the trials as recorded, then varied versions of them.     text: (27, D), a unit vector an action.
    """

    versions: list[Windows]
    seed: int
    varied: bool = True
    size: int = 128
    length: int = 150
    text: Float32 | None = None

    @property
    def steps(self) -> int:
        return max(1, len(self.versions[0].length) // self.size)

    def batch(self, step: int, *, rank: int = 0, world: int = 1) -> TrainBatch:
        rng = np.random.default_rng([self.seed, step])
        rows = rng.permutation(len(self.versions[0].length))[: self.size]
        version = rng.integers(1, len(self.versions), len(rows)) if self.varied else np.zeros(len(rows), np.int64)
        held = [(self.versions[v], r) for v, r in zip(version, rows, strict=True)]
        total = np.array([w.length[r] for w, r in held])
        inner = rng.integers(0, np.maximum(total - self.length, 0) + 1)
        # A start before the trial moves the token grid against it.
        start = np.where(total > self.length, inner, -rng.integers(0, 10, len(rows)))
        at = start[:, None] + np.arange(self.length)
        inside = (at >= 0) & (at < total[:, None])
        at = np.clip(at, 0, LENGTH - 1)
        augment = AUGMENT if self.varied else PLAIN
        imu = vary_imu(np.stack([w.imu[r][:, a] for (w, r), a in zip(held, at, strict=True)]), rng, augment)
        pose = np.stack([w.pose[r][:, :, a] for (w, r), a in zip(held, at, strict=True)]).astype(np.float32)
        if self.varied:
            pose += 0.03 * rng.random((len(rows), 1, 1, 1), np.float32) * rng.standard_normal(pose.shape, np.float32)
        masks = [cut_ends(inside, RATE_HZ, rng, augment) for _ in range(2)]
        plain = self.versions[0]
        return _batch(imu, masks[0], pose, masks[1], plain.worn[rows], plain.action[rows], self.text)


def as_cut(w: Windows, seed: int, cut_s: float = CUT_S) -> TrainBatch:
    """Whole trials, each side cut at each end by 0 to `cut_s` drawn with `seed`."""
    rng = np.random.default_rng([41, seed])
    at, n, most = np.arange(LENGTH), len(w.length), round(cut_s * RATE_HZ)
    masks = []
    for _ in range(2):
        head, tail = rng.integers(0, most + 1, (2, n, 1))
        masks.append((at >= head) & (at < w.length[:, None] - tail))
    return _batch(w.imu, masks[0], np.asarray(w.pose, np.float32), masks[1], w.worn, w.action)


def _batch(
    imu: Float32, imu_mask: Bool, pose: Float32, pose_mask: Bool, worn: Int, action: Int, text: Float32 | None = None
) -> TrainBatch:
    """imu (B, 6, L) and pose (B, 6, 12, L) → one sensor in its slot, and the pose of all parts."""
    rows, slot = np.arange(len(worn)), np.array(WORN)[worn]
    sensors = np.zeros((len(rows), 7, *imu.shape[1:]), np.float32)
    there = np.zeros((len(rows), 7, imu.shape[2]), np.bool_)
    sensors[rows, slot], there[rows, slot] = imu * imu_mask[:, None], imu_mask
    return TrainBatch(
        torch.from_numpy(sensors),
        torch.from_numpy(there),
        torch.from_numpy(np.asarray(pose * pose_mask[:, None, None], np.float32)),
        torch.from_numpy(np.repeat(pose_mask[:, None], 6, axis=1)),
        None if text is None else torch.from_numpy(text[action - 1]),
        None if text is None else torch.ones(len(rows), dtype=torch.bool),
        None,
        None,
        torch.from_numpy(action - 1),
        tuple(str(i) for i in rows),
    )
