"""Search over a small archive, beside the same ranking computed by brute force."""

from __future__ import annotations

import json

import numpy as np
import pytest
from stand_ins import a_recording, an_imu, random_model

import motionseek.search.archive as engine
import motionseek.search.by_motion as motion_way
from motionseek.encoders.preprocess import imu_grid, pose_grid
from motionseek.errors import ArchiveError, QueryError, StaleIndex
from motionseek.indexer.filters import Filter
from motionseek.indexer.pipeline import index
from motionseek.search.query import Query
from motionseek.types import PARTS, Imu, Span


@pytest.fixture(scope="module")
def archive(archive_dir, model):
    return engine.open(archive_dir, models=[model])


def brute_tokens(model, take, modality, hop_s=None):
    encoder = model.encoders["motion", modality]
    grid = imu_grid(take.imus, 50.0) if modality == "imu" else pose_grid(take.poses[0], 50.0)
    found = encoder.encode(grid.x[None], grid.mask[None], hop_s=hop_s)
    return grid.start_s, found.token[0], found.mask[0]


def brute_scores(query, stream, duration_s):
    """Mean cosine at every lag and phase, pair by pair: {offset_s rounded to 1 ms: score}, for a query from 0 on."""
    (fine, fine_mask), (start_s, token, mask) = query, stream
    scores = {}
    for phase in range(5):
        steps = int((duration_s - phase * 0.04) / 0.2 + 1e-6)
        asked, there = fine[:, phase::5][:, :steps], fine_mask[:, phase::5][:, :steps]
        for lag in range(-steps + 1, token.shape[1]):
            j = np.arange(steps) + lag
            inside = (j >= 0) & (j < token.shape[1])
            pairs = there[:, inside] & mask[:, j[inside]]
            if pairs.any():
                score = (asked[:, inside] * token[:, j[inside]]).sum(-1)[pairs].mean()
                scores[round(start_s + lag * 0.2 - phase * 0.04, 3)] = score
    return scores


@pytest.mark.parametrize("target", ["imu", "pose"])
def test_token_ranking_equals_brute_force(archive, model, takes, target, monkeypatch):
    monkeypatch.setattr(motion_way, "RERANKED", 10_000)
    t_s = np.arange(7.13, 13.13, 0.02)
    sensors = [an_imu(3, t_s, clock_s=t_s - 7.13), an_imu(503, t_s, "left_knee", clock_s=t_s - 7.13)]
    found = archive.search(sensors, target=target, rerank="token", k=50)
    grid = imu_grid(sensors, 50.0)
    fine = model.encoders["motion", "imu"].encode(grid.x[None], grid.mask[None], hop_s=0.04)
    wanted = {
        take.recording_id: brute_scores((fine.token[0], fine.mask[0]), brute_tokens(model, take, target), 5.98)
        for take in takes
        if (take.imus if target == "imu" else take.poses)
    }
    assert {m.recording_id for m in found} == set(wanted)
    assert [m.score for m in found] == sorted((m.score for m in found), reverse=True)
    ends_s = {take.recording_id: take.duration_s for take in takes}
    for moment in found:
        brute = wanted[moment.recording_id]
        nearest = min(brute, key=lambda offset_s: abs(offset_s - moment.offset_s))
        # Tokens are int8 in the archive, floats here.
        assert moment.score == pytest.approx(brute[nearest], abs=0.012)
        inside = [score for offset_s, score in brute.items() if 0 <= offset_s <= ends_s[moment.recording_id] - 6]
        assert not inside or moment.score >= max(inside) - 0.012
    if target == "imu":
        best = {r: max(brute.values()) for r, brute in wanted.items()}
        assert found[0].recording_id == max(best, key=best.get) == takes[3].recording_id
        assert found[0].offset_s == pytest.approx(7.13, abs=0.02)
        assert (found[0].start_s, found[0].end_s) == pytest.approx((7.13, 13.11), abs=0.05)


