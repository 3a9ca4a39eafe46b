"""Standing, sitting and lying, what leads from one to the other, and exercises on planted feet."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from motionseek.encoders.simulate.body import LEFT, RIGHT, SIGN, Figure, apply, axis_turn
from motionseek.encoders.simulate.curves import RATE_HZ, TURN, beats, glide, keyframes, phase_of, wander
from motionseek.encoders.simulate.jumping import jolt
from motionseek.encoders.simulate.motion import Motion, joint
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
    root = np.zeros((fig.n, 3))
    root[:, [0, 2]] = sway
    root[:, 1] = fig.body.hip_height - 0.004
    shared = np.asarray(turn) * rng.uniform(0.2, 0.6)
    bow = np.asarray(lean)
    fig.trunk(root, pelvis=(shared, 0.3 * bow, 0.0), chest=(turn - shared, 0.7 * bow + rng.uniform(-0.06, 0.08), 0.0))
    _level(fig, root, np.broadcast_to(sole, (fig.n, 2, 3)), yaw)
    fig.legs(sole, yaw)


def _level(fig: Figure, root: Float64, sole: Float64, yaw: Float64, pitch: Float64 | float = 0.0) -> None:
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
        at = np.cumsum(rng.uniform([0.5, 0.5], [2.5, 0.9], (int(duration_s) + 3, 2)).ravel()) - 1.5
        root[:, 0] += keyframes(fig.t, at, np.repeat(rng.normal(0, 0.025, len(at) // 2 + 1), 2)[1 : len(at) + 1])
        turn = keyframes(fig.t, at + 0.3, np.repeat(rng.normal(0, 0.35, len(at) // 2 + 1), 2)[1 : len(at) + 1])
    fig.trunk(root, chest=(0.2 * np.asarray(turn), rng.uniform(-0.06, 0.1), 0), head=(turn, rng.uniform(-0.1, 0.4), 0))
    _level(fig, root, np.broadcast_to(sole, (fig.n, 2, 3)), yaw)
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


def _seat(fig: Figure) -> tuple[Float64, Float64, Float64]:
    """Where a chair puts the pelvis (3,), and the feet (2, 3) before it with their yaw (2,)."""
    rng, body = fig.rng, fig.body
    seat = np.array([0.0, rng.uniform(0.4, 0.52) + body.hip_up + 0.06, 0.0])
    sole, yaw = planted_feet(fig, rng.uniform(0.12, 0.4), rng.uniform(0.0, 0.25))
    sole[:, 2] += body.thigh * rng.uniform(0.85, 1.05) + rng.normal(0, 0.03, 2)
    return seat, sole, yaw


def sit(rng: Generator, duration_s: float) -> Motion:
    """Sitting still on a chair."""
    fig = Figure(rng, duration_s)
    seat, sole, yaw = _seat(fig)
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


def _chair(rng: Generator, duration_s: float, label: str) -> Motion:
    """Between standing and sitting: the trunk bows first, the pelvis travels back and down, the seat is felt."""
    fig = Figure(rng, duration_s)
    down = label == "sit down"
    seat, sole, yaw = _seat(fig)
    sole[:, 2] -= rng.uniform(0.05, 0.15)
    upright = np.array([0.0, fig.body.hip_height - 0.004, float(sole[:, 2].mean()) + rng.uniform(-0.02, 0.03)])
    takes = min(rng.uniform(1.0, 2.4), 0.9 * duration_s)
    begin = rng.uniform(0, duration_s - takes)
    x = (fig.t - begin) / takes
    seated = keyframes(x, [0.0, 1.0], [0.0, 1.0] if down else [1.0, 0.0])
    if down:
        lower, back = keyframes(x, [0.15, 0.85], [0.0, 1.0]), keyframes(x, [0.05, 0.75], [0.0, 1.0])
        bow = keyframes(x, [0.0, 0.55, 1.0], [0.0, 1.0, 0.0])
        touch = begin + 0.78 * takes
    else:
        lower, back = keyframes(x, [0.3, 0.95], [1.0, 0.0]), keyframes(x, [0.22, 0.85], [1.0, 0.0])
        bow = keyframes(x, [0.0, 0.38, 1.0], [0.0, 1.0, 0.0])
        touch = begin + 0.95 * takes
    root = np.zeros((fig.n, 3))
    root[:, 1] = upright[1] + lower * (seat[1] - upright[1])
    root[:, 2] = upright[2] + back * (seat[2] - upright[2])
    root[:, 0] = wander(rng, fig.n, 0.004, 0.5)
    root[:, 1] += jolt(fig, touch, 0.0005, 0.003 if down else 0.001)
    lean, slump = rng.uniform(0.5, 1.0), rng.uniform(-0.25, 0.1)
    fig.trunk(
        root,
        pelvis=(0.0, 0.7 * lean * bow + slump * seated, 0.0),
        chest=(0.0, 0.35 * lean * bow + 0.15 * seated, 0.0),
        follow=0.5,
    )
    _level(fig, root, np.broadcast_to(sole, (fig.n, 2, 3)), yaw)
    fig.legs(sole, yaw)
    rest = np.array([-0.05, -0.42, 0.22]) if rng.random() < 0.7 else np.array([0.05, -0.48, 0.02])
    hang = np.array([0.12, -0.6, 0.05])
    for side in (LEFT, RIGHT):
        way = (rest - hang) * seated[:, None] + [0.0, 0.0, 0.1] * bow[:, None] * rng.uniform(-1, 2.5) + hang
        way = way * [SIGN[side], 1, 1] * fig.body.height / 1.75
        fig.reach(side, way + wander(rng, fig.n, 0.003, 0.5, 3), swivel=rng.uniform(0.1, 0.5))
    return fig.motion(label)


def sit_down(rng: Generator, duration_s: float) -> Motion:
    return _chair(rng, duration_s, "sit down")


def stand_up(rng: Generator, duration_s: float) -> Motion:
    return _chair(rng, duration_s, "stand up")


def repeats(fig: Figure, period_s: float, *, hold: float = 0.0) -> tuple[Float64, Float64]:
    """Down and up, again and again → depth (N,) from 0 to 1 and the count of repetitions begun (N,)."""
    beat = phase_of(fig.t, beats(fig.rng, fig.duration_s, period_s, 0.04))
    inside = np.mod(beat, 1.0)
    width = 0.5 * (1 - hold)
    depth = glide(inside / width, 0.5) - glide((inside - width - fig.rng.uniform(0, hold)) / width, 0.5)
    return np.asarray(depth), np.floor(beat)


def squat(rng: Generator, duration_s: float) -> Motion:
    """Repeated squats."""
    fig = Figure(rng, duration_s)
    body = fig.body
    depth, _ = repeats(fig, rng.uniform(1.4, 3.6), hold=rng.uniform(0.0, 0.35))
    sole, yaw = planted_feet(fig, rng.uniform(0.22, 0.5), rng.uniform(0.1, 0.5))
    deep = rng.uniform(0.3, 0.62) * body.leg
    root = np.zeros((fig.n, 3))
    root[:, 0] = wander(rng, fig.n, 0.006, 0.4)
    root[:, 1] = body.hip_height - 0.02 - deep * depth
    root[:, 2] = -rng.uniform(0.25, 0.45) * deep * depth + wander(rng, fig.n, 0.006, 0.4)
    lean = rng.uniform(0.5, 1.0) * deep / 0.5
    fig.trunk(root, pelvis=(0.0, 0.6 * lean * depth, 0.0), chest=(0.0, 0.3 * lean * depth, 0.0))
    _level(fig, root, np.broadcast_to(sole, (fig.n, 2, 3)), yaw)
    fig.legs(sole, yaw)
    style = rng.choice(["reach", "clasped", "hang"])
    for side in (LEFT, RIGHT):
        if style == "reach":
            fig.arm(side, 0.1 + rng.uniform(1.2, 1.7) * depth, 0.2, abduction=0.1)
        elif style == "clasped":
            fig.reach(side, np.array([-SIGN[side] * 0.13, -0.15, 0.22]) + wander(rng, fig.n, 0.004, 0.6, 3), swivel=0.5)
    return fig.motion("squat")


def lunge(rng: Generator, duration_s: float) -> Motion:
    """Steps forward into a lunge and back, with the "left leg", the "right leg" or "alternating"."""
    fig = Figure(rng, duration_s)
    body = fig.body
    variant = str(rng.choice(["left leg", "right leg", "alternating"], p=[0.25, 0.25, 0.5]))
    beat_s = beats(rng, duration_s, rng.uniform(1.8, 3.6), 0.05)
    beat = phase_of(fig.t, beat_s)
    inside, count = np.mod(beat, 1.0), np.floor(beat).astype(int)
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
    root[:, 1] += jolt(fig, np.interp(np.arange(len(beat_s)) + 0.26, np.arange(len(beat_s)), beat_s), 0.0003, 0.002)
    lean = rng.uniform(-0.05, 0.35)
    fig.trunk(root, pelvis=(0.0, 0.5 * lean * low, 0.0), chest=(0.0, 0.5 * lean * low, 0.0))
    _level(fig, root, sole, yaw, pitch)
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
        total, takes = np.pi * rng.uniform(0.5, 1.1), min(rng.uniform(1.4, 2.6), 0.95 * duration_s)
        begin = rng.uniform(0, duration_s - takes)
        heading = sign * total * keyframes(fig.t, [begin, begin + takes], [0.0, 1.0])
    else:
        heading = sign * rng.uniform(0.8, 2.2) * (fig.t + 0.3 * np.sin(TURN * step) / TURN)
    leg = step[:, None] / 2 - np.array([0.0, 0.5])
    moving = np.clip((np.mod(leg, 1.0) - 0.58) / 0.42, 0, 1)
    last_s, next_s = (_time_of(beat_s, np.floor(leg) + k, fig) for k in (0.3, 1.3))
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
    _level(fig, root, sole, ahead)
    fig.legs(sole, ahead)
    for side in (LEFT, RIGHT):
        fig.arm(
            side, 0.05 - 0.06 * rate * SIGN[side] * rng.uniform(0, 1), fig.rest_elbow, abduction=0.12 + 0.03 * abs(rate)
        )
    return fig.motion("turn around", variant)


def _time_of(beat_s: Float64, stride: Float64, fig: Figure) -> Float64:
    """When each foot's stride count (N, 2) is reached, s."""
    step = 2 * (stride + np.array([0.0, 0.5]))
    return np.interp(step, np.arange(len(beat_s)), beat_s)


