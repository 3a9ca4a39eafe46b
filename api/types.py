"""What all parts share: recordings, windows, moments, alignments.

Every class is frozen and checks itself when built. Units are in the names; times are seconds on the clock of
their own stream, as float64. Shapes use B batch, N windows, P parts, T tokens, C channels, L samples, D width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from motionseek.errors import UsageError

Modality = Literal["imu", "video", "pose", "text"]
MODALITIES: tuple[Modality, ...] = get_args(Modality)
Level = Literal["global", "local", "token"]
LEVELS: tuple[Level, ...] = get_args(Level)
Status = Literal["ok", "partial", "failed"]

FloatArray = npt.NDArray[np.floating[Any]]
Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

PARTS = ("left_wrist", "right_wrist", "left_knee", "right_knee", "head", "torso")
"""Body parts that both a sensor and a pose can show, in the order of every P axis."""

ANY_PART = "unknown"
"""The last slot of an IMU's P axis: a sensor worn nobody knows where."""

PART_OF_PLACEMENT: Mapping[str, str] = {
    **{part: part for part in PARTS},
    **{f"{side}_{where}": f"{side}_wrist" for side in ("left", "right") for where in ("hand", "forearm", "upper_arm")},
    **{
        f"{side}_{where}": f"{side}_knee"
        for side in ("left", "right")
        for where in ("thigh", "pocket", "shank", "ankle", "foot")
    },
    "ear": "head",
    "glasses": "head",
    "waist": "torso",
    "pelvis": "torso",
    "chest": "torso",
    "back": "torso",
    ANY_PART: ANY_PART,
}
"""Where a sensor may be worn → the part whose movement it shares."""

COCO17 = (
    *("nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder"),
    *("left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip"),
    *("left_knee", "right_knee", "left_ankle", "right_ankle"),
)
STANDARD_GRAVITY_MPS2 = 9.80665


def median_step_s(t_s: Float64) -> float:
    """The median step of times (L,), L at least 2: as np.median has it, in a third of its time for few samples."""
    step = t_s[1:] - t_s[:-1]
    low, high = (len(step) - 1) // 2, len(step) // 2
    held = np.partition(step, (low, high))
    return float((held[low] + held[high]) / 2)


def _clock(t_s: Any, what: str) -> Float64:
    clock = np.ascontiguousarray(t_s, dtype=np.float64)
    if clock.ndim != 1 or len(clock) == 0:
        raise UsageError(f"{what} must be one-dimensional and not empty, not of shape {clock.shape}")
    if not np.isfinite(clock).all():
        raise UsageError(f"{what} holds NaN or infinite times: drop those samples first")
    if (np.diff(clock) <= 0).any():
        raise UsageError(f"{what} must increase strictly: sort it and drop repeated times first")
    clock.setflags(write=False)
    return clock


def _values(x: Any, shape: tuple[int, ...], what: str) -> Float32:
    values = np.ascontiguousarray(x, dtype=np.float32)
    if values.shape != shape:
        raise UsageError(f"{what} must have shape {shape}, not {values.shape}")
    values.setflags(write=False)
    return values


@dataclass(frozen=True)
class Span:
    """A stretch of time on one clock, end not included."""

    start_s: float
    end_s: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.start_s) and np.isfinite(self.end_s) and self.start_s < self.end_s):
            raise UsageError(f"a span must start before it ends, not {self.start_s}-{self.end_s}")

    @property
    def duration_s(self) -> float:
        return self.end_s - self.start_s