@pytest.mark.parametrize("target", ["imu", "pose"])
def test_parts_are_pooled_by_the_encoder_of_their_own_side(archive, model, takes, target):
    asked, seen = (model.encoders["motion", side] for side in ("imu", target))
    query = Query.of(list(takes[2].imus)).within(Span(3.0, 7.0))
    for moment in archive.search(query, target=target, rerank="local", k=4):
        take = next(t for t in takes if t.recording_id == moment.recording_id)
        start_s, token, mask = brute_tokens(model, take, target)
        own_s, ours, there = brute_tokens(model, takes[2], "imu")
        at = round((3.0 + moment.offset_s - start_s) / 0.2) + np.arange(20)
        at, kept = np.clip(at, 0, token.shape[1] - 1), (at >= 0) & (at < token.shape[1])
        first = round((3.0 - own_s) / 0.2)
        ours, there = ours[:6, first : first + 20], there[:6, first : first + 20]
        theirs, held = token[:6, at], mask[:6, at] & kept
        a = asked.pool(np.ascontiguousarray(ours)[None], np.ascontiguousarray(there)[None]).local[0]
        b = seen.pool(np.ascontiguousarray(theirs * held[..., None])[None], held[None]).local[0]
        shared = there.any(axis=1) & held.any(axis=1)
        assert moment.scores["local"] == moment.score == pytest.approx((a * b).sum(axis=1)[shared].mean(), abs=0.02)


@pytest.mark.parametrize("start_s", [0.0, 2.0, 6.37, 10.9])
@pytest.mark.parametrize("duration_s", [2.0, 5.0, 11.0])
def test_a_cut_finds_its_recording_and_its_place(archive, takes, start_s, duration_s):
    t_s = np.arange(start_s, min(start_s + duration_s, 17.9), 0.02)
    cut = an_imu(6, t_s, clock_s=t_s - start_s + 1000)
    found = archive.search(cut, target="imu", k=3)
    assert found[0].recording_id == takes[6].recording_id
    assert found[0].offset_s == pytest.approx(start_s - 1000, abs=0.03)
    assert found[0].score > 0.9
    assert found[0].scores["token"] == found[0].score


def test_surroundings_of_a_span_are_used(archive, takes):
    whole = takes[2].imus[0]
    inside = archive.search(Query.of(whole).within(Span(4.0, 6.0)), target="imu", k=1)
    alone = archive.search(whole.crop(Span(4.0, 6.0)), target="imu", k=1)
    assert inside[0].score > alone[0].score
    assert inside[0].score > 0.999
    assert inside[0].offset_s == pytest.approx(0, abs=1e-3)


def test_imu_finds_video_through_pose(archive, takes):
    found = archive.search(takes[1].imus[0], target="video", k=20)
    assert {m.through for m in found} == {"pose"}
    assert {m.modality for m in found} == {"video"}
    with_video_and_pose = {t.recording_id for t in takes if t.video and t.poses}
    assert {m.recording_id for m in found} == with_video_and_pose
    assert [m.rank for m in found] == list(range(1, len(found) + 1))


def test_text_ranking_equals_brute_force(archive, model, takes):
    found = archive.search("jumping", target="video", k=50)
    store = archive.store
    query = model.encode_text(["jumping"], space="clip").global_[0]
    windows, vectors = store.vectors("clip", "global")
    scores = vectors @ query
    modality = np.array(windows["modality"].to_pylist())
    recording = np.array(windows["recording_id"].to_pylist())
    standard = np.zeros(len(scores))
    for m in ("imu", "pose"):
        mine = modality == m
        n, mean, variance = mine.sum(), scores[mine].mean(), scores[mine].var(ddof=1)
        standard[mine] = (scores[mine] - mean) / np.sqrt((variance * n + 0.2) / (n + 20))
    video = {t.recording_id: (t.video.start_s, t.video.end_s) for t in takes if t.video}
    starts, ends = (np.asarray(windows[c]) for c in ("start_s", "end_s"))
    best = {}
    for i in range(len(scores)):
        start_s, end_s = video.get(recording[i], (np.inf, -np.inf))
        if modality[i] in ("imu", "pose") and starts[i] < end_s and ends[i] > start_s:
            best[recording[i]] = max(best.get(recording[i], -np.inf), standard[i])
    assert [m.recording_id for m in found] == sorted(best, key=lambda r: -best[r])
    assert [m.scores["standard"] for m in found] == pytest.approx(sorted(best.values(), reverse=True), abs=2e-3)
    assert all(m.score == m.scores["global"] for m in found)
    assert {m.through for m in found} == {"imu", "pose"}


