"""Several motions as one continuous take.

Clips that are merely put one after another jolt at every seam, and a sensor simulated there gives the seam's time
away. Here the body fades from one clip into the next, so that sensors and cameras simulated from the take see one
movement without seams.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from motionseek.encoders.simulate.camera import facing
from motionseek.encoders.simulate.motion import JOINTS, Motion
from motionseek.errors import UsageError
from motionseek.types import Float64

SIDES = ("left", "right")
_PARENT = {
    "chest": "pelvis",
    "neck": "chest",
    "head": "neck",
    **{f"{side}_{joint}": parent for side in SIDES for joint, parent in (("shoulder", "chest"), ("hip", "pelvis"))},
    **{
        f"{side}_{joint}": f"{side}_{parent}"
        for side in SIDES
        for joint, parent in (("elbow", "shoulder"), ("wrist", "elbow"), ("knee", "hip"), ("ankle", "knee"))
    },
}
"""Joint → the joint whose segment carries it, which comes before it in JOINTS."""


@dataclass(frozen=True, eq=False)
class _Figure:
    """A motion as a root and bones. root_m: (N, 3) pelvis.   step_m: (N, 16, 3) from the parent, in its frame.
    turned: (N, 16, 4) quaternions, segment to world."""

    root_m: Float64
    step_m: Float64
    turned: Float64

    @classmethod
    def of(cls, motion: Motion) -> _Figure:
        step_m = np.zeros_like(motion.position_m)
        for name, parent in _PARENT.items():
            j, p = JOINTS.index(name), JOINTS.index(parent)
            way = motion.position_m[:, j] - motion.position_m[:, p]
            step_m[:, j] = np.einsum("nji,nj->ni", motion.rotation[:, p], way)
        quaternions = Rotation.from_matrix(motion.rotation.reshape(-1, 3, 3)).as_quat()
        return cls(motion.position_m[:, 0], step_m, quaternions.reshape(*motion.rotation.shape[:2], 4))

    def motion(self, name: str, rate_hz: float) -> Motion:
        rotation = Rotation.from_quat(self.turned.reshape(-1, 4)).as_matrix().reshape(*self.turned.shape[:2], 3, 3)
        position_m = np.repeat(self.root_m[:, None], len(JOINTS), axis=1)
        for joint in JOINTS:
            if joint in _PARENT:
                j, p = JOINTS.index(joint), JOINTS.index(_PARENT[joint])
                position_m[:, j] = position_m[:, p] + np.einsum("nij,nj->ni", rotation[:, p], self.step_m[:, j])
        return Motion(name, rate_hz, position_m, rotation, source="take")


def faded(motions: Sequence[Motion], *, fade_s: float = 0.8, name: str = "take") -> Motion:
    """The motions one after another, each fading into the next over `fade_s`.

    A motion goes on where and in the direction in which the one before it ended. During a fade the rotations are
    interpolated (spherically) and the bones put together again, so that no limb shrinks. All must have one rate.
    Raises UsageError for motions of several rates, and for one that is shorter than two fades.
    """
    if not motions:
        raise UsageError("a take needs at least one motion")
    rate_hz = motions[0].rate_hz
    fade = round(fade_s * rate_hz)
    for motion in motions:
        if abs(motion.rate_hz - rate_hz) > 1e-6 * rate_hz:
            raise UsageError(f"motion {motion.name} has {motion.rate_hz:g} Hz, the first {rate_hz:g}: resample it")
        if len(motion.position_m) < 2 * fade:
            raise UsageError(f"motion {motion.name} lasts {motion.duration_s:.1f} s, which two fades do not fit into")
    total = _Figure.of(motions[0])
    x = (np.arange(fade) + 0.5) / max(fade, 1)
    ramp = (x * x * x * (x * (6 * x - 15) + 10))[:, None]
    for last, motion in pairwise(motions):
        # The last motion's own direction is what the take had made of it.
        was = total.turned[-fade // 2 - 1, 0]
        turn = Rotation.from_quat(was) * Rotation.from_matrix(last.rotation[-fade // 2 - 1, 0]).inv()
        next_ = _placed(motion, _yaw_of(turn, last, motion, fade), total.root_m[-fade // 2 - 1], fade)
        root_m = total.root_m[-fade:] * (1 - ramp) + next_.root_m[:fade] * ramp
        step_m = total.step_m[-fade:] * (1 - ramp[:, None]) + next_.step_m[:fade] * ramp[:, None]
        turned = _between(total.turned[-fade:], next_.turned[:fade], ramp[:, 0])
        total = _Figure(
            *(
                np.concatenate([before[:-fade], mixed, after[fade:]])
                for before, mixed, after in (
                    (total.root_m, root_m, next_.root_m),
                    (total.step_m, step_m, next_.step_m),
                    (total.turned, turned, next_.turned),
                )
            )
        )
    return total.motion(name, rate_hz)


def _yaw_of(turn: Rotation, last: Motion, motion: Motion, fade: int) -> Rotation:
    """The turn about the vertical that makes `motion` begin in the direction in which `last`, turned, ends."""
    ended = turn.apply(facing(last)[-fade // 2 - 1])
    begins = facing(motion)[fade // 2]
    angle = np.arctan2(ended[0], ended[2]) - np.arctan2(begins[0], begins[2])
    return Rotation.from_rotvec([0.0, angle, 0.0])


def _placed(motion: Motion, yaw: Rotation, at_m: Float64, fade: int) -> _Figure:
    figure = _Figure.of(motion)
    root_m = yaw.apply(figure.root_m)
    shift_m = (at_m - root_m[fade // 2]) * [1.0, 0.0, 1.0]
    turned = (yaw * Rotation.from_quat(figure.turned.reshape(-1, 4))).as_quat().reshape(figure.turned.shape)
    return _Figure(root_m + shift_m, figure.step_m, turned)


def _between(first: Float64, second: Float64, share: Float64) -> Float64:
    """Quaternions (F, J, 4) a share (F,) of the way from one to the other."""
    start = Rotation.from_quat(first.reshape(-1, 4))
    way = (start.inv() * Rotation.from_quat(second.reshape(-1, 4))).as_rotvec()
    part = Rotation.from_rotvec(way * np.repeat(share, first.shape[1])[:, None])
    turned: Float64 = (start * part).as_quat().reshape(first.shape)
    return turned


def followed(motion: Motion, *, sigma_s: float = 1.0) -> Motion:
    """The motion as a camera sees it that follows the person: without their slow way over the ground."""
    way_m = gaussian_filter1d(motion.position_m[:, 0], sigma_s * motion.rate_hz, axis=0, mode="nearest")
    way_m[:, 1] = 0.0
    return Motion(
        motion.name,
        motion.rate_hz,
        motion.position_m - way_m[:, None],
        motion.rotation,
        motion.labels,
        motion.source,
    )
