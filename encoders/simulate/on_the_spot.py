"""Walking and jogging on the spot: feet that come down where they left, knees or heels lifted in between."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from motionseek.encoders.simulate.body import SIGN, Figure
from motionseek.encoders.simulate.curves import GRAVITY_MPS2, TURN, beats, cycle, keyframes, phase_of, wander
from motionseek.encoders.simulate.gait import LEG_OFFSET, swing_arms
from motionseek.encoders.simulate.jumping import jolt
from motionseek.encoders.simulate.motion import Motion
from motionseek.encoders.simulate.posture import strokes


def walk_on_the_spot(rng: Generator, duration_s: float) -> Motion:
    return _on_the_spot(rng, duration_s, "walk on the spot")


def jog_on_the_spot(rng: Generator, duration_s: float) -> Motion:
    return _on_the_spot(rng, duration_s, "jog on the spot")


def _on_the_spot(rng: Generator, duration_s: float, label: str) -> Motion:
    """Walking has always a foot down; jogging flies between steps, ballistic as in running.

    Jogging goes on all the time, or for a few seconds at a time with standing still before and after.
    """
    fig = Figure(rng, duration_s)
    jogging = label == "jog on the spot"
    going = np.ones(fig.n)
    if jogging and rng.random() < 0.5:
        stroke, _ = strokes(fig, rng.uniform(1.5, 4.0), (0.4, 2.5))
        going = keyframes(stroke, [0.0, 0.15, 0.85, 1.0], [0.0, 1.0, 1.0, 0.0])
    cadence = rng.uniform(2.1, 3.2) if jogging else rng.uniform(1.1, 2.3)
    air = rng.uniform(0.06, 0.4) if jogging else 0.0
    beat_s = beats(rng, duration_s, 1 / cadence, rng.uniform(0.01, 0.04))
    step = phase_of(fig.t, beat_s)
    stride = step / 2
    duty = (1 - air) / 2 if jogging else rng.uniform(0.54, 0.72)
    leg = stride[:, None] - LEG_OFFSET
    inside = np.mod(leg, 1.0)
    swing = np.clip((inside - duty) / (1 - duty), 0, 1)
    lifted = going[:, None] * np.sin(np.pi * swing) ** 2

    slow = 1.0 if jogging else min(1.4 / cadence, 1.0) ** 2
    lift = (rng.uniform(0.04, 0.28) if jogging else rng.uniform(0.06, 0.4) * slow) * fig.body.height / 1.75
    back = rng.uniform(-0.1, 0.9) if jogging else rng.uniform(-0.2, 0.6)
    sole = np.zeros((fig.n, 2, 3))
    sole[..., 0] = np.array(SIGN) * rng.uniform(0.06, 0.14)
    sole[..., 1] = lift * lifted
    sole[..., 2] = -back * lift * lifted
    yaw = np.array(SIGN) * rng.uniform(0.0, 0.25)
    heel, off = (rng.uniform(0.05, 0.4), rng.uniform(0.3, 0.6)) if jogging else (0.0, rng.uniform(0.1, 0.35))
    hang = rng.uniform(0.2, 0.9) * (0.6 + max(back, 0.0))
    at = (0.0, 0.25 * duty, 0.6 * duty, duty, 0.45 + 0.55 * duty, 0.2 * duty + 0.78)
    pitch = going[:, None] * cycle(inside, at, (heel, 0.3 * heel, 0.0, off, hang, (0.5 if jogging else 0.15) * hang))

    beat = TURN * stride
    sway = rng.uniform(0.004, 0.02) if jogging else rng.uniform(0.01, 0.05)
    root = np.zeros((fig.n, 3))
    root[:, 0] = sway * going * np.cos(beat - TURN * duty / 2)
    root[:, [0, 2]] += wander(rng, fig.n, 0.015, 0.2, 2)
    twist, list_, lean = rng.uniform(0.02, 0.1) * going, rng.uniform(0.01, 0.06) * going, rng.uniform(-0.06, 0.12)
    fig.trunk(
        root,
        pelvis=(-twist * np.cos(beat), lean + 0.02 * going * np.cos(TURN * (step - 0.2)), list_ * np.cos(beat - 1.2)),
        chest=(1.5 * twist * np.cos(beat - 0.2), 0.3 * lean, -list_ * np.cos(beat - 1.2)),
    )
    if jogging:
        flight = air * np.diff(beat_s) * rng.normal(1, 0.05, len(beat_s) - 1).clip(0.9, 1.1)
        event_s = np.stack([beat_s[1:] - flight, beat_s[1:]], axis=1).ravel()
        slope = np.outer(GRAVITY_MPS2 * flight / 2, [1.0, -1.0]).ravel()
        bob = going * keyframes(fig.t, event_s, np.zeros(len(event_s)), slope, -GRAVITY_MPS2)
        knock = jolt(fig, beat_s, 0.0004, 0.0024, (0.4 + air) / 0.6)
    else:
        bob = -rng.uniform(0.001, 0.01) * going * np.cos(TURN * (step - 0.1))
        knock = jolt(fig, beat_s, 0.0001, 0.0006, cadence / 1.8)
    ankle, _ = fig.ankle(sole, yaw, pitch)
    room = np.min(fig.headroom(root + bob[:, None] * [0, 1, 0], ankle, inside < duty))
    root[:, 1] = bob + room - (rng.uniform(0, 0.015) if jogging else rng.uniform(0.005, 0.04)) + going * knock
    fig.move(root)
    fig.legs(sole, yaw, pitch, lifted)
    if rng.random() < 0.8:
        elbow, size = (rng.uniform(0.9, 1.7), rng.uniform(0.1, 0.6)) if jogging else rng.uniform(0.1, [1.2, 0.7])
        swing_arms(fig, stride, size=size * going, elbow=float(elbow), bias=0.0, pump=0.2)
    return fig.motion(label)
