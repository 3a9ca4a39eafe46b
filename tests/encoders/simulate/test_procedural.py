"""Made-up motion against mechanics: gravity, rigid bones, rhythm, the ground."""

from __future__ import annotations

import numpy as np
import pytest

from motionseek.encoders.simulate.body import Figure, bend
from motionseek.encoders.simulate.curves import GRAVITY_MPS2, RATE_HZ, glide, keyframes, wander
from motionseek.encoders.simulate.jumping import bouncing
from motionseek.encoders.simulate.motion import JOINTS, Motion, joint
from motionseek.encoders.simulate.procedural import CAPTIONS, GENERATORS
from motionseek.encoders.simulate.sensors import imu_signals
from motionseek.types import Float64

BONES = [
    *[("pelvis", "chest"), ("chest", "neck"), ("neck", "head")],
    *[
        (parent, f"{side}_{child}")
        for side in ("left", "right")
        for parent, child in (("chest", "shoulder"), ("pelvis", "hip"))
    ],
    *[
        (f"{side}_{parent}", f"{side}_{child}")
        for side in ("left", "right")
        for parent, child in (("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle"))
    ],
]
EVERY = pytest.mark.parametrize("label", GENERATORS)


def made(label: str, seed: int = 0, duration_s: float = 5.0) -> Motion:
    return GENERATORS[label](np.random.default_rng(seed), duration_s)


def acceleration(x: Float64) -> Float64:
    """Second differences (N - 2, …), m/s²."""
    return (x[2:] - 2 * x[1:-1] + x[:-2]) * RATE_HZ**2


def knee_deg(motion: Motion, side: str) -> Float64:
    """Angle by which the shank is folded behind the thigh; negative if the knee bent the wrong way."""
    thigh, shank = (motion.rotation[:, joint(f"{side}_{j}")] for j in ("hip", "knee"))
    turn = np.einsum("nji,njk->nik", thigh, shank)
    return np.degrees(np.arctan2(turn[:, 2, 1], turn[:, 1, 1]))


def spectrum_peak_hz(x: Float64) -> float:
    power = np.abs(np.fft.rfft((x - x.mean()) * np.hanning(len(x)), 16 * len(x)))
    return float(np.fft.rfftfreq(16 * len(x), 1 / RATE_HZ)[power.argmax()])


@EVERY
def test_is_a_rigid_body_of_the_asked_duration(label: str) -> None:
    for seed in range(6):
        motion = made(label, seed, duration_s=3.3 + seed)
        assert motion.duration_s == pytest.approx(3.3 + seed, abs=0.5 / RATE_HZ)
        assert motion.labels[0] == label
        assert np.isfinite(motion.position_m).all()
        identity = np.einsum("njab,njcb->njac", motion.rotation, motion.rotation)
        assert np.abs(identity - np.eye(3)).max() < 1e-9
        assert np.linalg.det(motion.rotation).min() > 0
        for parent, child in BONES:
            offset = motion.position_m[:, joint(child)] - motion.position_m[:, joint(parent)]
            own = np.einsum("nji,nj->ni", motion.rotation[:, joint(parent)], offset)
            assert np.ptp(own, axis=0).max() < 1e-6, (parent, child)


@EVERY
def test_knees_bend_forward_and_elbows_as_elbows_do(label: str) -> None:
    for seed in range(8):
        motion = made(label, seed)
        for side in ("left", "right"):
            assert knee_deg(motion, side).min() > -1
            upper, fore = (motion.rotation[:, joint(f"{side}_{j}")] for j in ("shoulder", "elbow"))
            assert np.einsum("ni,ni->n", upper[..., 2], fore[..., 1]).max() < 0.03


@EVERY
def test_the_same_seed_gives_the_same_motion_and_another_seed_another(label: str) -> None:
    first, again, other = made(label, 3), made(label, 3), made(label, 4)
    assert np.array_equal(first.position_m, again.position_m)
    assert np.array_equal(first.rotation, again.rotation)
    assert not np.allclose(first.position_m, other.position_m)


@pytest.mark.parametrize("label", sorted(set(GENERATORS) - {"descend stairs"}))
def test_nothing_sinks_into_the_ground(label: str) -> None:
    for seed in range(20):
        motion = made(label, seed)
        assert motion.position_m[..., 1].min() > -0.03


@EVERY
def test_every_variant_has_captions_and_a_side_is_never_contradicted(label: str) -> None:
    for seed in range(12):
        variant = made(label, seed, duration_s=2.0).labels[1]
        sentences = CAPTIONS[variant]
        assert 6 <= len(sentences) <= 15
        for side, opposite in (("left", "right"), ("right", "left")):
            if side in variant:
                assert not any(opposite in s.split() for s in sentences)


def test_no_caption_lacks_a_generator() -> None:
    assert all(any(key == label or key.startswith(f"{label}, ") for label in GENERATORS) for key in CAPTIONS)


