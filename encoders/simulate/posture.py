"""Standing, sitting and lying, and what movements on planted feet share."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from motionseek.encoders.simulate.body import LEFT, RIGHT, SIGN, Figure, axis_turn
from motionseek.encoders.simulate.curves import beats, glide, keyframes, phase_of, wander
from motionseek.encoders.simulate.motion import Motion
from motionseek.types import Float64

UP = np.array([0.0, 1.0, 0.0])


def planted_feet(fig: Figure, width_m: float, out: float) -> tuple[Float64, Float64]:
    """Feet (2, 3) m side by side under the origin, and their yaw (2,)."""
    sole = np.zeros((2, 3))
    sole[:, 0] = np.array(SIGN) * width_m / 2
    sole[:, 2] = fig.rng.normal(0, 0.02, 2)
    return sole, np.array(SIGN) * out


def base(fig: Figure, *, sway_m: float = 0.004, turn: Float64 | float = 0.0, lean: Float64 | float = 0.0) -> None:
    """Trunk and legs of somebody who stands, for gestures to be put on top.

    turn: the chest's yaw, rad     lean: the chest's pitch, rad; both (N,) or constant
    """
    rng = fig.rng
    sole, yaw = planted_feet(fig, rng.uniform(0.1, 0.35), rng.uniform(0.05, 0.3))
    sway = wander(rng, fig.n, sway_m, rng.uniform(0.2, 0.5), 2) * [0.7, 1.0]
    stir = wander(rng, fig.n, rng.uniform(0.0003, 0.003), rng.uniform(0.8, 2.0), 2)
    root = np.zeros((fig.n, 3))
    root[:, [0, 2]] = sway + stir
    root[:, 1] = fig.body.hip_height - 0.004
    shared = np.asarray(turn) * rng.uniform(0.2, 0.6)
    bow = np.asarray(lean)
    fig.trunk(root, pelvis=(shared, 0.3 * bow, 0.0), chest=(turn - shared, 0.7 * bow + rng.uniform(-0.06, 0.08), 0.0))
    level(fig, root, np.broadcast_to(sole, (fig.n, 2, 3)), yaw)
    fig.legs(sole, yaw)


def level(fig: Figure, root: Float64, sole: Float64, yaw: Float64, pitch: Float64 | float = 0.0) -> None:
    """Lower the pelvis by whatever constant keeps both legs in reach."""
    ankle, _ = fig.ankle(sole, yaw, pitch)
    root[:, 1] += min(float(np.min(fig.headroom(root, ankle, straight=0.996))), 0.0)
    fig.move(root)


def stand(rng: Generator, duration_s: float) -> Motion:
    """Quiet standing: "still", or "fidgeting" with shifts of weight and small moves of head and arms."""
    fig = Figure(rng, duration_s)
    variant = "still" if rng.random() < 0.65 else "fidgeting"
    sole, yaw = planted_feet(fig, rng.uniform(0.08, 0.4), rng.uniform(0.0, 0.3))
    root = np.zeros((fig.n, 3))
    root[:, [0, 2]] = wander(rng, fig.n, rng.uniform(0.002, 0.006), rng.uniform(0.15, 0.4), 2)
    root[:, 1] = fig.body.hip_height - rng.uniform(0.0, 0.006)
    turn: Float64 | float = 0.0
    if variant == "fidgeting":
        root[:, [0, 2]] += wander(rng, fig.n, rng.uniform(0.001, 0.004), rng.uniform(0.6, 1.4), 2)
        at = np.cumsum(rng.uniform([0.5, 0.5], [2.5, 0.9], (int(duration_s) + 3, 2)).ravel()) - 1.5
        root[:, 0] += keyframes(fig.t, at, np.repeat(rng.normal(0, 0.025, len(at) // 2 + 1), 2)[1 : len(at) + 1])
        turn = keyframes(fig.t, at + 0.3, np.repeat(rng.normal(0, 0.35, len(at) // 2 + 1), 2)[1 : len(at) + 1])
    fig.trunk(root, chest=(0.2 * np.asarray(turn), rng.uniform(-0.06, 0.1), 0), head=(turn, rng.uniform(-0.1, 0.4), 0))
    level(fig, root, np.broadcast_to(sole, (fig.n, 2, 3)), yaw)
    fig.legs(sole, yaw)
    pose = rng.choice(["hanging", "folded", "phone", "pockets"], p=[0.6, 0.15, 0.15, 0.1])
    if pose != "hanging":
        resting_arms(fig, str(pose))
    fig.hang_arms(stillness=4.0 if variant == "still" else 0.5)
    return fig.motion("stand", variant)


def resting_arms(fig: Figure, pose: str) -> None:
    """Arms "folded", holding a "phone", in the "pockets", or with hands in the "lap" or on a "table"."""
    rng, size = fig.rng, fig.body.height / 1.7
    place = {
        "folded": (-0.22, -0.25, 0.2),
        "phone": (-0.1, -0.28, 0.3),
        "pockets": (0.02, -0.47, 0.1),
        "lap": (-0.06, -0.4, 0.28),
        "table": (-0.05, -0.28, 0.36),
    }[pose]
    for side in (LEFT, RIGHT):
        at = np.array([SIGN[side] * place[0], *place[1:]]) + rng.normal(0, 0.025, 3)
        at[1] += 0.04 * side * (pose == "folded")
        fidget = wander(rng, fig.n, rng.uniform(0.0005, 0.004), 0.6, 3)
        fig.reach(side, (at + fidget) * size, swivel=rng.uniform(0.2, 0.7), pronation=rng.uniform(0, 0.8))


def seat_and_feet(fig: Figure) -> tuple[Float64, Float64, Float64]:
    """Where a chair puts the pelvis (3,), and the feet (2, 3) before it with their yaw (2,)."""
    rng, body = fig.rng, fig.body
    seat = np.array([0.0, rng.uniform(0.4, 0.52) + body.hip_up + 0.06, 0.0])
    sole, yaw = planted_feet(fig, rng.uniform(0.12, 0.4), rng.uniform(0.0, 0.25))
    sole[:, 2] += body.thigh * rng.uniform(0.85, 1.05) + rng.normal(0, 0.03, 2)
    return seat, sole, yaw


def sit(rng: Generator, duration_s: float) -> Motion:
    """Sitting still on a chair."""
    fig = Figure(rng, duration_s)
    seat, sole, yaw = seat_and_feet(fig)
    slump = rng.uniform(-0.3, 0.2)
    pelvis = (0.0, 0.7 * slump + wander(rng, fig.n, 0.004, 0.3), 0.0)
    fig.trunk(
        seat + wander(rng, fig.n, 0.0008, 0.3, 3),
        pelvis=pelvis,
        chest=(0.0, rng.uniform(0.0, 0.3), 0.0),
        head=(rng.normal(0, 0.2), rng.uniform(-0.1, 0.5), 0.0),
    )
    fig.legs(sole, yaw)
    resting_arms(fig, str(rng.choice(["lap", "table", "folded", "phone"], p=[0.5, 0.2, 0.1, 0.2])))
    return fig.motion("sit")


def lie(rng: Generator, duration_s: float) -> Motion:
    """Lying still "on the back", "on the side" or "face down"."""
    fig = Figure(rng, duration_s)
    variant = str(rng.choice(["on the back", "on the side", "face down"], p=[0.6, 0.25, 0.15]))
    pitch = (1 if variant == "face down" else -1) * (np.pi / 2 + rng.uniform(-0.1, 0.1))
    roll = rng.choice([-1, 1]) * (rng.uniform(1.1, 1.6) if variant == "on the side" else rng.uniform(0, 0.12))
    bed = rng.choice([0.0, rng.uniform(0.4, 0.6)])
    root = np.zeros((fig.n, 3))
    root[:, 1] = bed + (0.26 if variant == "on the side" else 0.13) + wander(rng, fig.n, 0.0003, 0.3)
    fig.trunk(root, head=(rng.normal(0, 0.2), rng.uniform(0, 0.3), 0), follow=1.0)
    turn = attitude_about_length(pitch, float(roll))
    fig.reorient(turn)
    curl = rng.uniform(0.2, 1.0) if variant == "on the side" else rng.uniform(0.0, 0.12)
    for side in (LEFT, RIGHT):
        bent = curl + (rng.uniform(0.3, 0.8) if variant == "on the back" and rng.random() < 0.25 else 0.0)
        fig.leg(side, bent, 2 * bent, abduction=rng.uniform(0.0, 0.2), ankle=0.5)
        if variant == "on the side":
            fig.arm(side, rng.uniform(0.3, 1.4), rng.uniform(0.2, 1.8), abduction=0.0)
        else:
            out = rng.uniform(0.15, 0.6)
            fig.arm(side, rng.uniform(0.0, 0.1), rng.uniform(0.05, 0.2), abduction=out, inward=rng.uniform(0.0, 1.5))
    return fig.motion("lie", variant)


def attitude_about_length(pitch: float, roll: float) -> Float64:
    """Upright → lying (3, 3): pitched over, having rolled about the body's own length."""
    return axis_turn(0, pitch) @ axis_turn(1, roll)


