"""mRi: six sensors on one person, aligned to the frames of two cameras.

A recording is a folder `aligned_data/imu/subject3` with `IMU1.csv` to `IMU6.csv`: the columns `axg, ayg, azg` in g,
the orientation as the quaternion `q0, q1, q2, q3` (w first), one row a frame at 10 Hz. Four are read: IMU1 and IMU2 on
the right and left wrist, IMU4 and IMU5 on the right and left knee. Where IMU3 and IMU6 were worn is not documented.
The gyroscope is derived from the orientations; whether gravity is in the accelerations is decided from the signal and
kept in `extra["acceleration"]` (see `orientation`).

Of the labels (`aligned_data/pose_labels/subject3_all_labels.cpl`, Python objects read as data, see `objects`) two are
read: `imu_avail_frames`, whose first number is the frame of the picture that row 0 of the sensors belongs to, and
`video_label`, which says from which frame to which each exercise lasted. Without them time 0 is row 0. Keypoints are
read from `subject3.json` beside the folder of the sensors, as MMPose writes it; their frame 0 is the picture's.

An et al.: mRI, NeurIPS 2022.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from motionseek.errors import DamagedFile, MediaError, UnitError, UsageError
from motionseek.indexer.readers.base import Reader, columns_of, file_id, joint_id
from motionseek.indexer.readers.checks import checked_imu
from motionseek.indexer.readers.keypoints import read_poses
from motionseek.indexer.readers.objects import load_objects
from motionseek.indexer.readers.orientation import gyroscope, unit_quaternions, with_gravity
from motionseek.indexer.readers.tables import read_table
from motionseek.types import STANDARD_GRAVITY_MPS2, Imu, Narration, PoseTrack, Recording

RATE_HZ = 10.0
IMAGE_SIZE = (1920, 1080)
PLACEMENTS: Mapping[str, str] = {
    "IMU1": "right_wrist",
    "IMU2": "left_wrist",
    "IMU4": "right_knee",
    "IMU5": "left_knee",
}
COLUMNS = ("axg", "ayg", "azg", "q0", "q1", "q2", "q3")
UNLABELLED = "null"
MAX_FRAMES = 1_000_000
SUBJECT = re.compile(r"subject(\d+)")
FILE = re.compile(r"IMU[1-6]\.csv")


def read(path: str) -> Recording:
    """A folder `subjectN` → the four sensors of one person. Raises DamagedFile."""
    folder = Path(path)
    subject = folder.name.removeprefix("subject")
    problems: list[str] = []
    labels = _Labels.of(folder, problems)
    imus, acceleration = [], {}
    for name, placement in PLACEMENTS.items():
        own: list[str] = []
        try:
            imu, acceleration[name] = _sensor(folder / f"{name}.csv", labels.first_s, placement, subject, own)
            imus.append(imu)
        except (DamagedFile, UnitError) as error:
            own.append(error.reason)
        problems.extend(f"{name}: {problem}" for problem in own)
    if not imus:
        raise DamagedFile(path, "; ".join(problems))
    return Recording(
        content_id(path),
        path,
        imus=tuple(imus),
        poses=_poses(folder, subject, problems),
        narrations=labels.narrations,
        source_format=MRI.name,
        problems=tuple(problems),
        extra={
            "subject": subject,
            "acceleration": acceleration,
            "gyroscope": "from the differences of the orientations",
            "left_out": [f.stem for f in sorted(folder.glob("IMU[36].csv"))],
        },
    )


def content_id(path: str) -> str:
    """sha256 over the files that are read. Raises DamagedFile where one cannot be."""
    folder = Path(path)
    files = [*(folder / f"{name}.csv" for name in PLACEMENTS), _keypoint_file(folder)]
    named = [(file.name if file.parent == folder else "pose", file) for file in files]
    labels = _labels_file(folder)
    named += [("labels", labels)] if labels.is_file() else []
    return joint_id((name, file_id(file) if file.is_file() else "absent") for name, file in named)


def _sensor(path: Path, first_s: float, placement: str, person: str, problems: list[str]) -> tuple[Imu, str]:
    values = read_table(path, COLUMNS, problems)
    t_s = first_s + np.arange(len(values)) / RATE_HZ
    there = np.isfinite(values).all(axis=1)
    if not there.all():
        problems.append(f"{int((~there).sum())} samples that are not finite were dropped")
    turned_s, turned = unit_quaternions(t_s[there], values[there, 3:], problems, "orientation")
    if not len(turned_s):
        raise DamagedFile(path, "holds no row with an acceleration and an orientation")
    acc, how = with_gravity(values[np.isin(t_s, turned_s), :3] * STANDARD_GRAVITY_MPS2, turned)
    gyro = gyroscope(turned_s, turned)
    return checked_imu(path, (turned_s, acc), gyro, placement=placement, person=person, name=path.stem), how


@dataclass(frozen=True)
class _Labels:
    """first_s: when row 0 of the sensors was, on the picture's clock.   narrations: one an exercise."""

    first_s: float = 0.0
    narrations: tuple[Narration, ...] = ()

    @classmethod
    def of(cls, folder: Path, problems: list[str]) -> _Labels:
        file = _labels_file(folder)
        if not file.is_file():
            return cls()
        try:
            held = load_objects(file)
            first, _ = (int(frame) for frame in held["imu_avail_frames"])
            spans = [
                (int(start) / RATE_HZ, (int(stop) + 1) / RATE_HZ, str(name).replace("_", " "))
                for name, given in (held.get("video_label") or {}).items()
                for start, stop in np.reshape(given, (-1, 2)).tolist()
                if name != UNLABELLED
            ]
            narrations = tuple(Narration(*span) for span in sorted(spans))
        except DamagedFile as error:
            problems.append(f"{file.name}: {error.reason}")
        except (TypeError, KeyError, ValueError, AttributeError, OverflowError, UsageError) as error:
            problems.append(f"{file.name}: its frames and labels are not as they must be: {error!r:.100}")
        else:
            if 0 <= first < MAX_FRAMES:
                return cls(first / RATE_HZ, narrations)
            problems.append(f"{file.name}: says that the sensors begin at frame {first}")
        return cls()


def _labels_file(folder: Path) -> Path:
    return folder.parent.parent / "pose_labels" / f"{folder.name}_all_labels.cpl"


def _keypoint_file(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.json")


def _poses(folder: Path, subject: str, problems: list[str]) -> tuple[PoseTrack, ...]:
    file = _keypoint_file(folder)
    if not file.is_file():
        return ()
    try:
        tracks, left_out = read_poses(file, image_size=IMAGE_SIZE, rate_hz=RATE_HZ, person=subject)
    except MediaError as error:
        problems.append(f"{file.name}: {error.reason}")
        return ()
    problems.extend(left_out)
    return tracks


def _has_sensors(folder: Path) -> bool:
    return bool(SUBJECT.fullmatch(folder.name)) and any(
        {"axg", "q0"} <= columns_of(folder / f"{name}.csv") for name in PLACEMENTS
    )


def _is_mri(path: Path) -> bool:
    return _has_sensors(path.parent if FILE.fullmatch(path.name) else path)


def _expand(path: Path) -> list[str]:
    return [str(path.parent if FILE.fullmatch(path.name) else path)]


MRI = Reader("mri", _is_mri, read, content_id, _expand)