def test_hits_lie_on_the_video(archive, takes):
    by_id = {t.recording_id: t.video for t in takes if t.video}
    for moment in archive.search("walking", target="video", k=50, group=False):
        video = by_id[moment.recording_id]
        assert video.start_s <= moment.start_s < moment.end_s <= video.end_s + 1e-6


def test_moments_of_one_recording_do_not_overlap(archive, takes):
    found = archive.search("walking", target="imu", k=50, group=False)
    by_id: dict[str, list] = {}
    for m in found:
        for other in by_id.setdefault(m.recording_id, []):
            shared = min(m.end_s, other.end_s) - max(m.start_s, other.start_s)
            assert shared <= 0.5 * min(m.end_s - m.start_s, other.end_s - other.start_s) + 1e-6
        by_id[m.recording_id].append(m)
    assert any(len(v) > 1 for v in by_id.values())


def test_text_finds_narrations(archive, takes):
    found = archive.search("someone does 9", target="text")
    assert [m.recording_id for m in found] == [takes[9].recording_id]
    assert found[0].caption == "someone does 9"
    assert found[0].scores["global"] == pytest.approx(1, abs=1e-3)
    assert (found[0].start_s, found[0].end_s) == (2.0, 6.0)


def test_filters(archive, takes):
    one = takes[4].recording_id
    assert {m.recording_id for m in archive.search("x", target="imu", where=Filter(recording_id=one))} == {one}
    labelled = archive.search(takes[0].imus[0], target="imu", where=Filter(label="label 1"), k=50)
    assert {m.recording_id for m in labelled} == {t.recording_id for t in takes if "label 1" in t.labels and t.imus}
    assert len(archive.search("x", target="imu", where=Filter(label="nothing has this"))) == 0


def test_k_larger_than_the_archive(archive, takes):
    assert len(archive.search("x", target="imu", k=10_000)) == sum(bool(t.imus) for t in takes)


@pytest.mark.parametrize("rerank", ["none", "local", "token"])
def test_every_stage_is_timed_and_json_is_json(archive, takes, rerank):
    found = archive.search(takes[0].imus[0], target="imu", rerank=rerank, k=2)
    said = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert set(said) == {"query", "target", "hits", "timings_ms", "index", "offset", "more"}
    assert {"query", "encode", "candidates", "total"} <= set(said["timings_ms"])
    assert said["index"] == {"kind": "exact", "recall": 1.0}
    assert found[0].recording_id == takes[0].recording_id
    assert (found[0].offset_s is None) == (rerank == "none")
    assert rerank == "none" or rerank in found[0].scores
    must = {"rank", "recording_id", "uri", "modality", "start_s", "end_s", "score", "scores", "offset_s", "caption"}
    assert must <= set(said["hits"][0])


def test_score_along(archive, takes):
    times_s, scores = archive.score_along("jumping", takes[5].recording_id)
    assert len(times_s) == len(scores) > 5
    assert (np.diff(times_s) >= 0).all()
    cut = takes[5].imus[0].crop(Span(3.0, 6.0))
    times_s, scores = archive.score_along(cut, takes[5].recording_id, through="imu")
    assert times_s[scores.argmax()] == pytest.approx(4.5, abs=0.05)
    with pytest.raises(QueryError, match="no recording"):
        archive.score_along("x", "nobody")


def test_a_vector_of_the_clip_space(archive, model):
    vector = 3 * model.encode_text(["jumping"], space="clip").global_[0]
    by_text = archive.search("jumping", target="imu", k=5)
    by_vector = archive.search(vector, target="imu", k=5)
    assert [m.recording_id for m in by_vector] == [m.recording_id for m in by_text]
    with pytest.raises(QueryError, match="numbers"):
        archive.search(np.ones(3), target="imu")