def repeats(fig: Figure, period_s: float, *, hold: float = 0.0) -> tuple[Float64, Float64]:
    """Down and up, again and again → depth (N,) from 0 to 1 and the count of repetitions begun (N,)."""
    beat = phase_of(fig.t, beats(fig.rng, fig.duration_s, period_s, 0.04))
    inside = np.mod(beat, 1.0)
    width = 0.5 * (1 - hold)
    depth = glide(inside / width, 0.5) - glide((inside - width - fig.rng.uniform(0, hold)) / width, 0.5)
    return np.asarray(depth), np.floor(beat)


def strokes(fig: Figure, takes_s: float, pause_s: tuple[float, float]) -> tuple[Float64, Float64]:
    """Single strokes with pauses → progress (N,) of the one under way, 0 to 1, and its number (N,)."""
    rng = fig.rng
    gaps = takes_s + rng.uniform(*pause_s, int(fig.duration_s / (takes_s + pause_s[0])) + 3)
    begin = np.cumsum(gaps) - rng.uniform(0.3, 1.0) * gaps[0]
    k = np.searchsorted(begin, fig.t, side="right") - 1
    tempo = takes_s * rng.uniform(0.88, 1.12, len(begin))
    progress = np.clip((fig.t - begin[np.maximum(k, 0)]) / tempo[np.maximum(k, 0)], 0, 1)
    return np.where(k < 0, 0.0, progress), np.maximum(k, 0)
