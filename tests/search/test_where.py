"""Filters, typed, in Python and on the command line: the same choice as one made window by window in Python."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from stand_ins import a_pose, a_recording, an_imu

import motionseek as ms
from motionseek.cli import main

T_S = np.arange(0, 16, 0.02)


def with_a_gap(seed):
    take = a_recording(seed, 16.0)
    t_s = T_S[(T_S < 6) | (T_S > 10)]
    return replace(take, imus=(an_imu(seed, t_s), an_imu(seed + 500, t_s, "left_knee")))


def two_people(seed):
    take = a_recording(seed, 16.0)
    worn = an_imu(seed, T_S, person="anna"), an_imu(seed + 1, T_S, "head", person="ben")
    seen_s = np.arange(0, 16, 1 / 30)
    return replace(take, imus=worn, poses=(a_pose(seed, seen_s, "anna"), a_pose(seed + 1, seen_s, "ben")))


@pytest.fixture(scope="module")
def takes():
    plain = [a_recording(seed, 10.0 + seed) for seed in range(5)]
    return [*plain, with_a_gap(5), two_people(6), replace(a_recording(7, 12.0), problems=("3 samples are not finite",))]


@pytest.fixture(scope="module")
def folder(takes, model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("where") / "archive"
    report = ms.index(takes, folder, models=[model])
    assert (len(report.failed), len(report.partial)) == (0, 1)
    return folder


@pytest.fixture(scope="module")
def archive(folder, model):
    return ms.open(folder, models=[model])


CHOICES = {
    "label": (["--label", "label 1"], {"label": "label 1"}, lambda r: "label 1" in r["labels"]),
    "labels": (
        ["--label", "label 1", "--label", "label 2"],
        {"label": ("label 1", "label 2")},
        lambda r: {"label 1", "label 2"} & set(r["labels"]),
    ),
    "recording": (["--recording", "{3}"], {"recording_id": "{3}"}, lambda r: r["recording_id"] == r["{3}"]),
    "person": (["--person", "ben"], {"person": "ben"}, lambda r: r["person"] == "ben"),
    "people": (
        ["--person", "anna", "--person", "0"],
        {"person": ("anna", "0")},
        lambda r: r["person"] in ("anna", "0"),
    ),
    "part": (["--part", "head"], {"part": "head"}, lambda r: "head" in r["parts"]),
    "time": (
        ["--from", "4.5", "--to", "5.5"],
        {"start_s": 4.5, "end_s": 5.5},
        lambda r: r["end_s"] > 4.5 and r["start_s"] < 5.5,
    ),
    "late": (["--from", "13"], {"start_s": 13}, lambda r: r["end_s"] > 13),
    "quality": (["--min-quality", "0.95"], {"min_quality": 0.95}, lambda r: r["quality"] >= 0.95),
    "flaws": (["--without", "gaps"], {"without": "gaps"}, lambda r: "gaps" not in r["flags"]),
    "partial": (["--status", "partial"], {"status": "partial"}, lambda r: r["recording_id"] == r["{7}"]),
    "ok": (["--status", "ok"], {"status": "ok"}, lambda r: r["recording_id"] != r["{7}"]),
    "several": (
        ["--label", "label 0", "--part", "left_knee", "--to", "3"],
        {"label": "label 0", "part": "left_knee", "end_s": 3.0},
        lambda r: "label 0" in r["labels"] and "left_knee" in r["parts"] and r["start_s"] < 3,
    ),
    "nothing": (["--label", "nobody's"], {"label": "nobody's"}, lambda r: False),
}


def filled(value, takes):
    """`{3}` is the id of the third take."""
    for i, take in enumerate(takes):
        value = value.replace(f"{{{i}}}", take.recording_id) if isinstance(value, str) else value
    return value


def allowed(archive, takes, keep, modality):
    """Rows of the `clip` index that may answer, with their vectors, chosen in Python from all that there is."""
    windows, vectors = archive.store.vectors("clip", "global")
    about = {r["window_id"]: r for r in archive.store.windows().to_pylist()}
    names = {f"{{{i}}}": take.recording_id for i, take in enumerate(takes)}
    rows = [about[i] | names for i in windows["window_id"].to_pylist()]
    mine = np.array([bool(keep(r)) and r["modality"] == modality for r in rows], bool)
    return [r for r, yes in zip(rows, mine, strict=True) if yes], vectors[mine]


@pytest.mark.parametrize("name", CHOICES)
@pytest.mark.parametrize("modality", ["imu", "pose"])
def test_words_find_the_best_of_what_may_answer(archive, model, takes, name, modality):
    _, fields, keep = CHOICES[name]
    where = ms.Filter(**{field: filled(value, takes) for field, value in fields.items()})
    found = archive.search("jumping", target=modality, through=modality, k=100, where=where)
    rows, vectors = allowed(archive, takes, keep, modality)
    cosine = vectors @ model.encode_text(["jumping"], space="clip").global_[0]
    best = {}
    for row, score in zip(rows, cosine.tolist(), strict=True):
        best[row["recording_id"]] = max(score, best.get(row["recording_id"], -1.0))
    assert {m.recording_id: m.score for m in found} == pytest.approx(best, abs=1e-3)
    assert {m.person for m in found} <= {row["person"] for row in rows}


@pytest.mark.parametrize("name", CHOICES)
def test_a_sensor_finds_only_what_may_answer(archive, takes, name):
    _, fields, keep = CHOICES[name]
    where = ms.Filter(**{field: filled(value, takes) for field, value in fields.items()})
    query = ms.Query.of(takes[1].imus[0]).within(ms.Span(3.0, 6.0))
    found = archive.search(query, target="imu", k=100, where=where)
    rows, _ = allowed(archive, takes, keep, "imu")
    assert {(m.recording_id, m.person) for m in found} <= {(r["recording_id"], r["person"]) for r in rows}
    # A knee and a head have nothing to compare with a wrist.
    wrists = {r["recording_id"] for r in rows if "right_wrist" in r["parts"]}
    assert {m.recording_id for m in found} == wrists
    if takes[1].recording_id in wrists:
        assert found[0].recording_id == takes[1].recording_id


@pytest.mark.parametrize("name", CHOICES)
def test_the_command_line_says_the_same(archive, folder, model, takes, name, monkeypatch, capsys):
    monkeypatch.setattr("motionseek.search.loaded.load", lambda name: model)
    options, fields, _ = CHOICES[name]
    args = ["search", "jumping", "-t", "imu", "-k", "50", "--json", "--archive", str(folder)]
    with pytest.raises(SystemExit) as exit_:
        main([*args, *(filled(option, takes) for option in options)])
    assert not exit_.value.code
    hits = json.loads(capsys.readouterr().out)["hits"]
    where = ms.Filter(**{field: filled(value, takes) for field, value in fields.items()})
    again = archive.search("jumping", target="imu", k=50, where=where)
    assert [(h["recording_id"], h["start_s"], h["score"]) for h in hits] == [
        (m.to_json()["recording_id"], m.to_json()["start_s"], m.to_json()["score"]) for m in again
    ]


def test_what_is_no_filter_is_refused(folder, capsys):
    for option in (["--part", "tail"], ["--without", "rain"], ["--status", "failed"], ["--min-quality", "2"]):
        with pytest.raises(SystemExit) as exit_:
            main(["search", "x", "--archive", str(folder), *option])
        assert exit_.value.code == 2
        assert option[1] in capsys.readouterr().err
