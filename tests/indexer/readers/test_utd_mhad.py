from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.io

from motionseek.errors import DamagedFile, UsageError
from motionseek.indexer.readers import content_id, discover, read
from motionseek.indexer.readers.utd_mhad import ACTIONS, coco_view
from motionseek.types import COCO17

TRIALS = [(1, 1, 1), (1, 1, 2), (22, 3, 1)]


def trial(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(L, 6) in g and deg/s, (N, 20, 3) in m."""
    rng = np.random.default_rng(seed)
    imu = np.array([0, 1.0, 0, 0, 0, 0]) + rng.normal(0, 1, (150, 6)) * [0.1, 0.1, 0.1, 60, 60, 60]
    return imu, np.array([0, 0, 2.8]) + rng.normal(0, 0.3, (57, 20, 3))


@pytest.fixture
def npz(tmp_path: Path) -> Path:
    imus, skeletons = zip(*(trial(i) for i in range(len(TRIALS))), strict=True)
    np.savez_compressed(
        tmp_path / "utd.npz",
        trial=np.array(TRIALS, np.int16),
        imu=np.concatenate(imus).astype(np.float32),
        imu_len=[len(x) for x in imus],
        skel_xyz_m=np.concatenate(skeletons).astype(np.float32),
        skel_len=[len(x) for x in skeletons],
    )
    return tmp_path / "utd.npz"


@pytest.fixture
def official(tmp_path: Path) -> Path:
    for folder in ("Inertial", "Skeleton"):
        (tmp_path / folder).mkdir()
    for i, (action, subject, repetition) in enumerate(TRIALS):
        imu, skeleton = trial(i)
        name = f"a{action}_s{subject}_t{repetition}"
        scipy.io.savemat(tmp_path / "Inertial" / f"{name}_inertial.mat", {"d_iner": imu})
        scipy.io.savemat(tmp_path / "Skeleton" / f"{name}_skeleton.mat", {"d_skel": skeleton.transpose(1, 2, 0)})
    return tmp_path


def test_both_layouts_give_the_same(npz: Path, official: Path) -> None:
    packed = discover([npz])
    loose = discover([official / "Inertial"])
    assert [s.format for s in packed + loose] == ["utd-mhad"] * 6
    assert [s.path.rpartition("#")[2] for s in packed] == ["a1_s1_t1", "a1_s1_t2", "a22_s3_t1"]
    for one, other in zip(packed, loose, strict=True):
        a, b = read(one), read(other)
        assert a.labels == b.labels
        assert a.extra == b.extra
        np.testing.assert_allclose(a.imus[0].acc_mps2, b.imus[0].acc_mps2, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(a.poses[0].xy_px, b.poses[0].xy_px, rtol=1e-3, atol=1e-2)
        np.testing.assert_allclose(a.poses[0].t_s, b.poses[0].t_s)


def test_units_clock_placement_and_label(npz: Path) -> None:
    arm, _, leg = (read(source) for source in discover([npz]))
    imu, _ = trial(0)
    np.testing.assert_allclose(arm.imus[0].acc_mps2, imu[:, :3] * 9.80665, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(arm.imus[0].gyro_rps, np.radians(imu[:, 3:]), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(arm.imus[0].acc_t_s, np.arange(150) / 50)
    np.testing.assert_allclose(arm.poses[0].t_s, np.arange(57) * 150 / 50 / 57)
    assert (arm.imus[0].placement, arm.imus[0].person, arm.poses[0].person) == ("right_wrist", "1", "1")
    assert (leg.imus[0].placement, leg.imus[0].person) == ("right_thigh", "3")
    assert (arm.labels, leg.labels) == (("right arm swipe to the left",), ("jogging in place",))
    assert len(ACTIONS) == 27


def test_ids_are_of_the_trial(npz: Path, tmp_path: Path) -> None:
    ids = [content_id(source) for source in discover([npz])]
    assert len(set(ids)) == 3
    assert ids == [read(source).recording_id for source in discover([npz])]
    npz.rename(tmp_path / "renamed.npz")
    assert [content_id(source) for source in discover([tmp_path / "renamed.npz"])] == ids


def test_the_view_is_the_cameras() -> None:
    """A person who faces the camera has their left at the picture's right, and their head above their feet."""
    skeleton = np.tile([0, 0, 2.0], (1, 20, 1))
    skeleton[0, 0, 1] = 0.5  # head up
    skeleton[0, 6, 0] = -0.4  # the left wrist, at the Kinect's right: its x points to its left
    skeleton[0, 10, 0] = 0.4
    track = coco_view(skeleton, np.array([0.0]), "1")
    xy = dict(zip(COCO17, track.xy_px[0].tolist(), strict=True))
    assert xy["left_wrist"] == pytest.approx([320 + 571 * 0.4 / 2, 240], rel=1e-5)
    assert xy["right_wrist"] == pytest.approx([320 - 571 * 0.4 / 2, 240], rel=1e-5)
    assert xy["nose"] == pytest.approx([320, 240 - 571 * 0.5 / 2], rel=1e-5)
    assert xy["left_hip"] == [320, 240]


def test_a_missing_or_damaged_skeleton_leaves_the_sensor(official: Path) -> None:
    (official / "Skeleton" / "a1_s1_t1_skeleton.mat").unlink()
    (official / "Skeleton" / "a1_s1_t2_skeleton.mat").write_bytes(b"junk" * 100)
    for name, says in (("a1_s1_t1", "no skeleton"), ("a1_s1_t2", "MAT-file")):
        recording = read(official / "Inertial" / f"{name}_inertial.mat")
        assert recording.modalities == ("imu",)
        assert says in recording.problems[0]


@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.9])
def test_cut_off_files_are_refused(npz: Path, official: Path, share: float) -> None:
    for path in (npz, official / "Inertial" / "a1_s1_t1_inertial.mat"):
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(DamagedFile, match="inertial"):
        read(official / "Inertial" / "a1_s1_t1_inertial.mat")
    with pytest.raises((DamagedFile, UsageError), match=r"utd\.npz"):
        read(f"{npz}#a1_s1_t1", format="utd-mhad")


