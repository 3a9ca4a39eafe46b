"""What cannot be asked, or has no answer: each its own clear error or an honest empty answer, in Python and on the
command line (exit code 2, one line on stderr, nothing on stdout)."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from stand_ins import a_pose, a_recording, an_imu, random_model
from test_export import film

import motionseek as ms
from motionseek.cli import main
from motionseek.demo.recordings import write_imu, write_pose
from motionseek.indexer.store import Store


@pytest.fixture(scope="module")
def archive(archive_dir, model):
    return ms.open(archive_dir, models=[model])


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    root = tmp_path_factory.mktemp("queries")
    write_imu(root / "watch.csv", an_imu(3, np.arange(0, 8, 0.02)))
    write_imu(root / "three.csv", an_imu(3, np.arange(3) * 0.02))
    write_imu(root / "one.csv", an_imu(3, np.arange(1) * 0.02))
    film(root / "film.mp4", seconds=2)
    home = root / "seen"
    home.mkdir()
    write_pose(home / "pose.json", a_pose(3, np.arange(0, 8, 1 / 30)))
    (home / "recording.json").write_text(json.dumps({"pose": [{"path": "pose.json"}]}))
    return root


def on_the_command_line(archive_dir, model, monkeypatch, capsys, *args):
    """Exit code, what it printed, and what it said on stderr."""
    monkeypatch.setattr("motionseek.search.loaded.load", lambda name: model)
    with pytest.raises(SystemExit) as exit_:
        main(["search", *map(str, args), "--archive", str(archive_dir)])
    out, err = capsys.readouterr()
    return exit_.value.code or 0, out, err


SPANS = {
    "after a sensor's end": ("--imu", "watch.csv@100-101", "100-101 s lies outside .*watch.csv@100-101.* 0.00-7.98 s"),
    "before a sensor's start": ("--imu", "watch.csv@-5--1", "-5--1 s lies outside"),
    "that ends before it starts": ("--imu", "watch.csv@5-2", "the span 5-2 must start before it ends"),
    "after a film's end": ("--video", "film.mp4@100-101", "no model of this archive understands a video query"),
    "after a body's end": ("--pose", "seen@100-101", "100-101 s lies outside .* 0.00-7.97 s"),
    "in a file that is not there": ("--imu", "gone.csv@1-2", "gone.csv: there is no such file"),
}


@pytest.mark.parametrize("what", SPANS)
def test_a_span_outside_the_file(archive_dir, model, files, what, monkeypatch, capsys):
    option, file, says = SPANS[what]
    more = ["-p", "right_wrist"] if option == "--imu" else []
    code, out, err = on_the_command_line(archive_dir, model, monkeypatch, capsys, option, files / file, *more)
    assert (code, out) == (2, "")
    assert pytest.RaisesExc(ms.QueryError, match=says).matches(ms.QueryError(err))


def test_a_span_outside_a_film(tmp_path, files):
    from motionseek.encoders.base import Embeddings
    from motionseek.search.encode import video_probes

    class Looks:
        space, window_s, rate_hz = "clip", 5.0, 2.0

        def encode(self, frames):
            return Embeddings(global_=np.ones((len(frames), 4), np.float32))

    query = ms.Query.from_file(f"{files / 'film.mp4'}@1-9", modality="video")
    assert len(video_probes(query, Looks()).vector) == 1
    outside = ms.Query.from_file(f"{files / 'film.mp4'}@100-101", modality="video")
    with pytest.raises(ms.QueryError, match=r"film.mp4@100-101 lies outside the video, which spans 0.00-1.96 s"):
        video_probes(outside, Looks())


def test_a_span_that_reaches_over_the_end_is_cut(archive, takes):
    whole = takes[3].imus[0]
    found = archive.search(ms.Query.of(whole).within(ms.Span(10.0, 99.0)), target="imu", k=1)
    assert found[0].recording_id == takes[3].recording_id
    assert found[0].end_s <= whole.end_s + 0.01


def test_a_span_outside_a_recording_of_the_archive(archive, takes):
    with pytest.raises(ms.QueryError, match="has no vector in the space 'clip': the span lies outside the recording"):
        archive.search(ms.Query.of_moment(f"{takes[3].recording_id}@900-901"), target="imu")
    with pytest.raises(ms.QueryError, match="the archive has no recording 'ffff'"):
        archive.search(ms.Query.of_moment("ffff@1-2"), target="imu")


@pytest.mark.parametrize("option", [["jumping"], ["--imu", "watch.csv", "-p", "right_wrist"], ["--pose", "seen"]])
def test_an_encoder_that_did_not_build_the_index(archive_dir, files, option, monkeypatch, capsys):
    asked = [files / o if (files / o).exists() else o for o in option]
    code, out, err = on_the_command_line(archive_dir, random_model(1), monkeypatch, capsys, *asked, "-t", "imu")
    assert (code, out) == (2, "")
    assert "was built by the model 'random 0'" in err
    assert "or index the sources into a new archive" in err
    with pytest.raises(ms.StaleIndex):
        ms.open(archive_dir, models=[random_model(1)]).search("jumping", target="imu")


def test_a_sensor_of_unknown_placement(archive, archive_dir, model, files, monkeypatch, capsys):
    unknown = replace(an_imu(3, np.arange(0, 8, 0.02)), placement="unknown")
    with pytest.raises(ms.QueryError, match="--placement right_wrist"):
        archive.search(unknown, target="pose")
    code, out, err = on_the_command_line(archive_dir, model, monkeypatch, capsys, "--imu", files / "watch.csv")
    assert (code, out) == (2, "")
    assert "where the sensor is worn is not known" in err
    code, out, err = on_the_command_line(
        archive_dir, model, monkeypatch, capsys, "--imu", files / "watch.csv", "-p", "tail"
    )
    assert (code, out) == (2, "")
    assert "'tail'" in err
    with_words = ms.Query.of(unknown) + ms.Query.of("jumping")
    assert len(archive.search(with_words, target="imu", k=3)) == 3


@pytest.mark.parametrize("option", [["jumping"], ["--imu", "watch.csv"], ["--video", "film.mp4"], ["--pose", "seen"]])
def test_an_empty_archive(tmp_path, model, files, option, monkeypatch, capsys):
    Store.open(tmp_path / "empty", create=True)
    asked = [files / o if (files / o).exists() else o for o in option]
    code, out, _ = on_the_command_line(tmp_path / "empty", model, monkeypatch, capsys, *asked, "--json")
    assert (code, json.loads(out)["hits"], json.loads(out)["more"]) == (0, [], False)
    code, out, _ = on_the_command_line(tmp_path / "empty", model, monkeypatch, capsys, *asked)
    assert (code, out) == (0, "nothing found\n")


def test_an_archive_of_failures_alone_is_empty(tmp_path, model):
    (tmp_path / "junk.csv").write_text("t_s,ax_mps2\n")
    assert ms.index([tmp_path / "junk.csv"], tmp_path / "a", models=[model]).failed
    assert len(ms.open(tmp_path / "a", models=[model]).search("jumping")) == 0


@pytest.mark.parametrize("rerank", ["none", "local", "token"])
def test_k_larger_than_the_archive(archive, takes, rerank):
    query = takes[1].imus[0].crop(ms.Span(3.0, 6.0))
    found = archive.search(query, target="imu", k=10_000, rerank=rerank)
    assert {m.recording_id for m in found} == {t.recording_id for t in takes if t.imus}
    assert not found.more
    beyond = archive.search(query, target="imu", k=10, offset=1000, rerank=rerank)
    assert (len(beyond), beyond.more) == (0, False)


def test_k_larger_than_the_archive_in_words(archive, takes):
    found = archive.search("jumping", target="imu", k=10_000, group=False)
    assert {m.recording_id for m in found} == {t.recording_id for t in takes if t.imus}
    assert not found.more
    for k in (0, -1):
        with pytest.raises(ms.QueryError, match=f"k must be at least 1, not {k}"):
            archive.search("jumping", k=k)


@pytest.mark.parametrize(("file", "says"), [("three.csv", "three.csv is 0.04 s long"), ("one.csv", "one.csv")])
@pytest.mark.parametrize("target", ["imu", "pose", "video", "text"])
def test_an_imu_of_three_samples(archive_dir, model, files, file, says, target, monkeypatch, capsys):
    asked = ("--imu", files / file, "-p", "right_wrist", "-t", target)
    code, out, err = on_the_command_line(archive_dir, model, monkeypatch, capsys, *asked)
    assert (code, out) == (2, "")
    assert says in err
    assert len(err.strip().splitlines()) == 1


def test_three_samples_beside_words(archive):
    """In a sum a sensor is a window's vector: too little of a window is there to be one."""
    three = an_imu(3, np.arange(3) * 0.02)
    with pytest.raises(ms.QueryError, match=r"at least 0\.4 s"):
        archive.search(ms.Query.of(three) + ms.Query.of("jumping"), target="imu")


def test_three_samples_are_indexed_as_what_they_are(tmp_path, model):
    """A recording as short as that is no error, and never in the way of others."""
    short = replace(a_recording(21, 12.0), imus=(an_imu(21, np.arange(3) * 0.02),), video=None, poses=())
    report = ms.index([short, a_recording(22, 12.0)], tmp_path / "a", models=[model])
    assert not report.failed
    archive = ms.open(tmp_path / "a", models=[model])
    found = archive.search(a_recording(22, 12.0).imus[0].crop(ms.Span(3.0, 6.0)), target="imu")
    assert found[0].recording_id == a_recording(22, 12.0).recording_id
