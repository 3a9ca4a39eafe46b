"""Which person of a picture wears a sensor, and on which part.

Every sensor is held against every part of every person: its turning speed against that of the limb (no training; the
traces of `limbs`) and, where a model with a "motion" space is given, its tokens against the pose's. The score is the
correlation of the first or, with a model, a third of it and two thirds of the tokens' cosine.

One body part carries one sensor: the assignment with the highest sum of scores is taken (Hungarian method), in which a
sensor may also belong to nobody. What is least needed to belong to somebody is what strangers reach by chance: the
more, the shorter the recording and the more places are tried.

Sensors that name the same wearer (`Imu.person`) are kept together: first the wearers are assigned to people, each by
the sum of its sensors' scores, then the sensors to the parts of that person.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import scipy

from motionseek.encoders.base import tokenises
from motionseek.encoders.preprocess import imu_grid, pose_grid
from motionseek.errors import QueryError, UsageError
from motionseek.search.correlate import cosine, lags, pearson
from motionseek.search.encode import tokens_of
from motionseek.search.limbs import RATE_HZ, Trace, limb_trace, parts_seen, sensor_trace
from motionseek.search.query import TABLE_SUFFIXES, is_there, poses_of, sensors_of, split_span, worn_at
from motionseek.search.sync import MIN_OVERLAP_S, SPACE
from motionseek.search.traces import CHANCE_S, MIN_SPEED_RPS
from motionseek.types import ANY_PART, PARTS, Bool, Float32, Float64, Imu, PoseTrack

if TYPE_CHECKING:
    from motionseek.indexer.pipeline import ModelLike

CHANCE, CHANCE_UNTRAINED = 0.55, 0.85
"""Least score for 1 s and 15 places tried, with a model and without. Chosen, like TOKEN_WEIGHT, on scenes of the demo's
clips with an earlier model; on other scenes of the same clips 7 of 192 strangers come through with the starter, 20
without a model (benchmarks/results/locate.json)."""
FLOOR, FLOOR_UNTRAINED = 0.15, 0.25
"""And never less than this: rhythms are alike for as long as they last."""
PLACES_TRIED, FEWEST_PLACES = 15, 6
INDEPENDENT_S = 0.3
"""Scores at offsets this far apart are different chances."""
TOKEN_WEIGHT = 2 / 3
FINE_TOKENS_UP_TO_S = 600.0
NOT_THERE = -1e3
"""Score of a part that a sensor cannot be on: worse than any, and finite, as the assignment needs."""


@dataclass(frozen=True)
class Worn:
    """Where one sensor is worn.

    sensor: its name or placement.   person, part: None where it is worn by nobody in the picture.   score: of the part
    chosen, or the best one refused.   margin: score minus the next answer, which is the sensor's best part on anybody
    else, or the least score that counts; how far below that least score where it is nobody.   people: person → the
    sensor's best score on them.   reason: why it is nobody, where it is.
    """

    sensor: str
    person: str | None
    part: str | None
    score: float
    margin: float
    people: Mapping[str, float]
    reason: str = ""

    def __post_init__(self) -> None:
        if (self.person is None) != (self.part is None) or (self.person is None) != bool(self.reason):
            raise UsageError("a sensor is worn by a person on a part, or by nobody for a reason")
        if self.part is not None and self.part not in PARTS:
            raise UsageError(f"part {self.part!r} is not known; use one of: {', '.join(PARTS)}")

    def to_json(self) -> dict[str, Any]:
        return {
            "sensor": self.sensor,
            "person": self.person,
            "part": self.part,
            "score": round(self.score, 4),
            "margin": round(self.margin, 4),
            "people": {person: round(score, 4) for person, score in self.people.items()},
            "reason": self.reason,
        }


@dataclass(frozen=True)
class Located:
    """Where several sensors are worn. people: all that the picture shows.   offset_s: what was added to the sensors'
    time to get the picture's.   method: what the scores stand on."""

    sensors: tuple[Worn, ...]
    people: tuple[str, ...]
    offset_s: float
    method: str

    def __post_init__(self) -> None:
        taken = [(worn.person, worn.part) for worn in self.sensors if worn.person is not None]
        if len(set(taken)) < len(taken):
            raise UsageError("two sensors cannot be on the same part of one person")
        unknown = {person for person, _ in taken} - set(self.people)
        if unknown:
            raise UsageError(f"nobody in the picture is called {', '.join(sorted(map(str, unknown)))}")

    def to_json(self) -> dict[str, Any]:
        return {
            "sensors": [worn.to_json() for worn in self.sensors],
            "people": list(self.people),
            "offset_s": round(self.offset_s, 4),
            "method": self.method,
        }


