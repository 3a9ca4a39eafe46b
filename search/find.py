"""Which recordings of an archive a sensor belongs to, and at which offset: or none.

The sensor's motion tokens are laid over the stored token streams of bodies (and of sensors), at every lag, in the whole
archive where it is small, else in the recordings whose projected windows come nearest. No source is read again. Every
stream has a best lag, so that one counts only where it stands out: above the other lags of its own stream, and above
what streams of other recordings reach; and where each half of the time, asked by itself, stands out at the same lag.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from motionseek.errors import QueryError, UsageError
from motionseek.indexer.filters import Filter
from motionseek.indexer.tokens import StreamKey, TokenStream
from motionseek.search.candidates import Columns, Kept, timed
from motionseek.search.correlate import parabola
from motionseek.search.encode import query_tokens, token_probes
from motionseek.search.find_lags import ELSEWHERE_S, halves, lag_curve
from motionseek.search.limbs import sensor_trace
from motionseek.search.loaded import Loaded
from motionseek.search.query import Query, sensors_of
from motionseek.search.rerank import QueryTokens
from motionseek.search.traces import MIN_SPEED_RPS
from motionseek.types import ANY_PART, Imu, Modality

SPACE = "motion"
EXACT_UP_TO = 20_000
"""Windows of an archive that is looked at whole."""
CANDIDATES = 64
"""Recordings of a larger one that are laid over the sensor."""
NEAREST = 2000
APART_S = 0.5
FEWEST = 5
"""Other recordings from which on they show what chance reaches."""
CHANCE_RANK = 3
"""Chance reaches what the third best of them does: one or two may hold the sensor as well."""
OF_HALVES = 0.5
"""What the worse half's margin counts beside that of the whole."""
NEEDED_AT_S, NEEDED, NEEDED_OF_FEW = (10.0, 20.0), (0.10, 0.09), (0.18, 0.12)
"""The confidence that is needed where so many seconds meet, of three sensors or more, and of fewer; between them by a
straight line, below 10 s the more the shorter. Of 1,600 strangers among the motions that they were chosen on, none
reached four fifths of these (with one sensor and 10 s: .92)."""
STREAMS_AT_ONCE = 64
MISSES = 5
"""Of what was refused, this many are told."""


@dataclass(frozen=True)
class Match:
    """A recording that a sensor may belong to.

    modality, person: the stream it was held against.   offset_s: what to add to the sensor's time to get the
    recording's.   score: mean cosine of tokens, drawn to 0 where little meets.   confidence: the score less the best
    one elsewhere, at other lags of the stream or by chance in other recordings; and, where that is above 0, as much
    again, halved, for the worse half of the time.   needed: what the confidence must reach.
    """

    recording_id: str
    uri: str
    modality: Modality
    person: str
    offset_s: float
    score: float
    confidence: float
    needed: float

    def __post_init__(self) -> None:
        if not np.isfinite([self.offset_s, self.score, self.confidence, self.needed]).all():
            raise UsageError("a match needs a finite offset_s, score, confidence and needed")

    @property
    def accepted(self) -> bool:
        return self.confidence >= self.needed

    def to_json(self) -> dict[str, Any]:
        return {
            "recording_id": self.recording_id,
            "uri": self.uri,
            "modality": self.modality,
            "person": self.person,
            "offset_s": round(self.offset_s, 4),
            "score": round(self.score, 4),
            "confidence": round(self.confidence, 4),
            "needed": round(self.needed, 4),
        }


@dataclass(frozen=True)
class Belongs:
    """Where a sensor belongs.

    matches: best first; empty where it belongs to none.   nearest: the best that were refused.   looked: how many
    streams were laid over it, of how many recordings' streams.   reason: why there is no match, where there is none.
    """

    matches: tuple[Match, ...]
    nearest: tuple[Match, ...]
    looked: int
    streams: int
    reason: str = ""

    def __bool__(self) -> bool:
        return bool(self.matches)

    def to_json(self) -> dict[str, Any]:
        return {
            "matches": [match.to_json() for match in self.matches],
            "nearest": [match.to_json() for match in self.nearest],
            "looked": self.looked,
            "streams": self.streams,
            "reason": self.reason,
        }


@dataclass(frozen=True)
class _Peak:
    key: StreamKey
    offset_s: float
    score: float
    rival: float


