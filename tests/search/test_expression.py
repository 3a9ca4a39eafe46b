"""Queries in one line, and the same ones put together in Python or by options."""

from __future__ import annotations

import json

import numpy as np
import pytest
from stand_ins import an_imu

from motionseek.cli import main
from motionseek.demo.recordings import write_imu
from motionseek.errors import QueryError
from motionseek.search.expression import is_expression
from motionseek.search.query import Query
from motionseek.types import Span


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("watch.csv", "knee-2.csv", "my watch.csv"):
        write_imu(tmp_path / name, an_imu(1, np.arange(0, 20, 0.02)))
    for name in ("clip.mp4", "a+b.mp4"):
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("written", "terms"),
    [
        ('"jumping"', [(1, "text", "jumping")]),
        (
            '"jumping" + "walking" - "cycling"',
            [(1, "text", "jumping"), (1, "text", "walking"), (-1, "text", "cycling")],
        ),
        ('-0.5 * "a b" + 2*"c"', [(-0.5, "text", "a b"), (2, "text", "c")]),
        ('"- + 3 * x"', [(1, "text", "- + 3 * x")]),
        ("left_wrist:watch.csv@3-5", [(1, "imu", Span(3, 5))]),
        ("left_wrist:knee-2.csv - \"x\"", [(1, "imu", None), (-1, "text", "x")]),
        ("imu:'my watch.csv'@3-5.5 + \"x\"", [(1, "imu", Span(3, 5.5)), (1, "text", "x")]),
        (
            '"jumping" + video:clip.mp4@12-15 - "cycling"',
            [(1, "text", "jumping"), (1, "video", Span(12, 15)), (-1, "text", "cycling")],
        ),
        ('video:a+b.mp4 + "x"', [(1, "video", None), (1, "text", "x")]),
        ('3f2a9c41@12-15 - 2 * "x"', [(1, "moment", Span(12, 15)), (-2, "text", "x")]),
    ],
)  # fmt: skip
def test_what_a_line_says(folder, written, terms):
    query = Query.parse(written)
    parts = list(query.terms) or [(1.0, query)]
    assert [(weight, term.modality, term.text or term.span) for weight, term in parts] == terms


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ('"a" "b"', "is missing before"),
        ('"a" +', "a term is missing"),
        ('+ + "a"', "a term is missing"),
        ("", "a term is missing"),
        ('"a', "no term"),
        ('0 * "a"', "weight"),
        ('"a" - "a" & "b"', "only sensors are worn together"),
        ('nowhere.csv + "a"', "no such file"),
        ("left_wrist:watch.csv@3-5 & left_knee:knee-2.csv@3-6", "same stretch"),
        ("left_wrist:watch.csv@30-35", "lies outside"),
    ],
)
def test_what_a_line_cannot_say(folder, written, says):
    with pytest.raises(QueryError, match=says):
        Query.parse(written)


def test_sensors_worn_together(folder):
    query = Query.parse("left_wrist:watch.csv@3-5 & right_pocket:knee-2.csv@3-5")
    assert [imu.part for imu in query.imus] == ["left_wrist", "right_knee"]
    assert query.meant == (3, 5)
    assert not is_expression("he walks - then runs + jumps")


def test_the_options_and_the_line_are_one(folder, archive_dir, model, takes, monkeypatch, capsys):
    monkeypatch.setattr("motionseek.search.loaded.load", lambda name: model)
    write_imu(folder / "wrist.csv", takes[4].imus[0])
    write_imu(folder / "knee.csv", takes[4].imus[1])

    def hits(*args):
        with pytest.raises(SystemExit) as exit_:
            main(["search", *args, "-t", "imu", "--archive", str(archive_dir), "--json"])
        said = json.loads(capsys.readouterr().out)
        assert exit_.value.code in (0, None), said
        return [(h["recording_id"], h["start_s"], h["score"]) for h in said["hits"]]

    together = hits("--imu", "wrist.csv@2-8", "-p", "right_wrist", "--imu", "knee.csv@2-8", "-p", "left_knee")
    assert together[0][0] == takes[4].recording_id
    assert together[0][2] > 0.98
    line = 'right_wrist:wrist.csv@2-8 & left_knee:knee.csv@2-8 + "x"'
    assert Query.parse(line).terms[0][1].said == "wrist.csv@2-8 & knee.csv@2-8"
    assert hits('"jump" - "walk"') == hits("jump", "--not", "walk")
    assert hits("--imu", "wrist.csv", "-p", "right_wrist", "--part", "left_knee")
    for wrong in (["--imu", "wrist.csv", "-p", "left_wrist", "-p", "left_knee"], ["-p", "left_wrist", "x"]):
        with pytest.raises(SystemExit) as exit_:
            main(["search", *wrong, "--archive", str(archive_dir)])
        assert exit_.value.code == 2
        assert "each --imu" in capsys.readouterr().err