def locate(
    imu: Imu | str | Path | Sequence[Imu],
    media: PoseTrack | Sequence[PoseTrack] | str | Path,
    *,
    model: ModelLike | None = None,
    offset_s: float = 0.0,
    max_offset_s: float = 0.0,
    min_score: float | None = None,
    units: Mapping[str, str] | None = None,
) -> Located:
    """Which person of `media` wears each sensor, and on which part.

    imu: sensors that share one clock, a file of one, or a recording that holds some; one of unknown placement is
    tried on every part.   media: pose tracks, or a recording that holds some.   model: one with a "motion" space is
    fooled less often.   offset_s: what to add to the sensors' time to get the media's; with max_offset_s it is
    searched that far on both sides, one for all sensors.   min_score: below it a sensor is worn by nobody; by default
    what strangers rarely reach.   units: of plain sensor files, as for `Imu.load`.

    Raises QueryError where a side is not there or two sensors of one wearer name the same part, MediaError where a
    file cannot be read.
    """
    sensors, tracks = all_sensors(imu, units=units), _tracks(media, units)
    if not (np.isfinite(offset_s) and np.isfinite(max_offset_s) and max_offset_s >= 0):
        raise QueryError("offset_s must be finite, and max_offset_s finite and not negative")
    if min_score is not None and not np.isfinite(min_score):
        raise QueryError(f"min_score must be finite, not {min_score:g}")
    _refuse_shared_parts(sensors)
    steps = int(np.floor(max_offset_s * RATE_HZ + 1e-9))
    offsets_s = offset_s + np.arange(-steps, steps + 1) / RATE_HZ
    scores, moves = _scores(sensors, tracks, model, offsets_s)
    at = int(np.maximum(scores.max(axis=(1, 2)), 0.0).sum(axis=0).argmax())
    found = scores[..., at]
    if min_score is None:
        chance, floor = (CHANCE_UNTRAINED, FLOOR_UNTRAINED) if model is None else (CHANCE, FLOOR)
        tries = (found > NOT_THERE / 2).sum(axis=(1, 2)) * max(1.0, 2 * max_offset_s / INDEPENDENT_S)
        shared_s = _shared_s(sensors, tracks, float(offsets_s[at]))
        least = np.maximum(chance * _chance(tries, shared_s), floor)
    else:
        least = np.full(len(sensors), float(min_score))
    chosen = _assigned(found - least[:, None, None], [imu.person for imu in sensors])
    people = tuple(track.person for track in tracks)
    worn = tuple(
        _worn(_name(sensor, i), found[i], person, part, people, float(least[i]), bool(moves[i]))
        for i, (sensor, (person, part)) in enumerate(zip(sensors, chosen, strict=True))
    )
    method = "gyro x limb" if model is None else "motion tokens + gyro x limb"
    return Located(worn, people, float(offsets_s[at]), method)


def all_sensors(
    source: Imu | str | Path | Sequence[Imu],
    *,
    placement: str | None = None,
    units: Mapping[str, str] | None = None,
) -> tuple[Imu, ...]:
    """The sensors as given, of a table or of a recording, whoever wears them; cropped where a path says `@a-b`."""
    if not isinstance(source, str | Path):
        return sensors_of(source, placement=placement)
    file, span = split_span(source)
    if file.suffix.lower() in TABLE_SUFFIXES or not is_there(file):
        return sensors_of(source, placement=placement, units=units)
    from motionseek.indexer.readers import read

    recording = read(file, units=units)
    if not recording.imus:
        raise QueryError(f"{file} holds no IMU; it has: {', '.join(recording.modalities)}")
    sensors = worn_at(recording.imus, placement)
    return sensors if span is None else tuple(imu.crop(span) for imu in sensors)


def _tracks(
    media: PoseTrack | Sequence[PoseTrack] | str | Path, units: Mapping[str, str] | None
) -> tuple[PoseTrack, ...]:
    tracks = poses_of(media, units=units) if isinstance(media, PoseTrack | str | Path) else tuple(media)
    if not tracks:
        raise QueryError("no pose track is given: nobody could wear the sensors")
    people = [track.person for track in tracks]
    if len(set(people)) < len(people):
        raise QueryError(f"two pose tracks have the same person: {', '.join(sorted(people))}")
    return tracks


