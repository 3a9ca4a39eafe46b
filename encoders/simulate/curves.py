"""Smooth curves of time, the alphabet of procedural motion. Seconds throughout; twice differentiable unless told."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike
from scipy.interpolate import CubicSpline

from motionseek.types import Float64

RATE_HZ = 50.0
GRAVITY_MPS2 = 9.80665
TURN = 2 * np.pi


def keyframes(t: Float64, at: ArrayLike, value: ArrayLike, slope: ArrayLike = 0.0, curve: ArrayLike = 0.0) -> Float64:
    """Quintic Hermite curve through `value` with first derivative `slope` and second derivative `curve` at the times
    `at`; with neither it is the minimum-jerk reach from key to key (Flash and Hogan 1985). Constant outside the keys.

    t: (N,)     at: (K,) increasing     value, slope, curve: (K,) or (K, D), or broadcast to it     → (N,) or (N, D)
    """
    key_s, key = np.asarray(at, dtype=np.float64), np.asarray(value, dtype=np.float64)
    slopes, curves = np.broadcast_to(slope, key.shape), np.broadcast_to(curve, key.shape)
    left = np.clip(np.searchsorted(key_s, t, side="right") - 1, 0, len(key_s) - 2)
    width = key_s[left + 1] - key_s[left]
    s = np.clip((t - key_s[left]) / width, 0.0, 1.0)
    basis = (
        *(1 - s**3 * (10 - 15 * s + 6 * s**2), width * (s - s**3 * (6 - 8 * s + 3 * s**2))),
        *(width**2 * s**2 * (1 - s) ** 3 / 2, width**2 * s**3 * (1 - s) ** 2 / 2),
        *(width * s**3 * (-4 + 7 * s - 3 * s**2), s**3 * (10 - 15 * s + 6 * s**2)),
    )
    ends = (key[left], slopes[left], curves[left], curves[left + 1], slopes[left + 1], key[left + 1])
    tail = (1,) * (key.ndim - 1)
    return np.asarray(sum(b.reshape(-1, *tail) * e for b, e in zip(basis, ends, strict=True)))


def cycle(phase: Float64, at: ArrayLike, value: ArrayLike) -> Float64:
    """A curve of period 1 through the given points, read at `phase` (any shape). at: (K,) within [0, 1), increasing."""
    at, value = np.asarray(at, dtype=np.float64), np.asarray(value, dtype=np.float64)
    spline = CubicSpline(np.append(at, at[0] + 1), np.append(value, value[0]), bc_type="periodic")
    return np.asarray(spline(np.mod(phase - at[0], 1.0) + at[0]))


def glide(x: Float64, ramp: float = 0.4) -> Float64:
    """0 → 1 as x goes 0 → 1, at constant speed but for a raised-cosine start and stop over the share `ramp` each."""
    x = np.clip(x, 0.0, 1.0)

    def started(u: Float64) -> Float64:
        return np.asarray(np.where(u < ramp, u / 2 - ramp / TURN * np.sin(np.pi * u / ramp), u - ramp / 2))

    mirrored = 1 - ramp - started(1 - x)
    return np.asarray(np.where(x < 0.5, started(x), mirrored) / (1 - ramp))


def wander(rng: Generator, n: int, sd: float, cutoff_hz: float, *channels: int) -> Float64:
    """Band-limited Gaussian noise (n, *channels) of standard deviation `sd`: sway, drift and tremor."""
    size = 2 * n + 64
    frequency = np.fft.rfftfreq(size, 1 / RATE_HZ)
    gain = 1 / (1 + (frequency / cutoff_hz) ** 4)
    gain[0] = 0.0
    gain *= sd * size / np.sqrt(4 * np.sum(gain**2))
    noise = rng.normal(size=(*channels, len(frequency), 2)) @ np.array([1.0, 1.0j])
    return np.moveaxis(np.fft.irfft(gain * noise, size)[..., :n], -1, 0)


def ring(t: Float64, at: ArrayLike, size: ArrayLike, frequency_hz: float, decay_s: float) -> Float64:
    """What an impact leaves in flesh and a pocket: a damped oscillation that starts with an upward jolt.

    t: (N,)     at: (K,) times of the impacts     size: (K,) m, or one for all     → (N,), kinked at impacts
    """
    since = np.maximum(np.subtract.outer(t, np.asarray(at, dtype=np.float64)), 0.0)
    each = np.broadcast_to(size, since.shape) * (1 - np.cos(TURN * frequency_hz * since)) * np.exp(-since / decay_s)
    return np.asarray(each.sum(axis=1))


def beats(rng: Generator, duration_s: float, period_s: float, jitter: float) -> Float64:
    """Times of a human rhythm, from a random point before 0 to beyond `duration_s`. jitter: share of the period."""
    count = int(np.ceil(duration_s / period_s / (1 - 3 * jitter))) + 6
    periods = period_s * (1 + jitter * np.clip(rng.normal(size=count), -2.5, 2.5))
    return np.cumsum(periods) - period_s * (3 + rng.random())


def phase_of(t: Float64, beat_s: Float64) -> Float64:
    """Smooth count of the beats passed: k at beat_s[k]."""
    return np.asarray(CubicSpline(beat_s, np.arange(len(beat_s)))(t))
