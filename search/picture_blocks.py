"""The motion of a picture, cut into blocks of time within which a gyroscope is compared with it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy

from motionseek.search.flow import ImageMotion
from motionseek.types import Bool, Float64

BLOCK_S = 1.25
"""Mean and slope are removed within a block: the gyro's bias and slow pans fall out, shaking stays."""
EVENED, EVENED_STEADIED = 0.75, 0.5
"""How far the picture's frequencies are made equally strong, from 0 to 1: all the way would raise noise too much, of
which more is in what a stabiliser left."""
EVENED_OVER = 5
"""Frequencies, half a period a block apart, whose strength is taken together."""
UP_TO_HZ = 8.0
"""Faster motion than this is mostly noise of the corners."""
LIMIT = 2.0
"""A block weighs at most as much as this many median blocks."""


@dataclass(frozen=True, eq=False)
class Blocks:
    """Frame pairs cut into K blocks of at most F pairs.

    edge_s: (K, F, 2) start and end of each pair.   there: (K, F).   weight: (K,).   speed: of the picture, on average.
    onto: (K, F, Q) waves of Q frequencies within a block, without its mean and slope, each the larger the less the
    picture moves at its frequency: a walk's steps are alike at many lags, what shakes beside them is not.
    y: (K, Q, 3) picture motion along these.
    into: (K, F, 3, 3) and added: (K, F, 3) what a stabiliser did, see Steadying; None where the picture is as filmed.
    """

    edge_s: Float64
    y: Float64
    onto: Float64
    there: Bool
    weight: Float64
    speed: float
    into: Float64 | None = None
    added: Float64 | None = None

    @classmethod
    def of(cls, motion: ImageMotion, block_s: float) -> Blocks:
        start_s, end_s = motion.t_s[:-1], motion.t_s[1:]
        block = np.floor((start_s - start_s[0]) / block_s).astype(int)
        last = int(block[-1])
        if end_s[-1] - (start_s[0] + last * block_s) < 0.7 * block_s:
            block = np.minimum(block, max(last - 1, 0))
        kept = motion.mask
        block, rows = block[kept], np.flatnonzero(kept)
        size = np.bincount(block, minlength=int(block.max(initial=0)) + 1)
        slot = np.arange(len(block)) - np.repeat(np.cumsum(size) - size, size)
        shape = (len(size), max(int(size.max()), 1))
        at = np.zeros(shape, int)
        there = np.zeros(shape, np.bool_)
        at[block, slot], there[block, slot] = rows, True
        full = size >= 0.6 * np.median(size[size > 0]) if size.any() else size > 0
        at, there = at[full], there[full]
        edge_s = np.stack([start_s[at], end_s[at]], axis=-1)
        waves = _waves(edge_s.mean(axis=-1), there, block_s)
        y = np.swapaxes(waves, -1, -2) @ np.where(there[..., None], motion.rate[at], 0.0)
        speed = float(np.sqrt((y**2).sum() / max(there.sum(), 1)))
        even = _evened(y, EVENED if motion.steadying is None else EVENED_STEADIED)
        onto, y = waves * even, y * even[:, None]
        power = (y**2).sum(axis=(1, 2))
        limit = LIMIT * float(np.median(power)) if len(power) else 0.0
        weight = np.minimum(1.0, limit / np.maximum(power, 1e-12))
        if motion.steadying is None:
            return cls(edge_s, y, onto, there, weight, speed)
        return cls(edge_s, y, onto, there, weight, speed, motion.steadying.into[at], motion.steadying.rate[at])

    def __len__(self) -> int:
        return len(self.y)

    def take(self, rows: slice | Bool) -> Blocks:
        into, added = (None if x is None else x[rows] for x in (self.into, self.added))
        arrays = self.edge_s[rows], self.y[rows], self.onto[rows]
        return Blocks(*arrays, self.there[rows], self.weight[rows], self.speed, into, added)

    @property
    def frame_s(self) -> float:
        """Usual interval between frames."""
        return float(np.median(np.diff(self.edge_s, axis=-1)[..., 0][self.there]))

    @property
    def middle_s(self) -> Float64:
        """(K,) middle of each block."""
        middle: Float64 = (self.edge_s[:, 0, 0] + np.where(self.there, self.edge_s[..., 1], -np.inf).max(axis=1)) / 2
        return middle


def _waves(t: Float64, there: Bool, block_s: float) -> Float64:
    """Cosines of 1, 1.5, 2 … periods a block, up to UP_TO_HZ, over the entries that are there, orthonormal and without
    constant and slope: (K, F) → (K, F, Q)."""
    # More waves than entries have no meaning.
    count = max(1, min(round(2 * block_s * UP_TO_HZ), int(there.sum(axis=1).min(initial=there.shape[1])) - 1) - 1)
    since = np.where(there, (t - t[:, :1]) / block_s, 0.0)
    turns = np.pi * np.arange(2, count + 2)
    columns = [np.ones((*t.shape, 1)), since[..., None], np.cos(since[..., None] * turns)]
    waves: Float64 = np.linalg.qr(np.concatenate(columns, axis=-1) * there[..., None])[0][..., 2:]
    return waves


def _evened(y: Float64, how_far: float) -> Float64:
    """(K, Q, 3) → (Q,) by what its frequencies are to be multiplied to be more equally strong."""
    power = scipy.ndimage.uniform_filter1d((y**2).mean(axis=(0, 2)), min(EVENED_OVER, y.shape[1]), mode="nearest")
    factor: Float64 = np.maximum(power, 1e-6 * power.max(initial=0.0) + 1e-18) ** (-how_far / 2)
    return factor
