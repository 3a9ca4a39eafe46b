"""Where a camera's own IMU lies against its own picture.

The gyroscope, integrated over exactly each interval between frames, must explain how the whole picture moves. At every
lag a linear map from the three gyro axes to the picture's motion is fitted on some blocks of time and judged on the one
left out, so the axes need not be known and chance is not rewarded. What counts is not how well the best lag fits but
by how much it beats all others: two recordings that both hold one big turn fit well at some lag, though not sharply.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import scipy

from motionseek.search.correlate import parabola
from motionseek.search.evidence import evidence
from motionseek.search.flow import ImageMotion
from motionseek.types import Alignment, Bool, Evidence, Float64, Imu

METHOD = "gyro x picture"
BLOCK_S = 1.25
"""Mean and slope are removed within a block: the gyro's bias and slow pans fall out, shaking stays."""
EVENED, EVENED_STEADIED = 0.75, 0.5
"""How far the picture's frequencies are made equally strong, from 0 to 1: all the way would raise noise too much, of
which more is in what a stabiliser left."""
EVENED_OVER = 5
"""Frequencies, half a period a block apart, whose strength is taken together."""
UP_TO_HZ = 8.0
"""Faster motion than this is mostly noise of the corners."""
COARSE_S, FINE_S = 0.0125, 0.004
STEADIED_S = 0.0025
"""Step for a picture whose steadying is added to the gyro's turning: the two cancel, so that a few ms tell."""
FINE_REACH_S = 0.028
ELSEWHERE_S = 0.35
RIDGE = 0.01
"""Of the mean power of the gyro axes."""
LIMIT = 2.0
"""A block weighs at most as much as this many median blocks."""
MIN_BLOCKS = 3
MIN_SHARE = 0.4
"""Least share of a stretch's blocks that must lie inside the gyro's span at a lag."""
CHANCE_BLOCKS = 1.0
"""Scores of few blocks are drawn to 0 as by this many more that fit nothing."""
FIRST_S = 60.0
"""Without a bound, offsets up to this are tried before all others."""
MAX_GYRO_GAP_S = 0.06
STRETCH_S = 30.0
"""Of longer recordings this much decides about the lag; the rest gives the drift."""
CONFIDENCE_AT_S = ((3.0, 0.25), (5.0, 0.22), (10.0, 0.15), (20.0, 0.10))
"""Seconds of picture that the gyro covers at the lag, and the confidence that is needed from there on; between them by
a straight line."""
PARTLY = 0.15
"""How much more is needed, times the share of the picture that it does not cover: many such lags are tried."""
MIN_PICTURE_S = 2.5
STILL_PICTURE = 0.004
STILL_GYRO_RPS = 0.01
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
MAX_DRIFT_ERROR = 1e-4
TRACK_REACH_S = 0.1
MIN_WINDOW_SHARE = 0.05
"""Of the motion of two successive blocks that the map of the whole stretch must explain, for their lag to count."""
LAGS_AT_ONCE = 2_000_000
"""Bound of lags × frames that are held in memory together."""


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


@dataclass(frozen=True, eq=False)
class Moments:
    """Second moments of M lags and K blocks, weighted. xx, xy: (M, K, 3, 3).   yy, valid: (M, K)."""

    xx: Float64
    xy: Float64
    yy: Float64
    valid: Bool


def _moments(blocks: Blocks, turning: Turning, lag_s: Float64) -> Moments:
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


def _maps(xx: Float64, xy: Float64) -> Float64:
    """Ridge regression: (..., 3, 3) gyro → picture."""
    ridge = RIDGE * np.trace(xx, axis1=-2, axis2=-1)[..., None, None] / 3 + 1e-12
    fitted: Float64 = np.linalg.solve(xx + ridge * np.eye(3), xy)
    return fitted


