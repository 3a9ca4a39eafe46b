"""The first look compares by the mean over the tokens that meet, as the exact score does."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from motionseek.indexer import ann, nearest
from motionseek.search import candidates
from motionseek.search.candidates import Columns, Kept, timed
from motionseek.search.encode import token_probes
from motionseek.search.rerank import QueryTokens, lag_scores

TOKEN_S, SIZE, WIDTH = 0.2, 25, 8


class Whole:
    """A projection that loses nothing."""

    window_s, token_s = 5.0, TOKEN_S

    def __init__(self, blocks):
        self.blocks = blocks

    def project(self, token, mask):
        return (token * mask[..., None]).reshape(len(token), -1).astype(np.float32)


def unit(x):
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)


def made(streams, blocks):
    """The index of streams (P, T, D), masked where they are zero, windows a second apart and one that ends each."""
    vectors, of, first, lasts = [], [], [], []
    for i, stream in enumerate(streams):
        length = stream.shape[1]
        starts = sorted({*range(0, max(0, length - SIZE) + 1, 5), max(0, length - SIZE)})
        for start in starts:
            view = np.zeros((stream.shape[0], SIZE, WIDTH), np.float32)
            part = stream[:, start : start + SIZE]
            view[:, : part.shape[1]] = part
            vectors.append(view.reshape(-1))
            of.append(i)
            first.append(start)
            lasts.append(min(start + SIZE, length))
    n = len(of)
    windows = pa.table(
        {
            "recording_id": pa.array([f"{i:03d}" for i in of]).dictionary_encode(),
            "modality": pa.array(["pose"] * n).dictionary_encode(),
            "person": pa.array([""] * n).dictionary_encode(),
            "start_s": np.array(first) * TOKEN_S,
            "end_s": np.array(lasts) * TOKEN_S,
        }
    )
    index = ann.make_index("motion", "token", windows, np.stack(vectors), blocks, {})
    return index, Kept(Columns.of(windows), np.ones(n, np.bool_))


def looked_up(streams, token, mask, k=20):
    blocks = len(token)
    index, kept = made(streams, blocks)
    query = QueryTokens(0.0, TOKEN_S, token[None], mask[None])
    found = timed(index, kept, token_probes(query, Whole(blocks), 1.0), k, 0.5, 0)
    return query, found, kept.columns.recording[found.row]


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def noisy(stream, rng, size=0.1):
    return unit(stream + size * rng.normal(size=stream.shape))


def test_recordings_that_are_short_or_end_within_the_query_are_not_behind_by_their_length(rng):
    true = unit(rng.normal(size=(1, 60, WIDTH)))
    others = [noisy(true, rng) for _ in range(30)]
    short, ends, begins = true[:, 25:37], true[:, :41], true[:, 24:]
    streams = [*others, short, ends, begins]
    query, found, recording = looked_up(streams, true[:, 20:45], np.ones((1, SIZE), np.bool_))
    assert set(recording[:3].tolist()) == {30, 31, 32}
    assert found.score[:3] == pytest.approx(1, abs=1e-5)
    offsets = dict(zip(recording[:3].tolist(), found.offset_s[:3].tolist(), strict=True))
    assert offsets == pytest.approx({30: -1.0, 31: 4.0, 32: -0.8})
    # What is not lost by the projection is the exact score itself, where a window holds all that meets.
    for at in range(3, 8):
        stream = streams[recording[at]]
        lag = round(found.offset_s[at] / TOKEN_S)
        want = lag_scores(query, stream[None], np.ones((1, 1, stream.shape[1]), np.bool_), lag, lag)[0, 0]
        assert found.score[at] == pytest.approx(want, abs=0.02)


def test_a_recording_with_fewer_of_the_parts_is_compared_by_those_it_has(rng):
    true = unit(rng.normal(size=(2, 40, WIDTH)))
    wrist = true.copy()
    wrist[1] = 0
    streams = [*(noisy(true, rng) for _ in range(10)), wrist]
    _, found, recording = looked_up(streams, true[:, 5:30], np.ones((2, SIZE), np.bool_))
    assert recording[0] == 10
    assert found.score[0] == pytest.approx(1, abs=1e-5)
    assert found.offset_s[0] == pytest.approx(1.0)


def test_gaps_of_the_query_count_nothing(rng):
    true = unit(rng.normal(size=(1, 40, WIDTH)))
    token, mask = true[:, 5:30].copy(), np.ones((1, SIZE), np.bool_)
    mask[:, 8:18] = False
    token[~mask] = 0
    _, found, recording = looked_up([*(noisy(true, rng) for _ in range(10)), true], token, mask)
    assert recording[0] == 10
    assert found.score[0] == pytest.approx(1, abs=1e-5)


def test_a_few_tokens_that_meet_by_chance_are_no_guess(rng):
    true = unit(rng.normal(size=(1, 40, WIDTH)))
    other = unit(rng.normal(size=(1, 40, WIDTH)))
    # The query's last three tokens are how another recording begins: three of the twenty-five that could meet.
    other[:, :3] = true[:, 27:30]
    _, found, recording = looked_up([noisy(true, rng, 0.5), other], true[:, 5:30], np.ones((1, SIZE), np.bool_))
    assert recording[0] == 0
    assert (np.diff(found.score) <= 0).all()


def test_each_block_has_as_many_lists_looked_into_as_it_needs(rng, monkeypatch):
    monkeypatch.setattr(ann, "EXACT_ROWS", 50)
    monkeypatch.setattr(nearest, "BRUTE_ROWS", 10)
    centres = unit(rng.normal(size=(40, 16)))
    clustered = unit(centres[rng.integers(0, 40, 4000)] + 0.02 * rng.normal(size=(4000, 16)))
    matrix = np.concatenate([clustered, unit(rng.normal(size=(4000, 16)))], axis=1)
    windows = pa.table(
        {
            "recording_id": pa.array([f"{i:04d}" for i in range(4000)]),
            "modality": pa.array(["imu", "pose"] * 2000),
            "person": pa.array([""] * 4000),
            "start_s": np.arange(4000.0),
            "end_s": np.arange(4000.0) + 5,
        }
    )
    index = ann.make_index("motion", "token", windows, matrix, 2, {})
    few, many = index.parameters["nprobe"]
    assert few < many / 3
    for block, part in enumerate(np.split(matrix, 2, axis=1)):
        rows, keep = ann.own_queries(part, index.windows, np.random.default_rng(3))
        want = ann.exact(part[rows], part, keep)
        got = index.search(part[rows], 10, keep, block=block)[1]
        assert (want[:, :, None] == got[:, None]).any(axis=2).mean() >= 0.97


@pytest.mark.parametrize("stride_s", [1.0, 2.0])
def test_lists_are_as_many_as_a_query_and_its_shifts_need_together(rng, monkeypatch, stride_s):
    """Against searches: a place counts as found where a window's, or its neighbour's, ten best are met there."""
    monkeypatch.setattr(ann, "EXACT_ROWS", 50)
    recordings, each, k = 150, 20, 10
    walk = rng.normal(size=(recordings, 1, 16)) + 0.4 * rng.normal(size=(recordings, each, 16)).cumsum(axis=1)
    matrix = unit(walk).reshape(-1, 16)
    n = len(matrix)
    recording = np.repeat(np.arange(recordings), each)
    start_s = np.tile(np.arange(each) * stride_s, recordings)
    windows = pa.table(
        {
            "recording_id": pa.array([f"{i:03d}" for i in recording]),
            "modality": pa.array(["pose"] * n),
            "person": pa.array([""] * n),
            "start_s": start_s,
            "end_s": start_s + 5,
        }
    )
    index = ann.make_index("motion", "token", windows, matrix, 1, {"recall": 0.95, "nlist": 64})
    ivf, nprobe = index.faiss_blocks[0], index.parameters["nprobe"][0]
    alone = ann.fewest(ann.lists_needed(ivf, matrix, windows, np.random.default_rng(4)), 0.95)[0]
    together = ann.fewest(ann.lists_needed(ivf, matrix, windows, np.random.default_rng(4), shifted=True), 0.95)[0]
    assert together < alone if stride_s == 1 else together == alone

    def reached(lists):
        asks, _ = ann.own_queries(matrix, windows, np.random.default_rng(4))
        found, total = 0, 0
        for row in asks.tolist():
            best = np.argsort(-(matrix @ matrix[row]), kind="stable")[:k]
            met = np.zeros(k, bool)
            for step in (-1, 0, 1) if stride_s == 1 else (0,):
                near = row + step
                if 0 <= near < n and recording[near] == recording[row]:
                    seen = set(index.search(matrix[near : near + 1], n, nprobe=lists)[1][0].tolist())
                    met |= [
                        0 <= b + step < n and recording[min(b + step, n - 1)] == recording[b] and b + step in seen
                        for b in best.tolist()
                    ]
            found, total = found + met.sum(), total + k
        return found / total

    assert reached(together) >= 0.95
    assert together == 1 or reached(together - 1) < 0.95
    assert 1 <= nprobe < 64


def test_shorter_windows_weigh_more_up_to_a_limit():
    start_s = np.zeros(4)
    assert ann.weights(start_s, np.array([5.0, 2.5, 2.0, 0.2])).tolist() == pytest.approx([1, 2, 2.5, 2.5])
    assert ann.weights(start_s[:0], start_s[:0]).shape == (0,)


def test_what_scores_nearly_as_the_first_is_looked_at_too(rng, monkeypatch):
    monkeypatch.setattr(candidates, "MORE", 30)
    still = unit(rng.normal(size=(1, 1, WIDTH))).repeat(60, axis=1)
    moving = unit(rng.normal(size=(1, 60, WIDTH)))
    others = [unit(rng.normal(size=(1, 60, WIDTH))) for _ in range(40)]
    for streams, looked_at in (([noisy(still, rng, 0.01) for _ in range(40)], 30), ([moving, *others], 5)):
        index, kept = made(streams, 1)
        query = QueryTokens(0.0, TOKEN_S, streams[0][None, :, 5:30], np.ones((1, 1, SIZE), np.bool_))
        found = candidates.by_tokens(index, kept, token_probes(query, Whole(1), 1.0), 5, 0.5, 0)
        assert len(found) == looked_at


@pytest.mark.parametrize("lists", [False, True])
def test_a_short_recording_late_in_the_query_is_found_where_short_windows_are_there(rng, monkeypatch, lists):
    if lists:
        monkeypatch.setattr(ann, "EXACT_ROWS", 50)
        monkeypatch.setattr(nearest, "BRUTE_ROWS", 10)
    for blocks in (1, 2):
        true = unit(rng.normal(size=(blocks, 60, WIDTH)))
        streams = [unit(rng.normal(size=(blocks, 60, WIDTH))) for _ in range(30)]
        # The query's last twelve tokens and nothing else.
        streams += [true[:, 33:45], *(unit(rng.normal(size=(blocks, 12, WIDTH))) for _ in range(10))]
        index, kept = made(streams, blocks)
        query = QueryTokens(0.0, TOKEN_S, true[None, :, 20:45], np.ones((1, blocks, SIZE), np.bool_))
        assert kept.shortest_s == pytest.approx(12 * TOKEN_S)
        assert kept.short.count == 11

        def look(shortest_s, index=index, kept=kept, query=query, blocks=blocks):
            found = timed(index, kept, token_probes(query, Whole(blocks), 1.0, shortest_s), 20, 0.5, 0)
            return kept.columns.recording[found.row], found

        recording, found = look(kept.shortest_s)
        assert recording[0] == 30
        assert found.score[0] == pytest.approx(1, abs=1e-5)
        assert found.offset_s[0] == pytest.approx(-13 * TOKEN_S)
        assert look(None)[1].score[0] < 0.9


def test_late_probes_are_those_that_only_short_windows_need(rng):
    token = unit(rng.normal(size=(1, 1, SIZE, WIDTH)))
    query = QueryTokens(0.0, TOKEN_S, token, np.ones((1, 1, SIZE), np.bool_))
    plain = token_probes(query, Whole(1), 1.0)
    for shortest_s, last in ((None, 5), (np.inf, 5), (5.0, 5), (4.0, 5), (2.0, 15), (0.4, 23)):
        probes = token_probes(query, Whole(1), 1.0, shortest_s)
        assert probes.start_s.max() == pytest.approx(last * TOKEN_S)
        assert probes.late.sum() == last - 5
        assert np.array_equal(probes.vector[~probes.late], plain.vector)
        assert not plain.late.any()


def test_nothing_that_may_answer_is_no_candidate(rng):
    index, kept = made([unit(rng.normal(size=(1, 60, WIDTH)))], 1)
    none = Kept(kept.columns, np.zeros(len(index), np.bool_))
    token = unit(rng.normal(size=(1, 1, SIZE, WIDTH)))
    query = QueryTokens(0.0, TOKEN_S, token, np.ones((1, 1, SIZE), np.bool_))
    assert not len(candidates.by_tokens(index, none, token_probes(query, Whole(1), 1.0, none.shortest_s), 5, 0.5, 0))
