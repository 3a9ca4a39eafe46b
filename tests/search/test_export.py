"""Moments as files: clips by what their pictures show, slices by reading them back."""

from __future__ import annotations

import gc
import json
from dataclasses import replace

import av
import numpy as np
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet
import pytest

from motionseek.cli import main
from motionseek.errors import DamagedFile, UsageError
from motionseek.indexer.pipeline import index
from motionseek.indexer.readers import read
from motionseek.indexer.video import frame_times, frames_at, probe
from motionseek.search.archive import open as open_archive
from motionseek.search.export import export, read_hits, write_clip, write_imu
from motionseek.types import Imu, Moment, Recording, Span

T_S = np.arange(0, 12, 0.01)


def film(path, seconds=12.0, rate=25, size=(64, 48)):
    """Frame i is grey, as bright as 16 + i, so that a picture says when it was shown."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "8"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for i in range(round(seconds * rate)):
            shade = np.full((size[1], size[0], 3), 16 + i % 220, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(shade, format="rgb24")))
        container.mux(stream.encode(None))


def shades(path):
    """What a clip shows, as frame numbers of the film."""
    return frames_at(path, frame_times(path)).mean(axis=(1, 2, 3)) - 16


def an_imu(t_s, gyro_t_s=None):
    gyro_t_s = t_s if gyro_t_s is None else gyro_t_s
    acc = np.stack([np.sin(t_s), np.cos(t_s), 9.8 + 0 * t_s], axis=1)
    return Imu(t_s, acc, gyro_t_s, np.stack([np.sin(3 * gyro_t_s)] * 3, axis=1), "left_wrist")


@pytest.fixture(scope="module")
def world(tmp_path_factory, model):
    folder = tmp_path_factory.mktemp("export")
    take = folder / "take one"
    take.mkdir()
    film(take / "film.mp4")
    write_imu(an_imu(T_S), take / "watch.csv")
    said = {
        "video": {"path": "film.mp4", "start_s": 100.0},
        "imu": [{"path": "watch.csv", "placement": "left_wrist"}],
        "labels": ["jump", "a;b"],
    }
    (take / "recording.json").write_text(json.dumps(said))
    report = index([take], folder / "archive", models=[model])
    assert not report.failed
    return folder, open_archive(folder / "archive", models=[model])


def a_moment(archive, start_s, end_s, rank=1, modality="video"):
    (recording_id,) = archive.sources
    way = ("text", "imu", modality)
    scores = {"global": 0.25}
    return Moment(rank, recording_id, "/etc/passwd", modality, start_s, end_s, 0.5, scores, "imu", way, confidence=0.75)


@pytest.mark.parametrize(("start_s", "end_s"), [(2.0, 4.0), (1.99, 2.51), (0.0, 0.3), (11.5, 15.0), (3.013, 3.02)])
def test_a_clip_shows_exactly_the_span(tmp_path, start_s, end_s):
    film(tmp_path / "film.mp4")
    video = probe(tmp_path / "film.mp4")
    write_clip(video, Span(start_s, end_s), tmp_path / "clip.mp4")
    numbers = np.arange(int(start_s * 25 + 1e-9), min(300, int(np.ceil(end_s * 25 - 1e-9))))
    assert shades(tmp_path / "clip.mp4") == pytest.approx(numbers % 220, abs=2)
    clip = probe(tmp_path / "clip.mp4")
    assert clip.start_s == pytest.approx(0, abs=1e-4)
    assert clip.duration_s == pytest.approx(min(end_s, 12.0) - start_s, abs=1e-3)
    expected_s = np.maximum(numbers / 25 - start_s, 0)
    assert frame_times(tmp_path / "clip.mp4") == pytest.approx(expected_s, abs=1e-4)


def test_odd_sides_and_a_shifted_clock(tmp_path):
    film(tmp_path / "film.mp4", seconds=2)
    video = replace(probe(tmp_path / "film.mp4"), start_s=50.0)
    write_clip(video, Span(51.0, 51.2), tmp_path / "clip.mp4")
    assert shades(tmp_path / "clip.mp4") == pytest.approx(np.arange(25, 30), abs=2)
    with pytest.raises(DamagedFile, match="shows nothing"):
        write_clip(video, Span(0.0, 2.0), tmp_path / "none.mp4")


@pytest.mark.parametrize("gyro_t_s", [None, np.arange(0.003, 12, 0.004), np.zeros(0)])
def test_a_slice_reads_back_as_it_was(tmp_path, gyro_t_s):
    imu = an_imu(T_S, gyro_t_s)
    write_imu(imu, tmp_path / "imu.csv")
    back = Imu.load(tmp_path / "imu.csv", placement="left_wrist")
    assert back.acc_t_s.tolist() == imu.acc_t_s.tolist()
    assert back.gyro_t_s.tolist() == imu.gyro_t_s.tolist()
    assert back.acc_mps2 == pytest.approx(imu.acc_mps2, abs=1e-6)
    assert back.gyro_rps == pytest.approx(imu.gyro_rps, abs=1e-6)


def test_moments_become_clips_slices_and_tables(world, tmp_path):
    _, archive = world
    moments = [a_moment(archive, 102.0, 104.0), a_moment(archive, 3.0, 4.5, rank=2, modality="imu")]
    written = export(archive, moments, tmp_path / "out")
    assert not written.failed
    assert len(written.files) == 2
    out = tmp_path / "out"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out"]
    hits = json.loads((out / "hits.json").read_text())["hits"]
    assert shades(out / hits[0]["clip"]) == pytest.approx(np.arange(50, 100), abs=2)
    assert hits[0]["sensors"] == []
    assert hits[1]["clip"] is None
    cut = Imu.load(out / hits[1]["sensors"][0])
    assert (cut.start_s, cut.end_s) == pytest.approx((3.0, 4.49))
    assert "left_wrist" in hits[1]["sensors"][0]
    parquet = pa_parquet.read_table(out / "hits.parquet")
    assert parquet["start_s"].to_pylist() == [102.0, 3.0]
    assert parquet["sensors"].to_pylist() == [[], hits[1]["sensors"]]
    assert parquet["score_global"].to_pylist() == [0.25, 0.25]
    assert parquet["confidence"].to_pylist() == [0.75, 0.75]
    assert parquet["path"].to_pylist() == [["text", "imu", "video"], ["text", "imu", "imu"]]
    csv = pa_csv.read_csv(out / "hits.csv")
    assert csv["recording_id"].to_pylist() == [m.recording_id for m in moments]
    assert csv["path"].to_pylist() == ["text;imu;video", "text;imu;imu"]
    for text in ((out / "hits.json").read_text(), (out / "hits.csv").read_text()):
        assert "passwd" not in text
        assert "take one" not in text


def test_around_and_what_is_left_out(world, tmp_path):
    _, archive = world
    moment = a_moment(archive, 5.0, 6.0, modality="imu")
    written = export(archive, [moment], tmp_path / "a", clips=False, around_s=0.5, formats=["csv"])
    cut = Imu.load(tmp_path / "a" / written.files[0])
    assert (cut.start_s, cut.end_s) == pytest.approx((4.5, 6.49))
    assert {p.name for p in (tmp_path / "a").iterdir() if p.is_file()} == {"hits.csv"}
    assert export(archive, [moment], tmp_path / "b", clips=False, sensors=False).files == ()
    assert export(archive, [], tmp_path / "c").moments == 0
    assert pa_parquet.read_table(tmp_path / "c" / "hits.parquet").num_rows == 0


def test_nothing_is_overwritten_or_left_half_done(world, tmp_path, monkeypatch):
    _, archive = world
    moment = a_moment(archive, 102.0, 103.0)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("keep")
    with pytest.raises(UsageError, match="exists already"):
        export(archive, [moment], tmp_path / "full")
    (tmp_path / "empty").mkdir()
    assert export(archive, [moment], tmp_path / "empty").files

    def interrupted(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(archive, [moment], tmp_path / "cut", progress=interrupted)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "full"]
    with pytest.raises(UsageError, match="no recording"):
        export(archive, [replace(moment, recording_id="ab" * 32)], tmp_path / "x")
    with pytest.raises(UsageError, match="formats"):
        export(archive, [moment], tmp_path / "x", formats=["xml"])


def test_a_recording_that_changed_is_reported(world, tmp_path):
    folder, archive = world
    watch = folder / "take one" / "watch.csv"
    kept = watch.read_bytes()
    watch.write_bytes(kept + b"12.0,0,0,9.8,0,0,0\n")
    try:
        written = export(archive, [a_moment(archive, 3.0, 4.0)], tmp_path / "out")
    finally:
        watch.write_bytes(kept)
    assert written.files == ()
    assert "was changed since it was indexed" in written.failed[0][1]
    assert len(json.loads((tmp_path / "out" / "hits.json").read_text())["hits"]) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"recording_id": "../../etc"},
        {"recording_id": 3},
        {"start_s": 9, "end_s": 3},
        {"start_s": "x"},
        {"modality": "smell"},
        {"score": float("nan")},
        {"scores": 3},
        {"confidence": "high"},
        {"path": 3},
    ],
)
def test_saved_answers_are_checked(tmp_path, change):
    good = {"recording_id": "ab" * 32, "modality": "video", "start_s": 1, "end_s": 2, "score": 0.5, "uri": "x"}
    file = tmp_path / "hits.json"
    file.write_text(json.dumps({"hits": [good]}))
    assert read_hits(file)[0].uri == ""
    file.write_text(json.dumps({"hits": [good | {"path": ["text", "imu"], "confidence": 0.5}]}))
    assert (read_hits(file)[0].path, read_hits(file)[0].confidence) == (("text", "imu"), 0.5)
    file.write_text(json.dumps({"hits": [good, good | change]}))
    with pytest.raises(DamagedFile, match="hit 2"):
        read_hits(file)
    for text in ("", "[]", '{"hits": 3}', "\xff"):
        file.write_text(text, encoding="latin-1")
        with pytest.raises(DamagedFile, match="not an answer"):
            read_hits(file)


def test_a_real_camera_its_pictures_and_its_own_sensor(tmp_path, data_dir, model):
    """Of a GoPro's file: every picture of the clip is the film's own at that time, every sample the camera's."""
    source = data_dir / "gopro" / "max-heromode.mp4"
    if not source.is_file():
        pytest.skip("the GoPro sample is not there")
    assert not index([source], tmp_path / "archive", models=[model]).failed
    archive = open_archive(tmp_path / "archive", models=[model])
    written = export(archive, [a_moment(archive, 3.995, 5.005)], tmp_path / "out")
    clip, sensor = (tmp_path / "out" / file for file in written.files)
    film_s, clip_s = frame_times(source), frame_times(clip)
    shown = np.searchsorted(film_s - film_s[0], clip_s + 3.995 + 1e-4) - 1
    assert len(clip_s) == pytest.approx(30, abs=2)
    ours, theirs = (frames_at(path, t_s, size=64).astype(float) for path, t_s in ((clip, clip_s), (source, film_s)))
    unlike = np.abs(ours[:, None] - theirs[None, shown[0] - 3 : shown[-1] + 4]).mean(axis=(2, 3, 4))
    assert (unlike.argmin(axis=1) + shown[0] - 3).tolist() == shown.tolist()
    full, cut = read(source).imus[0], Imu.load(sensor)
    for ours_s, theirs_s in ((cut.acc_t_s, full.acc_t_s), (cut.gyro_t_s, full.gyro_t_s)):
        assert ours_s == pytest.approx(theirs_s[(theirs_s >= 3.995) & (theirs_s < 5.005)], abs=1e-9)
    assert cut.acc_mps2 == pytest.approx(full.crop(Span(3.995, 5.005)).acc_mps2, abs=1e-6)


