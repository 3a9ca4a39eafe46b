"""Jumps: a counter-movement, a push, free flight, a landing. The pelvis is ballistic between take-off and touchdown."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike

from motionseek.encoders.simulate.body import LEFT, RIGHT, SIGN, Figure
from motionseek.encoders.simulate.curves import GRAVITY_MPS2, TURN, beats, keyframes, phase_of, ring, wander
from motionseek.encoders.simulate.motion import Motion
from motionseek.types import Float64

KNEES_SOFT_M = 0.025
HEEL_FREE_M = 0.012


@dataclass(frozen=True)
class Leaps:
    """Height of the pelvis over standing, and when the feet leave and meet the ground."""

    height: Float64
    """(N,) m"""
    off_s: Float64
    """(K,)"""
    on_s: Float64
    """(K,) the touchdown that ends the flight begun at off_s"""


def toe_off_height(fig: Figure, pitch: float) -> float:
    """The pelvis' height over standing at which straight legs and heels up by `pitch` leave the ground."""
    a, b = fig.body.ankle_up, fig.body.ball_ahead
    return a * float(np.cos(pitch)) + b * float(np.sin(pitch)) - a + HEEL_FREE_M


def jolt(fig: Figure, at: ArrayLike, low_m: float, high_m: float, speed: ArrayLike = 1.0) -> Float64:
    """(N,) m: impacts at the times `at` (K,), each of random size times `speed`, in this person's flesh and pocket."""
    at = np.atleast_1d(np.asarray(at, dtype=np.float64))
    size = np.asarray(speed) * fig.rng.uniform(low_m, high_m) * fig.rng.uniform(0.6, 1.4, at.shape)
    return ring(fig.t, at, size, fig.rng.uniform(8, 14), fig.rng.uniform(0.03, 0.07))


def bouncing(fig: Figure, rate_hz: float, air: float, top: float) -> Leaps:
    """Jump after jump with no rest. top: m, the pelvis at toe-off
    air: share of the time in flight, raised where the time on the ground would be too long for a rebound"""
    rng = fig.rng
    period = 1 / rate_hz
    air = max(air, 1 - rng.uniform(0.3, 0.42) / period)
    landing = beats(rng, fig.duration_s, period, rng.uniform(0.01, 0.04))
    flight = air * period * rng.normal(1, 0.06, len(landing)).clip(0.85, 1.15)
    off = landing - flight
    speed = GRAVITY_MPS2 * flight / 2
    at = np.stack([off, landing], axis=1).ravel()
    slope = np.stack([speed, -speed], axis=1).ravel()
    return Leaps(keyframes(fig.t, at, np.full(len(at), top), slope, -GRAVITY_MPS2), off, landing)


def single_jumps(fig: Figure, top: float, pause_s: tuple[float, float]) -> tuple[Leaps, Float64]:
    """Jumps from standing with a pause between. → leaps, and (K, 6) the times of each: start, lowest point, toe-off,
    touchdown, lowest point, upright again."""
    rng = fig.rng
    habit = rng.uniform(0.12, 0.45), rng.uniform(0.15, 0.38), rng.uniform(0.1, 0.32)
    count = int(fig.duration_s / (1.2 + pause_s[0])) + 2
    spread = rng.normal(1, 0.08, (3, count)).clip(0.8, 1.2)
    high, crouch, give = (h * s for h, s in zip(habit, spread, strict=True))
    speed = np.sqrt(2 * GRAVITY_MPS2 * high)
    push = 2.0 * (crouch + top) / speed
    land = 2.1 * (give + top) / speed
    rest = rng.uniform(*pause_s, count)
    dip = rng.uniform(0.3, 0.55, count) * np.sqrt(crouch / 0.25)
    spans = np.stack([rest, dip, push, 2 * speed / GRAVITY_MPS2, land, rng.uniform(0.35, 0.7, count)], axis=1)
    ends = np.cumsum(spans.ravel())
    first = ends[5]
    ends -= (
        rng.uniform(0, min(first, rest[0])) if fig.duration_s > first else first - spans[0, 5] - fig.duration_s * 0.7
    )
    times = ends.reshape(-1, 6)
    zero = np.zeros(count)
    height = np.stack([zero, -crouch, zero + top, zero + top, -give, zero], axis=1).ravel()
    slope = np.stack([zero, zero, speed, -speed, zero, zero], axis=1).ravel()
    thrust = np.stack(
        [zero, 1.3 * speed / push, zero - GRAVITY_MPS2, zero - GRAVITY_MPS2, 0.7 * speed / land, zero], axis=1
    ).ravel()
    return Leaps(keyframes(fig.t, ends, height, slope, thrust), times[:, 2], times[:, 3]), times


