"""How two clocks run apart: a straight line through the offsets of successive windows.

A constant offset blurs where clocks drift: at 500 ppm two hours end 3.6 s apart. So the offset is looked for in windows
of 20 s, first as the line along which their correlations sum up to most, whichever way single windows point, then by
each window's own peak next to that line, through which a robust line (Theil-Sen) is laid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy

from motionseek.search.correlate import parabola, pearson
from motionseek.search.limbs import RATE_HZ
from motionseek.search.traces import Traces, pooled
from motionseek.types import Float64

Int = npt.NDArray[np.int64]

MAX_DRIFT = 1e-3
"""Clocks that run further apart than this are broken; quartz keeps within a tenth of it."""
FROM_S = 60.0
WINDOW_S = 20.0
NEAR_S = 0.3
"""How far from the line a window's own peak is looked for."""
ELSEWHERE_S = 0.35
MIN_WINDOW_R = 0.3
MIN_WINDOWS = 4
FLOOR_S = 2e-3
"""Error of a window's offset, at least."""
SLOWER, MUCH_SLOWER = 4, 8
"""Windows' peaks are looked for at RATE_HZ / 4 and the line at RATE_HZ / 8: what is correlated varies over 0.1 s."""
WINDOWS_AT_ONCE = 64


@dataclass(frozen=True)
class Line:
    """overlap_s: its length.   offset_s: at the middle of the overlap.   slope: by how much it grows in a second of the
    sensor's time; error: its standard deviation.   score: mean correlation of the windows along it.   rival: of the
    best line elsewhere."""

    overlap_s: float
    offset_s: float
    slope: float
    error: float
    score: float
    rival: float


def follow(traces: Traces, offset_s: float) -> Line | None:
    """The line near an offset, or None where the overlap is shorter than FROM_S or too few windows show it.

    traces: `Traces.detail`.   offset_s: somewhere on the line.
    """
    shift_s = offset_s + traces.sensor_start_s - traces.limb_start_s
    first_s = max(0.0, -shift_s)
    last_s = min(traces.sensor.shape[1] / traces.rate_hz, traces.limb.shape[1] / traces.rate_hz - shift_s)
    if last_s - first_s < FROM_S:
        return None
    begin_s = np.arange(first_s, last_s - WINDOW_S, WINDOW_S / 2)
    half_s = (last_s - first_s) / 2
    from_middle_s = begin_s + WINDOW_S / 2 - first_s - half_s
    slope, shift_s, score, rival = _steepest(traces, begin_s[::2], from_middle_s[::2], shift_s, half_s)
    guess_s = shift_s + slope * from_middle_s
    found_s, r = _own_peaks(traces, begin_s, guess_s)
    clear = (r > MIN_WINDOW_R) & (np.abs(found_s - guess_s) < NEAR_S - SLOWER / RATE_HZ)
    if clear.sum() < MIN_WINDOWS:
        return None
    found_s, at_s = found_s[clear], from_middle_s[clear]
    slope, shift_s = (float(x) for x in scipy.stats.theilslopes(found_s, at_s, method="joint")[:2])
    away_s = np.abs(found_s - shift_s - slope * at_s)
    # 1.48 makes a median distance a standard deviation; windows overlap by half, so half of them are independent.
    spread_s = max(1.48 * float(np.median(away_s)), FLOOR_S)
    error = spread_s / max(float(at_s.std()) * float(np.sqrt(len(at_s) / 2)), 1e-9)
    return Line(2 * half_s, shift_s - traces.sensor_start_s + traces.limb_start_s, slope, error, score, rival)


def reach_s(overlap_s: float) -> float:
    """How far from one of its offsets a line may lie anywhere, and its rivals."""
    return MAX_DRIFT * overlap_s + NEAR_S + ELSEWHERE_S


def _steepest(
    traces: Traces, begin_s: Float64, from_middle_s: Float64, shift_s: float, half_s: float
) -> tuple[float, float, float, float]:
    """Slope, shift at the middle, score and rival of the line with the highest mean correlation."""
    slow = traces.slower(MUCH_SLOWER)
    reach = int(np.ceil(reach_s(2 * half_s) * slow.rate_hz))
    shift = round(shift_s * slow.rate_hz)
    score = _windows(slow, begin_s, np.full(len(begin_s), shift), reach)
    slopes = np.arange(-1, 1 + 1e-9, min(1.0, 1 / max(slow.rate_hz * MAX_DRIFT * half_s, 1e-9))) * MAX_DRIFT
    steps = np.rint(np.multiply.outer(slopes, from_middle_s * slow.rate_hz)).astype(np.int64)
    # Lags beyond the table count as no correlation.
    most = int(np.abs(steps).max(initial=0))
    padded = np.pad(score, ((0, 0), (most, most)))
    column, rows = np.arange(2 * reach + 1), np.arange(len(begin_s))[:, None]
    total = np.stack([padded[rows, most + step[:, None] + column].mean(axis=0) for step in steps])
    s, m = np.unravel_index(int(total.argmax()), total.shape)
    elsewhere = np.abs(column - m) > ELSEWHERE_S * slow.rate_hz
    rival = float(total[:, elsewhere].max(initial=0.0))
    at_s = (shift - reach + float(parabola(total[s]))) / slow.rate_hz
    return float(slopes[s]), at_s, float(total[s, m]), rival


def _own_peaks(traces: Traces, begin_s: Float64, guess_s: Float64) -> tuple[Float64, Float64]:
    """Each window's shift near the guessed one, and its correlation there, (K,)."""
    slow = traces.slower(SLOWER)
    reach, guess = int(np.ceil(NEAR_S * slow.rate_hz)), np.rint(guess_s * slow.rate_hz).astype(np.int64)
    score = _windows(slow, begin_s, guess, reach)
    return (guess - reach + parabola(score)) / slow.rate_hz, score.max(axis=1)


def _windows(traces: Traces, begin_s: Float64, shift: Int, reach: int) -> Float64:
    """Correlation of K windows of the sensors with the limbs at lags shift (K,) ± reach, (K, 2 reach + 1)."""
    window = round(WINDOW_S * traces.rate_hz)
    begin = np.rint(begin_s * traces.rate_hz).astype(np.int64)
    found = []
    for part in np.split(np.arange(len(begin)), range(WINDOWS_AT_ONCE, len(begin), WINDOWS_AT_ONCE)):
        at = np.minimum(begin[part, None] + np.arange(window), traces.sensor.shape[1] - 1)
        limb_at = (begin + shift)[part, None] - reach + np.arange(window + 2 * reach)
        held = (limb_at >= 0) & (limb_at < traces.limb.shape[1])
        limb_at = np.clip(limb_at, 0, traces.limb.shape[1] - 1)
        sensor, limb = traces.sensor[:, at], traces.limb[:, limb_at]
        r, count = pearson(sensor, traces.sensor_mask[:, at], limb, traces.limb_mask[:, limb_at] & held)
        found.append(pooled(r, count, traces.rate_hz)[:, window - 1 : window + 2 * reach])
    return np.concatenate(found)
