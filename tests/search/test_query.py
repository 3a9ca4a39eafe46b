"""What can be asked, and how it is written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from swings import body, forearm
from test_export import film

from motionseek.demo.recordings import write_pose
from motionseek.encoders.base import Embeddings
from motionseek.errors import QueryError, UsageError
from motionseek.search.encode import video_probes
from motionseek.search.locate import all_sensors
from motionseek.search.query import Query, is_there, poses_of, split_span, worn_at
from motionseek.types import Span


@pytest.mark.parametrize(
    ("written", "path", "span"),
    [
        ("watch.csv", "watch.csv", None),
        ("watch.csv@3-7.5", "watch.csv", Span(3, 7.5)),
        ("a@b/watch.csv@0.25-1", "a@b/watch.csv", Span(0.25, 1)),
        ("watch.csv@-2-1", "watch.csv", Span(-2, 1)),
        ("me@home.mp4", "me@home.mp4", None),
        ("clip@12", "clip@12", None),
        ("1-2.csv", "1-2.csv", None),
    ],
)
def test_a_file_may_name_its_span(written, path, span):
    assert split_span(written) == (Path(path), span)


def test_a_file_that_is_named_like_a_span_is_a_file(tmp_path):
    odd = tmp_path / "take@1-2"
    odd.write_text("")
    assert split_span(odd) == (odd, None)


def test_empty_spans_are_refused():
    for written in ("f.csv@5-5", "f.csv@6-5"):
        with pytest.raises(QueryError, match="start before"):
            split_span(written)


def test_kinds_of_queries():
    t_s = np.arange(0, 5, 0.02)
    assert Query.of(" jump ").text == "jump"
    assert Query.of(forearm(t_s)).modality == "imu"
    both = Query.of([forearm(t_s), forearm(t_s + 1, "left_knee")])
    assert len(both.imus) == 2
    assert both.meant == (0, t_s[-1] + 1)
    assert Query.of(body(t_s)).modality == "pose"
    assert Query.of(np.ones(4)).vector.dtype == np.float32
    assert Query.of(both) is both
    for bad in (None, 3, [], ["a"], [forearm(t_s), "a"], np.zeros(4), np.ones((2, 2)), np.array([1, np.nan])):
        with pytest.raises(QueryError):
            Query.of(bad)


def test_a_span_lies_in_the_stream():
    query = Query.of(forearm(np.arange(10, 20, 0.02)))
    assert query.within(Span(12, 14)).meant == (12, 14)
    assert query.within(Span(5, 14)).meant == (10, 14)
    with pytest.raises(QueryError, match="lies outside"):
        query.within(Span(0, 10))
    with pytest.raises(QueryError, match="no time"):
        Query.of("jump").within(Span(0, 1))


def test_placements():
    imu = forearm(np.arange(0, 5, 0.02), "unknown")
    assert Query.of(imu, placement="left_pocket").imus[0].part == "left_knee"
    with pytest.raises(QueryError, match="not known"):
        Query.of(imu, placement="tail")
    with pytest.raises(QueryError, match="one placement"):
        worn_at([imu, imu], "left_wrist")


def test_one_recording_of_many_in_a_file_is_named_by_its_part(tmp_path):
    watch = forearm(np.arange(0, 5, 0.02))
    table = np.c_[watch.acc_t_s, watch.acc_mps2, watch.gyro_rps]
    header = "t_s,ax_mps2,ay_mps2,az_mps2,gx_rps,gy_rps,gz_rps"
    np.savetxt(tmp_path / "walk.csv", table, delimiter=",", header=header, comments="")
    (tmp_path / "recordings.json").write_text('{"imu": {"path": "{trial}.csv", "placement": "right_wrist"}}')
    query = Query.from_file(f"{tmp_path}/recordings.json#walk@1-3")
    assert query.imus[0].placement == "right_wrist"
    assert query.meant == (1, 3)
    with pytest.raises(QueryError, match="no such file"):
        Query.from_file(f"{tmp_path}/nowhere.json#walk")
    # What holds it may be a folder, and its own path have the sign.
    (tmp_path / "C#").mkdir()
    assert is_there(tmp_path / "C#" / "recordings.json#walk") is False
    (tmp_path / "C#" / "recordings.json").touch()
    assert is_there(tmp_path / "C#" / "recordings.json#walk")
    assert is_there(Path(f"{tmp_path}#cam01"))
    assert not is_there(Path("#cam01"))


def test_the_sensors_of_one_recording_of_many_may_be_of_several_wearers(tmp_path):
    for name in ("walk_ann", "walk_bob"):
        watch = forearm(np.arange(0, 5, 0.02))
        table = np.c_[watch.acc_t_s, watch.acc_mps2, watch.gyro_rps]
        header = "t_s,ax_mps2,ay_mps2,az_mps2,gx_rps,gy_rps,gz_rps"
        np.savetxt(tmp_path / f"{name}.csv", table, delimiter=",", header=header, comments="")
    worn = [{"path": f"{{trial}}_{who}.csv", "placement": "right_wrist", "person": who} for who in ("ann", "bob")]
    (tmp_path / "recordings.json").write_text(json.dumps({"imu": worn}))
    with pytest.raises(QueryError, match="several people"):
        Query.from_file(f"{tmp_path}/recordings.json#walk")
    assert [imu.person for imu in all_sensors(f"{tmp_path}/recordings.json#walk")] == ["ann", "bob"]


def test_a_path_that_cannot_be_is_no_file(tmp_path):
    for written in ("a" * 300, f"{'a' * 300}@1-2", str(tmp_path / "watch.csv" / "b")):
        with pytest.raises(QueryError, match="no such file"):
            Query.from_file(written)
        with pytest.raises(QueryError, match="no such file"):
            Query.parse(f'"x" + {written}')


def a_scene(folder, *, video_start_s=None):
    """Two people, seen one after the other, each with a sensor; and a film, if it is said when it starts."""
    folder.mkdir()
    seen = {"ann": np.arange(0, 8, 1 / 30), "bob": np.arange(20, 28, 1 / 30)}
    held = {"pose": [], "imu": []}
    for name, t_s in seen.items():
        write_pose(folder / f"{name}.json", body(t_s))
        held["pose"].append({"path": f"{name}.json", "person": name})
        watch = forearm(t_s)
        table = np.c_[watch.acc_t_s, watch.acc_mps2, watch.gyro_rps]
        header = "t_s,ax_mps2,ay_mps2,az_mps2,gx_rps,gy_rps,gz_rps"
        np.savetxt(folder / f"{name}.csv", table, delimiter=",", header=header, comments="")
        held["imu"].append({"path": f"{name}.csv", "placement": "left_wrist", "person": name})
    if video_start_s is not None:
        film(folder / "film.mp4", seconds=4)
        held["video"] = {"path": "film.mp4", "start_s": video_start_s}
    (folder / "recording.json").write_text(json.dumps(held))
    return folder


def test_who_is_not_seen_in_a_stretch_is_left_out_of_it(tmp_path):
    scene = a_scene(tmp_path / "scene")
    assert [track.person for track in poses_of(scene)] == ["ann", "bob"]
    (bob,) = poses_of(f"{scene}@21-25")
    assert (bob.person, bob.start_s, bob.end_s) == ("bob", pytest.approx(21), pytest.approx(25, abs=0.05))
    with pytest.raises(UsageError, match="10-12 s lies outside"):
        poses_of(f"{scene}@10-12")


def test_a_film_is_asked_on_the_clock_of_its_recording(tmp_path):
    class Looks:
        """Its vector is the picture itself."""

        space, window_s, rate_hz, frame_size = "clip", 5.0, 10.0, None

        def encode(self, frames):
            return Embeddings(global_=frames.reshape(len(frames), -1).astype(np.float32))

    scene = a_scene(tmp_path / "scene", video_start_s=100.0)
    by_file = Query.from_file(f"{scene / 'film.mp4'}@0.5-1.5", modality="video")
    by_recording = Query.from_file(f"{scene}@100.5-101.5", modality="video")
    asked, expected = video_probes(by_recording, Looks()), video_probes(by_file, Looks())
    assert np.array_equal(asked.vector, expected.vector)
    assert asked.start_s == pytest.approx(expected.start_s + 100)
    with pytest.raises(QueryError, match=r"spans 100.00-103.96 s"):
        video_probes(Query.from_file(f"{scene}@0.5-1.5", modality="video"), Looks())
