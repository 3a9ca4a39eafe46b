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
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import telemetry_parser

from motionseek.errors import DamagedFile, MediaError
from motionseek.indexer.readers.base import Reader, file_id
from motionseek.indexer.readers.tables import check_units
from motionseek.indexer.video import probe_checked
from motionseek.types import ANY_PART, Float64, Imu, Recording

SUFFIXES = (".mp4", ".360", ".lrv", ".mov")
HANDLER = "GoPro MET"
SENSORS = ("Accelerometer", "Gyroscope")
FRAME_STREAMS = ("CameraOrientation", "ImageOrientation", "GravityVector", "Exposure")
"""Streams with a sample per frame, stamped at the start of the frame, best first."""

DEFAULT_ORDER = "YxZ"
"""Channel letters of the cameras that do not write ORIN (HERO5): small letters are negated."""

UNIT_FACTORS = {"m/s²": 1.0, "m/s2": 1.0, "rad/s": 1.0, "deg/s": float(np.pi / 180)}
NOMINAL_RATE_HZ = {"Accelerometer": 200.0, "Gyroscope": 200.0}
"""For files of a single stamped payload only: all others say their rate."""

MAX_STEP_CHANGE = 0.1
"""A payload whose samples would be this much denser or sparser than usual has lost some: they keep the usual step."""


@dataclass(frozen=True, eq=False)
class _Stream:
    """One sensor over the whole file: (N,) seconds on the picture's clock, (N, 3) in m/s² or rad/s, camera frame."""

    t_s: Float64
    x: Float64
    clock: str
    rate_hz: float
    problems: tuple[str, ...] = ()


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
    try:
        parser = telemetry_parser.Parser(path)
        payloads = [payload for payload in parser.telemetry() if set(payload) - {"Default"}]
    except (OSError, ValueError, RuntimeError) as error:
        raise DamagedFile(path, f"its telemetry cannot be read: {error}") from error
    acc, gyro = (_stream(path, payloads, name) for name in SENSORS)
    if acc is None:
        raise DamagedFile(path, "its telemetry holds no accelerometer")
    gyro = gyro or _Stream(np.empty(0), np.empty((0, 3)), acc.clock, 0.0)
    check_units(path, acc.t_s, acc.x, gyro.t_s, gyro.x)
    name = str(parser.model or parser.camera or "")
    imu = Imu(acc.t_s, acc.x.astype(np.float32), gyro.t_s, gyro.x.astype(np.float32), placement, person, name)
    extra = {"imu_clock": acc.clock, "acc_rate_hz": round(acc.rate_hz, 4), "gyro_rate_hz": round(gyro.rate_hz, 4)}
    return imu, (*acc.problems, *gyro.problems), extra


def _stream(path: str, payloads: list[Mapping[str, Any]], name: str) -> _Stream | None:
    """All samples of one sensor with their times, None where the file has none."""
    held = [(i, payload[name]) for i, payload in enumerate(payloads) if payload.get(name, {}).get("Data")]
    if not held:
        return None
    blocks, counts = [], []
    for _, block in held:
        raw = np.array([(sample["x"], sample["y"], sample["z"]) for sample in block["Data"]], dtype=np.float64)
        unit = block.get("Unit", "m/s²" if name == "Accelerometer" else "rad/s")
        if unit not in UNIT_FACTORS:
            raise DamagedFile(path, f"its {name.lower()} is in {unit}, which is not known")
        factor = UNIT_FACTORS[unit] / np.asarray(block.get("Scale", 1), dtype=np.float64)
        blocks.append(_oriented(path, raw * factor, str(block.get("OrientationIn", DEFAULT_ORDER))))
        counts.append(len(raw))
    t_s, clock, problems = _times(path, payloads, name, [i for i, _ in held], np.array(counts))
    x = np.concatenate(blocks)
    later = np.diff(t_s, prepend=-np.inf) > 0
    if not later.all():
        problems = (*problems, f"{name.lower()}: {int((~later).sum())} samples that step back in time were dropped")
        t_s, x = t_s[later], x[later]
    rate_hz = (len(t_s) - 1) / (t_s[-1] - t_s[0]) if len(t_s) > 1 else 0.0
    return _Stream(t_s, x, clock, float(rate_hz), problems)