def spring_legs(fig: Figure, leaps: Leaps, pitch: float, *, ground: Float64, pelvis: Float64, tuck_m: float) -> Float64:
    """Trunk and legs of a jumper. ground: (N, 2, 3) where the feet would stand     pelvis: (N, 2) m, its x and z
    → (N,) how deep the crouch is, m."""
    body, rng = fig.body, fig.rng
    speed = GRAVITY_MPS2 * (leaps.on_s - leaps.off_s) / 2
    shaken = leaps.height + jolt(fig, leaps.on_s, 0.0005, 0.0018, speed)
    crouch = 0.02 * np.logaddexp(0, -leaps.height / 0.02 - 1)
    root = np.stack([pelvis[:, 0], body.hip_height - KNEES_SOFT_M + shaken, pelvis[:, 1]], axis=1)
    lean = rng.uniform(0.8, 1.8) * crouch
    root[:, 2] -= rng.uniform(0.15, 0.35) * crouch
    yaw = wander(rng, fig.n, 0.03, 1.0)
    fig.trunk(root, pelvis=(yaw, 0.5 * lean, 0), chest=(0, 0.6 * lean + rng.uniform(-0.05, 0.1), 0))
    rise = 0.006 * np.logaddexp(0, (leaps.height - HEEL_FREE_M) / 0.006)
    most = toe_off_height(fig, pitch) - HEEL_FREE_M
    a, b = body.ankle_up, body.ball_ahead
    heel = np.arcsin(np.clip((a + np.minimum(rise, most)) / np.hypot(a, b), -1, 1)) - np.arctan2(a, b)
    through = phase_of_flight(fig.t, leaps)
    lift = np.maximum(rise - most, 0.0) + tuck_m * np.sin(np.pi * through) ** 2
    sole = ground.copy()
    sole[..., 1] += lift[:, None]
    fig.legs(sole, np.broadcast_to(np.array(SIGN) * rng.uniform(0.03, 0.2), (fig.n, 2)), heel[:, None])
    return np.asarray(crouch)


def phase_of_flight(t: Float64, leaps: Leaps) -> Float64:
    """(N,) 0 at toe-off → 1 at touchdown; 0 or 1 on the ground."""
    k = np.clip(np.searchsorted(leaps.off_s, t, side="right") - 1, 0, len(leaps.off_s) - 1)
    return np.asarray(np.clip((t - leaps.off_s[k]) / (leaps.on_s[k] - leaps.off_s[k]), 0, 1))


def footprints(fig: Figure, leaps: Leaps, step: Float64, wide: Float64) -> tuple[Float64, Float64]:
    """Feet that move in flight only, and the pelvis carried over them.

    step: (K, 2) m sideways and ahead in each flight     wide: (K + 1,) m between the feet before, between and after
    → ground (N, 2, 3), pelvis (N, 2)
    """
    at = np.stack([leaps.off_s, leaps.on_s], axis=1).ravel()
    place = np.concatenate([np.zeros((1, 2)), np.cumsum(step, axis=0)])
    middle = keyframes(fig.t, at, np.stack([place[:-1], place[1:]], axis=1).reshape(-1, 2))
    width = keyframes(fig.t, at, np.stack([wide[:-1], wide[1:]], axis=1).ravel())
    ground = np.zeros((fig.n, 2, 3))
    ground[..., 0] = middle[:, :1] + width[:, None] / 2 * np.array(SIGN)
    ground[..., 2] = middle[:, 1:]
    lead = 0.25 * step
    speed = (step - 2 * lead) / (leaps.on_s - leaps.off_s)[:, None]
    carried = np.stack([place[:-1] + lead, place[1:] - lead], axis=1).reshape(-1, 2)
    return ground, keyframes(fig.t, at, carried, np.repeat(speed, 2, axis=0))


