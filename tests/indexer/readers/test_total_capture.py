from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from archives import G, total_capture, turning, wxyz

from motionseek.errors import DamagedFile, UnitError
from motionseek.indexer.readers import content_id, discover, read

SENSORS = (
    *("Head", "Sternum", "Pelvis", "L_UpArm", "R_UpArm", "L_LowArm", "R_LowArm"),
    *("L_UpLeg", "R_UpLeg", "L_LowLeg", "R_LowLeg", "L_Foot", "R_Foot"),
)
FRAMES = np.delete(np.arange(1, 602), range(200, 260))
"""Ten seconds, of which one is missing."""


def truth() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Quaternions, specific force in the sensor's axes, the same without gravity, turn rate."""
    t_s = (FRAMES - 1) / 60
    orientation, rate = turning(t_s)
    moving = 4 * np.sin(np.outer(t_s, [5, 7, 6]))
    force = orientation.inv().apply(moving + np.array([0, 0, G]))
    return wxyz(orientation), force, orientation.inv().apply(moving), rate


def write(path: Path, acc: np.ndarray) -> Path:
    q = truth()[0]
    return total_capture(path, FRAMES, dict.fromkeys(SENSORS, q), dict.fromkeys(SENSORS, acc))


def test_six_sensors_and_the_gyroscope_behind_the_orientations(tmp_path: Path) -> None:
    _, force, _, _ = truth()
    path = write(tmp_path / "s1" / "s1_acting1_Xsens.sensors", force)
    (source,) = discover([tmp_path])
    assert (source.path, source.format) == (str(path), "total-capture")
    recording = read(source)
    assert recording.recording_id == content_id(source)
    assert (recording.labels, recording.problems) == (("acting",), ())
    assert {i.name: i.part for i in recording.imus} == {
        "L_LowArm": "left_wrist",
        "R_LowArm": "right_wrist",
        "L_LowLeg": "left_knee",
        "R_LowLeg": "right_knee",
        "Head": "head",
        "Pelvis": "torso",
    }
    assert {i.person for i in recording.imus} == {"1"}
    assert recording.extra["left_out"] == [s for s in SENSORS if s not in recording.extra["acceleration"]]
    assert set(recording.extra["acceleration"].values()) == {"as recorded, with gravity"}
    imu = recording.imus[0]
    np.testing.assert_allclose(imu.acc_t_s, (FRAMES - 1) / 60)
    np.testing.assert_allclose(imu.acc_mps2, force, atol=1e-4)
    # no rate is made up for the missing second
    assert not ((imu.gyro_t_s > 199 / 60) & (imu.gyro_t_s < 260 / 60)).any()
    np.testing.assert_allclose(imu.gyro_rps, turning(imu.gyro_t_s)[1], atol=0.01)


def test_gravity_is_added_where_it_is_missing(tmp_path: Path) -> None:
    _, force, free, _ = truth()
    recording = read(write(tmp_path / "s2_rom3_Xsens.sensors", free))
    assert recording.labels == ("range of motion",)
    assert set(recording.extra["acceleration"].values()) == {"gravity added through the orientation"}
    np.testing.assert_allclose(recording.imus[0].acc_mps2, force, atol=1e-4)


def test_accelerations_in_the_worlds_axes_are_turned_back(tmp_path: Path) -> None:
    _, force, _, _ = truth()
    orientation, _ = turning((FRAMES - 1) / 60)
    recording = read(write(tmp_path / "s2_rom3_Xsens.sensors", orientation.apply(force)))
    assert set(recording.extra["acceleration"].values()) == {"turned from the world's axes into the sensor's"}
    np.testing.assert_allclose(recording.imus[0].acc_mps2, force, atol=1e-4)


def test_the_recorded_gyroscope_is_taken_where_there_is_one(tmp_path: Path) -> None:
    _, force, _, rate = truth()
    path = write(tmp_path / "S4" / "Acting1_Xsens_AuxFields.sensors", np.c_[force, rate, rate])
    recording = read(path)
    assert (recording.imus[0].person, recording.extra["sequence"]) == ("4", "acting1")
    assert recording.extra["gyroscope"] == "as recorded"
    np.testing.assert_allclose(recording.imus[0].gyro_t_s, (FRAMES - 1) / 60)
    np.testing.assert_allclose(recording.imus[0].gyro_rps, rate, atol=1e-5)


def test_damage(tmp_path: Path) -> None:
    force = truth()[1]
    path = write(tmp_path / "s1_walking1_Xsens.sensors", force)
    text = path.read_text()
    lines = text.splitlines()

    path.write_text(text[: len(text) // 2])
    half = read(path)
    assert "frames could be read" in half.problems[0]
    assert 200 < len(half.imus[0].acc_t_s) < 300

    path.write_text("\n".join([*lines[:100], *lines[101:]]))  # a line of the eighth frame
    assert len(read(path).imus[0].acc_t_s) == len(FRAMES) - 1

    broken = lines.copy()
    broken[2 : 2 + 14 * 3 : 14] = ["Head\t0\t0\t0\t0\t1\t2\t9", "Head\tnan\t0\t0\t0\t1\t2\t9", broken[2 + 28]]
    path.write_text("\n".join(broken))
    recording = read(path)
    assert len(next(i for i in recording.imus if i.name == "Head").acc_t_s) == len(FRAMES) - 2
    assert [p for p in recording.problems if p.startswith("Head")] == [
        "Head: orientation: 1 orientations that are no rotation were dropped",
        "Head: 1 samples that are not finite were dropped",
    ]

    path.write_text(text.replace("Pelvis", "Hips"))
    assert len(read(path).imus) == 5
    short, thin = "\n".join(lines[:8]), "2 3\n1\nA 1\nB 2"
    for bad, says in (("", "begin"), ("junk\n" * 50, "begin"), (short, "different"), (thin, "words")):
        path.write_text(bad)
        with pytest.raises(DamagedFile, match=says):
            read(path)
    path.write_text(text.replace("Head\t", "Head\tx", 1))
    with pytest.raises(DamagedFile, match="numbers"):
        read(path)
    path.write_bytes(bytes(range(256)))
    with pytest.raises(DamagedFile, match="text"):
        read(path)
    with pytest.raises((DamagedFile, UnitError), match=r"convert it|milli-g"):
        read(write(path, force * 100))
