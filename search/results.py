"""Hits → moments: overlapping ones dropped, recordings grouped, numbered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, overload

from motionseek.types import Modality, Moment

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
