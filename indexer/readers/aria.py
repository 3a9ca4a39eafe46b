"""Project Aria: the two IMUs of a pair of glasses, each on its own clock, and its colour camera, from a VRS recording.

A `.vrs` file holds a stream for each sensor: `imu-right` (about 1000 Hz) and `imu-left` (about 800 Hz), in m/s² with
gravity and rad/s, stamped in nanoseconds by one device clock. The factory calibration in the file (rectification and
bias) is applied. The pictures of `camera-rgb` are the recording's video, read from the same file. Time 0 is the first
stamp of any of them. The two grey cameras at the sides are not read; `extra` tells the number and rate of each.

Needs projectaria-tools, the extra `aria`.
"""

from __future__ import annotations

import os
import struct
from dataclasses import replace
from typing import Any

import numpy as np

from motionseek.errors import DamagedFile, UnitError
from motionseek.indexer.readers.base import Reader, file_id
from motionseek.indexer.readers.checks import checked_imu
from motionseek.indexer.readers.stamps import cleaned
from motionseek.indexer.stills import stills_of
from motionseek.indexer.video import probe_checked
from motionseek.indexer.vrs import CAMERA, is_vrs, open_vrs, stamps_ns
from motionseek.types import Float64, Imu, Recording, VideoRef

SENSORS = ("imu-right", "imu-left")
CAMERAS = (CAMERA, "camera-slam-left", "camera-slam-right")
PLACEMENT = "glasses"
HEADER_BYTES = 80
FIRST_RECORD_AT = 40
"""Where the file's header says at which byte its first record of data starts."""

Sensor = tuple[Float64, Float64]
"""Times (L,) and samples (L, 3)."""


def read(path: str) -> Recording:
    """A `.vrs` file → both IMUs and the video. Raises DamagedFile, UnitError, MissingExtra."""
    provider = open_vrs(path)
    problems: list[str] = []
    stamps = {name: stamps_ns(provider, name) for name in (*SENSORS, CAMERA)}
    held = [ns for ns in stamps.values() if len(ns)]
    if not held:
        raise DamagedFile(path, f"holds no sample of imu-left or imu-right, and no picture of {CAMERA}")
    zero_ns = min(int(ns.min()) for ns in held)
    video = _video(path, zero_ns, problems)
    imus: list[Imu] = []
    for name in SENSORS:
        if not len(ns := stamps[name]):
            problems.append(f"{name}: holds no sample")
            continue
        try:
            t_s = np.asarray((ns - zero_ns).astype(np.float64) * 1e-9)
            imus.append(_imu(path, provider, name, t_s, problems))
        except (DamagedFile, UnitError) as error:
            problems.append(f"{name}: {error.reason}")
    if not imus and video is None:
        raise DamagedFile(path, "; ".join(problems))
    missing = _missing_bytes(path)
    if missing:
        problems.append(f"the file is cut off: its last record lacks {missing} bytes")
    return Recording(
        file_id(path),
        path,
        imus=tuple(imus),
        video=video,
        source_format=ARIA.name,
        problems=tuple(problems),
        extra={"device_time_zero_ns": zero_ns, "device": _device(provider), "pictures": _pictures(provider)},
    )


def _video(path: str, zero_ns: int, problems: list[str]) -> VideoRef | None:
    """The video on the clock that is 0 at `zero_ns`; None where no picture can be read, which is a problem."""
    pictures = stills_of(path)
    if pictures is None:
        return None
    try:
        video, its = probe_checked(path)
    except DamagedFile as error:
        problems.append(error.reason)
        return None
    problems.extend(its)
    return replace(video, start_s=float(pictures.stamps_ns[0] - zero_ns) * 1e-9)


def _imu(path: str, provider: Any, name: str, t_s: Float64, problems: list[str]) -> Imu:
    """Raises DamagedFile, UnitError."""
    stream = provider.get_stream_id_from_label(name)
    try:
        samples = [provider.get_imu_data_by_index(stream, i) for i in range(len(t_s))]
    except (RuntimeError, IndexError) as error:
        raise DamagedFile(path, f"its samples cannot be read: {error}") from error
    acc = np.array([s.accel_msec2 if s.accel_valid else (np.nan,) * 3 for s in samples], np.float64)
    gyro = np.array([s.gyro_radsec if s.gyro_valid else (np.nan,) * 3 for s in samples], np.float64)
    device = provider.get_device_calibration()
    calibration = device.get_imu_calib(name) if device is not None else None
    if calibration is None:
        problems.append(f"{name}: the file has no calibration of it, its samples are as the chip gave them")
    else:
        acc = _rectified(acc, calibration.get_accel_model())
        gyro = _rectified(gyro, calibration.get_gyro_model())
    own: list[str] = []
    acc_there, gyro_there = cleaned(t_s, acc, "accelerometer", own), cleaned(t_s, gyro, "gyroscope", own)
    problems.extend(f"{name}: {problem}" for problem in own)
    return checked_imu(path, acc_there, gyro_there, placement=PLACEMENT, name=name)


def _rectified(raw: Float64, model: Any) -> Float64:
    """(L, 3) as measured → (L, 3): measured = rectification @ true + bias, as the library's own calibration has it."""
    bias, matrix = np.asarray(model.get_bias()).reshape(3), np.asarray(model.get_rectification())
    true: Float64 = np.linalg.solve(matrix, (raw - bias).T).T
    return true


def _device(provider: Any) -> str:
    metadata = provider.get_metadata()
    return str(metadata.device_serial) if metadata is not None else ""


def _pictures(provider: Any) -> dict[str, dict[str, Any]]:
    """How many there are of each camera, and at what rate."""
    found = {name: stamps_ns(provider, name) for name in CAMERAS}
    return {
        name: {"count": len(ns), "rate_hz": round(1e9 / float(np.median(np.diff(ns))), 3) if len(ns) > 1 else 0.0}
        for name, ns in found.items()
        if len(ns)
    }


def _missing_bytes(path: str) -> int:
    """How many bytes the last record says it has beyond the end of the file: the library reads what is there and is
    silent about the rest."""
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        at: int = struct.unpack_from("<q", file.read(HEADER_BYTES), FIRST_RECORD_AT)[0]
        while 0 < at < size:
            file.seek(at)
            head = file.read(4)
            if len(head) < 4:
                return 4 - len(head)
            length: int = struct.unpack("<I", head)[0]
            if not length:
                break
            at += length
    return max(0, at - size)


ARIA = Reader("aria", is_vrs, read, file_id)
