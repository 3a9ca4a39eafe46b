"""How fast a sensor turns and how fast a limb turns in the picture: the two traces that need no training to compare.

A gyroscope's norm does not depend on how the sensor is mounted. A limb's bone in the picture, in units of its own
full length, changes as fast as the limb turns, seen from one side. Both are rad/s, both on one regular clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import scipy

from motionseek.encoders.preprocess import resample
from motionseek.types import PARTS, STANDARD_GRAVITY_MPS2, Bool, Float64, Imu, PoseTrack

RATE_HZ = 100.0
SMOOTH_S = 0.1
"""Standard deviation of the low-pass that both traces share. Keypoints tremble by a pixel or two; on simulated takes
0.1 s places single sensors right more often than 0.04 or 0.06, and no less sharply."""

_SHOULDERS, _HIPS, _EYES, _EARS = (5, 6), (11, 12), (1, 2), (3, 4)
BONES: Mapping[str, tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]] = {
    "left_wrist": (((7,), (9,)),),
    "right_wrist": (((8,), (10,)),),
    "left_knee": (((13,), (15,)),),
    "right_knee": (((14,), (16,)),),
    "head": ((_SHOULDERS, (0,)), ((3,), (4,))),
    "torso": (((5,), (6,)), (_HIPS, _SHOULDERS)),
}
"""Part → the bones whose turning its sensor feels, each from one middle of COCO-17 joints to another."""

_BONES_OF_PLACEMENT = {
    "left_upper_arm": (((5,), (7,)),),
    "right_upper_arm": (((6,), (8,)),),
    **{f"left_{where}": (((11,), (13,)),) for where in ("thigh", "pocket")},
    **{f"right_{where}": (((12,), (14,)),) for where in ("thigh", "pocket")},
}


@dataclass(frozen=True, eq=False)
class Trace:
    """A speed on a regular clock of RATE_HZ from start_s on. speed: (L,) float64, rad/s; mask: (L,) bool."""

    start_s: float
    speed: Float64
    mask: Bool

    @property
    def duration_s(self) -> float:
        return len(self.speed) / RATE_HZ


def _times(start_s: float, end_s: float) -> Float64:
    # The grid starts at a multiple of its own step: all traces of one clock share their sample times.
    first = np.floor(start_s * RATE_HZ)
    times: Float64 = (first + np.arange(max(2, int(np.ceil(end_s * RATE_HZ) - first) + 1))) / RATE_HZ
    return times


def _smooth(x: Float64, mask: Bool, sigma_s: float = SMOOTH_S) -> Float64:
    """Gaussian over the samples that are there: x (L, C), mask (L,)."""
    weight = scipy.ndimage.gaussian_filter1d(mask.astype(np.float64), sigma_s * RATE_HZ, mode="constant")
    total = scipy.ndimage.gaussian_filter1d(np.where(mask[:, None], x, 0.0), sigma_s * RATE_HZ, axis=0, mode="constant")
    smooth: Float64 = total / np.maximum(weight, 1e-3)[:, None]
    return smooth


def sensor_trace(imu: Imu) -> Trace:
    """Norm of the turning rate; without a gyroscope, how far |acceleration| is from gravity, in units of gravity."""
    times = _times(imu.start_s, imu.end_s)
    if len(imu.gyro_t_s) > 1:
        values, mask = resample(imu.gyro_t_s, imu.gyro_rps, times)
        speed = np.linalg.norm(_smooth(values.astype(np.float64), mask), axis=1)
    else:
        values, mask = resample(imu.acc_t_s, imu.acc_mps2, times)
        excess = np.linalg.norm(values.astype(np.float64), axis=1, keepdims=True) / STANDARD_GRAVITY_MPS2 - 1
        speed = _smooth(np.abs(excess), mask)[:, 0]
    return Trace(float(times[0]), np.where(mask, speed, 0.0), mask)


def limb_trace(track: PoseTrack, placement: str) -> Trace:
    """Turning speed of the bones that a sensor at `placement` (or on that part) feels: root mean square over them."""
    bones = _BONES_OF_PLACEMENT.get(placement) or BONES[placement]
    times = _times(track.start_s, track.end_s)
    squares, mask = np.zeros(len(times)), np.zeros(len(times), np.bool_)
    for bone in bones:
        speed, there = _bone_speed(track, bone, times)
        squares += np.where(there, speed**2, 0.0) / len(bones)
        mask |= there
    return Trace(float(times[0]), np.sqrt(squares), mask)


def _bone_speed(
    track: PoseTrack, bone: tuple[tuple[int, ...], tuple[int, ...]], times: Float64
) -> tuple[Float64, Bool]:
    start, end = (track.xy_px[:, list(joints)].mean(axis=1) for joints in bone)
    values, mask = resample(track.t_s, end - start, times, max_gap_s=0.25)
    if not mask.any():
        return np.zeros(len(times)), mask
    vector = _smooth(values.astype(np.float64), mask)
    # A bone is never longer in the picture than it is: its 95th percentile is the measure of its length.
    length = max(float(np.percentile(np.linalg.norm(vector[mask], axis=1), 95)), 1.0)
    speed = np.linalg.norm(np.gradient(vector, 1 / RATE_HZ, axis=0), axis=1) / length
    return speed, mask


def parts_seen(track: PoseTrack) -> tuple[str, ...]:
    """Parts of PARTS of which the track shows a bone in at least a tenth of its frames."""
    seen: Bool = np.asarray(np.isfinite(track.xy_px).all(axis=2))
    return tuple(part for part in PARTS if any(seen[:, [*a, *b]].all(axis=1).mean() >= 0.1 for a, b in BONES[part]))
