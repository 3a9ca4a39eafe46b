"""What a run of indexing says: events while it goes, a report at its end."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol


@dataclass(frozen=True)
class Event:
    """How far a run is.

    stage: "found" once, with the total; "piece" when a stretch of a long recording is done, with its end in seconds;
    "recording" after each; "writing", "building" before work on the whole archive; "done" at the end.
    done, total: recordings.   seconds: of recorded time, in this recording.
    status: of a recording; "known" where nothing was to be done, "new" in a dry run where something would be.
    """

    stage: Literal["found", "piece", "recording", "writing", "building", "done"]
    done: int
    total: int
    uri: str = ""
    status: Literal["", "ok", "partial", "failed", "known", "new"] = ""
    reason: str = ""
    seconds: float = 0.0
    windows: int = 0


class Progress(Protocol):
    """Told of every event, in order, in the thread that called `index`."""

    def __call__(self, event: Event, /) -> None: ...


@dataclass
class Tally:
    """What a run has counted so far. timings_s: "read" in all reader processes together, "wait" of the encoder for
    them, "encode", "write", "build"."""

    indexed: int = 0
    skipped: int = 0
    planned: int = 0
    windows: int = 0
    recorded_s: float = 0.0
    failed: list[tuple[str, str]] = field(default_factory=list)
    partial: list[tuple[str, str]] = field(default_factory=list)
    timings_s: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(("read", "wait", "encode", "write", "build"), 0.0)
    )

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.timings_s[name] += time.perf_counter() - began


@dataclass(frozen=True)
class IndexReport:
    """What a run did. failed, partial: (uri, reason).   skipped: known already.   recorded_s: seconds indexed.
    planned: what a dry run would have indexed.   timings_s: as in Tally."""

    indexed: int
    skipped: int
    failed: tuple[tuple[str, str], ...]
    partial: tuple[tuple[str, str], ...]
    seconds: float
    windows: int
    recorded_s: float
    timings_s: Mapping[str, float]
    indexes: Mapping[str, Mapping[str, Any]]
    """Per index its kind, rows and measured recall."""
    planned: int = 0

    @property
    def headline(self) -> str:
        """What was done, in a line."""
        if self.planned:
            return f"{self.planned} recordings would be indexed; nothing was written"
        rate = f", {self.recorded_s / self.seconds:.0f}× real time" if self.recorded_s and self.seconds else ""
        return f"{self.indexed} recordings indexed in {self.seconds:.1f} s{rate}"

    def summary(self) -> list[tuple[str, str, str, str]]:
        """Rows of a table: what, recordings, hours, windows."""
        rows = [
            ("indexed", str(self.indexed), f"{self.recorded_s / 3600:.2f}", str(self.windows)),
            ("  of them partial", str(len(self.partial)), "", ""),
            ("known already", str(self.skipped), "", ""),
            ("failed", str(len(self.failed)), "", ""),
        ]
        return [("would be indexed", str(self.planned), "", ""), *rows[2:]] if self.planned else rows

    def to_json(self) -> dict[str, Any]:
        listed = {
            name: [{"uri": uri, "reason": reason} for uri, reason in getattr(self, name)]
            for name in ("failed", "partial")
        }
        rounded = {name: round(s, 3) for name, s in self.timings_s.items()}
        own = {"seconds": round(self.seconds, 3), "recorded_s": round(self.recorded_s, 3), "timings_s": rounded}
        return {**asdict(self), **listed, **own}
