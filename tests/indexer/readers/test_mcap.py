from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from archives import imu_cdr, imu_json, imu_ros1, mcap, shaken

from motionseek.errors import DamagedFile, MissingExtra, UnitError, UsageError
from motionseek.indexer.readers import content_id, discover, read

START_NS = 1_700_000_000_000_000_000
LENGTH = 400
ZSTD = b"\x28\xb5\x2f\xfd"


def stream(seed: int = 0, rate_hz: float = 100.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Stamps (L,) in ns with jitter, acc (L, 3), gyro (L, 3)."""
    rng = np.random.default_rng(seed)
    t_s = np.arange(LENGTH) / rate_hz + rng.uniform(0, 2e-3, LENGTH)
    return START_NS + np.round(t_s * 1e9).astype(np.int64), *shaken(t_s, seed)


def logged(stamps: np.ndarray, messages: Any) -> list[tuple[int, bytes]]:
    """As a logger writes them, 3 ms late."""
    return [(int(t) + 3_000_000, m) for t, m in zip(stamps, messages, strict=True)]


@pytest.mark.parametrize("options", [{}, {"chunk_size": 4096}, {"use_chunking": False}])
def test_every_encoding_gives_the_samples_on_their_own_stamps(tmp_path: Path, options: dict[str, Any]) -> None:
    ns, acc, gyro = stream()
    other_ns, other_acc, other_gyro = stream(1, 50)
    every = list(zip(other_ns.tolist(), other_acc, other_gyro, strict=True))
    path = mcap(
        tmp_path / "run.mcap",
        {
            "/imu/left_wrist": (
                "sensor_msgs/msg/Imu",
                "cdr",
                logged(ns, [imu_cdr(t, a, g) for t, a, g in zip(ns.tolist(), acc, gyro, strict=True)]),
            ),
            "/back/imu": ("sensor_msgs/Imu", "ros1", logged(other_ns, [imu_ros1(*row) for row in every])),
            "/phone": ("my.Phone", "json", logged(other_ns, [imu_json(*row) for row in every])),
            "/pose": ("geometry_msgs/msg/PoseStamped", "cdr", [(START_NS, b"\0\1\0\0")]),
        },
        **options,
    )
    (source,) = discover([path])
    assert source.format == "mcap"
    recording = read(source)
    assert recording.recording_id == content_id(source)
    assert recording.problems == ()
    assert {i.name: i.placement for i in recording.imus} == {
        "/imu/left_wrist": "left_wrist",
        "/back/imu": "back",
        "/phone": "unknown",
    }
    zero = min(ns[0], other_ns[0])
    for imu, (t, a, g) in zip(recording.imus, [(ns, acc, gyro), *[(other_ns, other_acc, other_gyro)] * 2], strict=True):
        np.testing.assert_allclose(imu.acc_t_s, (t - zero) * 1e-9, atol=1e-9)
        np.testing.assert_allclose(imu.acc_mps2, a, rtol=1e-6)
        np.testing.assert_allclose(imu.gyro_rps, g, rtol=1e-6, atol=1e-6)
    assert recording.extra["not_read"] == {"/pose": "geometry_msgs/msg/PoseStamped, 1 messages"}


@pytest.mark.parametrize("frame", ["", "a", "abcdefg", "imu_link_of_the_left_wrist"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_the_name_of_the_frame_and_the_byte_order_do_not_shift_the_numbers(
    tmp_path: Path, frame: str, order: str
) -> None:
    ns, acc, gyro = stream()
    messages = [imu_cdr(t, a, g, frame, order=order) for t, a, g in zip(ns.tolist(), acc, gyro, strict=True)]
    recording = read(mcap(tmp_path / "a.mcap", {"/imu": ("sensor_msgs/msg/Imu", "cdr", logged(ns, messages))}))
    np.testing.assert_allclose(recording.imus[0].gyro_rps, gyro, rtol=1e-6, atol=1e-6)


def test_a_sensor_that_does_not_measure_turning_has_no_gyroscope(tmp_path: Path) -> None:
    ns, acc, _ = stream()
    messages = [imu_cdr(t, a, None) for t, a in zip(ns.tolist(), acc, strict=True)]
    (imu,) = read(mcap(tmp_path / "a.mcap", {"/imu": ("sensor_msgs/msg/Imu", "cdr", logged(ns, messages))})).imus
    assert len(imu.acc_t_s) == LENGTH
    assert len(imu.gyro_t_s) == 0


def test_stamps_since_the_start_of_the_sensor_are_put_on_the_clock_of_the_log(tmp_path: Path) -> None:
    ns, acc, gyro = stream()
    own = [imu_cdr(t, a, g) for t, a, g in zip((ns - START_NS + 10**9).tolist(), acc, gyro, strict=True)]
    right = [imu_cdr(t, a, g) for t, a, g in zip(ns.tolist(), acc, gyro, strict=True)]
    recording = read(
        mcap(
            tmp_path / "a.mcap",
            {
                "/a": ("sensor_msgs/msg/Imu", "cdr", logged(ns, own)),
                "/b": ("sensor_msgs/msg/Imu", "cdr", logged(ns, right)),
            },
        )
    )
    a, b = recording.imus
    np.testing.assert_allclose(a.acc_t_s - b.acc_t_s, 0.003, atol=1e-6)
    assert len(recording.problems) == 1
    assert "/a: its stamps were shifted by 1699999999" in recording.problems[0]


def test_units_that_the_log_does_not_say_are_given(tmp_path: Path) -> None:
    ns, acc, gyro = stream()
    rows = zip(ns.tolist(), acc / 9.80665, np.degrees(gyro), strict=True)
    path = mcap(tmp_path / "a.mcap", {"/imu": ("Imu", "json", logged(ns, [imu_json(*row) for row in rows]))})
    with pytest.raises(DamagedFile, match="it looks like g"):
        read(path)
    (source,) = discover([path], units={"acc": "g", "gyro": "dps"})
    recording = read(source)
    np.testing.assert_allclose(recording.imus[0].acc_mps2, acc, rtol=1e-5)
    np.testing.assert_allclose(recording.imus[0].gyro_rps, gyro, rtol=1e-5, atol=1e-6)
    assert recording.recording_id == content_id(source) != content_id(path)
    with pytest.raises(UsageError, match="furlong"):
        discover([path], units={"acc": "furlong"})


@pytest.mark.parametrize("share", np.linspace(0, 1, 12)[1:-1])
def test_what_comes_before_the_cut_is_read_and_said(tmp_path: Path, share: float) -> None:
    ns, acc, gyro = stream()
    messages = [imu_cdr(t, a, g) for t, a, g in zip(ns.tolist(), acc, gyro, strict=True)]
    path = mcap(tmp_path / "a.mcap", {"/i": ("sensor_msgs/msg/Imu", "cdr", logged(ns, messages))}, chunk_size=8192)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    recording = read(path)
    assert "cut off" in recording.problems[0]
    count = len(recording.imus[0].acc_t_s)
    assert LENGTH * share - 60 < count <= LENGTH
    np.testing.assert_allclose(recording.imus[0].acc_mps2, acc[:count], rtol=1e-6)


def test_a_damaged_chunk_is_left_out(tmp_path: Path) -> None:
    ns, acc, gyro = stream()
    messages = [imu_cdr(t, a, g) for t, a, g in zip(ns.tolist(), acc, gyro, strict=True)]
    path = mcap(tmp_path / "a.mcap", {"/i": ("sensor_msgs/msg/Imu", "cdr", logged(ns, messages))}, chunk_size=8192)
    held = bytearray(path.read_bytes())
    second = held.index(ZSTD, held.index(ZSTD) + 1)
    held[second + 20 : second + 60] = bytes(40)
    path.write_bytes(held)
    recording = read(path)
    assert recording.problems == ("1 damaged chunks were left out",)
    assert LENGTH * 0.6 < len(recording.imus[0].acc_t_s) < LENGTH


def test_any_damage_ends_in_an_error_of_ours_or_a_recording(tmp_path: Path) -> None:
    ns, acc, gyro = stream()
    messages = [imu_cdr(t, a, g) for t, a, g in zip(ns.tolist(), acc, gyro, strict=True)]
    held = mcap(tmp_path / "a.mcap", {"/i": ("sensor_msgs/msg/Imu", "cdr", logged(ns, messages))}).read_bytes()
    rng = np.random.default_rng(0)
    for i in range(60):
        damaged = np.frombuffer(held, np.uint8).copy()
        damaged[rng.integers(0, len(held), 20 if i % 2 else 1)] ^= rng.integers(1, 256, dtype=np.uint8)
        path = tmp_path / "b.mcap"
        path.write_bytes(damaged.tobytes())
        try:
            read(path)
        except (DamagedFile, UnitError):
            continue


@pytest.mark.parametrize(
    ("content", "said"), [(b"", "is empty"), (b"no mcap at all", "not an MCAP"), (b"\x89MCAP0\r\n", "not an MCAP")]
)
def test_no_log_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "a.mcap"
    path.write_bytes(content)
    with pytest.raises(DamagedFile, match=said):
        read(path)


def test_a_log_without_sensors_says_what_it_has(tmp_path: Path) -> None:
    path = mcap(tmp_path / "a.mcap", {"/tf": ("tf2_msgs/msg/TFMessage", "cdr", [(1, b"x")])})
    with pytest.raises(DamagedFile, match=r"no IMU topic; it has /tf \(tf2_msgs/msg/TFMessage\)"):
        read(path)
    path = mcap(tmp_path / "b.mcap", {"/imu": ("sensor_msgs/msg/Imu", "protobuf", [(1, b"x")])})
    with pytest.raises(DamagedFile, match="encoded as 'protobuf' is not read"):
        read(path)
    path = mcap(tmp_path / "c.mcap", {"/imu": ("sensor_msgs/msg/Imu", "cdr", [(1, b"\0\1\0\0" + bytes(30))])})
    with pytest.raises(DamagedFile, match="not as sensor_msgs/msg/Imu must be"):
        read(path)


def test_without_the_extra_the_line_that_installs_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = mcap(tmp_path / "a.mcap", {"/tf": ("tf2_msgs/msg/TFMessage", "cdr", [(1, b"x")])})
    monkeypatch.setitem(__import__("sys").modules, "mcap.records", None)
    with pytest.raises(MissingExtra, match=r"pip install 'motionseek\[mcap\]'"):
        read(path)
