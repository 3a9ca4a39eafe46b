"""Axes that do not belong together, columns that were exchanged, clocks that were set back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from archives import G, write_csv
from scipy.spatial.transform import Rotation

from motionseek.errors import UnitError, UsageError
from motionseek.indexer.readers import read
from motionseek.indexer.readers.checks import check_axes, turned
from motionseek.indexer.readers.stamps import cleaned
from motionseek.indexer.readers.tables import COLUMNS, read_imu

T_S = np.arange(3000) / 50


def tumbling() -> tuple[np.ndarray, np.ndarray]:
    """acc (L, 3) m/s², gyro (L, 3) rad/s, of a sensor that is turned about slowly."""
    angles = np.stack([1.2 * np.sin(0.9 * T_S), 0.9 * np.sin(0.7 * T_S + 1), 0.4 * T_S], axis=1)
    orientation = Rotation.from_euler("xyz", angles)
    turn = (orientation[:-1].inv() * orientation[1:]).as_rotvec() * 50
    noise = np.random.default_rng(0).normal(size=(2, len(T_S), 3)) * [[[0.3]], [[0.02]]]
    return orientation.inv().apply([0, 0, G]) + noise[0], np.concatenate([turn, turn[-1:]]) + noise[1]


@pytest.mark.parametrize("axes", ["y,x,z", "-x,y,z", "z,x,y", "-y,x,-z", "-x,-y,-z"])
def test_axes_that_do_not_belong_together_are_refused_and_named(tmp_path: Path, axes: str) -> None:
    acc, gyro = tumbling()
    wrong = np.empty_like(gyro)
    for to, name in enumerate(axes.split(",")):
        wrong[:, "xyz".index(name[-1])] = gyro[:, to] * (-1 if name[0] == "-" else 1)
    np.testing.assert_array_equal(turned(wrong, axes), gyro)
    path = write_csv(tmp_path / "watch.csv", ",".join(COLUMNS), np.c_[T_S, acc, wrong].tolist())
    with pytest.raises(UnitError, match=f'"axes": {{"gyro": "{axes}"}}'):
        read_imu(path)
    np.testing.assert_allclose(read_imu(path, axes={"gyro": axes}).gyro_rps, gyro, rtol=1e-5, atol=1e-6)
    manifest = {"imu": {"path": "watch.csv", "axes": {"gyro": axes}}}
    (tmp_path / "recording.json").write_text(json.dumps(manifest))
    np.testing.assert_allclose(read(tmp_path).imus[0].gyro_rps, gyro, rtol=1e-5, atol=1e-6)


def test_right_axes_pass() -> None:
    acc, gyro = tumbling()
    check_axes("watch.csv", T_S, acc, T_S, gyro)
    check_axes("watch.csv", T_S, acc, np.empty(0), np.empty((0, 3)))
    rng = np.random.default_rng(0)
    check_axes("watch.csv", T_S, rng.normal(size=acc.shape) + np.array([0, 0, G]), T_S, rng.normal(size=acc.shape))


@pytest.mark.parametrize("axes", [{"gyro": "x,y"}, {"gyro": "x,x,z"}, {"gyro": "a,b,c"}, {"gyroscope": "x,y,z"}])
def test_axes_that_are_none_are_refused(tmp_path: Path, axes: dict[str, str]) -> None:
    acc, gyro = tumbling()
    path = write_csv(tmp_path / "watch.csv", ",".join(COLUMNS), np.c_[T_S, acc, gyro].tolist())
    with pytest.raises(UsageError, match="axes"):
        read_imu(path, axes=axes)


def test_exchanged_columns_are_named(tmp_path: Path) -> None:
    acc, gyro = tumbling()
    path = write_csv(tmp_path / "watch.csv", ",".join(COLUMNS), np.c_[T_S, gyro * 0.2, acc].tolist())
    with pytest.raises(UnitError, match="seem to be exchanged"):
        read_imu(path)


@pytest.mark.slow
def test_no_real_recording_is_refused_for_its_axes(data_dir: Path) -> None:
    from motionseek.indexer.readers import discover

    for name in ("utd-mhad/utd_mhad_subjects_1-6.npz", "mobifall/mobifall_subjects_1-7.npz", "gopro/max-heromode.mp4"):
        for source in discover([data_dir / name]):
            for imu in read(source).imus:
                check_axes(source.path, imu.acc_t_s, imu.acc_mps2, imu.gyro_t_s, imu.gyro_rps)


def samples(t_s: np.ndarray) -> np.ndarray:
    return np.arange(len(t_s))[:, None] + np.array([0.0, 0.25, 0.5])


def test_a_single_stamp_far_away_is_dropped() -> None:
    for stray in (1e9, -500.0):
        t_s = np.arange(1000) / 100
        t_s[500] += stray
        said: list[str] = []
        got_s, got = cleaned(t_s, samples(t_s), "accelerometer", said)
        np.testing.assert_array_equal(got_s, np.delete(t_s, 500))
        np.testing.assert_array_equal(got, np.delete(samples(t_s), 500, axis=0))
        assert said == ["1 accelerometer samples with a stamp far from all others were dropped"]


@pytest.mark.parametrize("at", [slice(0, 3), slice(-3, None)])
def test_samples_before_the_clock_was_set_are_dropped(at: slice) -> None:
    t_s = 1.7e9 + np.arange(1000) / 100
    t_s[at] = [0, 0.01, 0.02] if at.start == 0 else [2e9, 2e9 + 0.01, 2e9 + 0.02]
    said: list[str] = []
    got_s, _ = cleaned(t_s, samples(t_s), "accelerometer", said)
    np.testing.assert_array_equal(got_s, np.delete(t_s, np.arange(1000)[at]))
    assert len(said) == 1


def test_jitter_is_sorted() -> None:
    rng = np.random.default_rng(0)
    t_s = np.arange(1000) / 100 + rng.uniform(-0.03, 0.03, 1000)
    said: list[str] = []
    got_s, got = cleaned(t_s, samples(t_s), "accelerometer", said)
    np.testing.assert_array_equal(got_s, np.sort(t_s))
    np.testing.assert_array_equal(got, samples(t_s)[np.argsort(t_s)])
    assert "were sorted" in said[0]


def test_blocks_in_the_wrong_order_are_sorted() -> None:
    t_s = np.arange(1000) / 100
    t_s = np.concatenate([t_s[:300], t_s[600:], t_s[300:600]])
    got_s, _ = cleaned(t_s, samples(t_s), "accelerometer", [])
    np.testing.assert_array_equal(got_s, np.sort(t_s))


def test_a_block_written_twice_counts_once() -> None:
    t_s = np.arange(1000) / 100
    twice = np.concatenate([t_s[:600], t_s[300:]])
    said: list[str] = []
    got_s, _ = cleaned(twice, samples(twice), "accelerometer", said)
    np.testing.assert_array_equal(got_s, t_s)
    assert any("repeated" in s for s in said)


def test_a_clock_that_was_set_back_leaves_its_longest_stretch() -> None:
    t_s = np.concatenate([np.arange(400) / 100, 0.003 + np.arange(1000) / 100])
    said: list[str] = []
    got_s, got = cleaned(t_s, samples(t_s), "gyroscope", said)
    np.testing.assert_array_equal(got_s, t_s[400:])
    np.testing.assert_array_equal(got, samples(t_s)[400:])
    assert said == [
        "the clock of the gyroscope was set back by up to 3.99 s: of 2 stretches only the longest was kept, "
        "1000 of 1400 samples"
    ]
