"""GoPro MP4: the picture and the camera's own IMU in one file.

The sensors lie in a track of their own, one GPMF payload about every second. Each payload says how many samples there
were before it and, since HERO8, at which microsecond of the camera's clock its first sample arrived; the samples are
spread over the payload's true span, accelerometer and gyroscope each on its own clock. The frame-rate streams
(orientation, gravity, exposure) are stamped by the same clock, their first stamp is the start of the first frame, and
that ties the sensors' clock to the picture's. Files without stamps use the payloads' times in the MP4 sample table.

Frame of the axes: the three channels of a payload are put in the order and with the signs of the file's ORIN letters,
which gives a right-handed camera frame with X and Y horizontal (X across, Y along the lens axis) and Z up when the
camera stands upright: at rest it reads (0, 0, +9.81) m/s².
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import numpy.typing as npt
import scipy
import telemetry_parser

from motionseek.errors import DamagedFile, MediaError
from motionseek.indexer.readers.base import Reader, file_id
from motionseek.indexer.readers.checks import check_units
from motionseek.indexer.readers.telemetry import parsing
from motionseek.indexer.video import probe_checked
from motionseek.types import ANY_PART, Float64, Imu, Recording

if TYPE_CHECKING:
    from scipy.spatial.transform import Rotation

SUFFIXES = (".mp4", ".360", ".lrv", ".mov")
HANDLER = "GoPro MET"
SENSORS = ("Accelerometer", "Gyroscope")
FRAME_STREAMS = ("CameraOrientation", "ImageOrientation", "GravityVector", "Exposure")
"""Streams with a sample per frame, stamped at the start of the frame, best first."""

STABILISED, STABILISER = (f"0x{code.encode().hex()}" for code in ("EISE", "EISA"))
"""Settings that the parser names by their codes: was it on ("Y"), and which."""

DEFAULT_ORDER = "YxZ"
"""Channel letters of the cameras that do not write ORIN (HERO5): small letters are negated."""

UNITS: Mapping[str, Mapping[str, float]] = {
    "Accelerometer": {"m/s²": 1.0, "m/s2": 1.0},
    "Gyroscope": {"rad/s": 1.0, "deg/s": float(np.pi / 180)},
}
"""Factor to m/s² and rad/s; the first is what a payload without unit is in."""

NOMINAL_RATE_HZ = 200.0
"""For a file of a single stamped payload only: all others say their rate."""

MAX_LEAD_S = 2.0
"""How far outside the file's span a payload may be stamped."""

MAX_STEP_CHANGE = 0.1
"""A payload whose samples would be this much denser or sparser than usual has lost some: they keep the usual step."""


@dataclass(frozen=True, eq=False)
class _Stream:
    """One sensor over the whole file: (N,) seconds on the picture's clock, (N, 3) in m/s² or rad/s, camera frame."""

    t_s: Float64
    x: Float64

    @property
    def rate_hz(self) -> float:
        """As stamped, over the whole file."""
        return round((len(self.t_s) - 1) / float(self.t_s[-1] - self.t_s[0]), 4) if len(self.t_s) > 1 else 0.0


def read(path: str | Path, *, placement: str = ANY_PART, person: str = "") -> Recording:
    """A GoPro file → a recording with the video and one IMU.

    `placement`: where the camera was worn; the file does not say. A damaged telemetry track leaves the picture, and
    the other way round, with the reason in `problems`. Raises DamagedFile where neither can be read, UnitError.
    """
    path = str(path)
    problems: list[str] = []
    imu: Imu | None = None
    extra: dict[str, Any] = {}
    try:
        imu, repaired, extra = read_imu_checked(path, placement=placement, person=person)
        problems.extend(repaired)
    except MediaError as error:
        problems.append(f"imu: {error.reason}")
    video = None
    try:
        video, cut = probe_checked(path)
        video = replace(video, camera=imu.name if imu else video.camera)
        problems.extend(cut)
    except DamagedFile as error:
        if imu is None:
            raise
        problems.append(f"video: {error.reason}")
    return Recording(
        file_id(path),
        path,
        imus=(imu,) if imu else (),
        video=video,
        source_format=GOPRO.name,
        problems=tuple(problems),
        extra=extra,
    )


