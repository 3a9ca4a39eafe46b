"""Who wears what: swings in closed form, and the assignment against trying all of them."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from swings import angle, body, forearm

from motionseek.errors import QueryError, UsageError
from motionseek.search.locate import Located, Worn, _assigned, locate
from motionseek.types import PARTS

SENSOR_S, SEEN_S = np.arange(0, 15, 0.01), np.arange(0, 15, 1 / 30)


def person(name, seed, right_seed=None, clock_s=None):
    """A body whose left forearm swings by `seed`, and its right one by `right_seed`."""
    track = replace(body(SEEN_S, seed=seed, clock_s=clock_s), person=name)
    if right_seed is None:
        return track
    theta, _ = angle(SEEN_S, right_seed)
    xy = track.xy_px.copy()
    xy[:, 8] = [100, 200]
    xy[:, 10] = xy[:, 8] + 80 * np.stack([np.sin(theta), np.cos(theta)], axis=1)
    return replace(track, xy_px=xy)


def sensor(seed, placement="unknown", **changes):
    return replace(forearm(SENSOR_S, placement, seed=seed), **changes)


def where(found):
    return [(worn.person, worn.part) for worn in found.sensors]


def test_everybody_gets_their_own_sensors_and_a_stranger_none():
    people = [person("ann", 1, 2), person("bob", 3, 4), person("cid", 5)]
    sensors = [sensor(seed) for seed in (4, 1, 9, 5, 2, 3)]
    found = locate(sensors, people)
    assert where(found) == [
        ("bob", "right_wrist"),
        ("ann", "left_wrist"),
        (None, None),
        ("cid", "left_wrist"),
        ("ann", "right_wrist"),
        ("bob", "left_wrist"),
    ]
    ann = found.sensors[1]
    assert ann.score > 0.7
    assert ann.margin == pytest.approx(ann.score - max(ann.people["bob"], ann.people["cid"], ann.score - ann.margin))
    assert "nobody moves like it" in found.sensors[2].reason
    assert found.sensors[2].margin > 0
    assert found.to_json()["sensors"][0]["person"] == "bob"
    assert found.people == ("ann", "bob", "cid")


def test_a_known_placement_leaves_one_part():
    people = [person("ann", 1, 2), person("bob", 2, 1)]
    assert where(locate(sensor(1, "left_wrist"), people)) == [("ann", "left_wrist")]
    assert where(locate(sensor(1, "right_wrist"), people)) == [("bob", "right_wrist")]
    assert where(locate(sensor(1, "head"), people)) == [(None, None)]


def test_two_sensors_alike_do_not_share_a_part():
    found = locate([sensor(1), sensor(1)], [person("ann", 1), person("bob", 7)])
    assert where(found).count(("ann", "left_wrist")) == 1
    refused = next(worn for worn in found.sensors if worn.person is None)
    assert "wears other sensors" in refused.reason


def test_sensors_of_one_wearer_stay_together():
    people = [person("ann", 1, 2), person("bob", 3, 4)]
    apart = [sensor(1), sensor(4)]
    assert where(locate(apart, people)) == [("ann", "left_wrist"), ("bob", "right_wrist")]
    held = locate([replace(imu, person="x") for imu in (sensor(1), sensor(2), sensor(3))], people)
    assert where(held) == [("ann", "left_wrist"), ("ann", "right_wrist"), (None, None)]
    with pytest.raises(QueryError, match="both on the left_wrist"):
        locate([sensor(1, "left_wrist", person="x"), sensor(2, "left_hand", person="x")], people)


def test_the_offset_is_known_or_searched():
    people = [person("ann", 1, clock_s=SEEN_S + 40.5), person("bob", 3, clock_s=SEEN_S + 40.5)]
    assert where(locate([sensor(3)], people)) == [(None, None)]
    assert where(locate([sensor(3)], people, offset_s=40.5)) == [("bob", "left_wrist")]
    found = locate([sensor(3), sensor(1)], people, offset_s=39, max_offset_s=3)
    assert where(found) == [("bob", "left_wrist"), ("ann", "left_wrist")]
    assert found.offset_s == pytest.approx(40.5, abs=0.02)


def test_stillness_and_strangers_in_time_are_nobody():
    still = forearm(SENSOR_S, "unknown", still=True)
    assert locate(still, [person("ann", 1)]).sensors[0].reason == "nothing moves in the sensor"
    later = forearm(SENSOR_S, "unknown", seed=1, clock_s=SENSOR_S + 100)
    assert "never shows" in locate(later, [person("ann", 1)]).sensors[0].reason


def test_with_a_model(model):
    people = [person("ann", 1), person("bob", 3)]
    found = locate([sensor(3), sensor(1)], people, model=model, min_score=0.0)
    assert [worn.person for worn in found.sensors] == ["bob", "ann"]
    assert found.method.startswith("motion tokens")
    # Who is seen for less than a token's length wears nothing, and is in nobody's way.
    passing = replace(people[1], t_s=SEEN_S[:2], xy_px=people[1].xy_px[:2], confidence=people[1].confidence[:2])
    found = locate(sensor(1), [people[0], passing], model=model, min_score=0.0)
    assert where(found) == [("ann", "left_wrist")]


@pytest.mark.parametrize("seed", range(5))
def test_the_assignment_is_the_best_of_all(seed):
    rng = np.random.default_rng(seed)
    gain = rng.normal(size=(3, 2, len(PARTS)))
    slots = [None, *itertools.product(range(2), range(len(PARTS)))]

    def total(choice):
        taken = [slot for slot in choice if slot is not None]
        return -np.inf if len(set(taken)) < len(taken) else sum(gain[s][c] for s, c in enumerate(choice) if c)

    best = max(total(choice) for choice in itertools.product(slots, repeat=3))
    found = [slot if slot[0] is not None else None for slot in _assigned(gain, ["", "", ""])]
    assert total(found) == pytest.approx(best)


@pytest.mark.parametrize("seed", range(5))
def test_wearers_are_assigned_by_the_sum_of_their_sensors(seed):
    rng = np.random.default_rng(seed)
    gain = rng.normal(size=(4, 3, len(PARTS)))
    wearers = ["x", "y", "x", "y"]

    def of_pair(sensors, p):
        pairs = itertools.permutations(range(len(PARTS)), 2)
        return max(max(gain[sensors[0], p, a], 0) + max(gain[sensors[1], p, b], 0) for a, b in pairs)

    best = max(of_pair((0, 2), p) + of_pair((1, 3), q) for p, q in itertools.permutations(range(3), 2))
    found = _assigned(gain, wearers)
    assert sum(gain[s, p, part] for s, (p, part) in enumerate(found) if p is not None) == pytest.approx(best)
    for pair in ((0, 2), (1, 3)):
        assert len({found[s][0] for s in pair} - {None}) <= 1


def test_bad_input():
    ann = person("ann", 1)
    with pytest.raises(QueryError, match="same person"):
        locate(sensor(1), [ann, ann])
    with pytest.raises(QueryError, match="no pose track"):
        locate(sensor(1), [])
    with pytest.raises(QueryError, match="max_offset_s"):
        locate(sensor(1), ann, max_offset_s=-1)
    for least in (np.nan, np.inf):
        with pytest.raises(QueryError, match="min_score must be finite"):
            locate(sensor(1), ann, min_score=least)
    with pytest.raises(QueryError, match="no such file"):
        locate(sensor(1), "nowhere")
    with pytest.raises(UsageError, match="same part"):
        Located((Worn("a", "ann", "head", 1, 1, {}),) * 2, ("ann",), 0.0, "")
    with pytest.raises(UsageError, match="nobody for a reason"):
        Worn("a", None, None, 0, 0, {})
