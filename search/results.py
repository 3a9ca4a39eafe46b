"""What a search answers: moments, best first, and how they were found."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, overload

from motionseek.types import Modality, Moment

Rerank = Literal["none", "local", "token"]


@dataclass(frozen=True, eq=False)
class SearchResult:
    """Moments, best first, and how they were found.

    timings_ms: milliseconds per stage, and "total".   index: "kind" and measured "recall" of the index that was asked.
    offset: how many better moments were left away, for the next page.   more: whether there is a next page.
    """

    query: str
    target: Modality
    moments: tuple[Moment, ...]
    timings_ms: Mapping[str, float]
    index: Mapping[str, Any]
    offset: int = 0
    more: bool = False

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

    def by_recording(self) -> dict[str, tuple[Moment, ...]]:
        """recording_id → its moments, both best first."""
        held: dict[str, list[Moment]] = {}
        for moment in self.moments:
            held.setdefault(moment.recording_id, []).append(moment)
        return {recording_id: tuple(moments) for recording_id, moments in held.items()}

    def to_json(self) -> dict[str, Any]:
        return {
            "query": self.query,
            "target": self.target,
            "hits": [moment.to_json() for moment in self.moments],
            "timings_ms": {stage: round(ms, 2) for stage, ms in self.timings_ms.items()},
            "index": dict(self.index),
            "offset": self.offset,
            "more": self.more,
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