def read_imu_checked(
    path: str | Path, *, placement: str = ANY_PART, person: str = ""
) -> tuple[Imu, tuple[str, ...], dict[str, Any]]:
    """The camera's IMU, named after the camera; what was odd about it; its clock and its rates as stamped.

    Raises DamagedFile, UnitError.
    """
    path = str(path)
    camera, payloads, steadied = _parsed(path)
    problems: list[str] = []
    clock = _Clock.of(path, payloads)
    acc, gyro = (_stream(path, payloads, clock, name, problems) for name in SENSORS)
    if acc is None:
        raise DamagedFile(path, "its telemetry holds no accelerometer")
    gyro = gyro or _Stream(np.empty(0), np.empty((0, 3)))
    check_units(path, acc.t_s, acc.x, gyro.t_s, gyro.x)
    imu = Imu(acc.t_s, acc.x.astype(np.float32), gyro.t_s, gyro.x.astype(np.float32), placement, person, camera)
    extra = {"imu_clock": clock.kind, "acc_rate_hz": acc.rate_hz, "gyro_rate_hz": gyro.rate_hz}
    if steadied:
        extra["stabilisation"] = steadied
    return imu, tuple(problems), extra


@dataclass(frozen=True, eq=False)
class Steadied:
    """What a GoPro file says of its own picture.

    camera: name of the camera, as its IMU's.   kind: of the electronic stabilisation that was on, "" where none.
    orientation: picture to camera, (N,) one a frame, in the axes of the camera's IMU; None where the file does not say.

    The file's quaternions are in a mirrored frame: their vector parts are x, z, y of the IMU's axes. On the carried
    sample the view so turned explains .93 to .98 of the picture's motion, and no other order of the product does.
    """

    camera: str
    kind: str
    orientation: Rotation | None


def steadied(path: str | Path) -> Steadied | None:
    """How the camera steadied the picture; None where the file is no GoPro's. Raises DamagedFile."""
    if not _is_gopro(Path(path)):
        return None
    camera, payloads, kind = _parsed(str(path))
    samples = [s for p in payloads for s in p.get("ImageOrientation", {}).get("Data") or ()]
    try:
        quaternions = np.array([[s[k] for k in "xzyw"] for s in samples], dtype=np.float64).reshape(-1, 4)
        orientation = scipy.spatial.transform.Rotation.from_quat(quaternions) if len(quaternions) else None
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedFile(path, f"its image orientation cannot be read: {error}") from error
    return Steadied(camera, kind, orientation)


def _parsed(path: str) -> tuple[str, list[Mapping[str, Any]], str]:
    """The camera's name, the payloads of the telemetry track, and how the picture is steadied. Raises MediaError."""
    with parsing(path):
        parser = telemetry_parser.Parser(path)
        held = parser.telemetry()
        payloads = [payload for payload in held if set(payload) - {"Default"}]
    if not payloads:
        raise DamagedFile(path, "its telemetry track holds nothing")
    return str(parser.model or parser.camera or ""), payloads, _steadied(held)


def _steadied(held: Sequence[Mapping[str, Any]]) -> str:
    """Kind of electronic stabilisation that the file says was on, "" where none."""
    settings = [payload["Default"] for payload in held if payload.get("Default")]
    if not any(str(s.get(STABILISED, "")).upper() == "Y" for s in settings):
        return ""
    kinds = [str(s[STABILISER]) for s in settings if STABILISER in s]
    return kinds[0] if kinds and kinds[0].upper() not in ("N", "N/A") else "EIS"


def _stream(
    path: str, payloads: Sequence[Mapping[str, Any]], clock: _Clock, name: str, problems: list[str]
) -> _Stream | None:
    """All samples of one sensor with their times, None where the file has none."""
    starts_s, ends_s, blocks, lost = [], [], [], 0
    for i, payload in enumerate(payloads):
        block = payload.get(name, {})
        if not block.get("Data"):
            continue
        try:
            start_s, end_s = clock.span(i, block)
            blocks.append(_samples(path, block, UNITS[name]))
        except (KeyError, TypeError, ValueError):
            lost += 1
            continue
        starts_s.append(start_s)
        ends_s.append(end_s)
    if lost:
        problems.append(f"{name.lower()}: {lost} damaged payloads of about a second were dropped")
    if not blocks:
        return None
    t_s = _spread(np.array(starts_s), np.array(ends_s), np.array([len(b) for b in blocks]), name, problems)
    x = np.concatenate(blocks)
    later = t_s > np.maximum.accumulate(np.concatenate([[-np.inf], t_s[:-1]]))
    if not later.all():
        problems.append(f"{name.lower()}: {int((~later).sum())} samples that step back in time were dropped")
        t_s, x = t_s[later], x[later]
    return _Stream(t_s, x)


def _samples(path: str, block: Mapping[str, Any], units: Mapping[str, float]) -> Float64:
    """One payload → (n, 3) in m/s² or rad/s, camera frame. Raises KeyError, TypeError, ValueError where damaged."""
    raw = np.array([(sample["x"], sample["y"], sample["z"]) for sample in block["Data"]], dtype=np.float64)
    order = str(block.get("OrientationIn", DEFAULT_ORDER))
    if sorted(order.upper()) != ["X", "Y", "Z"]:
        raise ValueError(f"{path}: axis order {order!r}")
    signs = np.array([1.0 if letter.isupper() else -1.0 for letter in order])
    channels = raw * signs * units[block.get("Unit", next(iter(units)))] / float(block.get("Scale", 1))
    if not np.isfinite(channels).all():
        raise ValueError(f"{path}: samples that are not finite")
    oriented: Float64 = channels[:, [order.upper().index(axis) for axis in "XYZ"]]
    return oriented


