"""Rotations that are known: gyro and picture made from the same turning, in closed form and as rendered films."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from motionseek.encoders.simulate.headcam import HeadCamera, HeadMotion, write_film
from motionseek.errors import MissingExtra
from motionseek.search import flow
from motionseek.search.camera import align_camera
from motionseek.search.flow import ImageMotion, Steadying, image_motion
from motionseek.search.sync import sync
from motionseek.search.turning import Turning
from motionseek.types import Imu, Span

pytest.importorskip("cv2", reason="pip install 'motionseek[camera]'")


def seen(
    motion: HeadMotion, start_s: float, end_s: float, *, rate_hz: float = 30.0, noise: float = 0.02
) -> ImageMotion:
    """What a picture shows of a turning, without a picture: mean rates over the frames' intervals, axes mixed."""
    t_s = np.arange(start_s, end_s, 1 / rate_hz)
    angle = np.concatenate([np.zeros((1, 3)), np.cumsum(motion.rate_rps, axis=0)[:-1] / 1000])
    at = np.stack([np.interp(t_s, motion.t_s, a) for a in angle.T], axis=1)
    rate = np.diff(at, axis=0) * rate_hz @ [[0, -0.6, 0], [0.6, 0, 0], [0, 0, 0.3]]
    rate += np.random.default_rng(5).normal(size=rate.shape) * noise
    return ImageMotion(t_s, rate, np.ones(len(rate), np.bool_))


@cache
def motion_of(seed: int, duration_s: float = 24.0) -> HeadMotion:
    return HeadMotion.random(np.random.default_rng(seed), duration_s)


def moved(imu: Imu, by_s: float) -> Imu:
    return replace(imu, acc_t_s=imu.acc_t_s + by_s, gyro_t_s=imu.gyro_t_s + by_s)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, HeadMotion]:
    path, motion = tmp_path_factory.mktemp("film") / "head.mp4", motion_of(1, 9.0)
    write_film(path, motion, HeadCamera(size=(240, 136)), np.random.default_rng(2))
    return path, motion


@pytest.mark.parametrize("offset_s", [0.0, 0.4321, -6.87, 5123.25])
def test_known_offsets(offset_s):
    motion = motion_of(0)
    imu = motion.imu(rng=np.random.default_rng(1), offset_s=offset_s)
    found = align_camera(imu, seen(motion, 6, 16))
    assert found.accepted
    assert found.offset_s == pytest.approx(offset_s, abs=0.002)
    assert found.method == "gyro x picture"


def test_ten_seconds_over_eight_either_way_take_less_than_a_second():
    motion = motion_of(0)
    imu, picture = motion.imu(rng=np.random.default_rng(1)), seen(motion, 6, 16)
    began = time.process_time()
    assert align_camera(imu, picture, max_offset_s=8).accepted
    assert time.process_time() - began < 1.0


@pytest.mark.parametrize("seconds", [5, 10])
def test_another_cameras_gyro_is_refused(seconds):
    pairs = [(a, b) for a in range(4) for b in (4, 5, 6)]
    found = [
        align_camera(motion_of(a).imu(rng=np.random.default_rng(1)), seen(motion_of(b), 6, 6 + seconds), max_offset_s=8)
        for a, b in pairs
    ]
    assert not any(alignment.accepted for alignment in found)
    assert all(alignment.reason for alignment in found)


@pytest.mark.parametrize("seconds", [3, 5])
def test_a_gyro_that_was_cut_with_its_short_picture(seconds):
    for seed in range(4):
        motion = HeadMotion.random(np.random.default_rng(seed), 12.0, vigour=0.5)
        span = Span(4.0, 4.0 + seconds)
        imu = motion.imu(rng=np.random.default_rng(1)).crop(span)
        found = align_camera(moved(imu, 3.3), seen(motion, span.start_s, span.end_s), max_offset_s=8)
        assert found.offset_s == pytest.approx(-3.3, abs=0.01)
        other = motion_of(seed + 20).imu(rng=np.random.default_rng(1)).crop(span)
        assert not align_camera(other, seen(motion, span.start_s, span.end_s), max_offset_s=8).accepted


@pytest.mark.parametrize("rate_hz", [4.0, 10.0, 60.0])
def test_few_frames_a_second_and_many(rate_hz):
    motion = motion_of(11)
    picture = seen(motion, 4, 20, rate_hz=rate_hz)
    found = align_camera(motion.imu(rng=np.random.default_rng(1), offset_s=1.25), picture, max_offset_s=8)
    assert found.offset_s == pytest.approx(1.25, abs=0.005)


@pytest.mark.parametrize("ppm", [-500, 0, 80, 500])
def test_drift_over_minutes(ppm):
    motion = motion_of(3, 120)
    imu = motion.imu(rng=np.random.default_rng(1), offset_s=2.0, drift_ppm=ppm)
    found = align_camera(imu, seen(motion, 5, 115), max_offset_s=8)
    assert found.drift_ppm == pytest.approx(ppm, abs=20)
    # True time = clock (1 + drift) + offset, at the middle of what both saw.
    middle_s = (60 - 2.0) / (1 + ppm * 1e-6)
    assert found.offset_s == pytest.approx(2.0 + ppm * 1e-6 * middle_s, abs=0.003)