def test_flight_is_free_fall_of_the_time_that_the_speed_gives() -> None:
    for seed in range(10):
        fig = Figure(np.random.default_rng(seed), 6.0)
        leaps = bouncing(fig, rate_hz=1.6, air=0.45, top=0.08)
        fall = acceleration(leaps.height)
        for off, on in zip(leaps.off_s, leaps.on_s, strict=True):
            inside = (fig.t > off) & (fig.t < on)
            flying = inside[2:] & inside[1:-1] & inside[:-2]
            assert np.abs(fall[flying] + GRAVITY_MPS2).max(initial=0) < 1e-6
            if off > 0 and on < 6:
                peak = 0.08 + GRAVITY_MPS2 * (on - off) ** 2 / 8
                assert leaps.height[inside].max() == pytest.approx(peak, abs=GRAVITY_MPS2 * 0.01**2 / 2 + 1e-9)


@pytest.mark.parametrize("label", ["jump", "jump rope", "hop"])
def test_a_jumper_feels_weightless_then_hard_landings(label: str) -> None:
    for seed in range(10):
        motion = made(label, seed, 6.0)
        felt = np.linalg.norm(imu_signals(motion, "waist")[:, :3], axis=1)
        pocket = np.linalg.norm(imu_signals(motion, "right_pocket")[:, :3], axis=1)
        assert felt.min() < 1.5
        assert pocket.min() < 4
        assert 18 < felt.max() < 70
        assert 18 < pocket.max() < 80


@pytest.mark.parametrize("label", ["stand", "sit", "lie"])
def test_stillness_reads_gravity_only(label: str) -> None:
    for seed in range(12):
        motion = made(label, seed)
        for placement in ("right_pocket", "waist", "left_wrist", "head"):
            signals = imu_signals(motion, placement)
            felt = np.linalg.norm(signals[:, :3], axis=1)
            assert felt.mean() == pytest.approx(GRAVITY_MPS2, abs=0.1)
            assert felt.std() < 0.15
            assert np.median(np.linalg.norm(signals[:, 3:], axis=1)) < 0.35


@pytest.mark.parametrize(("label", "low_hz", "high_hz"), [("walk", 1.4, 2.3), ("jog", 2.3, 2.9), ("run", 2.6, 3.2)])
def test_the_pelvis_bobs_once_a_step(label: str, low_hz: float, high_hz: float) -> None:
    for seed in range(10):
        motion = made(label, seed, 10.0)
        bob = motion.position_m[:, joint("pelvis"), 1]
        stride = motion.position_m[:, joint("left_ankle"), 1]
        assert low_hz * 0.94 < spectrum_peak_hz(bob) < high_hz * 1.06
        assert spectrum_peak_hz(bob) == pytest.approx(2 * spectrum_peak_hz(stride), rel=0.1)
        assert 0.015 < np.ptp(bob) < 0.13


@pytest.mark.parametrize(("label", "low_hz", "high_hz"), [("walk", 1.1, 2.3), ("jog", 2.1, 3.2)])
def test_on_the_spot_feet_rise_in_turn_and_come_down_where_they_left(label: str, low_hz: float, high_hz: float) -> None:
    rests = 0
    for seed in range(10):
        motion = made(f"{label} on the spot", seed, 10.0)
        left, right = (motion.position_m[:, joint(f"{side}_ankle")] for side in ("left", "right"))
        height = left[:, 1] - left[:, 1].min()
        rises = np.flatnonzero(np.diff((height > height.max() / 2).astype(int)) == 1)
        assert low_hz / 2 * 0.94 < RATE_HZ / np.median(np.diff(rises)) < high_hz / 2 * 1.06
        going = np.maximum(left[:, 1], right[:, 1]) > left[:, 1].min() + 0.01
        rests += bool(np.diff(np.flatnonzero(going)).max() > 0.4 * RATE_HZ)
        assert np.corrcoef(left[going, 1], right[going, 1])[0, 1] < -0.2
        for ankle in (left, right):
            down = ankle[ankle[:, 1] < ankle[:, 1].min() + 0.02]
            assert np.ptp(down[:, [0, 2]], axis=0).max() < 0.12
        low = motion.position_m[:, [joint("left_ankle"), joint("right_ankle")], 1].min(axis=1)
        in_the_air = float((low > low.min() + 0.03).mean())
        assert in_the_air < 0.05 if label == "walk" else in_the_air < 0.5
    assert 2 <= rests <= 8 if label == "jog" else rests == 0  # some stop now and then


@pytest.mark.parametrize("label", ["walk", "run"])
def test_arms_swing_against_the_legs_of_their_side(label: str) -> None:
    opposed = []
    for seed in range(12):
        motion = made(label, seed)
        arm, leg = (motion.rotation[:, joint(f"left_{j}"), 2, 1] for j in ("shoulder", "hip"))
        opposed.append(np.corrcoef(arm, leg)[0, 1])
    assert np.median(opposed) < -0.5


