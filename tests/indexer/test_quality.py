"""Flags of windows against damage that was put there, and shares against counting."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from motionseek.indexer import quality, windows
from motionseek.indexer.filters import Filter
from motionseek.indexer.pipeline import index
from motionseek.indexer.store import Store
from motionseek.types import Imu, Narration, Recording

G = 9.80665
SIZE = {"window_s": 5.0, "stride_s": 1.0}
RATE_HZ = 100
REST = np.array([0, 0, G])


def moving(seconds: float = 30.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """t_s (L,), acc (L, 3) m/s², gyro (L, 3) rad/s: a limb that swings, in float32 as sensors come."""
    rng = np.random.default_rng(seed)
    t_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    wave = np.sin(2 * np.pi * 1.7 * t_s[:, None] + rng.uniform(0, 6, 6))
    x = wave * [6, 6, 6, 3, 3, 3] + [0, 0, G, 0, 0, 0] + rng.normal(size=(len(t_s), 6)) * 0.05
    return t_s, x[:, :3].astype(np.float32), x[:, 3:].astype(np.float32)


def of(t_s: Any, acc: Any, gyro: Any, **more: Any) -> windows.Windows:
    recording = Recording("id", "take", imus=(Imu(t_s, acc, t_s, gyro, "left_wrist"),), **more)
    return windows.of_imus(recording, "", recording.imus, **SIZE)


def flagged(found: windows.Windows, name: str) -> list[float]:
    """Starts of the windows that have the flag."""
    return [row["start_s"] for row in found.to_rows(()).to_pylist() if name in row["flags"]]


def overlapping(start_s: float, end_s: float, seconds: float = 30.0) -> list[float]:
    return [float(s) for s in range(int(seconds) - 4) if s < end_s and s + 5 > start_s]


def test_good_movement_has_no_flag() -> None:
    rows = of(*moving()).to_rows(()).to_pylist()
    assert {tuple(row["flags"]) for row in rows} == {()}
    assert {row["quality"] for row in rows} == {1.0}
    assert rows[0]["checks"]["acc_g"] == pytest.approx(1.2, abs=0.2)


def test_rest_has_no_flag_either() -> None:
    t_s, acc, gyro = moving()
    still = np.random.default_rng(1).normal(size=acc.shape) * 0.01
    assert {tuple(f) for f in of(t_s, still + REST, still * 0.1).to_rows(())["flags"].to_pylist()} == {()}
    # Many phones write a gyroscope of exactly 0 at rest.
    assert {tuple(f) for f in of(t_s, still + REST, 0 * gyro).to_rows(())["flags"].to_pylist()} == {()}


def test_clipped_samples_are_counted() -> None:
    t_s, acc, gyro = moving()
    rail = 2 * G
    acc[1000:1400, 2] *= 4
    acc = np.clip(acc, -rail, rail).astype(np.float32)
    found = of(t_s, acc, gyro)
    clipped = (np.abs(acc) >= np.float32(rail)).any(axis=1)
    want = [clipped[round(s * 100) : round(s * 100) + 500].mean() for s in found.start_s]
    np.testing.assert_allclose(found.checks.clipped, want, atol=1e-9)
    assert flagged(found, "clipped") == overlapping(10, 14)
    np.testing.assert_allclose(found.quality, 1 - np.array(want), atol=1e-9)


def test_a_peak_is_not_a_rail() -> None:
    t_s, acc, gyro = moving()
    acc[1500] = [60, 20, 20]
    assert flagged(of(t_s, acc, gyro), "clipped") == []


@pytest.mark.parametrize("sensor", ["acc", "gyro"])
def test_a_stuck_axis_is_found_where_it_is_stuck(sensor: str) -> None:
    t_s, acc, gyro = moving()
    (acc if sensor == "acc" else gyro)[1000:2000, 1] = 1.5
    found = of(t_s, acc, gyro)
    want = [np.isin(np.arange(round(s * 100), round(s * 100) + 500), np.arange(1000, 2000)).mean() for s in range(26)]
    np.testing.assert_allclose(found.checks.stuck, want, atol=1e-9)
    assert flagged(found, "stuck") == [s for s, share in enumerate(want) if share > 0.5]


def test_a_frozen_accelerometer_is_stuck() -> None:
    t_s, acc, gyro = moving()
    acc[1000:2000] = acc[999]
    assert flagged(of(t_s, acc, gyro), "stuck") == [8, 9, 10, 11, 12, 13, 14, 15, 16, 17]


def test_a_change_of_unit_in_the_middle_is_suspect() -> None:
    t_s, acc, gyro = moving()
    acc[2000:] /= G
    found = of(t_s, acc, gyro)
    assert flagged(found, "units")[-1] == 25
    assert min(flagged(found, "units")) >= 17
    assert set(flagged(found, "gravity")) >= set(flagged(found, "units"))
    t_s, acc, gyro = moving()
    gyro[2000:] = np.degrees(gyro[2000:])
    assert flagged(of(t_s, acc, gyro), "units")[-1] == 25


def test_rest_that_does_not_read_gravity_is_suspect() -> None:
    t_s, acc, gyro = moving()
    still = np.random.default_rng(1).normal(size=acc.shape) * 0.01
    acc[1000:2000] = (still + 0.85 * REST)[1000:2000]
    assert flagged(of(t_s, acc, gyro), "gravity") == [10, 11, 12, 13, 14, 15]


def test_gaps_are_flagged() -> None:
    t_s, acc, gyro = moving()
    keep = (t_s < 9.995) | (t_s > 11.995)
    assert flagged(of(t_s[keep], acc[keep], gyro[keep]), "gaps") == overlapping(11, 11)


def test_each_window_says_the_worst_of_its_sensors() -> None:
    t_s, acc, gyro = moving()
    other = moving(seed=3)[1]
    other[:, 0] = 2.0
    recording = Recording(
        "id", "take", imus=(Imu(t_s, acc, t_s, gyro, "left_wrist"), Imu(t_s, other, t_s, gyro, "head"))
    )
    found = windows.of_imus(recording, "", recording.imus, **SIZE)
    assert flagged(found, "stuck") == list(range(26))


def test_other_modalities_have_no_checks() -> None:
    recording = Recording("id", "take", narrations=(Narration(0, 3, "she walks"),))
    (row,) = windows.of_text(recording).to_rows(()).to_pylist()
    assert row["flags"] == []
    assert row["checks"] == {"coverage": 1.0, "clipped": None, "stuck": None, "acc_g": None}
    assert quality.Checks.none(2).good.tolist() == [1, 1]


def test_flags_are_stored_and_searched_by(tmp_path: Any) -> None:
    from synthetic import Linear

    t_s, acc, gyro = moving()
    acc[1000:2000, 1] = 1.5
    recording = Recording("id", "take", imus=(Imu(t_s, acc, t_s, gyro[:], "left_wrist"),))
    index(recording, tmp_path / "a", models=[Linear()])
    store = Store.open(tmp_path / "a")
    every = store.windows().to_pylist()
    clean = store.windows(Filter(without="stuck")).to_pylist()
    stuck = {row["window_id"] for row in every if "stuck" in row["flags"]}
    assert len(stuck) == 10
    assert {row["window_id"] for row in clean} == {row["window_id"] for row in every} - stuck
    assert len(store.windows(Filter(without=("stuck", "gaps"), min_quality=0.9))) < len(clean)
    assert store.windows(Filter(without=())).num_rows == len(every)
    (row,) = store.recordings().to_pylist()
    assert row["streams"][0]["gyro_rate_hz"] == pytest.approx(100)