def test_gaps_in_the_gyro_and_frames_that_cannot_be_followed():
    motion = motion_of(4)
    imu = motion.imu(rng=np.random.default_rng(1), offset_s=1.5)
    keep = (np.floor(imu.gyro_t_s) % 5) != 2
    imu = replace(imu, gyro_t_s=imu.gyro_t_s[keep], gyro_rps=imu.gyro_rps[keep])
    picture = seen(motion, 3, 23)
    mask = np.random.default_rng(0).random(len(picture.mask)) > 0.1
    found = align_camera(imu, ImageMotion(picture.t_s, np.where(mask[:, None], picture.rate, 0), mask))
    assert found.offset_s == pytest.approx(1.5, abs=0.003)


def test_uneven_frame_times():
    motion = motion_of(6)
    picture = seen(motion, 4, 20)
    keep = np.unique(
        np.concatenate([[0, len(picture.t_s) - 1], np.flatnonzero(np.random.default_rng(1).random(480) > 0.3)])
    )
    # Steps over several frames: the mean rate over each longer interval.
    way = np.concatenate([np.zeros((1, 3)), np.cumsum(picture.rate * np.diff(picture.t_s)[:, None], axis=0)])[keep]
    t_s = picture.t_s[keep]
    uneven = ImageMotion(t_s, np.diff(way, axis=0) / np.diff(t_s)[:, None], np.ones(len(t_s) - 1, np.bool_))
    found = align_camera(motion.imu(rng=np.random.default_rng(1), offset_s=-3.3), uneven)
    assert found.offset_s == pytest.approx(-3.3, abs=0.003)


def test_frames_lost_without_a_trace_are_refused():
    motion = motion_of(7)
    picture = seen(motion, 2, 22)
    lost = np.ones(len(picture.rate), np.bool_)
    for second in range(3, 20, 3):
        lost[second * 30 : second * 30 + 3] = False
    rate = picture.rate[lost]
    recounted = ImageMotion(picture.t_s[: len(rate) + 1], rate, np.ones(len(rate), np.bool_))
    found = align_camera(motion.imu(rng=np.random.default_rng(1)), recounted, max_offset_s=8)
    assert not found.accepted


def test_a_stabiliser_undone_and_its_motion_without_it():
    motion = motion_of(8)
    # The view goes its own, gentler way: picture to camera is the camera's turning undone.
    t_s = np.arange(4, 18, 1 / 30)
    at = np.rint(t_s * 1000).astype(int)
    view = HeadMotion.random(np.random.default_rng(9), 24.0, vigour=0.3).rotation[at]
    orientation = motion.rotation[at].inv() * view
    rate = (view[:-1].inv() * view[1:]).as_rotvec() * 30 @ [[0, -0.6, 0], [0.6, 0, 0], [0, 0, 0.3]]
    rate += np.random.default_rng(3).normal(size=rate.shape) * 0.02
    picture = ImageMotion(t_s, rate, np.ones(len(rate), np.bool_))
    turning = np.stack([np.interp(np.arange(0, 24, 0.005), motion.t_s, c) for c in motion.rate_rps.T], axis=1)
    clock_s = np.arange(0, 24, 0.005) - 0.75
    imu = Imu(clock_s, np.tile([0, 0, 9.81], (len(clock_s), 1)), clock_s, turning)
    assert not align_camera(imu, picture, max_offset_s=8).accepted
    told = replace(picture, steadying=Steadying.of(orientation, t_s))
    assert align_camera(imu, told, max_offset_s=8).offset_s == pytest.approx(0.75, abs=0.003)


def test_stillness_and_no_gyroscope_are_refused():
    motion = motion_of(0)
    imu, picture = motion.imu(rng=np.random.default_rng(1)), seen(motion, 6, 16)
    still = replace(picture, rate=np.zeros_like(picture.rate))
    assert "stabilised" in align_camera(imu, still).reason
    assert "does not turn" in align_camera(replace(imu, gyro_rps=0 * imu.gyro_rps), picture).reason
    none = replace(imu, gyro_t_s=np.empty(0), gyro_rps=np.empty((0, 3)))
    assert "no gyroscope" in align_camera(none, picture).reason
    assert "less than" in align_camera(imu, seen(motion, 6, 7)).reason
    assert "overlap" in align_camera(moved(imu, 1000.0), picture, max_offset_s=8).reason


