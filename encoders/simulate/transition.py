"""From one posture to another: chairs, falls, turns, bending down."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from motionseek.encoders.simulate.body import LEFT, RIGHT, SIGN, Figure, apply, axis_turn
from motionseek.encoders.simulate.curves import RATE_HZ, TURN, beats, glide, keyframes, phase_of, wander
from motionseek.encoders.simulate.jumping import jolt
from motionseek.encoders.simulate.motion import Motion, joint
from motionseek.encoders.simulate.posture import level, planted_feet, seat_and_feet, strokes
from motionseek.types import Float64


def _chair(rng: Generator, duration_s: float, label: str) -> Motion:
    """Between standing and sitting: the trunk bows first, the pelvis travels back and down, the seat is felt
    when it is reached and when it is left."""
    fig = Figure(rng, duration_s)
    down = label == "sit down"
    seat, sole, yaw = seat_and_feet(fig)
    sole[:, 2] -= rng.uniform(0.05, 0.15)
    upright = np.array([0.0, fig.body.hip_height - 0.004, float(sole[:, 2].mean()) + rng.uniform(-0.02, 0.03)])
    takes = min(rng.uniform(0.8, 2.3), 0.9 * duration_s)
    begin = rng.uniform(0, duration_s - takes)
    x = (fig.t - begin) / takes
    seated = keyframes(x, [0.0, 1.0], [0.0, 1.0] if down else [1.0, 0.0])
    if down:
        lower, back = keyframes(x, [0.15, 0.85], [0.0, 1.0]), keyframes(x, [0.05, 0.75], [0.0, 1.0])
        bow = keyframes(x, [0.0, 0.55, 1.0], [0.0, 1.0, 0.0])
        felt = [0.78]
    else:
        lower, back = keyframes(x, [0.3, 0.95], [1.0, 0.0]), keyframes(x, [0.22, 0.85], [1.0, 0.0])
        bow = keyframes(x, [0.0, 0.38, 1.0], [0.0, 1.0, 0.0])
        felt = [0.28, 0.95]
    root = np.zeros((fig.n, 3))
    root[:, 1] = upright[1] + lower * (seat[1] - upright[1])
    root[:, 2] = upright[2] + back * (seat[2] - upright[2])
    root[:, 0] = wander(rng, fig.n, 0.004, 0.5)
    root[:, 1] += jolt(fig, begin + takes * np.array(felt), 0.0005, 0.003 if down else 0.0015)
    lean, slump = rng.uniform(0.5, 1.0), rng.uniform(-0.25, 0.1)
    fig.trunk(
        root,
        pelvis=(0.0, 0.7 * lean * bow + slump * seated, 0.0),
        chest=(0.0, 0.35 * lean * bow + 0.15 * seated, 0.0),
        follow=0.5,
    )
    level(fig, root, np.broadcast_to(sole, (fig.n, 2, 3)), yaw)
    fig.legs(sole, yaw)
    rest = np.array([-0.05, -0.42, 0.22]) if rng.random() < 0.7 else np.array([0.05, -0.48, 0.02])
    hang = np.array([0.12, -0.6, 0.05])
    for side in (LEFT, RIGHT):
        way = (rest - hang) * seated[:, None] + np.array([0.0, 0.0, 0.1]) * bow[:, None] * rng.uniform(-1, 2.5) + hang
        way = way * [SIGN[side], 1, 1] * fig.body.height / 1.75
        fig.reach(side, way + wander(rng, fig.n, 0.003, 0.5, 3), swivel=rng.uniform(0.1, 0.5))
    return fig.motion(label)


def sit_down(rng: Generator, duration_s: float) -> Motion:
    return _chair(rng, duration_s, "sit down")


def stand_up(rng: Generator, duration_s: float) -> Motion:
    return _chair(rng, duration_s, "stand up")


def fall(rng: Generator, duration_s: float) -> Motion:
    """Tipping forward from standing, hitting the ground, then lying still."""
    fig = Figure(rng, duration_s)
    body = fig.body
    takes = min(rng.uniform(0.7, 1.1), 0.6 * duration_s)
    hit = rng.uniform(takes, max(takes, 0.7 * duration_s))
    x = fig.t - hit
    end = np.pi / 2 - rng.uniform(0.0, 0.08)
    fast = rng.uniform(2.2, 3.4)
    stop = rng.uniform(0.14, 0.26)
    struck = end - fast * stop * 0.5
    tip = keyframes(x, [-takes, 0.0, stop], [0.0, struck, end], [0.0, fast, 0.0], [0.0, 3.0, 0.0])
    knees = rng.uniform(0.4, 1.2) * keyframes(x, [-takes, -0.25 * takes, 0.3], [0.0, 1.0, 0.08])
    hips = rng.uniform(0.1, 0.5) * keyframes(x, [-takes, -0.3 * takes, 0.25], [0.0, 1.0, 0.0])
    fig.trunk(np.zeros((fig.n, 3)), pelvis=(0.1 * tip * rng.normal(), tip, 0.0), head=(0.0, -0.3, 0.0), follow=1.0)
    for side in (LEFT, RIGHT):
        fig.leg(
            side, hips, knees * rng.uniform(0.8, 1.2), abduction=0.06, ankle=0.9 * np.clip(tip, 0, 1.2) - 0.3 * knees
        )
    ankle = fig.position[:, [joint("left_ankle"), joint("right_ankle")]].mean(axis=1)
    root = np.zeros((fig.n, 3)) - ankle
    floor = body.ankle_up + 0.03 * tip
    root[:, 1] += floor + jolt(fig, hit + 0.3 * stop, 0.001, 0.004)
    knee = fig.position[:, [joint("left_knee"), joint("right_knee")], 1].min(axis=1) + root[:, 1]
    root[:, 1] += 0.02 * np.logaddexp(0, np.maximum(0.1 - root[:, 1], 0.06 - knee) / 0.02)
    fig.move(root)
    out = keyframes(x, [-0.8 * takes, 0.02], [0.0, 1.0])
    for side in (LEFT, RIGHT):
        fig.arm(
            side,
            0.1 + rng.uniform(2.8, 3.0) * out,
            0.3 + rng.uniform(0.2, 1.2) * out,
            abduction=0.15 + rng.uniform(0.1, 0.7) * out,
            inward=1.5 * out,
        )
    return fig.motion("fall")


def turn_around(rng: Generator, duration_s: float) -> Motion:
    """Turning on the spot with small steps, to the "left" or "right"."""
    fig = Figure(rng, duration_s)
    variant = str(rng.choice(["left", "right"]))
    sign = 1.0 if variant == "left" else -1.0
    beat_s = beats(rng, duration_s, 1 / rng.uniform(1.4, 2.2), 0.04)
    step = phase_of(fig.t, beat_s)
    if rng.random() < 0.5:
        stroke, count = strokes(fig, rng.uniform(1.4, 2.6), (0.2, 1.8))
        heading = sign * np.pi * rng.uniform(0.5, 1.1) * (count + keyframes(stroke, [0.0, 1.0], [0.0, 1.0]))
    else:
        heading = sign * rng.uniform(0.8, 2.2) * (fig.t + 0.3 * np.sin(TURN * step) / TURN)
    leg = step[:, None] / 2 - np.array([0.0, 0.5])
    moving = np.clip((np.mod(leg, 1.0) - 0.58) / 0.42, 0, 1)
    last_s, next_s = (_time_of(beat_s, np.floor(leg) + k) for k in (0.3, 1.3))
    yaw = _at(heading, last_s, fig) * (1 - glide(moving)) + _at(heading, next_s, fig) * glide(moving)
    turning = np.clip(np.abs(np.gradient(heading) * RATE_HZ)[:, None] / 0.5, 0, 1)
    sole = apply(axis_turn(1, yaw), np.array([[0.1, 0, 0], [-0.1, 0, 0]]) * rng.uniform(0.7, 1.3))
    sole[..., 1] += rng.uniform(0.02, 0.07) * np.sin(np.pi * moving) ** 2 * turning
    root = np.zeros((fig.n, 3))
    sway = rng.uniform(0.01, 0.03) * np.cos(np.pi * (step - 0.6)) * turning[:, 0]
    root[:, 0], root[:, 2] = sway * np.cos(heading), -sway * np.sin(heading)
    root[:, 1] = fig.body.hip_height - 0.02 - rng.uniform(0.003, 0.012) * np.cos(TURN * step) * turning[:, 0]
    rate = np.gradient(heading) * RATE_HZ
    fig.trunk(root, heading=heading, chest=(0.08 * rate, 0.05, 0.0), head=(0.15 * rate, 0.0, 0.0))
    ahead = yaw + np.array(SIGN) * 0.1
    level(fig, root, sole, ahead)
    fig.legs(sole, ahead)
    for side in (LEFT, RIGHT):
        fig.arm(
            side, 0.05 - 0.06 * rate * SIGN[side] * rng.uniform(0, 1), fig.rest_elbow, abduction=0.12 + 0.03 * abs(rate)
        )
    return fig.motion("turn around", variant)


def _time_of(beat_s: Float64, stride: Float64) -> Float64:
    """When each foot's stride count (N, 2) is reached, s."""
    step = 2 * (stride + np.array([0.0, 0.5]))
    return np.asarray(np.interp(step, np.arange(len(beat_s)), beat_s))


