"""Squats, lunges and cycling."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from motionseek.encoders.simulate.body import LEFT, RIGHT, SIGN, Figure, apply, axis_turn
from motionseek.encoders.simulate.curves import TURN, beats, keyframes, phase_of, wander
from motionseek.encoders.simulate.jumping import jolt
from motionseek.encoders.simulate.motion import Motion, joint
from motionseek.encoders.simulate.posture import UP, level, planted_feet, repeats, strokes


def squat(rng: Generator, duration_s: float) -> Motion:
    """Squats without a break, or one now and then."""
    fig = Figure(rng, duration_s)
    body = fig.body
    if rng.random() < 0.5:
        depth, _ = repeats(fig, rng.uniform(1.4, 3.6), hold=rng.uniform(0.0, 0.35))
    else:
        stroke, _ = strokes(fig, rng.uniform(1.6, 4.0), (0.3, 3.0))
        depth = keyframes(stroke, [0.0, rng.uniform(0.35, 0.48), rng.uniform(0.52, 0.65), 1.0], [0.0, 1.0, 1.0, 0.0])
    sole, yaw = planted_feet(fig, rng.uniform(0.22, 0.5), rng.uniform(0.1, 0.5))
    deep = rng.uniform(0.3, 0.62) * body.leg
    root = np.zeros((fig.n, 3))
    root[:, 0] = wander(rng, fig.n, 0.006, 0.4)
    root[:, 1] = body.hip_height - 0.02 - deep * depth
    root[:, 2] = -rng.uniform(0.25, 0.45) * deep * depth + wander(rng, fig.n, 0.006, 0.4)
    lean = rng.uniform(0.5, 1.0) * deep / 0.5
    fig.trunk(root, pelvis=(0.0, 0.6 * lean * depth, 0.0), chest=(0.0, 0.3 * lean * depth, 0.0))
    level(fig, root, np.broadcast_to(sole, (fig.n, 2, 3)), yaw)
    fig.legs(sole, yaw)
    style = rng.choice(["reach", "clasped", "hang"])
    for side in (LEFT, RIGHT):
        if style == "reach":
            fig.arm(side, 0.1 + rng.uniform(1.2, 1.7) * depth, 0.2, abduction=0.1)
        elif style == "clasped":
            fig.reach(side, np.array([-SIGN[side] * 0.13, -0.15, 0.22]) + wander(rng, fig.n, 0.004, 0.6, 3), swivel=0.5)
    return fig.motion("squat")


def lunge(rng: Generator, duration_s: float) -> Motion:
    """Steps forward into a lunge and back, with the "left leg", the "right leg" or "alternating", and rests between."""
    fig = Figure(rng, duration_s)
    body = fig.body
    variant = str(rng.choice(["left leg", "right leg", "alternating"], p=[0.25, 0.25, 0.5]))
    moving = rng.uniform(0.5, 1.0)
    beat_s = beats(rng, duration_s, rng.uniform(1.8, 3.6) / moving, 0.05)
    beat = phase_of(fig.t, beat_s)
    inside, count = np.minimum(np.mod(beat, 1.0) / moving, 1.0), np.floor(beat).astype(int)
    side = {"left leg": count * 0, "right leg": count * 0 + 1, "alternating": count % 2}[variant]
    step = keyframes(inside, [0.0, 0.26, 0.66, 0.92], [0.0, 1.0, 1.0, 0.0])
    low = keyframes(inside, [0.1, 0.45, 0.55, 0.85], [0.0, 1.0, 1.0, 0.0])
    lift = keyframes(inside, [0.0, 0.13, 0.26, 0.66, 0.79, 0.92], [0.0, 1.0, 0.0, 0.0, 0.8, 0.0])
    reach = rng.uniform(0.7, 0.95) * body.leg
    sole, yaw = planted_feet(fig, rng.uniform(0.12, 0.3), 0.1)
    sole = np.tile(sole, (fig.n, 1, 1))
    pitch = np.zeros((fig.n, 2))
    for s in (LEFT, RIGHT):
        front = side == s
        sole[:, s, 2] += reach * step * front
        sole[:, s, 1] += rng.uniform(0.08, 0.2) * lift * front
        pitch[:, s] = rng.uniform(0.8, 1.0) * np.maximum(step, low) ** 2 * ~front
    root = np.zeros((fig.n, 3))
    root[:, 0] = wander(rng, fig.n, 0.008, 0.5)
    root[:, 2] = rng.uniform(0.45, 0.56) * reach * step
    root[:, 1] = body.hip_height - 0.02 - rng.uniform(0.32, 0.45) * body.leg * low - 0.1 * body.leg * step
    root[:, 1] += jolt(
        fig, np.interp(np.arange(len(beat_s)) + 0.26 * moving, np.arange(len(beat_s)), beat_s), 0.0003, 0.002
    )
    lean = rng.uniform(-0.05, 0.35)
    fig.trunk(root, pelvis=(0.0, 0.5 * lean * low, 0.0), chest=(0.0, 0.5 * lean * low, 0.0))
    level(fig, root, sole, yaw, pitch)
    fig.legs(sole, yaw, pitch)
    if rng.random() < 0.5:
        for s in (LEFT, RIGHT):
            fig.reach(s, np.array([SIGN[s] * 0.05, -0.42, 0.05]) + wander(rng, fig.n, 0.005, 0.5, 3), swivel=1.2)
    return fig.motion("lunge", variant)


def cycle_ride(rng: Generator, duration_s: float) -> Motion:
    """Pedalling a bicycle."""
    fig = Figure(rng, duration_s)
    body = fig.body
    crank, cadence = rng.uniform(0.165, 0.175), rng.uniform(0.8, 1.65)
    turn = TURN * phase_of(fig.t, beats(rng, duration_s, 1 / cadence, 0.015))
    hub = np.array([0.0, 0.28, 0.0])
    pedal = turn[:, None] + np.array([0.0, np.pi])
    pitch = rng.uniform(0.05, 0.35) - rng.uniform(0.1, 0.3) * np.cos(pedal + rng.uniform(-0.6, 0.3))
    sole = np.zeros((fig.n, 2, 3))
    sole[..., 0] = np.array(SIGN) * rng.uniform(0.08, 0.12)
    sole[..., 1] = hub[1] + crank * np.cos(pedal) - 0.02
    sole[..., 2] = crank * np.sin(pedal) - body.ball_ahead
    back = rng.uniform(0.25, 0.36) * np.array([0.0, 0.0, -0.9 * body.leg])
    far = rng.uniform(0.93, 0.965) * (body.leg + body.ankle_up)
    height = hub[1] - crank + np.sqrt(far**2 - back[2] ** 2) + body.hip_up
    road = jolt(fig, np.cumsum(rng.exponential(1.2, 12)), 0.0001, 0.0008) * (rng.random() < 0.6)
    root = np.array([0.0, height, 0.0]) + back + road[:, None] * UP
    root = root + np.stack([0.006 * np.sin(turn), 0.002 * np.cos(2 * turn), 0 * turn], axis=1) * rng.uniform(0.3, 2)
    lean = rng.uniform(0.3, 0.95)
    rock = rng.uniform(0.01, 0.05) * np.sin(turn + 0.4)
    fig.trunk(
        root, pelvis=(0.3 * rock, 0.55 * lean, rock), chest=(0.0, 0.6 * lean, -rock), head=(0.0, -0.1, 0.0), follow=0.2
    )
    fig.legs(sole, np.array(SIGN) * 0.05, pitch)
    shoulder = fig.position[:, [joint("left_shoulder"), joint("right_shoulder")]].mean(axis=(0, 1))
    grip = shoulder + apply(axis_turn(0, -rng.uniform(0.55, 0.9)), (0.0, -rng.uniform(0.82, 0.94) * body.arm, 0.0))
    for side in (LEFT, RIGHT):
        point = grip + np.array([SIGN[side] * rng.uniform(0.16, 0.26), 0, 0]) + road[:, None] * UP
        fig.reach(side, point + wander(rng, fig.n, 0.002, 1.0, 3), swivel=0.4, pronation=0.9, of="world")
    return fig.motion("cycle")
