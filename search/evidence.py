"""What an alignment was judged by, cut down to what a picture shows."""

from __future__ import annotations

import numpy as np

from motionseek.types import Evidence, Float64

POINTS = 600
STRETCH_S = 20.0
"""The liveliest so many seconds of the media are kept."""
NEAR_S = 30.0
"""Where clocks lie further apart, only the sensor's stretch that meets the media's is kept."""


def thinned(offset_s: Float64, score: Float64) -> tuple[Float64, Float64]:
    """The finite scores, in order, of each of POINTS stretches only the highest: peaks are what one looks for."""
    order = np.argsort(offset_s, kind="stable")
    order = order[np.isfinite(score[order])]
    offset_s, score = offset_s[order], score[order]
    if len(score) <= POINTS:
        return offset_s, score
    parts = np.array_split(np.arange(len(score)), POINTS)
    best = np.array([part[score[part].argmax()] for part in parts])
    return offset_s[best], score[best]


def evidence(
    curve: tuple[Float64, Float64], sensor: tuple[Float64, Float64], media: tuple[Float64, Float64], offset_s: float
) -> Evidence:
    """curve: offsets and scores (M,).   sensor, media: times and values (L,), NaN where there is none, each on its own
    clock.   offset_s: the chosen one, or the likeliest."""
    media_t_s, value = media
    first_s = _liveliest(media_t_s, np.nan_to_num(value))
    last_s = first_s + STRETCH_S
    shift_s = min(0.0, offset_s), max(0.0, offset_s)
    if abs(offset_s) > NEAR_S:
        shift_s = offset_s, offset_s
    t_s, x = sensor
    return Evidence(
        *thinned(*curve),
        *_sampled(t_s, x, first_s - shift_s[1], last_s - shift_s[0]),
        *_sampled(media_t_s, value, first_s, last_s),
    )


def _liveliest(t_s: Float64, value: Float64) -> float:
    """Where the stretch with the most movement begins."""
    total = np.concatenate([[0.0], np.cumsum((value - value.mean()) ** 2)])
    begins = t_s[t_s <= max(t_s[-1] - STRETCH_S, t_s[0])]
    ends = np.searchsorted(t_s, begins + STRETCH_S)
    return float(begins[(total[ends] - total[np.arange(len(begins))]).argmax()])


def _sampled(t_s: Float64, value: Float64, first_s: float, last_s: float) -> tuple[Float64, Float64]:
    kept = np.flatnonzero((t_s >= first_s) & (t_s <= last_s))
    kept = kept[:: max(1, len(kept) // POINTS)]
    return t_s[kept], value[kept]