def _at(curve: Float64, when_s: Float64, fig: Figure) -> Float64:
    return np.asarray(np.interp(when_s, fig.t, curve))


def bend_over(rng: Generator, duration_s: float) -> Motion:
    return _stoop(rng, duration_s, "bend over")


def pick_up(rng: Generator, duration_s: float) -> Motion:
    return _stoop(rng, duration_s, "pick up")


def _stoop(rng: Generator, duration_s: float, label: str) -> Motion:
    """Down with a bent back, knees bent little or much, and up again, with one hand or both."""
    fig = Figure(rng, duration_s)
    body = fig.body
    picking = label == "pick up"
    stroke, _ = strokes(fig, rng.uniform(1.6, 3.2), (0.1, 1.5))
    down = keyframes(stroke, [0.0, 0.42, 0.58, 1.0], [0.0, 1.0, 1.0, 0.0])
    sole, yaw = planted_feet(fig, rng.uniform(0.15, 0.4), rng.uniform(0.05, 0.3))
    knees = rng.uniform(0.05, 0.45) if picking else rng.uniform(0.02, 0.15)
    lean = rng.uniform(1.0, 1.5) - 1.2 * knees
    root = np.zeros((fig.n, 3))
    root[:, 0] = wander(rng, fig.n, 0.005, 0.4)
    root[:, 1] = body.hip_height - 0.01 - knees * body.leg * down
    root[:, 2] = -(0.1 * lean + 0.3 * knees) * down
    fig.trunk(root, pelvis=(0.0, 0.7 * lean * down, 0.0), chest=(0.0, 0.5 * lean * down, 0.0), follow=0.8)
    level(fig, root, np.broadcast_to(sole, (fig.n, 2, 3)), yaw)
    fig.legs(sole, yaw)
    variant = str(rng.choice(["left hand", "right hand", "both hands"], p=[0.25, 0.25, 0.5])) if picking else ""
    hang = np.array([0.08, -0.58, 0.06])
    for side, name in ((LEFT, "left hand"), (RIGHT, "right hand")):
        working = variant in (name, "both hands") or not picking
        shoulder = fig.position[:, joint(("left_shoulder", "right_shoulder")[side])]
        rest = shoulder + hang * [SIGN[side], 1, 1] * body.height / 1.75
        low = np.array([SIGN[side] * 0.08, rng.uniform(0.05, 0.3), rng.uniform(0.25, 0.4)])
        knee = shoulder + np.array([0.0, -0.5 * body.arm, 0.1])
        target = rest + ((low if working else knee) - rest) * down[:, None]
        fig.reach(side, target, swivel=0.3, of="world")
    return fig.motion(label, variant)
