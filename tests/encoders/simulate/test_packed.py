"""Packed motions come back as they were."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from motionseek.encoders.simulate.motion import JOINTS, Motion
from motionseek.encoders.simulate.packed import read_packed, write_packed
from motionseek.errors import DamagedFile


def tumbling(seed: int, n: int = 200) -> Motion:
    """Joints on wide paths, turning on through several whole turns."""
    rng = np.random.default_rng(seed)
    position = np.cumsum(rng.normal(scale=0.05, size=(n, len(JOINTS), 3)), axis=0)
    vector = np.arange(n)[:, None, None] * rng.normal(scale=0.05, size=(1, len(JOINTS), 3))
    turned = Rotation.from_rotvec(vector.reshape(-1, 3)).as_matrix().reshape(n, len(JOINTS), 3, 3)
    return Motion(f"tumble {seed}", 60.0, position, turned, ("a", "b"), "made")


def test_motions_survive_packing(tmp_path: Path) -> None:
    motions = [tumbling(0), tumbling(1, 50)]
    write_packed(tmp_path / "m.npz", motions)
    for ours, theirs in zip(motions, read_packed(tmp_path / "m.npz"), strict=True):
        assert (theirs.name, theirs.rate_hz, theirs.labels, theirs.source) == (ours.name, 60.0, ("a", "b"), "made")
        moved = ours.position_m - ours.position_m[:1, :1] * [1, 0, 1]
        assert theirs.position_m == pytest.approx(moved, abs=1.01e-4)
        turn = Rotation.from_matrix(ours.rotation.reshape(-1, 3, 3)).inv() * Rotation.from_matrix(
            theirs.rotation.reshape(-1, 3, 3)
        )
        assert np.degrees(turn.magnitude().max()) < 0.01


def test_damage_is_named(tmp_path: Path) -> None:
    (tmp_path / "m.npz").write_bytes(b"nothing")
    with pytest.raises(DamagedFile, match=r"m\.npz"):
        read_packed(tmp_path / "m.npz")
