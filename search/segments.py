"""Scores along time → segments: the most likely sequence of activities that does not change at every window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from motionseek.errors import UsageError
from motionseek.types import Float64, FloatArray, Span

NOTHING = "nothing of these"
"""The label of a stretch that no class fits."""


def clock(seconds: float) -> str:
    """72.34 → "01:12.3"; streams may begin a little before their recording's 0."""
    rounded = round(seconds, 1)
    minutes, rest = divmod(abs(rounded), 60)
    return f"{'-' if rounded < 0 else ''}{int(minutes):02d}:{rest:04.1f}"


@dataclass(frozen=True)
class Segment:
    """A stretch of one activity. label: a class, or NOTHING.   score: mean cosine of its windows with the label; with
    the best class where it is NOTHING."""

    start_s: float
    end_s: float
    label: str
    score: float

    def __post_init__(self) -> None:
        Span(self.start_s, self.end_s)

    @property
    def duration_s(self) -> float:
        return self.end_s - self.start_s

    def to_json(self) -> dict[str, Any]:
        return {
            "start_s": round(self.start_s, 3),
            "end_s": round(self.end_s, 3),
            "label": self.label,
            "score": round(self.score, 4),
        }


def likely_path(score: FloatArray, switch: float) -> npt.NDArray[np.int64]:
    """score (N, S), log-likelihood of S states at N times → (N,) the sequence with the highest sum of scores less
    `switch` for every change of state (Viterbi, 1967, with one price for all changes)."""
    if score.ndim != 2 or not score.size or switch < 0:
        raise UsageError(f"a path needs scores (N, S) and switch of at least 0, not {score.shape} and {switch}")
    total = np.asarray(score[0], np.float64)
    came_from = np.empty(score.shape, np.int64)
    stay = np.arange(score.shape[1])
    for n in range(1, len(score)):
        best = int(total.argmax())
        changed = total[best] - switch > total
        came_from[n] = np.where(changed, best, stay)
        total = np.where(changed, total[best] - switch, total) + score[n]
    path = np.empty(len(score), np.int64)
    path[-1] = int(total.argmax())
    for n in range(len(score) - 1, 0, -1):
        path[n - 1] = came_from[n, path[n]]
    return path


def segmented(
    start_s: Float64,
    end_s: Float64,
    cosine: FloatArray,
    labels: tuple[str, ...],
    *,
    level: float,
    temperature: float,
    switch: float,
) -> tuple[Segment, ...]:
    """Windows start_s, end_s (N,) in order, their cosines with C labels (N, C) → segments in order, without overlap.

    A window's likelihood is the softmax of cosine / temperature over the labels and over `level`, which is what
    NOTHING scores everywhere. A change lies in the middle between the middles of two windows; where no window lies,
    there is no segment.
    """
    if not len(start_s):
        return ()
    states = np.column_stack([cosine, np.full(len(cosine), level)]) / temperature
    top = states.max(axis=1, keepdims=True)
    likely = states - top - np.log(np.exp(states - top).sum(axis=1, keepdims=True))
    middle_s = (start_s + end_s) / 2
    # Windows that do not touch are different stretches.
    breaks = np.flatnonzero(start_s[1:] > end_s[:-1] + 1e-6) + 1
    found: list[Segment] = []
    for stretch in np.split(np.arange(len(start_s)), breaks):
        path = likely_path(likely[stretch], switch)
        first = np.flatnonzero(np.diff(path, prepend=-1))
        between = (middle_s[stretch[first[1:] - 1]] + middle_s[stretch[first[1:]]]) / 2
        edges = np.concatenate([[start_s[stretch[0]]], between, [end_s[stretch].max()]])
        for i, rows in enumerate(np.split(stretch, first[1:])):
            state = int(path[first[i]])
            own = cosine[rows, state] if state < len(labels) else cosine[rows].max(axis=1)
            label = labels[state] if state < len(labels) else NOTHING
            found.append(Segment(float(edges[i]), float(edges[i + 1]), label, float(own.mean())))
    return tuple(found)
