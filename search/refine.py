"""From the window that was found to the stretch that is meant."""

from __future__ import annotations

import numpy as np

from motionseek.search.instants import INSTANT_S, instants
from motionseek.search.loaded import Opened
from motionseek.search.rerank import QueryTokens
from motionseek.types import Bool, Float32, Float64

REACH = 60
"""Windows to each side that are looked at first; more where the stretch goes on."""
HALF = 0.5
LEAST_S = 1.0


def grown(opened: Opened, row: int, probe: Float32, ground: float) -> tuple[float, float]:
    """Where the activity around a window begins and ends: the scores of the track's windows are resolved into instants
    (`instants`), and the stretch is what stays above the middle between the window's best instant and `ground`, what
    windows of this modality score on the average.

    probe: (V, D), of which a window takes the best. A narration is a stretch itself.
    """
    columns = opened.columns
    own = float(columns.start_s[row]), float(columns.end_s[row])
    if columns.modality[row] == "text":
        return own
    reach = REACH
    while True:
        at = np.arange(max(0, row - reach), min(len(columns.start_s), row + reach + 1))
        same = (
            (columns.recording[at] == columns.recording[row])
            & (columns.modality[at] == columns.modality[row])
            & (columns.person[at] == columns.person[row])
        )
        at = at[same]
        score = (opened.index.vectors(at) @ probe.T).max(axis=1, keepdims=True)
        begins_s, x = instants(columns.start_s[at], columns.end_s[at], score)
        inside = np.flatnonzero((begins_s + INSTANT_S > own[0]) & (begins_s < own[1]))
        peak = int(inside[x[inside, 0].argmax()])
        first, last = _run(x[:, 0] >= ground + HALF * (x[peak, 0] - ground), begins_s, peak)
        whole = len(at) < same.size or reach >= len(columns.start_s)
        if whole or (first > 0 and last < len(x) - 1):
            break
        reach *= 4
    start_s = max(float(begins_s[first]), float(columns.start_s[at[0]]))
    end_s = min(float(begins_s[last]) + INSTANT_S, float(columns.end_s[at].max()))
    if end_s - start_s < LEAST_S:
        middle_s = (start_s + end_s) / 2
        start_s, end_s = max(own[0], middle_s - LEAST_S / 2), min(own[1], middle_s + LEAST_S / 2)
    return start_s, end_s


def _run(high: Bool, begins_s: Float64, peak: int) -> tuple[int, int]:
    """First and last instant of the unbroken stretch around `peak`."""
    apart = np.diff(begins_s) > INSTANT_S + 1e-6
    low = ~high
    low[peak] = False
    before = np.flatnonzero(low[:peak] | apart[:peak]) if peak else np.zeros(0, int)
    after = np.flatnonzero(low[peak + 1 :] | apart[peak:])
    return (int(before[-1]) + 1 if len(before) else 0), (peak + int(after[0]) if len(after) else len(high) - 1)


def met(
    tokens: QueryTokens, stream: tuple[float, Float32, Bool], offset_s: float
) -> tuple[Float64, Float32, Float32, Bool]:
    """A query's tokens beside those of a stream at one offset: the query's times (T,), its tokens and the stream's
    (P, T, D), and which pairs are there (P, T), at the phase of the query that comes nearest to the stream's grid."""
    start_s, token, mask = stream
    steps = (tokens.start_s + offset_s - start_s) / tokens.token_s
    phase = int(np.rint((np.ceil(steps - 1e-6) - steps) * tokens.phases)) % tokens.phases
    first = round(steps + phase / tokens.phases)
    asked, there = tokens.token[phase], tokens.mask[phase]
    asked_at = np.flatnonzero(there.any(axis=0))
    asked, there = asked[:, : asked_at.max(initial=-1) + 1], there[:, : asked_at.max(initial=-1) + 1]
    at = first + np.arange(asked.shape[1])
    inside = (at >= 0) & (at < token.shape[1])
    at = np.clip(at, 0, token.shape[1] - 1)
    both = there & mask[:, at] & inside
    times_s = tokens.start_s + phase * tokens.hop_s + tokens.token_s * np.arange(asked.shape[1])
    return times_s, asked, token[:, at], both


def pairs(tokens: QueryTokens, stream: tuple[float, Float32, Bool], offset_s: float) -> tuple[Float64, Float32, Bool]:
    """What `met` gives, the tokens as their cosines (P, T), 0 where a pair is not there."""
    times_s, asked, token, both = met(tokens, stream, offset_s)
    cosine = np.where(both, (asked * token).sum(axis=-1), np.float32(0)).astype(np.float32)
    return times_s, cosine, both


def trimmed(times_s: Float64, cosine: Float32, both: Bool, token_s: float) -> tuple[float, float] | None:
    """The stretch of the query that really fits: the one whose instants score most in sum above half of what the
    better half of them score; None where nothing meets. Infinite where nothing is cut off. See `pairs`."""
    count = both.sum(axis=0)
    held = np.flatnonzero(count)
    if not len(held):
        return None
    score = cosine.sum(axis=0)[held] / count[held]
    gain = score - HALF * float(np.median(np.sort(score)[len(score) // 2 :]))
    total = np.concatenate([[0.0], np.cumsum(gain)])
    # The best stretch ends where the sum lies highest above its lowest point so far.
    lowest = np.minimum.accumulate(total)
    last = int((total[1:] - lowest[:-1]).argmax()) + 1
    first = int(total[:last].argmin())
    start_s = -np.inf if held[first] == 0 else float(times_s[held[first]])
    end_s = np.inf if held[last - 1] == len(times_s) - 1 else float(times_s[held[last - 1]]) + token_s
    return start_s, end_s
