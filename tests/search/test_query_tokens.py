"""Tokens of a query that was cut out of its recording."""

from dataclasses import replace

import numpy as np

from motionseek.encoders.model import load_model
from motionseek.encoders.preprocess import Grid
from motionseek.search.encode import held_at_ends, query_tokens
from motionseek.search.query import Query
from motionseek.types import Imu, Span


def test_streams_stay_as_they_were_beyond_their_ends_and_are_masked_there() -> None:
    x = np.array([[[0.0, 5, 6, 7, 0]], [[1, 2, 3, 4, 5]], [[0, 0, 0, 0, 0]]], np.float32)
    mask = np.array([[0, 1, 1, 1, 0], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0]], np.bool_)
    held = held_at_ends(Grid(1.0, 50.0, x, mask), 2)
    assert held.start_s == 1.0 - 2 / 50
    np.testing.assert_array_equal(held.x[0, 0], [5, 5, 5, 5, 6, 7, 7, 7, 7])
    np.testing.assert_array_equal(held.x[1, 0], [1, 1, 1, 2, 3, 4, 5, 5, 5])
    assert not held.x[2].any()
    np.testing.assert_array_equal(held.mask, np.pad(mask, ((0, 0), (2, 2))))


def test_a_still_sensor_has_the_same_tokens_cut_out_as_in_its_recording() -> None:
    encoder = load_model("starter").encoder("imu", "motion")
    t_s = np.arange(0, 8, 0.02)
    still = np.tile(np.array([1.0, 9.5, 2.0], np.float32), (len(t_s), 1))
    imu = Imu(t_s, still, t_s, still * 0.1, "right_wrist", "a", "still")
    span = Span(3.0, 5.0)
    within = query_tokens(replace(Query.of([imu]), span=span), encoder)
    alone = query_tokens(replace(Query.of([imu.crop(span)]), span=span), encoder)
    both = within.mask & alone.mask
    assert both.sum() > 0.9 * within.mask.sum()
    np.testing.assert_allclose(alone.token[both], within.token[both], atol=1e-4)


def test_every_phase_has_as_many_tokens() -> None:
    encoder = load_model("starter").encoder("imu", "motion")
    t_s = np.arange(0, 8, 0.02)
    wave = np.sin(t_s)[:, None] * np.ones(3)
    whole = Query.of([Imu(t_s, wave, t_s, wave, "right_wrist", "a", "wave")])
    for length_s, held in ((0.4, 1), (2.4, 11), (2.5, 11), (2.6, 12)):
        mask = query_tokens(replace(whole, span=Span(3.0, 3.0 + length_s)), encoder).mask
        assert mask.any(1).sum(1).tolist() == [held] * 5