def _steps(fig: Figure, leaps: Leaps, ahead_m: float = 0.0) -> Float64:
    spread = fig.rng.normal(0, 0.02, (len(leaps.off_s), 2))
    spread[1:] -= 0.6 * spread[:-1]
    return spread + ahead_m * np.array([0.0, 1.0]) * fig.rng.normal(1, 0.07, (len(spread), 1))


def jump(rng: Generator, duration_s: float) -> Motion:
    """Two-legged vertical jumps: "continuous", "with pauses" or "forward"."""
    fig = Figure(rng, duration_s)
    variant = str(rng.choice(["continuous", "with pauses", "forward"], p=[0.5, 0.3, 0.2]))
    pitch = rng.uniform(0.5, 0.9)
    top = toe_off_height(fig, pitch)
    swing = rng.uniform(0.3, 1.4) * (rng.random() < 0.6)
    bias, elbow = rng.uniform(0.0, 0.5), rng.uniform(0.2, 1.6)
    rate = float(np.exp(rng.uniform(np.log(1.1), np.log(2.2))))
    continuous = variant == "continuous" or (variant == "forward" and rng.random() < 0.3)
    if continuous:
        leaps = bouncing(fig, rate, rng.uniform(0.38, 0.58) * min(1.0, rate**-0.3), top)
        lag = rng.uniform(-0.1, 0.1)
        beat = phase_of(fig.t, leaps.on_s) + lag
        flexion = bias - swing * 0.6 * np.cos(TURN * (beat + 0.12))
    else:
        leaps, times = single_jumps(fig, top, (0.2, 0.8) if rng.random() < 0.5 else (0.8, 2.5))
        times[:, 1] += 0.5 * (times[:, 0] - times[:, 1])
        shape = np.array([0.0, -0.5, 1.0, 0.8, 0.2, 0.0]) * swing + bias * 0.3
        flexion = keyframes(fig.t, times.ravel(), np.tile(shape, len(times)))
    ahead = rng.uniform(0.15, 0.45) if continuous else rng.uniform(0.3, 1.1)
    step = _steps(fig, leaps, ahead if variant == "forward" else 0.0)
    ground, pelvis = footprints(fig, leaps, step, np.full(len(step) + 1, rng.uniform(0.12, 0.4)))
    crouch = spring_legs(fig, leaps, pitch, ground=ground, pelvis=pelvis, tuck_m=rng.uniform(0.0, 0.08))
    if not swing and rng.random() < 0.3:
        _hands_on_hips(fig)
    else:
        follow = rng.uniform(-1.5, 1.5) * leaps.height
        for side in (LEFT, RIGHT):
            fig.arm(
                side,
                flexion * rng.normal(1, 0.08) + (0 if swing else 0.3) * follow,
                elbow + 0.2 * flexion + 0.8 * crouch,
                abduction=rng.uniform(0.08, 0.5) + 0.4 * np.abs(follow) * (not swing),
                inward=rng.uniform(0, 0.5),
            )
    return fig.motion("jump", variant)


def _hands_on_hips(fig: Figure) -> None:
    at = np.array([0.02, -0.42, 0.09]) * fig.body.height / 1.7
    for side in (LEFT, RIGHT):
        fig.reach(side, at * np.array([-SIGN[side], 1, 1]), swivel=1.5)


