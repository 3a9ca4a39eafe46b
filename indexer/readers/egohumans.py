"""EgoHumans: what several people's bodies look like to each of up to fifteen cameras around them.

A recording is one camera of a take, `01_tagging/001_tagging/processed_data#cam01`: the files
`poses2d/cam01/rgb/00001.npy` …, one a frame from 1 on at 20 a second, each a list of
`{"human_name", "keypoints" (17 or more, 3)}`: COCO-17 and further joints, in pixels, with a confidence. One track a
person, under the name that the dataset gives them; a person who is missing from a frame is unseen there. A number that
is missing is a gap. The take's activity is its label.

The files hold Python objects, which are read as data, nothing in them is run (see `objects`). The dataset has no IMU;
its body meshes (`smpl`), from which MoBind made synthetic ones, and its pictures, single images, are not read.

Khirodkar et al.: EgoHumans, ICCV 2023.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from motionseek.errors import DamagedFile, UsageError
from motionseek.indexer.readers.base import Reader, file_id, joint_id
from motionseek.indexer.readers.objects import load_objects
from motionseek.types import Float64, PoseTrack, Recording

RATE_HZ = 20.0
JOINTS = 17
SIZES: Mapping[str, tuple[int, int]] = {"cam": (3840, 2160), "aria": (1408, 1408)}
"""(width, height) of the pictures, by how a camera's name begins."""

FRAME = re.compile(r"(\d{5})\.npy")
CAMERA = re.compile(r"(cam|aria)\d+")
ACTIVITY = re.compile(r"\d+_([a-z]+)")


def read(path: str) -> Recording:
    """`…/processed_data#cam01` → a pose track for each person that the camera saw. Raises DamagedFile, UsageError."""
    folder, camera = _named(path)
    frames, bad = [], []
    files = _files(folder, camera)
    for file in files:
        try:
            frames.append((int(file.stem), _people(file)))
        except DamagedFile as error:
            bad.append(f"{file.name}: {error.reason}")
    if not any(people for _, people in frames):
        raise DamagedFile(path, f"holds nobody in {len(files)} frames" + (f": {bad[0]}" if bad else ""))
    problems = (f"{len(bad)} of {len(files)} frames cannot be read, the first: {bad[0]}",) if bad else ()
    names = sorted({name for _, people in frames for name in people})
    return Recording(
        content_id(path),
        path,
        poses=tuple(_track(name, frames, camera) for name in names),
        labels=_labels(folder),
        source_format=EGOHUMANS.name,
        problems=problems,
        extra={"camera": camera, "take": folder.parent.name},
    )


def content_id(path: str) -> str:
    """sha256 over all frames of the camera. Raises DamagedFile, UsageError."""
    folder, camera = _named(path)
    return joint_id([("egohumans", camera), *((file.name, file_id(file)) for file in _files(folder, camera))])


def _named(path: str) -> tuple[Path, str]:
    folder, _, camera = path.rpartition("#")
    if not CAMERA.fullmatch(camera):
        raise UsageError(f"{path}: a camera is named as in processed_data#cam01")
    return Path(folder), camera


def _files(folder: Path, camera: str) -> list[Path]:
    """Those of all frames, in order. Raises DamagedFile."""
    try:
        files = sorted(file for file in _frames_of(folder, camera).iterdir() if FRAME.fullmatch(file.name))
    except OSError as error:
        raise DamagedFile(folder, f"the frames of {camera} cannot be read: {error.strerror}") from error
    if not files:
        raise DamagedFile(folder, f"{camera} has no frame")
    return files


def _frames_of(folder: Path, camera: str) -> Path:
    own = folder / "poses2d" / camera
    return own / "rgb" if (own / "rgb").is_dir() else own


def _people(file: Path) -> Mapping[str, Float64]:
    """(17, 3) by the person's name, of one frame. Raises DamagedFile."""
    held: Any = load_objects(file)
    people = held.tolist() if isinstance(held, np.ndarray) else held
    found = {}
    try:
        for one in people:
            body = np.asarray(one["keypoints"], np.float64)
            if body.ndim != 2 or len(body) < JOINTS or body.shape[1] < 3:
                raise ValueError(f"keypoints of shape {body.shape} where (17 or more, 3) is expected")
            found[str(one["human_name"])] = body[:JOINTS, :3]
    except (TypeError, KeyError, ValueError, IndexError) as error:
        raise DamagedFile(file, f"is not a list of people with keypoints: {error!r:.100}") from error
    return found


def _track(name: str, frames: list[tuple[int, Mapping[str, Float64]]], camera: str) -> PoseTrack:
    """One person's body in the frames from the first to the last in which they are."""
    there = [i for i, (_, people) in enumerate(frames) if name in people]
    nobody = np.full((JOINTS, 3), np.nan)
    seen = frames[there[0] : there[-1] + 1]
    t_s = np.array([number - 1 for number, _ in seen], np.float64) / RATE_HZ
    body = np.stack([people.get(name, nobody) for _, people in seen])
    confidence = np.nan_to_num(np.clip(body[..., 2], 0, 1))
    unseen = (confidence <= 0) | ~np.isfinite(body[..., :2]).all(axis=2)
    xy = np.where(unseen[..., None], np.nan, body[..., :2])
    size = next(size for begins, size in SIZES.items() if camera.startswith(begins))
    confidence = np.where(unseen, 0, confidence)
    return PoseTrack(t_s, xy.astype(np.float32), confidence.astype(np.float32), size, name)


def _labels(folder: Path) -> tuple[str, ...]:
    """The activity, from the names of the folders above."""
    found = (ACTIVITY.fullmatch(above.name) for above in list(folder.parents)[:2])
    return tuple(dict.fromkeys(match[1] for match in found if match))[:1]


def _is_egohumans(path: Path) -> bool:
    return path.name == "processed_data" and (path / "poses2d").is_dir()


def _expand(path: Path) -> list[str]:
    try:
        cameras = sorted(one.name for one in (path / "poses2d").iterdir() if CAMERA.fullmatch(one.name))
    except OSError as error:
        raise DamagedFile(path, f"poses2d cannot be read: {error.strerror}") from error
    if not cameras:
        raise DamagedFile(path, "poses2d holds no folder of a camera, as cam01 or aria01")
    return [f"{path}#{camera}" for camera in cameras]


EGOHUMANS = Reader("egohumans", _is_egohumans, read, content_id, _expand)
