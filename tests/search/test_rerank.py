"""The token score against a plain loop, and offsets that are known."""

from __future__ import annotations

import numpy as np
import pytest

from motionseek.errors import UsageError
from motionseek.search.rerank import QueryTokens, fit, fit_near, interleaved, lag_axis_s, lag_scores, peak


def unit(x):
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)


def loop_score(query, token, mask, lag, phase, min_share):
    """Mean cosine over the pairs that both sides have, token by token."""
    total, count = 0.0, 0
    _, parts, steps, _ = query.token.shape
    for part in range(parts):
        for i in range(steps):
            j = i + lag
            if 0 <= j < token.shape[1] and query.mask[phase, part, i] and mask[part, j]:
                total += float(query.token[phase, part, i] @ token[part, j])
                count += 1
    possible = sum(min(query.mask[phase, p].sum(), mask[p].sum()) for p in range(parts))
    return total / count if count and count >= min_share * possible else -np.inf


@pytest.mark.parametrize(("first", "last"), [(0, 4), (-3, 3), (2, 9), (-9, -2), (-12, 14)])
def test_equals_a_plain_loop(first, last):
    rng = np.random.default_rng(0)
    query = QueryTokens(0.0, 0.2, unit(rng.normal(size=(3, 2, 6, 8))), rng.random((3, 2, 6)) > 0.3)
    token, mask = unit(rng.normal(size=(4, 2, 9, 8))), rng.random((4, 2, 9)) > 0.3
    mask[3] = False
    got = lag_scores(query, token, mask, first, last, min_share=0.25)
    lags_s = lag_axis_s(query, first, last)
    assert got.shape == (4, len(lags_s))
    for b in range(4):
        for lag in range(first, last + 1):
            for phase in range(3):
                m = int(np.argmin(np.abs(lags_s - (lag * 0.2 - phase * 0.2 / 3))))
                want = loop_score(query, token[b], mask[b], lag, phase, 0.25)
                assert got[b, m] == pytest.approx(want, abs=1e-5)


def test_fully_masked_is_minus_infinity_not_zero():
    rng = np.random.default_rng(1)
    token = unit(rng.normal(size=(1, 1, 5, 4)))
    query = QueryTokens(0.0, 0.2, token, np.ones((1, 1, 5), bool))
    opposed = fit(query, np.zeros(1), -token, np.ones((1, 1, 5), bool), 0, 0)
    nothing = fit(query, np.zeros(1), -token, np.zeros((1, 1, 5), bool), 0, 0)
    assert opposed.score[0] == pytest.approx(-1, abs=1e-6)
    assert nothing.score[0] == -np.inf


def smooth_stream(t_s, rng):
    """Unit vectors that turn smoothly with time, so that near times are near vectors."""
    speeds = rng.uniform(1.0, 6.0, 16)
    phase = rng.uniform(0, 2 * np.pi, 16)
    angle = np.outer(t_s, speeds) + phase
    return unit(np.concatenate([np.cos(angle), np.sin(angle)], axis=-1))


@pytest.mark.parametrize("offset_s", [0.0, 0.1, 0.23, -0.317, 1.5])
def test_phases_find_an_offset_between_the_tokens(offset_s):
    rng = np.random.default_rng(2)
    stream_s = 3.0 + 0.2 * np.arange(100)
    stream_rng, query_rng = np.random.default_rng(5), np.random.default_rng(5)
    token = smooth_stream(stream_s, stream_rng)[None]
    # The query was recorded 8 s into the stream, on a clock of its own that lies `offset_s` off the guess.
    query_s = 100.0 + 0.04 * np.arange(75)
    shown = smooth_stream(query_s + (8.0 - 100.0) + offset_s, query_rng)[None]
    query = interleaved(100.0, 0.2, shown, np.ones((1, 75), bool), 5)
    mask = np.ones((1, 100), bool)
    mask[0, rng.integers(0, 100, 10)] = False
    found = fit_near(query, [(3.0, token, mask)], np.zeros(1, np.int64), np.array([-92.0]), 2.0)
    assert found.offset_s[0] == pytest.approx(-92.0 + offset_s, abs=0.003)
    assert found.score[0] > 0.99


