"""Simulated training windows: body motion → sensors at every placement and keypoints from any view.

Signals are simulated once and kept as plain arrays; what varies from step to step (which window, which placements,
how the sensor is mounted, noise, the camera) is drawn in whole batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np
import numpy.typing as npt
import torch

from motionseek.encoders.motion import RATE_HZ
from motionseek.encoders.preprocess import IMU_SLOTS, normalise_pose
from motionseek.encoders.simulate.camera import coco_points
from motionseek.encoders.simulate.motion import Motion
from motionseek.encoders.simulate.sensors import CUTOFF_HZ, PLACEMENT_FRAMES, imu_signals
from motionseek.encoders.train.augment import Augment, cut_ends, vary_imu, vary_keypoints
from motionseek.encoders.train.windows import TrainBatch
from motionseek.types import PART_OF_PLACEMENT, Bool, Float32

PLACEMENTS = (
    *("left_wrist", "right_wrist", "left_knee", "right_knee", "head", "chest", "waist"),
    *("left_thigh", "right_thigh", "left_pocket", "right_pocket", "left_ankle", "right_ankle"),
)
_CHOICES = [[i for i, p in enumerate(PLACEMENTS) if PART_OF_PLACEMENT[p] == slot] for slot in IMU_SLOTS[:-1]]
_CHOICES.append(list(range(len(PLACEMENTS))))  # "unknown": worn anywhere

SIMULATION = "3"
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


SIMULATED = Augment(
    mounting_deg=30.0,
    free_mounting=0.3,
    acc_noise_mps2=0.2,
    gyro_noise_rps=0.03,
    acc_bias_mps2=0.2,
    gyro_bias_rps=0.03,
    scale=0.05,
    gyro_drop=0.05,
    pixel_noise=0.004,
    joint_drop=0.1,
    jitter_s=0.02,
    cut_s=0.5,
)
"""How the starter's sensors and cameras differ from perfect ones."""


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
    most = round(augment.jitter_s * RATE_HZ)
    shift = rng.integers(-most, most + 1, b)
    pose, pose_mask = _pose_batch(corpus, clips, offset + shift, rng, augment, length)
    return Batch(imu, imu_mask, pose, pose_mask, clips)


def _rows(
    corpus: Corpus, clips: Int, offset: Int, length: int, rng: np.random.Generator, augment: Augment
) -> tuple[Int, Bool]:
    """Rows of the corpus (B, L), clamped to the clip, and which of them are inside it and not cut."""
    at = offset[:, None] + np.arange(length)
    last = corpus.length[clips][:, None]
    there = cut_ends((at >= 0) & (at < last), RATE_HZ, rng, augment)
    return corpus.start[clips][:, None] + np.clip(at, 0, last - 1), there


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
    rows, there = _rows(corpus, clips, offset, length, rng, augment)
    filled = np.arange(len(IMU_SLOTS)) if slots is None else slots
    placement = np.stack([rng.choice(_CHOICES[slot], b) for slot in filled], axis=1)
    signal = corpus.imu[rows[:, None], placement[:, :, None]]  # (B, S, L, 6)
    signal = np.ascontiguousarray(signal.reshape(-1, length, 6).transpose(0, 2, 1))
    signal = vary_imu(signal, rng, augment, anywhere=np.tile(filled == len(IMU_SLOTS) - 1, b))
    x = np.zeros((b, len(IMU_SLOTS), 6, length), np.float32)
    mask = np.zeros((b, len(IMU_SLOTS), length), np.bool_)
    x[:, filled] = signal.reshape(b, -1, 6, length) * there[:, None, None]
    mask[:, filled] = there[:, None]
    return x, mask


def _pose_batch(
    corpus: Corpus, clips: Int, offset: Int, rng: np.random.Generator, augment: Augment, length: int
) -> tuple[Float32, Bool]:
    b = len(clips)
    rows, there = _rows(corpus, clips, offset, length, rng, augment)
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
    xy = np.asarray(focal_px * seen_m[..., :2] / depth[..., None], np.float32)
    seen = np.broadcast_to(there[:, :, None], xy.shape[:3])
    xy, seen = vary_keypoints(xy, seen, rng, augment, body_px=np.asarray(focal_px * 1.7 / distance, np.float32))
    return normalise_pose(xy, seen, RATE_HZ)


def balanced(corpus: Corpus, clips: Int) -> npt.NDArray[np.float64]:
    """How often to draw each of `clips`, so that a label comes up with the root of its number of clips."""
    label, count = np.unique(corpus.label[clips], return_inverse=True, return_counts=True)[1:]
    weight = 1 / np.sqrt(count)[label]
    out: npt.NDArray[np.float64] = weight / weight.sum()
    return out


@dataclass(frozen=True, eq=False)
class Simulated:
    """Random windows of some clips of a corpus, as `Batches`; there is no end to them.

    slots: draws the IMU_SLOTS that a batch has sensors at, None for all.     pose_of_slots: parts without a sensor
    have no pose either.     captions: vectors (K, D) that each label of the corpus may be called; one is drawn.
    """

    corpus: Corpus
    clips: Int
    size: int
    augment: Augment
    seed: int = 0
    slots: Callable[[np.random.Generator], Int] | None = None
    pose_of_slots: bool = False
    captions: Mapping[str, torch.Tensor] | None = None

    @property
    def steps(self) -> int:
        return max(1, len(self.clips) // self.size)

    def batch(self, step: int, *, rank: int = 0, world: int = 1) -> TrainBatch:
        """Each of `world` processes simulates its own share, all with sensors at the same slots."""
        slots = self.slots(np.random.default_rng([self.seed, step])) if self.slots else None
        rng = np.random.default_rng([self.seed, step, rank, world])
        clips = rng.choice(self.clips, self.size // world, p=balanced(self.corpus, self.clips))
        drawn = draw_batch(self.corpus, clips, rng, self.augment, slots=slots)
        pose_mask = torch.from_numpy(drawn.pose_mask)
        if self.pose_of_slots and slots is not None:
            pose_mask[:, np.setdiff1d(np.arange(pose_mask.shape[1]), slots)] = False
        text = None
        if self.captions is not None:
            named = [self.captions[self.corpus.labels[i]] for i in self.corpus.label[clips]]
            which = rng.integers(0, [len(vectors) for vectors in named])
            text = torch.stack([vectors[i] for vectors, i in zip(named, which.tolist(), strict=True)])
        return TrainBatch(
            torch.from_numpy(drawn.imu),
            torch.from_numpy(drawn.imu_mask),
            torch.from_numpy(drawn.pose),
            pose_mask,
            text,
            None if text is None else torch.ones(len(clips), dtype=torch.bool),
            None,
            None,
            torch.from_numpy(self.corpus.label[clips]),
            tuple(f"clip {i} ({self.corpus.labels[self.corpus.label[i]]})" for i in clips.tolist()),
        )