@dataclass(frozen=True, eq=False)
class Imu:
    """One worn sensor: accelerometer with gravity and gyroscope, each on its own clock, in the sensor's frame.

    acc_t_s: (La,) float64, seconds, strictly increasing.     acc_mps2: (La, 3) float32, m/s², with gravity.
    gyro_t_s: (Lg,) float64, the same clock as acc_t_s.       gyro_rps: (Lg, 3) float32, rad/s.
    NaN values mean missing samples. An accelerometer-only sensor has empty gyro arrays.
    placement: a key of PART_OF_PLACEMENT.                    person: who wears it, "" where unknown.
    """

    acc_t_s: Float64
    acc_mps2: Float32
    gyro_t_s: Float64
    gyro_rps: Float32
    placement: str = ANY_PART
    person: str = ""
    name: str = ""

    def __post_init__(self) -> None:
        acc_t_s = _clock(self.acc_t_s, "acc_t_s")
        gyro_t_s = np.asarray(self.gyro_t_s, dtype=np.float64)
        gyro_t_s = _clock(gyro_t_s, "gyro_t_s") if gyro_t_s.size else gyro_t_s.reshape(0)
        object.__setattr__(self, "acc_t_s", acc_t_s)
        object.__setattr__(self, "gyro_t_s", gyro_t_s)
        object.__setattr__(self, "acc_mps2", _values(self.acc_mps2, (len(acc_t_s), 3), "acc_mps2"))
        object.__setattr__(self, "gyro_rps", _values(self.gyro_rps, (len(gyro_t_s), 3), "gyro_rps"))
        if self.placement not in PART_OF_PLACEMENT:
            known = ", ".join(PART_OF_PLACEMENT)
            raise UsageError(f"placement {self.placement!r} is not known; use one of: {known}")

    @property
    def part(self) -> str:
        """The body part of PARTS that this sensor moves with, or "unknown"."""
        return PART_OF_PLACEMENT[self.placement]

    @property
    def start_s(self) -> float:
        return float(min(self.acc_t_s[0], self.gyro_t_s[0])) if len(self.gyro_t_s) else float(self.acc_t_s[0])

    @property
    def end_s(self) -> float:
        return float(max(self.acc_t_s[-1], self.gyro_t_s[-1])) if len(self.gyro_t_s) else float(self.acc_t_s[-1])

    @cached_property
    def rate_hz(self) -> float:
        """True median rate of the accelerometer."""
        return 1.0 / median_step_s(self.acc_t_s) if len(self.acc_t_s) > 1 else 0.0

    @cached_property
    def one_clock(self) -> bool:
        """Whether both sensors have a sample at every one of the same times."""
        same = np.array_equal(self.acc_t_s, self.gyro_t_s)
        return same and bool(np.isfinite(self.acc_mps2).all() and np.isfinite(self.gyro_rps).all())

    def crop(self, span: Span) -> Imu:
        """The samples of `span`, on the same clock. Raises UsageError where none lies in it."""
        acc, gyro = ((t >= span.start_s) & (t < span.end_s) for t in (self.acc_t_s, self.gyro_t_s))
        if not acc.any():
            raise UsageError(
                f"{span.start_s:g}-{span.end_s:g} s lies outside {self.name or 'the sensor'}, "
                f"which spans {self.start_s:.2f}-{self.end_s:.2f} s"
            )
        return Imu(
            self.acc_t_s[acc],
            self.acc_mps2[acc],
            self.gyro_t_s[gyro],
            self.gyro_rps[gyro],
            self.placement,
            self.person,
            self.name,
        )

    @classmethod
    def load(cls, path: str | Path, *, placement: str | None = None, units: Mapping[str, str] | None = None) -> Imu:
        """Read a plain IMU file: csv or parquet with the columns `t_s, ax_mps2 … gz_rps`, or npy of shape (L, 7); or
        the one sensor of a file of another format that motionseek knows.

        units: what a plain file is in where it is not in s, m/s² and rad/s, as {"acc": "g", "gyro": "deg/s"}.
        Raises DamagedFile or UnitError, naming the file; UsageError where it holds several sensors.
        """
        from motionseek.indexer.readers import load_imu

        return load_imu(path, placement=placement, units=units)

    def __repr__(self) -> str:
        return f"Imu({self.placement}, {self.end_s - self.start_s:.2f} s, {self.rate_hz:.1f} Hz)"


@dataclass(frozen=True, eq=False)
class PoseTrack:
    """One person's body over time.

    t_s: (N,) float64, seconds on the video's clock.     xy_px: (N, 17, 2) float32, COCO-17 order, NaN where unseen.
    confidence: (N, 17) float32, 0 to 1.                 image_size: (width, height) in pixels.
    estimator: what found it in the pixels, "" where it was read from a file.
    """

    t_s: Float64
    xy_px: Float32
    confidence: Float32
    image_size: tuple[int, int]
    person: str = "0"
    estimator: str = ""

    def __post_init__(self) -> None:
        t_s = _clock(self.t_s, "t_s")
        object.__setattr__(self, "t_s", t_s)
        object.__setattr__(self, "xy_px", _values(self.xy_px, (len(t_s), 17, 2), "xy_px"))
        object.__setattr__(self, "confidence", _values(self.confidence, (len(t_s), 17), "confidence"))
        if len(self.image_size) != 2 or min(self.image_size) <= 0:
            raise UsageError(f"image_size must be (width, height) in pixels, not {self.image_size}")

    @property
    def start_s(self) -> float:
        return float(self.t_s[0])

    @property
    def end_s(self) -> float:
        return float(self.t_s[-1])

    def crop(self, span: Span) -> PoseTrack:
        """The frames of `span`. Raises UsageError where none lies in it."""
        keep = (self.t_s >= span.start_s) & (self.t_s < span.end_s)
        if not keep.any():
            raise UsageError(
                f"{span.start_s:g}-{span.end_s:g} s lies outside the pose track of person {self.person}, "
                f"which spans {self.start_s:.2f}-{self.end_s:.2f} s"
            )
        return replace(self, t_s=self.t_s[keep], xy_px=self.xy_px[keep], confidence=self.confidence[keep])

    def __repr__(self) -> str:
        return f"PoseTrack(person {self.person}, {self.end_s - self.start_s:.2f} s, {len(self.t_s)} frames)"


