"""UTD-MHAD: one worn sensor and a Kinect skeleton for each trial.

Two layouts: the official one (`Inertial/a1_s1_t1_inertial.mat` with `d_iner` (L, 6), `Skeleton/a1_s1_t1_skeleton.mat`
with `d_skel` (20, 3, N)), and one npz with all trials concatenated (`trial` (K, 3), `imu`, `imu_len`, `skel_xyz_m`,
`skel_len`). The sensor is in g and deg/s at 50 Hz. Both streams of a trial span the same time and the sensor's clock
is the right one, so the skeleton's step is L / 50 / N; it is not the 1/30 s that is often assumed.

The skeleton is in the Kinect's camera frame, metres, x to the camera's left, y up, z away from it. It is seen through
a pinhole at the Kinect's depth camera (640 × 480, focal length 571 px), as a pose estimator would see the picture.
Kinect has no face points; the head stands for nose, eyes and ears, with low confidence for eyes and ears.

Chen, Jafari, Kehtarnavaz: UTD-MHAD, ICIP 2015.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import scipy

from motionseek.errors import DamagedFile, UsageError
from motionseek.indexer.readers.base import Reader, file_id, joint_id
from motionseek.indexer.readers.checks import check_units
from motionseek.indexer.readers.packed import has_arrays, load_arrays, version_of
from motionseek.types import STANDARD_GRAVITY_MPS2, Float64, Imu, PoseTrack, Recording

RATE_HZ = 50.0
ACTIONS = (
    *("right arm swipe to the left", "right arm swipe to the right", "right hand wave", "two hand front clap"),
    *("right arm throw", "cross arms in the chest", "basketball shoot", "right hand draw x"),
    *("right hand draw circle (clockwise)", "right hand draw circle (counter clockwise)", "draw triangle"),
    *("bowling (right hand)", "front boxing", "baseball swing from right", "tennis right hand forehand swing"),
    *("arm curl (two arms)", "tennis serve", "two hand push", "right hand knock on door"),
    *("right hand catch an object", "right hand pick up and throw", "jogging in place", "walking in place"),
    *("sit to stand", "stand to sit", "forward lunge (left foot forward)", "squat (two arms stretch out)"),
)
FIRST_THIGH_ACTION = 22
"""From this action on the sensor is worn on the right thigh, before on the right wrist."""

# head 0, shoulders, elbows, wrists, hips, knees, ankles of the Kinect v1's 20 joints, in COCO-17 order
COCO_OF_KINECT = np.array([0, 0, 0, 0, 0, 4, 8, 5, 9, 6, 10, 12, 16, 13, 17, 14, 18])
CONFIDENCE = np.array([0.8, 0.3, 0.3, 0.3, 0.3, *[1.0] * 12], dtype=np.float32)
IMAGE_SIZE = (640, 480)
FOCAL_PX = 571.0

MAT_ERRORS = (
    *(OSError, ValueError, TypeError, KeyError, IndexError, NotImplementedError, MemoryError),
    *(zlib.error, struct.error),
)
"""What scipy raises on damaged MAT-files, besides its own MatReadError."""

NPZ_KEYS = ("trial", "imu", "imu_len", "skel_xyz_m", "skel_len")
TRIAL = re.compile(r"a(\d+)_s(\d+)_t(\d+)")


def read(path: str) -> Recording:
    """`file.npz#a1_s1_t1` or `…/Inertial/a1_s1_t1_inertial.mat` → one trial. Raises DamagedFile, UnitError."""
    action, subject, repetition, imu, skeleton, problems = _trial(path)
    if not 1 <= action <= len(ACTIONS):
        raise DamagedFile(path, f"action {action} is not one of the {len(ACTIONS)} of UTD-MHAD")
    t_s = np.arange(len(imu), dtype=np.float64) / RATE_HZ
    acc, gyro = imu[:, :3] * STANDARD_GRAVITY_MPS2, imu[:, 3:] * np.pi / 180
    check_units(path, t_s, acc, t_s, gyro)
    placement = "right_wrist" if action < FIRST_THIGH_ACTION else "right_thigh"
    person = str(subject)
    name = f"a{action}_s{subject}_t{repetition}"
    sensor = Imu(t_s, acc.astype(np.float32), t_s, gyro.astype(np.float32), placement, person, name)
    poses: tuple[PoseTrack, ...] = ()
    if skeleton is not None:
        step_s = len(imu) / RATE_HZ / len(skeleton)
        poses = (coco_view(skeleton, np.arange(len(skeleton), dtype=np.float64) * step_s, person),)
    return Recording(
        content_id(path),
        path,
        imus=(sensor,),
        poses=poses,
        labels=(ACTIONS[action - 1],),
        source_format=UTD_MHAD.name,
        problems=problems,
        extra={"action": action, "subject": subject, "repetition": repetition},
    )


def coco_view(skeleton_m: Float64, t_s: Float64, person: str) -> PoseTrack:
    """Kinect joints (N, 20, 3), camera frame (x left, y up, z ahead), metres → what the camera sees, COCO-17 pixels."""
    joints = skeleton_m[:, COCO_OF_KINECT]
    with np.errstate(divide="ignore", invalid="ignore"):
        across = IMAGE_SIZE[0] / 2 - FOCAL_PX * joints[..., 0] / joints[..., 2]
        down = IMAGE_SIZE[1] / 2 - FOCAL_PX * joints[..., 1] / joints[..., 2]
    seen = np.isfinite(joints).all(axis=2) & (joints[..., 2] > 0)
    xy = np.where(seen[..., None], np.stack([across, down], axis=2), np.nan)
    return PoseTrack(t_s, xy.astype(np.float32), np.where(seen, CONFIDENCE, 0).astype(np.float32), IMAGE_SIZE, person)


def content_id(path: str) -> str:
    """sha256 of one trial: of its files, or of its arrays where one file holds many. Raises DamagedFile."""
    if "#" not in path:
        skeleton = _skeleton_of(Path(path))
        absent = "absent" if skeleton is None else file_id(skeleton)
        return joint_id([("inertial", file_id(path)), ("skeleton", absent)])
    action, subject, repetition, imu, skeleton_m, _ = _trial(path)
    digest = sha256(f"utd-mhad a{action} s{subject} t{repetition} {imu.shape}".encode())
    digest.update(np.ascontiguousarray(imu, dtype="<f4").tobytes())
    if skeleton_m is not None:
        digest.update(np.ascontiguousarray(skeleton_m, dtype="<f4").tobytes())
    return digest.hexdigest()


Trial = tuple[int, int, int, Float64, Float64 | None, tuple[str, ...]]
"""Action, subject, repetition, sensor (L, 6) in g and deg/s, skeleton (N, 20, 3) in m, problems."""


def _trial(path: str) -> Trial:
    file, _, part = path.partition("#")
    found = TRIAL.fullmatch(part) if part else TRIAL.match(Path(file).name)
    if not found:
        raise UsageError(f"{path}: a trial is named as in file.npz#a1_s1_t1")
    action, subject, repetition = (int(number) for number in found.groups())
    if part:
        trials = _npz(Path(file), *version_of(Path(file)))
        if (action, subject, repetition) not in trials:
            raise DamagedFile(file, f"holds no trial {part}")
        return (action, subject, repetition, *trials[action, subject, repetition], ())
    imu = _mat(Path(file), "d_iner", (None, 6))
    skeleton_file = _skeleton_of(Path(file))
    if skeleton_file is None:
        return action, subject, repetition, imu, None, ("the trial has no skeleton file",)
    try:
        skeleton = _mat(skeleton_file, "d_skel", (20, 3, None)).transpose(2, 0, 1)
    except DamagedFile as error:
        return action, subject, repetition, imu, None, (f"{skeleton_file.name}: {error.reason}",)
    return action, subject, repetition, imu, skeleton, ()


def _skeleton_of(inertial: Path) -> Path | None:
    name = inertial.name.replace("_inertial", "_skeleton")
    beside = (inertial.parent.parent / "Skeleton" / name, inertial.parent / name)
    return next((file for file in beside if file.is_file()), None)


def _mat(path: Path, name: str, shape: tuple[int | None, ...]) -> Float64:
    try:
        held = scipy.io.loadmat(path, variable_names=[name])
    except (*MAT_ERRORS, scipy.io.matlab.MatReadError) as error:
        raise DamagedFile(path, f"is not a MAT-file of version 7 or before: {error or type(error).__name__}") from error
    if name not in held:
        raise DamagedFile(path, f"holds no variable {name}")
    return _checked(path, name, held[name], shape)


def _checked(path: Path, name: str, value: Any, shape: tuple[int | None, ...]) -> Float64:
    fits = value.ndim == len(shape) and all(want in (None, have) for want, have in zip(shape, value.shape, strict=True))
    if not fits or not value.size or value.dtype.kind not in "fiu":
        raise DamagedFile(path, f"{name} must hold numbers of shape {shape}, not {value.dtype} {value.shape}")
    if not np.isfinite(value).all():
        raise DamagedFile(path, f"{name} holds NaN or infinite values")
    values: Float64 = np.asarray(value, dtype=np.float64)
    return values


@lru_cache(maxsize=2)
def _npz(path: Path, mtime_ns: int, size: int) -> Mapping[tuple[int, int, int], tuple[Float64, Float64]]:
    """All trials of the file, kept while its trials are asked for one by one."""
    held = load_arrays(path, NPZ_KEYS, "UTD-MHAD")
    ids = _checked(path, "trial", held["trial"], (None, 3)).astype(int)
    streams = []
    for name, shape, lengths in (("imu", (None, 6), "imu_len"), ("skel_xyz_m", (None, 20, 3), "skel_len")):
        counts = _checked(path, lengths, held[lengths], (len(ids),)).astype(int)
        values = _checked(path, name, held[name], shape)
        if counts.min() < 1 or counts.sum() != len(values):
            raise DamagedFile(path, f"{lengths} does not add up to the {len(values)} rows of {name}")
        streams.append(np.split(values, np.cumsum(counts)[:-1]))
    return {(int(a), int(s), int(t)): (imu, sk) for (a, s, t), imu, sk in zip(ids, *streams, strict=True)}


def _is_utd(path: Path) -> bool:
    if path.suffix.lower() == ".mat":
        return bool(TRIAL.match(path.name)) and path.stem.endswith("_inertial") and path.is_file()
    return has_arrays(path, NPZ_KEYS)


def _expand(path: Path) -> list[str]:
    if path.suffix.lower() == ".mat":
        return [str(path)]
    return [
        f"{path}#a{action}_s{subject}_t{repetition}"
        for action, subject, repetition in sorted(_npz(path, *version_of(path)))
    ]


UTD_MHAD = Reader("utd-mhad", _is_utd, read, content_id, _expand)
