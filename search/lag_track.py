"""A camera's lag followed along a recording: its drift, and whether one line holds for all of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy

from motionseek.search.correlate import parabola
from motionseek.search.gyro_fit import LAGS_AT_ONCE, gain, maps, moments
from motionseek.search.picture_blocks import BLOCK_S, Blocks
from motionseek.search.turning import Turning
from motionseek.types import Bool, Float64

FINE_S = 0.004
STRETCH_S = 30.0
"""Of longer recordings this much decides about the lag; the rest gives the drift."""
NEAR_S = 0.02
"""Two successive blocks agree with the rest where their own best lag lies this near."""
MIN_AGREEING = 0.6
"""Least share of them, among those that move. It tells chance from truth better than the confidence does: a false lag
is carried by a few blocks."""
MAX_JUMP = 0.6
"""Of a frame's interval: where the lag changes by more from one stretch to the next, frames are missing or doubled."""
JUMP_OVER = 3
"""Windows on each side that such a change is judged by."""
MAX_RUN = 0.2
"""Of the windows that move: where two or more in a row, and more than this share, lie off the line, time was lost."""
FLOOR_S = 1e-3
"""Error of one of them, at least: parallax and the like shift neighbours together."""
MOVING = 0.3
"""Of the mean power: less is taken for stillness, which tells no lag."""
MAX_DRIFT = 4e-3
TRACK_REACH_S = 0.1
MIN_WINDOW_SHARE = 0.05
"""Of the motion of two successive blocks that the map of the whole stretch must explain, for their lag to count."""


@dataclass(frozen=True)
class Track:
    """The lag's line over time, and how the windows that move lie to it.

    agreeing: share that lies near it.   run: longest row of successive ones that do not, as a share.   jump_s: the
    largest change of the lag from JUMP_OVER windows to the next ones, at jump_at_s.
    """

    middle_offset_s: float
    slope: float
    slope_error: float
    agreeing: float
    run: float = 0.0
    jump_s: float = 0.0
    jump_at_s: float = 0.0

    def doubt(self, frame_s: float) -> str:
        """Why one line does not hold for the recording, "" where it does."""
        if self.agreeing < MIN_AGREEING or self.run > MAX_RUN or abs(self.slope) > MAX_DRIFT:
            return (
                f"only {self.agreeing:.0%} of its stretches agree about the offset (drift {1e6 * self.slope:+.0f} "
                "ppm): frames may be missing or doubled, or the sensor is another camera's"
            )
        if abs(self.jump_s) > MAX_JUMP * frame_s:
            return (
                f"the offset jumps by {1e3 * self.jump_s:+.0f} ms at {self.jump_at_s:.1f} s of the picture: frames are "
                "missing or doubled there, so that the file's times are wrong"
            )
        return ""


def tracked(blocks: Blocks, turning: Turning, stretch: Blocks, offset_s: float) -> Track:
    """Follow the lag from the stretch where it was found outwards, with the map that was found there."""
    at = moments(stretch, turning, np.array([offset_s]))
    fitted = maps(at.xx.sum(axis=1), at.xy.sum(axis=1))[0]
    anchor_s = float(stretch.middle_s.mean())
    reach_s = max(STRETCH_S, float(np.ptp(stretch.middle_s)) / 2 + BLOCK_S)
    slope, at_anchor_s = 0.0, offset_s
    while True:
        near = np.abs(blocks.middle_s - anchor_s) <= reach_s
        part = blocks.take(near)
        guess_s = at_anchor_s + slope * (part.middle_s - anchor_s)
        middle_s, lag_s, moving = _window_lags(part, turning, fitted, guess_s)
        told = np.isfinite(lag_s)
        if told.sum() < 3:
            near_it = np.abs(lag_s[told] - offset_s) < NEAR_S
            return Track(offset_s, 0.0, np.inf, float(near_it.sum() / max(moving.sum(), 1)))
        slope, intercept = scipy.stats.theilslopes(lag_s[told], middle_s[told] - anchor_s)[:2]
        at_anchor_s = float(intercept)
        if near.all():
            break
        reach_s *= 3
    away_s = np.abs(lag_s - at_anchor_s - slope * (middle_s - anchor_s))
    off = ~(away_s[moving] < NEAR_S)
    middle_s, lag_s, away_s = middle_s[told], lag_s[told], away_s[told]
    # Windows overlap by half: half of them are independent. 1.48 makes a median distance a standard deviation.
    error = max(1.48 * float(np.median(away_s)), FLOOR_S) / max(float(middle_s.std()) * np.sqrt(len(lag_s) / 2), 1e-9)
    overlap_s = float(middle_s.min() + middle_s.max()) / 2
    agreeing = float((~off).sum() / max(len(off), 1))
    at_middle_s = float(at_anchor_s + slope * (overlap_s - anchor_s))
    return Track(at_middle_s, float(slope), error, agreeing, _longest_run(off), *_jump(middle_s, lag_s))


