"""All lags at once, over the samples that both sides have, by FFT."""

from __future__ import annotations

import os

import numpy as np
import scipy

from motionseek.types import Bool, Float32, Float64

LONG = 50_000
"""Transforms of at least this length are shared by all cores."""


def lags(length_x: int, length_y: int) -> Float64:
    """The lags of the functions below: x's sample i meets y's sample i + lag."""
    return np.arange(-(length_x - 1), length_y, dtype=np.float64)


def pearson(x: Float64, x_mask: Bool, y: Float64, y_mask: Bool) -> tuple[Float64, Float64]:
    """Pearson's r of x (..., L) against y (..., L') at every lag, and how many pairs of samples it stands on.

    Means and variances are those of the overlap at each lag, masked samples left out (Padfield, Masked Object
    Registration in the Fourier Domain, 2012). Returns r and count, both (..., L + L' - 1); r is 0 without variance.
    """
    length_x, length_y = x.shape[-1], y.shape[-1]
    fft = scipy.fft
    size = fft.next_fast_len(length_x + length_y - 1, real=True)
    if size >= LONG and x.ndim > 1:
        # One after the other, long rows stay in the cache.
        rows = [pearson(*row) for row in zip(x, x_mask, y, y_mask, strict=True)]
        return np.stack([r for r, _ in rows]), np.stack([count for _, count in rows])
    x, y = _centred(x, x_mask), _centred(y, y_mask)
    with fft.set_workers(_workers(size)):
        fx = fft.rfft(np.stack([x_mask.astype(np.float64), x, x * x]), size, axis=-1).conj()
        fy = fft.rfft(np.stack([y_mask.astype(np.float64), y, y * y]), size, axis=-1)
        products = np.stack([fx[0] * fy[0], fx[1] * fy[0], fx[0] * fy[1], fx[2] * fy[0], fx[0] * fy[2], fx[1] * fy[1]])
        count, sum_x, sum_y, sum_xx, sum_yy, sum_xy = _unwrapped(fft.irfft(products, size, axis=-1), length_x, length_y)
    count = np.rint(count)
    n = np.maximum(count, 1)
    variance = np.maximum(sum_xx - sum_x**2 / n, 0) * np.maximum(sum_yy - sum_y**2 / n, 0)
    # Below this a variance is the rounding of the transform.
    tiny = 1e-9 * (x**2).sum(axis=-1, keepdims=True) * (y**2).sum(axis=-1, keepdims=True) + 1e-300
    r = (sum_xy - sum_x * sum_y / n) / np.sqrt(np.maximum(variance, tiny))
    return np.clip(np.where(variance > tiny, r, 0.0), -1, 1), count


def _centred(x: Float64, mask: Bool) -> Float64:
    """Mean of what is there removed, the rest zero: sums of squares lose digits where the mean is large."""
    mean = np.where(mask, x, 0.0).sum(axis=-1, keepdims=True) / np.maximum(mask.sum(axis=-1, keepdims=True), 1)
    return np.where(mask, x - mean, 0.0)


def _unwrapped(circular: Float64, length_x: int, length_y: int) -> Float64:
    """Lags -(L - 1) … L' - 1 of a circular correlation, in order."""
    size = circular.shape[-1]
    return np.concatenate([circular[..., size - (length_x - 1) :], circular[..., :length_y]], axis=-1)


def cosine(x: Float32, x_mask: Bool, y: Float32, y_mask: Bool) -> tuple[Float64, Float64]:
    """Mean cosine of unit tokens x (P, T, D) against y (P, T', D) at every lag, and the number of pairs.

    Masks (P, T), (P, T'): a masked token is left out. Returns both (T + T' - 1,); the mean is 0 without a pair.
    """
    fft = scipy.fft
    size = fft.next_fast_len(x.shape[1] + y.shape[1] - 1, real=True)
    total = np.zeros(size // 2 + 1, np.complex128)
    pairs = np.zeros(size // 2 + 1, np.complex128)
    with fft.set_workers(_workers(size)):
        for tokens, there, others, others_there in zip(x, x_mask, y, y_mask, strict=True):
            if there.any() and others_there.any():
                # Along contiguous rows, and in single precision, which a mean of cosines does not feel.
                left = fft.rfft(np.ascontiguousarray(np.where(there[:, None], tokens, 0).T, np.float32), size)
                right = fft.rfft(np.ascontiguousarray(np.where(others_there[:, None], others, 0).T, np.float32), size)
                np.conjugate(left, out=left)
                left *= right
                total += left.sum(axis=0)
                mine, theirs = fft.rfft(there.astype(np.float64), size), fft.rfft(others_there.astype(np.float64), size)
                pairs += mine.conj() * theirs
    summed, count = _unwrapped(fft.irfft(np.stack([total, pairs]), size, axis=-1), x.shape[1], y.shape[1])
    count = np.rint(count)
    return np.where(count > 0, summed / np.maximum(count, 1), 0.0), count


def _workers(size: int) -> int:
    """Threads for transforms of this length: short ones are over before a thread has begun."""
    return (os.cpu_count() or 1) if size >= LONG else 1


def parabola(scores: Float64) -> Float64:
    """Position of the highest score along the last axis, refined by a parabola through it and its neighbours."""
    m = scores.argmax(axis=-1)
    inside = np.clip(m, 1, scores.shape[-1] - 2)
    left, centre, right = (np.take_along_axis(scores, (inside + d)[..., None], axis=-1)[..., 0] for d in (-1, 0, 1))
    usable = (m == inside) & np.isfinite(left) & np.isfinite(right)
    left, centre, right = (np.where(usable, x, 0.0) for x in (left, centre, right))
    bend = left - 2 * centre + right
    shift = np.where(bend < 0, 0.5 * (left - right) / np.where(bend < 0, bend, -1.0), 0.0)
    position: Float64 = m + np.clip(shift, -0.5, 0.5)
    return position