def _refuse_shared_parts(sensors: Sequence[Imu]) -> None:
    known = [(imu.person, imu.part) for imu in sensors if imu.person and imu.part != ANY_PART]
    for person, part in known:
        if known.count((person, part)) > 1:
            raise QueryError(f"two sensors of {person} are both on the {part}: one part carries one sensor here")


def _shared_s(sensors: Sequence[Imu], tracks: Sequence[PoseTrack], offset_s: float) -> Float64:
    """(S,) how long each sensor is worn in the picture, at most."""
    return np.array(
        [
            max(min(imu.end_s + offset_s, t.end_s) - max(imu.start_s + offset_s, t.start_s) for t in tracks)
            for imu in sensors
        ]
    )


def _chance(tries: Float64, seconds: Float64) -> Float64:
    """How the highest of several scores of strangers grows with their number and falls with time; 1 for 15 in 1 s."""
    grown: Float64 = np.sqrt(np.log(np.maximum(tries, FEWEST_PLACES)) / np.log(PLACES_TRIED) / np.maximum(seconds, 1.0))
    return grown


def _name(imu: Imu, i: int) -> str:
    return imu.name or (imu.placement if imu.placement != ANY_PART else f"sensor {i + 1}")


# -- scores of every sensor on every part of every person


def _scores(
    sensors: Sequence[Imu], tracks: Sequence[PoseTrack], model: ModelLike | None, offsets_s: Float64
) -> tuple[Float64, Bool]:
    """(S, people, 6, M) score at each of M offsets, NOT_THERE where a sensor cannot be; (S,) which sensors move."""
    scores = np.full((len(sensors), len(tracks), len(PARTS), len(offsets_s)), NOT_THERE)
    seen = [parts_seen(track) for track in tracks]
    limbs: dict[tuple[int, str], Trace] = {}
    traces = [sensor_trace(imu) for imu in sensors]
    moves = np.array([bool(t.mask.any()) and float(t.speed[t.mask].std()) > MIN_SPEED_RPS for t in traces], np.bool_)
    tokens = None if model is None else _Tokens(model, tracks)
    for s, (imu, trace) in enumerate(zip(sensors, traces, strict=True)):
        if not moves[s]:
            continue
        alike = None if tokens is None else tokens.alike(imu, offsets_s)
        for p, track in enumerate(tracks):
            for part in seen[p] if imu.part == ANY_PART else {imu.part} & set(seen[p]):
                slot = PARTS.index(part)
                where = (p, part if imu.part == ANY_PART else imu.placement)
                if where not in limbs:
                    limbs[where] = limb_trace(track, where[1])
                curve = _trace_curve(trace, limbs[where], offsets_s)
                scores[s, p, slot] = (
                    curve if alike is None else (1 - TOKEN_WEIGHT) * curve + TOKEN_WEIGHT * alike[p, slot]
                )
    return scores, moves


def _trace_curve(sensor: Trace, limb: Trace, offsets_s: Float64) -> Float64:
    """Pearson's r of the speeds (M,), drawn to 0 where they share little time; NOT_THERE where too little."""
    # Roots, so that a few violent moments do not decide alone.
    r, count = pearson(np.sqrt(sensor.speed), sensor.mask, np.sqrt(limb.speed), limb.mask)
    shared_s = count / RATE_HZ
    drawn = r * shared_s / (shared_s + CHANCE_S)
    axis_s = limb.start_s - sensor.start_s + lags(len(sensor.speed), len(limb.speed)) / RATE_HZ
    least_s = min(MIN_OVERLAP_S, 0.5 * min(sensor.mask.sum(), limb.mask.sum()) / RATE_HZ)
    enough = np.interp(offsets_s, axis_s, shared_s, left=0.0, right=0.0) >= max(least_s, 1 / RATE_HZ)
    return np.where(enough, np.interp(offsets_s, axis_s, drawn), NOT_THERE)


