"""Why a moment was found, against numbers that are computed without the archive."""

from __future__ import annotations

import json

import numpy as np
import pytest
from test_archive import brute_tokens

import motionseek as ms
from motionseek.cli import main
from motionseek.encoders.model import Model
from motionseek.search.calibrate import RIVALS
from motionseek.types import PARTS, Moment, Span


@pytest.fixture(scope="module")
def archive(archive_dir, model):
    return ms.open(archive_dir, models=[model])


@pytest.mark.parametrize("target", ["imu", "pose"])
def test_motion_part_by_part_and_token_by_token(archive, model, takes, target):
    query = ms.Query.of(list(takes[2].imus)).within(Span(3.0, 7.0))
    moment = archive.search(query, target=target, k=3)[1]
    why = archive.explain(query, moment)
    take = next(t for t in takes if t.recording_id == moment.recording_id)
    start_s, token, mask = brute_tokens(model, take, target)
    own_s, fine, fine_mask = brute_tokens(model, takes[2], "imu", hop_s=0.04)
    assert why.space == "motion"
    assert why.step_s == 0.2
    theirs = np.rint((why.t_s - start_s) / 0.2).astype(int)
    ours = np.rint((why.t_s - moment.offset_s - own_s) / 0.04).astype(int)
    # A token of the query meets the token of the recording that it lies on, but for the phase between the two grids.
    assert np.abs(why.t_s - start_s - theirs * 0.2).max() < 0.021
    assert (np.diff(why.t_s), why.t_s[0] - moment.offset_s) == (pytest.approx(0.2), pytest.approx(3.0, abs=0.2))
    inside = (theirs >= 0) & (theirs < token.shape[1])
    theirs = np.clip(theirs, 0, token.shape[1] - 1)
    there = fine_mask[:6, ours] & mask[:6, theirs] & inside
    cosine = (fine[:6, ours] * token[:6, theirs]).sum(axis=-1)
    shown = np.flatnonzero(there.any(axis=1))
    assert why.rows == tuple(PARTS[p] for p in shown)
    assert set(why.rows) <= {"right_wrist", "left_knee"}
    assert np.isnan(why.cosine).tolist() == (~there[shown]).tolist()
    # Tokens are int8 in the archive, floats here.
    assert why.cosine[there[shown]] == pytest.approx(cosine[shown][there[shown]], abs=0.012)
    assert why.mean == pytest.approx([cosine[p][there[p]].mean() for p in shown], abs=0.012)
    assert moment.score == pytest.approx(cosine[there].mean(), abs=0.02)
    pooled = [
        model.encoders["motion", m].pool(np.ascontiguousarray(side * there[..., None])[None], there[None])
        for m, side in (("imu", fine[:6, ours]), (target, token[:6, theirs]))
    ]
    local = (pooled[0].local[0] * pooled[1].local[0]).sum(axis=-1)[shown]
    assert why.local == pytest.approx(local, abs=0.02)
    assert why.levels["local"] == pytest.approx(local.mean(), abs=0.02)
    assert why.levels["global"] == pytest.approx(pooled[0].global_[0] @ pooled[1].global_[0], abs=0.02)
    assert {**why.levels, **moment.scores} == why.levels


def dense_instants(start_s, end_s, score):
    """Half seconds whose mean over each window is its score, drawn together by 0.1 for every change: least squares."""
    begins_s = start_s.min() + 0.5 * np.arange(np.ceil((end_s.max() - start_s.min()) / 0.5 - 1e-6))
    share = np.minimum(end_s[:, None], begins_s + 0.5) - np.maximum(start_s[:, None], begins_s)
    share = np.maximum(share, 0) / (end_s - start_s)[:, None]
    change = np.sqrt(0.1) * np.diff(np.eye(len(begins_s)), axis=0)
    left, right = np.vstack([share, change]), np.concatenate([score, np.zeros(len(change))])
    return begins_s, np.linalg.lstsq(left, right, rcond=None)[0]


def test_words_instant_by_instant_and_what_else_fits(archive, model):
    moment = archive.search("jumping", target="imu", k=2)[1]
    why = archive.explain("jumping", moment)
    windows, vectors = archive.store.vectors("clip", "global", ms.Filter(recording_id=moment.recording_id))
    mine = np.array(windows["modality"].to_pylist()) == "imu"
    start_s, end_s = (np.asarray(windows[name])[mine] for name in ("start_s", "end_s"))
    near = (end_s > moment.start_s - 10) & (start_s < moment.end_s + 10)
    start_s, end_s, vectors = start_s[near], end_s[near], vectors[mine][near]
    word = model.encode_text(["jumping"], space="clip").global_[0]
    begins_s, x = dense_instants(start_s, end_s, vectors @ word)
    assert (why.space, why.rows, why.step_s) == ("clip", ("windows",), 0.5)
    assert why.t_s == pytest.approx(begins_s)
    assert why.cosine[0] == pytest.approx(x, abs=2e-3)
    held = (begins_s + 0.5 > moment.start_s) & (begins_s < moment.end_s)
    assert why.mean == pytest.approx([x[held].mean()], abs=2e-3)
    assert why.levels == moment.scores
    assert why.local is None
    told = model.encode_text(list(RIVALS), space="clip").global_
    at = vectors[np.argmax(np.minimum(end_s, moment.end_s) - np.maximum(start_s, moment.start_s))]
    best = np.argsort(-(told @ at))[:5]
    assert [cosine for _, cosine, _ in why.rivals] == pytest.approx((told @ at)[best], abs=1e-4)
    assert [far for *_, far in why.rivals] == [told[RIVALS.index(s)] @ word < 0.5 for s, *_ in why.rivals]


