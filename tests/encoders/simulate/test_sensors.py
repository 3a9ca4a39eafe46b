"""Virtual sensors against the physics of simple movements."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from motionseek.encoders.simulate.motion import JOINTS, Motion
from motionseek.encoders.simulate.sensors import PLACEMENT_FRAMES, NoiseModel, imu_signals, virtual_imu
from motionseek.errors import UsageError
from motionseek.types import ANY_PART, PART_OF_PLACEMENT, PARTS

G = 9.80665
RATE_HZ = 100.0
T_S = np.arange(400) / RATE_HZ


def rigid(path_m: np.ndarray, turned: Rotation | None = None) -> Motion:
    """A body whose joints all lie on one point and turn as one."""
    n = len(path_m)
    matrix = np.eye(3)[None].repeat(n, 0) if turned is None else turned.as_matrix()
    return Motion("rigid", RATE_HZ, path_m[:, None].repeat(len(JOINTS), 1), matrix[:, None].repeat(len(JOINTS), 1))


def test_every_known_place_of_the_body_can_wear_a_sensor() -> None:
    assert set(PLACEMENT_FRAMES) == set(PART_OF_PLACEMENT) - {ANY_PART}
    assert set(PARTS) <= set(PLACEMENT_FRAMES)
    for name, frame in PLACEMENT_FRAMES.items():
        assert frame.axes.T @ frame.axes == pytest.approx(np.eye(3)), name
        assert np.linalg.det(frame.axes) == pytest.approx(1), name


@pytest.mark.parametrize("placement", sorted(PLACEMENT_FRAMES))
def test_at_rest_a_sensor_reads_gravity_upwards_and_no_rotation(placement: str) -> None:
    signals = imu_signals(rigid(np.zeros((400, 3))), placement)
    assert signals.shape == (400, 6)
    assert signals[:, :3] == pytest.approx(np.tile(PLACEMENT_FRAMES[placement].axes.T @ [0, G, 0], (400, 1)), abs=1e-5)
    assert signals[:, 3:] == pytest.approx(np.zeros((400, 3)), abs=1e-6)


def test_a_steady_turn_reads_its_rate_about_the_axis_it_turns_about() -> None:
    turned = Rotation.from_rotvec(np.outer(2.5 * T_S, [0, 1, 0]))
    signals = imu_signals(rigid(np.zeros((400, 3)), turned), "chest", offset_m=[0, 0, 0])
    assert signals[:, 3:] == pytest.approx(np.tile([0, 2.5, 0], (400, 1)), abs=1e-5)
    assert signals[:, :3] == pytest.approx(np.tile([0, G, 0], (400, 1)), abs=1e-5)


def test_a_turned_sensor_sees_gravity_turn() -> None:
    turned = Rotation.from_rotvec(np.outer(1.5 * T_S, [1, 0, 0]))
    acc = imu_signals(rigid(np.zeros((400, 3)), turned), "chest", offset_m=[0, 0, 0])[:, :3]
    expected = G * np.stack([0 * T_S, np.cos(1.5 * T_S), -np.sin(1.5 * T_S)], axis=1)
    assert acc == pytest.approx(expected, abs=1e-4)


def test_a_circle_reads_centripetal_acceleration() -> None:
    radius_m, rate_rps = 0.5, 4.0
    turned = Rotation.from_rotvec(np.outer(rate_rps * T_S, [0, 1, 0]))
    acc = imu_signals(rigid(np.zeros((400, 3)), turned), "chest", offset_m=[0, 0, radius_m])[50:-50, :3]
    # Towards the centre, which lies behind the sensor: v² / r = ω² r along -z.
    assert acc == pytest.approx(np.tile([0, G, -(rate_rps**2) * radius_m], (300, 1)), abs=0.03)


def test_free_fall_reads_nothing() -> None:
    fall = np.outer(3 * T_S - G / 2 * T_S**2, [0, 1, 0])
    assert np.abs(imu_signals(rigid(fall), "head")[60:-60, :3]).max() < 0.02


def test_the_rate_can_be_chosen_and_the_movement_stays_where_it_was() -> None:
    sway = np.outer(0.1 * np.sin(2 * np.pi * T_S), [1, 0, 0])
    acc = imu_signals(rigid(sway), "chest", rate_hz=40.0)
    t_s = np.arange(len(acc)) / 40.0
    expected = -0.1 * (2 * np.pi) ** 2 * np.sin(2 * np.pi * t_s)
    assert acc[20:-20, 0] == pytest.approx(expected[20:-20], abs=0.02)


def test_capture_jitter_does_not_drown_the_movement() -> None:
    rng = np.random.default_rng(0)
    jitter = rng.normal(scale=5e-4, size=(400, 3))
    acc = imu_signals(rigid(jitter), "chest")[:, :3] - [0, G, 0]
    raw = np.diff(jitter, 2, axis=0) * RATE_HZ**2
    assert acc.std() < raw.std() / 10


def test_a_worn_sensor_has_the_errors_it_was_given() -> None:
    still = rigid(np.zeros((400, 3)))
    noise = NoiseModel(acc_noise_mps2=0.2, acc_bias_mps2=0, gyro_bias_rps=0, scale_error=0, gyro_noise_rps=0)
    imu = virtual_imu(still, "left_wrist", rng=np.random.default_rng(1), noise=noise, start_s=12.5)
    assert imu.acc_mps2.std(axis=0) == pytest.approx([0.2] * 3, rel=0.15)
    assert not imu.gyro_rps.any()
    assert imu.start_s == 12.5
    assert imu.rate_hz == pytest.approx(RATE_HZ)
    limited = virtual_imu(still, "chest", rng=np.random.default_rng(1), noise=NoiseModel(acc_limit_mps2=5.0))
    assert np.abs(limited.acc_mps2).max() == 5.0


def test_mounting_turns_the_whole_sensor_within_its_bound() -> None:
    turned = Rotation.from_rotvec(np.outer(2 * T_S, [0, 1, 0]))
    clean = NoiseModel(0, 0, 0, 0, 0)
    motion = rigid(np.zeros((400, 3)), turned)
    for seed in range(5):
        imu = virtual_imu(motion, "chest", rng=np.random.default_rng(seed), mounting_deg=20, noise=clean)
        up = imu.gyro_rps[100] / np.linalg.norm(imu.gyro_rps[100])
        assert np.degrees(np.arccos(up[1])) <= 20
        assert imu.acc_mps2[100] == pytest.approx(up * np.linalg.norm(imu.acc_mps2[100]), abs=0.7)


def test_wrong_use_is_said() -> None:
    with pytest.raises(UsageError, match="left_wrist"):
        imu_signals(rigid(np.zeros((10, 3))), "unknown")
    with pytest.raises(UsageError, match="at least 6"):
        imu_signals(rigid(np.zeros((4, 3))), "head")
    with pytest.raises(UsageError, match="acc_noise_mps2"):
        NoiseModel(acc_noise_mps2=-1)


def test_the_ends_of_a_clip_do_not_jolt() -> None:
    swing = np.outer(0.3 * np.sin(5 * T_S), [1, 0, 0]) + np.random.default_rng(2).normal(scale=2e-4, size=(400, 3))
    acc = imu_signals(rigid(swing), "chest")[:, :3] - [0, G, 0]
    assert np.abs(acc).max() < 1.3 * 0.3 * 5**2
