"""Grids: what is resampled must be what the signal was, and what was not recorded must be masked."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import scipy

from motionseek.encoders import preprocess
from motionseek.encoders.preprocess import imu_grid, normalise_pose, pose_grid, resample
from motionseek.errors import UsageError
from motionseek.types import Imu, PoseTrack, Span, median_step_s


def _jittered(rate_hz: float, seconds: float, rng: np.random.Generator) -> np.ndarray:
    t_s = np.arange(0, seconds, 1 / rate_hz)
    return t_s + rng.uniform(-0.2, 0.2, len(t_s)) / rate_hz


@pytest.mark.parametrize("rate_hz", [25.0, 50.0, 95.0, 197.5, 1000.0])
def test_slow_signal_survives_any_rate(rate_hz: float) -> None:
    t_s = _jittered(rate_hz, 10, np.random.default_rng(0))
    grid = np.arange(0.5, 9.5, 0.02)
    values, mask = resample(t_s, np.sin(2 * np.pi * 2 * t_s)[:, None], grid)
    assert mask.all()
    assert np.abs(values[:, 0] - np.sin(2 * np.pi * 2 * grid)).max() < 0.03


def test_what_the_grid_cannot_hold_is_filtered_not_aliased() -> None:
    t_s = np.arange(0, 10, 1 / 400)
    grid = np.arange(1, 9, 0.02)
    values, _ = resample(t_s, np.sin(2 * np.pi * 48 * t_s)[:, None], grid)  # would alias to 2 Hz
    assert np.abs(values).max() < 0.05


def test_a_gap_is_masked_and_does_not_shift_what_follows() -> None:
    t_s = np.arange(0, 10, 1 / 200)
    kept = (t_s < 4) | (t_s > 5)
    grid = np.arange(0, 10, 0.02)
    values, mask = resample(t_s[kept], t_s[kept][:, None], grid)
    assert not mask[(grid > 4.02) & (grid < 4.98)].any()
    assert mask[(grid < 3.98) | (grid > 5.02)].all()
    late = grid > 5.3
    assert np.abs(values[late & mask, 0] - grid[late & mask]).max() < 0.02


def test_a_gap_of_ten_hours_costs_nothing_and_changes_nothing() -> None:
    first, later = np.arange(0, 30, 1e-3), 36_000 + np.arange(0, 30, 1e-3)
    t_s = np.concatenate([first, later])
    x = np.sin(t_s[:, None] * [3.0, 7.0, 20.0])
    grid = np.arange(0, 36_030, 0.02)
    tracemalloc.start()
    values, mask = resample(t_s, x, grid)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 250e6  # the values alone are 22 MB; the stream's own clock over the gap would be 864 MB
    assert mask.sum() == pytest.approx(3000, abs=4)
    for t, held in ((first, slice(0, 30_000)), (later, slice(30_000, 60_000))):
        at = (grid >= t[0]) & (grid <= t[-1])
        alone, there = resample(t, x[held], grid[at])
        inside = slice(1, -1)  # at the very first sample after a gap the grid is masked
        np.testing.assert_allclose(values[at][inside], alone[inside], atol=1e-3)
        np.testing.assert_array_equal(mask[at][inside], there[inside])


def test_nan_rows_are_missing() -> None:
    t_s = np.arange(0, 4, 0.01)
    x = np.ones((400, 3))
    x[100:200, 1] = np.nan
    values, mask = resample(t_s, x, np.arange(0, 4, 0.02))
    assert np.isfinite(values).all()
    assert not mask[55:95].any()


def test_sensors_of_different_clocks_share_one_grid() -> None:
    fast, slow = np.arange(0, 5, 1 / 200), np.arange(1, 4, 1 / 95)
    up = np.array([0.0, 0.0, 9.81])
    wrist = Imu(slow, np.tile(up, (len(slow), 1)), fast, np.zeros((len(fast), 3)), "left_wrist")
    pocket = Imu(fast, np.tile(up, (len(fast), 1)), np.zeros(0), np.zeros((0, 3)), "right_pocket")
    grid = imu_grid([wrist, pocket], 50.0)
    assert grid.x.shape == (7, 6, 250)
    assert grid.start_s == 0.0
    assert not grid.mask[0, :45].any()  # the wrist's accelerometer starts at 1 s
    assert grid.mask[0, 55:195].all()
    assert grid.mask[3].all()  # a pocket moves with the right leg
    assert np.allclose(grid.x[3, 2], 9.81, atol=1e-4)
    assert not grid.mask[[1, 2, 4, 5, 6]].any()


def test_two_sensors_on_one_part_are_refused() -> None:
    t_s = np.arange(0, 1, 0.01)
    one = Imu(t_s, np.zeros((100, 3)), t_s, np.zeros((100, 3)), "left_wrist")
    other = Imu(t_s, np.zeros((100, 3)), t_s, np.zeros((100, 3)), "left_hand")
    with pytest.raises(UsageError, match="same part"):
        imu_grid([one, other], 50.0)


def test_normalised_pose_does_not_know_where_or_how_large_the_person_is() -> None:
    rng = np.random.default_rng(0)
    xy = np.cumsum(rng.normal(size=(1, 300, 17, 2)), axis=1).astype(np.float32) + 100 * rng.random((17, 2))
    seen = np.ones((1, 300, 17), bool)
    x, mask = normalise_pose(xy.astype(np.float32), seen, 50.0)
    moved, _ = normalise_pose((xy * 3 + [500, -200]).astype(np.float32), seen, 50.0)
    assert mask.all()
    assert np.allclose(x, moved, atol=2e-2)


def test_velocity_channels_are_the_derivative() -> None:
    """A wrist that circles with 1 Hz and 0.5 trunk lengths moves at π trunk lengths a second."""
    t_s = np.arange(0, 4, 0.02)
    xy = np.zeros((200, 17, 2), np.float32)
    xy[:, [5, 6], 1], xy[:, [11, 12], 1] = 100, 200
    xy[:, 9] = 50 * np.stack([np.cos(2 * np.pi * t_s), np.sin(2 * np.pi * t_s)], axis=1) + 150
    x, _ = normalise_pose(xy[None], np.ones((1, 200, 17), bool), 50.0)
    speed = np.hypot(x[0, 0, 8, 10:-10], x[0, 0, 11, 10:-10])
    assert np.allclose(speed, np.pi, rtol=0.03)


def test_an_unseen_joint_masks_its_parts_only() -> None:
    t_s = np.arange(0, 4, 1 / 30)
    xy = np.random.default_rng(0).uniform(0, 200, (len(t_s), 17, 2)).astype(np.float32)
    xy[:, 9] = np.nan  # left wrist
    track = PoseTrack(t_s, xy, np.ones((len(t_s), 17)), (320, 240))
    grid = pose_grid(track, 50.0, Span(0.0, 4.0))
    assert not grid.mask[0].any()
    assert grid.mask[[1, 2, 3, 4, 5], 5:190].all()
    assert np.isfinite(grid.x).all()


def test_velocities_beside_a_gap_are_masked_not_invented() -> None:
    xy = np.zeros((1, 200, 17, 2), np.float32) + np.arange(17)[:, None] * [20.0, 30.0]
    seen = np.ones((1, 200, 17), bool)
    xy[:, 80:120, 9], seen[:, 80:120, 9] = 0, False
    x, mask = normalise_pose(xy.astype(np.float32), seen, 50.0)
    assert not mask[0, 0, 77:123].any()
    assert mask[0, 0, :77].all()
    assert mask[0, 0, 123:].all()
    assert np.abs(x[0, 0, 6:]).max() < 1e-3  # nobody moved


@pytest.mark.parametrize(("length", "taps"), [(1, 13), (8, 25), (300, 13), (5000, 121)])
def test_filters_are_those_of_scipy(length: int, taps: int) -> None:
    x = np.random.default_rng(0).normal(size=(length, 3))
    kernel = scipy.signal.firwin(taps, 0.2)
    assert preprocess._low_pass(taps, 0.2) == pytest.approx(kernel)
    same = slice(taps // 2, taps // 2 + length)
    want = np.stack([np.convolve(column, kernel)[same] for column in x.T], axis=1)
    assert preprocess._convolved(x, kernel) == pytest.approx(want)


def test_slope_is_that_of_savitzky_and_golay() -> None:
    x = np.random.default_rng(0).normal(size=(2, 50, 4, 2))
    want = scipy.signal.savgol_filter(x, 7, 2, deriv=1, delta=1 / 50, axis=1, mode="nearest")
    assert preprocess._slope(x, 7, 50.0) == pytest.approx(want)


def test_sensors_on_one_clock_are_resampled_as_each_alone_would_be() -> None:
    rng = np.random.default_rng(7)
    for rate_hz in (31.0, 97.0):
        t_s = np.cumsum(rng.uniform(0.8, 1.2, 400)) / rate_hz
        acc, gyro = rng.normal(0, 5, (2, 400, 3)).astype(np.float32)
        together = Imu(t_s, acc, t_s, gyro, "left_wrist")
        assert together.one_clock
        found = imu_grid([together], 50.0)
        times = found.start_s + np.arange(found.x.shape[2]) / 50.0
        for axes, x in ((slice(0, 3), acc), (slice(3, 6), gyro)):
            alone, there = resample(t_s, x, times)
            np.testing.assert_allclose(found.x[0, axes], alone.T, rtol=1e-6, atol=1e-6)
            assert np.array_equal(found.mask[0], there)


@pytest.mark.parametrize("length", [2, 3, 4, 101, 400])
def test_the_median_step_is_numpys(length: int) -> None:
    t_s = np.cumsum(np.random.default_rng(length).uniform(0.01, 0.03, length))
    assert median_step_s(t_s) == np.median(np.diff(t_s))
