"""Scores of overlapping windows → scores of instants.

A window of 5 s that begins to show walking scores a little for walking, and more the more of it walks. Read so, the
score of a window is the mean of what its instants score, plus noise, and windows that overlap are equations for those
instants. They are solved with a price on every change from one instant to the next,

    minimise  |A x - score|² + smooth · |x[1:] - x[:-1]|²,     A[w, i]: the share of window w that instant i is,

so that an event shorter than a window is found as short as it is, and an edge where it lies.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy

from motionseek.types import Float32, Float64, FloatArray

INSTANT_S = 0.5
SMOOTH = 0.1
"""Chosen, like INSTANT_S, by the logs of the takes of benchmarks/timeline.py that are not reported."""


def instants(start_s: Float64, end_s: Float64, score: FloatArray) -> tuple[Float64, Float32]:
    """Windows start_s, end_s (N,) in order of their starts, with scores (N, C) → where each of I instants of INSTANT_S
    begins (I,), and its scores (I, C). Stretches that no window covers have no instants."""
    breaks = np.flatnonzero(start_s[1:] > np.maximum.accumulate(end_s)[:-1] + 1e-6) + 1
    solved = [_stretch(start_s[at], end_s[at], score[at]) for at in np.split(np.arange(len(start_s)), breaks)]
    return np.concatenate([t for t, _ in solved]), np.concatenate([x for _, x in solved])


def _stretch(start_s: Float64, end_s: Float64, score: FloatArray) -> tuple[Float64, Float32]:
    if not len(start_s):
        return np.zeros(0), np.zeros((0, score.shape[1]), np.float32)
    begins_s = float(start_s[0])
    count = max(1, int(np.ceil((end_s.max() - begins_s) / INSTANT_S - 1e-6)))
    if count == 1:
        return np.full(1, begins_s), np.asarray(score, np.float32).mean(axis=0, keepdims=True)
    share = _shares((start_s - begins_s) / INSTANT_S, (end_s - begins_s) / INSTANT_S, count)
    normal = (share.T @ share).todia()
    bands = np.zeros((1 + max(1, int(normal.offsets.max())), count))
    for offset, row in zip(normal.offsets.tolist(), normal.data, strict=True):
        if offset >= 0:
            bands[len(bands) - 1 - offset, offset:] = row[offset:count]
    bands[-1] += SMOOTH * np.r_[1.0, np.full(count - 2, 2.0), 1.0]
    bands[-2, 1:] -= SMOOTH
    # What no window says anything about is like its neighbours; alone it is 0.
    bands[-1] += 1e-9
    solved: Float32 = scipy.linalg.solveh_banded(bands, share.T @ np.asarray(score, np.float64)).astype(np.float32)
    return begins_s + np.arange(count, dtype=np.float64) * INSTANT_S, solved


def _shares(first: Float64, last: Float64, count: int) -> scipy.sparse.coo_array:
    """(N, count): how much of each window, from `first` to `last` in instants, each instant is."""
    span = int(np.ceil((last - first).max())) + 1
    at = np.floor(first).astype(np.int64)[:, None] + np.arange(span)
    part = np.clip(np.minimum(last[:, None], at + 1) - np.maximum(first[:, None], at), 0, None)
    part = part / (last - first)[:, None]
    row: npt.NDArray[np.int64] = np.broadcast_to(np.arange(len(first))[:, None], at.shape)
    there = (part > 1e-9) & (at < count)
    return scipy.sparse.coo_array((part[there], (row[there], at[there])), shape=(len(first), count)).tocsr()
