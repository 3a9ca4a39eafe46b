"""How a whole picture moves: sideways, upwards and around its middle, from frame to frame.

Corners are followed from each frame to the next (sparse Lucas-Kanade) in small grey pictures. The median over the
corners is the motion of the camera: what moves on its own covers less than half of the picture most of the time, and
where it does not, the following fit against the gyroscope says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from motionseek.errors import DamagedFile, MissingExtra
from motionseek.indexer.video import grey_frames
from motionseek.types import Bool, Float64, Span

UInt8 = npt.NDArray[np.uint8]

WIDTH_PX = 300
"""Longer side of the pictures that are looked at."""
CORNERS = 150
MIN_CORNERS = 12
"""A pair of frames with fewer corners followed tells nothing."""
ROLL_ARM = 0.3
"""Rolling by an angle moves what lies this far from the middle (in widths): it makes roll comparable with dx and dy."""
MAX_STEP = 0.25
"""Corners that jump further than this (in widths) were lost."""


@dataclass(frozen=True, eq=False)
class Steadying:
    """What a stabiliser added to the camera's own turning, per pair of frames, in the axes of the camera's IMU.

    The view turns by `into @ (camera's rate) + rate`. into: (N, 3, 3) camera to picture.   rate: (N, 3) rad/s.
    """

    into: Float64
    rate: Float64

    @classmethod
    def of(cls, orientation: Rotation, t_s: Float64) -> Steadying:
        """orientation: (N + 1,) picture to camera at the frames t_s (N + 1,)."""
        step = orientation[:-1].inv() * orientation[1:]
        return cls(orientation[:-1].inv().as_matrix(), step.as_rotvec() / np.diff(t_s)[:, None])


@dataclass(frozen=True, eq=False)
class ImageMotion:
    """Global motion of a video's picture, per pair of successive frames.

    t_s: (N + 1,) true times of the frames, seconds.   rate: (N, 3) dx, dy and roll per second, in picture widths (roll
    as the way of a point ROLL_ARM widths off the middle).   mask: (N,) where enough corners were followed.
    steadying: what a stabiliser did to the picture, where that is known.
    """

    t_s: Float64
    rate: Float64
    mask: Bool
    steadying: Steadying | None = None

    @property
    def duration_s(self) -> float:
        return float(self.t_s[-1] - self.t_s[0])

    def shifted(self, by_s: float) -> ImageMotion:
        """The same on another clock."""
        return replace(self, t_s=self.t_s + by_s)


def image_motion(path: str | Path, span: Span | None = None) -> ImageMotion:
    """Follow the picture of a video, frame by frame, in bounded memory.

    span: the stretch to look at, seconds since the start of the container. Raises DamagedFile where fewer than two
    frames can be decoded, MissingExtra without opencv.
    """
    times, steps = [], []
    cv2 = _opencv()
    for time_s, step in _steps(cv2, grey_frames(path, longer=WIDTH_PX, span=span)):
        times.append(time_s)
        steps.append(step)
    if len(times) < 2:
        raise DamagedFile(path, "holds fewer than two frames in the stretch asked for")
    t_s, step_array = np.array(times), np.array(steps[1:], np.float64).reshape(-1, 3)
    mask: Bool = np.asarray(np.isfinite(step_array).all(axis=1))
    return ImageMotion(t_s, np.where(mask[:, None], step_array / np.diff(t_s)[:, None], 0.0), mask)


def _opencv() -> ModuleType:
    try:
        import cv2
    except ImportError as error:
        raise MissingExtra("opencv", "camera") from error
    module: ModuleType = cv2
    return module


Step = tuple[float, float, float]
LOST: Step = (np.nan, np.nan, np.nan)


def _steps(cv2: ModuleType, frames: Iterator[tuple[float, UInt8]]) -> Iterator[tuple[float, Step]]:
    """Each frame's time and the step from the frame before it; the first frame's step is LOST."""
    before: UInt8 | None = None
    for time_s, picture in frames:
        yield time_s, LOST if before is None else _step(cv2, before, picture)
        before = picture


def _step(cv2: ModuleType, before: UInt8, after: UInt8) -> Step:
    """dx, dy and roll from one picture to the next, in widths."""
    corners = cv2.goodFeaturesToTrack(before, CORNERS, 0.01, 8)
    if corners is None or len(corners) < MIN_CORNERS:
        return LOST
    moved, found, _ = cv2.calcOpticalFlowPyrLK(before, after, corners, None, winSize=(15, 15), maxLevel=3)
    width = max(before.shape)
    start, end = corners.reshape(-1, 2).astype(np.float64) / width, moved.reshape(-1, 2).astype(np.float64) / width
    kept = (found.ravel() == 1) & (np.abs(end - start).max(axis=1) < MAX_STEP)
    if kept.sum() < MIN_CORNERS:
        return LOST
    middle = np.array(before.shape[::-1]) / (2 * width)
    arm, way = start[kept] - middle, (end - start)[kept]
    shift = np.median(way, axis=0)
    rest = way - shift
    # The angle about the middle by which each corner turned, its share of the median shift taken out.
    length = np.maximum((arm**2).sum(axis=1), 1e-6)
    off = length > 0.1**2
    if off.sum() < MIN_CORNERS // 2:
        return float(shift[0]), float(shift[1]), 0.0
    turn = (arm[:, 0] * rest[:, 1] - arm[:, 1] * rest[:, 0]) / length
    return float(shift[0]), float(shift[1]), float(np.median(turn[off])) * ROLL_ARM
