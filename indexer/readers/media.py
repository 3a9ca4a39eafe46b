"""A bare sensor file, or a bare video, is a recording too."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from motionseek.errors import DamagedFile
from motionseek.indexer.readers.base import Reader, file_id
from motionseek.indexer.readers.packed import is_cut_off
from motionseek.indexer.readers.tables import SUFFIXES, check_size, read_imu_checked
from motionseek.indexer.video import probe_checked
from motionseek.types import Recording

VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mts", ".m2ts", ".ts", ".mpg", ".mpeg", ".360")


def read_sensor(path: str, *, units: Mapping[str, str] | None = None) -> Recording:
    """A csv, parquet or npy file → a recording with one IMU of unknown placement. Raises MediaError."""
    if is_cut_off(Path(path)):
        whole = Path(path).stat().st_size
        raise DamagedFile(path, "is no npz that can be opened: cut off or damaged" if whole else "is empty")
    imu, problems = read_imu_checked(path, units=units)
    return Recording(file_id(path), path, imus=(imu,), source_format=IMU.name, problems=problems)


def read_video(path: str) -> Recording:
    """A video file → a recording with pictures only. Raises DamagedFile."""
    video, problems = probe_checked(path)
    return Recording(file_id(path), path, video=video, source_format=VIDEO.name, problems=problems)


def _sensor_id(path: str) -> str:
    """Raises DamagedFile, before a gigabyte is hashed for nothing."""
    try:
        check_size(Path(path))
    except OSError as error:
        raise DamagedFile(path, f"cannot be read: {error.strerror}") from error
    return file_id(path)


def _is_sensor(path: Path) -> bool:
    """A damaged npz counts, so that it is refused with a word: whose it was can no longer be seen."""
    return (path.suffix.lower() in SUFFIXES and path.is_file()) or is_cut_off(path)


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES and path.is_file()


IMU = Reader("imu", _is_sensor, read_sensor, _sensor_id, takes_units=True)
VIDEO = Reader("video", _is_video, read_video, file_id)
