"""Many motions in one small npz: integers, differences along time, zlib."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from motionseek.encoders.simulate.motion import JOINTS, Motion
from motionseek.errors import DamagedFile
from motionseek.types import Float64

_POSITION_UNIT_M = 2e-4
_QUATERNION_UNIT = 1 / 32767


def _steps(x: Float64, unit: float) -> npt.NDArray[np.int16]:
    whole = np.rint(x / unit).astype(np.int32)
    # Steps of smooth movement are small numbers, which zlib halves; int16 may wrap and so does their sum.
    return np.diff(whole, axis=0, prepend=np.zeros_like(whole[:1])).astype(np.int16)


def write_packed(path: str | Path, motions: Sequence[Motion]) -> None:
    """Positions to 0.2 mm, rotations to 0.004°. Every motion is moved to begin above the world's origin."""
    position, rotation = [], []
    for motion in motions:
        moved_m = motion.position_m - motion.position_m[:1, :1] * [1.0, 0.0, 1.0]
        quaternion = Rotation.from_matrix(motion.rotation.reshape(-1, 3, 3)).as_quat().reshape(-1, len(JOINTS), 4)
        # q and -q are the same rotation: keep to the one nearer to the frame before.
        flips = (quaternion[1:] * quaternion[:-1]).sum(-1, keepdims=True) < 0
        quaternion[1:] *= np.where(np.cumsum(flips, axis=0) % 2 == 1, -1.0, 1.0)
        position.append(_steps(moved_m, _POSITION_UNIT_M))
        rotation.append(_steps(quaternion, _QUATERNION_UNIT))
    cards = [{"name": m.name, "rate_hz": m.rate_hz, "labels": m.labels, "source": m.source} for m in motions]
    np.savez_compressed(
        path,
        cards=np.frombuffer(json.dumps(cards).encode(), dtype=np.uint8),
        length=np.array([len(p) for p in position], dtype=np.int32),
        position=np.concatenate(position),
        rotation=np.concatenate(rotation),
    )


def read_packed(path: str | Path) -> list[Motion]:
    """The motions of a file that write_packed wrote. Raises DamagedFile."""
    try:
        with np.load(path, allow_pickle=False) as npz:
            cards = json.loads(npz["cards"].tobytes())
            stops = np.cumsum(npz["length"])[:-1]
            positions, rotations = np.split(npz["position"], stops), np.split(npz["rotation"], stops)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DamagedFile(path, f"not a file of packed motions ({error})") from error
    motions = []
    for card, position, rotation in zip(cards, positions, rotations, strict=True):
        quaternion = np.cumsum(rotation, axis=0, dtype=np.int16) * _QUATERNION_UNIT
        turned = Rotation.from_quat(quaternion.reshape(-1, 4)).as_matrix().reshape(-1, len(JOINTS), 3, 3)
        at_m: Float64 = np.cumsum(position, axis=0, dtype=np.int32).astype(np.float64) * _POSITION_UNIT_M
        motions.append(Motion(card["name"], card["rate_hz"], at_m, turned, tuple(card["labels"]), card["source"]))
    return motions