@dataclass(frozen=True)
class VideoRef:
    """A video file, not decoded: where it is and what its container says.

    start_s: time of the first frame on the recording's clock.  rate_hz: average frame rate.  size: (width, height)
    as shown, rotation applied.  camera: "" or what the file says filmed it.
    """

    path: str
    start_s: float
    duration_s: float
    rate_hz: float
    size: tuple[int, int]
    codec: str = ""
    camera: str = ""

    def __post_init__(self) -> None:
        if not (np.isfinite(self.start_s) and self.duration_s >= 0 and min(self.size) > 0):
            raise UsageError(f"{self.path}: a video needs a finite start, a duration and a size, not {self}")

    @property
    def end_s(self) -> float:
        return self.start_s + self.duration_s


@dataclass(frozen=True)
class Narration:
    """A sentence about a stretch of the recording."""

    start_s: float
    end_s: float
    text: str

    def __post_init__(self) -> None:
        Span(self.start_s, self.end_s)


@dataclass(frozen=True, eq=False)
class Recording:
    """What was captured together. `recording_id` is the sha256 of the content of its files."""

    recording_id: str
    uri: str
    imus: tuple[Imu, ...] = ()
    video: VideoRef | None = None
    poses: tuple[PoseTrack, ...] = ()
    narrations: tuple[Narration, ...] = ()
    labels: tuple[str, ...] = ()
    source_format: str = ""
    problems: tuple[str, ...] = ()
    """What could not be read: such a recording is `partial`, not `ok`."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """What the source says beyond this, as JSON values; kept, never interpreted."""

    def __post_init__(self) -> None:
        if not (self.imus or self.video or self.poses or self.narrations):
            raise UsageError(f"{self.uri}: a recording must hold at least one stream")

    @property
    def span(self) -> Span:
        """From the first to the last sample of any stream."""
        streams: list[Imu | PoseTrack | VideoRef | Narration] = [*self.imus, *self.poses, *self.narrations]
        if self.video:
            streams.append(self.video)
        start_s = min(s.start_s for s in streams)
        return Span(start_s, max(start_s + 1e-3, max(s.end_s for s in streams)))

    @property
    def duration_s(self) -> float:
        return self.span.duration_s

    @property
    def modalities(self) -> tuple[Modality, ...]:
        held = {"imu": self.imus, "video": self.video, "pose": self.poses, "text": self.narrations}
        return tuple(m for m in MODALITIES if held[m])

    def __repr__(self) -> str:
        return f"Recording({self.recording_id[:12]}, {'+'.join(self.modalities)}, {self.duration_s:.2f} s, {self.uri})"


@dataclass(frozen=True)
class Window:
    """A span of one recording, seen through one modality."""

    window_id: str
    recording_id: str
    modality: Modality
    person: str
    parts: tuple[str, ...]
    start_s: float
    end_s: float
    caption: str = ""
    labels: tuple[str, ...] = ()
    quality: float = 1.0
    """Share of the window's samples that are really there, 0 to 1."""

    def __post_init__(self) -> None:
        Span(self.start_s, self.end_s)
        _known_modality(self.modality)
        if not 0 <= self.quality <= 1:
            raise UsageError(f"quality must lie between 0 and 1, not at {self.quality}")


def _known_modality(modality: str) -> None:
    if modality not in MODALITIES:
        raise UsageError(f"modality {modality!r} is not known; use one of: {', '.join(MODALITIES)}")


