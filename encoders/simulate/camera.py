"""A pinhole camera that looks at a motion, and the body keypoints that it sees."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from motionseek.encoders.simulate.motion import JOINTS, Motion, joint
from motionseek.errors import UsageError
from motionseek.types import COCO17, Float32, Float64, PoseTrack

_FACE_M = {
    "nose": (0.0, 0.05, 0.115),
    "left_eye": (0.033, 0.085, 0.09),
    "right_eye": (-0.033, 0.085, 0.09),
    "left_ear": (0.075, 0.06, 0.0),
    "right_ear": (-0.075, 0.06, 0.0),
}
"""From the base of the skull, in the head's frame: an adult's face."""

_DROP_S = 0.2
"""A keypoint that a detector loses stays lost for this long."""


def coco_points(motion: Motion) -> Float32:
    """The 17 COCO keypoints in space: (N, 17, 3) float32, metres, world frame. The face is placed on the head."""
    head = joint("head")
    at, turned = motion.position_m[:, head], motion.rotation[:, head]
    points = [
        at + turned @ np.array(_FACE_M[name]) if name in _FACE_M else motion.position_m[:, JOINTS.index(name)]
        for name in COCO17
    ]
    return np.stack(points, axis=1).astype(np.float32)


def facing(motion: Motion) -> Float64:
    """Where the pelvis faces: (N, 3) float64, horizontal unit vectors."""
    forward = motion.rotation[:, JOINTS.index("pelvis"), :, 2] * [1.0, 0.0, 1.0]
    unit: Float64 = forward / np.maximum(np.linalg.norm(forward, axis=1, keepdims=True), 1e-9)
    return unit


@dataclass(frozen=True)
class Camera:
    """A pinhole camera, upright, its principal point in the middle of the picture.

    position_m, target_m: where it stands and what it looks at, world frame (y up).   focal_px: focal length.
    image_size: (width, height) in pixels.
    """

    position_m: tuple[float, float, float]
    target_m: tuple[float, float, float]
    focal_px: float
    image_size: tuple[int, int]

    def __post_init__(self) -> None:
        look = np.subtract(self.target_m, self.position_m)
        if np.linalg.norm(look[[0, 2]]) < 1e-6:
            raise UsageError("the camera must not look straight up or down, nor stand on its target_m")
        if self.focal_px <= 0 or min(self.image_size) <= 0:
            raise UsageError("focal_px and image_size must be positive")

    @property
    def axes(self) -> Float64:
        """Unit vectors to the right, down and forward, as rows, (3, 3)."""
        forward = np.subtract(self.target_m, self.position_m).astype(np.float64)
        forward /= np.linalg.norm(forward)
        right = np.cross(forward, [0.0, 1.0, 0.0])
        right /= np.linalg.norm(right)
        return np.stack([right, np.cross(forward, right), forward])

    def project(self, points_m: Float32 | Float64) -> Float64:
        """points_m: (..., 3) world → (..., 2) pixels, y down; NaN where a point is not in front of the camera."""
        right, down, ahead = np.moveaxis((points_m - np.array(self.position_m)) @ self.axes.T, -1, 0)
        ahead = np.where(ahead > 0.05, ahead, np.nan)
        middle = np.array(self.image_size) / 2
        return np.stack([right / ahead, down / ahead], axis=-1) * self.focal_px + middle

    @classmethod
    def around(
        cls,
        motion: Motion,
        azimuth_deg: float = 0.0,
        elevation_deg: float = 10.0,
        *,
        focal_px: float | None = None,
        image_size: tuple[int, int] = (384, 288),
        margin: float = 0.12,
    ) -> Camera:
        """A still camera that keeps the whole motion in the picture.

        azimuth_deg: 0 looks into the person's face as it is at the start, 90 stands on the person's left, 180 behind.
        elevation_deg: above the horizon, below 80 in size.   focal_px: 1.2 times the picture's width by default.
        margin: share of the picture's half width and height that stays free.
        """
        if abs(elevation_deg) > 80:
            raise UsageError(f"elevation_deg must lie within -80 and 80, not {elevation_deg}")
        focal_px = focal_px or 1.2 * image_size[0]
        points = coco_points(motion).reshape(-1, 3).astype(np.float64)
        centre = (points.min(0) + points.max(0)) / 2
        face = facing(motion)[0]
        azimuth = np.arctan2(face[0], face[2]) + np.radians(azimuth_deg)
        elevation = np.radians(elevation_deg)
        away = np.array([np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)])
        axes = cls(tuple(centre + away), tuple(centre), focal_px, image_size).axes
        right, down, ahead = ((points - centre) @ axes.T).T
        half = np.array(image_size) / 2 * (1 - margin)
        # A point stays inside while focal · |right| / (distance + ahead) ≤ half the picture; likewise down.
        distance_m = max(
            float((focal_px * np.abs(right) / half[0] - ahead).max()),
            float((focal_px * np.abs(down) / half[1] - ahead).max()),
        )
        return cls(tuple(centre + away * distance_m), tuple(centre), focal_px, image_size)


def view(
    motion: Motion,
    camera: Camera,
    *,
    rng: np.random.Generator | None = None,
    noise_px: float = 0.0,
    drop: float = 0.0,
    start_s: float = 0.0,
    person: str = "0",
) -> PoseTrack:
    """What a keypoint detector finds in the camera's pictures, one a frame of the motion.

    noise_px: standard deviation of a keypoint's error.   drop: share of keypoints lost, for 0.2 s each.   start_s: the
    video's clock at the first frame. Points outside the picture are NaN with confidence 0. Raises UsageError for noise
    without `rng`.
    """
    xy = camera.project(coco_points(motion))
    n = len(xy)
    confidence = np.ones((n, len(COCO17)))
    if noise_px or drop:
        if rng is None:
            raise UsageError("noise_px and drop need rng, the generator they are drawn from")
        xy = xy + rng.normal(scale=noise_px, size=xy.shape)
        hold = max(1, round(_DROP_S * motion.rate_hz))
        lost = np.repeat(rng.random((n // hold + 1, len(COCO17))) < drop, hold, axis=0)[:n]
        confidence = np.where(lost, 0.0, rng.uniform(0.75, 1.0, size=confidence.shape))
    inside = ((xy >= 0) & (xy < np.array(camera.image_size))).all(axis=-1) & (confidence > 0)
    return PoseTrack(
        start_s + np.arange(n) / motion.rate_hz,
        np.where(inside[..., None], xy, np.nan).astype(np.float32),
        np.where(inside, confidence, 0.0).astype(np.float32),
        camera.image_size,
        person,
    )