def test_a_sum_term_by_term(archive, model):
    query = ms.Query.of("jumping") - 0.5 * ms.Query.of("cycling")
    moment = archive.search(query, target="imu", k=1)[0]
    why = archive.explain(query, moment)
    windows, vectors = archive.store.vectors("clip", "global", ms.Filter(recording_id=moment.recording_id))
    start_s, end_s = (np.asarray(windows[name]) for name in ("start_s", "end_s"))
    shared_s = np.minimum(end_s, moment.end_s) - np.maximum(start_s, moment.start_s)
    shared_s[np.array(windows["modality"].to_pylist()) != "imu"] = -1
    cosine = model.encode_text(["jumping", "cycling"], space="clip").global_ @ vectors[shared_s.argmax()]
    assert [(term, weight) for term, weight, _ in why.terms] == [("jumping", 1.0), ("cycling", -0.5)]
    assert [c for *_, c in why.terms] == pytest.approx(cosine, abs=1e-4)


def test_a_narration_is_itself(archive):
    moment = archive.search("someone does 9", target="text", k=1)[0]
    why = archive.explain("someone does 9", moment)
    assert why.cosine.shape == (1, 1)
    assert (why.mean[0], why.t_s[0]) == (pytest.approx(1, abs=1e-3), 2.0)
    assert "=  2.0 to 2.0 s, = is the moment" in why.text()


def test_json_and_text_say_the_same(archive, takes):
    query = ms.Query.of(takes[2].imus[0]).within(Span(3.0, 7.0))
    moment = archive.search(query, target="imu", k=1)[0]
    why = archive.explain(query, moment)
    said = json.loads(json.dumps(why.to_json(), allow_nan=False))
    assert list(said) == ["query", "path", "space", "levels", "confidence", "step_s", "t_s", "rows", "terms", "rivals"]
    assert {"token", "local", "global"} <= set(said["levels"])
    (row,) = said["rows"]
    assert (row["name"], len(row["cosine"])) == ("right_wrist", len(said["t_s"]))
    assert row["mean"] == pytest.approx(np.mean([c for c in row["cosine"] if c is not None]), abs=1e-3)
    header, bars, marks = why.text().splitlines()
    assert header.startswith("imu → imu in the space motion: projected")
    assert bars.split()[:2] == ["right_wrist", f"{row['mean']:.2f}"]
    # It is the recording itself: every bar is the highest.
    assert bars.endswith("█" * len(said["t_s"]))
    assert marks.count("=") == len(said["t_s"]) + 1
    assert marks.endswith(f"{said['t_s'][0]:.1f} to {said['t_s'][-1] + 0.2:.1f} s, = is the moment")


def test_gaps_are_dots(archive, takes):
    moment = Moment(1, takes[2].recording_id, "", "imu", 12.0, 13.9, 0.5, {}, "imu", offset_s=9.0)
    why = archive.explain(ms.Query.of(takes[2].imus[0]).within(Span(3.0, 7.0)), moment)
    gone = int(np.isnan(why.cosine).sum())
    assert gone >= 9
    assert why.text().splitlines()[1].endswith("·" * gone)
    assert why.to_json()["rows"][0]["cosine"].count(None) == gone


def test_what_cannot_be_explained(archive, takes):
    moment = archive.search("jumping", target="imu", k=1)[0]
    with pytest.raises(ms.QueryError, match="no recording"):
        archive.explain("jumping", Moment(1, "ab" * 32, "", "imu", 0.0, 1.0, 0.5, {}, "imu"))
    with pytest.raises(ms.QueryError, match="no window of imu lies on the moment"):
        archive.explain("jumping", Moment(1, moment.recording_id, "", "imu", 900.0, 901.0, 0.5, {}, "imu"))


def test_a_score_of_whole_windows_of_motion_is_all_there_is_to_say(tmp_path, model, takes):
    motion = {at: encoder for at, encoder in model.encoders.items() if at[0] == "motion"}
    alone = Model("motion alone", dict(model.card), model.fingerprint, motion)
    assert not ms.index(takes[:2], tmp_path / "archive", models=[alone]).failed
    archive = ms.open(tmp_path / "archive", models=[alone])
    query = takes[1].imus[0].crop(Span(3.0, 7.0))
    moment = archive.search(query, target="imu", rerank="none", k=1)[0]
    with pytest.raises(ms.QueryError, match="rerank='token'"):
        archive.explain(query, moment)


def test_on_the_command_line(archive_dir, model, monkeypatch, capsys):
    monkeypatch.setattr("motionseek.search.loaded.load", lambda name: model)

    def run(*more):
        with pytest.raises(SystemExit) as exit_:
            main(["search", "jumping", "-t", "imu", "-k", "2", "--archive", str(archive_dir), "--explain", *more])
        assert not exit_.value.code
        return capsys.readouterr().out

    hits = json.loads(run("--json"))["hits"]
    assert [hit["explain"]["space"] for hit in hits] == ["clip", "clip"]
    assert all(hit["explain"]["rivals"] for hit in hits)
    out = run()
    assert "#1 text → imu in the space clip: global" in out
    assert out.count("what else fits: ") == 2
