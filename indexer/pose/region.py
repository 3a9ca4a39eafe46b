"""Where in a picture a person is: the square to look at, and the joints found in it."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

import numpy as np
import numpy.typing as npt

from motionseek.errors import MissingExtra
from motionseek.types import Float32, Float64

UInt8 = npt.NDArray[np.uint8]

GROWN = 1.25
"""A person's region is this much larger than the circle that BlazePose draws around the body."""


@dataclass(frozen=True)
class Region:
    """A square of a picture, perhaps turned. All in pixels of the picture, y down; angle_rad clockwise."""

    x: float
    """Of its middle."""
    y: float
    side: float
    angle_rad: float = 0.0

    @classmethod
    def around(cls, hips: Float64, rim: Float64) -> Region:
        """A whole body: the middle of the hips (2,), and a point (2,) above it, on the circle around the body."""
        dx, dy = (float(v) for v in rim - hips)
        return cls(float(hips[0]), float(hips[1]), 2 * GROWN * float(np.hypot(dx, dy)), float(np.arctan2(dx, -dy)))

    @classmethod
    def whole(cls, picture: UInt8) -> Region:
        """All of a picture (H, W, 3), in the middle of a square."""
        height, width = picture.shape[:2]
        return cls(width / 2, height / 2, float(max(width, height)))

    def matrix(self, side: int) -> Float64:
        """(2, 3): from pixels of the cut-out square to pixels of the picture."""
        scale = self.side / side
        cos, sin = scale * np.cos(self.angle_rad), scale * np.sin(self.angle_rad)
        turn = np.array([[cos, -sin], [sin, cos]])
        return np.column_stack([turn, np.array([self.x, self.y]) - turn @ np.full(2, side / 2)])

    def to_picture(self, points: Float64) -> Float64:
        """(N, 2) within the square, 0 to 1 → (N, 2) pixels of the picture."""
        matrix = self.matrix(1)
        placed: Float64 = points @ matrix[:, :2].T + matrix[:, 2]
        return placed

    def cut(self, picture: UInt8, side: int, *, black_outside: bool) -> Float32:
        """The square out of a picture (H, W, 3), upright, (side, side, 3) float32 from 0 to 1.

        Outside of the picture it is black, or as the picture's edge is.
        """
        cv2 = opencv()
        border = cv2.BORDER_CONSTANT if black_outside else cv2.BORDER_REPLICATE
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        square = cv2.warpAffine(picture, self.matrix(side), (side, side), flags=flags, borderMode=border)
        return np.asarray(square, np.float32) / np.float32(255)

    def overlap(self, other: Region) -> float:
        """Intersection over union of the two squares, as if neither were turned."""
        low = (
            max(self.x - self.side / 2, other.x - other.side / 2),
            max(self.y - self.side / 2, other.y - other.side / 2),
        )
        high = (
            min(self.x + self.side / 2, other.x + other.side / 2),
            min(self.y + self.side / 2, other.y + other.side / 2),
        )
        shared = max(0.0, high[0] - low[0]) * max(0.0, high[1] - low[1])
        return shared / (self.side**2 + other.side**2 - shared)


@dataclass(frozen=True, eq=False)
class Body:
    """One person in one picture, in pixels of the picture.

    joints: (17, 2) float64, COCO-17 order, also where hidden or outside.   confidence: (17,) float32, 0 to 1, that the
    joint is to be seen there.   guides: (2, 2), from which the region of the next picture follows (`Region.around`).
    presence: 0 to 1, that this is a person at all.
    """

    joints: Float64
    confidence: Float32
    guides: Float64
    presence: float

    @property
    def size(self) -> float:
        """Of the whole body, pixels."""
        return max(2 * float(np.hypot(*(self.guides[1] - self.guides[0]))), 1e-6)


def opencv() -> ModuleType:
    """The module cv2. Raises MissingExtra."""
    try:
        import cv2
    except ImportError as error:
        raise MissingExtra("OpenCV", "pose") from error
    module: ModuleType = cv2
    return module
