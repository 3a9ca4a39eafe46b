"""Following people, with an estimator that is told where they are."""

from dataclasses import dataclass

import numpy as np
import pytest

from motionseek.indexer.pose.people import MEMORY_S, People
from motionseek.indexer.pose.region import Body, Region
from motionseek.indexer.pose.smooth import OneEuro

FPS = 25
SIZE = 50.0
PICTURE = np.zeros((240, 240, 3), np.uint8)
WHOLE = np.full(2, 240, np.float32)


def body(x, y):
    spread = np.linspace(-0.5, 0.5, 17)
    joints = np.stack([x + 0.4 * SIZE * spread, y + SIZE * spread], axis=1)
    guides = np.array([[x, y], [x, y - SIZE / 2]], np.float32)
    return Body(joints.astype(np.float32), np.ones(17, np.float32), guides, presence=1.0, size=SIZE)


@dataclass
class Told:
    """Sees those who are there in the present picture, and finds who lies nearest to where it looks."""

    scene: list
    now: int = 0
    name = "told"

    def detect(self, picture):
        return [Region.around(*(body(*where).guides / WHOLE), WHOLE) for where in self.scene[self.now]]

    def look(self, picture, region):
        apart = [np.hypot(*(region.middle - where)) for where in self.scene[self.now]]
        return body(*self.scene[self.now][np.argmin(apart)]) if min(apart, default=SIZE) < 0.5 * SIZE else None


def follow(scene, most=4):
    told = Told(scene)
    people = People(told, most=most)
    for told.now in range(len(scene)):
        people.step(told.now / FPS, PICTURE)
    return people.everybody


def test_two_people_keep_their_numbers_while_they_move():
    scene = [[(40 + i, 60), (200 - i, 180)] for i in range(100)]
    first, second = follow(scene)
    assert (first.number, second.number) == (0, 1)
    assert len(first.t_s) == len(second.t_s) == 100
    # One-euro smoothing follows steady motion with a lag of less than a picture.
    assert first.joints[-1].mean(axis=0) == pytest.approx((139, 60), abs=1)


def test_a_newcomer_is_found_within_half_a_second():
    scene = [[(60, 60), *([(200, 150)] if i >= 30 else [])] for i in range(80)]
    _, second = follow(scene)
    assert 30 / FPS <= second.t_s[0] <= 30 / FPS + 0.5


def test_who_comes_back_soon_and_near_is_the_same_and_later_another():
    def scene(gap_s):
        return [[(60, 60)]] * 30 + [[]] * round(gap_s * FPS) + [[(64, 62)]] * 30

    assert len(follow(scene(MEMORY_S / 2))) == 1
    assert len(follow(scene(MEMORY_S * 2))) == 2


def test_who_jumps_to_another_place_is_another():
    scene = [[(60, 60)]] * 30 + [[(180, 180)]] * 30
    # In the picture where the one is missed nobody looks for the other.
    assert [len(person.t_s) for person in follow(scene)] == [30, 29]


def test_no_more_than_wanted_are_followed():
    scene = [[(40, 60), (120, 120), (200, 180)]] * 20
    assert len(follow(scene, most=2)) == 2


def test_two_who_become_one_picture_are_not_counted_twice():
    scene = [[(60 + i, 120), (180 - i, 120)] for i in range(60)] + [[(120, 120)]] * 40
    everybody = follow(scene)
    late = [sum(t > 70 / FPS for t in person.t_s) for person in everybody]
    assert sorted(late)[-1] >= 28
    assert sorted(late)[-2] == 0


def test_the_one_euro_filter_is_its_published_recursion():
    rng = np.random.default_rng(0)
    t_s = np.cumsum(rng.uniform(0.02, 0.06, 50))
    x = np.cumsum(rng.normal(0, 3, 50))
    size, min_cutoff, beta = 80.0, 0.05, 80.0

    def alpha(cutoff, step):
        tau = 1 / (2 * np.pi * cutoff)
        return 1 / (1 + tau / step)

    expected, smooth, speed = [x[0]], x[0], 0.0
    for i in range(1, 50):
        step = t_s[i] - t_s[i - 1]
        raw_speed = (x[i] - x[i - 1]) / step / size
        speed = alpha(1.0, step) * raw_speed + (1 - alpha(1.0, step)) * speed
        a = alpha(min_cutoff + beta * abs(speed), step)
        smooth = a * x[i] + (1 - a) * smooth
        expected.append(smooth)
    euro = OneEuro(min_cutoff, beta)
    got = [euro(t, np.full((3, 2), v, np.float32), size)[2, 1] for t, v in zip(t_s, x, strict=True)]
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)
