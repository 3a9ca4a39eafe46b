"""Motion capture against anatomy: what must hold for any walking, standing, bending person."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from motionseek.encoders.simulate.camera import facing
from motionseek.encoders.simulate.mocap import read_amc, read_bandai_npz, read_deepmimic
from motionseek.encoders.simulate.motion import JOINTS, Motion
from motionseek.errors import DamagedFile, UsageError
from motionseek.types import Float64

BONES = (
    *(("chest", "chest", "neck"), ("neck", "neck", "head")),
    *((f"{s}_{a}", f"{s}_{a}", f"{s}_{b}") for s in ("left", "right") for a, b in (("hip", "knee"), ("knee", "ankle"))),
    *((f"{s}_shoulder", f"{s}_shoulder", f"{s}_elbow") for s in ("left", "right")),
    *((f"{s}_elbow", f"{s}_elbow", f"{s}_wrist") for s in ("left", "right")),
)
SOURCES = ("bandai", "cmu", "deepmimic")


def of(motion: Motion, name: str) -> Float64:
    return motion.position_m[:, JOINTS.index(name)]


def seen_from(motion: Motion, segment: str, start: str, end: str) -> Float64:
    """The vector from one joint to another in a segment's frame, (N, 3)."""
    turned = motion.rotation[:, JOINTS.index(segment)]
    return np.einsum("nji,nj->ni", turned, of(motion, end) - of(motion, start))


@pytest.fixture(scope="module")
def walks(data_dir: Path) -> dict[str, Motion]:
    cmu = data_dir / "cmu-mocap" / "02"
    bandai: Iterator[Motion] = read_bandai_npz(data_dir / "bandai-namco" / "bnr_dataset1.npz")
    return {
        "bandai": next(m for m in bandai if m.labels == ("walk", "normal")),
        "cmu": read_amc(cmu / "02.asf", cmu / "02_01.amc"),
        "deepmimic": read_deepmimic(data_dir / "deepmimic" / "humanoid3d_walk.txt", loops=3),
    }


@pytest.mark.parametrize("source", SOURCES)
def test_bones_are_rigid_and_lie_along_their_segment(walks: dict[str, Motion], source: str) -> None:
    for segment, start, end in BONES:
        bone = seen_from(walks[source], segment, start, end)
        assert bone.std(axis=0) == pytest.approx([0, 0, 0], abs=2e-3), segment
        direction = bone[0] / np.linalg.norm(bone[0])
        upwards = 1.0 if segment in ("chest", "neck") else -1.0
        assert direction == pytest.approx([0, upwards, 0], abs=0.15), segment


@pytest.mark.parametrize("source", SOURCES)
def test_a_walker_is_as_tall_as_a_person_and_walks_where_they_face(walks: dict[str, Motion], source: str) -> None:
    walk = walks[source]
    assert 0.8 < np.median(of(walk, "pelvis")[:, 1]) < 0.95
    assert 1.3 < np.median(of(walk, "head")[:, 1]) < 1.5
    travelled = of(walk, "pelvis")[-1] - of(walk, "pelvis")[0]
    ahead = facing(walk).mean(axis=0)
    assert travelled @ ahead > 0.95 * np.linalg.norm(travelled)
    assert 0.9 < np.linalg.norm(travelled) / walk.duration_s < 1.8


@pytest.mark.parametrize("source", SOURCES)
def test_left_is_left_when_facing_forward(walks: dict[str, Motion], source: str) -> None:
    for joint in ("hip", "shoulder", "wrist"):
        across = seen_from(walks[source], "pelvis", f"right_{joint}", f"left_{joint}")
        assert across[:, 0].min() > 0.1, joint


@pytest.mark.parametrize("source", SOURCES)
def test_knees_bend_backwards_and_elbows_forwards(walks: dict[str, Motion], source: str) -> None:
    walk = walks[source]
    for side in ("left", "right"):
        shank = seen_from(walk, f"{side}_hip", f"{side}_knee", f"{side}_ankle")
        forearm = seen_from(walk, f"{side}_shoulder", f"{side}_elbow", f"{side}_wrist")
        assert shank[:, 2].min() < -0.15
        assert shank[:, 2].max() < 0.08
        assert forearm[:, 2].max() > 0.05
        assert forearm[:, 2].min() > -0.03
        assert np.abs(forearm[:, 0]).max() < 0.02


