"""EPIC-KITCHENS-100: a head-worn GoPro's sensors, each in a file and on a clock of its own.

`P01/meta_data/P01_101-accl.csv` (`Milliseconds, AcclX, AcclY, AcclZ`, m/s²) and `P01_101-gyro.csv` (`Milliseconds,
GyroX, GyroY, GyroZ`, rad/s), both counted from the start of the video; only the videos that were new in 2020 have
them. Beside them, where it is there, the video (`P01/videos/P01_101.MP4`), and the narrations: every `EPIC_100_*.csv`
in one of the folders above or in an `annotations` or `epic-kitchens-100-annotations` folder there. A narration is what
the dataset calls it, a verb and its object ("open door"), from the start to the stop of the action.

Damen et al.: Rescaling Egocentric Vision, IJCV 2022.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

import numpy as np

from motionseek.errors import DamagedFile
from motionseek.indexer.readers.base import Reader, columns_of, file_id, joint_id
from motionseek.indexer.readers.checks import checked_imu
from motionseek.indexer.readers.tables import read_triple
from motionseek.indexer.video import probe_checked
from motionseek.types import Narration, Recording, VideoRef

FILE = re.compile(r"(P\d{2}_\d{2,3})-(accl|gyro)\.csv")
VIDEO = re.compile(r"(P\d{2}_\d{2,3})\.mp4", re.IGNORECASE)
ANNOTATIONS = re.compile(r"EPIC_100_\w+\.csv")
ANNOTATION_FOLDERS = ("", "annotations", "epic-kitchens-100-annotations")
LEVELS_UP = 4
COLUMNS = ("video_id", "narration", "start_timestamp", "stop_timestamp")


def read(path: str) -> Recording:
    """`…/P01_101-accl.csv` → the sensors of one video, with what lies beside them. Raises DamagedFile, UnitError."""
    acc_file = Path(path)
    video_id = _video_id(acc_file)
    problems: list[str] = []
    columns = ("Milliseconds", "AcclX", "AcclY", "AcclZ")
    acc = read_triple(acc_file, columns, time="ms", what="accelerometer", problems=problems)
    gyro = np.empty(0), np.empty((0, 3))
    gyro_file = _gyro_file(acc_file)
    try:
        columns = ("Milliseconds", "GyroX", "GyroY", "GyroZ")
        gyro = read_triple(gyro_file, columns, time="ms", what="gyroscope", problems=problems)
    except DamagedFile as error:
        problems.append(f"{gyro_file.name}: {error.reason}")
    person = video_id.partition("_")[0]
    imu = checked_imu(path, acc, gyro, placement="head", person=person, name=video_id)
    narrations, left_out = _narrations(acc_file, video_id)
    return Recording(
        content_id(path),
        path,
        imus=(imu,),
        video=_video(acc_file, problems),
        narrations=narrations,
        source_format=EPIC_KITCHENS.name,
        problems=(*problems, *left_out),
        extra={"video_id": video_id, "participant_id": person},
    )


def content_id(path: str) -> str:
    """sha256 over the files that are read and the video's own narrations. Raises DamagedFile."""
    acc_file = Path(path)
    gyro_file, video_file = _gyro_file(acc_file), _video_file(acc_file)
    named = [("accl", file_id(acc_file)), ("gyro", file_id(gyro_file) if gyro_file.is_file() else "absent")]
    if video_file:
        named.append(("video", file_id(video_file)))
    narrations, left_out = _narrations(acc_file, _video_id(acc_file))
    if narrations or left_out:
        named.append(("narrations", sha256(repr((narrations, left_out)).encode()).hexdigest()))
    return joint_id(named)


def _video_id(path: Path) -> str:
    found = FILE.fullmatch(path.name)
    if not found:
        raise DamagedFile(path, "is not named as P01_101-accl.csv is")
    return found[1]


def _gyro_file(acc_file: Path) -> Path:
    return acc_file.with_name(acc_file.name.replace("-accl", "-gyro"))


