"""MobiFall and MobiAct: a phone in the trouser pocket, one file a sensor and trial.

Two layouts: the official one (`sub2/ADL/JOG/JOG_acc_2_1.txt` with `JOG_gyro_2_1.txt` and `JOG_ori_2_1.txt` beside it:
a header of lines that start with #, `@DATA`, then `timestamp, x, y, z` in ns and m/s² with gravity, rad/s, degrees),
and one npz with all trials concatenated (`activity`, `subject`, `trial` (K,), `acc_len`, `acc_t_ns`, `acc_mps2`,
`gyro_len`, `gyro_t_ns`, `gyro_rps`).

Both sensors are stamped by the phone's clock; time 0 is the trial's first accelerometer sample. The orientation
files hold what the phone made of the other two, and are not read. Nobody wrote down which pocket it was, nor which way
round the phone lay: the placement stays unknown.

Vavoulas et al.: The MobiAct Dataset, ICT4AWE 2016.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from motionseek.errors import DamagedFile, UsageError
from motionseek.indexer.readers.base import Reader, file_id, joint_id
from motionseek.indexer.readers.checks import checked_imu
from motionseek.indexer.readers.packed import has_arrays, load_arrays, version_of
from motionseek.indexer.readers.stamps import cleaned
from motionseek.indexer.readers.tables import read_triple
from motionseek.types import Float64, Recording

ACTIVITIES: Mapping[str, str] = {
    "STD": "standing",
    "WAL": "walking",
    "JOG": "jogging",
    "JUM": "jumping",
    "STU": "walking up stairs",
    "STN": "walking down stairs",
    "SCH": "sitting down on a chair",
    "SIT": "sitting on a chair",
    "CHU": "standing up from a chair",
    "CSI": "stepping into a car",
    "CSO": "stepping out of a car",
    "LYI": "lying",
    "FOL": "falling forward onto the hands",
    "FKL": "falling forward onto the knees",
    "BSC": "falling backward while sitting down on a chair",
    "SDL": "falling sideways",
}
"""Codes in file names → labels; a code that is not here (MobiAct's scenarios) gives no label."""

FILE = re.compile(r"([A-Z]{3})_(acc|gyro|ori)_(\d+)_(\d+)\.txt")
PART = re.compile(r"([A-Z]{3})_(\d+)_(\d+)")
COLUMNS = ("timestamp", "x", "y", "z")
HEADER_LINES = 100
NPZ_KEYS = ("activity", "subject", "trial", "acc_len", "acc_t_ns", "acc_mps2", "gyro_len", "gyro_t_ns", "gyro_rps")

Sensor = tuple[Float64, Float64]
"""Times (L,) and samples (L, 3)."""


def read(path: str) -> Recording:
    """`…/JOG_acc_2_1.txt` or `file.npz#JOG_2_1` → one trial. Raises DamagedFile, UnitError, UsageError."""
    activity, subject, trial = _named(path)
    problems: list[str] = []
    acc, gyro = _packed_trial(path, problems) if "#" in path else _loose_trial(Path(path), problems)
    if not len(acc[0]):
        raise DamagedFile(path, "holds no accelerometer sample with a finite time and value")
    zero_s = acc[0][0]
    name = f"{activity}_{subject}_{trial}"
    imu = checked_imu(path, (acc[0] - zero_s, acc[1]), (gyro[0] - zero_s, gyro[1]), person=subject, name=name)
    return Recording(
        content_id(path),
        path,
        imus=(imu,),
        labels=(ACTIVITIES[activity],) if activity in ACTIVITIES else (),
        source_format=MOBIFALL.name,
        problems=tuple(dict.fromkeys(problems)),
        extra={"activity": activity, "subject": int(subject), "trial": int(trial), "worn": "trouser pocket"},
    )


def content_id(path: str) -> str:
    """sha256 of one trial: of its files, or of its arrays where one file holds many. Raises DamagedFile."""
    if "#" not in path:
        gyro = _beside(Path(path), "gyro")
        return joint_id([("acc", file_id(path)), ("gyro", file_id(gyro) if gyro.is_file() else "absent")])
    digest = sha256(f"mobifall {'_'.join(_named(path))}".encode())
    for times, samples in _held(path):
        digest.update(np.ascontiguousarray(times, "<i8").tobytes())
        digest.update(np.ascontiguousarray(samples, "<f4").tobytes())
    return digest.hexdigest()


def _named(path: str) -> tuple[str, str, str]:
    """Activity, subject, trial."""
    file, _, part = path.partition("#")
    found = PART.fullmatch(part) if part else FILE.fullmatch(Path(file).name)
    if not found:
        raise UsageError(f"{path}: a trial is named as in JOG_acc_2_1.txt or file.npz#JOG_2_1")
    activity, *_, subject, trial = found.groups()
    return activity, subject, trial


def _beside(acc: Path, kind: str) -> Path:
    return acc.with_name(FILE.sub(rf"\1_{kind}_\3_\4.txt", acc.name))


def _loose_trial(acc_file: Path, problems: list[str]) -> tuple[Sensor, Sensor]:
    acc = _log(acc_file, "accelerometer", problems)
    gyro_file = _beside(acc_file, "gyro")
    try:
        gyro = _log(gyro_file, "gyroscope", problems)
    except DamagedFile as error:
        problems.append(f"{gyro_file.name}: {error.reason}")
        gyro = np.empty(0), np.empty((0, 3))
    return acc, gyro


def _log(path: Path, what: str, problems: list[str]) -> Sensor:
    repaired: list[str] = []
    found = read_triple(
        path, COLUMNS, time="ns", what=what, problems=repaired, header=COLUMNS, skip_rows=_header_lines(path)
    )
    problems.extend(f"{path.name}: {problem}" for problem in repaired)
    return found


def _header_lines(path: Path) -> int:
    """How many lines stand before the first sample. Raises DamagedFile."""
    try:
        with path.open("rb") as file:
            for count in range(HEADER_LINES):
                line = file.readline(1 << 12)
                if not line:
                    break
                if line[:1] not in (b"#", b"@") and line.strip():
                    return count
    except OSError as error:
        raise DamagedFile(path, f"cannot be read: {error.strerror}") from error
    raise DamagedFile(path, "holds no samples" if count else "is empty")


def _packed_trial(path: str, problems: list[str]) -> tuple[Sensor, Sensor]:
    acc, gyro = _held(path)
    return (
        cleaned(acc[0] * 1e-9, acc[1].astype(np.float64), "accelerometer", problems),
        cleaned(gyro[0] * 1e-9, gyro[1].astype(np.float64), "gyroscope", problems),
    )


def _held(path: str) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """The trial's arrays as they are in the npz: times in ns, samples. Raises DamagedFile."""
    file = Path(path.partition("#")[0])
    trials = _npz(file, *version_of(file))
    name = "_".join(_named(path))
    if name not in trials:
        raise DamagedFile(file, f"holds no trial {name}")
    return trials[name]


@lru_cache(maxsize=2)
def _npz(path: Path, mtime_ns: int, size: int) -> Mapping[str, tuple[tuple[Any, Any], tuple[Any, Any]]]:
    """All trials of the file, kept while its trials are asked for one by one."""
    held = load_arrays(path, NPZ_KEYS, "MobiFall")
    try:
        names = [f"{a}_{s}_{t}" for a, s, t in zip(*(held[k].tolist() for k in NPZ_KEYS[:3]), strict=True)]
        sensors = [_split(path, held, kind, unit, len(names)) for kind, unit in (("acc", "mps2"), ("gyro", "rps"))]
    except (ValueError, TypeError) as error:
        raise DamagedFile(path, f"is not a MobiFall npz: {error}") from error
    return dict(zip(names, zip(*sensors, strict=True), strict=True))


def _split(path: Path, held: Mapping[str, Any], kind: str, unit: str, count: int) -> list[tuple[Any, Any]]:
    """(times in ns, samples) of each trial."""
    lengths, t_ns, x = held[f"{kind}_len"], held[f"{kind}_t_ns"], held[f"{kind}_{unit}"]
    numbers = all(a.dtype.kind in "iuf" for a in (lengths, t_ns, x))
    if not numbers or lengths.shape != (count,) or x.shape != (len(t_ns), 3) or (lengths < 0).any():
        raise DamagedFile(path, f"its {kind} arrays do not have the shapes of {count} trials")
    if lengths.sum() != len(t_ns):
        raise DamagedFile(path, f"{kind}_len does not add up to the {len(t_ns)} rows of {kind}_{unit}")
    cuts = np.cumsum(lengths)[:-1]
    return list(zip(np.split(t_ns, cuts), np.split(x, cuts), strict=True))


def _is_mobifall(path: Path) -> bool:
    if FILE.fullmatch(path.name):
        return path.is_file()
    return has_arrays(path, NPZ_KEYS)


def _expand(path: Path) -> list[str]:
    """A trial goes by the name of its accelerometer file, whichever of its files is met."""
    if FILE.fullmatch(path.name):
        return [str(_beside(path, "acc"))]
    return [f"{path}#{name}" for name in sorted(_npz(path, *version_of(path)))]


MOBIFALL = Reader("mobifall", _is_mobifall, read, content_id, _expand)
