"""The one-euro filter (Casiez et al. 2012): still points are held still, fast ones are followed without delay."""

from __future__ import annotations

import numpy as np

from motionseek.types import Float64

SPEED_CUTOFF_HZ = 1.0


class OneEuro:
    """Smooths points as they come. min_cutoff_hz: for a point at rest.   beta: how much speed raises the cut-off."""

    def __init__(self, min_cutoff_hz: float, beta: float) -> None:
        self._min_cutoff_hz, self._beta = min_cutoff_hz, beta
        self._t_s = 0.0
        self._raw: Float64 | None = None
        self._smooth = self._speed = np.zeros(0)

    def __call__(self, t_s: float, points: Float64, size: float) -> Float64:
        """points: (N, 2) at t_s, later than before.   size: of the body, in the unit of the points."""
        if self._raw is None:
            self._smooth, self._speed = points, np.zeros_like(points)
        else:
            step_s = t_s - self._t_s
            speed = (points - self._raw) / (size * step_s)
            self._speed = self._speed + _alpha(SPEED_CUTOFF_HZ, step_s) * (speed - self._speed)
            cutoff_hz = self._min_cutoff_hz + self._beta * np.abs(self._speed)
            self._smooth = self._smooth + _alpha(cutoff_hz, step_s) * (points - self._smooth)
        self._t_s, self._raw = t_s, points
        return self._smooth


def _alpha(cutoff_hz: float | Float64, step_s: float) -> float | Float64:
    return 1 / (1 + 1 / (2 * np.pi * cutoff_hz * step_s))
