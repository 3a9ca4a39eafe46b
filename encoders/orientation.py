"""How a sensor is turned, from what it measures: for encoders that were trained on fused orientations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy

from motionseek.types import STANDARD_GRAVITY_MPS2, Float32, Float64

if TYPE_CHECKING:
    from scipy.spatial.transform import Rotation

TILT_GAIN_PER_S = 0.5
"""How fast the accelerometer pulls the tilt upright: half of an error is gone after about 1.4 s."""


def orientations(acc_mps2: Float32, gyro_rps: Float32, rate_hz: float) -> Float32:
    """Accelerometer and gyroscope (N, 3, L) → unit quaternions (N, 4, L), w first, sensor to world, z up.

    A complementary filter (Mahony et al. 2008, with the proportional term only): turn rates are integrated, and the
    tilt is pulled towards what the accelerometer calls up, the less the further |acc| is from gravity. The heading
    starts at zero and drifts. Samples that are all zero, as masked ones are, leave the orientation as it is.
    """
    n, _, length = acc_mps2.shape
    acc, gyro = acc_mps2.transpose(2, 0, 1).astype(np.float64), gyro_rps.transpose(2, 0, 1).astype(np.float64)
    size = np.linalg.norm(acc, axis=-1, keepdims=True)
    up = acc / np.where(size > 0, size, 1)
    trust = np.exp(-(((size - STANDARD_GRAVITY_MPS2) / 2.0) ** 2)) * (size > 0)
    first = (up * trust)[: max(1, round(0.5 * rate_hz))].sum(0)
    turn = _from_up(np.where(np.linalg.norm(first, axis=-1, keepdims=True) > 0, first, [0.0, 0.0, 1.0]))
    out = np.empty((length, n, 4))
    for i in range(length):  # each sample needs the one before: all windows take the step together
        out[i] = turn.as_quat(scalar_first=True)
        believed = turn.inv().apply(np.array([0.0, 0.0, 1.0]))
        pull = TILT_GAIN_PER_S * trust[i] * np.cross(up[i], believed)
        turn = turn * scipy.spatial.transform.Rotation.from_rotvec((gyro[i] + pull) / rate_hz)
    flip = np.where(np.sign((out[1:] * out[:-1]).sum(-1, keepdims=True)) < 0, -1.0, 1.0)
    out[1:] *= np.cumprod(flip, axis=0)  # q and -q are one orientation: no jumps
    return np.ascontiguousarray(out.transpose(1, 2, 0), np.float32)


def _from_up(up: Float64) -> Rotation:
    """The turns (N,) of least angle that bring `up` (N, 3), in the sensor's axes, to the world's z."""
    up = up / np.linalg.norm(up, axis=-1, keepdims=True)
    half = up + np.array([0.0, 0.0, 1.0])
    upside_down = np.linalg.norm(half, axis=-1) < 1e-6
    axis = np.where(upside_down[:, None], [1.0, 0.0, 0.0], np.cross(up, half))
    w = np.where(upside_down, 0.0, (up * half).sum(-1))
    return scipy.spatial.transform.Rotation.from_quat(np.concatenate([w[:, None], axis], axis=1), scalar_first=True)