def _spread(
    starts_s: Float64, ends_s: Float64, counts: npt.NDArray[np.intp], name: str, problems: list[str]
) -> Float64:
    """Times of all samples: those of a payload evenly from its start to its end, else to the start of the next."""
    ends_s = np.where(np.isnan(ends_s), np.append(starts_s[1:], np.nan), ends_s)
    steps_s = (ends_s - starts_s) / counts
    known = np.isfinite(steps_s) & (steps_s > 0)
    usual_s = float(np.median(steps_s[known])) if known.any() else 1 / NOMINAL_RATE_HZ
    odd = ~known | (np.abs(steps_s / usual_s - 1) > MAX_STEP_CHANGE)
    problems.extend(
        f"{name.lower()}: the payload at {starts_s[i]:.2f} s holds {counts[i]} samples where "
        f"{(ends_s - starts_s)[i] / usual_s:.0f} are due: samples are missing or a stamp is wrong"
        for i in np.flatnonzero(odd[:-1])
    )
    steps_s = np.where(odd, usual_s, steps_s)
    payload = np.repeat(np.arange(len(counts)), counts)
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    times: Float64 = starts_s[payload] + within * steps_s[payload]
    return times


@dataclass(frozen=True, eq=False)
class _Clock:
    """When a payload starts and ends, in seconds of the picture's clock."""

    kind: str
    zero_us: float
    """The stamp of the first frame."""
    spans_s: Float64
    """(K, 2) start and end of each payload in the MP4 sample table."""

    @classmethod
    def of(cls, path: str, payloads: Sequence[Mapping[str, Any]]) -> _Clock:
        """Raises DamagedFile where payloads are lost so that the sensors cannot be tied to the picture."""
        spans_s = _payload_spans(path)
        complete = len(spans_s) == len(payloads)
        first = next((block for name in FRAME_STREAMS if "TimestampUs" in (block := payloads[0].get(name, {}))), None)
        stamped = any("TimestampUs" in payloads[0].get(name, {}) for name in SENSORS)
        if stamped and first and (complete or first.get("Count") == len(first.get("Data", ()))):
            return cls("microsecond stamps", float(first["TimestampUs"]) - spans_s[0, 0] * 1e6, spans_s)
        if not complete:
            raise DamagedFile(
                path, f"{len(payloads)} of {len(spans_s)} telemetry payloads can be read, their times not"
            )
        return cls("payload times", 0.0, spans_s)

    def span(self, i: int, block: Mapping[str, Any]) -> tuple[float, float]:
        """Start and end of payload `i`, NaN where only its start is stamped. Raises ValueError where it cannot be."""
        if self.kind == "payload times":
            return float(self.spans_s[i, 0]), float(self.spans_s[i, 1])
        start_s = (float(block["TimestampUs"]) - self.zero_us) * 1e-6
        if not self.spans_s[0, 0] - MAX_LEAD_S < start_s < self.spans_s[-1, 1] + MAX_LEAD_S:
            raise ValueError("a stamp outside the file")
        return start_s, float("nan")


def _payload_spans(path: str) -> Float64:
    """(K, 2) start and end of each payload in seconds, from the MP4 sample table. Raises DamagedFile."""
    try:
        with av.open(path, metadata_errors="replace") as container:
            tracks = [s for s in container.streams.data if HANDLER in s.metadata.get("handler_name", "")]
            packets = [p for p in container.demux(tracks[0]) if p.size] if tracks else []
            spans = [(p.pts * p.time_base, (p.pts + p.duration) * p.time_base) for p in packets]
    except (av.FFmpegError, OSError) as error:
        raise DamagedFile(path, f"its telemetry track cannot be read: {error.strerror or error}") from error
    if not spans:
        raise DamagedFile(path, "its telemetry track holds nothing")
    return np.array(spans, dtype=np.float64)


def _is_gopro(path: Path) -> bool:
    """Whether an MP4 has a GPMF track: found by opening the container, which reads its tables only."""
    if path.suffix.lower() not in SUFFIXES or not path.is_file():
        return False
    try:
        with av.open(str(path), metadata_errors="replace") as container:
            return any(HANDLER in stream.metadata.get("handler_name", "") for stream in container.streams.data)
    except (av.FFmpegError, OSError):
        return False  # the video reader takes it and says what is wrong with it


GOPRO = Reader("gopro", _is_gopro, read, file_id)