def test_another_model_is_refused(archive_dir, takes):
    other = engine.open(archive_dir, models=[random_model(1)])
    with pytest.raises(StaleIndex, match="fingerprint"):
        other.search("jumping", target="imu")
    with pytest.raises(StaleIndex, match="fingerprint"):
        other.search(takes[0].imus[0], target="imu")


def test_queries_that_cannot_be_answered(archive, takes):
    unknown = an_imu(3, np.arange(0, 6, 0.02), "unknown")
    with pytest.raises(QueryError, match="--placement"):
        archive.search(unknown, target="video")
    assert archive.search(unknown, target="imu", placement="right_wrist")[0].recording_id == takes[3].recording_id
    three = Imu([0, 0.02, 0.04], np.ones((3, 3)), [0, 0.02, 0.04], np.ones((3, 3)), "right_wrist")
    with pytest.raises(QueryError, match="at least"):
        archive.search(three, target="video")
    with pytest.raises(QueryError, match="rerank"):
        archive.search("jumping", target="imu", rerank="token")
    with pytest.raises(QueryError, match="lies outside"):
        archive.search(Query.of(takes[0].imus[0]).within(Span(100.0, 101.0)), target="imu")
    for bad in ({"k": 0}, {"target": "smell"}, {"rerank": "magic"}):
        with pytest.raises(QueryError):
            archive.search("jumping", **bad)
    with pytest.raises(QueryError, match="empty"):
        archive.search("  ")
    with pytest.raises(QueryError, match="cannot search for a"):
        archive.search(7)


def test_an_archive_without_the_modality_says_what_it_has(tmp_path, model):
    index([a_recording(1, video=False, pose=False)], tmp_path / "a", models=[model])
    archive = engine.open(tmp_path / "a", models=[model])
    with pytest.raises(QueryError, match="it has: imu"):
        archive.search("jumping", target="video")


def test_an_empty_archive_answers_with_nothing(tmp_path, model):
    from motionseek.indexer.store import Store

    Store.open(tmp_path / "a", create=True)
    found = engine.open(tmp_path / "a").search("jumping")
    assert len(found) == 0
    assert found.to_json()["hits"] == []


def test_no_archive(tmp_path):
    with pytest.raises(ArchiveError, match="no motionseek archive"):
        engine.open(tmp_path / "nothing")


def test_parts_are_compared_with_their_own_kind(archive, takes):
    """A knee's movement is not looked for at the wrist."""
    knee = takes[3].imus[1]
    assert archive.search(knee, target="imu", k=1)[0].score > 0.99
    as_wrist = archive.search(knee, target="imu", k=1, placement="right_wrist")
    assert as_wrist[0].score < 0.95
    assert len(PARTS) == 6


def test_what_lies_beyond_the_film_is_no_moment_of_it(archive, takes):
    """The film ends at 13 s: the last windows of the sensors that lie on it mean, trimmed, what comes after."""
    worn = takes[10].imus[0]
    for start_s in (12.5, 13.0, 13.5):
        query = worn.crop(Span(start_s, start_s + 5))
        found = archive.search(query, target="video", through="imu", k=50, group=False)
        assert min(m.end_s - m.start_s for m in found) > 0
        best = found[0]
        there = start_s < 13.0
        assert (best.recording_id == takes[10].recording_id and best.score > 0.9) == there
        assert not there or (best.start_s, best.end_s) == pytest.approx((start_s, 13.0), abs=0.02)
    windows, vectors = archive.store.vectors("clip", "global", Filter(modality="imu"))
    mine = np.array(windows["recording_id"].to_pylist()) == takes[10].recording_id
    for vector in vectors[mine]:
        found = archive.search(vector - vectors.mean(axis=0), target="video", through="imu", k=50, group=False)
        assert min(m.end_s - m.start_s for m in found) > 0
