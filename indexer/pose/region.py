"""Where in a picture a person is: the square to look at, and the joints found in it.

All of it in single precision and in MediaPipe's order, rounded where MediaPipe rounds (see `single`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import ModuleType

import numpy as np
import numpy.typing as npt

from motionseek.errors import MissingExtra
from motionseek.indexer.pose import single
from motionseek.types import Float32

UInt8 = npt.NDArray[np.uint8]

GROWN = np.float32(1.25)
"""A person's region is this much larger than the circle that BlazePose draws around the body."""
STEPS = 32
"""OpenCV's bilinear interpolation knows this many places between two pixels."""
TILE = 64
"""It computes places from the left edge of such a strip; in another order some come out on another side of a half."""

CORNERS = ((0, 1), (0, 0), (1, 0), (1, 1))
"""Of a square, in the order in which OpenCV names those of a turned one."""


@dataclass(frozen=True, eq=False)
class Region:
    """A square of a picture, perhaps turned; or a whole picture, letterboxed to a square."""

    centre: Float32
    """(2,), shares of the picture's width and height, y down."""
    extent: Float32
    """(2,), width and height, shares of the picture's."""
    angle_rad: np.float32
    """Clockwise."""
    picture: Float32
    """(2,), the picture's width and height, pixels."""

    @classmethod
    def around(cls, hips: Float32, rim: Float32, picture: Float32) -> Region:
        """A whole body: the middle of its hips (2,), and a point (2,) on the circle around it, above; in shares."""
        middle = hips * picture
        dx, dy = rim * picture - middle
        side = (circle(hips, rim, picture) * picture).max()
        angle = _within_a_turn(np.float32(np.pi / 2) - single.atan2(-dy, dx))
        return cls(middle / picture, side / picture * GROWN, angle, picture)

    @classmethod
    def at(cls, x: float, y: float, side: float, angle_rad: float, picture: Float32) -> Region:
        """By its middle and side in pixels."""
        centre, extent = np.array([[x, y], [side, side]], np.float32) / picture
        return cls(centre, extent, np.float32(angle_rad), picture)

    @classmethod
    def whole(cls, picture: UInt8) -> Region:
        """All of a picture (H, W, 3)."""
        return cls(np.full(2, 0.5, np.float32), np.ones(2, np.float32), np.float32(0), size_of(picture))

    @property
    def middle(self) -> Float32:
        """(2,), x and y in pixels."""
        return self.centre * self.picture

    @property
    def side(self) -> np.float32:
        """Pixels."""
        return np.float32((self.extent * self.picture).max())

    def unboxed(self, points: Float32) -> Float32:
        """(N, 2) within the square → within what it shows beside the letterbox's bars; both 0 to 1."""
        width, height = self.extent * self.picture
        aspect, one = height / width, np.float32(1)
        bars = (0, (one - aspect) / 2) if aspect < 1 else ((one - one / aspect) / 2, 0)
        bar = np.array(bars, np.float32)
        return (points - bar) / (1 - (bar + bar))

    def to_picture(self, points: Float32) -> Float32:
        """(N, 2) within the square, 0 to 1 → (N, 2), shares of the picture."""
        x, y = (self.unboxed(points) - np.float32(0.5)).T
        cos, sin = single.cos_sin(self.angle_rad)
        return np.stack([cos * x - sin * y, sin * x + cos * y], axis=1) * self.extent + self.centre

    def cut(self, picture: UInt8, side: int, *, black_outside: bool) -> UInt8:
        """The square out of a picture (H, W, 3), upright, (side, side, 3) uint8.

        Outside of the picture it is black, or as the picture's edge is. As OpenCV 4's warpPerspective does it, which
        MediaPipe uses; OpenCV 5's own interpolates more finely.
        """
        cv2 = opencv()
        matrix = cv2.getPerspectiveTransform(self._corners(), np.array(CORNERS, np.float32) * side)
        x, y = np.arange(float(side)), np.arange(float(side))[:, None]
        since = x % TILE
        across, down, depth = (m[0] * (x - since) + m[1] * y + m[2] + m[0] * since for m in cv2.invert(matrix)[1])
        scale = STEPS / depth
        across, down = np.rint(across * scale).astype(np.int32), np.rint(down * scale).astype(np.int32)
        pixel = np.stack([across // STEPS, down // STEPS], axis=-1).astype(np.int16)
        between = (down % STEPS * STEPS + across % STEPS).astype(np.uint16)
        border = cv2.BORDER_CONSTANT if black_outside else cv2.BORDER_REPLICATE
        square: UInt8 = cv2.remap(picture, pixel, between, cv2.INTER_LINEAR, borderMode=border)
        return square

    def _corners(self) -> Float32:
        """(4, 2) pixels, in the order of CORNERS, as OpenCV's RotatedRect computes them."""
        degrees = np.float32(float(self.angle_rad * np.float32(180)) / math.pi)
        turn = float(degrees) * math.pi / 180
        cos, sin = np.float32(math.cos(turn)) / 2, np.float32(math.sin(turn)) / 2
        (x, y), side = self.middle, self.side
        below = np.array([x - sin * side - cos * side, y + cos * side - sin * side])
        above = np.array([x + sin * side - cos * side, y - cos * side - sin * side])
        return np.stack([below, above, 2 * self.middle - below, 2 * self.middle - above])

    def overlap(self, other: Region) -> float:
        """Intersection over union of the two squares, as if neither were turned."""
        low = np.maximum(self.middle - self.side / 2, other.middle - other.side / 2)
        high = np.minimum(self.middle + self.side / 2, other.middle + other.side / 2)
        shared = float(np.clip(high - low, 0, None).prod())
        return shared / (float(self.side) ** 2 + float(other.side) ** 2 - shared)


@dataclass(frozen=True, eq=False)
class Body:
    """One person in one picture, in pixels of the picture.

    joints: (17, 2), COCO-17 order, also where hidden or outside.   confidence: (17,), 0 to 1, that the joint is to be
    seen there.   guides: (2, 2), from which the region of the next picture follows (`Region.around`).   presence: 0 to
    1, that this is a person at all.   size: of the whole body.
    """

    joints: Float32
    confidence: Float32
    guides: Float32
    presence: float
    size: float


def circle(hips: Float32, rim: Float32, picture: Float32) -> Float32:
    """(2,): width and height of the circle around a body, all in shares of the picture."""
    dx, dy = rim * picture - hips * picture
    return np.asarray(2 * np.sqrt(dx * dx + dy * dy) / picture)


def size_of(picture: UInt8) -> Float32:
    """(2,): width and height of a picture (H, W, 3)."""
    return np.array(picture.shape[1::-1], np.float32)


def _within_a_turn(angle_rad: np.float32) -> np.float32:
    turn = 2 * math.pi
    return np.float32(float(angle_rad) - turn * math.floor((float(angle_rad) + math.pi) / turn))


def opencv() -> ModuleType:
    """The module cv2. Raises MissingExtra."""
    try:
        import cv2
    except ImportError as error:
        raise MissingExtra("OpenCV", "pose") from error
    module: ModuleType = cv2
    return module