def test_the_gyro_is_integrated_exactly():
    t_s = np.linspace(0, 10, 2001)
    rate = np.stack([np.sin(t_s), t_s, np.ones_like(t_s)], axis=1).astype(np.float32)
    turning = Turning.of(Imu(t_s, np.tile([0, 0, 9.81], (len(t_s), 1)), t_s, rate))
    edge_s = np.array([[1.0, 1.5], [2.0, 4.0], [9.0, 10.5]])
    mean, there = turning.mean_rate(edge_s)
    assert there.tolist() == [True, True, False]
    for (a, b), got in zip(edge_s[:2], mean[:2], strict=True):
        np.testing.assert_allclose(got, [(np.cos(a) - np.cos(b)) / (b - a), (a + b) / 2, 1], atol=1e-4)


def test_a_picture_that_is_shifted_and_turned_by_known_amounts(film):
    path, motion = film
    picture = image_motion(path)
    assert len(picture.t_s) == 270
    assert picture.mask.all()
    middle_s = (picture.t_s[1:] + picture.t_s[:-1]) / 2
    rate = np.stack([np.interp(middle_s, motion.t_s, c) for c in motion.rate_rps.T], axis=1)
    # Camera axes are x right, y down, z ahead: turning right moves the picture left, and rolling turns it back.
    assert np.corrcoef(rate[:, 1], picture.rate[:, 0])[0, 1] < -0.95
    assert np.corrcoef(rate[:, 0], picture.rate[:, 1])[0, 1] > 0.95
    assert np.corrcoef(rate[:, 2], picture.rate[:, 2])[0, 1] < -0.9
    focal = 0.5 / np.tan(np.radians(40))
    assert np.polyfit(rate[:, 0], picture.rate[:, 1], 1)[0] == pytest.approx(focal, rel=0.15)
    part = image_motion(path, Span(2.0, 4.0))
    np.testing.assert_allclose(part.t_s, picture.t_s[60:120], atol=1e-9)
    np.testing.assert_allclose(part.rate, picture.rate[60:119], atol=1e-9)


def test_files_end_to_end(film, tmp_path):
    path, motion = film
    imu = motion.imu(rng=np.random.default_rng(1), offset_s=4.2)
    table = np.column_stack([imu.gyro_t_s, imu.acc_mps2, imu.gyro_rps])
    header = "t_s,ax_mps2,ay_mps2,az_mps2,gx_rps,gy_rps,gz_rps"
    np.savetxt(tmp_path / "imu.csv", table, delimiter=",", header=header, comments="")
    found = sync(tmp_path / "imu.csv", path)
    assert found.offset_s == pytest.approx(4.2, abs=0.005)
    assert found.method == "gyro x picture"
    cut = sync(tmp_path / "imu.csv", f"{path}@2-8")
    assert cut.offset_s == pytest.approx(4.2, abs=0.01)
    other = motion_of(9, 9.0).imu(rng=np.random.default_rng(1))
    assert not sync(other, path).accepted


def test_a_perfectly_steady_picture_is_refused(tmp_path):
    motion = motion_of(2, 6.0)
    write_film(tmp_path / "still.mp4", motion, HeadCamera(size=(160, 90), stabilised=True), np.random.default_rng(2))
    found = sync(motion.imu(rng=np.random.default_rng(1)), tmp_path / "still.mp4")
    assert not found.accepted
    assert found.reason


def test_the_gopro_sample_by_its_own_metadata(data_dir):
    path = data_dir / "gopro" / "max-heromode.mp4"
    own = sync(path, path)
    assert own.accepted
    assert own.method == "gyro x picture, stabilisation undone"
    # The camera stamps its frames at their start, and a rolling shutter sees them half a frame later.
    assert own.offset_s == pytest.approx(-0.0125, abs=0.004)
    from motionseek.indexer.readers import read

    (imu,) = read(path).imus
    for by_s in (-6.9, 2.345):
        assert sync(moved(imu, by_s), path).offset_s == pytest.approx(own.offset_s - by_s, abs=0.001)
    stranger = replace(imu, name="a watch")
    refused = sync(stranger, path)
    assert not refused.accepted
    assert "HS HLevel" in refused.reason


def test_without_opencv_the_extra_is_named(monkeypatch, film):
    monkeypatch.setitem(__import__("sys").modules, "cv2", None)
    with pytest.raises(MissingExtra, match=r"motionseek\[camera\]"):
        flow.image_motion(film[0])


@pytest.mark.parametrize("frames", [1, 2, 5, 15])
@pytest.mark.parametrize("doubled", [False, True])
def test_frames_lost_or_doubled_at_one_place_are_refused(frames, doubled):
    motion = motion_of(7)
    picture = seen(motion, 2, 22)
    at = 310
    rate = (
        np.insert(picture.rate, at, np.zeros((frames, 3)), 0)
        if doubled
        else np.delete(picture.rate, slice(at, at + frames), 0)
    )
    t_s = picture.t_s[0] + np.arange(len(rate) + 1) / 30
    found = align_camera(
        motion.imu(rng=np.random.default_rng(1)), ImageMotion(t_s, rate, np.ones(len(rate), np.bool_)), max_offset_s=8
    )
    assert not found.accepted
    assert frames > 5 or "missing or doubled" in found.reason