def _longest_run(off: Bool) -> float:
    """The longest row of True as a share; 0 for a single one."""
    ends = np.flatnonzero(np.diff(np.concatenate([[False], off, [False]])))
    longest = int((ends[1::2] - ends[::2]).max(initial=0))
    return longest / len(off) if longest > 1 else 0.0


def _jump(middle_s: Float64, lag_s: Float64) -> tuple[float, float]:
    """The largest change of the median lag from up to JUMP_OVER windows before one to as many after it, and when."""
    count = len(lag_s)
    if count < 5:
        return 0.0, 0.0
    at = np.arange(2, count - 2)
    step = np.arange(1, JUMP_OVER + 1)

    def median(rows: npt.NDArray[np.int64]) -> Float64:
        held = (rows >= 0) & (rows < count)
        values: Float64 = np.nanmedian(np.where(held, lag_s[np.clip(rows, 0, count - 1)], np.nan), axis=1)
        return values

    change = median(at[:, None] + step) - median(at[:, None] - step)
    largest = int(np.abs(change).argmax())
    return float(change[largest]), float(middle_s[at[largest]])


def _window_lags(blocks: Blocks, turning: Turning, fitted: Float64, guess_s: Float64) -> tuple[Float64, Float64, Bool]:
    """Middles and lags of pairs of successive blocks, near guess_s (K,), NaN where a pair shows none; which pairs
    move."""
    steps_s = np.arange(-TRACK_REACH_S, TRACK_REACH_S + 1e-9, FINE_S)
    gains, powers, valids = [], [], []
    chunk = max(1, LAGS_AT_ONCE // (len(steps_s) * blocks.there.shape[1]))
    for begin in range(0, len(blocks), chunk):
        rows = slice(begin, begin + chunk)
        m = moments(blocks.take(rows), turning, guess_s[rows] + steps_s[:, None])
        gains.append(gain(fitted, m))
        powers.append(m.yy.max(axis=0))
        valids.append(m.valid.all(axis=0))
    gained, power, valid = np.concatenate(gains, axis=1), np.concatenate(powers), np.concatenate(valids)
    pairs = valid[1:] & valid[:-1]
    gained, power = gained[:, 1:] + gained[:, :-1], power[1:] + power[:-1]
    position = parabola(gained.T) if len(pairs) else np.empty(0)
    inside = (position > 1) & (position < len(steps_s) - 2)
    moving = pairs & (power >= MOVING * power[pairs].mean()) if pairs.any() else pairs
    clear = moving & inside & (gained.max(axis=0, initial=-np.inf) > MIN_WINDOW_SHARE * power)
    guess = (guess_s[1:] + guess_s[:-1]) / 2
    middle_s = (blocks.middle_s[1:] + blocks.middle_s[:-1]) / 2
    return middle_s, np.where(clear, guess + steps_s[0] + position * FINE_S, np.nan), moving