def jumping_jack(rng: Generator, duration_s: float) -> Motion:
    """Feet apart and arms up, feet together and arms down, a small jump each way."""
    fig = Figure(rng, duration_s)
    pitch = rng.uniform(0.35, 0.7)
    rate = rng.uniform(1.4, 2.7)
    leaps = bouncing(fig, rate, rng.uniform(0.3, 0.5), toe_off_height(fig, pitch))
    count = len(leaps.off_s)
    wide = np.where(np.arange(count + 1) % 2 == 0, rng.uniform(0.1, 0.2), rng.uniform(0.5, 0.85))
    ground, pelvis = footprints(fig, leaps, _steps(fig, leaps), wide)
    apart = (wide.max() / 2) ** 2 / (2 * fig.body.leg)
    spread = (ground[:, LEFT, 0] - ground[:, RIGHT, 0]) / wide.max()
    lower = Leaps(leaps.height - apart * spread**2 * 1.2 - 0.01, leaps.off_s, leaps.on_s)
    spring_legs(fig, lower, pitch, ground=ground, pelvis=pelvis, tuck_m=rng.uniform(0.01, 0.05))
    up, down = rng.uniform(1.6, 2.9), rng.uniform(0.08, 0.25)
    turn = phase_of(fig.t, leaps.on_s) - rng.uniform(-0.05, 0.15)
    raised = 0.5 - 0.5 * np.cos(np.pi * turn)
    elbow = rng.uniform(0.1, 0.7)
    for side in (LEFT, RIGHT):
        fig.arm(side, rng.uniform(0, 0.25), elbow, abduction=down + (up - down) * raised, inward=-0.3 * raised)
    return fig.motion("jumping jack")


def jump_rope(rng: Generator, duration_s: float) -> Motion:
    """Small quick hops over a rope that the wrists turn."""
    fig = Figure(rng, duration_s)
    pitch = rng.uniform(0.35, 0.6)
    rate = rng.uniform(1.8, 3.0)
    leaps = bouncing(fig, rate, rng.uniform(0.35, 0.55), toe_off_height(fig, pitch))
    ground, pelvis = footprints(
        fig, leaps, _steps(fig, leaps) * 0.5, np.full(len(leaps.off_s) + 1, rng.uniform(0.08, 0.2))
    )
    spring_legs(fig, leaps, pitch, ground=ground, pelvis=pelvis, tuck_m=rng.uniform(0.0, 0.05))
    turn = TURN * (phase_of(fig.t, leaps.on_s) + rng.uniform(-0.2, 0.2))
    radius, out, front = rng.uniform(0.02, 0.1), rng.uniform(0.12, 0.3), rng.uniform(0.1, 0.3)
    low = -rng.uniform(0.3, 0.42) * fig.body.height / 1.7
    for side in (LEFT, RIGHT):
        wrist = np.stack(
            [
                np.full(fig.n, SIGN[side] * out) + SIGN[side] * 0.3 * radius * np.cos(turn),
                low + radius * np.cos(turn),
                front + radius * np.sin(turn),
            ],
            axis=1,
        )
        fig.reach(side, wrist, swivel=0.2, pronation=-0.4)
    return fig.motion("jump rope")


def hop(rng: Generator, duration_s: float) -> Motion:
    """Hopping on one leg, the other drawn up: "left leg" or "right leg"."""
    fig = Figure(rng, duration_s)
    side = int(rng.integers(2))
    pitch = rng.uniform(0.4, 0.7)
    leaps = bouncing(fig, rng.uniform(1.4, 2.5), rng.uniform(0.28, 0.45), toe_off_height(fig, pitch))
    step = _steps(fig, leaps, float(rng.choice([0.0, rng.uniform(0.1, 0.5)])))
    ground, pelvis = footprints(fig, leaps, step, np.full(len(step) + 1, 0.06))
    ground[:, side, 0] = pelvis[:, 0] + SIGN[side] * 0.02
    spring_legs(fig, leaps, pitch, ground=ground, pelvis=pelvis, tuck_m=rng.uniform(0.0, 0.04))
    beat = TURN * (phase_of(fig.t, leaps.on_s) + rng.uniform(0, 0.3))
    pump = rng.uniform(0.0, 0.25) * np.cos(beat)
    fig.leg(1 - side, rng.uniform(0.1, 0.9) - pump, rng.uniform(1.1, 1.7) + 0.5 * pump, abduction=0.05, ankle=0.3)
    lift, elbow = rng.uniform(0, 0.6), rng.uniform(0.3, 1.5)
    flap = rng.uniform(0, 0.3)
    for arm in (LEFT, RIGHT):
        fig.arm(arm, lift - flap * np.cos(beat), elbow, abduction=rng.uniform(0.15, 0.8) + flap * np.sin(beat))
    return fig.motion("hop", f"{('left', 'right')[side]} leg")