def _times(
    path: str, payloads: Sequence[Mapping[str, Any]], name: str, held: Sequence[int], counts: npt.NDArray[np.intp]
) -> tuple[Float64, str, tuple[str, ...]]:
    """Seconds on the picture's clock of every sample, which clock they come from, and what is odd about it."""
    stamps_us = [payloads[i][name].get("TimestampUs") for i in held]
    if all(stamp is not None for stamp in stamps_us):
        first_us = next((us for us in (payloads[0].get(s, {}).get("TimestampUs") for s in FRAME_STREAMS) if us), None)
        starts_s = np.array(stamps_us, dtype=np.float64) * 1e-6
        if first_us is None:
            starts_s += _payload_spans(path, len(payloads))[held[0], 0] - starts_s[0]
        else:
            starts_s -= float(first_us) * 1e-6
        ends_s = np.append(starts_s[1:], np.nan)
        clock = "microsecond stamps"
    else:
        starts_s, ends_s = _payload_spans(path, len(payloads))[list(held)].T
        clock = "payload times"
    steps_s = (ends_s - starts_s) / counts
    usual_s = float(np.nanmedian(steps_s)) if np.isfinite(steps_s).any() else 1 / NOMINAL_RATE_HZ[name]
    odd = np.isfinite(steps_s) & (np.abs(steps_s / usual_s - 1) > MAX_STEP_CHANGE)
    problems = tuple(
        f"{name.lower()}: the payload at {starts_s[i]:.2f} s holds {counts[i]} samples, not "
        f"{(ends_s - starts_s)[i] / usual_s:.0f}: samples are missing or its stamp is wrong"
        for i in np.flatnonzero(odd[:-1])
    )
    steps_s = np.where(odd | ~np.isfinite(steps_s), usual_s, steps_s)
    payload = np.repeat(np.arange(len(counts)), counts)
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return starts_s[payload] + within * steps_s[payload], clock, problems


def _payload_spans(path: str, count: int) -> Float64:
    """(count, 2) start and end of each payload in seconds, from the MP4 sample table. Raises DamagedFile."""
    try:
        with av.open(path) as container:
            tracks = [s for s in container.streams.data if HANDLER in s.metadata.get("handler_name", "")]
            packets = [p for p in container.demux(tracks[0]) if p.size] if tracks else []
            spans = [((p.pts * p.time_base), (p.pts + p.duration) * p.time_base) for p in packets]
    except (av.FFmpegError, OSError) as error:
        raise DamagedFile(path, f"its telemetry track cannot be read: {error.strerror or error}") from error
    if len(spans) < count:
        raise DamagedFile(path, f"its telemetry track has {len(spans)} payloads where {count} were parsed")
    return np.array(spans[:count], dtype=np.float64)


def _oriented(path: str, channels: Float64, order: str) -> Float64:
    """(N, 3) as stored → X, Y, Z. The letters of `order` name the channels; a small one is negated."""
    if sorted(order.upper()) != ["X", "Y", "Z"]:
        raise DamagedFile(path, f"its axis order {order!r} is not known")
    signs = np.array([1.0 if letter.isupper() else -1.0 for letter in order])
    oriented: Float64 = (channels * signs)[:, [order.upper().index(axis) for axis in "XYZ"]]
    return oriented


def _is_gopro(path: Path) -> bool:
    """Whether an MP4 has a GPMF track: found by opening the container, which reads its tables only."""
    if path.suffix.lower() not in SUFFIXES or not path.is_file():
        return False
    try:
        with av.open(str(path)) as container:
            return any(HANDLER in stream.metadata.get("handler_name", "") for stream in container.streams.data)
    except (av.FFmpegError, OSError):
        return False  # the video reader takes it and says what is wrong with it


GOPRO = Reader("gopro", _is_gopro, read, file_id)
