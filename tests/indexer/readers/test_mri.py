from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from archives import G, mmpose, mri_csv, turning, wxyz

from motionseek.errors import DamagedFile, UsageError
from motionseek.indexer.readers import content_id, discover, read
from motionseek.types import Imu

FRAMES = 300
FIRST_S = 4.2
LABELS = {"T pose": [50, 59], "pose_1": np.array([60, 149]), "null": [150, 199], "free_form": [[200, 219], [230, 239]]}


def truth() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times, accelerations in g with gravity in the sensor's axes, quaternions."""
    t_s = np.arange(FRAMES) / 10
    orientation, _ = turning(t_s * 0.2)
    moving = 0.3 * np.sin(np.outer(t_s, [5, 7, 6]))
    return t_s, orientation.inv().apply(moving + np.array([0, 0, 1.0])), wxyz(orientation)


@pytest.fixture
def release(tmp_path: Path) -> Path:
    _, acc, q = truth()
    for i in range(1, 7):
        mri_csv(tmp_path / "aligned_data" / "imu" / "subject3" / f"IMU{i}.csv", acc * (1 + i * 1e-3), q)
    labels = tmp_path / "aligned_data" / "pose_labels" / "subject3_all_labels.cpl"
    labels.parent.mkdir()
    held = {"pose_2d_l": np.ones((9, 2, 17)), "imu_avail_frames": [42, 341], "video_label": LABELS}
    labels.write_bytes(pickle.dumps(held, protocol=2))
    return tmp_path


def test_four_sensors_of_one_person(release: Path) -> None:
    (source,) = discover([release])
    assert (Path(source.path).name, source.format) == ("subject3", "mri")
    recording = read(source)
    assert recording.recording_id == content_id(source)
    assert recording.problems == ()
    assert [(i.name, i.part, i.person) for i in recording.imus] == [
        ("IMU1", "right_wrist", "3"),
        ("IMU2", "left_wrist", "3"),
        ("IMU4", "right_knee", "3"),
        ("IMU5", "left_knee", "3"),
    ]
    t_s, acc, _ = truth()
    np.testing.assert_allclose(recording.imus[0].acc_t_s, t_s + FIRST_S)
    told = [(n.start_s, n.end_s, n.text) for n in recording.narrations]
    assert told == [(5, 6, "T pose"), (6, 15, "pose 1"), (20, 22, "free form"), (23, 24, "free form")]
    np.testing.assert_allclose(recording.imus[0].acc_mps2, acc * 1.001 * G, rtol=1e-4, atol=1e-4)
    # half a frame lies between the rate at an instant and the mean rate of a step: a small difference at 10 Hz
    gyro = recording.imus[0]
    np.testing.assert_allclose(gyro.gyro_rps, turning((gyro.gyro_t_s - FIRST_S) * 0.2)[1] * 0.2, atol=0.01)
    assert recording.extra["left_out"] == ["IMU3", "IMU6"]
    assert set(recording.extra["acceleration"].values()) == {"as recorded, with gravity"}
    assert read(release / "aligned_data" / "imu" / "subject3" / "IMU2.csv").recording_id == recording.recording_id


def test_one_file_of_several_is_no_sensor_to_search_with(release: Path) -> None:
    with pytest.raises(UsageError, match="4 sensors"):
        Imu.load(release / "aligned_data" / "imu" / "subject3" / "IMU2.csv")


def test_keypoints_beside_are_read(release: Path) -> None:
    rng = np.random.default_rng(0)
    keypoints = np.concatenate([rng.uniform(100, 900, (280, 17, 2)), rng.uniform(0.2, 1, (280, 17, 1))], axis=2)
    file = mmpose(release / "aligned_data" / "imu" / "subject3.json", keypoints)
    recording = read(release / "aligned_data" / "imu" / "subject3")
    assert recording.modalities == ("imu", "pose", "text")
    (track,) = recording.poses
    assert (track.person, track.image_size, track.t_s[-1]) == ("3", (1920, 1080), pytest.approx(27.9))
    np.testing.assert_allclose(track.xy_px, keypoints[..., :2], rtol=1e-5)
    np.testing.assert_allclose(track.confidence, keypoints[..., 2], rtol=1e-5)
    before = recording.recording_id
    file.write_text("{")
    damaged = read(release / "aligned_data" / "imu" / "subject3")
    assert damaged.recording_id != before
    assert damaged.modalities == ("imu", "text")
    assert "subject3.json: is not JSON" in damaged.problems[0]


class _Explosive:
    def __reduce__(self) -> object:
        return os.mkdir, ("exploded",)


@pytest.mark.parametrize(
    "held", [b"junk", pickle.dumps(_Explosive()), pickle.dumps({"imu_avail_frames": "soon"}), pickle.dumps([])]
)
def test_labels_that_cannot_be_read_leave_the_sensors(
    release: Path, held: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(release)
    (release / "aligned_data" / "pose_labels" / "subject3_all_labels.cpl").write_bytes(held)
    recording = read(release / "aligned_data" / "imu" / "subject3")
    assert len(recording.imus) == 4
    assert recording.imus[0].start_s == 0
    assert "subject3_all_labels.cpl" in recording.problems[0]
    assert not (release / "exploded").exists()


def test_damage(release: Path) -> None:
    folder = release / "aligned_data" / "imu" / "subject3"
    _, acc, q = truth()
    (folder / "IMU1.csv").unlink()
    (folder / "IMU2.csv").write_text("axg,ayg,azg,q0\n1,2,3,4\n")
    q = q.copy()
    q[50:60], acc[100] = 0, np.nan
    mri_csv(folder / "IMU4.csv", acc, q)
    recording = read(folder)
    assert [i.name for i in recording.imus] == ["IMU4", "IMU5"]
    assert len(recording.imus[0].acc_t_s) == FRAMES - 11
    assert np.diff(recording.imus[0].acc_t_s).max() == pytest.approx(1.1)
    assert [p.split(":")[0] for p in recording.problems] == ["IMU1", "IMU2", "IMU4", "IMU4"]
    for name in ("IMU4", "IMU5"):
        (folder / f"{name}.csv").write_text("axg,ayg,azg,q0,q1,q2,q3\n")
    with pytest.raises(DamagedFile, match="IMU4"):
        read(folder)
