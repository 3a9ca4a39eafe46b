"""Body motion in three dimensions: what sensors and cameras are simulated from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.spatial.transform import Rotation, Slerp

from motionseek.errors import UsageError
from motionseek.types import Float64

JOINTS = (
    *("pelvis", "chest", "neck", "head"),
    *("left_shoulder", "left_elbow", "left_wrist", "right_shoulder", "right_elbow", "right_wrist"),
    *("left_hip", "left_knee", "left_ankle", "right_hip", "right_knee", "right_ankle"),
)
"""The joints that every source is mapped to. A joint's rotation is that of the segment that begins there: the
rotation of `left_elbow` is the forearm's, of `left_knee` the shank's, of `left_wrist` the hand's."""


@dataclass(frozen=True, eq=False)
class Motion:
    """One person's motion. World frame: metres, y up, right-handed.

    position_m: (N, 16, 3) float64, the JOINTS.     rotation: (N, 16, 3, 3) float64, segment → world. Every segment's
    own frame equals the world's frame (person facing +z, left hand towards +x) in the upright rest pose.
    """

    name: str
    rate_hz: float
    position_m: Float64
    rotation: Float64
    labels: tuple[str, ...] = ()
    source: str = ""

    def __post_init__(self) -> None:
        n = len(self.position_m)
        if self.position_m.shape != (n, len(JOINTS), 3) or self.rotation.shape != (n, len(JOINTS), 3, 3):
            raise UsageError(
                f"motion {self.name}: position_m must be (N, {len(JOINTS)}, 3) and rotation (N, {len(JOINTS)}, 3, 3), "
                f"not {self.position_m.shape} and {self.rotation.shape}"
            )

    @property
    def duration_s(self) -> float:
        return (len(self.position_m) - 1) / self.rate_hz

    def resample(self, rate_hz: float) -> Motion:
        """The same motion at another rate: cubic splines for positions, spherical interpolation for rotations."""
        n = len(self.position_m)
        if n < 4:
            raise UsageError(f"motion {self.name} has {n} frames; at least 4 are needed")
        old_s = np.arange(n) / self.rate_hz
        new_s = np.arange(int(np.floor(old_s[-1] * rate_hz + 1e-9)) + 1) / rate_hz
        rotation = np.stack(
            [
                Slerp(old_s, Rotation.from_matrix(self.rotation[:, j]))(np.minimum(new_s, old_s[-1])).as_matrix()
                for j in range(len(JOINTS))
            ],
            axis=1,
        )
        return Motion(
            self.name, rate_hz, CubicSpline(old_s, self.position_m)(new_s), rotation, self.labels, self.source
        )

    def crop(self, start: int, stop: int) -> Motion:
        """Frames `start` to `stop`, end not included."""
        return Motion(
            self.name, self.rate_hz, self.position_m[start:stop], self.rotation[start:stop], self.labels, self.source
        )


def joint(names: str | Sequence[str]) -> int | list[int]:
    """Index or indices in JOINTS."""
    return JOINTS.index(names) if isinstance(names, str) else [JOINTS.index(n) for n in names]
