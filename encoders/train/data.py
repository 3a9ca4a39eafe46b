"""Simulated training windows: body motion → sensors at every placement and keypoints from any view.

Signals are simulated once and kept as plain arrays; what varies from step to step (which window, which placements,
how the sensor is mounted, noise, the camera) is drawn in whole batches.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from motionseek.encoders.motion import RATE_HZ
from motionseek.encoders.preprocess import IMU_SLOTS, normalise_pose
from motionseek.encoders.simulate.camera import coco_points
from motionseek.encoders.simulate.motion import Motion
from motionseek.encoders.simulate.sensors import CUTOFF_HZ, PLACEMENT_FRAMES, imu_signals
from motionseek.types import PART_OF_PLACEMENT, Bool, Float32

PLACEMENTS = (
    *("left_wrist", "right_wrist", "left_knee", "right_knee", "head", "chest", "waist"),
    *("left_thigh", "right_thigh", "left_pocket", "right_pocket", "left_ankle", "right_ankle"),
)
_CHOICES = [[i for i, p in enumerate(PLACEMENTS) if PART_OF_PLACEMENT[p] == slot] for slot in IMU_SLOTS[:-1]]
_CHOICES.append(list(range(len(PLACEMENTS))))  # "unknown": worn anywhere

SIMULATION = "1"
"""Changes whenever the simulated signals do, so that kept ones are made anew."""

Int = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Corpus:
    """All clips one after another at 50 Hz.

    imu: (N, 13, 6) float32, noise-free, PLACEMENTS.     points_m: (N, 17, 3) float32, COCO-17 in space, y up.
    start, length: (clips,) int64.     label: (clips,) int64 into `labels`.
    """

    imu: Float32
    points_m: Float32
    start: Int
    length: Int
    label: Int
    labels: tuple[str, ...]

    def clips_of(self, label: str) -> Int:
        return np.flatnonzero(self.label == self.labels.index(label))


def _simulate(job: tuple[Motion, float, int]) -> tuple[Float32, Float32, str] | None:
    motion, speed, seed = job
    rng = np.random.default_rng(seed)
    motion = Motion(
        motion.name, motion.rate_hz * speed, motion.position_m, motion.rotation, motion.labels, motion.source
    )
    if len(motion.position_m) < 12 or motion.duration_s < 0.8:
        return None
    points = coco_points(motion.resample(RATE_HZ))
    columns = []
    for placement in PLACEMENTS:
        offset = PLACEMENT_FRAMES[placement].offset_m + rng.normal(scale=0.02, size=3)
        cutoff_hz = 20.0 if motion.source == "procedural" else CUTOFF_HZ
        signals = imu_signals(motion, placement, offset_m=offset, rate_hz=RATE_HZ, cutoff_hz=cutoff_hz)
        columns.append(signals[: len(points)])
    n = min(len(points), *(len(c) for c in columns))
    return np.stack([c[:n] for c in columns], axis=1), points[:n], motion.labels[0]


def build_corpus(jobs: Iterable[tuple[Motion, float]], *, seed: int = 0, workers: int = 2) -> Corpus:
    """Simulate (motion, speed) pairs; speed 1.2 plays the motion a fifth faster. Motions under 0.8 s are left out."""
    seeded = ((motion, speed, seed + i) for i, (motion, speed) in enumerate(jobs))
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        done = [d for d in pool.map(_simulate, seeded, chunksize=16) if d is not None]
    labels = tuple(sorted({label for _, _, label in done}))
    length = np.array([len(points) for _, points, _ in done], np.int64)
    return Corpus(
        np.concatenate([imu for imu, _, _ in done]),
        np.concatenate([points for _, points, _ in done]),
        np.cumsum(length) - length,
        length,
        np.array([labels.index(label) for _, _, label in done], np.int64),
        labels,
    )


@dataclass(frozen=True)
class Augment:
    """What varies. mounting_deg: how far a sensor may sit turned; free_mounting: share of sensors turned any way."""

    mounting_deg: float = 30.0
    free_mounting: float = 0.3
    acc_noise_mps2: float = 0.2
    gyro_noise_rps: float = 0.03
    acc_bias_mps2: float = 0.2
    gyro_bias_rps: float = 0.03
    scale: float = 0.05
    gyro_drop: float = 0.05
    damp: float = 0.0
    """Share of windows whose movement is weakened or strengthened (0.35 to 1.15 times) about its mean: people move more
    gently than motion capture actors, and straps and pockets give."""
    pixel_noise: float = 0.004
    joint_drop: float = 0.1
    jitter: int = 1
    """Samples by which the pose may start before or after the sensors, because clocks are never on a grid."""
    cut: int = 25
    """Samples by which either side may be cut at either end, so that ends tell nothing."""


@dataclass(frozen=True, eq=False)
class Batch:
    """imu (B, 7, 6, L), imu_mask (B, 7, L), pose (B, 6, 12, L), pose_mask (B, 6, L), clip (B,) into the corpus."""

    imu: Float32
    imu_mask: Bool
    pose: Float32
    pose_mask: Bool
    clip: Int


def draw_batch(
    corpus: Corpus,
    clips: Int,
    rng: np.random.Generator,
    augment: Augment,
    *,
    length: int = 250,
    slots: Int | None = None,
) -> Batch:
    """One random window of each of `clips` (B,), sensors and pose of the same time. slots: IMU_SLOTS to fill (all)."""
    b = len(clips)
    spare = corpus.length[clips] - length
    at = np.where(spare > 0, rng.integers(0, np.maximum(spare, 0) + 1), 0)
    lead = np.where(spare < 0, rng.integers(0, np.maximum(-spare, 0) + 1), 0)
    offset = at - lead  # where the window starts in its clip; negative where the clip starts later
    imu, imu_mask = _imu_batch(corpus, clips, offset, rng, augment, length, slots)
    shift = rng.integers(-augment.jitter, augment.jitter + 1, b)
    pose, pose_mask = _pose_batch(corpus, clips, offset + shift, rng, augment, length)
    return Batch(imu, imu_mask, pose, pose_mask, clips)


def _rows(corpus: Corpus, clips: Int, offset: Int, length: int, rng: np.random.Generator, cut: int) -> tuple[Int, Bool]:
    """Rows of the corpus (B, L), clamped to the clip, and which of them are inside it and not cut."""
    inside = offset[:, None] + np.arange(length)
    ends = rng.integers(0, cut + 1, (2, len(clips), 1)) * (rng.random((2, len(clips), 1)) < 0.5)
    first, last = np.maximum(0, offset[:, None]) + ends[0], np.minimum(corpus.length[clips], offset + length)[:, None]
    there = (inside >= first) & (inside < last - ends[1])
    return corpus.start[clips][:, None] + np.clip(inside, 0, corpus.length[clips][:, None] - 1), there


def _imu_batch(
    corpus: Corpus,
    clips: Int,
    offset: Int,
    rng: np.random.Generator,
    augment: Augment,
    length: int,
    slots: Int | None,
) -> tuple[Float32, Bool]:
    b = len(clips)
    rows, there = _rows(corpus, clips, offset, length, rng, augment.cut)
    x = np.zeros((b, len(IMU_SLOTS), 6, length), np.float32)
    mask = np.zeros((b, len(IMU_SLOTS), length), np.bool_)
    for slot in range(len(IMU_SLOTS)) if slots is None else slots:
        placement = rng.choice(_CHOICES[slot], b)
        signal = corpus.imu[rows, placement[:, None]].reshape(b, length, 2, 3)
        free = rng.random(b) < augment.free_mounting
        if slot == len(IMU_SLOTS) - 1:
            free[:] = True
        axis = rng.normal(size=(b, 3))
        axis *= (np.radians(rng.uniform(0, augment.mounting_deg, b)) / np.linalg.norm(axis, axis=1))[:, None]
        turn = Rotation.from_rotvec(axis).as_matrix()
        turn[free] = Rotation.random(int(free.sum()), rng=rng).as_matrix() if free.any() else turn[free]
        signal = np.einsum("blkc,bcd->blkd", signal, turn.astype(np.float32))
        if augment.damp:
            gentle = np.where(rng.random((b, 1)) < augment.damp, rng.uniform(0.35, 1.15, (b, 2)), 1.0)
            middle = signal.mean(axis=1, keepdims=True) * np.array([1, 0], np.float32)[:, None]
            signal = middle + (signal - middle) * gentle.astype(np.float32)[:, None, :, None]
        sigma = np.array([augment.acc_noise_mps2, augment.gyro_noise_rps], np.float32)[:, None]
        sigma_b = rng.random((b, 1, 1, 1), dtype=np.float32) * sigma
        bias = np.array([augment.acc_bias_mps2, augment.gyro_bias_rps], np.float32)[:, None]
        signal = signal * (1 + augment.scale * rng.standard_normal((b, 1, 2, 1), np.float32))
        signal += bias * rng.standard_normal((b, 1, 2, 3), np.float32)
        signal += sigma_b * rng.standard_normal(signal.shape, np.float32)
        signal[rng.random(b) < augment.gyro_drop, :, 1] = 0
        x[:, slot] = signal.reshape(b, length, 6).transpose(0, 2, 1) * there[:, None]
        mask[:, slot] = there
    return x, mask


def _pose_batch(
    corpus: Corpus, clips: Int, offset: Int, rng: np.random.Generator, augment: Augment, length: int
) -> tuple[Float32, Bool]:
    b = len(clips)
    rows, there = _rows(corpus, clips, offset, length, rng, augment.cut)
    points = corpus.points_m[rows]  # (B, L, 17, 3)
    points = points - points[:, length // 2, 11:13].mean(1)[:, None, None]
    azimuth, elevation = rng.uniform(0, 2 * np.pi, b), np.radians(rng.uniform(-5, 25, b))
    distance = rng.uniform(3.0, 9.0, b)
    ahead = np.stack(
        [-np.sin(azimuth) * np.cos(elevation), -np.sin(elevation), -np.cos(azimuth) * np.cos(elevation)], axis=1
    )
    right = np.stack([np.cos(azimuth), np.zeros(b), -np.sin(azimuth)], axis=1)
    down = np.cross(ahead, right)
    axes = np.stack([right, down, ahead], axis=1).astype(np.float32)
    seen_m = np.einsum("blkc,bdc->blkd", points, axes)
    depth = np.maximum(seen_m[..., 2] + distance[:, None, None].astype(np.float32), 0.5)
    focal_px = 1000.0
    xy = focal_px * seen_m[..., :2] / depth[..., None]
    body_px = (focal_px * 1.7 / distance).astype(np.float32)
    noise = augment.pixel_noise * rng.random(b, dtype=np.float32) * body_px
    xy += noise[:, None, None, None] * rng.standard_normal(xy.shape, np.float32)
    dropped = (rng.random((b, 17)) < augment.joint_drop) & (rng.random(b) < 0.5)[:, None]
    dropped[:, [5, 6, 11, 12]] = False
    seen = there[:, :, None] & ~dropped[:, None]
    return normalise_pose(xy, seen, RATE_HZ)
