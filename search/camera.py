"""Where a camera's own IMU lies against its own picture.

The gyroscope, integrated over exactly each interval between frames, must explain how the whole picture moves. At every
lag a linear map from the three gyro axes to the picture's motion is fitted on some blocks of time and judged on the one
left out, so the axes need not be known and chance is not rewarded. What counts is not how well the best lag fits but
by how much it beats all others: two recordings that both hold one big turn fit well at some lag, though not sharply.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from motionseek.search.correlate import parabola
from motionseek.search.evidence import evidence
from motionseek.search.flow import ImageMotion
from motionseek.search.gyro_fit import MIN_SHARE, moments, scores
from motionseek.search.lag_track import FINE_S, STRETCH_S, tracked
from motionseek.search.picture_blocks import BLOCK_S, Blocks
from motionseek.search.turning import Turning
from motionseek.types import Alignment, Evidence, Float64, Imu

METHOD = "gyro x picture"
COARSE_S = 0.0125
STEADIED_S = 0.0025
"""Step for a picture whose steadying is added to the gyro's turning: the two cancel, so that a few ms tell."""
FINE_REACH_S = 0.028
ELSEWHERE_S = 0.35
FIRST_S = 60.0
"""Without a bound, offsets up to this are tried before all others."""
CONFIDENCE_AT_S = ((3.0, 0.25), (5.0, 0.22), (10.0, 0.15), (20.0, 0.10))
"""Seconds of picture that the gyro covers at the lag, and the confidence that is needed from there on; between them by
a straight line."""
PARTLY = 0.15
"""How much more is needed, times the share of the picture that it does not cover: many such lags are tried."""
MIN_PICTURE_S = 2.5
STILL_PICTURE = 0.004
STILL_GYRO_RPS = 0.01
MAX_DRIFT_ERROR = 1e-4


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
    score = scores(blocks, turning, lag_s)
    if not np.isfinite(score).any():
        return None
    if blocks.into is not None:
        # So narrow a peak is cut off by its own grid.
        near_s = lag_s[score.argmax()] + np.linspace(-step_s, step_s, 11)
        lag_s, score = np.append(lag_s, near_s), np.append(score, scores(blocks, turning, near_s))
    return _Curve(blocks, lag_s, score)


def _judged(blocks: Blocks, turning: Turning, curve: _Curve) -> Alignment:
    confidence, aliases_s = curve.confidence, curve.aliases_s()
    at = moments(curve.blocks, turning, curve.lag_s[curve.peak : curve.peak + 1])
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
    score = scores(curve.blocks, turning, fine_s)
    offset_s = float(fine_s[0] + parabola(score) * FINE_S)
    track = tracked(blocks, turning, curve.blocks, offset_s)
    if reason := track.doubt(blocks.frame_s):
        return Alignment(None, None, confidence, (offset_s, *aliases_s)[:5], METHOD, parts, reason)
    if track.slope_error > MAX_DRIFT_ERROR:
        return Alignment(offset_s, None, confidence, aliases_s, METHOD, parts)
    drift_ppm, error_ppm = 1e6 * track.slope, 1e6 * track.slope_error
    return Alignment(track.middle_offset_s, drift_ppm, confidence, aliases_s, METHOD, parts, drift_error_ppm=error_ppm)
