"""The gyroscope of a camera, integrated, so that it can be asked for any interval between frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from motionseek.types import Bool, Float64, Imu

MAX_GYRO_GAP_S = 0.06


@dataclass(frozen=True, eq=False)
class Turning:
    """The gyroscope's integral: angle (L, 3) at t_s (L,), and how long a gap each sample ends (L,)."""

    t_s: Float64
    angle: Float64
    missing_s: Float64
    """(L,) seconds without samples up to here."""

    @classmethod
    def of(cls, imu: Imu) -> Turning:
        finite = np.isfinite(imu.gyro_rps).all(axis=1)
        t_s, rate = imu.gyro_t_s[finite], imu.gyro_rps[finite].astype(np.float64)
        step_s = np.diff(t_s)
        angle = np.concatenate([np.zeros((1, 3)), np.cumsum((rate[1:] + rate[:-1]) / 2 * step_s[:, None], axis=0)])
        gap_s = np.where(step_s > max(MAX_GYRO_GAP_S, 3 * float(np.median(step_s))), step_s, 0.0)
        return cls(t_s, angle, np.concatenate([[0.0], np.cumsum(gap_s)]))

    def mean_rate(self, edge_s: Float64) -> tuple[Float64, Bool]:
        """Mean rate over intervals (..., 2) → (..., 3), and whether the gyro was there throughout, (...)."""
        flat = edge_s.ravel()
        angle = np.stack([np.interp(flat, self.t_s, a) for a in self.angle.T], axis=-1).reshape(*edge_s.shape, 3)
        missing = np.interp(flat, self.t_s, self.missing_s).reshape(edge_s.shape)
        start_s, end_s = edge_s[..., 0], edge_s[..., 1]
        inside = (start_s >= self.t_s[0]) & (end_s <= self.t_s[-1]) & (missing[..., 1] - missing[..., 0] < 1e-9)
        return (angle[..., 1, :] - angle[..., 0, :]) / np.maximum(end_s - start_s, 1e-9)[..., None], inside