@pytest.mark.parametrize(("label", "low", "high"), [("walk", 40, 80), ("jog", 70, 125), ("run", 80, 135)])
def test_knees_fold_in_the_swing_as_in_gait_laboratories(label: str, low: float, high: float) -> None:
    folds = [knee_deg(made(label, seed), "right").max() for seed in range(10)]
    assert all(low < fold < high for fold in folds)


@pytest.mark.parametrize("label", ["walk", "climb stairs", "descend stairs", "squat"])
def test_planted_feet_do_not_slide(label: str) -> None:
    for seed in range(10):
        motion = made(label, seed)
        for side in ("left", "right"):
            ankle, foot = motion.position_m[:, joint(f"{side}_ankle")], motion.rotation[:, joint(f"{side}_ankle")]
            flat = np.abs(foot[:, 1, 2]) < 0.05
            speed = np.linalg.norm(np.diff(ankle, axis=0), axis=1) * RATE_HZ
            # A flat foot is down for a fifth of the time at least; swings pass through flat quickly.
            still = np.sort(speed[flat[1:] & flat[:-1]])[: len(speed) // 5]
            assert len(still) == len(speed) // 5
            assert np.median(still) < 0.03
            assert still.max() < 0.12


def test_stairs_go_up_and_down_by_a_riser_a_step() -> None:
    for label, sign in (("climb stairs", 1), ("descend stairs", -1)):
        for seed in range(6):
            motion = made(label, seed, 8.0)
            ankle = motion.position_m[:, joint("left_ankle")]
            rise, run = sign * (ankle[-1, 1] - ankle[0, 1]), ankle[-1, 2] - ankle[0, 2]
            assert 0.45 < rise / run < 0.85


def test_sitting_down_ends_lower_with_level_thighs_and_standing_up_upright() -> None:
    for seed in range(8):
        down, up = made("sit down", seed), made("stand up", seed)
        for motion, seated, upright in ((down, -1, 0), (up, 0, -1)):
            thigh = motion.rotation[:, joint("left_hip"), 1, 1]
            assert thigh[upright] > 0.9
            assert abs(thigh[seated]) < 0.5
            assert motion.position_m[upright, 0, 1] - motion.position_m[seated, 0, 1] > 0.2


def test_one_sided_gestures_move_that_side() -> None:
    for label, part in (
        ("wave", "wrist"),
        ("knock", "wrist"),
        ("throw", "wrist"),
        ("arm curl", "wrist"),
        ("kick", "ankle"),
    ):
        for seed in range(12):
            motion = made(label, seed)
            travel = {
                side: np.linalg.norm(np.diff(motion.position_m[:, joint(f"{side}_{part}")], axis=0), axis=1).sum()
                for side in ("left", "right")
            }
            for side, other in (("left", "right"), ("right", "left")):
                if side in motion.labels[1]:
                    assert travel[side] > 1.5 * travel[other], motion.labels


def test_keyframes_meet_their_keys_and_match_free_fall_exactly() -> None:
    t = np.linspace(0, 1, 101)
    keys = keyframes(t, [0.0, 0.5, 1.0], [[0.0, 1.0], [2.0, -1.0], [0.5, 0.0]])
    assert np.allclose(keys[[0, 50, 100]], [[0, 1], [2, -1], [0.5, 0]])
    g = 9.81
    fall = keyframes(t, [0.0, 1.0], [0.0, 3 - g / 2], [3.0, 3 - g], -g)
    assert np.allclose(fall, 3 * t - g * t**2 / 2)


def test_glide_and_wander_have_the_size_they_promise() -> None:
    x = np.linspace(0, 1, 1001)
    assert glide(x)[[0, 500, 1000]] == pytest.approx([0, 0.5, 1])
    assert np.diff(glide(x)).max() * 1000 == pytest.approx(1 / (1 - 0.4), rel=1e-3)
    noise = wander(np.random.default_rng(0), 4000, 0.3, 2.0, 50)
    assert noise.std() == pytest.approx(0.3, rel=0.05)


def test_inverse_kinematics_reaches_what_can_be_reached() -> None:
    rng = np.random.default_rng(0)
    start = rng.normal(size=(200, 3))
    aim = rng.normal(size=(200, 3)) + np.array([0, -3, 0])
    target = start + aim / np.linalg.norm(aim, axis=1, keepdims=True) * rng.uniform(0.3, 0.85, (200, 1))
    middle, end, *_ = bend(start, target, np.tile([1.0, 0, 0], (200, 1)), 0.45, 0.44, back=False)
    assert np.abs(end - target).max() < 1e-9
    assert np.allclose(np.linalg.norm(middle - start, axis=1), 0.45)
    assert np.allclose(np.linalg.norm(end - middle, axis=1), 0.44)


def test_joint_order_is_complete() -> None:
    assert {name for bone in BONES for name in bone} == set(JOINTS)
