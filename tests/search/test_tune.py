"""What `tune` chooses, against full scans, and that it is kept."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from stand_ins import a_recording

import motionseek as ms
from motionseek.cli import cli
from motionseek.errors import ArchiveError, UsageError
from motionseek.indexer import ann, nearest
from motionseek.indexer.pipeline import index
from motionseek.indexer.store import Store
from motionseek.search import tune as tuning
from motionseek.search.tune import tune


@pytest.fixture
def archive(archive_dir, tmp_path):
    return shutil.copytree(archive_dir, tmp_path / "archive")


@pytest.fixture(autouse=True)
def few_queries(monkeypatch):
    """A hundred take a minute, and say of so small an archive what twenty do."""
    monkeypatch.setattr(tuning, "QUERIES", 20)


def large(monkeypatch):
    """As if it were a large archive."""
    monkeypatch.setattr(ann, "EXACT_ROWS", 50)
    monkeypatch.setattr(tuning, "EXACT_ROWS", 50)
    monkeypatch.setattr(nearest, "BRUTE_ROWS", 10)
    monkeypatch.setattr(tuning, "COUNTS", (2, 5, 10, 20, 40))


def card(archive, name="motion_projected"):
    return json.loads((archive / "ann" / f"{name}.json").read_text())


def test_small_indexes_stay_exact_and_the_candidates_are_kept(archive, model, takes):
    found = {(t.space, t.level): t for t in tune(archive, recall=0.9, p95_ms=10_000, models=[model])}
    assert set(found) == {("motion", "token"), ("motion", "global"), ("clip", "global")}
    assert all(t.kind == "exact" and t.recall == 1 and t.met for t in found.values())
    names = {p.stem for p in (archive / "ann").glob("*.json")}
    token = next(name for name in names if card(archive, name)["level"] == "token")
    chosen = found["motion", "token"].candidates
    assert chosen in tuning.COUNTS
    assert card(archive, token)["parameters"]["tuned"]["candidates"] == chosen
    assert ann.why_stale(Store.open(archive), "motion", "token") == ""
    assert ms.open(archive, models=[model]).search(takes[3].imus[0], target="pose")


def test_lists_reach_the_recall_and_are_the_fewest_that_do(archive, model, monkeypatch):
    large(monkeypatch)
    found = next(t for t in tune(archive, recall=0.95, models=[model]) if (t.space, t.level) == ("motion", "global"))
    assert found.kind == "ivf"
    opened = ann.open_index(Store.open(archive), "motion", "global")
    assert opened.parameters["nprobe"] == list(found.nprobe)
    assert len(found.nprobe) == opened.blocks
    reached = []
    for block, nprobe in enumerate(found.nprobe):
        assert 1 <= nprobe <= found.nlist
        vectors = opened.vectors(np.arange(len(opened)), block)
        rows, keep = ann.own_queries(vectors, opened.windows, np.random.default_rng(1))
        query = vectors[rows]
        scores = np.where(keep.mask, query @ vectors.T, -np.inf)
        want = np.argsort(-scores, axis=1, kind="stable")[:, :10]

        def recall(nprobe, block=block, query=query, keep=keep, want=want):
            rows = opened.search(query, 10, keep, block=block, nprobe=nprobe)[1]
            share = [len(set(a) & set(b)) / 10 for a, b in zip(rows.tolist(), want.tolist(), strict=True)]
            return np.mean(share) if share else 1.0

        reached.append(recall(nprobe))
        assert reached[-1] >= 0.95
        assert nprobe == 1 or recall(nprobe - 1) < 0.95
    assert found.recall == pytest.approx(min(reached), abs=1e-3)


def test_lists_of_motion_are_chosen_as_when_the_index_is_built(archive, model, monkeypatch):
    large(monkeypatch)
    built = ann.build_index(Store.open(archive), "motion", "token", settings={"kind": "ivf", "recall": 0.9})
    found = next(t for t in tune(archive, recall=0.9, models=[model]) if t.level == "token")
    assert len(found.nprobe) == built.blocks
    assert found.recall >= 0.9
    # Measured with other windows of the archive.
    assert np.abs(np.array(found.nprobe) - built.parameters["nprobe"]).max() <= found.nlist / 4


def test_the_candidates_are_the_fewest_that_keep_the_winner(archive, model, monkeypatch):
    large(monkeypatch)
    all_of_them = next(t for t in tune(archive, recall=1.0, models=[model]) if t.level == "token")
    half = next(t for t in tune(archive, recall=0.5, models=[model]) if t.level == "token")
    assert half.candidates <= all_of_them.candidates
    assert half.winner_kept >= 0.5
    assert all_of_them.winner_kept == 1
    assert half.winner_kept <= 1


def test_what_was_chosen_outlives_the_index(archive, model, monkeypatch):
    large(monkeypatch)
    chosen = next(t for t in tune(archive, recall=0.8, models=[model]) if t.level == "token").candidates
    index([a_recording(20)], archive, models=[model])
    again = ann.open_index(Store.open(archive), "motion", "token")
    assert len(again) > 0
    assert again.parameters["tuned"]["recall"] == 0.8
    assert again.parameters["tuned"]["candidates"] == chosen


def test_an_aim_that_nothing_reaches_is_said(archive, model):
    found = tune(archive, recall=0.9, p95_ms=1e-6, models=[model])
    assert not any(t.met for t in found)
    assert all(t.recall >= 0.9 for t in found)
    assert all(t.p95_ms > 1e-6 for t in found)


def test_wrong_aims_and_archives_without_windows_are_refused(tmp_path, archive):
    with pytest.raises(UsageError, match="recall"):
        tune(archive, recall=1.5)
    with pytest.raises(UsageError, match="p95_ms"):
        tune(archive, p95_ms=0)
    Store.open(tmp_path / "empty", create=True)
    with pytest.raises(ArchiveError, match="no windows"):
        tune(tmp_path / "empty")


def test_what_cannot_be_kept_is_said(archive):
    store = Store.open(archive)
    measured = ann.open_index(store, "motion", "global")
    shutil.rmtree(archive / "ann")
    (archive / "ann").touch()
    with pytest.raises(ArchiveError, match="what was measured cannot be kept"):
        tuning._keep(store, measured)


def test_command(archive, model, monkeypatch):
    monkeypatch.setattr("motionseek.search.loaded.load", lambda name: model)
    said = CliRunner().invoke(
        cli, ["tune", "--recall", "0.9", "--p95-ms", "100000", "-a", str(archive), "-m", "given", "--json"]
    )
    assert said.exit_code == 0, said.output
    answer = json.loads(said.stdout)
    assert {t["level"] for t in answer["indexes"]} == {"token", "global"}
    table = CliRunner().invoke(cli, ["tune", "--recall", "0.9", "--p95-ms", "1e-6", "-a", str(archive), "-m", "given"])
    assert table.exit_code == 1
    assert "winner kept" in table.stdout
