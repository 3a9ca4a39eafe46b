"""What can be asked, and how it is written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from swings import body, forearm

from motionseek.errors import QueryError
from motionseek.search.query import Query, split_span, worn_at
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