def _score(blocks: Blocks, turning: Turning, lag_s: Float64) -> Float64:
    """Share of the picture's motion that the gyro explains at each lag, every block judged by the map of the others.

    lag_s: (M,). Returns (M,), at most 1; -inf where too few blocks lie inside the gyro's span.
    """
    chunk = max(1, LAGS_AT_ONCE // max(blocks.there.size, 1))
    return np.concatenate(
        [_scored(_moments(blocks, turning, part)) for part in np.split(lag_s, range(chunk, len(lag_s), chunk))]
    )


def _scored(m: Moments) -> Float64:
    others = _maps(m.xx.sum(axis=1, keepdims=True) - m.xx, m.xy.sum(axis=1, keepdims=True) - m.xy)
    explained = _explained(others, m)
    count = m.valid.sum(axis=1)
    share = explained.sum(axis=1) / np.maximum(m.yy.sum(axis=1), 1e-12)
    least = max(MIN_BLOCKS, int(np.ceil(MIN_SHARE * m.valid.shape[1])))
    return np.where(count >= least, share * count / (count + CHANCE_BLOCKS), -np.inf)


def _explained(maps: Float64, m: Moments) -> Float64:
    """By how much each map reduces the squared error of its block, (M, K)."""
    cross = (maps * m.xy).sum(axis=(-1, -2))
    power = (maps * (m.xx @ maps)).sum(axis=(-1, -2))
    gain: Float64 = 2 * cross - power
    return gain


def align_camera(imu: Imu, motion: ImageMotion, *, max_offset_s: float | None = None) -> Alignment:
    """Align a camera's own IMU with the motion of its picture.

    max_offset_s: bound of |offset_s|; without one a minute either way is tried first, then every lag at which the two
    overlap for long enough.
    offset_s holds for the middle of the overlap. drift_ppm, by how many millionths it grows with the IMU's time, is
    given where the turning tells it to within 100 ppm. Refused, with the reason, where nothing turns, no lag stands
    out, or stretches of the recording disagree about it.
    """
    if np.isfinite(imu.gyro_rps).all(axis=1).sum() < 2:
        return _refused("the sensor has no gyroscope, which is what a picture's motion is compared with")
    turning = Turning.of(imu)
    if motion.duration_s < MIN_PICTURE_S or not motion.mask.any():
        return _refused(f"the picture can be followed for less than {MIN_PICTURE_S:g} s")
    blocks = Blocks.of(motion, min(BLOCK_S, motion.duration_s / 4))
    if np.nanstd(imu.gyro_rps, axis=0).max() < STILL_GYRO_RPS:
        return _refused("the sensor does not turn")
    if blocks.speed < STILL_PICTURE:
        return _refused("the picture does not move, though the sensor turns: it may be stabilised, or another camera's")
    alignment = _refused("the sensor and the picture do not overlap for long enough within the offsets allowed")
    # Clocks that nearly agree are the usual case, and all lags of hours take minutes.
    for bound_s in (FIRST_S, None) if max_offset_s is None else (max_offset_s,):
        curves = [c for part in _stretches(blocks) if (c := _search(part, turning, bound_s)) is not None]
        if curves:
            best = max(curves, key=lambda curve: curve.confidence)
            alignment = _judged(blocks, turning, best)
            alignment = replace(alignment, evidence=_shown(imu, motion, best, alignment))
        if alignment.accepted:
            break
    return alignment


def _shown(imu: Imu, motion: ImageMotion, curve: _Curve, found: Alignment) -> Evidence:
    """The scores, and how fast the sensor and the picture turn; of a steadied picture what the camera did is added."""
    offset_s = float(curve.lag_s[curve.peak]) if found.offset_s is None else found.offset_s
    picture = motion.rate if motion.steadying is None else motion.steadying.rate
    seen = np.where(motion.mask, np.linalg.norm(picture, axis=1), np.nan)
    turned = np.linalg.norm(imu.gyro_rps.astype(np.float64), axis=1)
    media = (motion.t_s[:-1] + motion.t_s[1:]) / 2, seen
    return evidence((curve.lag_s, curve.score), (imu.gyro_t_s, turned), media, offset_s)


def _refused(reason: str) -> Alignment:
    return Alignment(None, None, 0.0, (), METHOD, {}, reason)


def _stretches(blocks: Blocks) -> list[Blocks]:
    """Up to three stretches of STRETCH_S in which the picture moves most; all of it where it is not longer."""
    count = round(STRETCH_S / BLOCK_S)
    if len(blocks) <= 1.5 * count:
        return [blocks]
    power = np.convolve((blocks.y**2).sum(axis=(1, 2)) * blocks.weight, np.ones(count), mode="valid")
    chosen: list[int] = []
    for begin in np.argsort(-power, kind="stable"):
        if all(abs(begin - other) >= count for other in chosen):
            chosen.append(int(begin))
        if len(chosen) == 3:
            break
    return [blocks.take(slice(begin, begin + count)) for begin in chosen]


@dataclass(frozen=True, eq=False)
class _Curve:
    """Scores (M,) of one stretch over lags (M,)."""

    blocks: Blocks
    lag_s: Float64
    score: Float64

    @property
    def peak(self) -> int:
        return int(self.score.argmax())

    @property
    def confidence(self) -> float:
        far = self.score[np.abs(self.lag_s - self.lag_s[self.peak]) > ELSEWHERE_S]
        return float(np.clip(self.score[self.peak] - max(float(far.max(initial=0.0)), 0.0), 0, 1))

    def aliases_s(self) -> tuple[float, ...]:
        """Other lags nearly as good, best first, at most five."""
        taken = [float(self.lag_s[self.peak])]
        for at in np.argsort(-self.score, kind="stable"):
            if self.score[at] <= self.score[self.peak] - CONFIDENCE_AT_S[-1][1] or len(taken) == 6:
                break
            if all(abs(self.lag_s[at] - lag) > ELSEWHERE_S for lag in taken):
                taken.append(float(self.lag_s[at]))
        return tuple(taken[1:])


def _search(blocks: Blocks, turning: Turning, max_offset_s: float | None) -> _Curve | None:
    """All lags, COARSE_S apart; None where none is allowed."""
    step_s = COARSE_S if blocks.into is None else STEADIED_S
    first_s, last_s = float(blocks.edge_s[0, 0, 0]), float(blocks.edge_s[blocks.there].max())
    least_s = MIN_SHARE * (last_s - first_s)
    low, high = first_s + least_s - turning.t_s[-1], last_s - least_s - turning.t_s[0]
    if max_offset_s is not None:
        low, high = max(low, -max_offset_s), min(high, max_offset_s)
    # Multiples of the step, so that the answer does not depend on where the streams begin.
    lag_s = np.arange(np.ceil(low / step_s), np.floor(high / step_s) + 1) * step_s
    if not len(lag_s):
        return None
    score = _score(blocks, turning, lag_s)
    if not np.isfinite(score).any():
        return None
    if blocks.into is not None:
        # So narrow a peak is cut off by its own grid.
        near_s = lag_s[score.argmax()] + np.linspace(-step_s, step_s, 11)
        lag_s, score = np.append(lag_s, near_s), np.append(score, _score(blocks, turning, near_s))
    return _Curve(blocks, lag_s, score)


def _judged(blocks: Blocks, turning: Turning, curve: _Curve) -> Alignment:
    confidence, aliases_s = curve.confidence, curve.aliases_s()
    at = _moments(curve.blocks, turning, curve.lag_s[curve.peak : curve.peak + 1])
    parts = {"camera": float(curve.score[curve.peak])}
    seconds = np.ptp(curve.blocks.edge_s, axis=-1).sum(axis=-1, where=curve.blocks.there)
    covered_s = float(seconds[at.valid[0]].sum())
    needed = float(np.interp(covered_s, *np.array(CONFIDENCE_AT_S).T)) + PARTLY * (1 - covered_s / float(seconds.sum()))
    if confidence < needed:
        reason = (
            f"at no offset does the gyroscope explain the picture clearly better than at others (confidence "
            f"{confidence:.2f}, {needed:.2f} is needed): another camera's, stabilised, or hardly turned"
        )
        peak_s = float(curve.lag_s[curve.peak])
        return Alignment(None, None, confidence, (peak_s, *aliases_s)[:5], METHOD, parts, reason)
    fine_s = curve.lag_s[curve.peak] + np.arange(-FINE_REACH_S, FINE_REACH_S + 1e-9, FINE_S)
    score = _score(curve.blocks, turning, fine_s)
    offset_s = float(fine_s[0] + parabola(score) * FINE_S)
    track = _tracked(blocks, turning, curve.blocks, offset_s)
    if reason := track.doubt(blocks.frame_s):
        return Alignment(None, None, confidence, (offset_s, *aliases_s)[:5], METHOD, parts, reason)
    if track.slope_error > MAX_DRIFT_ERROR:
        return Alignment(offset_s, None, confidence, aliases_s, METHOD, parts)
    drift_ppm, error_ppm = 1e6 * track.slope, 1e6 * track.slope_error
    return Alignment(track.middle_offset_s, drift_ppm, confidence, aliases_s, METHOD, parts, drift_error_ppm=error_ppm)


@dataclass(frozen=True)
class _Track:
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


def _tracked(blocks: Blocks, turning: Turning, stretch: Blocks, offset_s: float) -> _Track:
    """Follow the lag from the stretch where it was found outwards, with the map that was found there."""
    at = _moments(stretch, turning, np.array([offset_s]))
    fitted = _maps(at.xx.sum(axis=1), at.xy.sum(axis=1))[0]
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
            return _Track(offset_s, 0.0, np.inf, float(near_it.sum() / max(moving.sum(), 1)))
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
    return _Track(at_middle_s, float(slope), error, agreeing, _longest_run(off), *_jump(middle_s, lag_s))


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
        m = _moments(blocks.take(rows), turning, guess_s[rows] + steps_s[:, None])
        gains.append(_explained(fitted, m))
        powers.append(m.yy.max(axis=0))
        valids.append(m.valid.all(axis=0))
    gain, power, valid = np.concatenate(gains, axis=1), np.concatenate(powers), np.concatenate(valids)
    pairs = valid[1:] & valid[:-1]
    gain, power = gain[:, 1:] + gain[:, :-1], power[1:] + power[:-1]
    position = parabola(gain.T) if len(pairs) else np.empty(0)
    inside = (position > 1) & (position < len(steps_s) - 2)
    moving = pairs & (power >= MOVING * power[pairs].mean()) if pairs.any() else pairs
    clear = moving & inside & (gain.max(axis=0, initial=-np.inf) > MIN_WINDOW_SHARE * power)
    guess = (guess_s[1:] + guess_s[:-1]) / 2
    middle_s = (blocks.middle_s[1:] + blocks.middle_s[:-1]) / 2
    return middle_s, np.where(clear, guess + steps_s[0] + position * FINE_S, np.nan), moving
