"""Correlation at all lags against the textbook formula, lag by lag."""

from __future__ import annotations

import numpy as np
import pytest

from motionseek.search.correlate import cosine, lags, pearson


def test_pearson_equals_numpy_on_each_overlap():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 23)) + 50, rng.normal(size=(2, 31)) - 7
    x_mask, y_mask = rng.random((2, 23)) > 0.2, rng.random((2, 31)) > 0.2
    r, count = pearson(x, x_mask, y, y_mask)
    for row in range(2):
        for m, lag in enumerate(lags(23, 31).astype(int)):
            pairs = [(i, i + lag) for i in range(23) if 0 <= i + lag < 31 and x_mask[row, i] and y_mask[row, i + lag]]
            assert count[row, m] == len(pairs)
            if len(pairs) > 2:
                a, b = np.array(pairs).T
                assert r[row, m] == pytest.approx(np.corrcoef(x[row, a], y[row, b])[0, 1], abs=1e-6)


def test_pearson_without_variance_is_zero():
    r, _ = pearson(np.full(10, 3.0), np.ones(10, bool), np.arange(10.0), np.ones(10, bool))
    assert np.abs(r).max() == 0


def test_cosine_equals_a_loop():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(2, 6, 4)).astype(np.float32), rng.normal(size=(2, 9, 4)).astype(np.float32)
    x_mask, y_mask = rng.random((2, 6)) > 0.3, rng.random((2, 9)) > 0.3
    score, count = cosine(x, x_mask, y, y_mask)
    for m, lag in enumerate(lags(6, 9).astype(int)):
        pairs = [
            x[p, i] @ y[p, i + lag]
            for p in range(2)
            for i in range(6)
            if 0 <= i + lag < 9 and x_mask[p, i] and y_mask[p, i + lag]
        ]
        assert count[m] == len(pairs)
        assert score[m] == pytest.approx(np.mean(pairs) if pairs else 0, abs=1e-5)


def test_long_streams_are_those_of_short_ones_on_every_lag_that_is_looked_at():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(2, 20_000)), rng.normal(size=(2, 40_000))
    x_mask, y_mask = rng.random(x.shape) > 0.1, rng.random(y.shape) > 0.1
    r, count = pearson(x, x_mask, y, y_mask)
    assert r.shape == count.shape == (2, 59_999)
    for lag in (-15_000, 0, 12_345, 39_000):
        first, last = max(0, -lag), min(20_000, 40_000 - lag)
        for row in range(2):
            both = x_mask[row, first:last] & y_mask[row, first + lag : last + lag]
            a, b = x[row, first:last][both], y[row, first + lag : last + lag][both]
            assert count[row, lag + 19_999] == len(a)
            assert r[row, lag + 19_999] == pytest.approx(np.corrcoef(a, b)[0, 1], abs=1e-9)
