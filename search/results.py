"""Hits → moments: overlapping ones dropped, recordings grouped, numbered."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal, overload

from motionseek.search.loaded import Loaded, Opened
from motionseek.types import Modality, Moment

Rerank = Literal["none", "local", "token"]

OVERLAP = 0.5
"""Of two hits that share more than this of the shorter one, only the better stays."""


@dataclass(frozen=True, eq=False)
class SearchResult:
    """Moments, best first, and how they were found.

    timings_ms: milliseconds per stage, and "total".   index: "kind" and measured "recall" of the index that was asked.
    """

    query: str
    target: Modality
    moments: tuple[Moment, ...]
    timings_ms: Mapping[str, float]
    index: Mapping[str, Any]

    def __iter__(self) -> Iterator[Moment]:
        return iter(self.moments)

    def __len__(self) -> int:
        return len(self.moments)

    @overload
    def __getitem__(self, at: int) -> Moment: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[Moment, ...]: ...
    def __getitem__(self, at: int | slice) -> Moment | tuple[Moment, ...]:
        return self.moments[at]

    def to_json(self) -> dict[str, Any]:
        return {
            "query": self.query,
            "target": self.target,
            "hits": [moment.to_json() for moment in self.moments],
            "timings_ms": {stage: round(ms, 2) for stage, ms in self.timings_ms.items()},
            "index": dict(self.index),
        }

    def __repr__(self) -> str:
        return f"SearchResult({self.query!r} in {self.target}: {len(self)} moments)"


class Clock:
    """Milliseconds per stage."""

    def __init__(self) -> None:
        self.began = time.perf_counter()
        self.stages: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.stages[stage] = self.stages.get(stage, 0.0) + (time.perf_counter() - began) * 1e3

    def done(self) -> dict[str, float]:
        return {**self.stages, "total": (time.perf_counter() - self.began) * 1e3}


def moment_at(
    loaded: Loaded,
    opened: Opened,
    row: int,
    target: Modality,
    rank: int,
    score: float,
    scores: Mapping[str, float],
    *,
    aligned: tuple[tuple[float, float], float] | None = None,
) -> Moment:
    """The moment of `target` that a window shows.

    aligned: what was meant on the query's clock (start_s, end_s), and the offset at which it lies best; the moment is
    then that stretch, not the window's.
    """
    columns = opened.columns
    recording_id = columns.recordings[columns.recording[row]]
    source = loaded.sources[recording_id]
    start_s, end_s, offset_s = float(columns.start_s[row]), float(columns.end_s[row]), None
    if aligned is not None:
        (start_s, end_s), offset_s = aligned
        start_s, end_s = start_s + offset_s, end_s + offset_s
    first_s, last_s = source.spans[target]
    start_s = min(max(start_s, first_s), last_s)
    caption, labels = (opened.index.windows[name][row].as_py() for name in ("caption", "labels"))
    return Moment(
        rank=rank,
        recording_id=recording_id,
        uri=source.uri,
        modality=target,
        start_s=start_s,
        end_s=max(start_s, min(end_s, last_s)),
        score=score,
        scores=scores,
        through=columns.modality[row].item(),
        person=columns.person[row].item(),
        offset_s=offset_s,
        caption=caption,
        labels=tuple(labels),
    )


def best_apart(moments: Iterable[Moment], k: int, *, group: bool) -> tuple[Moment, ...]:
    """The first k of moments that come best first: one a recording, or where not `group`, those that do not overlap a
    better one of the same recording."""
    taken: dict[str, list[Moment]] = {}
    chosen: list[Moment] = []
    for moment in moments:
        others = taken.setdefault(moment.recording_id, [])
        if others and (group or any(_overlap(moment, other) > OVERLAP for other in others)):
            continue
        others.append(moment)
        chosen.append(replace(moment, rank=len(chosen) + 1))
        if len(chosen) == k:
            break
    return tuple(chosen)


def _overlap(a: Moment, b: Moment) -> float:
    shared = min(a.end_s, b.end_s) - max(a.start_s, b.start_s)
    return shared / max(min(a.end_s - a.start_s, b.end_s - b.start_s), 1e-9)
