"""Cameras other than GoPro's that record their own motion: what telemetry-parser finds in their files.

Insta360 (`.mp4`, `.insv`), Sony, DJI, CAMM videos, Blackmagic (`.braw`), RED (`.r3d`), and Gyroflow's logs (`.gcsv`).
The parser gives one list for both sensors, turned into the camera's axes and stamped from the start of the picture, in
m/s² and deg/s. Where the two come at different rates it pairs them by their number, so that no stamp can be trusted:
that is refused. A camera that stores orientations only (most of DJI's) has no sensors to read; its picture stays.

Only Insta360's and Gyroflow's layouts could be tried, on files written to them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import telemetry_parser

from motionseek.errors import DamagedFile, UnitError, UnknownFormat
from motionseek.indexer.readers.base import Reader, file_id
from motionseek.indexer.readers.checks import checked_imu
from motionseek.indexer.readers.media import VIDEO_SUFFIXES
from motionseek.indexer.readers.stamps import cleaned
from motionseek.indexer.readers.telemetry import parsing
from motionseek.indexer.video import probe_checked
from motionseek.types import Imu, Recording, VideoRef

INSTA360 = b"8db42d694ccc418790edff439fe026bf"
"""The last bytes of Insta360's files."""

LOGS = (".gcsv",)
RAW = (".insv", ".braw", ".r3d")
SENSORS = ("Accelerometer", "Gyroscope")
TIMECODE = "TimeCodeHandler"


def read(path: str) -> Recording:
    """A file with pictures and the camera's own motion → a recording with both, as far as there are.

    Raises DamagedFile where neither can be read, UnknownFormat where a log is none.
    """
    problems: list[str] = []
    imu: Imu | None = None
    reason = ""
    try:
        imu = _imu(path, problems)
    except UnknownFormat as error:
        if Path(path).suffix.lower() in LOGS:
            raise
        reason = error.reason  # a picture with some other data beside it
    except (DamagedFile, UnitError) as error:
        reason = error.reason
        problems.append(f"imu: {error.reason}")
    video: VideoRef | None = None
    if Path(path).suffix.lower() not in LOGS:
        try:
            video, cut = probe_checked(path)
            problems.extend(cut)
            video = replace(video, camera=imu.name) if imu else video
        except DamagedFile as error:
            if imu is None:
                raise DamagedFile(path, f"{error.reason}; {reason}") from error
            problems.append(f"video: {error.reason}")
    if imu is None and video is None:
        raise DamagedFile(path, reason)
    imus = (imu,) if imu else ()
    return Recording(file_id(path), path, imus=imus, video=video, source_format=CAMERA.name, problems=tuple(problems))


def _imu(path: str, problems: list[str]) -> Imu:
    """Raises UnknownFormat where the parser does not know the file, DamagedFile, UnitError."""
    with parsing(path):
        parser = telemetry_parser.Parser(path)
        payloads, samples = parser.telemetry(), parser.normalized_imu()
        camera = str(parser.model or parser.camera or "")
    if not samples:
        what = "only orientations" if any("Quaternion" in p for p in payloads) else "no motion"
        raise DamagedFile(path, f"the camera recorded {what}: it has no sensor to read")
    counts = [sum(len(p.get(name, {}).get("Data") or ()) for p in payloads) for name in SENSORS]
    if Path(path).suffix.lower() in LOGS and abs(counts[0] - counts[1]) == 1 and _ends_in_half_a_line(path):
        problems.append("its last line is cut off and was dropped")
        samples = samples[: min(counts)]
    elif all(counts) and counts[0] != counts[1]:
        raise DamagedFile(
            path,
            f"{counts[0]} samples of the accelerometer and {counts[1]} of the gyroscope have one list of stamps: when "
            "each was taken is not known",
        )
    t_s = np.array([s["timestamp_ms"] for s in samples], np.float64) * 1e-3
    acc, gyro = (_vectors(samples, key) for key in ("accl", "gyro"))
    with np.errstate(over="ignore", invalid="ignore"):  # damaged numbers may be of any size
        gyro = gyro * np.pi / 180
    there = cleaned(t_s, acc, "accelerometer", problems), cleaned(t_s, gyro, "gyroscope", problems)
    return checked_imu(path, *there, name=camera)


def _ends_in_half_a_line(path: str) -> bool:
    """Whether the last line of a log has fewer columns than all lines of the table before it, which have the same."""
    try:
        lines = Path(path).read_text("latin1").splitlines()
    except OSError as error:
        raise DamagedFile(path, f"cannot be read: {error.strerror}") from error
    first = next((i for i, line in enumerate(lines) if line.startswith("t,")), len(lines))
    columns = {line.count(",") for line in lines[first:-1]}
    return len(columns) == 1 and lines[-1].count(",") < max(columns)


def _vectors(samples: Sequence[Mapping[str, Any]], key: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(L, 3), NaN where a sample has none."""
    none = (np.nan, np.nan, np.nan)
    return np.array([s.get(key) or none for s in samples], np.float64).reshape(-1, 3)


def _is_camera(path: Path) -> bool:
    suffix = path.suffix.lower()
    if suffix in (*LOGS, *RAW):
        return path.is_file()
    if suffix not in VIDEO_SUFFIXES or not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - len(INSTA360)))
            if file.read() == INSTA360:
                return True
        with av.open(str(path), metadata_errors="replace") as container:
            return any(TIMECODE not in s.metadata.get("handler_name", "") for s in container.streams.data)
    except (av.FFmpegError, OSError):
        return False  # the video reader takes it and says what is wrong with it


CAMERA = Reader("camera", _is_camera, read, file_id)
