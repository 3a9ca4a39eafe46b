"""Stamps that make no clock, repaired or cut, and said."""

from __future__ import annotations

import numpy as np

from motionseek.types import Bool, Float64

FAR_S = 1.0
"""A single stamp this far from both of its neighbours, which are near each other, is a stray."""

ALONE_S = 3600.0
ALONE_SAMPLES = 10
"""At most so many samples that a gap of so many seconds parts from all others, at the start or the end, are strays: a
logger that writes before its clock is set."""

SET_BACK_S = 0.5
MIXED_SAMPLES = 10
"""A step back longer than this begins a new stretch. Stretches that lie beside each other are in the wrong order; those
whose samples would mix were stamped by a clock that was set back."""


def cleaned(t_s: Float64, x: Float64, what: str, problems: list[str]) -> tuple[Float64, Float64]:
    """Times (L,) and samples (L, 3) → those that are all there, on a strictly increasing clock.

    NaN in all three axes is no sample. What else is dropped or sorted is said in `problems`: samples that are not
    finite, stray stamps, repeated ones, small steps back (sorted), and where the clock was set back all but the longest
    stretch, because two stretches over the same time cannot both be where they say.
    """
    step_s = t_s[1:] - t_s[:-1]
    if len(step_s) and step_s.min() > 0 and step_s.max() <= FAR_S and np.isfinite(x).all():
        return t_s, x
    absent = np.isnan(x).all(axis=1)
    if absent.all():
        return np.empty(0), np.empty((0, 3))
    good: Bool = np.isfinite(x).all(axis=1) & np.isfinite(t_s)
    _say(int((~good & ~absent).sum()), f"{what} samples that are not finite were dropped", problems)
    _say(int((~np.isfinite(t_s)).sum()), "rows without a time were dropped", problems)
    t_s, x = t_s[good], x[good]
    strays = _strays(t_s)
    _say(int(strays.sum()), f"{what} samples with a stamp far from all others were dropped", problems)
    t_s, x = t_s[~strays], x[~strays]
    if (np.diff(t_s) < 0).any():
        t_s, x = _ordered(t_s, x, what, problems)
    first = np.diff(t_s, prepend=-np.inf) > 0
    _say(int((~first).sum()), f"{what} samples at a repeated time were dropped", problems)
    return t_s[first], x[first]


@np.errstate(over="ignore")  # damaged stamps may be of any size
def _strays(t_s: Float64) -> Bool:
    """(L,): single stamps that leave their neighbours and come back, and a few alone beyond a gap of hours."""
    stray = np.zeros(len(t_s), np.bool_)
    if len(t_s) < 3:
        return stray
    step = np.diff(t_s)
    away = np.abs(step) > FAR_S
    stray[1:-1] = away[:-1] & away[1:] & (step[:-1] * step[1:] < 0) & (np.abs(t_s[2:] - t_s[:-2]) < FAR_S)
    stray[0] = step[0] < -FAR_S and not stray[1]
    cuts = np.flatnonzero(np.abs(step) > ALONE_S) + 1
    few = min(ALONE_SAMPLES, len(t_s) // 100)
    if len(cuts) and cuts[0] <= few:
        stray[: cuts[0]] = True
    if len(cuts) and len(t_s) - cuts[-1] <= few:
        stray[cuts[-1] :] = True
    return stray


def _ordered(t_s: Float64, x: Float64, what: str, problems: list[str]) -> tuple[Float64, Float64]:
    """Increasing, but for repeated stamps."""
    kept = np.sort(np.unique(t_s, return_index=True)[1])
    once = t_s[kept]
    cuts = np.flatnonzero(np.diff(once) < -SET_BACK_S) + 1
    part = np.searchsorted(cuts, np.arange(len(once)), side="right")
    switches = int((np.diff(part[np.argsort(once, kind="stable")]) != 0).sum())
    if len(cuts) and switches > 2 * len(cuts) + MIXED_SAMPLES:
        sizes = np.bincount(part)
        longest = part == sizes.argmax()
        problems.append(
            f"the clock of the {what} was set back by up to {-float(np.diff(once).min()):.3g} s: of {len(sizes)} "
            f"stretches only the longest was kept, {int(longest.sum())} of {len(once)} samples"
        )
        t_s, x = once[longest], x[kept][longest]
    else:
        _say(int((np.diff(t_s) < 0).sum()), f"steps back in time of the {what} were sorted", problems)
    order = np.argsort(t_s, kind="stable")
    return t_s[order], x[order]


def _say(count: int, what: str, problems: list[str]) -> None:
    if count:
        problems.append(f"{count} {what}")
