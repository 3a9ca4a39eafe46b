"""What somebody did when: zero-shot activities along one recording.

Every window's vector is compared with a sentence for each class, in the space `clip`. "Nothing of these" scores the
same everywhere, so a stretch that no sentence fits better than that has no activity. The most likely sequence, with a
price for every change, becomes segments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from motionseek.errors import ModelError, QueryError, UsageError
from motionseek.search.ask import Answer, ask
from motionseek.search.loaded import Loaded
from motionseek.search.plan import vector_spaces
from motionseek.search.query import Query
from motionseek.search.segments import NOTHING, Segment, segmented
from motionseek.types import Float32, Float64, Modality

CLASSES: Mapping[str, str] = {
    "standing": "a person stands still",
    "sitting": "a person sits",
    "lying": "a person lies on the ground",
    "walking": "a person walks",
    "running": "a person runs",
    "jumping": "a person jumps",
    "climbing": "a person climbs stairs",
    "crawling": "a person crawls",
    "cycling": "a person rides a bicycle",
    "squatting": "a person squats",
    "waving": "a person waves",
    "clapping": "a person claps",
    "throwing": "a person throws something",
    "punching": "a person punches",
    "kicking": "a person kicks",
    "falling": "a person falls down",
}
"""What is looked for by default: name → the sentence that it is compared by. No dancing: to the starter, all that turns
and tumbles is a dance."""

LEVEL = 0.5
"""Cosine that "nothing of these" has. Chosen for the starter, on the demo's recordings; cosines of other models lie
elsewhere."""
TEMPERATURE = 0.05
SWITCH = 3.0
"""Price of a change: a change must win this much log-likelihood."""


@dataclass(frozen=True, eq=False)
class Timeline:
    """The activities of one recording.

    classes: C names.   segments: in order, without overlap.   t_s: (N,) middles of the windows.   scores: (N, C) their
    cosines with the classes.   through: the modality whose vectors were compared; person: whose.
    """

    recording_id: str
    classes: tuple[str, ...]
    segments: tuple[Segment, ...]
    t_s: Float64
    scores: Float32
    through: Modality
    person: str

    def __post_init__(self) -> None:
        if self.scores.shape != (len(self.t_s), len(self.classes)):
            raise UsageError(f"scores must be {(len(self.t_s), len(self.classes))}, not {self.scores.shape}")
        if any(a.end_s > b.start_s + 1e-9 for a, b in zip(self.segments, self.segments[1:], strict=False)):
            raise UsageError("segments must be in order and must not overlap")

    def ask(self, question: str) -> Answer:
        """When, how long, how often, first, last, before, after: see `motionseek.search.ask`. Raises QueryError for
        what is not understood, saying what is."""
        return ask(self.segments, self.classes, question)

    def log(self) -> str:
        """One line a segment."""
        return "\n".join(f"{_clock(s.start_s)} - {_clock(s.end_s)}  {s.label}" for s in self.segments)

    def to_json(self) -> dict[str, Any]:
        return {
            "recording_id": self.recording_id,
            "through": self.through,
            "person": self.person,
            "classes": list(self.classes),
            "segments": [segment.to_json() for segment in self.segments],
        }

    def draw(self, path: str | Path) -> None:
        """A picture: the segments, and below them every class's score along time. Raises UsageError where it cannot
        be written."""
        from matplotlib.figure import Figure

        shown = [i for i, name in enumerate(self.classes) if any(s.label == name for s in self.segments)]
        shown = shown or list(range(len(self.classes)))
        figure = Figure(figsize=(10, 2.2 + 0.3 * len(shown)), layout="constrained")
        bars, lines = figure.subplots(2, 1, sharex=True, height_ratios=[1 + 0.25 * len(shown), 2])
        rows = [*(self.classes[i] for i in shown), NOTHING]
        for row, name in enumerate(rows):
            mine = [(s.start_s, s.duration_s) for s in self.segments if s.label == name]
            bars.broken_barh(mine, (row - 0.4, 0.8), color="0.75" if name == NOTHING else f"C{row % 10}")
        bars.set_yticks(range(len(rows)), rows)
        bars.invert_yaxis()
        for row, i in enumerate(shown):
            lines.plot(self.t_s, self.scores[:, i], color=f"C{row % 10}", linewidth=1)
        lines.set_ylabel("cosine")
        lines.set_xlabel("seconds")
        try:
            figure.savefig(path, dpi=120)
        except (OSError, ValueError) as error:
            raise UsageError(f"{path}: the picture cannot be written: {error}") from error

    def __repr__(self) -> str:
        return f"Timeline({self.recording_id[:12]}, {len(self.segments)} segments through {self.through})"


def sentences_of(classes: Sequence[str] | Mapping[str, str] | None) -> dict[str, str]:
    """Names and the sentences that they are compared by; a bare name is its own. Raises QueryError."""
    if isinstance(classes, str):
        raise QueryError("classes takes several names, not one string")
    named = dict(CLASSES if classes is None else classes if isinstance(classes, Mapping) else {c: c for c in classes})
    if classes is not None and not isinstance(classes, Mapping):
        named = {name: CLASSES.get(name, sentence) for name, sentence in named.items()}
    if not named or any(not name.strip() or not sentence.strip() for name, sentence in named.items()):
        raise QueryError("classes must hold at least one name, and none may be empty")
    if NOTHING in named:
        raise QueryError(f"{NOTHING!r} is what fits no class: it cannot be one")
    return named


def timeline(
    loaded: Loaded,
    recording_id: str,
    sentences: Mapping[str, str],
    *,
    through: Modality | None,
    person: str | None,
    level: float,
    switch: float,
) -> Timeline:
    """See `Archive.timeline`. sentences: of `sentences_of`."""
    for space in vector_spaces(loaded, Query.of_text(next(iter(sentences.values())))):
        opened = loaded.open(space, "global")
        columns = opened.columns
        names = columns.recordings
        mine = columns.recording == (names.index(recording_id) if recording_id in names else -1)
        for modality in (through,) if through else ("pose", "imu", "video"):
            rows = np.flatnonzero(mine & (columns.modality == modality))
            people = sorted(set(columns.person[rows].tolist()))
            if person is not None:
                rows = rows[columns.person[rows] == person]
            elif len(people) > 1:
                raise QueryError(f"{recording_id[:12]} shows several people ({', '.join(people)}): name one as person")
            if len(rows):
                rows = rows[np.argsort(columns.start_s[rows], kind="stable")]
                texts = loaded.encoder(space, "text").encode(list(sentences.values())).global_
                if texts is None:
                    raise ModelError(f"the encoder of text in the space {space} gives no global vectors")
                spans_s = columns.start_s[rows], columns.end_s[rows]
                scores = opened.index.vectors(rows) @ texts.T
                who = columns.person[rows[0]].item()
                return build(recording_id, modality, who, tuple(sentences), spans_s, scores, level=level, switch=switch)
    raise QueryError(
        f"recording {recording_id[:12]} has no window of {through or 'pose, IMU or video'}"
        f"{'' if person is None else f' of person {person}'} that sentences can be compared with"
    )


def build(
    recording_id: str,
    through: Modality,
    person: str,
    classes: Sequence[str],
    spans_s: tuple[Float64, Float64],
    scores: Float32,
    *,
    level: float = LEVEL,
    switch: float = SWITCH,
) -> Timeline:
    """Windows in time order with their starts and ends (N,) each and cosines (N, C) → Timeline."""
    if not np.isfinite(level) or not (np.isfinite(switch) and switch >= 0):
        raise QueryError("level must be finite, and switch finite and at least 0")
    start_s, end_s = spans_s
    names = tuple(classes)
    segments = segmented(start_s, end_s, scores, names, level=level, temperature=TEMPERATURE, switch=switch)
    return Timeline(recording_id, names, segments, (start_s + end_s) / 2, scores, through, person)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds, 1), 60)
    return f"{int(minutes):02d}:{rest:04.1f}"
