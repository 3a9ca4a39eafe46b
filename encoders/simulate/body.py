"""A body of jointed segments, posed by trunk angles, planted feet and reaching hands.

Angles are radians. Sides come in the order left, right. Frames as in `Motion`: y up, facing +z, left hand towards +x;
a positive pitch leans forward, a positive yaw turns left, a positive roll lifts the left side.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike

from motionseek.encoders.simulate.curves import RATE_HZ, TURN, wander
from motionseek.encoders.simulate.motion import JOINTS, Motion, joint
from motionseek.types import Bool, Float64

LEFT, RIGHT = 0, 1
SIDES = ("left", "right")
SIGN = (1.0, -1.0)


def axis_turn(axis: int, angle: ArrayLike) -> Float64:
    """Rotation matrices (..., 3, 3) about world axis 0, 1 or 2 by `angle` (...)."""
    angle = np.asarray(angle, dtype=np.float64)
    i, j = (axis + 1) % 3, (axis + 2) % 3
    out = np.zeros((*angle.shape, 3, 3))
    out[..., axis, axis] = 1.0
    out[..., i, i] = out[..., j, j] = np.cos(angle)
    out[..., j, i] = np.sin(angle)
    out[..., i, j] = -out[..., j, i]
    return out


def attitude(yaw: ArrayLike, pitch: ArrayLike, roll: ArrayLike = 0.0) -> Float64:
    """Segment → world: roll first, then pitch, then yaw."""
    yaw, pitch, roll = np.broadcast_arrays(yaw, pitch, roll)
    return axis_turn(1, yaw) @ axis_turn(0, pitch) @ axis_turn(2, roll)


def apply(rotation: Float64, vector: ArrayLike) -> Float64:
    """(..., 3, 3) times (..., 3) or (3,)."""
    return np.asarray(np.einsum("...ij,...j->...i", rotation, np.asarray(vector, dtype=np.float64)))


@dataclass(frozen=True)
class Body:
    """Segment lengths in metres, in the proportions of Drillis and Contini (1966) with some spread between people."""

    height: float
    hip_up: float
    """Pelvis down to the hips."""
    hip_out: float
    waist: float
    """Pelvis to chest."""
    chest: float
    """Chest to neck."""
    neck: float
    shoulder_up: float
    shoulder_out: float
    upper_arm: float
    forearm: float
    thigh: float
    shank: float
    ankle_up: float
    heel_back: float
    ball_ahead: float

    @classmethod
    def random(cls, rng: Generator) -> Body:
        height = float(np.clip(rng.normal(1.71, 0.1), 1.5, 1.95))
        share = (0.018, 0.049, 0.115, 0.17, 0.055, 0.145, 0.115, 0.186, 0.146, 0.245, 0.246, 0.039, 0.04, 0.07)
        return cls(height, *(height * np.array(share) * rng.normal(1, 0.025, len(share)).clip(0.93, 1.07)).tolist())

    @property
    def leg(self) -> float:
        return self.thigh + self.shank

    @property
    def arm(self) -> float:
        return self.upper_arm + self.forearm

    @property
    def hip_height(self) -> float:
        """Of the pelvis joint when standing with knees not quite locked."""
        return self.hip_up + 0.998 * self.leg + self.ankle_up


def bend(
    start: Float64, target: Float64, hinge: Float64, upper: float, lower: float, *, back: bool, free: ArrayLike = 0.0
) -> tuple[Float64, ...]:
    """Analytic inverse kinematics of two segments.

    start, target, hinge: (N, 3); the hinge is where the joint axis (the segments' x) should point. `back` makes the
    middle joint go backwards (elbow) instead of forwards (knee). A target near or out of reach is drawn in smoothly,
    and early where `free` (N, 1) nears 1: a limb that swings is not flung straight.
    → middle joint (N, 3), end (N, 3), rotation of both segments (N, 3, 3) each
    """
    span = target - start
    distance = np.linalg.norm(span, axis=-1, keepdims=True)
    along = span / np.maximum(distance, 1e-9)
    full = upper + lower
    soft, hard = (0.982 - 0.09 * np.asarray(free)) * full, (0.9995 - 0.015 * np.asarray(free)) * full
    drawn = soft + (hard - soft) * -np.expm1(-np.maximum(distance - soft, 0.0) / (hard - soft))
    distance = np.maximum(np.where(distance > soft, drawn, distance), 1.05 * abs(upper - lower) + 0.05 * full)
    axis = hinge - (hinge * along).sum(-1, keepdims=True) * along
    axis /= np.maximum(np.linalg.norm(axis, axis=-1, keepdims=True), 1e-9)
    cosine = np.clip((upper**2 + distance**2 - lower**2) / (2 * upper * distance), -1, 1)
    aside = np.cross(along, axis) * (-1.0 if back else 1.0)
    middle = start + upper * (cosine * along + np.sqrt(1 - cosine**2) * aside)
    end = start + distance * along
    turns = []
    for top, bottom in ((start, middle), (middle, end)):
        up = top - bottom
        up /= np.linalg.norm(up, axis=-1, keepdims=True)
        turns.append(np.stack([axis, up, np.cross(axis, up)], axis=-1))
    return middle, end, turns[0], turns[1]


class Figure:
    """A random person for `duration_s`, posed step by step: trunk first, then legs and arms, then `motion`."""

    def __init__(self, rng: Generator, duration_s: float) -> None:
        self.rng, self.body = rng, Body.random(rng)
        self.duration_s = duration_s
        self.n = round(duration_s * RATE_HZ) + 1
        self.t: Float64 = np.arange(self.n) / RATE_HZ
        self.position = np.full((self.n, len(JOINTS), 3), np.nan)
        self.rotation = np.full((self.n, len(JOINTS), 3, 3), np.nan)
        self.rest_elbow, self.rest_abduction = rng.uniform(0.12, 0.45), rng.uniform(0.06, 0.22)

    def trunk(
        self,
        root: Float64,
        *,
        heading: ArrayLike = 0.0,
        pelvis: tuple[ArrayLike, ArrayLike, ArrayLike] = (0.0, 0.0, 0.0),
        chest: tuple[ArrayLike, ArrayLike, ArrayLike] = (0.0, 0.0, 0.0),
        head: tuple[ArrayLike, ArrayLike, ArrayLike] = (0.0, 0.0, 0.0),
        follow: float = 0.35,
    ) -> None:
        """root: (N, 3) the pelvis. Angles (yaw, pitch, roll), (N,) each or constant: the chest's come on top of the
        pelvis', the head's on top of the share `follow` of both. Breathing and small sway are added."""
        body, n = self.body, self.n
        rate, depth = self.rng.uniform(0.17, 0.33), self.rng.uniform(0.003, 0.008)
        breath = depth * np.sin(TURN * (rate * self.t + self.rng.random()))
        sway = wander(self.rng, n, 0.006, 0.5, 3).T
        nod = wander(self.rng, n, self.rng.uniform(0.01, 0.06), 0.4, 3).T
        low = [np.broadcast_to(np.asarray(a, dtype=np.float64), n) for a in pelvis]
        high = [a + np.asarray(b) + s for a, b, s in zip(low, chest, sway, strict=True)]
        high[1] = high[1] - breath
        top = [follow * a + np.asarray(b) + s for a, b, s in zip(high, head, nod, strict=True)]
        for name, (yaw, pitch, roll) in (
            *(("pelvis", low), ("chest", high), ("head", top)),
            ("neck", [(a + b) / 2 for a, b in zip(high, top, strict=True)]),
        ):
            self.rotation[:, joint(name)] = attitude(np.asarray(heading) + yaw, pitch, roll)
        self.position[:, joint("pelvis")] = root
        self._hang("chest", "pelvis", (0, body.waist, 0))
        self._hang("neck", "chest", (0, body.chest, 0))
        self._hang("head", "neck", (0, body.neck, 0))
        for side, sign in zip(SIDES, SIGN, strict=True):
            self._hang(f"{side}_hip", "pelvis", (sign * body.hip_out, -body.hip_up, 0))
            self._hang(f"{side}_shoulder", "chest", (sign * body.shoulder_out, body.shoulder_up, 0))

    def move(self, root: Float64) -> None:
        """Carry all that is posed so far until the pelvis is at `root` (N, 3)."""
        self.position = self.position + (root - self.position[:, joint("pelvis")])[:, None]

    def reorient(self, turn: Float64) -> None:
        """Turn the posed trunk by (3, 3) about its pelvis; limbs must be posed afterwards."""
        root = self.position[:, :1]
        self.position = root + apply(turn, self.position - root)
        self.rotation = turn @ self.rotation

    def _hang(self, name: str, parent: str, offset: tuple[float, float, float]) -> None:
        p = joint(parent)
        self.position[:, joint(name)] = self.position[:, p] + apply(self.rotation[:, p], offset)

    def ankle(self, sole: Float64, yaw: ArrayLike, pitch: ArrayLike) -> tuple[Float64, Float64]:
        """The ankle (..., 3) and the foot's rotation (..., 3, 3) for a foot standing at `sole` (..., 3), the point
        under the ankle when flat. Pitched down it turns about the ball, pitched up about the heel."""
        body, shape = self.body, sole.shape[:-1]
        yaw, pitch = np.broadcast_to(yaw, shape), np.broadcast_to(pitch, shape)
        share = 1 / (1 + np.exp(-np.clip(pitch / 0.03, -50, 50)))
        pivot = share * (body.ball_ahead + body.heel_back) - body.heel_back
        arm = np.stack([np.zeros(shape), np.full(shape, body.ankle_up), -pivot], axis=-1)
        ahead = np.stack([np.zeros(shape), np.zeros(shape), pivot], axis=-1)
        rotation = attitude(yaw, pitch)
        return sole + apply(axis_turn(1, yaw), ahead) + apply(rotation, arm), rotation

    def legs(self, sole: Float64, yaw: ArrayLike, pitch: ArrayLike = 0.0, free: ArrayLike = 0.0) -> None:
        """Legs that put the feet where told. sole: (N, 2, 3)     yaw, pitch: (N, 2) or broadcast
        free: (N, 2), 1 in mid-swing, where the foot may miss its path rather than straighten the knee"""
        ankle, foot = self.ankle(np.broadcast_to(sole, (self.n, 2, 3)), yaw, pitch)
        turn = axis_turn(1, np.broadcast_to(yaw, (self.n, 2)))
        loose = np.broadcast_to(free, (self.n, 2))
        pelvis_x = self.rotation[:, joint("pelvis"), :, 0]
        for s, side in enumerate(SIDES):
            hip, knee, end = (joint(f"{side}_{name}") for name in ("hip", "knee", "ankle"))
            hinge = pelvis_x + turn[:, s, :, 0]
            middle, tip, thigh, shank = bend(
                self.position[:, hip],
                ankle[:, s],
                hinge,
                self.body.thigh,
                self.body.shank,
                back=False,
                free=loose[:, s, None],
            )
            self.position[:, knee], self.position[:, end] = middle, tip
            self.rotation[:, hip], self.rotation[:, knee], self.rotation[:, end] = thigh, shank, foot[:, s]

    def leg(
        self, side: int, flexion: ArrayLike, knee: ArrayLike, *, abduction: ArrayLike = 0.0, ankle: ArrayLike = 0.0
    ) -> None:
        """One leg by its joint angles; `ankle` points the toes down."""
        name, sign, body = SIDES[side], SIGN[side], self.body
        hip = (
            self.rotation[:, joint("pelvis")]
            @ axis_turn(0, -np.asarray(flexion))
            @ axis_turn(2, sign * np.asarray(abduction))
        )
        self._chain(
            name, ("hip", "knee", "ankle"), (body.thigh, body.shank), hip, axis_turn(0, knee), axis_turn(0, ankle)
        )

    def arm(
        self,
        side: int,
        flexion: ArrayLike,
        elbow: ArrayLike,
        *,
        abduction: ArrayLike = 0.1,
        inward: ArrayLike = 0.0,
        pronation: ArrayLike = 0.0,
    ) -> None:
        """One arm by its joint angles."""
        name, sign, body = SIDES[side], SIGN[side], self.body
        shoulder = (
            self.rotation[:, joint("chest")]
            @ axis_turn(0, -np.asarray(flexion))
            @ axis_turn(2, sign * np.asarray(abduction))
            @ axis_turn(1, -sign * np.asarray(inward))
        )
        fore = axis_turn(0, -np.asarray(elbow)) @ axis_turn(1, -sign * np.asarray(pronation))
        hand = axis_turn(0, wander(self.rng, self.n, 0.06, 0.8))
        self._chain(name, ("shoulder", "elbow", "wrist"), (body.upper_arm, body.forearm), shoulder, fore, hand)

    def _chain(self, side: str, names: tuple[str, ...], lengths: tuple[float, float], *turns: Float64) -> None:
        above = np.broadcast_to(np.eye(3), (self.n, 3, 3))
        for i, (name, turn) in enumerate(zip(names, turns, strict=True)):
            above = above @ turn
            self.rotation[:, joint(f"{side}_{name}")] = above
            if i < 2:
                self._hang(f"{side}_{names[i + 1]}", f"{side}_{name}", (0, -lengths[i], 0))

    def reach(
        self, side: int, target: Float64, *, swivel: float = 0.3, pronation: ArrayLike = 0.0, of: str = "chest"
    ) -> None:
        """One arm by where its wrist goes. target: (N, 3) or (3,) m, from the shoulder in the chest's frame, or with
        of="world" a point of the world. swivel: 0 elbow down, π/2 elbow out."""
        name, sign, body = SIDES[side], SIGN[side], self.body
        chest = self.rotation[:, joint("chest")]
        start = self.position[:, joint(f"{name}_shoulder")]
        goal = np.broadcast_to(target, (self.n, 3)) if of == "world" else start + apply(chest, target)
        hinge = apply(chest, (np.cos(swivel), sign * np.sin(swivel), 0.0))
        middle, tip, upper, fore = bend(start, goal, hinge, body.upper_arm, body.forearm, back=True)
        fore = fore @ axis_turn(1, np.broadcast_to(-sign * np.asarray(pronation), self.n))
        self.position[:, joint(f"{name}_elbow")], self.position[:, joint(f"{name}_wrist")] = middle, tip
        hand = fore @ axis_turn(0, wander(self.rng, self.n, 0.06, 0.8))
        for part, turn in (("shoulder", upper), ("elbow", fore), ("wrist", hand)):
            self.rotation[:, joint(f"{name}_{part}")] = turn

    def hang_arms(self, *, stillness: float = 1.0) -> None:
        """Arms hanging loosely at the sides, for whichever arm is not posed yet."""
        for side, name in enumerate(SIDES):
            if np.isnan(self.position[0, joint(f"{name}_wrist"), 0]):
                drift = wander(self.rng, self.n, 0.012 / stillness, 0.5, 3)
                self.arm(
                    side,
                    self.rng.uniform(-0.08, 0.12) + drift[:, 0],
                    self.rest_elbow + drift[:, 1],
                    abduction=self.rest_abduction + drift[:, 2],
                    inward=self.rng.uniform(0.0, 0.4),
                )

    def headroom(
        self, root: Float64, ankle: Float64, planted: Bool | None = None, *, straight: ArrayLike = 0.988
    ) -> Float64:
        """How far (N,) the pelvis at `root` (N, 3) could rise until a leg to `ankle` (N, 2, 3) has the share `straight`
        (N, 2) of its full length. The trunk must be posed, anywhere. planted: (N, 2), False where a leg is free."""
        pelvis, reach = self.rotation[:, joint("pelvis")], np.broadcast_to(straight, ankle.shape[:2]) * self.body.leg
        room = []
        for s, sign in enumerate(SIGN):
            hip = root + apply(pelvis, (sign * self.body.hip_out, -self.body.hip_up, 0))
            flat = ((ankle[:, s] - hip)[:, [0, 2]] ** 2).sum(-1)
            height = np.sqrt(np.maximum(reach[:, s] ** 2 - flat, 0.04))
            gap = ankle[:, s, 1] + height - hip[:, 1]
            room.append(gap if planted is None else np.where(planted[:, s], gap, np.inf))
        return np.asarray(np.minimum(*room))

    def motion(self, label: str, variant: str = "") -> Motion:
        """The finished motion; arms not posed yet hang."""
        self.hang_arms()
        name = f"{label}, {variant}" if variant else label
        return Motion(name, RATE_HZ, self.position, self.rotation, (label, name), "procedural")