@pytest.mark.parametrize("source", SOURCES)
def test_a_walker_is_near_the_reference_pose(walks: dict[str, Motion], source: str) -> None:
    walk = walks[source]
    heading = facing(walk)
    yaw = Rotation.from_rotvec(np.outer(np.arctan2(heading[:, 0], heading[:, 2]), [0, 1, 0]))
    for name in JOINTS:
        turned = yaw.inv() * Rotation.from_matrix(walk.rotation[:, JOINTS.index(name)])
        limit_deg = 25 if name in ("pelvis", "chest", "neck", "head") else 60
        assert np.degrees(turned.mean().magnitude()) < limit_deg, name


def test_segments_turn_as_rotations(walks: dict[str, Motion]) -> None:
    for walk in walks.values():
        product = walk.rotation @ np.swapaxes(walk.rotation, -1, -2)
        assert product == pytest.approx(np.broadcast_to(np.eye(3), product.shape), abs=1e-6)
        assert np.linalg.det(walk.rotation) == pytest.approx(np.ones(walk.rotation.shape[:2]))


def test_a_raised_left_hand_is_the_left_one(data_dir: Path) -> None:
    clips = read_bandai_npz(data_dir / "bandai-namco" / "bnr_dataset2.npz")
    raised = next(m for m in clips if m.labels[0] == "raise-up-left-hand")
    assert of(raised, "left_wrist")[:, 1].max() > of(raised, "head")[:, 1].max()
    assert of(raised, "right_wrist")[:, 1].max() < of(raised, "neck")[:, 1].min()


def test_jumping_in_cmu_units_falls_as_on_earth(data_dir: Path) -> None:
    folder = data_dir / "cmu-mocap" / "01"
    jump = read_amc(folder / "01.asf", folder / "01_01.amc")
    height_m = jump.position_m[:, [JOINTS.index(j) for j in ("pelvis", "chest", "left_knee", "right_knee")], 1].mean(1)
    # The steadiest tenth of a second of downward acceleration is the flight.
    fits = [np.polyfit(np.arange(24) / 120, height_m[i : i + 24], 2) for i in range(0, len(height_m) - 24, 4)]
    falling = np.array([-2 * fit[0] for fit in fits])
    assert np.percentile(falling, 98) == pytest.approx(9.81, rel=0.25)


def test_looping_carries_place_and_direction_on_without_a_seam(data_dir: Path) -> None:
    path = data_dir / "deepmimic" / "humanoid3d_walk.txt"
    once, thrice = read_deepmimic(path), read_deepmimic(path, loops=3)
    n = len(once.position_m) - 1
    assert len(thrice.position_m) == 3 * n + 1
    pelvis = of(thrice, "pelvis")
    strides = [pelvis[(k + 1) * n] - pelvis[k * n] for k in range(3)]
    assert [np.linalg.norm(s[[0, 2]]) for s in strides] == pytest.approx([np.linalg.norm(strides[0][[0, 2]])] * 3)
    steps = np.linalg.norm(np.diff(thrice.position_m, axis=0), axis=-1)
    inside = np.linalg.norm(np.diff(once.position_m, axis=0), axis=-1)
    assert steps[[n - 1, n, 2 * n - 1, 2 * n]].max() < 1.2 * inside.max()


def test_damaged_files_are_named(tmp_path: Path) -> None:
    for name, read in (("a.npz", lambda p: list(islice(read_bandai_npz(p), 1))), ("a.txt", read_deepmimic)):
        path = tmp_path / name
        path.write_text("nothing of use")
        with pytest.raises(DamagedFile, match=name):
            read(path)
    with pytest.raises(DamagedFile, match=r"a\.txt"):
        read_amc(tmp_path / "a.txt", tmp_path / "a.txt")
    short = tmp_path / "humanoid3d_short.txt"
    short.write_text(json.dumps({"Loop": "none", "Frames": [[0.03, 1.0]] * 9}))
    with pytest.raises(DamagedFile, match="44 numbers"):
        read_deepmimic(short)


def test_only_clips_that_wrap_may_loop(tmp_path: Path) -> None:
    frame = [
        0.03,
        0,
        0.9,
        0,
        *([1, 0, 0, 0] * 4),
        0,
        *([1, 0, 0, 0] * 2),
        0,
        *([1, 0, 0, 0]),
        0,
        *([1, 0, 0, 0] * 2),
        0,
    ]
    path = tmp_path / "humanoid3d_still.txt"
    path.write_text(json.dumps({"Loop": "none", "Frames": [frame] * 9}))
    still = read_deepmimic(path)
    assert still.rotation == pytest.approx(np.broadcast_to(np.eye(3), still.rotation.shape))
    assert of(still, "left_wrist")[0, 0] > 0 > of(still, "right_wrist")[0, 0]
    with pytest.raises(UsageError, match="wrap"):
        read_deepmimic(path, loops=2)
