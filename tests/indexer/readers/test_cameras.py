from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from archives import G, film, gcsv, insta360, shaken

from motionseek.errors import DamagedFile, MediaError
from motionseek.indexer.readers import discover, read

T_S = np.arange(400) / 200


def insta_axes(x: np.ndarray) -> np.ndarray:
    """The parser turns Insta360's sensors by the letters yXZ: the new x is the old y, negated, the new y the old x."""
    return np.stack([-x[:, 1], x[:, 0], x[:, 2]], axis=1)


@pytest.mark.parametrize("name", ["a.mp4", "a.insv"])
def test_an_insta360_file_gives_picture_and_sensors(tmp_path: Path, name: str) -> None:
    acc, gyro = shaken(T_S)
    (source,) = discover([insta360(tmp_path / name, T_S * 1000, acc / G, gyro)])
    assert source.format == "camera"
    recording = read(source)
    assert recording.problems == ()
    assert recording.video is not None
    assert recording.video.duration_s == pytest.approx(2.0, abs=0.1)
    (imu,) = recording.imus
    assert imu.name == "Insta360"
    np.testing.assert_allclose(imu.acc_t_s, T_S, atol=1e-6)
    np.testing.assert_allclose(imu.acc_mps2, insta_axes(acc), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(imu.gyro_rps, insta_axes(gyro), rtol=1e-5, atol=1e-5)


def test_sensors_without_gravity_leave_the_picture(tmp_path: Path) -> None:
    acc, gyro = shaken(T_S)
    recording = read(insta360(tmp_path / "a.mp4", T_S * 1000, (acc - [0, 0, G]) / G, gyro))
    assert recording.imus == ()
    assert recording.video is not None
    assert recording.problems[0].startswith("imu: |acc|")


def test_a_picture_that_cannot_be_read_leaves_the_sensors(tmp_path: Path) -> None:
    acc, gyro = shaken(T_S)
    path = insta360(tmp_path / "a.insv", T_S * 1000, acc / G, gyro)
    held = bytearray(path.read_bytes())
    held[:200] = bytes(200)
    path.write_bytes(held)
    recording = read(path)
    assert recording.video is None
    assert len(recording.imus[0].acc_t_s) == len(T_S)
    assert recording.problems[0].startswith("video: ")


def test_a_log_of_gyroflow_gives_a_sensor(tmp_path: Path) -> None:
    acc, gyro = shaken(T_S)
    (source,) = discover([gcsv(tmp_path / "log.gcsv", T_S, acc, gyro)])
    assert source.format == "camera"
    recording = read(source)
    (imu,) = recording.imus
    assert recording.video is None
    np.testing.assert_allclose(imu.acc_t_s, T_S, atol=1e-4)
    np.testing.assert_allclose(imu.acc_mps2, acc, atol=0.01)
    np.testing.assert_allclose(imu.gyro_rps, gyro, atol=0.002)


def test_a_plain_video_is_none(tmp_path: Path) -> None:
    (source,) = discover([film(tmp_path / "a.mp4")])
    assert source.format == "video"


@pytest.mark.parametrize("content", [b"", b"junk", b"GYROFLOW IMU LOG\n", b"GYROFLOW IMU LOG\nt,gx\n0,1\n"])
def test_damaged_logs_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.gcsv"
    path.write_bytes(content)
    with pytest.raises(MediaError, match=r"telemetry|motion|sample"):
        read(path)


def test_damaged_trailers_end_in_an_error_of_ours_or_a_recording(tmp_path: Path) -> None:
    acc, gyro = shaken(T_S)
    held = insta360(tmp_path / "a.mp4", T_S * 1000, acc / G, gyro).read_bytes()
    trailer = 72 + 12 + len(T_S) * 56
    rng = np.random.default_rng(0)
    for _ in range(40):
        damaged = np.frombuffer(held, np.uint8).copy()
        at = len(held) - 33 - rng.integers(0, min(trailer, 200), 3)
        damaged[at] ^= rng.integers(1, 256, 3, dtype=np.uint8)
        path = tmp_path / "b.mp4"
        path.write_bytes(damaged.tobytes())
        try:
            assert read(path).video is not None
        except DamagedFile:
            continue
