"""What somebody did when: zero-shot activities along one recording.

Every window's vector is compared with sentences for each class, in the space `clip`; the scores of overlapping windows
are resolved into instants of half a second (`instants`). "Nothing of these" scores the same everywhere, so a stretch
that no sentence fits better than that has no activity. The most likely sequence, with a price for every change,
becomes segments.

Some sentences lie near everything. So each class is set back by how much more than the other classes it scores on the
windows of the archive's other recordings, the more of these there are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from motionseek.encoders.zero_shot import class_vectors, zero_shot
from motionseek.errors import ModelError, QueryError, UsageError
from motionseek.search.ask import Answer, ask
from motionseek.search.candidates import SAMPLE
from motionseek.search.instants import INSTANT_S, instants
from motionseek.search.llm import Endpoint
from motionseek.search.loaded import Loaded
from motionseek.search.plan import vector_spaces
from motionseek.search.query import Query
from motionseek.search.segments import NOTHING, Segment, clock, segmented
from motionseek.types import Float32, Float64, Imu, Modality

_SECOND = re.compile(r"#\d+$")
"""What sets a person's second sensor at one part apart; see `windows.wearers`."""

CLASSES: Mapping[str, tuple[str, ...]] = {
    "standing": ("standing", "a person stands still", "someone is standing"),
    "sitting": ("sitting", "a person sits on a chair", "someone is seated"),
    "lying": ("lying", "a person lies on the ground", "lying down still"),
    "walking": ("walking", "a person walks forward", "someone is walking"),
    "running": ("running", "a person runs", "someone is jogging"),
    "jumping": ("jumping", "a person jumps up and down", "someone jumps"),
    "climbing": ("climbing stairs", "a person climbs stairs", "walking upstairs"),
    "crawling": ("crawling", "a person crawls", "someone crawls on the ground"),
    "cycling": ("cycling", "a person rides a bicycle", "someone is riding a bike"),
    "squatting": ("squats", "a person squats", "someone does squats"),
    "waving": ("waving", "a person waves with the hand", "someone waves"),
    "clapping": ("clapping", "a person claps", "someone claps the hands"),
    "throwing": ("throwing", "a person throws something", "someone throws a ball"),
    "punching": ("punching", "a person punches", "someone is boxing"),
    "kicking": ("kicking", "a person kicks", "someone kicks with the leg"),
    "falling": ("falling", "a person falls down", "someone falls to the ground"),
}
"""What is looked for by default: name → the sentences whose mean it is compared by. No dancing: to the starter, all
that turns and tumbles is a dance."""

LEVEL = 0.5
"""Cosine that "nothing of these" has: chosen for the starter; cosines of other models lie elsewhere."""
TEMPERATURE = 0.05
SWITCH = 12.0
"""Price of a change: a change must win this much log-likelihood over the instants that follow. All three were chosen on
takes of benchmarks/timeline.py that are not reported."""
FEW = 200
"""Windows of other recordings at which a class is set back by half of what they say."""

Classes = Mapping[str, "str | Sequence[str]"]


