"""How much of a picture's motion a gyroscope explains at a lag: by linear maps of its axes, judged on other blocks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from motionseek.search.picture_blocks import Blocks
from motionseek.search.turning import Turning
from motionseek.types import Bool, Float64

RIDGE = 0.01
"""Of the mean power of the gyro axes."""
MIN_BLOCKS = 3
MIN_SHARE = 0.4
"""Least share of a stretch's blocks that must lie inside the gyro's span at a lag."""
CHANCE_BLOCKS = 1.0
"""Scores of few blocks are drawn to 0 as by this many more that fit nothing."""
LAGS_AT_ONCE = 2_000_000
"""Bound of lags × frames that are held in memory together."""


@dataclass(frozen=True, eq=False)
class Moments:
    """Second moments of M lags and K blocks, weighted. xx, xy: (M, K, 3, 3).   yy, valid: (M, K)."""

    xx: Float64
    xy: Float64
    yy: Float64
    valid: Bool


def moments(blocks: Blocks, turning: Turning, lag_s: Float64) -> Moments:
    """lag_s: (M,) or, where each block has lags of its own, (M, K): added to the gyro's time."""
    lag = lag_s[:, None] if lag_s.ndim == 1 else lag_s
    x, inside = turning.mean_rate(blocks.edge_s - lag[..., None, None])
    valid: Bool = np.asarray((inside | ~blocks.there).all(axis=-1))
    if blocks.into is not None and blocks.added is not None:
        x = (blocks.into @ x[..., None])[..., 0] + blocks.added
    x = np.swapaxes(blocks.onto, -1, -2) @ np.where(blocks.there[..., None], x, 0.0)
    weight = np.where(valid, blocks.weight, 0.0)
    xt = np.swapaxes(x, -1, -2)
    xx, xy = (xt @ other * weight[..., None, None] for other in (x, blocks.y))
    return Moments(xx, xy, (blocks.y**2).sum(axis=(1, 2)) * weight, valid)


def maps(xx: Float64, xy: Float64) -> Float64:
    """Ridge regression: (..., 3, 3) gyro → picture."""
    ridge = RIDGE * np.trace(xx, axis1=-2, axis2=-1)[..., None, None] / 3 + 1e-12
    fitted: Float64 = np.linalg.solve(xx + ridge * np.eye(3), xy)
    return fitted


def scores(blocks: Blocks, turning: Turning, lag_s: Float64) -> Float64:
    """Share of the picture's motion that the gyro explains at each lag, every block judged by the map of the others.

    lag_s: (M,). Returns (M,), at most 1; -inf where too few blocks lie inside the gyro's span.
    """
    chunk = max(1, LAGS_AT_ONCE // max(blocks.there.size, 1))
    return np.concatenate(
        [_scored(moments(blocks, turning, part)) for part in np.split(lag_s, range(chunk, len(lag_s), chunk))]
    )


def _scored(m: Moments) -> Float64:
    others = maps(m.xx.sum(axis=1, keepdims=True) - m.xx, m.xy.sum(axis=1, keepdims=True) - m.xy)
    explained = gain(others, m)
    count = m.valid.sum(axis=1)
    share = explained.sum(axis=1) / np.maximum(m.yy.sum(axis=1), 1e-12)
    least = max(MIN_BLOCKS, int(np.ceil(MIN_SHARE * m.valid.shape[1])))
    return np.where(count >= least, share * count / (count + CHANCE_BLOCKS), -np.inf)


def gain(fitted: Float64, m: Moments) -> Float64:
    """By how much each map reduces the squared error of its block, (M, K)."""
    cross = (fitted * m.xy).sum(axis=(-1, -2))
    power = (fitted * (m.xx @ fitted)).sum(axis=(-1, -2))
    gained: Float64 = 2 * cross - power
    return gained
