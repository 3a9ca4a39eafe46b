"""Walking, running and stairs: footprints laid along a path, feet that go from print to print, a pelvis above them."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from motionseek.encoders.simulate.body import LEFT, RIGHT, SIGN, Figure
from motionseek.encoders.simulate.curves import (
    GRAVITY_MPS2,
    TURN,
    beats,
    cycle,
    glide,
    keyframes,
    phase_of,
    wander,
)
from motionseek.encoders.simulate.jumping import jolt
from motionseek.encoders.simulate.motion import Motion
from motionseek.types import Float64

LEG_OFFSET = np.array([0.0, 0.5])
"""The right foot's stride runs half a stride behind the left's."""


def along(arc: Float64, aside: Float64, curvature: float) -> Float64:
    """The point (..., 2), x and z, at arc length `arc` and `aside` m to the left of a circular path that starts at
    the origin towards +z and turns left by `curvature` 1/m."""
    bend = curvature if abs(curvature) > 1e-6 else 1e-6
    turn = bend * arc
    x = (1 - np.cos(turn)) / bend + aside * np.cos(turn)
    return np.stack([x, np.sin(turn) / bend - aside * np.sin(turn)], axis=-1)


def swing_arms(
    fig: Figure, stride: Float64, *, size: Float64 | float, elbow: float, bias: float, pump: float, lead: float = 0.0
) -> None:
    """Arms against the legs, each forward when the other foot lands, or the share `lead` of a stride before.
    stride: (N,) phase, the left foot lands at 0"""
    rng = fig.rng
    held = int(rng.integers(2)) if rng.random() < 0.15 else -1
    lag = rng.uniform(-0.03, 0.06) - lead
    for side in (LEFT, RIGHT):
        beat = TURN * (stride - LEG_OFFSET[side] - lag)
        own = size * rng.normal(1, 0.12) * (0.15 if side == held else 1.0)
        drift = wander(rng, fig.n, 0.03, 0.6, 3)
        fig.arm(
            side,
            bias - own * (np.cos(beat) + 0.1 * np.cos(2 * beat + 0.5)) + drift[:, 0],
            elbow * rng.normal(1, 0.1) + pump * own * (1 - np.cos(beat - 0.3)) + drift[:, 1] + (side == held) * 0.6,
            abduction=rng.uniform(0.06, 0.2) + 0.05 * size * np.cos(2 * beat) + drift[:, 2],
            inward=rng.uniform(0.0, 0.5) - 0.3 * own * np.cos(beat),
            pronation=rng.uniform(-0.2, 0.5),
        )


def walk(rng: Generator, duration_s: float) -> Motion:
    """Level walking, "straight" or "curved"."""
    fig = Figure(rng, duration_s)
    body = fig.body
    variant = "straight" if rng.random() < 0.7 else "curved"
    curvature = 0.0 if variant == "straight" else float(rng.choice([-1, 1]) / rng.uniform(1.2, 6.0))
    cadence = rng.uniform(1.4, 2.3)
    step_m = min(0.39 * cadence * rng.normal(1, 0.09) * body.height / 1.72, 0.85 * body.leg)
    duty = 0.66 - 0.025 * cadence + rng.uniform(-0.01, 0.02)
    beat_s = beats(rng, duration_s, 1 / cadence, rng.uniform(0.01, 0.03))
    step = phase_of(fig.t, beat_s)
    stride = step / 2

    off = rng.uniform(0.9, 1.2)
    at = (0.0, 0.05, 0.1, 0.2, 0.32, 0.42, 0.54, duty + 0.02, duty + 0.14, duty + 0.25, 0.96)
    pitch_at = (-0.3, -0.12, -0.01, 0.0, 0.03, 0.22, 0.68, off, 0.5 * off, -0.08, -0.33)
    leg = stride[:, None] - LEG_OFFSET
    inside = np.mod(leg, 1.0)
    pitch = cycle(inside, at, pitch_at)
    swing = np.clip((inside - duty) / (1 - duty), 0, 1)
    moved = np.floor(leg) + glide(swing, 0.38)
    stride_m = 2 * step_m
    arc = stride_m * (moved + duty / 2 + LEG_OFFSET) - 0.06 * stride_m
    aside = np.array(SIGN) * rng.uniform(0.03, 0.07)
    sole = np.zeros((fig.n, 2, 3))
    sole[..., [0, 2]] = along(arc, aside, curvature)
    sole[..., 1] = rng.uniform(0.02, 0.06) * np.sin(np.pi * swing**0.85) ** 2
    yaw = curvature * arc + np.array(SIGN) * rng.uniform(0.0, 0.2)

    beat = TURN * stride
    rise = 0.26 * step_m**2 / (8 * body.leg) * rng.uniform(0.8, 1.25)
    late = rng.uniform(0.04, 0.1)
    bob = -rise * (np.cos(TURN * (step - late)) + rng.uniform(0.1, 0.25) * np.cos(2 * TURN * (step - 0.05)))
    surge = -rng.uniform(0.006, 0.016) * step_m * np.sin(TURN * (step - 0.2))
    sway = rng.uniform(0.012, 0.03) * np.cos(beat - TURN * 0.3)
    root = np.zeros((fig.n, 3))
    root[:, [0, 2]] = along(stride_m * stride + surge, sway, curvature)
    twist, list_, nod = rng.uniform(0.05, 0.13), rng.uniform(0.03, 0.08), rng.uniform(0.01, 0.03)
    lean = rng.uniform(0.0, 0.1)
    fig.trunk(
        root,
        heading=curvature * stride_m * stride,
        pelvis=(
            -twist * np.cos(beat),
            0.5 * lean + nod * np.cos(TURN * (step - 0.1)),
            list_ * np.cos(beat - TURN * 0.2),
        ),
        chest=(1.7 * twist * np.cos(beat - 0.2), 0.6 * lean, -1.1 * list_ * np.cos(beat - TURN * 0.22)),
    )
    ankle, _ = fig.ankle(sole, yaw, pitch)
    flexed = 0.991 - 0.01 * np.clip((inside - 0.48) / (duty - 0.48), 0, 1)
    root[:, 1] = bob + np.min(fig.headroom(root + bob[:, None] * [0, 1, 0], ankle, inside < duty, straight=flexed))
    root[:, 1] += jolt(fig, beat_s, 0.0002, 0.0012, cadence / 1.8)
    fig.move(root)
    fig.legs(sole, yaw, pitch, np.sin(np.pi * swing) ** 2)
    fast = (cadence - 1.4) / 0.9
    swing_arms(
        fig, stride, size=rng.uniform(0.12, 0.4) + 0.25 * fast, elbow=rng.uniform(0.15, 0.6), bias=0.05, pump=0.4
    )
    return fig.motion("walk", variant)


def run(rng: Generator, duration_s: float) -> Motion:
    return _run(rng, duration_s, "run")


def jog(rng: Generator, duration_s: float) -> Motion:
    return _run(rng, duration_s, "jog")


def _run(rng: Generator, duration_s: float, label: str) -> Motion:
    """A spring on two legs: ballistic in the air, a rebound on the ground."""
    fig = Figure(rng, duration_s)
    jogging = label == "jog"
    cadence = rng.uniform(2.3, 2.9) if jogging else rng.uniform(2.6, 3.2)
    speed = rng.uniform(1.6, 2.8) if jogging else rng.uniform(2.8, 4.8)
    air = rng.uniform(0.18, 0.42) if jogging else rng.uniform(0.3, 0.52)
    beat_s = beats(rng, duration_s, 1 / cadence, rng.uniform(0.01, 0.03))
    step = phase_of(fig.t, beat_s)
    stride = step / 2
    step_m = min(speed / cadence, 0.42 * fig.body.leg / ((1 - air) / 2))
    curvature = 0.0 if rng.random() < 0.7 else float(rng.choice([-1, 1]) / rng.uniform(3.0, 10.0))

    flight = air * np.diff(beat_s) * rng.normal(1, 0.04, len(beat_s) - 1).clip(0.9, 1.1)
    event_s = np.stack([beat_s[1:] - flight, beat_s[1:]], axis=1).ravel()
    slope = np.outer(GRAVITY_MPS2 * flight / 2, [1.0, -1.0]).ravel()
    bounce = keyframes(fig.t, event_s, np.zeros(len(event_s)), slope, -GRAVITY_MPS2)

    duty = (1 - air) / 2
    leg = stride[:, None] - LEG_OFFSET
    inside = np.mod(leg, 1.0)
    heel = rng.uniform(-0.25, 0.2)
    fold = rng.uniform(1.1, 1.6) if jogging else rng.uniform(1.4, 1.9)
    at = (*(duty * np.array([0.0, 0.22, 0.42, 0.6, 0.82, 1.0])), duty + 0.14, duty + 0.28, 0.8, 0.93)
    pitch = cycle(inside, at, (heel, 0.02, 0.0, 0.03, 0.45, 0.85, fold, 0.8 * fold, 0.15, heel - 0.08))
    swing = np.clip((inside - duty) / (1 - duty), 0, 1)
    stride_m = 2 * step_m
    arc = stride_m * (np.floor(leg) + glide(swing, 0.45) + duty / 2 + LEG_OFFSET) - 0.06 * stride_m * duty / 0.3
    aside = np.array(SIGN) * rng.uniform(0.0, 0.05)
    sole = np.zeros((fig.n, 2, 3))
    sole[..., [0, 2]] = along(arc, aside, curvature)
    high = rng.uniform(0.08, 0.2) if jogging else rng.uniform(0.12, 0.25)
    high *= fig.body.height / 1.75
    sole[..., 1] = high * np.sin(np.pi * swing**0.85) ** 2
    yaw = curvature * arc + np.array(SIGN) * rng.uniform(0.0, 0.15)

    beat = TURN * stride
    sway = rng.uniform(0.004, 0.015) * np.cos(beat - TURN * duty / 2)
    root = np.zeros((fig.n, 3))
    root[:, [0, 2]] = along(stride_m * stride, sway, curvature)
    twist, list_, lean = rng.uniform(0.06, 0.16), rng.uniform(0.02, 0.08), rng.uniform(0.03, 0.2)
    fig.trunk(
        root,
        heading=curvature * stride_m * stride,
        pelvis=(-twist * np.cos(beat), lean + 0.04 * np.cos(TURN * (step - 0.2)), list_ * np.cos(beat - 1.2)),
        chest=(2.2 * twist * np.cos(beat - 0.2), 0.3 * lean, -list_ * np.cos(beat - 1.2)),
    )
    ankle, _ = fig.ankle(sole, yaw, pitch)
    bounce += np.min(fig.headroom(root + bounce[:, None] * [0, 1, 0], ankle, inside < duty)) - rng.uniform(0, 0.02)
    root[:, 1] = bounce + jolt(fig, beat_s, 0.0006, 0.0028, (cadence * step_m / 2.5) ** 0.5)
    fig.move(root)
    fig.legs(sole, yaw, pitch, np.sin(np.pi * swing) ** 2)
    swing_arms(fig, stride, size=rng.uniform(0.3, 0.8), elbow=rng.uniform(1.1, 1.7), bias=-0.05, pump=0.15, lead=0.1)
    return fig.motion(label)


def climb_stairs(rng: Generator, duration_s: float) -> Motion:
    return _stairs(rng, duration_s, up=True)


def descend_stairs(rng: Generator, duration_s: float) -> Motion:
    return _stairs(rng, duration_s, up=False)


def _stairs(rng: Generator, duration_s: float, *, up: bool) -> Motion:
    """One step of the stairs per step of the walker; going down lands harder and on the forefoot."""
    fig = Figure(rng, duration_s)
    riser, tread = rng.uniform(0.16, 0.2), rng.uniform(0.26, 0.32)
    cadence = rng.uniform(1.2, 1.9) if up else rng.uniform(1.3, 2.2)
    beat_s = beats(rng, duration_s, 1 / cadence, rng.uniform(0.015, 0.05))
    step = phase_of(fig.t, beat_s)
    stride = step / 2
    duty = rng.uniform(0.6, 0.66)
    leg = stride[:, None] - LEG_OFFSET
    inside = np.mod(leg, 1.0)
    swing = np.clip((inside - duty) / (1 - duty), 0, 1)
    print_at = np.floor(leg) + duty / 2 + LEG_OFFSET
    at: tuple[float, ...]
    if up:
        at = (0.0, 0.08, 0.2, 0.4, 0.52, duty, duty + 0.13, 0.88)
        pitch = cycle(inside, at, (0.0, 0.0, 0.0, 0.05, 0.3, rng.uniform(0.5, 0.8), 0.45, 0.0))
        ahead, upwards = glide(np.clip((swing - 0.12) / 0.83, 0, 1), 0.45), glide(np.clip(swing / 0.75, 0, 1), 0.45)
        clear = rng.uniform(0.03, 0.08) * np.sin(np.pi * swing) ** 2
    else:
        at = (0.0, 0.05, 0.12, 0.25, 0.42, 0.54, duty, duty + 0.15, 0.9)
        toe = rng.uniform(0.15, 0.45)
        pitch = cycle(inside, at, (toe, 0.3 * toe, 0.0, 0.0, 0.12, 0.5, rng.uniform(0.6, 0.85), 0.3, 0.9 * toe))
        ahead, upwards = glide(np.clip(swing / 0.8, 0, 1), 0.42), glide(np.clip((swing - 0.2) / 0.8, 0, 1), 0.4)
        clear = rng.uniform(0.01, 0.04) * np.sin(np.pi * swing) ** 2
    sign = 1.0 if up else -1.0
    sole = np.zeros((fig.n, 2, 3))
    sole[..., 0] = np.array(SIGN) * rng.uniform(0.05, 0.1)
    sole[..., 1] = sign * 2 * riser * (print_at - duty / 2 + upwards) + clear
    sole[..., 2] = 2 * tread * (print_at + ahead)
    yaw = np.array(SIGN) * rng.uniform(0.0, 0.25)

    beat = TURN * stride
    root = np.zeros((fig.n, 3))
    root[:, 0] = rng.uniform(0.02, 0.045) * np.cos(beat - TURN * 0.3)
    root[:, 2] = 2 * tread * stride + rng.uniform(0.0, 0.025) * np.sin(TURN * (step - rng.random()))
    root[:, 2] += 0.05 if up else -0.05
    if up:
        pull = rng.uniform(0.11, 0.17) * riser * np.sin(TURN * (step - rng.uniform(0.3, 0.42)))
        pull += rng.uniform(0.0, 0.03) * riser * np.sin(2 * TURN * (step - rng.random()))
    else:
        pull = -rng.uniform(0.1, 0.16) * riser * np.sin(TURN * (step - rng.uniform(0.52, 0.64)))
        pull -= rng.uniform(0.02, 0.05) * riser * np.cos(2 * TURN * (step - rng.uniform(0.0, 0.08)))
    climb = sign * riser * step + pull
    lean = rng.uniform(0.08, 0.3) if up else rng.uniform(-0.03, 0.1)
    list_, twist = rng.uniform(0.03, 0.1), rng.uniform(0.02, 0.1)
    fig.trunk(
        root,
        pelvis=(-twist * np.cos(beat), 0.4 * lean + 0.03 * np.cos(TURN * (step - 0.3)), list_ * np.cos(beat - 1.4)),
        chest=(1.5 * twist * np.cos(beat), 0.6 * lean, -list_ * np.cos(beat - 1.5)),
        head=(0.0, rng.uniform(-0.1, 0.1) if up else rng.uniform(0.1, 0.5), 0.0),
    )
    ankle, _ = fig.ankle(sole, yaw, pitch)
    room = np.min(fig.headroom(root + climb[:, None] * [0, 1, 0], ankle, inside < duty))
    knock = (0.0002, 0.001) if up else (0.0006, 0.0028)
    root[:, 1] = climb + room + jolt(fig, beat_s, *knock, (cadence / 1.6) ** 1.5)
    fig.move(root)
    fig.legs(sole, yaw, pitch, np.sin(np.pi * swing) ** 2)
    swing_arms(fig, stride, size=rng.uniform(0.05, 0.35), elbow=rng.uniform(0.2, 0.8), bias=0.1, pump=0.3)
    label = "climb stairs" if up else "descend stairs"
    if rng.random() < 0.3:
        side = int(rng.integers(2))
        rail = np.array([SIGN[side] * 0.12, -0.38, 0.22]) * fig.body.height / 1.7
        fig.reach(side, rail + wander(rng, fig.n, 0.01, 1.0, 3), swivel=0.4)
        return fig.motion(label, "hand on the rail")
    return fig.motion(label)
