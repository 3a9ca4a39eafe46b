"""Signed sums of queries against the same sums by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest

from motionseek.cli import main
from motionseek.errors import QueryError
from motionseek.search.archive import open as open_archive
from motionseek.search.query import Query


@pytest.fixture(scope="module")
def archive(archive_dir, model):
    return open_archive(archive_dir, models=[model])


def unit(x):
    return x / np.linalg.norm(x)


def hits(found):
    return [(m.recording_id, m.start_s, m.score) for m in found]


def test_how_sums_are_written():
    query = 2 * (Query.of("a") - "b") + "c"
    assert [(w, t.text) for w, t in query.terms] == [(2, "a"), (-2, "b"), (1, "c")]
    assert query.said == "2 * a - 2 * b + c"
    assert ("a" - Query.of("b")).said == "a - b"
    assert (-Query.of("b")).said == "- b"
    assert (Query.of("a") * 1).text == "a"
    for weight in (0, np.nan, np.inf):
        with pytest.raises(QueryError, match="weight"):
            Query.of("a") * weight
    with pytest.raises(QueryError, match="at least one"):
        Query.sum_of([])


def test_a_sum_of_sentences_is_the_sum_of_their_vectors(archive, model):
    text = model.encode_text(["jumping", "walking", "cycling"]).global_
    asked = Query.of("jumping") + 0.5 * Query.of("walking") - "cycling"
    found = archive.search(asked, target="imu", k=50, group=False)
    by_hand = archive.search(unit(text[0] + 0.5 * text[1] - text[2]), target="imu", k=50, group=False)
    assert len(found) > 5
    assert [h[:2] for h in hits(found)] == [h[:2] for h in hits(by_hand)]
    assert [h[2] for h in hits(found)] == pytest.approx([h[2] for h in hits(by_hand)], abs=1e-4)
    assert found.query == "jumping + 0.5 * walking - cycling"


def test_like_a_moment_is_the_mean_of_what_lies_on_it(archive):
    table, vectors = archive.store.vectors("clip", "global")
    rows = table.to_pylist()
    recording_id, start_s, end_s = rows[0]["recording_id"], 2.0, 4.5
    shared = np.array(
        [
            max(0, min(r["end_s"], end_s) - max(r["start_s"], start_s)) * (r["recording_id"] == recording_id)
            for r in rows
        ]
    )
    by_hand = archive.search(unit((vectors * shared[:, None]).sum(0)), target="imu", k=50, group=False)
    found = archive.search(Query.of_moment(f"{recording_id[:12]}@{start_s}-{end_s}"), target="imu", k=50, group=False)
    overlapping = [m for m in found if m.recording_id == recording_id and m.start_s < end_s and m.end_s > start_s]
    assert not overlapping
    elsewhere = [h for h in hits(by_hand) if h[0] != recording_id]
    assert [h[:2] for h in hits(found) if h[0] != recording_id][:10] == [h[:2] for h in elsewhere][:10]
    again = archive.search(found[0], target="imu", k=3)
    assert found[0].recording_id in again.query


def test_every_term_must_be_understood(archive, tmp_path):
    with pytest.raises(QueryError, match="cancel"):
        archive.search(Query.of("a") - "a", target="imu")
    with pytest.raises(QueryError, match="no recording"):
        archive.search(Query.of_moment("zzzz@1-2"), target="imu")
    with pytest.raises(QueryError, match="no recording"):
        archive.recording_id("")
    (recording_id, *_) = archive.sources
    with pytest.raises(QueryError, match="outside"):
        archive.search(Query.of_moment(f"{recording_id}@900-901"), target="imu")
    for written in ("abc", "abc@3", "abc@3-1"):
        with pytest.raises(QueryError, match="moment"):
            Query.of_moment(written)
    (tmp_path / "film.mp4").touch()
    film = Query.from_file(tmp_path / "film.mp4", modality="video")
    with pytest.raises(QueryError, match=r"no model of this archive understands a text.video query"):
        archive.search(Query.of("a") + film, target="imu")


def test_the_command(archive, archive_dir, model, monkeypatch, capsys):
    monkeypatch.setattr("motionseek.search.loaded.load", lambda name: model)
    (recording_id, *_) = archive.sources
    args = ["search", "jump", "--not", "walk", "--like", f"{recording_id[:10]}@1-3", "-t", "imu", "--json"]
    with pytest.raises(SystemExit) as exit_:
        main([*args, "--archive", str(archive_dir)])
    said = json.loads(capsys.readouterr().out)
    assert exit_.value.code in (0, None), said
    assert said["query"] == f"jump + {recording_id[:10]}@1-3 - walk"
    assert said["hits"]
    with pytest.raises(SystemExit) as exit_:
        main(["search", "--not", "walk", "--archive", str(archive_dir)])
    assert exit_.value.code == 2
