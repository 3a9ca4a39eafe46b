"""Augmentations against closed forms: what each changes, what it must not, and that off means off."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from motionseek.encoders.train import augment as vary
from motionseek.encoders.train.augment import Augment
from motionseek.errors import UsageError

RATE_HZ, LENGTH = 50.0, 100


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def sensors(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(40, 6, LENGTH)).astype(np.float32) + np.array([0, 0, 9.8, 0, 0, 0], np.float32)[:, None]


def test_off_changes_nothing(rng: np.random.Generator, sensors: np.ndarray) -> None:
    off = Augment()
    assert np.array_equal(vary.vary_imu(sensors, rng, off), sensors)
    xy, seen = rng.normal(size=(4, LENGTH, 17, 2)).astype(np.float32), np.ones((4, LENGTH, 17), np.bool_)
    assert np.array_equal(vary.vary_view(xy, seen, rng, off), xy)
    assert all(np.array_equal(a, b) for a, b in zip(vary.vary_keypoints(xy, seen, rng, off), (xy, seen), strict=True))
    there = np.ones((4, 7), np.bool_)
    assert np.array_equal(vary.drop_sensors(there, rng, off), there)
    assert np.array_equal(vary.cut_ends(seen[..., 0], RATE_HZ, rng, off), seen[..., 0])
    sensors_at, pose_at, speed = vary.time_maps(3, LENGTH, RATE_HZ, rng, off)
    assert np.allclose(sensors_at, np.arange(LENGTH))
    assert np.allclose(pose_at, np.arange(LENGTH))
    assert np.allclose(speed, 1)


def test_a_mounting_turns_both_sensors_alike_and_keeps_norms(rng: np.random.Generator, sensors: np.ndarray) -> None:
    turned = vary.vary_imu(sensors, rng, Augment(mounting_deg=25))
    for part in (slice(0, 3), slice(3, 6)):
        assert np.allclose(np.linalg.norm(turned[:, part], axis=1), np.linalg.norm(sensors[:, part], axis=1), atol=1e-4)
    dots = [(x[:, :3] * x[:, 3:]).sum(1) for x in (turned, sensors)]
    assert np.allclose(*dots, atol=1e-3)
    turns = vary.mountings(2000, rng, Augment(mounting_deg=25))
    angle = np.degrees(np.arccos(np.clip((np.trace(turns, axis1=1, axis2=2) - 1) / 2, -1, 1)))
    assert 20 < angle.max() <= 25.01
    anywhere = np.arange(2000) < 1000
    turns = vary.mountings(2000, rng, Augment(mounting_deg=25), anywhere)
    angle = np.degrees(np.arccos(np.clip((np.trace(turns, axis1=1, axis2=2) - 1) / 2, -1, 1)))
    assert angle[anywhere].mean() == pytest.approx(126.5, abs=4)  # the mean angle of uniform rotations
    assert angle[~anywhere].max() <= 25.01


def test_turning_shows_about_other_axes_by_one_matrix_a_sensor(rng: np.random.Generator, sensors: np.ndarray) -> None:
    crossed = vary.vary_imu(sensors, rng, Augment(cross_axis=0.3))
    assert np.array_equal(crossed[:, :3], sensors[:, :3])
    found = []
    for before, after in zip(sensors[:, 3:], crossed[:, 3:], strict=True):
        fit, *_ = np.linalg.lstsq(before.T, after.T, rcond=None)
        assert np.allclose(before.T @ fit, after.T, atol=1e-4)
        found.append(fit - np.eye(3))
    assert np.std(found) == pytest.approx(0.3, rel=0.15)


def test_only_what_is_felt_beside_gravity_shakes_a_sensor(rng: np.random.Generator) -> None:
    x = np.zeros((200, 6, LENGTH), np.float32)
    x[:, 1] = 9.80665
    x[:, 1, 50:] += 10
    shaken = vary.vary_imu(x, rng, Augment(shake=0.1))
    assert np.array_equal(shaken[:, :3], x[:, :3])
    assert np.abs(shaken[:, 3:, :50]).max() < 1e-6
    spread = shaken[:, 3:, 50:].std(axis=(1, 2))
    assert spread.max() < 1.15
    assert spread.mean() == pytest.approx(0.5, rel=0.15)  # half of the most, times 10 m/s²


def test_drops_take_what_they_say(rng: np.random.Generator, sensors: np.ndarray) -> None:
    without = vary.vary_imu(sensors, rng, Augment(gyro_drop=1))
    assert not without[:, 3:].any()
    assert np.array_equal(without[:, :3], sensors[:, :3])
    floating = vary.vary_imu(sensors, rng, Augment(gravity_drop=1))
    assert np.allclose(floating[:, :3].mean(2), 0, atol=1e-4)
    assert np.array_equal(floating[:, 3:], sensors[:, 3:])
    worn = rng.random((500, 7)) < 0.6
    left = vary.drop_sensors(worn, rng, Augment(sensor_drop=1))
    assert not (left & ~worn).any()
    assert (left.sum(1)[worn.any(1)] >= 1).all()
    assert (left.sum(1) < worn.sum(1)).mean() > 0.5
    seen = np.ones((400, 3, 17), np.bool_)
    kept = vary.vary_keypoints(np.zeros((400, 3, 17, 2), np.float32), seen, rng, Augment(joint_drop=0.5))[1]
    assert kept[:, :, [5, 6, 11, 12]].all()
    assert (~kept[:, 0]).mean() == pytest.approx(0.5 * 0.5 * 13 / 17, abs=0.03)
    cut = vary.cut_ends(np.ones((300, LENGTH), np.bool_), RATE_HZ, rng, Augment(cut_s=0.4))
    assert cut.sum(1).min() >= LENGTH - 40
    assert (np.abs(np.diff(cut.astype(int), axis=1)).sum(1) <= 2).all()  # only at the ends


def test_noise_bias_and_scale_have_their_size(rng: np.random.Generator) -> None:
    ones = np.ones((4000, 6, 20), np.float32)
    scaled = vary.vary_imu(ones, rng, Augment(scale=0.1))
    assert scaled[:, 0, 0].std() == pytest.approx(0.1, rel=0.1)
    assert np.ptp(scaled[:, :3], axis=(1, 2)).max() < 1e-6
    biased = vary.vary_imu(ones, rng, Augment(acc_bias_mps2=0.5, gyro_bias_rps=0.1))
    assert biased[:, 0, 0].std() == pytest.approx(0.5, rel=0.1)
    assert biased[:, 4, 0].std() == pytest.approx(0.1, rel=0.1)
    assert np.ptp(biased, axis=2).max() < 1e-6
    noisy = vary.vary_imu(ones, rng, Augment(acc_noise_mps2=0.3)) - ones
    assert noisy[:, :3].std() == pytest.approx(0.3 / np.sqrt(3), rel=0.1)  # a uniform share of 0.3
    assert not noisy[:, 3:].any()


def test_reading_between_samples_follows_the_curve() -> None:
    t = np.arange(60) / RATE_HZ
    x = np.stack([np.sin(2 * np.pi * 2 * t), t**2], 0)[None].astype(np.float32)
    at = np.linspace(3.2, 55.7, 200)[None]
    mask = np.ones((1, 60), np.bool_)
    found, there = vary.read_at(x, mask, at)
    want = np.stack([np.sin(2 * np.pi * 2 * at[0] / RATE_HZ), (at[0] / RATE_HZ) ** 2])
    assert there.all()
    assert np.abs(found[0] - want).max() < 2e-3
    mask[0, 20:30] = False
    found, there = vary.read_at(np.where(mask[:, None], x, 99), mask, at)
    assert not there[0, (at[0] > 19) & (at[0] < 30)].any()
    assert np.abs(found[0] - want)[:, there[0]].max() < 0.1


def test_a_warp_keeps_its_speed_and_stays_in_the_margin(rng: np.random.Generator) -> None:
    warp = Augment(time_warp=0.2, jitter_s=0.1)
    sensors_at, pose_at, speed = vary.time_maps(300, LENGTH, RATE_HZ, rng, warp)
    assert np.allclose(np.gradient(sensors_at, axis=1)[:, 1:-1], speed[:, 1:-1], atol=2e-3)
    assert np.abs(speed - 1).max() <= 0.2
    shift = pose_at - sensors_at
    assert np.ptp(shift, axis=1).max() < 1e-9
    assert np.abs(shift).max() <= 0.1 * RATE_HZ
    assert np.unique(np.round(shift[:, 0] % 1, 2)).size > 50  # off the grid
    spare = vary.margin(LENGTH, RATE_HZ, warp)
    assert min(sensors_at.min(), pose_at.min()) >= -(spare - 1)
    assert max(sensors_at.max(), pose_at.max()) <= LENGTH + spare - 2


def test_faster_movement_measures_more(sensors: np.ndarray) -> None:
    faster = vary.play_faster(sensors, np.full((len(sensors), LENGTH), 1.1))
    assert np.allclose(faster[:, 3:], 1.1 * sensors[:, 3:])
    mean = sensors[:, :3].mean(2, keepdims=True)
    assert np.allclose(faster[:, :3] - mean, 1.21 * (sensors[:, :3] - mean), atol=1e-4)


def test_a_rolled_camera_keeps_distances(rng: np.random.Generator) -> None:
    xy, seen = rng.normal(size=(6, LENGTH, 17, 2)).astype(np.float32) * 100, np.ones((6, LENGTH, 17), np.bool_)
    rolled = vary.vary_view(xy, seen, rng, Augment(view_deg=15))
    for a, b in ((5, 11), (0, 16)):
        lengths = [np.linalg.norm(v[:, :, a] - v[:, :, b], axis=-1) for v in (xy, rolled)]
        assert np.allclose(*lengths, rtol=1e-4)
    squeezed = vary.vary_view(xy, seen, rng, Augment(squeeze=0.5))
    height = [v[..., 1] - v[..., 1].mean((1, 2), keepdims=True) for v in (xy, squeezed)]
    assert np.allclose(*height, atol=1e-2)
    ratio = np.ptp(squeezed[..., 0], axis=(1, 2)) / np.ptp(xy[..., 0], axis=(1, 2))
    assert (ratio >= 0.5).all()
    assert (ratio <= 1.0001).all()


@pytest.mark.parametrize("name", [f.name for f in fields(Augment)])
def test_every_one_refuses_what_it_cannot_be(name: str) -> None:
    for wrong in (-0.1, float("nan"), float("inf"), True):
        with pytest.raises(UsageError, match=f"augment.{name}"):
            Augment(**{name: wrong})