def _at(curve: Float64, when_s: Float64, fig: Figure) -> Float64:
    return np.interp(when_s, fig.t, curve)


def bend_over(rng: Generator, duration_s: float) -> Motion:
    return _stoop(rng, duration_s, "bend over")


def pick_up(rng: Generator, duration_s: float) -> Motion:
    return _stoop(rng, duration_s, "pick up")


def _stoop(rng: Generator, duration_s: float, label: str) -> Motion:
    """Down with a bent back, knees bent little or much, and up again, with one hand or both."""
    fig = Figure(rng, duration_s)
    body = fig.body
    picking = label == "pick up"
    takes = min(rng.uniform(1.6, 3.2), duration_s)
    begin = rng.uniform(0, duration_s - takes)
    down = keyframes((fig.t - begin) / takes, [0.0, 0.42, 0.58, 1.0], [0.0, 1.0, 1.0, 0.0])
    sole, yaw = planted_feet(fig, rng.uniform(0.15, 0.4), rng.uniform(0.05, 0.3))
    knees = rng.uniform(0.05, 0.45) if picking else rng.uniform(0.02, 0.15)
    lean = rng.uniform(1.0, 1.5) - 1.2 * knees
    root = np.zeros((fig.n, 3))
    root[:, 0] = wander(rng, fig.n, 0.005, 0.4)
    root[:, 1] = body.hip_height - 0.01 - knees * body.leg * down
    root[:, 2] = -(0.1 * lean + 0.3 * knees) * down
    fig.trunk(root, pelvis=(0.0, 0.7 * lean * down, 0.0), chest=(0.0, 0.5 * lean * down, 0.0), follow=0.8)
    _level(fig, root, np.broadcast_to(sole, (fig.n, 2, 3)), yaw)
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