def find(
    loaded: Loaded,
    imu: Imu | str | Path | Sequence[Imu],
    *,
    placement: str | None = None,
    where: Filter | None = None,
    max_offset_s: float | None = None,
    min_confidence: float | None = None,
    units: Mapping[str, str] | None = None,
) -> Belongs:
    """Which recordings the sensors of one wearer belong to.

    imu: sensors that share one clock, a file of one, or a recording that holds some.   where: which recordings.
    max_offset_s: bound of |offset_s|, where the clocks nearly agree.   min_confidence: less is refused (default:
    NEEDED, by how many sensors there are and how long they meet the recording).   units: of plain sensor files, as for
    `Imu.load`.
    Raises QueryError where the sensors' placement is not known or they are too short, and where the archive has no
    motion tokens; StaleIndex where another model built them.
    """
    asked = Query.of(list(sensors_of(imu, placement=placement, units=units)))
    if max_offset_s is not None and not max_offset_s > 0:
        raise QueryError(f"max_offset_s must be above 0, not {max_offset_s:g}")
    worn = [imu for imu in asked.imus if imu.part != ANY_PART]
    if min_confidence is not None and not 0 <= min_confidence <= 1:
        raise QueryError(f"min_confidence must lie between 0 and 1, not {min_confidence:g}")
    if not loaded.sources:
        return Belongs((), (), 0, 0, "the archive has no recording")
    if not loaded.speaks(SPACE, "imu"):
        raise QueryError(
            "this archive has no motion tokens, by which sensors are found: index the sources with a model that has "
            'the space "motion", such as the starter'
        )
    encoder = loaded.stream_encoder("imu")
    tokens = query_tokens(asked, encoder)
    if not any(_moves(imu) for imu in worn):
        return Belongs(
            (), (), 0, 0, "the sensors hardly turn, and stillness is alike everywhere: take a longer stretch"
        )
    opened = loaded.open(SPACE, "token")
    columns = opened.columns
    every = np.ones(len(columns.start_s), np.bool_)
    kept = Kept(columns, every if where is None else loaded.allowed(opened.index, where))
    keys = all_keys = _keys(columns, np.flatnonzero(kept.rows.mask))
    if kept.rows.count > EXACT_UP_TO:
        probes = token_probes(tokens, encoder, loaded.spaces[SPACE].stride_s)
        near = timed(opened.index, kept, probes, NEAREST, APART_S, CANDIDATES)
        keys = _keys(columns, near.row)[:CANDIDATES]
    peaks = []
    for first in range(0, len(keys), STREAMS_AT_ONCE):
        for key, stream in loaded.store.tokens(SPACE, keys[first : first + STREAMS_AT_ONCE]).items():
            peak = _peak(key, tokens, stream, max_offset_s)
            if peak is not None:
                peaks.append(peak)
    few = len(worn) < 3
    found = [_halved(match, tokens, loaded, max_offset_s, few=few) for match in _best_of_each(peaks, loaded)]
    if min_confidence is not None:
        found = [replace(match, needed=min_confidence) for match in found]
    matches = sorted(found, key=lambda m: (-m.confidence, m.uri))
    taken = tuple(m for m in matches if m.accepted)
    reason = "" if taken else _reason(matches)
    refused = tuple(m for m in matches if not m.accepted)[:MISSES]
    return Belongs(taken, refused, len(peaks), len(all_keys), reason)


def _moves(imu: Imu) -> bool:
    trace = sensor_trace(imu)
    return bool(trace.mask.any()) and float(trace.speed[trace.mask].std()) > MIN_SPEED_RPS


def _reason(matches: Sequence[Match]) -> str:
    if not matches:
        return "no recording shows the parts that the sensors are worn on for long enough"
    best = matches[0]
    return (
        f"no recording stands out (the best one's confidence is {best.confidence:.2f}, {best.needed:.2f} is needed): "
        "the sensor belongs to none, or moved too little or too evenly"
    )


def _keys(columns: Columns, rows: npt.NDArray[np.int64]) -> list[StreamKey]:
    """The streams of windows, in their order."""
    names = zip(columns.recording[rows], columns.modality[rows], columns.person[rows], strict=True)
    seen = dict.fromkeys((int(r), str(m), str(p)) for r, m, p in names)
    senses: tuple[Modality, ...] = ("pose", "imu")
    return [StreamKey(columns.recordings[r], sense, p) for r, m, p in seen for sense in senses if sense == m]


def _peak(key: StreamKey, tokens: QueryTokens, stream: TokenStream, max_offset_s: float | None) -> _Peak | None:
    """The best lag on one stream and the best score elsewhere on it; None where too little meets."""
    offset_s, score, allowed = lag_curve(tokens, stream, max_offset_s)
    if not allowed.any():
        return None
    score = np.where(allowed, score, -np.inf)
    at = int(score.argmax())
    far = allowed & (np.abs(offset_s - offset_s[at]) > ELSEWHERE_S)
    rival = max(float(score[far].max()), 0.0) if far.any() else 0.0
    best_s = float(offset_s[0] + parabola(score) * tokens.hop_s)
    return _Peak(key, best_s, float(score[at]), rival)


def _best_of_each(peaks: Sequence[_Peak], loaded: Loaded) -> list[Match]:
    """For each recording its clearest stream, judged by its own other lags and by what other recordings reach."""
    of: dict[str, list[_Peak]] = {}
    for peak in peaks:
        of.setdefault(peak.key.recording_id, []).append(peak)
    top = {r: max(peak.score for peak in own) for r, own in of.items()}
    found = []
    for recording_id, own in of.items():
        others = np.array([score for r, score in top.items() if r != recording_id])
        chance = float(np.partition(others, -CHANCE_RANK)[-CHANCE_RANK]) if len(others) >= FEWEST else 0.0
        best = max(own, key=lambda peak: peak.score - max(peak.rival, chance))
        key, confidence = best.key, best.score - max(best.rival, chance)
        uri = loaded.sources[recording_id].uri
        found.append(Match(recording_id, uri, key.modality, key.person, best.offset_s, best.score, confidence, 1.0))
    return found


def _halved(match: Match, tokens: QueryTokens, loaded: Loaded, max_offset_s: float | None, *, few: bool) -> Match:
    """With what the worse half of the time says, and the confidence that is needed."""
    if match.confidence <= 0:
        return replace(match, needed=needed_confidence(tokens.mask.shape[2] * tokens.token_s, few=few))
    key = StreamKey(match.recording_id, match.modality, match.person)
    stream = loaded.store.tokens(SPACE, [key])[key]
    margin, seconds = halves(tokens, stream, match.offset_s, max_offset_s)
    confidence = match.confidence + OF_HALVES * margin
    return replace(match, confidence=confidence, needed=needed_confidence(seconds, few=few))


def needed_confidence(seconds: float, *, few: bool) -> float:
    """For a recording that so many seconds of the sensors meet. few: fewer than three sensors."""
    short = min(1.0, max(seconds, 1.0) / NEEDED_AT_S[0])
    return float(np.interp(seconds, NEEDED_AT_S, NEEDED_OF_FEW if few else NEEDED)) / short
