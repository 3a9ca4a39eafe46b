"""The one-euro filter (Casiez et al. 2012): still points are held still, fast ones are followed without delay.

Single precision where MediaPipe has it, so that the same points come out, to the last bit.
"""

from __future__ import annotations

import numpy as np

from motionseek.types import Float32, Float64

SPEED_CUTOFF_HZ = 1.0


class OneEuro:
    """Smooths points as they come. min_cutoff_hz: for a point at rest.   beta: how much speed raises the cut-off."""

    def __init__(self, min_cutoff_hz: float, beta: float) -> None:
        self._min_cutoff_hz, self._beta = float(np.float32(min_cutoff_hz)), beta
        self._t_s = 0.0
        self._raw: Float32 | None = None
        self._smooth = self._speed = np.zeros(0, np.float32)

    def __call__(self, t_s: float, points: Float32, size: float) -> Float32:
        """points: (N, 2) at t_s, later than before.   size: of the body, in the unit of the points."""
        t_s = round(t_s, 6)  # MediaPipe counts microseconds
        points = points.astype(np.float32)
        if self._raw is None:
            self._smooth, self._speed = points, np.zeros_like(points)
        else:
            step_s = t_s - self._t_s
            speed = (points.astype(np.float64) - self._raw) * float(np.float32(1 / size)) / step_s
            self._speed = _nearer(self._speed, speed, _alpha(SPEED_CUTOFF_HZ, step_s))
            cutoff_hz = self._min_cutoff_hz + self._beta * np.abs(self._speed.astype(np.float64))
            self._smooth = _nearer(self._smooth, points, _alpha(cutoff_hz, step_s))
        self._t_s, self._raw = t_s, points
        return self._smooth


def _alpha(cutoff_hz: float | Float64, step_s: float) -> Float32:
    return np.asarray(1 / (1 + 1 / (2 * np.pi * cutoff_hz * step_s)), np.float32)


def _nearer(held: Float32, new: Float32 | Float64, alpha: Float32) -> Float32:
    return np.asarray(alpha * new.astype(np.float32) + (1 - alpha.astype(np.float64)) * held, np.float32)
