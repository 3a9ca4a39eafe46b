"""Takes without seams: bones keep their lengths, nothing jolts, and a single motion stays itself."""

from __future__ import annotations

import numpy as np
import pytest

from motionseek.encoders.simulate.gait import walk
from motionseek.encoders.simulate.motion import joint
from motionseek.encoders.simulate.posture import stand
from motionseek.encoders.simulate.sensors import imu_signals
from motionseek.encoders.simulate.take import faded, followed
from motionseek.errors import UsageError


@pytest.fixture(scope="module")
def motions():
    rng = np.random.default_rng(3)
    return [make(rng, 4.0) for make in (walk, stand, walk)]


def bones(motion):
    pairs = (("left_elbow", "left_wrist"), ("right_hip", "right_knee"), ("pelvis", "chest"))
    return [np.linalg.norm(motion.position_m[:, joint(a)] - motion.position_m[:, joint(b)], axis=1) for a, b in pairs]


def test_one_motion_is_itself(motions):
    alone = faded(motions[:1])
    np.testing.assert_allclose(alone.position_m, motions[0].position_m, atol=1e-9)
    np.testing.assert_allclose(alone.rotation, motions[0].rotation, atol=1e-9)


def test_no_seam_jolts_and_no_limb_shrinks(motions):
    take = faded(motions, fade_s=0.8)
    assert len(take.position_m) == sum(len(m.position_m) for m in motions) - 2 * round(0.8 * take.rate_hz)
    for of_take, *of_clips in zip(bones(take), *(bones(m) for m in motions), strict=True):
        lengths = np.concatenate(of_clips)
        assert of_take.min() > lengths.min() - 1e-6
        assert of_take.max() < lengths.max() + 1e-6
    joined = imu_signals(take, "left_wrist")
    hardest = max(np.linalg.norm(imu_signals(m, "left_wrist")[:, 3:], axis=1).max() for m in motions)
    seam = slice(len(motions[0].position_m) - round(0.9 * take.rate_hz), len(motions[0].position_m) + 10)
    assert np.linalg.norm(joined[seam, 3:], axis=1).max() < 1.2 * hardest
    step_m = np.linalg.norm(np.diff(take.position_m[:, 0], axis=0), axis=1)
    assert step_m.max() < 2 * max(np.linalg.norm(np.diff(m.position_m[:, 0], axis=0), axis=1).max() for m in motions)


def test_the_way_goes_on_in_the_same_direction(motions):
    take = faded([motions[0], motions[2]])
    for motion, part in ((motions[0], slice(20, 120)), (motions[2], slice(-120, -20))):
        way_m = np.diff(take.position_m[part][[0, -1], 0], axis=0)[0, [0, 2]]
        own_m = np.diff(motion.position_m[part][[0, -1], 0], axis=0)[0, [0, 2]]
        assert np.linalg.norm(way_m) == pytest.approx(np.linalg.norm(own_m), rel=1e-6)


def test_a_camera_that_follows_loses_the_way_only(motions):
    seen = followed(motions[0])
    assert np.abs(seen.position_m[:, 0, [0, 2]]).max() < 1.5
    np.testing.assert_array_equal(seen.rotation, motions[0].rotation)
    np.testing.assert_array_equal(seen.position_m[:, 0, 1], motions[0].position_m[:, 0, 1])


def test_bad_takes(motions):
    with pytest.raises(UsageError, match="at least one"):
        faded([])
    with pytest.raises(UsageError, match="resample"):
        faded([motions[0], motions[1].resample(30.0)])
    with pytest.raises(UsageError, match="two fades"):
        faded([motions[0], motions[1].crop(0, 30)])
