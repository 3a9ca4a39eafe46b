"""What a fused orientation says: the gyroscope behind it, and where gravity points.

Quaternions are (w, x, y, z) and turn the sensor's axes into the world's, whose z points up, as Xsens and most others
write them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy

from motionseek.types import STANDARD_GRAVITY_MPS2, Float64

if TYPE_CHECKING:
    from scipy.spatial.transform import Rotation

MAX_STEP_S = 0.25
"""Between samples further apart the turn is not known: it may have gone round."""

CARRIES_GRAVITY = 0.5
"""Mean of the world's acceleration, in g, from which gravity is taken to be in it: it is 1 with it and 0 without."""

POINTS_UP = 0.8
"""Upward part of that mean, in g, from which the axes are taken for the world's."""


def unit_quaternions(t_s: Float64, q_wxyz: Float64, problems: list[str], what: str) -> tuple[Float64, Rotation]:
    """Times (L,) and quaternions (L, 4) → those that are rotations, on a strictly increasing clock."""
    norm = np.linalg.norm(q_wxyz, axis=1)
    good = np.isfinite(t_s) & (np.abs(norm - 1) < 0.1) & (np.diff(t_s, prepend=-np.inf) > 0)
    if not good.all():
        problems.append(f"{what}: {int((~good).sum())} orientations that are no rotation were dropped")
    return t_s[good], scipy.spatial.transform.Rotation.from_quat(q_wxyz[good], scalar_first=True)


def gyroscope(t_s: Float64, sensor_to_world: Rotation) -> tuple[Float64, Float64]:
    """Orientations at t_s (L,) → times (L',) halfway between them and turn rates (L', 3), rad/s, sensor's axes.

    The rate is the constant one that turns one orientation into the next, so fast changes within a step are lost.
    """
    if len(t_s) < 2:
        return np.empty(0), np.empty((0, 3))
    step_s = np.diff(t_s)
    turn = (sensor_to_world[:-1].inv() * sensor_to_world[1:]).as_rotvec()
    near = step_s <= MAX_STEP_S
    return ((t_s[:-1] + t_s[1:]) / 2)[near], turn[near] / step_s[near, None]


def with_gravity(acc_mps2: Float64, sensor_to_world: Rotation) -> tuple[Float64, str]:
    """Accelerations (L, 3), not known whether with gravity → with it, in the sensor's axes, and what that took.

    Nobody accelerates for long, so that the mean over a recording, in the world's axes, is gravity where it is in the
    data, whatever the movement. Where it is not, it is added; nothing then tells the sensor's axes from the world's,
    and the sensor's are assumed. Where the mean points up in the file's own axes and not in those that the orientation
    turns it into, the file is in the world's axes already.
    """
    own = acc_mps2.mean(axis=0) / STANDARD_GRAVITY_MPS2
    turned = sensor_to_world.apply(acc_mps2).mean(axis=0) / STANDARD_GRAVITY_MPS2
    if max(np.linalg.norm(own), np.linalg.norm(turned)) < CARRIES_GRAVITY:
        up = np.array([0.0, 0.0, STANDARD_GRAVITY_MPS2])
        return acc_mps2 + sensor_to_world.inv().apply(up), "gravity added through the orientation"
    if turned[2] > POINTS_UP:
        return acc_mps2, "as recorded, with gravity"
    if own[2] > POINTS_UP:
        return sensor_to_world.inv().apply(acc_mps2), "turned from the world's axes into the sensor's"
    return acc_mps2, "as recorded, with gravity, which the orientation does not confirm"
