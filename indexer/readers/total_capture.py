"""TotalCapture: 13 Xsens sensors on one person, 60 Hz.

`s1_acting1_Xsens.sensors` holds for each frame its number and a line `name qw qx qy qz ax ay az` for each sensor: the
orientation of the sensor in a world whose z points up, and its acceleration. The variant with auxiliary fields,
`acting1_Xsens_AuxFields.sensors`, adds the gyroscope (rad/s) and the magnetometer. Frames are numbered from 1, and a
number that is missing is a gap.

There is no gyroscope in the plain file: it is derived from the orientations, at the times halfway between frames, and
so is as smooth as the sensor fusion made them. Whether gravity is in the accelerations is decided from the signal (see
`orientation.with_gravity`) and kept in `extra["acceleration"]`.

One sensor a body part is read: forearms, lower legs, head and pelvis. The others share a part with one of these and
are named in `extra["left_out"]`. The eight videos of a sequence are recordings of their own.

Trumble et al.: Total Capture, BMVC 2017.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from motionseek.errors import DamagedFile, UnitError
from motionseek.indexer.readers.base import Reader, file_id
from motionseek.indexer.readers.checks import checked_imu
from motionseek.indexer.readers.orientation import gyroscope, unit_quaternions, with_gravity
from motionseek.indexer.readers.stamps import cleaned
from motionseek.types import Float64, Imu, Recording

RATE_HZ = 60.0
PLACEMENTS: Mapping[str, str] = {
    "L_LowArm": "left_forearm",
    "R_LowArm": "right_forearm",
    "L_LowLeg": "left_shank",
    "R_LowLeg": "right_shank",
    "Head": "head",
    "Pelvis": "pelvis",
}
LABELS: Mapping[str, str] = {
    "acting": "acting",
    "freestyle": "freestyle",
    "rom": "range of motion",
    "walking": "walking",
}
PLAIN, WITH_GYRO = 8, (11, 14)
"""Words on the line of a sensor."""

FILE = re.compile(r"(?:s(\d+)_)?([a-z]+)(\d*)_xsens(?:_auxfields)?\.sensors", re.IGNORECASE)
SUBJECT = re.compile(r"s(\d+)", re.IGNORECASE)


def read(path: str) -> Recording:
    """A `.sensors` file → the six sensors of one person. Raises DamagedFile, UnitError."""
    problems: list[str] = []
    names, frame, values = _parsed(Path(path), problems)
    subject, sequence, take = _named(Path(path))
    t_s = (frame - 1) / RATE_HZ
    imus, reasons, acceleration = [], [], {}
    for name, placement in PLACEMENTS.items():
        if name not in names:
            continue
        try:
            own = values[:, names.index(name)]
            imu, acceleration[name] = _sensor(path, name, placement, subject, t_s, own, problems)
            imus.append(imu)
        except (DamagedFile, UnitError) as error:
            reasons.append(f"{name}: {error.reason}")
    if not imus:
        raise DamagedFile(path, "; ".join(reasons) or f"has none of the sensors {', '.join(PLACEMENTS)}")
    aux = values.shape[2] > PLAIN - 1
    return Recording(
        file_id(path),
        path,
        imus=tuple(imus),
        labels=(LABELS[sequence],) if sequence in LABELS else (),
        source_format=TOTAL_CAPTURE.name,
        problems=(*problems, *reasons),
        extra={
            "subject": subject,
            "sequence": f"{sequence}{take}",
            "acceleration": acceleration,
            "gyroscope": "as recorded" if aux else "from the differences of the orientations",
            "left_out": [name for name in names if name not in PLACEMENTS],
        },
    )


def _sensor(
    path: str, name: str, placement: str, person: str, t_s: Float64, values: Float64, problems: list[str]
) -> tuple[Imu, str]:
    """values: (F, 7), (F, 10) or (F, 13). Raises DamagedFile, UnitError."""
    own: list[str] = []
    there = np.isfinite(values[:, :7]).all(axis=1)
    turned_s, turned = unit_quaternions(t_s[there], values[there, :4], own, "orientation")
    if not len(turned_s):
        raise DamagedFile(path, "holds no frame with an orientation and an acceleration")
    kept = np.isin(t_s, turned_s)
    acc, how = with_gravity(values[kept, 4:7], turned)
    if values.shape[1] > PLAIN - 1:
        gyro = cleaned(t_s, values[:, 7:10], "gyroscope", own)
    else:
        gyro = gyroscope(turned_s, turned)
    if not there.all():
        own.append(f"{int((~there).sum())} samples that are not finite were dropped")
    imu = checked_imu(path, (turned_s, acc), gyro, placement=placement, person=person, name=name)
    problems.extend(f"{name}: {problem}" for problem in own)
    return imu, how


def _parsed(path: Path, problems: list[str]) -> tuple[list[str], Float64, Float64]:
    """Names of the S sensors, frame numbers (F,), and their numbers (F, S, 7 or more). Raises DamagedFile."""
    try:
        text = path.read_text(encoding="ascii")
    except OSError as error:
        raise DamagedFile(path, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DamagedFile(path, "is not a text file") from error
    lines = [line.split() for line in text.splitlines() if line.strip()]
    try:
        sensors, frames = (int(word) for word in lines[0])
        words = len(lines[2])
        names = [line[0] for line in lines[2 : 2 + sensors]]
    except (ValueError, IndexError) as error:
        raise DamagedFile(path, "does not begin with the numbers of its sensors and frames, and a frame") from error
    if words not in (PLAIN, *WITH_GYRO) or len(set(names)) != sensors:
        raise DamagedFile(path, f"must have {sensors} different sensors of {PLAIN} or {WITH_GYRO[-1]} words a line")
    blocks, lost = _frames(lines[1:], names, words)
    if lost or len(blocks) < frames:
        problems.append(f"{len(blocks)} of {max(frames, len(blocks) + lost)} frames could be read")
    try:
        number = np.array([block[0][0] for block in blocks], dtype=np.float64)
        values = np.array([[line[1:] for line in block[1:]] for block in blocks], dtype=np.float64)
    except ValueError as error:
        raise DamagedFile(path, f"is not a table of numbers: {error}") from error
    if not len(blocks):
        raise DamagedFile(path, "holds no whole frame")
    later = np.diff(number, prepend=-np.inf) > 0
    if not later.all():
        problems.append(f"{int((~later).sum())} frames at a repeated or earlier number were dropped")
    return names, number[later], values[later]


def _frames(lines: list[list[str]], names: list[str], words: int) -> tuple[list[list[list[str]]], int]:
    """The blocks of lines that are a whole frame each, and how many are not."""
    starts = [i for i, line in enumerate(lines) if len(line) == 1]
    ends = [*starts[1:], len(lines)]
    blocks = [lines[start:end] for start, end in zip(starts, ends, strict=True)]
    whole = [b for b in blocks if [line[0] for line in b[1:]] == names and all(len(line) == words for line in b[1:])]
    return whole, len(blocks) - len(whole)


def _named(path: Path) -> tuple[str, str, str]:
    """Subject, kind of sequence, take; the subject from the folders where the file does not say it."""
    found: Any = FILE.fullmatch(path.name)
    subject, sequence, take = found.groups() if found else (None, path.stem, "")
    above = (m[1] for folder in path.parents if (m := SUBJECT.fullmatch(folder.name)))
    return subject or next(above, ""), sequence.lower(), take


def _is_total_capture(path: Path) -> bool:
    return bool(FILE.fullmatch(path.name)) and path.is_file()


TOTAL_CAPTURE = Reader("total-capture", _is_total_capture, read, file_id)