def test_guesses_at_the_edges_of_streams_of_different_length():
    rng = np.random.default_rng(3)
    short, long = unit(rng.normal(size=(2, 8, 4))), unit(rng.normal(size=(2, 40, 4)))
    streams = [(0.0, short, np.ones((2, 8), bool)), (10.0, long, np.ones((2, 40), bool))]
    query = QueryTokens(0.0, 0.2, long[None, :, 30:], np.ones((1, 2, 10), bool))
    found = fit_near(query, streams, np.array([0, 1, 1]), np.array([0.0, 16.2, 99.0]), 0.6)
    assert found.score[1] == pytest.approx(1, abs=1e-5)
    assert found.offset_s[1] == pytest.approx(16.0, abs=0.1)
    assert found.score[0] < 0.9
    assert found.score[2] == -np.inf


def test_a_query_over_the_end_of_a_stream_needs_its_share_of_all_that_could_meet():
    """A guess at the very end sees only few tokens of the stream; that they fit is no match of a long query."""
    rng = np.random.default_rng(4)
    stream = unit(rng.normal(size=(1, 40, 8)))
    streams = [(0.0, stream, np.ones((1, 40), bool))]
    asked = unit(rng.normal(size=(1, 1, 20, 8)))
    asked[0, 0, :10] = stream[0, 30:]
    query = QueryTokens(0.0, 0.2, asked, np.ones((1, 1, 20), bool))
    half = fit_near(query, streams, np.zeros(1, np.int64), np.array([6.0]), 0.2, min_share=0.5)
    most = fit_near(query, streams, np.zeros(1, np.int64), np.array([6.0]), 0.2, min_share=0.8)
    assert half.score[0] == pytest.approx(1, abs=1e-5)
    assert most.score[0] == -np.inf


def test_parabola_is_exact_on_a_parabola():
    m = np.arange(9.0)
    scores = np.stack([1 - 0.01 * (m - 4.3) ** 2, 1 - 0.01 * (m - 0.0) ** 2]).astype(np.float32)
    _, position = peak(scores)
    assert position == pytest.approx([4.3, 0.0], abs=1e-4)


def test_shapes_that_do_not_fit_are_refused():
    query = QueryTokens(0.0, 0.2, np.zeros((1, 2, 3, 4), np.float32), np.ones((1, 2, 3), bool))
    with pytest.raises(UsageError, match="cannot be compared"):
        lag_scores(query, np.zeros((1, 3, 3, 4), np.float32), np.ones((1, 3, 3), bool), 0, 1)
    with pytest.raises(UsageError, match="empty"):
        lag_scores(query, np.zeros((1, 2, 3, 4), np.float32), np.ones((1, 2, 3), bool), 1, 0)


def test_the_best_near_a_guess_is_that_of_a_plain_loop_whatever_is_masked():
    rng = np.random.default_rng(6)
    query = QueryTokens(2.0, 0.2, unit(rng.normal(size=(5, 3, 8, 16))), rng.random((5, 3, 8)) > 0.3)
    query.mask[:, 2] = False
    streams = []
    for length in (30, 30, 12):
        streams.append((1.0, unit(rng.normal(size=(3, length, 16))), rng.random((3, length)) > 0.3))
    streams[1][2][:] = False
    guess_s = np.array([1.0, 1.0, 0.4])
    found = fit_near(query, streams, np.arange(3), guess_s, 0.6, min_share=0.5)
    assert found.score[1] == -np.inf
    for i in (0, 2):
        start_s, token, mask = streams[i]
        first = round((guess_s[i] + query.start_s - start_s) / 0.2)
        scores = {
            start_s - query.start_s + lag * 0.2 - phase * query.hop_s: loop_score(query, token, mask, lag, phase, 0.5)
            for lag in range(first - 3, first + 4)
            for phase in range(5)
        }
        best_s = max(scores, key=lambda offset_s: scores[offset_s])
        assert found.score[i] == pytest.approx(scores[best_s], abs=1e-5)
        # Refined by less than half the distance of two phases.
        assert abs(found.offset_s[i] - best_s) <= query.hop_s / 2 + 1e-9
