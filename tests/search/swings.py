"""A forearm that swings about the camera's axis, as a gyroscope and as a camera see it."""

from __future__ import annotations

import numpy as np

from motionseek.types import Imu, PoseTrack


def angle(t_s, seed=0):
    """Forearm angle in the picture's plane (rad), and its rate (rad/s): many swings that never repeat together."""
    rng = np.random.default_rng(seed)
    turn_rps, phase = 2 * np.pi * rng.uniform(0.1, 1.6, 24), rng.uniform(0, 2 * np.pi, 24)
    turn = np.multiply.outer(t_s, turn_rps) + phase
    size = 0.5 / turn_rps
    return (size * np.sin(turn)).sum(-1), (size * turn_rps * np.cos(turn)).sum(-1)


def forearm(t_s, placement="left_wrist", seed=0, clock_s=None, still=False):
    """A gyroscope on a forearm that swings about the camera's axis."""
    _, rate = angle(t_s, seed)
    gyro = np.outer(rate * (not still), [0.6, 0.0, 0.8])
    clock_s = t_s if clock_s is None else clock_s
    return Imu(clock_s, np.tile([0, 0, 9.8], (len(t_s), 1)), clock_s, gyro, placement)


def body(t_s, seed=0, clock_s=None, still=False):
    """A standing body whose left forearm hangs from the elbow and swings."""
    xy = np.tile(np.linspace([100, 50], [200, 400], 17), (len(t_s), 1, 1))
    theta, _ = angle(t_s, seed)
    theta = theta * (not still)
    xy[:, 7] = [300, 200]
    xy[:, 9] = xy[:, 7] + 80 * np.stack([np.sin(theta), np.cos(theta)], axis=1)
    return PoseTrack(t_s if clock_s is None else clock_s, xy, np.ones((len(t_s), 17)), (640, 480))
