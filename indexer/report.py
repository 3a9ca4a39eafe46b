"""What a run of indexing says: events while it goes, a report at its end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol


@dataclass(frozen=True)
class Event:
    """How far a run is.

    stage: "found" once, with the total; "recording" after each; "writing", "building" before work on the whole
    archive; "done" at the end.   done, total: recordings.   seconds: of recorded time, in this recording.
    """

    stage: Literal["found", "recording", "writing", "building", "done"]
    done: int
    total: int
    uri: str = ""
    status: Literal["", "ok", "partial", "failed", "known"] = ""
    reason: str = ""
    seconds: float = 0.0
    windows: int = 0


class Progress(Protocol):
    """Told of every event, in order, in the thread that called `index`."""

    def __call__(self, event: Event, /) -> None: ...


@dataclass(frozen=True)
class IndexReport:
    """What a run did. failed, partial: (uri, reason).   skipped: known already.   recorded_s: seconds indexed."""

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

    def to_json(self) -> dict[str, Any]:
        listed = {
            name: [{"uri": uri, "reason": reason} for uri, reason in getattr(self, name)]
            for name in ("failed", "partial")
        }
        rounded = {name: round(s, 3) for name, s in self.timings_s.items()}
        own = {"seconds": round(self.seconds, 3), "recorded_s": round(self.recorded_s, 3), "timings_s": rounded}
        return {**asdict(self), **listed, **own}
