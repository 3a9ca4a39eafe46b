"""Segments against trying every path, and answers against what the segments plainly say."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

from motionseek.cli import main
from motionseek.errors import QueryError, UsageError
from motionseek.search.archive import open as open_archive
from motionseek.search.ask import ask, stem
from motionseek.search.segments import NOTHING, Segment, likely_path, segmented
from motionseek.search.timeline import CLASSES, Timeline, build, sentences_of

DAY = (
    Segment(0, 10, "walking", 0.5),
    Segment(10, 14, "running", 0.5),
    Segment(14, 20, NOTHING, 0.1),
    Segment(20, 26, "walking", 0.5),
    Segment(26, 27.5, "climbing stairs", 0.5),
    Segment(27.5, 40, "sitting", 0.5),
)
NAMES = ("walking", "running", "climbing stairs", "climbing rope", "sitting", "jumping")


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("switch", [0.0, 0.7, 2.0])
def test_the_path_is_the_best_of_all(seed, switch):
    score = np.random.default_rng(seed).normal(size=(6, 3))

    def value(path):
        return sum(score[n, s] for n, s in enumerate(path)) - switch * sum(a != b for a, b in itertools.pairwise(path))

    best = max(value(path) for path in itertools.product(range(3), repeat=6))
    assert value(likely_path(score, switch)) == pytest.approx(best)


def windows(truth, rng, noise=0.0):
    """Windows of 5 s, one a second, that look like (label, seconds) in turn: cosine 0.5 for the share they show."""
    names = ("walking", "jumping")
    edges = np.cumsum([0, *(seconds for _, seconds in truth)])
    start_s = np.arange(0, edges[-1] - 5 + 1e-9, 1.0)
    cosine = np.zeros((len(start_s), 2))
    for (label, _), a, b in zip(truth, edges, edges[1:], strict=False):
        if label in names:
            share = np.clip(np.minimum(start_s + 5, b) - np.maximum(start_s, a), 0, None) / 5
            cosine[:, names.index(label)] += 0.5 * share
    return start_s, start_s + 5, cosine + rng.normal(scale=noise, size=cosine.shape), names


@pytest.mark.parametrize("noise", [0.0, 0.08])
def test_segments_lie_where_the_activities_are(noise):
    truth = [("walking", 20), ("jumping", 12), (None, 15), ("walking", 18)]
    start_s, end_s, cosine, names = windows(truth, np.random.default_rng(0), noise)
    found = segmented(start_s, end_s, cosine, names, level=0.25, temperature=0.05, switch=3.0)
    assert [s.label for s in found] == ["walking", "jumping", NOTHING, "walking"]
    assert [s.start_s for s in found] == pytest.approx([0, 20, 32, 47], abs=2.5 if noise else 1.0)
    assert found[-1].end_s == pytest.approx(end_s[-1])
    assert all(a.end_s == b.start_s for a, b in itertools.pairwise(found))


def test_one_odd_window_changes_nothing_and_a_gap_divides():
    start_s, end_s, cosine, names = windows([("walking", 30)], np.random.default_rng(0))
    cosine[10] = [0.2, 0.3]
    one = segmented(start_s, end_s, cosine, names, level=0.25, temperature=0.05, switch=3.0)
    assert [(s.label, s.start_s, s.end_s) for s in one] == [("walking", 0.0, 30.0)]
    kept = np.r_[0:5, 15:26]
    two = segmented(start_s[kept], end_s[kept], cosine[kept], names, level=0.25, temperature=0.05, switch=3.0)
    assert [(s.start_s, s.end_s) for s in two] == [(0, 9), (15, 30)]
    assert segmented(start_s[:0], end_s[:0], cosine[:0], names, level=0, temperature=1, switch=1) == ()


@pytest.mark.parametrize(
    ("question", "value", "starts"),
    [
        ("How long did I walk?", 16.0, [0, 20]),
        ("for how long was he running", 4.0, [10]),
        ("how much time did I spend sitting?", 12.5, [27.5]),
        ("How often did I walk?", 2, [0, 20]),
        ("how many times did she jump?", 0, []),
        ("When did I run?", None, [10]),
        ("when did I first walk?", None, [0]),
        ("when did I walk last?", None, [20]),
        ("when was I walking for the last time?", None, [20]),
        ("when did I sit?", None, [27.5]),
        ("Did I sit?", True, [27.5]),
        ("did she ever jump?", False, []),
        ("how long did I walk before running?", 10.0, [0]),
        ("how long did I walk after I ran?", 6.0, [20]),
        ("how long did I run after sitting?", 0.0, []),
        ("how long did I walk before jumping?", 0.0, []),
        ("how long did I climb stairs?", 1.5, [26]),
        ("what did I do first?", "walking", [0]),
        ("what did I do last?", "sitting", [27.5]),
        ("what did I do before running?", "walking", [0]),
        ("what happened after running?", "walking", [20]),
        ("what did I do before walking?", None, []),
        ("how long did I do nothing of these?", 6.0, [14]),
    ],
)
def test_answers(question, value, starts):
    answer = ask(DAY, NAMES, question)
    assert answer.value == pytest.approx(value) if isinstance(value, float) else answer.value == value
    assert [s.start_s for s in answer.evidence] == starts
    assert answer.to_json()["evidence"] == [s.to_json() for s in answer.evidence]


@pytest.mark.parametrize(
    ("question", "why"),
    [
        ("how long did I walk with Bob?", "bob"),
        ("how long did I swim?", "swim"),
        ("why did I walk?", "not understood"),
        ("how long did I walk on Tuesday?", "tuesday"),
        ("when did I first walk last?", "not understood"),
        ("when did I climb?", "climbing stairs or climbing rope"),
        ("how long did I walk and run?", "or"),
        ("what did I do?", "not understood"),
        ("how long did I walk before running before sitting?", "not understood"),
        ("how long did I not walk?", "not"),
        ("", "not understood"),
    ],
)
def test_what_is_not_understood_is_refused_with_what_is(question, why):
    with pytest.raises(QueryError, match=why) as error:
        ask(DAY, NAMES, question)
    assert "walking" in str(error.value) or "climbing" in str(error.value)


def test_stems():
    for words in ("walk walks walked walking", "run ran runs running", "jog jogged jogging", "sit sat sitting"):
        assert len({stem(word) for word in words.split()}) == 1, words
    for words in ("dance dances danced dancing", "kick kicking kicked", "fall fell falling fallen", "lie lying lay"):
        assert len({stem(word) for word in words.split()}) == 1, words


def test_every_default_class_can_be_asked_for():
    for name in CLASSES:
        assert ask([Segment(0, 1, name, 1)], tuple(CLASSES), f"how long was I {name}?").value == 1.0


def test_a_timeline_of_an_archive(archive_dir, model, takes, tmp_path, monkeypatch, capsys):
    archive = open_archive(archive_dir, models=[model])
    take = takes[3]
    table, vectors = archive.store.vectors("clip", "global")
    rows = [
        i for i, r in enumerate(table.to_pylist()) if (r["recording_id"], r["modality"]) == (take.recording_id, "pose")
    ]
    by_hand = vectors[rows] @ model.encode_text(["a person walks", "someone spins"]).global_.T
    found = archive.timeline(take.recording_id[:10], {"walking": "a person walks", "spin": "someone spins"})
    assert found.scores == pytest.approx(by_hand, abs=1e-5)
    assert found.through == "pose"
    assert found.segments[0].start_s == pytest.approx(0)
    assert len(archive.timeline(take.recording_id, ["walking"], level=-2).segments) == 1
    nothing = archive.timeline(take.recording_id, ["walking"], level=2)
    assert [s.label for s in nothing.segments] == [NOTHING]
    assert NOTHING in nothing.log()
    for wrong in ({"through": "video"}, {"person": "nobody"}):
        with pytest.raises(QueryError, match="no window"):
            archive.timeline(take.recording_id, **wrong)
    monkeypatch.setattr("motionseek.search.loaded.load", lambda name: model)

    def run(*args):
        with pytest.raises(SystemExit) as exit_:
            main([*map(str, args), "--archive", str(archive_dir)])
        return exit_.value.code or 0, *capsys.readouterr()

    png = tmp_path / "log.png"
    code, out, _ = run("log", take.recording_id[:10], "--class", "walking", "--level", -2, "--png", png, "--json")
    assert code == 0
    assert [s["label"] for s in json.loads(out)["segments"]] == ["walking"]
    assert png.read_bytes().startswith(b"\x89PNG")
    code, out, _ = run("ask", take.recording_id[:10], "how often did I walk?", "--class", "walking", "--level", -2)
    assert code == 0
    assert "once" in out
    assert run("ask", take.recording_id[:10], "why?")[0] == 2


def test_bad_input(tmp_path):
    for classes in ([], [" "], "walking", [NOTHING]):
        with pytest.raises(QueryError):
            sentences_of(classes)
    assert sentences_of(["walking", "spin"]) == {"walking": CLASSES["walking"], "spin": "spin"}
    with pytest.raises(UsageError, match="order"):
        Timeline("ab", ("a",), DAY[::-1], np.zeros(0), np.zeros((0, 1), np.float32), "imu", "")
    with pytest.raises(QueryError, match="switch"):
        build("ab", "imu", "", ["a"], (np.zeros(1), np.ones(1)), np.zeros((1, 1), np.float32), switch=-1)
    one = build("ab", "imu", "", ["a"], (np.zeros(1), np.ones(1)), np.zeros((1, 1), np.float32))
    with pytest.raises(UsageError, match="cannot be written"):
        one.draw(tmp_path / "a" / "b.png")
