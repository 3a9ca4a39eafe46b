"""A bare sensor file, or a bare video, is a recording too."""

from __future__ import annotations

from pathlib import Path

from motionseek.indexer.readers.base import Reader, file_id
from motionseek.indexer.readers.tables import SUFFIXES, read_imu_checked
from motionseek.indexer.video import probe_checked
from motionseek.types import Recording

VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mts", ".m2ts", ".ts", ".mpg", ".mpeg", ".360")


def read_sensor(path: str) -> Recording:
    """A csv, parquet or npy file → a recording with one IMU of unknown placement. Raises MediaError."""
    imu, problems = read_imu_checked(path)
    return Recording(file_id(path), path, imus=(imu,), source_format=IMU.name, problems=problems)


def read_video(path: str) -> Recording:
    """A video file → a recording with pictures only. Raises DamagedFile."""
    video, problems = probe_checked(path)
    return Recording(file_id(path), path, video=video, source_format=VIDEO.name, problems=problems)


def _is_sensor(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file()


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES and path.is_file()


IMU = Reader("imu", _is_sensor, read_sensor, file_id)
VIDEO = Reader("video", _is_video, read_video, file_id)