@dataclass(frozen=True)
class Moment:
    """A hit: where something is, how well it fits, and through what it was found."""

    rank: int
    recording_id: str
    uri: str
    modality: Modality
    start_s: float
    end_s: float
    score: float
    scores: Mapping[str, float]
    """Score per level that was looked at: "global", "local", "token"."""
    through: Modality
    """The modality whose vectors matched; the hit itself may be another one of the same recording."""
    path: tuple[str, ...] = ()
    """From what was asked with to what was found: ("text", "imu", "video")."""
    person: str = ""
    offset_s: float | None = None
    """Where the query was aligned: what to add to the query's time to get the moment's time."""
    confidence: float | None = None
    """How sure it is that this is no chance hit, 0 to 1, or None: see `motionseek.search.calibrate`."""
    caption: str = ""
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _known_modality(self.modality)
        _known_modality(self.through)
        if self.rank < 1 or not self.start_s <= self.end_s or not np.isfinite(self.score):
            raise UsageError(
                f"a moment needs a rank from 1, a start before its end and a finite score, not {self.rank}, "
                f"{self.start_s}-{self.end_s} and {self.score}"
            )

    def to_json(self) -> dict[str, Any]:
        """JSON-ready, in the order that the command line prints."""
        return {
            "rank": self.rank,
            "recording_id": self.recording_id,
            "uri": self.uri,
            "modality": self.modality,
            "start_s": round(self.start_s, 3),
            "end_s": round(self.end_s, 3),
            "score": round(self.score, 5),
            "confidence": None if self.confidence is None else round(self.confidence, 4),
            "scores": {level: round(score, 5) for level, score in self.scores.items()},
            "offset_s": None if self.offset_s is None else round(self.offset_s, 4),
            "caption": self.caption,
            "labels": list(self.labels),
            "through": self.through,
            "path": list(self.path),
            "person": self.person,
        }


@dataclass(frozen=True, eq=False)
class Evidence:
    """What an alignment was judged by, thinned out for drawing.

    offset_s, score: (M,) how well each offset fits.   sensor_t_s, sensor: (L,) how fast the sensor turns, on its own
    clock; NaN where it was silent.   media_t_s, media: (N,) how fast the body or the picture moves, on the media's.
    """

    offset_s: Float64
    score: Float64
    sensor_t_s: Float64
    sensor: Float64
    media_t_s: Float64
    media: Float64

    def __post_init__(self) -> None:
        pairs = ((self.offset_s, self.score), (self.sensor_t_s, self.sensor), (self.media_t_s, self.media))
        if any(t.ndim != 1 or t.shape != x.shape for t, x in pairs):
            raise UsageError("each curve of an evidence needs as many times as values")
        if not (len(self.offset_s) and len(self.media_t_s)):
            raise UsageError("an evidence needs offsets and a stretch of the media")


@dataclass(frozen=True)
class Alignment:
    """How a sensor's clock lies against that of a video or a pose track.

    offset_s: what to add to the IMU's time to get the media's time; None where the alignment was refused.
    drift_ppm: by how many millionths it grows with the IMU's time; None where the recording does not tell.
    confidence: score at the peak minus the best score elsewhere, 0 to 1.   aliases_s: other offsets nearly as good.
    """

    offset_s: float | None
    drift_ppm: float | None
    confidence: float
    aliases_s: tuple[float, ...]
    method: str
    parts: Mapping[str, float] = field(default_factory=dict)
    """Score at the chosen offset, per part."""
    reason: str = ""
    """Why the alignment was refused, where it was."""
    drift_error_ppm: float | None = None
    """Standard deviation of drift_ppm."""
    person: str = ""
    """Whose pose it is aligned with, of several people the one that fits best."""
    part_offsets_s: Mapping[str, float] = field(default_factory=dict)
    """Offset that each sensor gives by itself next to the chosen one: one that differs has a clock of its own."""
    evidence: Evidence | None = field(default=None, repr=False, compare=False)
    """What can be drawn of it; None where there was nothing to compare."""

    def __post_init__(self) -> None:
        if not np.isfinite(self.confidence) or (self.offset_s is not None and not np.isfinite(self.offset_s)):
            raise UsageError(f"offset_s and confidence must be finite, not {self.offset_s} and {self.confidence}")
        if self.offset_s is None and not self.reason:
            raise UsageError("an alignment without an offset must say why it was refused")

    @property
    def accepted(self) -> bool:
        return self.offset_s is not None

    def to_json(self) -> dict[str, Any]:
        return {
            "offset_s": None if self.offset_s is None else round(self.offset_s, 4),
            "drift_ppm": None if self.drift_ppm is None else round(self.drift_ppm, 1),
            "drift_error_ppm": None if self.drift_error_ppm is None else round(self.drift_error_ppm, 1),
            "confidence": round(self.confidence, 4),
            "aliases_s": [round(a, 3) for a in self.aliases_s],
            "method": self.method,
            "parts": {part: round(score, 4) for part, score in self.parts.items()},
            "part_offsets_s": {part: round(offset_s, 4) for part, offset_s in self.part_offsets_s.items()},
            "person": self.person,
            "reason": self.reason,
        }