def test_the_command(world, tmp_path, capsys):
    folder, archive = world
    hits = tmp_path / "hits.json"
    hits.write_text(json.dumps({"hits": [a_moment(archive, 102.0, 103.0).to_json()]}))
    where = ["--archive", str(folder / "archive")]

    def run(*args):
        with pytest.raises(SystemExit) as exit_:
            main(["export", *map(str, args), *where])
        return exit_.value.code or 0, *capsys.readouterr()

    code, out, _ = run("--hits", hits, "--out", tmp_path / "out", "--json")
    assert code == 0
    said = json.loads(out)
    assert said["moments"] == 1
    assert len(said["files"]) == 1
    assert (tmp_path / "out" / said["files"][0]).is_file()
    code, _, err = run("jumping", "--hits", hits, "--out", tmp_path / "out2")
    assert code == 2
    assert "not both" in err
    assert run("--out", tmp_path / "out2")[0] == 2


def test_a_film_that_is_damaged_further_on_leaves_its_sensors_and_no_part_of_a_clip(tmp_path, model, monkeypatch):
    monkeypatch.setattr("motionseek.search.export.CHUNK_BYTES", 10 * 3 * 64 * 48)
    take = tmp_path / "take"
    take.mkdir()
    film(take / "film.mp4")
    held = bytearray((take / "film.mp4").read_bytes())
    at = held.index(b"mdat")
    size = int.from_bytes(held[at - 4 : at], "big")
    damaged = slice(at + 4 + size // 2, at + size - 12)
    held[damaged] = np.random.default_rng(0).bytes(len(held[damaged]))
    (take / "film.mp4").write_bytes(held)
    write_imu(an_imu(T_S), take / "watch.csv")
    said = {"video": {"path": "film.mp4"}, "imu": [{"path": "watch.csv", "placement": "left_wrist"}]}
    (take / "recording.json").write_text(json.dumps(said))
    assert not index([take], tmp_path / "archive", models=[model]).failed
    archive = open_archive(tmp_path / "archive", models=[model])
    written = export(archive, [a_moment(archive, 2.0, 9.0)], tmp_path / "out")
    ((rank, reason),) = written.failed
    assert rank == 1
    assert "damaged" in reason
    assert not list((tmp_path / "out").rglob("clip.mp4"))
    (sensor,) = written.files
    assert Imu.load(tmp_path / "out" / sensor).start_s == 2.0


def test_a_folder_that_cannot_be_made_is_named(world, tmp_path):
    _, archive = world
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"file/out: cannot be made"):
        export(archive, [a_moment(archive, 102.0, 104.0)], tmp_path / "file" / "out")


def test_recordings_are_held_no_longer_than_their_last_moment(tmp_path, model):
    for i in range(4):
        write_imu(an_imu(T_S + i), tmp_path / f"{i}.csv")
    assert not index([tmp_path / f"{i}.csv" for i in range(4)], tmp_path / "archive", models=[model]).failed
    archive = open_archive(tmp_path / "archive", models=[model])
    way = (0.5, {"global": 0.25}, "imu")
    moments = [
        Moment(1 + i, r, "", "imu", 5.0, 6.0, *way) for i, r in enumerate([*archive.sources, *archive.sources][:6])
    ]
    held = []

    def count(done, total):
        held.append(
            sum(isinstance(thing, Recording) and thing.uri.startswith(str(tmp_path)) for thing in gc.get_objects())
        )

    assert len(export(archive, moments, tmp_path / "out", progress=count).files) == 6
    # Two come again, two do not.
    assert held == [1, 2, 3, 3, 2, 1]