class _Tokens:
    """Motion tokens of all people, made once."""

    def __init__(self, model: ModelLike, tracks: Sequence[PoseTrack]) -> None:
        of_imu, of_pose = model.encoders.get((SPACE, "imu")), model.encoders.get((SPACE, "pose"))
        if not (tokenises(of_imu) and tokenises(of_pose)):
            raise QueryError('the model has no "motion" space of IMU and pose to compare in: leave the model away')
        self.of_imu = of_imu
        self.long = any(track.end_s - track.start_s > FINE_TOKENS_UP_TO_S for track in tracks)
        grids = [pose_grid(track, of_pose.rate_hz) for track in tracks]
        self.people = [(grid.start_s, *tokens_of(of_pose, grid, self.hop_s)) for grid in grids]

    @property
    def hop_s(self) -> float:
        return self.of_imu.token_s if self.long else self.of_imu.token_s / 5

    def alike(self, imu: Imu, offsets_s: Float64) -> Float64:
        """(people, 6, M): mean cosine of the sensor's tokens, as if it were worn on each part, with that part's,
        less what it is at any other offset: some movements look like everything."""
        grid = imu_grid([replace(imu, placement=ANY_PART)], self.of_imu.rate_hz)
        everywhere = replace(
            grid, x=np.repeat(grid.x[-1:], len(grid.x), axis=0), mask=np.repeat(grid.mask[-1:], len(grid.mask), axis=0)
        )
        token, mask = tokens_of(self.of_imu, everywhere, self.hop_s)
        return np.array(
            [
                [
                    self._curve(token[p : p + 1], mask[p : p + 1], other[p : p + 1], there[p : p + 1], lag_s)
                    for p in range(len(PARTS))
                ]
                for start_s, other, there in self.people
                for lag_s in [offsets_s + grid.start_s - start_s]
            ]
        )

    def _curve(self, token: Float32, mask: Bool, other: Float32, there: Bool, lag_s: Float64) -> Float64:
        score, count = cosine(token, mask, other, there)
        usual = float((score * count).sum() / max(count.sum(), 1))
        at: Float64 = np.interp(lag_s, lags(token.shape[1], other.shape[1]) * self.hop_s, score)
        return at - usual


# -- from scores to an assignment

Slot = tuple[int | None, int | None]


def _assigned(gain: Float64, wearers: Sequence[str]) -> list[Slot]:
    """gain (S, people, 6), score above what is needed → (person, part) of each sensor, (None, None) where nobody."""
    chosen: list[Slot] = [(None, None)] * len(gain)
    groups = {name: [s for s, w in enumerate(wearers) if w == name] for name in dict.fromkeys(wearers) if name}
    free = np.ones(gain.shape[1:], np.bool_)
    if groups:
        members = list(groups.values())
        fits = [[_best(gain[own, p]) for p in range(gain.shape[1])] for own in members]
        total = np.array([[sum(g for _, g in fit) for fit in row] for row in fits])
        for (g, p), _ in _best_pairs(total):
            for s, (part, _) in zip(members[g], fits[g][p], strict=True):
                if part is not None:
                    chosen[s] = (p, part)
            free[p] = False
    alone = [s for s, w in enumerate(wearers) if not w]
    if alone:
        flat = np.where(free, gain[alone], NOT_THERE).reshape(len(alone), -1)
        for s, (slot, _) in zip(alone, _best(flat), strict=True):
            if slot is not None:
                chosen[s] = divmod(slot, gain.shape[2])
    return chosen


def _best(gain: Float64) -> list[tuple[int | None, float]]:
    """gain (S, K) → for each row its column in the one-to-one assignment with the highest sum, and the gain; None and
    0 where a row gains by staying out."""
    found: list[tuple[int | None, float]] = [(None, 0.0)] * len(gain)
    for (row, column), value in _best_pairs(gain):
        found[row] = (column, value)
    return found


def _best_pairs(gain: Float64) -> list[tuple[tuple[int, int], float]]:
    stay_out: npt.NDArray[np.float64] = np.zeros((len(gain), len(gain)))
    rows, columns = scipy.optimize.linear_sum_assignment(np.hstack([gain, stay_out]), maximize=True)
    return [
        ((int(r), int(c)), float(gain[r, c]))
        for r, c in zip(rows, columns, strict=True)
        if c < gain.shape[1] and gain[r, c] > 0
    ]


def _worn(
    name: str,
    scores: Float64,
    person: int | None,
    part: int | None,
    people: Sequence[str],
    least: float,
    moves: bool,
) -> Worn:
    """scores: (people, 6) of one sensor."""
    best = scores.max(axis=1)
    seen = {who: float(b) for who, b in zip(people, best, strict=True) if b > NOT_THERE / 2}
    if person is None or part is None:
        top = max(seen.values(), default=0.0)
        if not moves:
            reason = "nothing moves in the sensor"
        elif not seen:
            reason = "the picture never shows the part it is worn on while it is worn"
        elif top < least:
            reason = f"nobody moves like it (best {top:.2f}, {least:.2f} is needed)"
        else:
            reason = "whoever moves like it wears other sensors there, which fit better"
        return Worn(name, None, None, top, least - top, seen, reason)
    score = float(scores[person, part])
    rival = max([least, *(b for who, b in seen.items() if who != people[person])])
    return Worn(name, people[person], PARTS[part], score, score - rival, seen)
