from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from motionseek.errors import DamagedFile, MissingExtra
from motionseek.indexer.readers import discover, read
from motionseek.indexer.video import frame_times, frames_at, grey_frames, sample
from motionseek.types import Span


@pytest.fixture(scope="module")
def vrs(data_dir: Path) -> Path:
    pytest.importorskip("projectaria_tools.core.data_provider")
    return data_dir / "aria" / "aea_recording.vrs"


def test_both_sensors_are_read_on_their_own_clocks(vrs: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (source,) = discover([vrs])
    assert source.format == "aria"
    recording = read(source)
    assert recording.problems == ()
    right, left = recording.imus
    assert (right.name, left.name) == ("imu-right", "imu-left")
    assert {right.placement, left.placement} == {"glasses"}
    assert (len(right.acc_t_s), len(left.acc_t_s)) == (400, 319)
    assert (right.rate_hz, left.rate_hz) == pytest.approx((1001, 798), rel=0.003)
    assert recording.span.start_s == 0
    for imu in recording.imus:
        assert np.linalg.norm(imu.acc_mps2, axis=1).mean() == pytest.approx(9.82, abs=0.05)
    assert recording.extra["pictures"]["camera-rgb"] == {"count": 8, "rate_hz": pytest.approx(20, abs=0.1)}
    assert capfd.readouterr() == ("", "")


def test_the_colour_camera_is_the_video_upright_and_on_the_clock_of_the_sensors(vrs: Path) -> None:
    from projectaria_tools.core import data_provider

    provider = data_provider.create_vrs_data_provider(str(vrs))
    stream = provider.get_stream_id_from_label("camera-rgb")
    pictures = [provider.get_image_data_by_index(stream, i) for i in range(8)]
    recording = read(vrs)
    video, zero_ns = recording.video, recording.extra["device_time_zero_ns"]
    assert video is not None
    assert (video.size, video.rate_hz) == ((1408, 1408), pytest.approx(20, abs=0.1))
    shown_s = video.start_s + frame_times(video.path)
    np.testing.assert_allclose(shown_s, [(held.capture_timestamp_ns - zero_ns) * 1e-9 for _, held in pictures])
    # The glasses hold the camera a quarter turn off: what they film is upright once turned clockwise.
    upright = [np.rot90(picture.to_numpy_array(), -1) for picture, _ in pictures]
    np.testing.assert_array_equal(frames_at(video.path, frame_times(video.path)[[5, 0]]), [upright[5], upright[0]])
    rows, frames = next(sample(video.path, [0.12, 0.31], size=176))
    assert (rows.tolist(), frames.shape) == ([0, 1], (2, 176, 176, 3))
    small = upright[2].reshape(176, 8, 176, 8, 3).mean(axis=(1, 3))
    assert np.abs(frames[0] - small).mean() < 3
    grey = list(grey_frames(video.path, longer=44, span=Span(0.09, 0.21)))
    assert [round(at, 2) for at, _ in grey] == [0.1, 0.15, 0.2]
    assert np.corrcoef(grey[0][1].ravel(), upright[2].mean(axis=2)[16::32, 16::32].ravel())[0, 1] > 0.95


def test_samples_are_calibrated_as_the_library_does(vrs: Path) -> None:
    from projectaria_tools.core import data_provider

    provider = data_provider.create_vrs_data_provider(str(vrs))
    for imu in read(vrs).imus:
        stream = provider.get_stream_id_from_label(imu.name)
        calibration = provider.get_device_calibration().get_imu_calib(imu.name)
        for i in range(0, len(imu.acc_t_s), 37):
            raw = provider.get_imu_data_by_index(stream, i)
            np.testing.assert_allclose(imu.acc_mps2[i], calibration.raw_to_rectified_accel(raw.accel_msec2), rtol=1e-5)
            np.testing.assert_allclose(imu.gyro_rps[i], calibration.raw_to_rectified_gyro(raw.gyro_radsec), rtol=1e-4)


@pytest.mark.parametrize("share", np.linspace(0.02, 0.98, 10))
def test_a_file_that_was_cut_off_says_so(vrs: Path, tmp_path: Path, share: float) -> None:
    cut = tmp_path / "cut.vrs"
    held = vrs.read_bytes()
    cut.write_bytes(held[: int(len(held) * share)])
    recording = read(cut)
    assert "the file is cut off" in recording.problems[-1]
    whole = read(vrs)
    for imu in recording.imus:
        same = next(i for i in whole.imus if i.name == imu.name)
        np.testing.assert_allclose(imu.acc_mps2, same.acc_mps2[: len(imu.acc_t_s)], rtol=1e-6)


@pytest.mark.parametrize(
    ("content", "said"), [(b"", "is empty"), (b"junk", "is not a VRS"), (b"VisionRe" + bytes(92), "as VRS")]
)
def test_no_recording_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    pytest.importorskip("projectaria_tools.core.data_provider")
    path = tmp_path / "a.vrs"
    path.write_bytes(content)
    with pytest.raises(DamagedFile, match=said):
        read(path)


def test_a_file_that_vanished_is_an_error_of_ours(tmp_path: Path) -> None:
    from motionseek.indexer.readers import aria

    with pytest.raises(DamagedFile, match="No such file"):
        aria.read(str(tmp_path / "gone.vrs"))


def test_without_the_extra_the_line_that_installs_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.vrs"
    path.write_bytes(b"VisionRe")
    monkeypatch.setitem(sys.modules, "projectaria_tools.core", None)
    with pytest.raises(MissingExtra, match=r"pip install 'motionseek\[aria\]'"):
        read(path)
