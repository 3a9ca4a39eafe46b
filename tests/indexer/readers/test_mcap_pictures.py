"""The pictures of one camera in an MCAP file are a video like any other."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest
from archives import imu_cdr, mcap, picture_cdr, picture_json, picture_protobuf, picture_ros1, shaken

from motionseek.errors import DamagedFile
from motionseek.indexer.readers import content_id, read
from motionseek.indexer.video import frame_times, frames_at, grey_frames, sample

START_NS = 1_700_000_000_000_000_000
COUNT, WIDTH, HEIGHT = 40, 64, 48
CDR = ("sensor_msgs/msg/CompressedImage", "cdr")
VIDEO = ("foxglove.CompressedVideo", "protobuf")
as_image = partial(picture_protobuf, numbers=(4, 2, 3))
as_video = partial(picture_protobuf, numbers=(2, 3, 4))


def shades() -> list[int]:
    return [20 + 5 * i for i in range(COUNT)]


def encoded(codec: str, form: str = "yuvj420p", **options: str) -> list[bytes]:
    """Grey pictures, each lighter than the one before, as packets of libav's."""
    encoder = av.CodecContext.create(codec, "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.options = WIDTH, HEIGHT, form, options
    encoder.time_base = Fraction(1, 30)
    packets = []
    for i, shade in enumerate(shades()):
        frame = av.VideoFrame.from_ndarray(np.full((HEIGHT, WIDTH, 3), shade, np.uint8), format="rgb24").reformat(
            format=form
        )
        frame.pts = i
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    return [bytes(packet) for packet in packets]


def predicted(codec: str) -> list[bytes]:
    """A key frame every ten pictures."""
    return encoded(f"libx{codec[1:]}", "yuv420p", preset="ultrafast", tune="zerolatency", g="10", bf="0")


h264 = partial(predicted, "h264")


def stamps(rate_hz: float = 30.0) -> list[int]:
    """With jitter, as cameras have it."""
    late_s = np.random.default_rng(0).uniform(0, 5e-3, COUNT)
    return [START_NS + 200_000_000 + round((i / rate_hz + late) * 1e9) for i, late in enumerate(late_s)]


def sensor() -> tuple[str, str, list[tuple[int, bytes]]]:
    t_s = np.arange(300) / 100
    acc, gyro = shaken(t_s, 0)
    ns = [START_NS + round(t * 1e9) for t in t_s]
    return "sensor_msgs/msg/Imu", "cdr", [(n, imu_cdr(n, a, g)) for n, a, g in zip(ns, acc, gyro, strict=True)]


def logged(written: Callable[[int, bytes, str], bytes], pictures: list[bytes], said: str) -> list[tuple[int, bytes]]:
    return [(n + 2_000_000, written(n, p, said)) for n, p in zip(stamps(), pictures, strict=True)]


@pytest.mark.parametrize(
    ("kind", "written", "codec", "said"),
    [
        (CDR, picture_cdr, "mjpeg", "rgb8; jpeg compressed bgr8"),
        (("sensor_msgs/CompressedImage", "ros1"), picture_ros1, "png", "png"),
        (("foxglove.CompressedImage", "protobuf"), as_image, "mjpeg", "jpeg"),
        (("foxglove.CompressedImage", "json"), picture_json, "png", "png"),
        (("foxglove_msgs/msg/CompressedImage", "cdr"), partial(picture_cdr, foxglove=True), "mjpeg", "jpeg"),
        (VIDEO, as_video, "h264", "h264"),
        (VIDEO, as_video, "hevc", "h265"),
    ],
)
@pytest.mark.parametrize("options", [{"chunk_size": 4096}, {"use_chunking": False}])
def test_every_encoding_gives_the_pictures_on_their_own_stamps(
    tmp_path: Path,
    kind: tuple[str, str],
    written: Callable[[int, bytes, str], bytes],
    codec: str,
    said: str,
    options: dict[str, object],
) -> None:
    pictures = predicted(said) if kind == VIDEO else encoded(codec, "rgb24" if codec == "png" else "yuvj420p")
    path = mcap(tmp_path / "a.mcap", {"/imu": sensor(), "/eye": (*kind, logged(written, pictures, said))}, **options)
    recording = read(path)
    assert recording.problems == ()
    assert recording.extra["not_read"] == {}
    assert recording.recording_id == content_id(path)
    (imu,), video = recording.imus, recording.video
    assert video is not None
    assert (video.codec, video.camera, video.size) == (codec, "/eye", (WIDTH, HEIGHT))
    assert video.start_s - imu.start_s == pytest.approx((stamps()[0] - START_NS) * 1e-9, abs=1e-6)
    shown_s = (np.array(stamps()) - stamps()[0]) * 1e-9
    np.testing.assert_allclose(frame_times(path), shown_s, atol=1e-9)
    order = np.random.default_rng(1).permutation(COUNT)
    frames = frames_at(path, shown_s[order] + 1e-3)
    assert np.abs(frames.mean(axis=(1, 2, 3)) - np.array(shades())[order]).max() < 4
    rows, some = zip(*sample(path, shown_s[::7]), strict=True)
    means = np.concatenate(some).mean(axis=(1, 2, 3))
    assert np.abs(means - np.array(shades())[::7][np.concatenate(rows)]).max() < 4
    assert len(list(grey_frames(path, longer=32))) == COUNT


def test_the_camera_with_most_pictures_is_the_video_and_the_others_are_said(tmp_path: Path) -> None:
    pictures = encoded("mjpeg")
    few = logged(picture_cdr, pictures, "jpeg")[:5]
    raw = [(START_NS, b"\0\1\0\0" + bytes(60))]
    topics = {
        "/a": (*CDR, few),
        "/b": (*CDR, logged(picture_cdr, pictures, "jpeg")),
        "/depth": ("sensor_msgs/msg/Image", "cdr", raw),
    }
    recording = read(mcap(tmp_path / "a.mcap", topics))
    assert recording.imus == ()
    assert recording.video is not None
    assert recording.video.camera == "/b"
    assert recording.video.start_s == 0
    assert [p.split(":")[0] for p in recording.problems] == ["/a", "/depth"]
    assert "the recording has the video of /b; export them as a video file" in recording.problems[0]
    assert "1 messages of sensor_msgs/msg/Image, encoded as 'cdr', are not read" in recording.problems[1]


def test_what_cannot_be_decoded_is_left_out(tmp_path: Path) -> None:
    pictures = encoded("png", "rgb24")
    pictures[0] = pictures[0][:30]
    pictures[7] = pictures[7][:30]
    messages = logged(picture_cdr, pictures, "png")
    messages[9] = (messages[9][0], messages[9][1][:20])
    messages[11] = (messages[11][0], picture_cdr(stamps()[11], b"nothing", "png"))
    path = mcap(tmp_path / "a.mcap", {"/imu": sensor(), "/eye": (*CDR, messages)})
    recording = read(path)
    assert recording.problems == ("/eye: 2 messages hold no picture that can be read",)
    times = frame_times(path)
    assert len(times) == COUNT - 2
    came = np.sort(np.concatenate([rows for rows, _ in sample(path, times)]))
    assert came.tolist() == [i for i in range(COUNT - 2) if i not in (0, 7)]
    with pytest.raises(DamagedFile, match="damaged or cannot be decoded"):
        frames_at(path, [times[7]])


def test_a_predicted_picture_without_the_one_before_it_is_none(tmp_path: Path) -> None:
    pictures = h264()[3:]
    messages = [(n, as_video(n, p, "h264")) for n, p in zip(stamps(), pictures, strict=False)]
    path = mcap(tmp_path / "a.mcap", {"/eye": (*VIDEO, messages)})
    assert read(path).video is not None
    came = [round(float(grey.mean())) for _, grey in grey_frames(path, longer=64)]
    assert len(came) == len(pictures) - 7  # the next key frame is the tenth of all
    np.testing.assert_allclose(came, shades()[10:], atol=6)


def test_pictures_of_which_none_can_be_decoded_are_a_problem_beside_the_sensor(tmp_path: Path) -> None:
    broken = [p[:20] for p in encoded("mjpeg")]
    path = mcap(tmp_path / "a.mcap", {"/imu": sensor(), "/eye": (*CDR, logged(picture_cdr, broken, "jpeg"))})
    recording = read(path)
    assert len(recording.imus) == 1
    assert recording.video is None
    assert "/eye: none of the first 32 pictures can be decoded" in recording.problems[0]
    with pytest.raises(DamagedFile, match="none of the first 32"):
        read(mcap(tmp_path / "b.mcap", {"/eye": (*CDR, logged(picture_cdr, broken, "jpeg"))}))


@pytest.mark.parametrize("said", ["vp9", "av1"])
def test_a_codec_that_is_not_read_is_said(tmp_path: Path, said: str) -> None:
    messages = logged(as_video, [b"\x82\x49\x83\x42" + bytes(20)] * COUNT, said)
    recording = read(mcap(tmp_path / "a.mcap", {"/imu": sensor(), "/eye": (*VIDEO, messages)}))
    assert recording.video is None
    assert recording.problems == (
        "/eye: 40 messages of foxglove.CompressedVideo, encoded as 'protobuf', are not read; export them as a video "
        "file and name it in a recording.json",
    )


@pytest.mark.parametrize("share", [0.3, 0.5, 0.8])
def test_pictures_before_the_cut_are_read(tmp_path: Path, share: float) -> None:
    messages = logged(picture_cdr, encoded("mjpeg"), "jpeg")
    path = mcap(tmp_path / "a.mcap", {"/eye": (*CDR, messages)}, chunk_size=4096)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    recording = read(path)
    assert "cut off" in recording.problems[0]
    assert 2 < len(frame_times(path)) < COUNT
    assert len(frames_at(path, frame_times(path))) == len(frame_times(path))


def test_any_damage_ends_in_an_error_of_ours_or_a_recording(tmp_path: Path) -> None:
    topics = {"/eye": (*VIDEO, logged(as_video, h264(), "h264")), "/imu": sensor()}
    held = mcap(tmp_path / "a.mcap", topics, use_chunking=False).read_bytes()
    rng = np.random.default_rng(0)
    for i in range(40):
        damaged = np.frombuffer(held, np.uint8).copy()
        damaged[rng.integers(0, len(held), 30 if i % 2 else 1)] ^= rng.integers(1, 256, dtype=np.uint8)
        path = tmp_path / f"{i}.mcap"
        path.write_bytes(damaged.tobytes())
        try:
            if read(path).video is not None:
                list(sample(path, frame_times(path)))
        except DamagedFile:
            continue


def test_a_stamp_beyond_all_time_is_none_and_the_log_s_own_counts(tmp_path: Path) -> None:
    pictures = logged(picture_json, encoded("png", "rgb24"), "png")
    ns, damaged = pictures[5]
    pictures[5] = ns, damaged.replace(str(stamps()[5] // 1_000_000_000).encode(), b"9" * 30)
    assert pictures[5][1] != damaged
    path = mcap(tmp_path / "a.mcap", {"/eye": ("foxglove.CompressedImage", "json", pictures)})
    shown = np.array(stamps())
    shown[5] = ns
    assert read(path).problems == ()
    np.testing.assert_allclose(frame_times(path), (np.unique(shown) - shown[0]) * 1e-9, atol=1e-9)
