"""Project Aria: the two IMUs of a pair of glasses, each on its own clock, from a VRS recording.

A `.vrs` file holds a stream for each sensor: `imu-right` (about 1000 Hz) and `imu-left` (about 800 Hz), in m/s² with
gravity and rad/s, stamped in nanoseconds by one device clock. The factory calibration in the file (rectification and
bias) is applied. Time 0 is the first stamp of either. The pictures of the three cameras stay in the file, their
number and rate are told in `extra`: they are single images inside VRS, which no video decoder opens.

Needs projectaria-tools, the extra `aria`.
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from motionseek.errors import DamagedFile, MissingExtra, UnitError
from motionseek.indexer.readers.base import Reader, file_id
from motionseek.indexer.readers.checks import checked_imu
from motionseek.indexer.readers.stamps import cleaned
from motionseek.types import Float64, Imu, Recording

SENSORS = ("imu-right", "imu-left")
CAMERAS = ("camera-rgb", "camera-slam-left", "camera-slam-right")
PLACEMENT = "glasses"
MAGIC = b"VisionRe"
HEADER_BYTES = 80
FIRST_RECORD_AT = 40
"""Where the file's header says at which byte its first record of data starts."""

Sensor = tuple[Float64, Float64]
"""Times (L,) and samples (L, 3)."""


def read(path: str) -> Recording:
    """A `.vrs` file → both IMUs. Raises DamagedFile, UnitError, MissingExtra."""
    provider = _opened(path)
    problems: list[str] = []
    stamps = {name: _stamps_ns(provider, name) for name in SENSORS}
    held = [ns for ns in stamps.values() if len(ns)]
    if not held:
        raise DamagedFile(path, "holds no sample of imu-left or imu-right")
    zero_ns = min(int(ns.min()) for ns in held)
    imus: list[Imu] = []
    for name, ns in stamps.items():
        if not len(ns):
            problems.append(f"{name}: holds no sample")
            continue
        try:
            t_s = np.asarray((ns - zero_ns).astype(np.float64) * 1e-9)
            imus.append(_imu(path, provider, name, t_s, problems))
        except (DamagedFile, UnitError) as error:
            problems.append(f"{name}: {error.reason}")
    if not imus:
        raise DamagedFile(path, "; ".join(problems))
    missing = _missing_bytes(path)
    if missing:
        problems.append(f"the file is cut off: its last record lacks {missing} bytes")
    return Recording(
        file_id(path),
        path,
        imus=tuple(imus),
        source_format=ARIA.name,
        problems=tuple(problems),
        extra={"device_time_zero_ns": zero_ns, "device": _device(provider), "pictures": _pictures(provider)},
    )


def _opened(path: str) -> Any:
    """The library's provider of a file. Raises DamagedFile, MissingExtra."""
    try:
        with open(path, "rb") as file:
            magic = file.read(len(MAGIC))
    except OSError as error:
        raise DamagedFile(path, f"cannot be read: {error.strerror}") from error
    if magic != MAGIC:
        raise DamagedFile(path, "is not a VRS file" if magic else "is empty")
    try:
        from projectaria_tools.core import data_provider
    except ImportError as error:
        raise MissingExtra("projectaria-tools, which reads VRS files,", "aria") from error
    try:
        with _quiet():
            provider = data_provider.create_vrs_data_provider(path)
    except (RuntimeError, ValueError, IndexError, MemoryError) as error:
        raise DamagedFile(path, f"cannot be opened as VRS: {error}") from error
    if provider is None:
        raise DamagedFile(path, "cannot be opened as VRS")
    return provider


@contextmanager
def _quiet() -> Iterator[None]:
    """The library tells of every stream it opens on the process's own outputs, past Python."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    kept = {fd: os.dup(fd) for fd in (1, 2)}
    try:
        with open(os.devnull, "wb") as nowhere:
            for fd in kept:
                os.dup2(nowhere.fileno(), fd)
        yield
    finally:
        for fd, own in kept.items():
            os.dup2(own, fd)
            os.close(own)


def _stamps_ns(provider: Any, name: str) -> np.ndarray[Any, np.dtype[np.int64]]:
    from projectaria_tools.core.sensor_data import TimeDomain

    stream = provider.get_stream_id_from_label(name)
    if stream is None:
        return np.empty(0, np.int64)
    return np.asarray(provider.get_timestamps_ns(stream, TimeDomain.DEVICE_TIME), np.int64)


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
    found = {name: _stamps_ns(provider, name) for name in CAMERAS}
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


def _is_vrs(path: Path) -> bool:
    if not path.is_file():
        return False
    if path.suffix.lower() == ".vrs":
        return True
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


ARIA = Reader("aria", _is_vrs, read, file_id)
