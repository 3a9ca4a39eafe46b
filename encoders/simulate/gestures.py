"""What arms and single legs do while their owner stands: a gesture on top of `posture.base`.

Points that a hand goes to are told from the shoulder, in arm lengths: (outwards, up, ahead), in the chest's frame.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike

from motionseek.encoders.simulate.body import LEFT, RIGHT, SIDES, SIGN, Figure
from motionseek.encoders.simulate.curves import TURN, beats, glide, keyframes, phase_of, ring, wander
from motionseek.encoders.simulate.motion import Motion
from motionseek.encoders.simulate.posture import base, repeats, strokes
from motionseek.types import Float64

HANG = np.array([0.12, -0.95, 0.08])


def _hand(fig: Figure, side: int, point: ArrayLike, *, swivel: float = 0.3, pronation: ArrayLike = 0.0) -> None:
    """The wrist at `point` (N, 3) or (3,), in arm lengths, with the unsteadiness of a held arm."""
    unsteady = wander(fig.rng, fig.n, fig.rng.uniform(0.003, 0.012), 0.8, 3)
    target = (np.asarray(point) + unsteady) * [SIGN[side], 1.0, 1.0] * fig.body.arm
    fig.reach(side, target, swivel=swivel, pronation=pronation)


def _spell(fig: Figure) -> Float64:
    """(N,) 1 while the gesture lasts, 0 where the arm rests before or after it; often it fills the whole time."""
    rng, last = fig.rng, fig.duration_s
    spell = np.ones(fig.n)
    if rng.random() < 0.35:
        begin = rng.uniform(0, 0.35 * last)
        spell = spell * keyframes(fig.t, [begin, begin + rng.uniform(0.4, 0.8)], [0.0, 1.0])
    if rng.random() < 0.35:
        begin = last - rng.uniform(0, 0.35 * last)
        spell = spell * keyframes(fig.t, [begin, begin + rng.uniform(0.4, 0.8)], [1.0, 0.0])
    return spell


def _beat(fig: Figure, rate_hz: float, jitter: float = 0.04) -> Float64:
    return phase_of(fig.t, beats(fig.rng, fig.duration_s, 1 / rate_hz, jitter))


def _one_side(fig: Figure, extra: Sequence[str] = (), limb: str = "hand") -> tuple[str, list[bool]]:
    """ "left hand", "right hand" or one of `extra`, and which sides take part."""
    options = [f"{side} {limb}" for side in SIDES] + list(extra)
    chance = np.array([1.0] * 2 + [0.8] * len(extra))
    variant = str(fig.rng.choice(options, p=chance / chance.sum()))
    return variant, [not variant.startswith(SIDES[1 - s]) for s in (LEFT, RIGHT)]


def clap(rng: Generator, duration_s: float) -> Motion:
    """Clapping hands."""
    fig = Figure(rng, duration_s)
    base(fig)
    spell = _spell(fig)[:, None]
    beat = _beat(fig, rng.uniform(1.5, 4.2), 0.03)
    gap = rng.uniform(0.06, 0.24) * (np.sqrt(np.sin(np.pi * beat) ** 2 + 0.03) - 0.17)
    inside = fig.body.shoulder_out / fig.body.arm
    height, ahead = rng.uniform(-0.5, 0.1), rng.uniform(0.45, 0.62)
    share = rng.uniform(0.3, 0.7)
    for side in (LEFT, RIGHT):
        own = 2 * gap * (share if side == LEFT else 1 - share)
        wrist = np.stack([own - inside + 0.08, height - 0.3 * own, ahead - 0.2 * own], axis=1)
        _hand(fig, side, HANG + (wrist - HANG) * spell, swivel=rng.uniform(0.2, 0.6))
    return fig.motion("clap")


def push(rng: Generator, duration_s: float) -> Motion:
    """Pushing something away with both hands, once and again."""
    fig = Figure(rng, duration_s)
    stroke, _ = strokes(fig, rng.uniform(1.3, 2.6), (0.1, 1.5))
    out = keyframes(stroke, [0.05, 0.4, 0.6, 1.0], [0.0, 1.0, 1.0, 0.0])
    base(fig, lean=rng.uniform(0.0, 0.3) * out)
    ready = rng.random() < 0.5
    near = np.array([rng.uniform(-0.1, 0.1), -0.3, 0.35])
    far = np.array([rng.uniform(-0.15, 0.05), rng.uniform(-0.3, 0.05), rng.uniform(0.85, 0.96)])
    at = [0.0, 0.15, 0.45, 0.6, 0.8, 1.0]
    path = np.stack([near if ready else HANG, near, far, far, near, near if ready else HANG])
    for side in (LEFT, RIGHT):
        _hand(fig, side, keyframes(stroke, at, path), swivel=rng.uniform(0.3, 0.9), pronation=0.8)
    return fig.motion("push")


def knock(rng: Generator, duration_s: float) -> Motion:
    """Knocking at a door in bursts, with the "left hand" or the "right hand"."""
    fig = Figure(rng, duration_s)
    base(fig)
    variant, sides = _one_side(fig)
    spell = _spell(fig)
    beat_s = beats(rng, duration_s, 1 / rng.uniform(2.3, 5.0), 0.04)
    burst = int(rng.integers(2, 6))
    hit_s = beat_s[np.mod(np.arange(len(beat_s)), burst + rng.integers(0, 3)) < burst]
    close = np.clip(np.abs(np.subtract.outer(fig.t, hit_s)).min(axis=1) / (0.6 * np.diff(beat_s).min()), 0, 1)
    swing = rng.uniform(0.06, 0.16) * (1 - glide(close, 0.5))
    thud = -ring(fig.t, hit_s, rng.uniform(0.001, 0.004), rng.uniform(9, 14), 0.03)
    place = np.array([rng.uniform(-0.3, 0.1), rng.uniform(-0.15, 0.2), rng.uniform(0.5, 0.65)])
    for side in (LEFT, RIGHT):
        if sides[side]:
            wrist = place + np.stack([0 * swing, -0.3 * swing, swing + thud], axis=1)
            _hand(fig, side, HANG + (wrist - HANG) * spell[:, None], swivel=rng.uniform(0.1, 0.5), pronation=0.5)
    return fig.motion("knock", variant)


def draw_circle(rng: Generator, duration_s: float) -> Motion:
    """Circles in the air with one hand, or windmills with "both arms"."""
    fig = Figure(rng, duration_s)
    base(fig)
    variant, sides = _one_side(fig, ("both arms",))
    spell = _spell(fig)
    sense = float(rng.choice([-1, 1]))
    turn = TURN * sense * _beat(fig, rng.uniform(0.4, 1.4))
    if variant == "both arms":
        wide = rng.uniform(0.3, 0.9)
        for side in (LEFT, RIGHT):
            lift = spell * (1.4 + wide * np.sin(turn))
            fig.arm(side, spell * wide * np.cos(turn), rng.uniform(0.05, 0.3), abduction=0.1 + lift)
        return fig.motion("draw circle", variant)
    radius = rng.uniform(0.15, 0.45)
    centre = np.array([rng.uniform(-0.25, 0.15), rng.uniform(-0.2, 0.15), 0.85 - 0.5 * radius])
    for side in (LEFT, RIGHT):
        if sides[side]:
            wrist = centre + radius * np.stack([np.cos(turn), np.sin(turn), 0 * turn], axis=1)
            _hand(fig, side, HANG + (wrist - HANG) * spell[:, None], swivel=rng.uniform(0.2, 0.6), pronation=0.6)
    return fig.motion("draw circle", variant)


def punch(rng: Generator, duration_s: float) -> Motion:
    """Straight punches from a guard: "left hand", "right hand" or "alternating"."""
    fig = Figure(rng, duration_s)
    variant, sides = _one_side(fig, ("alternating",))
    quick = rng.random() < 0.5
    stroke, count = strokes(fig, rng.uniform(0.5, 0.9), (0.0, 0.25) if quick else (0.3, 1.6))
    hits = keyframes(stroke, [0.08, 0.4, 0.95], [0.0, 1.0, 0.0], 0.0, [0.0, -rng.uniform(20, 90), 0.0])
    turns = [hits * (count % 2 == s if variant == "alternating" else sides[s]) for s in (LEFT, RIGHT)]
    base(fig, sway_m=0.01, turn=rng.uniform(0.2, 0.6) * (turns[RIGHT] - turns[LEFT]), lean=0.08)
    spread = rng.uniform(-0.2, 0.0)
    guard = np.array([spread, rng.uniform(-0.3, 0.05), rng.uniform(0.3, 0.45)])
    far = np.array([rng.uniform(-0.35, -0.15), rng.uniform(-0.1, 0.15), rng.uniform(0.88, 0.97)])
    for side in (LEFT, RIGHT):
        wrist = guard + (far - guard) * turns[side][:, None]
        _hand(fig, side, wrist, swivel=rng.uniform(0.1, 0.6), pronation=0.3 + 0.9 * turns[side])
    return fig.motion("punch", variant)


def kick(rng: Generator, duration_s: float) -> Motion:
    """Kicks forward with the "left leg" or the "right leg"."""
    fig = Figure(rng, duration_s)
    variant, sides = _one_side(fig, limb="leg")
    stroke, _ = strokes(fig, rng.uniform(0.8, 1.4), (0.2, 1.6))
    back, high = rng.uniform(0.1, 0.7), rng.uniform(0.7, 1.6)
    at = [0.0, 0.28, 0.52, 0.62, 1.0]
    thigh = keyframes(stroke, at, [0.09, -back, high, high, 0.09])
    knee = keyframes(stroke, [0.0, 0.3, 0.45, 0.58, 0.75, 1.0], [0.18, 1.3, 1.2, 0.15, 0.5, 0.18])
    raised = keyframes(stroke, [0.0, 0.2, 0.8, 1.0], [0.0, 1.0, 1.0, 0.0])
    base(fig, sway_m=0.008, lean=-0.15 * np.maximum(thigh, 0))
    for side in (LEFT, RIGHT):
        if sides[side]:
            fig.leg(side, thigh, knee, abduction=0.06, ankle=0.09 + 0.4 * raised)
        fig.arm(
            side,
            0.4 * thigh * (-1 if sides[side] else 1) + rng.uniform(0, 0.2),
            rng.uniform(0.3, 1.2),
            abduction=0.15 + rng.uniform(0.1, 0.5) * raised,
        )
    return fig.motion("kick", variant)


def throw(rng: Generator, duration_s: float) -> Motion:
    """Overarm throws with the "left hand" or the "right hand"."""
    fig = Figure(rng, duration_s)
    variant, sides = _one_side(fig)
    stroke, _ = strokes(fig, rng.uniform(1.3, 2.1), (0.2, 2.0))
    sign = 1.0 if sides[RIGHT] else -1.0
    at = [0.0, 0.42, 0.62, 0.78, 1.0]
    base(fig, sway_m=0.008, turn=sign * rng.uniform(0.4, 1.0) * keyframes(stroke, at, [0, -0.8, 0.5, 0.8, 0]))
    cocked = np.array([rng.uniform(0.3, 0.5), rng.uniform(0.2, 0.5), -rng.uniform(0.2, 0.45)])
    thrown = np.array([rng.uniform(0.0, 0.2), rng.uniform(0.3, 0.6), rng.uniform(0.6, 0.75)])
    through = np.array([-0.35, rng.uniform(-0.65, -0.4), 0.5])
    speed = np.zeros((5, 3))
    speed[2] = (through - cocked) / 0.36 * rng.uniform(0.9, 1.4)
    for side in (LEFT, RIGHT):
        if sides[side]:
            wrist = keyframes(stroke, at, np.stack([HANG, cocked, thrown, through, HANG]), speed)
            _hand(fig, side, wrist, swivel=rng.uniform(0.6, 1.1), pronation=0.4)
    return fig.motion("throw", variant)


def wave(rng: Generator, duration_s: float) -> Motion:
    """Waving with the "left hand", the "right hand" or "both hands"."""
    fig = Figure(rng, duration_s)
    base(fig)
    variant, sides = _one_side(fig, ("both hands",))
    spell = _spell(fig)
    beat = TURN * _beat(fig, rng.uniform(0.9, 2.9))
    size, wide = rng.uniform(0.2, 0.6), rng.random() < 0.6
    for side in (LEFT, RIGHT):
        if not sides[side]:
            continue
        go = size * np.sin(beat + rng.uniform(-0.3, 0.3))
        if wide:
            out, turned, bent = rng.uniform(0.7, 1.7), -rng.uniform(1.1, 1.5) + 0 * go, rng.uniform(1.0, 1.7) + go
        else:
            out, turned, bent = rng.uniform(0.15, 0.6), -0.1 + go, rng.uniform(1.9, 2.2) + 0 * go
        rest = fig.rest_elbow
        fig.arm(
            side,
            spell * rng.uniform(0.1, 0.6),
            rest + spell * (bent - rest),
            abduction=0.12 + spell * (out + 0.1 * go),
            inward=spell * turned,
            pronation=spell * (0.5 + 0.5 * go),
        )
    return fig.motion("wave", variant)


def raise_hands(rng: Generator, duration_s: float) -> Motion:
    """Raising the "left hand", the "right hand" or "both hands" overhead, holding and lowering."""
    fig = Figure(rng, duration_s)
    base(fig)
    variant, sides = _one_side(fig, ("both hands", "both hands "))
    stroke, _ = strokes(fig, rng.uniform(1.6, 3.2), (0.2, 2.0))
    up = keyframes(stroke, [0.0, rng.uniform(0.2, 0.35), rng.uniform(0.5, 0.75), 1.0], [0.0, 1.0, 1.0, 0.0])
    aside, high = rng.random() < 0.4, rng.uniform(2.3, 3.0)
    for side in (LEFT, RIGHT):
        if sides[side]:
            lift, other = 0.1 + (high - 0.1) * up, 0.1 + rng.uniform(0.0, 0.25) * up
            flexion, abduction = (other, lift) if aside else (lift, other)
            fig.arm(side, flexion, fig.rest_elbow + rng.uniform(-0.1, 0.6) * up, abduction=abduction)
    return fig.motion("raise hands", variant.strip())


def swing(rng: Generator, duration_s: float) -> Motion:
    """Swinging a "bat" with both hands, or a "racket in the left hand" or "racket in the right hand"."""
    fig = Figure(rng, duration_s)
    variant = str(rng.choice(["bat", "racket in the left hand", "racket in the right hand"], p=[0.4, 0.25, 0.35]))
    sign = -1.0 if "left" in variant or (variant == "bat" and rng.random() < 0.25) else 1.0
    lead = RIGHT if sign > 0 else LEFT
    stroke, _ = strokes(fig, rng.uniform(1.2, 2.1), (0.2, 2.0))
    at = [0.0, 0.4, 0.6, 0.75, 1.0]
    turn = sign * rng.uniform(0.6, 1.1) * keyframes(stroke, at, [-0.3, -0.9, 0.4, 1.0, -0.3])
    base(fig, sway_m=0.01, turn=turn, lean=0.12)
    inside = fig.body.shoulder_out / fig.body.arm
    if variant == "bat":
        ready, back = np.array([0.05, -0.1, 0.3]), np.array([0.25, 0.0, 0.15])
        struck, through = np.array([-0.4, -0.45, 0.75]), np.array([-0.9, 0.05, 0.45])
    else:
        ready, back = np.array([-0.1, -0.45, 0.5]), np.array([0.6, -0.35, -0.25])
        struck, through = np.array([0.3, -0.3, 0.75]), np.array([-0.6, 0.15, 0.45])
    keys = np.stack([ready, back, struck, through, ready]) + rng.normal(0, 0.04, 3)
    speed = np.zeros((5, 3))
    speed[2] = (through - back) / 0.35 * rng.uniform(1.1, 1.5)
    grip = keyframes(stroke, at, keys, speed)
    _hand(fig, lead, grip, swivel=0.7, pronation=0.5)
    if variant == "bat":
        other = grip * [-1.0, 1.0, 1.0] + np.array([-2 * inside, -0.12, 0.05])
        _hand(fig, 1 - lead, other, swivel=0.7, pronation=0.5)
    return fig.motion("swing", variant)


def arm_curl(rng: Generator, duration_s: float) -> Motion:
    """Curling a weight: "left hand", "right hand", "both hands" or "alternating"."""
    fig = Figure(rng, duration_s)
    variant, sides = _one_side(fig, ("both hands", "alternating"))
    depth, count = repeats(fig, rng.uniform(1.2, 3.2), hold=rng.uniform(0.0, 0.3))
    base(fig, lean=-rng.uniform(0.0, 0.08) * depth)
    low, high = rng.uniform(0.1, 0.4), rng.uniform(1.9, 2.4)
    for side in (LEFT, RIGHT):
        if sides[side]:
            own = depth * (count % 2 == side) if variant == "alternating" else depth
            lift = rng.uniform(-0.05, 0.3) * own
            fig.arm(side, lift, low + (high - low) * own, abduction=0.1, inward=0.1, pronation=-rng.uniform(0.3, 1.0))
    return fig.motion("arm curl", variant)