@dataclass(frozen=True, eq=False)
class Timeline:
    """The activities of one recording.

    classes: C names.   segments: in order, without overlap.   t_s: (N,) middles of instants, half a second apart.
    scores: (N, C) how each scores, as a cosine.   through: the modality whose vectors were compared; person: whose.
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

    def ask(self, question: str, *, llm: Endpoint | None = None) -> Answer:
        """When, how long, how often, first, last, before, after: see `motionseek.search.ask`. Raises QueryError for
        what is not understood, saying what is; or, with an endpoint, has a language model answer it from the log."""
        return ask(self.segments, self.classes, question, llm=llm)

    def log(self) -> str:
        """One line a segment."""
        return "\n".join(f"{clock(s.start_s)} - {clock(s.end_s)}  {s.label}" for s in self.segments)

    def to_json(self) -> dict[str, Any]:
        return {
            "recording_id": self.recording_id,
            "through": self.through,
            "person": self.person,
            "classes": list(self.classes),
            "segments": [segment.to_json() for segment in self.segments],
        }

    def draw(self, path: str | Path, *, sensor: Imu | None = None) -> None:
        """A picture: what the sensor measured, the segments, and every class's score along time. Raises UsageError
        where it cannot be written."""
        from matplotlib.figure import Figure

        shown = [i for i, name in enumerate(self.classes) if any(s.label == name for s in self.segments)]
        shown = shown or list(range(len(self.classes)))
        heights = [*([1.5] if sensor is not None else []), 1 + 0.25 * len(shown), 2]
        figure = Figure(figsize=(10, 2.2 + 0.3 * len(shown) + 1.2 * (sensor is not None)), layout="constrained")
        *above, bars, lines = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
        if sensor is not None:
            above[0].plot(sensor.acc_t_s, np.linalg.norm(sensor.acc_mps2, axis=1), color="0.3", linewidth=0.5)
            above[0].set_ylabel(f"{sensor.placement}\n|acc| m/s²")
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


def sentences_of(classes: Sequence[str] | Classes | None) -> dict[str, tuple[str, ...]]:
    """Names and the sentences that they are compared by; a bare name is its own. Raises QueryError."""
    if isinstance(classes, str):
        raise QueryError("classes takes several names, not one string")
    given: Classes = CLASSES if classes is None else {}
    if isinstance(classes, Mapping):
        given = classes
    elif classes is not None:
        given = {name: CLASSES.get(name, name) for name in classes}
    named = {name: (told,) if isinstance(told, str) else tuple(told) for name, told in given.items()}
    if not named or any(not name.strip() or not told or not all(map(str.strip, told)) for name, told in named.items()):
        raise QueryError("classes must hold at least one name, and neither names nor sentences may be empty")
    if NOTHING in named:
        raise QueryError(f"{NOTHING!r} is what fits no class: it cannot be one")
    return named


def timeline(
    loaded: Loaded,
    recording_id: str,
    sentences: Mapping[str, tuple[str, ...]],
    *,
    through: Modality | None,
    person: str | None,
    level: float,
    switch: float,
) -> Timeline:
    """See `Archive.timeline`. sentences: of `sentences_of`."""
    for space in vector_spaces(loaded, Query.of_text(next(iter(sentences)))):
        columns = loaded.open(space, "global").columns
        names = columns.recordings
        mine = columns.recording == (names.index(recording_id) if recording_id in names else -1)
        for modality in (through,) if through else ("pose", "imu", "video"):
            rows = np.flatnonzero(mine & (columns.modality == modality))
            people = sorted(set(columns.person[rows].tolist()))
            # Of one person who wears two sensors at one part the first, which has no number.
            if len(people) > 1 and person is None and len({_SECOND.sub("", name) for name in people}) > 1:
                named = ", ".join(map(repr, people))
                raise QueryError(f"{recording_id[:12]} shows several people ({named}): name one as person")
            if len(people):
                rows = rows[columns.person[rows] == (people[0] if person is None else person)]
            if len(rows):
                rows = rows[np.argsort(columns.start_s[rows], kind="stable")]
                spans_s = columns.start_s[rows], columns.end_s[rows]
                scores = class_scores(loaded, space, rows, sentences)
                who = columns.person[rows[0]].item()
                return build(recording_id, modality, who, tuple(sentences), spans_s, scores, level=level, switch=switch)
    raise QueryError(
        f"recording {recording_id[:12]} has no window of {through or 'pose, IMU or video'}"
        f"{'' if person is None else f' of person {person}'} that sentences can be compared with"
    )


def class_scores(
    loaded: Loaded, space: str, rows: npt.NDArray[np.int64], sentences: Mapping[str, tuple[str, ...]]
) -> Float32:
    """Cosines (N, C) of one recording's windows with the classes, each set back by how much more than the others it
    scores on the other recordings."""
    opened = loaded.open(space, "global")
    columns = opened.columns

    def encode(texts: list[str]) -> Float32:
        told = loaded.encoder(space, "text").encode(texts).global_
        if told is None:
            raise ModelError(f"the encoder of text in the space {space} gives no global vectors")
        return told

    other = (columns.recording != columns.recording[rows[0]]) & (columns.modality == columns.modality[rows[0]])
    elsewhere = np.flatnonzero(other)
    elsewhere = elsewhere[np.unique(np.linspace(0, len(elsewhere) - 1, min(len(elsewhere), SAMPLE)).astype(np.int64))]
    prototype = class_vectors(encode, sentences, ("{}",))
    return zero_shot(opened.index.vectors(rows), prototype, opened.index.vectors(elsewhere), FEW)


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
    names = tuple(classes)
    begins_s, at = instants(*spans_s, scores)
    ends_s = begins_s + INSTANT_S
    segments = segmented(begins_s, ends_s, at, names, level=level, temperature=TEMPERATURE, switch=switch)
    # The last instant of a stretch reaches beyond its last window, where these are no multiple of an instant.
    last_s = float(spans_s[1].max())
    segments = tuple(replace(s, end_s=min(s.end_s, last_s)) for s in segments if s.start_s < last_s)
    return Timeline(recording_id, names, segments, begins_s + INSTANT_S / 2, at, through, person)
