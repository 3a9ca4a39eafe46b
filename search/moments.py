"""What the ways of answering found → moments: the best ones apart, with their stretch, path and confidence."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from motionseek.search.loaded import Loaded, Source
from motionseek.search.plan import Plan
from motionseek.search.query import Query
from motionseek.types import Float32, Float64, Modality, Moment, Narration

OVERLAP = 0.5
"""Of two hits that share more than this of the shorter one, only the better stays."""
INSTANT_S = 1e-3
"""What is shorter is no stretch: as an answer is printed, it would begin where it ends."""


@dataclass(frozen=True, eq=False)
class Found:
    """The windows that one way found, N of them, best first.

    row: (N,) of the plan's index.   rank_by: (N,) comparable with that of other ways.   score: (N,) what the moment
    says.   levels: level → scores (N,).   offset_s: (N,) where the query lies best, None where it has no time.
    span: i → start and end of the moment, trimmed.   confidence: i → how sure it is, NaN where nothing can be said.
    """

    plan: Plan
    asked: Query
    row: npt.NDArray[np.int64]
    rank_by: Float32
    score: Float32
    levels: Mapping[str, Float32]
    offset_s: Float64 | None
    span: Callable[[int], tuple[float, float]]
    confidence: Callable[[int], float]

    def middle_s(self, i: int) -> float:
        """The middle of what was found, before it is trimmed."""
        if self.offset_s is not None:
            return float(sum(self.asked.meant) / 2 + self.offset_s[i])
        columns = self.plan.opened.columns
        return float(columns.start_s[self.row[i]] + columns.end_s[self.row[i]]) / 2

    def recording_id(self, i: int) -> str:
        columns = self.plan.opened.columns
        return columns.recordings[int(columns.recording[self.row[i]])]


def choose(
    loaded: Loaded,
    found: Sequence[Found],
    target: Modality,
    *,
    k: int,
    offset: int,
    group: bool,
    min_confidence: float,
) -> tuple[tuple[Moment, ...], bool]:
    """Moments `offset` to `offset + k`, best first, and whether there are more.

    One of each recording, or where not `group` those that do not overlap a better one of the same recording.
    """
    taken: dict[str, list[Moment]] = {}
    chosen: list[Moment] = []
    for one, i in _best_first(found):
        others = taken.get(one.recording_id(i), [])
        middle_s = one.middle_s(i)
        if others and (group or any(m.start_s <= middle_s < m.end_s for m in others)):
            continue
        confidence = one.confidence(i)
        if min_confidence > 0 and not confidence >= min_confidence:
            continue
        moment = moment_at(loaded, one, i, target, confidence)
        if moment is None or any(_overlap(moment, other) > OVERLAP for other in others):
            continue
        taken.setdefault(moment.recording_id, []).append(moment)
        chosen.append(moment)
        if len(chosen) > offset + k:
            break
    page = chosen[offset : offset + k]
    return tuple(replace(m, rank=offset + i + 1) for i, m in enumerate(page)), len(chosen) > offset + k


def _best_first(found: Sequence[Found]) -> Iterator[tuple[Found, int]]:
    way = np.repeat(np.arange(len(found)), [len(one.row) for one in found])
    at = np.concatenate([np.arange(len(one.row)) for one in found])
    for j in np.argsort(-np.concatenate([one.rank_by for one in found]), kind="stable"):
        yield found[way[j]], int(at[j])


def _overlap(a: Moment, b: Moment) -> float:
    shared = min(a.end_s, b.end_s) - max(a.start_s, b.start_s)
    return shared / max(min(a.end_s - a.start_s, b.end_s - b.start_s), 1e-9)


def moment_at(loaded: Loaded, found: Found, i: int, target: Modality, confidence: float) -> Moment | None:
    """The moment of `target` that a window shows; None where the target has nothing there: nothing was said, or the
    stretch that is meant lies beyond the stream on whose edge the window lies."""
    columns, row = found.plan.opened.columns, int(found.row[i])
    source = loaded.sources[found.recording_id(i)]
    through: Modality = columns.modality[row].item()
    start_s, end_s = found.span(i)
    caption, labels = (found.plan.opened.index.windows[name][row].as_py() for name in ("caption", "labels"))
    if target == "text" and through != "text":
        told = _told(source.narrations, start_s, end_s)
        if told is None:
            return None
        start_s, end_s, caption = told.start_s, told.end_s, told.text
    first_s, last_s = source.spans[target]
    if min(end_s, last_s) - max(start_s, first_s) < INSTANT_S <= last_s - first_s:
        return None
    start_s = min(max(start_s, first_s), last_s)
    return Moment(
        rank=1,
        recording_id=found.recording_id(i),
        uri=source.uri,
        modality=target,
        start_s=start_s,
        end_s=max(start_s, min(end_s, last_s)),
        score=float(found.score[i]),
        scores={level: float(score[i]) for level, score in found.levels.items()},
        through=through,
        path=_path(source, found.asked.senses, through, target),
        person=columns.person[row].item(),
        offset_s=None if found.offset_s is None else float(found.offset_s[i]),
        confidence=None if np.isnan(confidence) else confidence,
        caption=caption,
        labels=tuple(labels),
    )


def _told(narrations: Sequence[Narration], start_s: float, end_s: float) -> Narration | None:
    """The narration of which a stretch holds most."""
    shared = [(min(n.end_s, end_s) - max(n.start_s, start_s)) / (n.end_s - n.start_s) for n in narrations]
    best = int(np.argmax(shared)) if shared else -1
    return narrations[best] if shared and shared[best] > 0 else None


def _path(source: Source, asked: str, through: Modality, target: Modality) -> tuple[str, ...]:
    """A body is seen in a film: from its pose to anything else the way goes by the film, where there is one."""
    if through == target:
        return asked, through
    by_film = through == "pose" and target != "video" and "video" in source.spans
    return (asked, through, "video", target) if by_film else (asked, through, target)
