"""Segments against trying every path, and answers against what the segments plainly say."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from swings import forearm

from motionseek.cli import main
from motionseek.errors import QueryError, UsageError
from motionseek.search.archive import open as open_archive
from motionseek.search.ask import ask, stem
from motionseek.search.instants import INSTANT_S, SMOOTH, instants
from motionseek.search.segments import NOTHING, Segment, clock, likely_path, segmented
from motionseek.search.timeline import CLASSES, FEW, Timeline, build, sentences_of

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


@pytest.mark.parametrize("lasts_s", [3.0, 4.0, 9.0])
def test_instants_show_what_is_shorter_than_a_window(lasts_s):
    """The windows' scores smear an event over its length and theirs; solved for instants, it is as long as it was."""
    start_s, end_s, cosine, _ = windows(
        [("walking", 20), ("jumping", lasts_s), ("walking", 20)], np.random.default_rng(0)
    )
    begins_s, x = instants(start_s, end_s, cosine)
    jumping = begins_s[x[:, 1] > 0.25]
    assert (jumping[0], jumping[-1] + INSTANT_S) == pytest.approx((20, 20 + lasts_s), abs=0.51)
    assert (np.diff(jumping) == INSTANT_S).all()
    assert x[begins_s < 15, 0] == pytest.approx(0.5, abs=0.05)


def test_instants_solve_their_equations():
    """Against dense least squares, stretch by stretch, with windows of uneven length and stride."""
    rng = np.random.default_rng(3)
    start_s = np.concatenate([np.cumsum(rng.uniform(0.4, 1.3, 25)), 60 + np.cumsum(rng.uniform(0.4, 1.3, 12))])
    end_s = start_s + rng.uniform(3, 5, len(start_s))
    score = rng.normal(size=(len(start_s), 3))
    begins_s, x = instants(start_s, end_s, score)
    at = 0
    for rows in (slice(0, 25), slice(25, None)):
        first_s, last_s = start_s[rows][0], end_s[rows].max()
        edges = first_s + INSTANT_S * np.arange(np.ceil((last_s - first_s) / INSTANT_S - 1e-6) + 1)
        shared = np.minimum(end_s[rows, None], edges[1:]) - np.maximum(start_s[rows, None], edges[:-1])
        a = np.clip(shared, 0, None) / (end_s - start_s)[rows, None]
        d = np.sqrt(SMOOTH) * np.diff(np.eye(len(edges) - 1), axis=0)
        dense = np.linalg.lstsq(np.vstack([a, d]), np.vstack([score[rows], np.zeros((len(d), 3))]), rcond=None)[0]
        assert begins_s[at : at + len(dense)] == pytest.approx(edges[:-1])
        assert x[at : at + len(dense)] == pytest.approx(dense, abs=1e-4)
        at += len(dense)
    assert at == len(begins_s)
    assert len(instants(np.zeros(0), np.zeros(0), np.zeros((0, 2)))[0]) == 0
    assert instants(np.zeros(1), np.full(1, 0.3), np.ones((1, 2)))[1].tolist() == [[1, 1]]


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


def test_activities_may_be_named_in_any_script():
    day = (Segment(0, 3, "跳", 0.5), Segment(3, 8, "läuft schnell", 0.5))
    names = ("跳", "走", "läuft schnell")
    assert ask(day, names, "how long did I 跳?").value == 3
    assert ask(day, names, "how long did she 走?").value == 0
    assert ask(day, names, "how long, läuft?").value == 5
    for question in ("how long did I?", "how long did I 飛?"):
        with pytest.raises(QueryError, match="not understood"):
            ask(day, names, question)


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


def test_clock():
    assert [clock(s) for s in (0, 59.97, 72.34, 3725, -0.02, -0.1, -61)] == [
        *("00:00.0", "01:00.0", "01:12.3", "62:05.0", "00:00.0", "-00:00.1", "-01:01.0")
    ]


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
    about = table.to_pylist()
    bodies = np.array([r["modality"] == "pose" for r in about])
    mine = bodies & np.array([r["recording_id"] == take.recording_id for r in about])
    walks = model.encode_text(["a person walks", "walking"]).global_.mean(0)
    prototypes = np.stack([walks / np.linalg.norm(walks), model.encode_text(["someone spins"]).global_[0]])
    usual = (vectors[bodies & ~mine] @ prototypes.T).sum(0) / ((bodies & ~mine).sum() + FEW)
    spans_s = (np.array([r[name] for r, m in zip(about, mine, strict=True) if m]) for name in ("start_s", "end_s"))
    _, by_hand = instants(*spans_s, vectors[mine] @ prototypes.T - (usual - usual.mean()))
    classes = {"walking": ["a person walks", "walking"], "spin": "someone spins"}
    found = archive.timeline(take.recording_id[:10], classes)
    assert found.scores == pytest.approx(by_hand, abs=1e-4)
    assert found.through == "pose"
    assert found.segments[0].start_s == pytest.approx(0)
    last_s = max(r["end_s"] for r, m in zip(about, mine, strict=True) if m)
    assert found.segments[-1].end_s == pytest.approx(last_s)
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
    assert sentences_of(["walking", "spin"]) == {"walking": CLASSES["walking"], "spin": ("spin",)}
    assert sentences_of({"a": "b", "c": ["d", "e"]}) == {"a": ("b",), "c": ("d", "e")}
    with pytest.raises(QueryError):
        sentences_of({"a": []})
    with pytest.raises(UsageError, match="order"):
        Timeline("ab", ("a",), DAY[::-1], np.zeros(0), np.zeros((0, 1), np.float32), "imu", "")
    with pytest.raises(QueryError, match="switch"):
        build("ab", "imu", "", ["a"], (np.zeros(1), np.ones(1)), np.zeros((1, 1), np.float32), switch=-1)
    one = build("ab", "imu", "", ["a"], (np.zeros(1), np.ones(1)), np.zeros((1, 1), np.float32))
    one.draw(tmp_path / "with_sensor.png", sensor=forearm(np.arange(0, 1, 0.02)))
    assert (tmp_path / "with_sensor.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(UsageError, match="cannot be written"):
        one.draw(tmp_path / "a" / "b.png")