def test_other_bad_files_are_refused(official: Path) -> None:
    path = official / "Inertial" / "a1_s1_t1_inertial.mat"
    for held, says in (
        ({"other": np.zeros((5, 6))}, "no variable d_iner"),
        ({"d_iner": np.zeros((5, 5))}, "shape"),
        ({"d_iner": np.zeros((0, 6))}, "shape"),
        ({"d_iner": np.full((5, 6), np.nan)}, "NaN"),
        ({"d_iner": "text"}, "numbers"),
    ):
        scipy.io.savemat(path, held)
        with pytest.raises(DamagedFile, match=says):
            read(path)


def test_trials_that_are_not_there(npz: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        read(f"{npz}#a9_s9_t9")
    with pytest.raises(UsageError, match="3 recordings"):
        read(npz)


def test_real_trials_all_read_and_the_wrist_moves_with_its_sensor(data_dir: Path) -> None:
    """Wrist speed in the picture against |gyro|: the clock rule holds if they rise and fall together."""
    sources = discover([data_dir / "utd-mhad"])
    assert len(sources) == 646
    agreement = []
    for source in sources[:200:5]:
        recording = read(source)
        assert recording.problems == ()
        (imu,), (track,) = recording.imus, recording.poses
        speed = np.linalg.norm(np.gradient(track.xy_px[:, 10], track.t_s, axis=0), axis=1)
        turn = np.interp(track.t_s, imu.gyro_t_s, np.linalg.norm(imu.gyro_rps, axis=1))
        agreement.append(np.corrcoef(speed, turn)[0, 1])
    assert np.median(agreement) > 0.5
