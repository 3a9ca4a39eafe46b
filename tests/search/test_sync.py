"""Offsets that are known: swings in closed form, and motion seen by virtual sensors and cameras."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from swings import body, forearm

from motionseek.encoders.simulate.camera import Camera, view
from motionseek.encoders.simulate.mocap import read_amc
from motionseek.encoders.simulate.sensors import virtual_imu
from motionseek.errors import QueryError
from motionseek.search.sync import sync
from motionseek.search.traces import Traces
from motionseek.types import Imu, PoseTrack, Span


@pytest.mark.parametrize("offset_s", [0.0, 0.4321, -3.217, 812.5])
def test_swings_in_closed_form(offset_s):
    t_s = np.arange(0, 20, 0.01)
    seen_s = np.arange(3, 18, 1 / 30)
    found = sync(forearm(t_s), body(seen_s, clock_s=seen_s + offset_s))
    assert found.accepted
    assert found.offset_s == pytest.approx(offset_s, abs=0.004)
    assert found.confidence > 0.2
    assert found.drift_ppm is None
    assert found.parts["left_wrist"] > 0.9


def test_video_longer_than_the_sensor_and_gaps_in_both():
    t_s = np.arange(0, 10, 0.02)
    seen_s = np.arange(-20, 40, 1 / 25)
    keep = (t_s < 4) | (t_s > 5)
    shown = (seen_s < 6.2) | (seen_s > 7)
    found = sync(forearm(t_s[keep]), body(seen_s[shown], clock_s=seen_s[shown] + 5.25))
    assert found.offset_s == pytest.approx(5.25, abs=0.006)


@pytest.mark.parametrize("ppm", [-300, 0, 150, 500])
def test_drift_of_a_long_recording(ppm):
    t_s = np.arange(0, 300, 0.01)
    seen_s = np.arange(0, 300, 1 / 30)
    found = sync(forearm(t_s), body(seen_s, clock_s=7.0 + seen_s * (1 + ppm * 1e-6)))
    assert found.drift_ppm == pytest.approx(ppm, abs=15)
    # At the middle of the overlap.
    assert found.offset_s == pytest.approx(7.0 + 150 * ppm * 1e-6, abs=0.01)


def test_another_movement_is_refused_or_hardly_trusted():
    t_s, seen_s = np.arange(0, 20, 0.01), np.arange(0, 20, 1 / 30)
    true = sync(forearm(t_s), body(seen_s))
    false = sync(forearm(t_s, seed=1), body(seen_s, seed=2))
    assert false.confidence < 0.5 * true.confidence


def test_a_steady_rhythm_has_aliases_and_is_refused():
    t_s, seen_s = np.arange(0, 20, 0.01), np.arange(5, 15, 1 / 30)
    swing = 2.0 * np.cos(2 * np.pi * 0.8 * t_s)
    imu = Imu(t_s, np.tile([0, 0, 9.8], (len(t_s), 1)), t_s, np.outer(swing, [1, 0, 0]), "left_wrist")
    track = body(seen_s)
    theta = 2.0 / (2 * np.pi * 0.8) * np.sin(2 * np.pi * 0.8 * seen_s)
    xy = track.xy_px.copy()
    xy[:, 9] = xy[:, 7] + 80 * np.stack([np.sin(theta), np.cos(theta)], axis=1)
    found = sync(imu, PoseTrack(seen_s, xy, track.confidence, track.image_size))
    assert not found.accepted
    assert found.offset_s is None
    assert "several offsets" in found.reason
    assert len(found.aliases_s) >= 3


def test_stillness_is_refused():
    t_s, seen_s = np.arange(0, 20, 0.01), np.arange(0, 20, 1 / 30)
    assert "sensors" in sync(forearm(t_s, still=True), body(seen_s)).reason
    assert "picture" in sync(forearm(t_s), body(seen_s, still=True)).reason


@pytest.mark.parametrize("count", [3, 6])
def test_a_few_samples_are_refused_with_a_model_too(model, count):
    t_s = np.arange(count) * 0.02
    wild = replace(forearm(t_s), gyro_rps=np.outer(9.0 * np.arange(count), [1, 0, 0]))
    for worn, seen in ((wild, body(np.arange(0, 5, 1 / 30))), (forearm(np.arange(0, 5, 0.01)), body(t_s))):
        found = sync(worn, seen, model=model)
        assert not found.accepted
        assert found.reason


def test_bounded_offsets():
    t_s, seen_s = np.arange(0, 20, 0.01), np.arange(0, 20, 1 / 30)
    for wrong in (-1.0, np.nan):
        with pytest.raises(QueryError, match="max_offset_s"):
            sync(forearm(t_s), body(seen_s), max_offset_s=wrong)
    found = sync(forearm(t_s), body(seen_s, clock_s=seen_s + 4), max_offset_s=1.0)
    assert not found.accepted or abs(found.offset_s) <= 1.0


def test_three_samples_are_an_honest_refusal():
    t_s = np.array([0.0, 0.02, 0.04])
    found = sync(forearm(t_s), body(np.arange(0, 20, 1 / 30)))
    assert not found.accepted
    assert found.reason


def test_unknown_placement_is_tried_everywhere():
    t_s, seen_s = np.arange(0, 20, 0.01), np.arange(2, 18, 1 / 30)
    found = sync(forearm(t_s, placement="unknown"), body(seen_s, clock_s=seen_s + 1.5))
    assert found.offset_s == pytest.approx(1.5, abs=0.004)
    assert list(found.parts) == ["left_wrist"]
    with pytest.raises(QueryError, match="placements"):
        sync([forearm(t_s, placement="unknown")] * 2, body(seen_s))


def test_no_such_file(tmp_path: Path):
    with pytest.raises(QueryError, match="no such file"):
        sync(tmp_path / "watch.csv", body(np.arange(0, 5, 0.1)))


def test_virtual_sensors_and_a_virtual_camera(data_dir: Path):
    folder = data_dir / "cmu-mocap"
    paths = sorted(folder.glob("*/01_14.amc"))
    if not paths:
        pytest.skip("the CMU motion is not here")
    motion = read_amc(next(paths[0].parent.glob("*.asf")), paths[0]).resample(60.0)
    rng = np.random.default_rng(0)
    worn = ("left_wrist", "right_wrist", "left_knee", "right_knee", "head")
    imus = [virtual_imu(motion, p, rng=rng, mounting_deg=20, rate_hz=50, start_s=100.0) for p in worn]
    track = view(motion.resample(30), Camera.around(motion, 25), rng=rng, noise_px=1.5, start_s=60.0)
    part = Span(track.start_s + 4, track.start_s + 16)
    assert sync(imus, track.crop(part)).offset_s == pytest.approx(-40.0, abs=0.05)


def test_frequencies_are_evened_and_gaps_stay_gaps():
    t_s = np.arange(0, 20, 0.01)
    x = np.sin(2 * np.pi * 0.8 * t_s) + 0.1 * np.sin(2 * np.pi * 2.1 * t_s) + np.sin(2 * np.pi * 6 * t_s)
    there = np.ones((1, len(t_s)), np.bool_)
    gap = np.abs(t_s - 10)[None] > 0.5
    evened = Traces(("head",), 0.0, x[None], there, 0.0, x[None], gap).evened()
    waves = np.abs(np.fft.rfft(evened.sensor[0]))[[16, 42, 120]]
    # A tenth of the strength to the power of a quarter, less what a floor of a thousandth of the power adds.
    assert waves[1] / waves[0] == pytest.approx(0.1**0.25, abs=0.03)
    assert waves[2] < 1e-6 * waves[0]
    assert np.abs(evened.limb[~gap]).max() == 0
