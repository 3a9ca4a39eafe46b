"""Where a worn sensor's clock lies against that of a video's body pose.

Two views are laid over each other at every lag: the sensor's turning speed against that of the limb in the picture
(no training; sharp to a few milliseconds), and, where a model with a "motion" space is given, motion tokens against
motion tokens (rarely fooled; 0.2 s wide). Their mean chooses the peak, the first one places it. Alike movements give
alike peaks, and stillness gives none: the confidence is the peak minus the best score elsewhere, and an alignment
without enough of it is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import theilslopes

from motionseek.encoders.base import StreamEncoder
from motionseek.encoders.preprocess import imu_grid, pose_grid
from motionseek.errors import QueryError
from motionseek.search.correlate import cosine, lags, parabola, pearson
from motionseek.search.encode import tokens_of
from motionseek.search.filmed import align_film
from motionseek.search.limbs import RATE_HZ, Trace, limb_trace, parts_seen, sensor_trace
from motionseek.search.query import poses_of, recording_of, sensors_of
from motionseek.types import ANY_PART, Alignment, Bool, Float64, Imu, PoseTrack, VideoRef

if TYPE_CHECKING:
    from motionseek.encoders.model import Model

MIN_CONFIDENCE, MIN_CONFIDENCE_OF_FEW = 0.10, 0.15
"""Of three sensors or more, and of fewer. Of 600 pairs of strangers (7 to 22 s) three and three came through."""
MIN_SPEED_RPS = 0.12
"""A stream whose turning speed varies less than this (standard deviation) does not move."""
MIN_OVERLAP_S = 2.0
MIN_OVERLAP_SHARE = 0.3
"""Least overlap, as a share of the shorter stream."""
ELSEWHERE_S = 0.35
"""Scores further than this from the peak count as another answer."""
ALIAS_MARGIN = 0.1
FINE_S = 0.25
DRIFT_FROM_S = 60.0
DRIFT_WINDOW_S = 20.0
DRIFT_REACH_S = 2.0
MIN_WINDOW_R = 0.3
CHANCE_S = 3.0
"""Length of overlap at which half of a correlation is taken for chance."""
FINE_TOKENS_UP_TO_S = 600.0
SPACE = "motion"


@dataclass(frozen=True, eq=False)
class Traces:
    """S sensors and the limbs that they are worn on, as speeds on two clocks of RATE_HZ.

    names: (S,) placements.   sensor: (S, L), sensor_mask; first sample at sensor_start_s.   limb: (S, L'), likewise.
    """

    names: tuple[str, ...]
    sensor_start_s: float
    sensor: Float64
    sensor_mask: Bool
    limb_start_s: float
    limb: Float64
    limb_mask: Bool

    @property
    def moves(self) -> tuple[Bool, Bool]:
        """Which sensors move, which limbs do, (S,) each."""
        sides = ((self.sensor, self.sensor_mask), (self.limb, self.limb_mask))
        sensor, limb = (
            np.array([s[m].std() > MIN_SPEED_RPS if m.any() else False for s, m in zip(*side, strict=True)])
            for side in sides
        )
        return sensor, limb

    def only(self, keep: Bool) -> Traces:
        names = tuple(name for name, kept in zip(self.names, keep, strict=True) if kept)
        return Traces(
            names,
            self.sensor_start_s,
            self.sensor[keep],
            self.sensor_mask[keep],
            self.limb_start_s,
            self.limb[keep],
            self.limb_mask[keep],
        )


@dataclass(frozen=True, eq=False)
class Curve:
    """Scores of a body's sensors against one pose, over regular offsets.

    offset_s: (M,) every 1 / RATE_HZ.   parts: (S, M) correlation of each sensor with its limb.
    trace: (M,) their mean.   tokens: (M,) or None.   allowed: (M,) where enough of the streams overlap.
    """

    traces: Traces
    offset_s: Float64
    parts: Float64
    trace: Float64
    tokens: Float64 | None
    allowed: Bool

    @property
    def score(self) -> Float64:
        score = self.trace if self.tokens is None else (self.trace + self.tokens) / 2
        return np.where(self.allowed, score, -np.inf)

    @property
    def peak(self) -> int:
        return int(self.score.argmax())

    @property
    def confidence(self) -> float:
        """Score at the peak minus the best score that is not next to it, from 0 to 1."""
        score, peak = self.score, self.peak
        far = self.allowed & (np.abs(self.offset_s - self.offset_s[peak]) > ELSEWHERE_S)
        rival = max(float(score[far].max()), 0.0) if far.any() else 0.0
        return float(np.clip(score[peak] - rival, 0, 1))

    def aliases_s(self) -> tuple[float, ...]:
        """Other local peaks nearly as high, best first, at most five."""
        score, peak = self.score, self.peak
        inner = score[1:-1]
        high = 1 + np.flatnonzero((inner >= score[:-2]) & (inner > score[2:]) & (inner > score[peak] - ALIAS_MARGIN))
        taken = [float(self.offset_s[peak])]
        for offset_s in self.offset_s[high[np.argsort(-score[high], kind="stable")]]:
            if len(taken) < 6 and all(abs(offset_s - t) > ELSEWHERE_S for t in taken):
                taken.append(float(offset_s))
        return tuple(taken[1:])

    def refined_s(self) -> float:
        """The trace correlation's own peak within FINE_S of the chosen one."""
        near = self.allowed & (np.abs(self.offset_s - self.offset_s[self.peak]) <= FINE_S)
        position = parabola(np.where(near, self.trace, -np.inf))
        return float(self.offset_s[0] + position / RATE_HZ)


def sync(
    imu: Imu | str | Path | Sequence[Imu],
    media: PoseTrack | str | Path,
    *,
    placement: str | None = None,
    model: Model | None = None,
    max_offset_s: float | None = None,
) -> Alignment:
    """Align the sensors of one wearer, which share one clock, with a body pose, or a camera's own IMU with its picture.

    imu: sensors, a file of one, or a recording that holds some.   media: a pose track, or a recording that holds some;
    of several people the one that fits best is taken. A recording with a video and no pose, or one that the IMU's own
    camera filmed, is aligned by the motion of its picture (`Alignment.method` names the way).   placement: where the
    sensor is worn, unless its file says so; a single sensor of unknown placement is tried on every part.   model: one
    with a "motion" space makes similar movements less of a trap, for a body.   max_offset_s: bound of |offset_s|.

    offset_s holds for the middle of the overlap; drift_ppm, by how many millionths it grows with the IMU's time, is
    given from 60 s of overlap on. Raises QueryError where a side is not there, MediaError where a file cannot be read,
    MissingExtra where a picture is to be followed and opencv is not installed.
    """
    sensors = sensors_of(imu, placement=placement)
    if not isinstance(media, PoseTrack):
        recording, span = recording_of(media)
        if recording.video and (not recording.poses or _filmed_by(recording.video, sensors)):
            return align_film(sensors, recording.video, span=span, max_offset_s=max_offset_s)
    poses = poses_of(media)
    method = "gyro x limb" if model is None else "motion tokens + gyro x limb"
    pairs = [(track, traces) for track in poses for traces in _traces(sensors, track)]
    if not pairs:
        return _refused(method, "the picture never shows the parts that the sensors are worn on")
    moving = [(track, traces, *traces.moves) for track, traces in pairs]
    if not any(sensor.any() for _, _, sensor, _ in moving):
        return _refused(method, "nothing moves in the sensors")
    usable = [(track, traces.only(sensor & limb)) for track, traces, sensor, limb in moving if (sensor & limb).any()]
    if not usable:
        return _refused(method, "nothing moves in the picture where the sensors are worn")
    curves = [c for c in (_curve(t, track, sensors, model, max_offset_s) for track, t in usable) if c.allowed.any()]
    if not curves:
        return _refused(method, "the streams do not overlap for long enough within the offsets allowed")
    best = max(curves, key=lambda c: float(c.score.max()))
    confidence, aliases_s = best.confidence, best.aliases_s()
    parts = {name: float(r[best.peak]) for name, r in zip(best.traces.names, best.parts, strict=True)}
    needed = MIN_CONFIDENCE if len(parts) >= 3 else MIN_CONFIDENCE_OF_FEW
    if confidence < needed:
        reason = f"several offsets fit about as well (confidence {confidence:.2f}, {needed:.2f} is needed)"
        return Alignment(None, None, confidence, (best.refined_s(), *aliases_s)[:5], method, parts, reason)
    offset_s, drift_ppm = _drift(best.traces, best.refined_s())
    return Alignment(offset_s, drift_ppm, confidence, aliases_s, method, parts)


def _filmed_by(video: VideoRef, sensors: Sequence[Imu]) -> bool:
    return bool(video.camera) and all(imu.name == video.camera for imu in sensors)


def _refused(method: str, reason: str) -> Alignment:
    return Alignment(None, None, 0.0, (), method, {}, reason)


def _traces(sensors: Sequence[Imu], track: PoseTrack) -> list[Traces]:
    """The sensors against the limbs they are worn on; a single one of unknown placement against every limb."""
    seen = parts_seen(track)
    if any(imu.part == ANY_PART for imu in sensors):
        if len(sensors) > 1:
            raise QueryError("several sensors need their placements: only a single one can be tried on every part")
        worn = [[(sensors[0], part)] for part in seen]
    else:
        worn = [[(imu, imu.placement) for imu in sensors if imu.part in seen]]
    return [_stacked([(name, sensor_trace(imu), limb_trace(track, name)) for imu, name in w]) for w in worn if w]


def _stacked(rows: Sequence[tuple[str, Trace, Trace]]) -> Traces:
    first_s = min(sensor.start_s for _, sensor, _ in rows)
    begins = [round((sensor.start_s - first_s) * RATE_HZ) for _, sensor, _ in rows]
    length = max(b + len(sensor.speed) for b, (_, sensor, _) in zip(begins, rows, strict=True))
    speed, mask = np.zeros((len(rows), length)), np.zeros((len(rows), length), np.bool_)
    for row, (begin, (_, sensor, _)) in enumerate(zip(begins, rows, strict=True)):
        speed[row, begin : begin + len(sensor.speed)] = sensor.speed
        mask[row, begin : begin + len(sensor.speed)] = sensor.mask
    limbs = [limb for _, _, limb in rows]
    return Traces(
        tuple(name for name, _, _ in rows),
        first_s,
        speed,
        mask,
        limbs[0].start_s,
        np.stack([limb.speed for limb in limbs]),
        np.stack([limb.mask for limb in limbs]),
    )


def _weighted(r: Float64, count: Float64) -> Float64:
    """Mean over the first axis (sensors), each weighing as much as its overlap, drawn to 0 where that is short: any
    two short stretches correlate by chance."""
    mean: Float64 = (r * count).sum(axis=0) / np.maximum(count.sum(axis=0), 1)
    overlap_s = count.max(axis=0) / RATE_HZ
    drawn: Float64 = mean * overlap_s / (overlap_s + CHANCE_S)
    return drawn


def _curve(
    traces: Traces, track: PoseTrack, sensors: Sequence[Imu], model: Model | None, max_offset_s: float | None
) -> Curve:
    # Roots, so that a few violent moments do not decide alone.
    r, count = pearson(np.sqrt(traces.sensor), traces.sensor_mask, np.sqrt(traces.limb), traces.limb_mask)
    steps = lags(traces.sensor.shape[1], traces.limb.shape[1])
    offset_s = traces.limb_start_s - traces.sensor_start_s + steps / RATE_HZ
    overlap_s = count.max(axis=0) / RATE_HZ
    shorter_s = min(traces.sensor_mask.sum(axis=1).max(), traces.limb_mask.sum(axis=1).max()) / RATE_HZ
    allowed = overlap_s >= max(min(MIN_OVERLAP_S, 0.5 * shorter_s), MIN_OVERLAP_SHARE * shorter_s)
    if max_offset_s is not None:
        allowed &= np.abs(offset_s) <= max_offset_s + 1e-9
    tokens = None if model is None else _token_curve(traces, track, sensors, model, offset_s)
    return Curve(traces, offset_s, r, _weighted(r, count), tokens, allowed)


def _token_curve(traces: Traces, track: PoseTrack, sensors: Sequence[Imu], model: Model, offset_s: Float64) -> Float64:
    """Mean cosine of motion tokens, interpolated to the offsets; tokens stand closer where the streams are short."""
    of_imu, of_pose = model.encoders.get((SPACE, "imu")), model.encoders.get((SPACE, "pose"))
    if not (isinstance(of_imu, StreamEncoder) and isinstance(of_pose, StreamEncoder)):
        raise QueryError('the model has no "motion" space of IMU and pose to align with: leave the model away')
    worn = sensors if sensors[0].part != ANY_PART else [replace(sensors[0], placement=traces.names[0])]
    one_a_part = {imu.part: imu for imu in worn}
    imu, pose = imu_grid(list(one_a_part.values()), of_imu.rate_hz), pose_grid(track, of_pose.rate_hz)
    fine = max(imu.duration_s, pose.duration_s) <= FINE_TOKENS_UP_TO_S
    hop_s = of_imu.token_s / 5 if fine else of_imu.token_s
    left_token, left_mask = tokens_of(of_imu, imu, hop_s)
    right_token, right_mask = tokens_of(of_pose, pose, hop_s)
    score, _ = cosine(left_token, left_mask, right_token, right_mask)
    steps = lags(left_token.shape[1], right_token.shape[1])
    curve: Float64 = np.interp(offset_s, pose.start_s - imu.start_s + steps * hop_s, score)
    return curve


def _drift(traces: Traces, offset_s: float) -> tuple[float, float | None]:
    """The offset at the middle of the overlap, and the drift by a robust line (Theil-Sen) through windows' offsets."""
    shift = round((offset_s + traces.sensor_start_s - traces.limb_start_s) * RATE_HZ)
    first, last = max(0, -shift), min(traces.sensor.shape[1], traces.limb.shape[1] - shift)
    if last - first < DRIFT_FROM_S * RATE_HZ:
        return offset_s, None
    window, reach = int(DRIFT_WINDOW_S * RATE_HZ), int(DRIFT_REACH_S * RATE_HZ)
    begin = np.arange(first, last - window + 1, window // 2)
    at = begin[:, None] + np.arange(window)
    limb_at = begin[:, None] + shift - reach + np.arange(window + 2 * reach)
    held = (limb_at >= 0) & (limb_at < traces.limb.shape[1])
    limb_at = np.clip(limb_at, 0, traces.limb.shape[1] - 1)
    sensor, limb = np.sqrt(traces.sensor[:, at]), np.sqrt(traces.limb[:, limb_at])
    r, count = pearson(sensor, traces.sensor_mask[:, at], limb, traces.limb_mask[:, limb_at] & held)
    inside = slice(window - 1, window + 2 * reach)
    score = _weighted(r, count)[:, inside]
    found_s = (shift - reach + parabola(score)) / RATE_HZ + traces.limb_start_s - traces.sensor_start_s
    middle_s = (begin + window / 2) / RATE_HZ
    clear = score.max(axis=1) > MIN_WINDOW_R
    if clear.sum() < 4:
        return offset_s, None
    slope, intercept, _, _ = theilslopes(found_s[clear], middle_s[clear])
    return float(intercept + slope * (first + last) / 2 / RATE_HZ), float(slope * 1e6)