def _video_file(acc_file: Path) -> Path | None:
    video_id = _video_id(acc_file)
    folders = (acc_file.parent.parent / "videos", acc_file.parent)
    files = (folder / f"{video_id}{suffix}" for folder in folders for suffix in (".MP4", ".mp4"))
    return next((file for file in files if file.is_file()), None)


def _sensor_file(video: Path) -> Path | None:
    found = VIDEO.fullmatch(video.name)
    folders = (video.parent.parent / "meta_data", video.parent)
    files = (folder / f"{found[1]}-accl.csv" for folder in folders) if found else ()
    return next((file for file in files if file.is_file()), None)


def _video(acc_file: Path, problems: list[str]) -> VideoRef | None:
    file = _video_file(acc_file)
    if file is None:
        return None
    try:
        video, cut = probe_checked(file)
    except DamagedFile as error:
        problems.append(f"{file.name}: {error.reason}")
        return None
    problems.extend(cut)
    return replace(video, start_s=0.0)


def _narrations(acc_file: Path, video_id: str) -> tuple[tuple[Narration, ...], tuple[str, ...]]:
    """Those of one video from all tables found, and what could not be read of them."""
    found: set[tuple[float, float, str]] = set()
    problems: list[str] = []
    for file in _tables_beside(acc_file):
        stat = file.stat()
        try:
            rows = _by_video(file, stat.st_mtime_ns, stat.st_size).get(video_id, ())
        except DamagedFile as error:
            problems.append(f"{file.name}: {error.reason}")
            continue
        good = [row for row in rows if row[2] and np.isfinite(row[:2]).all() and row[0] < row[1]]
        if len(good) < len(rows):
            problems.append(f"{file.name}: {len(rows) - len(good)} narrations without a text or a span were dropped")
        found.update(good)
    return tuple(Narration(*row) for row in sorted(found)), tuple(problems)


def _tables_beside(acc_file: Path) -> list[Path]:
    """The EPIC_100_*.csv of the nearest folder that has any."""
    for above in list(acc_file.parents)[:LEVELS_UP]:
        folders = [folder for name in ANNOTATION_FOLDERS if (folder := above / name).is_dir()]
        files = [f for folder in folders for f in sorted(folder.iterdir()) if ANNOTATIONS.fullmatch(f.name)]
        tables = [file for file in files if set(COLUMNS) <= columns_of(file)]
        if tables:
            return tables
    return []


@lru_cache(maxsize=8)
def _by_video(path: Path, mtime_ns: int, size: int) -> Mapping[str, list[tuple[float, float, str]]]:
    """Start and stop in seconds, text; of all videos, kept while these are asked for one by one. Raises DamagedFile."""
    rows: dict[str, list[tuple[float, float, str]]] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for row in csv.DictReader(file):
                start_s, stop_s = (_seconds(row[name] or "") for name in COLUMNS[2:])
                rows.setdefault(row["video_id"], []).append((start_s, stop_s, (row["narration"] or "").strip()))
    except OSError as error:
        raise DamagedFile(path, f"cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DamagedFile(path, f"is not a table of narrations: {error}") from error
    return rows


def _seconds(clock: str) -> float:
    """ "00:01:02.500" → 62.5, NaN where it is none."""
    try:
        hours, minutes, seconds = clock.split(":")
        return 3600 * int(hours) + 60 * int(minutes) + float(seconds)
    except ValueError:
        return float("nan")


def _is_epic(path: Path) -> bool:
    if VIDEO.fullmatch(path.name):
        return _sensor_file(path) is not None and path.is_file()
    return bool(FILE.fullmatch(path.name) or ANNOTATIONS.fullmatch(path.name)) and path.is_file()


def _expand(path: Path) -> list[str]:
    """A video goes by the name of its accelerometer file, whichever of its files is met; narrations are none."""
    return list(_recordings(path))


def _recordings(path: Path) -> Iterator[str]:
    if FILE.fullmatch(path.name):
        yield str(path.with_name(path.name.replace("-gyro", "-accl")))
    elif sensors := _sensor_file(path):
        yield str(sensors)


EPIC_KITCHENS = Reader("epic-kitchens", _is_epic, read, content_id, _expand)
