"""Where a worn sensor's clock lies against that of a video's body pose.

Two views are laid over each other at every lag: the sensor's turning speed against that of the limb in the picture
(no training; sharp to a few milliseconds), and, where a model with a "motion" space is given, motion tokens against
motion tokens (rarely fooled; 0.2 s wide). Their mean chooses the peak, the first one places it. Alike movements give
alike peaks, and stillness gives none: the confidence is the peak minus the best score elsewhere, and an alignment
without enough of it is refused. Over minutes the offset is followed along a line, see `drift`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import scipy

from motionseek.encoders.base import StreamEncoder, tokenises
from motionseek.encoders.preprocess import imu_grid, pose_grid
from motionseek.errors import QueryError
from motionseek.search.correlate import cosine, lags, parabola, pearson
from motionseek.search.drift import ELSEWHERE_S, MAX_DRIFT, SLOWER, Line, follow, reach_s
from motionseek.search.encode import tokens_of
from motionseek.search.evidence import evidence
from motionseek.search.query import poses_of, recording_of, sensors_of
from motionseek.search.traces import Traces, pooled, traces_of
from motionseek.types import ANY_PART, Alignment, Bool, Evidence, Float64, Imu, PoseTrack, VideoRef

if TYPE_CHECKING:
    from motionseek.encoders.model import Model

MIN_CONFIDENCE, MIN_CONFIDENCE_OF_FEW, BY_TOKENS = 0.10, 0.15, 0.13
"""Of three sensors or more, of fewer, and of fewer with tokens. Chosen on the validation motions of benchmarks/sync.py:
of 327 strangers (one sensor, 10 and 20 s) four came through without tokens, none with them."""
MIN_OVERLAP_S = 2.0
MIN_OVERLAP_SHARE = 0.3
"""Least overlap, as a share of the shorter stream."""
ALIAS_MARGIN = 0.1
FINE_S = 0.25
BLURRED_S = 0.2
"""Where clocks may run apart by more than this over the overlap, one offset does not fit it all."""
MAX_DRIFT_ERROR = 5e-5
"""Drift whose standard deviation is larger is not told."""
LONG_S = 600.0
"""Longer streams are laid over each other more coarsely, for the first look."""
FINE_TOKENS_UP_TO_S = 600.0
SPACE = "motion"


@dataclass(frozen=True, eq=False)
class Curve:
    """Scores of a body's sensors against one pose, over regular offsets.

    traces: what is compared (`Traces.detail`).   offset_s: (M,).   parts: (S, M) correlation of each sensor with its
    limb.   trace: (M,) their mean.   sharp: (M,) the same with frequencies evened out, by which the peak is chosen.
    tokens: (M,) or None.   allowed: (M,) where enough of the streams overlap.
    """

    person: str
    traces: Traces
    offset_s: Float64
    parts: Float64
    trace: Float64
    sharp: Float64
    tokens: Float64 | None
    allowed: Bool

    @property
    def score(self) -> Float64:
        score = self.sharp if self.tokens is None else (self.sharp + self.tokens) / 2
        return np.where(self.allowed, score, -np.inf)

    @property
    def peak(self) -> int:
        return int(self.score.argmax())

    @property
    def step_s(self) -> float:
        return float(self.offset_s[1] - self.offset_s[0]) if len(self.offset_s) > 1 else 1.0

    def rival(self, near_s: float, beyond_s: float, score: Float64) -> float:
        """The best score further than beyond_s from near_s, at least 0."""
        far = self.allowed & (np.abs(self.offset_s - near_s) > beyond_s)
        return max(float(score[far].max()), 0.0) if far.any() else 0.0

    @property
    def confidence(self) -> float:
        """Score at the peak minus the best score that is not next to it, from 0 to 1."""
        score, peak = self.score, self.peak
        return float(np.clip(score[peak] - self.rival(self.offset_s[peak], ELSEWHERE_S, score), 0, 1))

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

    def refined_s(self, score: Float64) -> float:
        """The peak of another score (M,) within FINE_S of the chosen one."""
        near = self.allowed & (np.abs(self.offset_s - self.offset_s[self.peak]) <= FINE_S)
        return float(self.offset_s[0] + parabola(np.where(near, score, -np.inf)) * self.step_s)

    def line(self) -> Line | None:
        """The line that the offset follows over a long overlap. Where clocks may run apart by seconds, the peak is
        blurred: it is looked for at several widths."""
        traces, score = self.traces, self.score
        shared_s = min(traces.sensor.shape[1], traces.limb.shape[1]) / traces.rate_hz
        blurs_s = [blur_s for blur_s in (MAX_DRIFT * shared_s / 4, MAX_DRIFT * shared_s) if blur_s > BLURRED_S]
        starts_s = [float(self.offset_s[self.peak])]
        for blur_s in blurs_s:
            steps = max(1, round(blur_s / self.step_s))
            wide = scipy.ndimage.uniform_filter1d(np.where(self.allowed, score, 0.0), steps)
            starts_s.append(float(self.offset_s[np.where(self.allowed, wide, -np.inf).argmax()]))
        apart = [s for i, s in enumerate(starts_s) if all(abs(s - t) > blurs_s[-1] for t in starts_s[:i])]
        lines = [line for s in apart if (line := follow(traces, s)) is not None]
        return max(lines, key=lambda line: line.score, default=None)


def sync(
    imu: Imu | str | Path | Sequence[Imu],
    media: PoseTrack | str | Path,
    *,
    placement: str | None = None,
    model: Model | None = None,
    max_offset_s: float | None = None,
    units: Mapping[str, str] | None = None,
) -> Alignment:
    """Align the sensors of one wearer, which share one clock, with a body pose, or a camera's own IMU with its picture.

    imu: sensors, a file of one, or a recording that holds some.   media: a pose track, or a recording that holds some;
    of several people the one that fits best is taken. A recording with a video and no pose, or one that the IMU's own
    camera filmed, is aligned by the motion of its picture (`Alignment.method` names the way).   placement: where the
    sensor is worn, unless its file says so; a single sensor of unknown placement is tried on every part.   model: one
    with a "motion" space makes similar movements less of a trap, for a body.   max_offset_s: bound of |offset_s|.
    units: of plain sensor files, as for `Imu.load`.

    offset_s holds for the middle of the overlap; drift_ppm, by how many millionths it grows with the IMU's time, is
    given where the overlap, a minute at least, tells it to within 50 ppm (a camera's picture: 100). Raises QueryError
    where a side is not there, MediaError where a file cannot be read, MissingExtra where a picture is to be followed
    and opencv is not installed.
    """
    if max_offset_s is not None and not max_offset_s >= 0:
        raise QueryError(f"max_offset_s must not be negative, nor NaN: {max_offset_s:g}")
    sensors = sensors_of(imu, placement=placement, units=units)
    if not isinstance(media, PoseTrack):
        recording, span = recording_of(media, units=units)
        if recording.video and (not recording.poses or _filmed_by(recording.video, sensors)):
            # With it come the readers of films, which an archive opened for searching does not need.
            from motionseek.search.filmed import align_film

            return align_film(sensors, recording.video, span=span, max_offset_s=max_offset_s)
    poses = poses_of(media, units=units)
    method = "gyro x limb" if model is None else "motion tokens + gyro x limb"
    pairs = [(track, traces) for track in poses for traces in traces_of(sensors, track)]
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
    return _judged(max(curves, key=lambda c: float(c.score.max())), method)


def _filmed_by(video: VideoRef, sensors: Sequence[Imu]) -> bool:
    return bool(video.camera) and all(imu.name == video.camera for imu in sensors)


def _refused(method: str, reason: str) -> Alignment:
    return Alignment(None, None, 0.0, (), method, {}, reason)


def _curve(
    traces: Traces, track: PoseTrack, sensors: Sequence[Imu], model: Model | None, max_offset_s: float | None
) -> Curve:
    detail = traces.detail()
    long = max(traces.sensor.shape[1], traces.limb.shape[1]) > LONG_S * traces.rate_hz
    looked = detail.slower(SLOWER) if long else detail
    r, count = pearson(looked.sensor, looked.sensor_mask, looked.limb, looked.limb_mask)
    steps = lags(looked.sensor.shape[1], looked.limb.shape[1])
    offset_s = looked.limb_start_s - looked.sensor_start_s + steps / looked.rate_hz
    overlap_s = count.max(axis=0) / looked.rate_hz
    shorter_s = min(looked.sensor_mask.sum(axis=1).max(), looked.limb_mask.sum(axis=1).max()) / looked.rate_hz
    allowed = overlap_s >= max(min(MIN_OVERLAP_S, 0.5 * shorter_s), MIN_OVERLAP_SHARE * shorter_s)
    if max_offset_s is not None:
        allowed &= np.abs(offset_s) <= max_offset_s + 1e-9
    tokens = None if model is None else _token_curve(traces, track, sensors, model, offset_s)
    trace = pooled(r, count, looked.rate_hz)
    sharp = trace
    if not long:
        even = looked.evened()
        sharp = pooled(pearson(even.sensor, even.sensor_mask, even.limb, even.limb_mask)[0], count, looked.rate_hz)
    return Curve(track.person, detail, offset_s, r, trace, sharp, tokens, allowed)


def aligning(model: Model) -> tuple[StreamEncoder, StreamEncoder]:
    """The encoders of IMU and pose whose tokens are compared. Raises QueryError where the model has none."""
    of_imu, of_pose = model.encoders.get((SPACE, "imu")), model.encoders.get((SPACE, "pose"))
    if not (tokenises(of_imu) and tokenises(of_pose)):
        raise QueryError('the model has no "motion" space of IMU and pose to align with: leave the model away')
    return of_imu, of_pose


def _token_curve(traces: Traces, track: PoseTrack, sensors: Sequence[Imu], model: Model, offset_s: Float64) -> Float64:
    """Mean cosine of motion tokens, interpolated to the offsets; tokens stand closer where the streams are short."""
    of_imu, of_pose = aligning(model)
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


def _judged(curve: Curve, method: str) -> Alignment:
    confidence, aliases_s = curve.confidence, curve.aliases_s()
    offset_s, at = curve.refined_s(curve.trace), curve.peak
    drift_ppm = drift_error_ppm = None
    line = curve.line()
    if line is not None:
        near_s = reach_s(line.overlap_s)
        clear = line.score - max(line.rival, curve.rival(line.offset_s, near_s, curve.trace))
        if abs(line.offset_s - offset_s) <= near_s or clear > confidence:
            confidence = max(confidence, float(np.clip(clear, 0, 1)))
            offset_s, at = line.offset_s, int(np.abs(curve.offset_s - line.offset_s).argmin())
            if line.error <= MAX_DRIFT_ERROR:
                drift_ppm, drift_error_ppm = 1e6 * line.slope, 1e6 * line.error
    shown = _shown(curve, at, offset_s)
    names = curve.traces.names
    parts = {name: float(r[at]) for name, r in zip(names, curve.parts, strict=True)}
    own_s = {name: curve.refined_s(r) for name, r in zip(names, curve.parts, strict=True)}
    few = MIN_CONFIDENCE_OF_FEW if curve.tokens is None else BY_TOKENS
    needed = MIN_CONFIDENCE if len(parts) >= 3 else few
    if confidence < needed:
        reason = f"several offsets fit about as well (confidence {confidence:.2f}, {needed:.2f} is needed)"
        likeliest = (offset_s, *aliases_s)[:5]
        return Alignment(None, None, confidence, likeliest, method, parts, reason, evidence=shown)
    return Alignment(
        offset_s,
        drift_ppm,
        confidence,
        aliases_s,
        method,
        parts,
        drift_error_ppm=drift_error_ppm,
        person=curve.person,
        part_offsets_s=own_s,
        evidence=shown,
    )


def _shown(curve: Curve, at: int, offset_s: float) -> Evidence:
    """The scores and, of the sensor that fits best, both traces."""
    traces, best = curve.traces, int(curve.parts[:, at].argmax())
    sensor = np.where(traces.sensor_mask, traces.sensor, np.nan)[best]
    limb = np.where(traces.limb_mask, traces.limb, np.nan)[best]
    sensor_t_s = traces.sensor_start_s + np.arange(len(sensor)) / traces.rate_hz
    limb_t_s = traces.limb_start_s + np.arange(len(limb)) / traces.rate_hz
    return evidence((curve.offset_s, curve.score), (sensor_t_s, sensor), (limb_t_s, limb), offset_s)
