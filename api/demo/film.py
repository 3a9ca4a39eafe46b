"""A short film of a stick figure: drawn from a motion as a camera sees it, written as H.264."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter1d

from motionseek.encoders.simulate.camera import Camera
from motionseek.encoders.simulate.motion import JOINTS, Motion
from motionseek.types import Float64

Picture = npt.NDArray[np.uint8]

LEFT, RIGHT, TRUNK, SKIN = (44, 123, 182), (230, 97, 1), (58, 63, 74), (240, 205, 175)
_LIMBS = tuple(
    (f"{side}_{a}", f"{side}_{b}", width_m, colour)
    for side, colour in (("left", LEFT), ("right", RIGHT))
    for a, b, width_m in (
        ("hip", "knee", 0.13),
        ("knee", "ankle", 0.10),
        ("shoulder", "elbow", 0.09),
        ("elbow", "wrist", 0.07),
    )
)
_FINER = 3
"""The figure is drawn this much larger and scaled down, for smooth edges."""
_TILE_M = 0.5
_LINE_M = 0.024
_SKY, _GROUND = (np.array(c, dtype=np.float32) for c in ((236, 241, 246), (214, 219, 222)))
_LINE, _SHADOW = np.float32(0.23), np.float32(0.2)
"""How much darker a line and the middle of the shadow are than the ground."""


@dataclass(frozen=True, eq=False)
class Scene:
    """A motion as it is filmed. The camera stands still, or walks along at the person's smoothed pace.

    motion: what the camera sees, its own travel taken out.   travel_m: (N, 2), where the camera is on the ground, x, z.
    """

    motion: Motion
    travel_m: Float64
    camera: Camera

    @classmethod
    def around(
        cls, motion: Motion, azimuth_deg: float, elevation_deg: float = 14.0, *, image_size: tuple[int, int]
    ) -> Scene:
        """The camera goes along where the person leaves a circle of 2 m."""
        pelvis_m = motion.position_m[:, JOINTS.index("pelvis")][:, [0, 2]]
        travel_m = np.zeros_like(pelvis_m)
        if np.ptp(pelvis_m, axis=0).max() > 2.0:
            travel_m = gaussian_filter1d(pelvis_m, 0.5 * motion.rate_hz, axis=0, mode="nearest")
        moved_m = motion.position_m - np.insert(travel_m, 1, 0.0, axis=1)[:, None]
        seen = Motion(motion.name, motion.rate_hz, moved_m, motion.rotation, motion.labels, motion.source)
        return cls(seen, travel_m, Camera.around(seen, azimuth_deg, elevation_deg, image_size=image_size))


class _Ground:
    """A plane with a grid, drawn for a camera that stands over (0, 0) and may move along."""

    def __init__(self, camera: Camera, floor_m: float) -> None:
        width, height = camera.image_size
        x, y = np.meshgrid(np.arange(width) + 0.5 - width / 2, np.arange(height) + 0.5 - height / 2)
        rays = np.stack([x, y, np.full_like(x, camera.focal_px)], axis=-1) @ camera.axes
        with np.errstate(divide="ignore", invalid="ignore"):
            reach = (floor_m - camera.position_m[1]) / rays[..., 1]
        below = (rays[..., 1] < 0) & (reach > 0)
        reach = np.where(below, reach, 0.0)
        at_m = np.array(camera.position_m)[[0, 2]] + reach[..., None] * rays[..., [0, 2]]
        # One pixel's width on the ground decides how soft a line is drawn, and how faint where lines crowd.
        down_m, across_m = np.gradient(at_m, axis=(0, 1))
        pixel_m = (np.abs(down_m) + np.abs(across_m)).max(axis=-1) + 1e-4
        fade = np.where(below, np.clip(1.2 - 4 * pixel_m / _TILE_M, 0, 1), 0.0)
        self.plain = (_SKY + (_GROUND - _SKY) * fade[..., None]).astype(np.float32)
        # Everything that changes lies below the first row with any ground in it.
        self.top = int(np.argmax(fade.any(axis=1))) if fade.any() else height
        self.x_m, self.z_m = (at_m[self.top :, :, k].astype(np.float32) for k in (0, 1))
        self.sharpness = (1 / pixel_m[self.top :]).astype(np.float32)
        self.fade = fade[self.top :].astype(np.float32)

    def draw(self, travel_m: Float64, person_m: Float64) -> Picture:
        """travel_m: (2,) the camera's own.   person_m: (2,) where the shadow falls, as the camera sees it."""
        across, along = (
            np.abs(tile - np.rint(tile))
            for tile in (
                (at_m + np.float32(moved_m)) * np.float32(1 / _TILE_M)
                for at_m, moved_m in ((self.x_m, travel_m[0]), (self.z_m, travel_m[1]))
            )
        )
        away_m = np.minimum(across, along) * np.float32(_TILE_M)
        dark = np.clip((np.float32(_LINE_M / 2) - away_m) * self.sharpness + np.float32(0.5), 0, 1) * _LINE
        apart_m2 = (self.x_m - np.float32(person_m[0])) ** 2 + (self.z_m - np.float32(person_m[1])) ** 2
        dark += _SHADOW * np.exp(apart_m2 * np.float32(-12))
        picture = self.plain.copy()
        picture[self.top :] *= (1 - dark * self.fade)[..., None]
        return picture.astype(np.uint8)


def draw_frames(scene: Scene) -> Iterator[Picture]:
    """The pictures of a scene, (H, W, 3) uint8, one a frame of its motion."""
    camera, motion = scene.camera, scene.motion
    ground = _Ground(camera, float(motion.position_m[..., 1].min()) - 0.07)
    head = JOINTS.index("head")
    skull = motion.position_m[:, head] + motion.rotation[:, head] @ [0.0, 0.07, 0.02]
    nose = motion.position_m[:, head] + motion.rotation[:, head] @ [0.0, 0.06, 0.13]
    points_m = np.concatenate([motion.position_m, skull[:, None], nose[:, None]], axis=1)
    pixels = camera.project(points_m)
    depth_m = (points_m - np.array(camera.position_m)) @ camera.axes[2]
    moving = bool(np.ptp(scene.travel_m, axis=0).any())
    for i in range(len(pixels)):
        if moving or i % 3 == 0:
            background = ground.draw(scene.travel_m[i], points_m[i, JOINTS.index("pelvis")][[0, 2]])
        yield _draw_figure(background, pixels[i], depth_m[i], camera.focal_px)


def _draw_figure(background: Picture, pixels: Float64, depth_m: Float64, focal_px: float) -> Picture:
    """pixels: (18, 2), depth_m: (18,): the joints, then the skull's middle and the nose."""
    at = dict(zip((*JOINTS, "skull", "nose"), zip(pixels, focal_px / depth_m, depth_m, strict=True), strict=True))
    reach = int(0.16 * focal_px / depth_m.min()) + 2
    height, width, _ = background.shape
    low = np.clip(np.floor(pixels.min(0)) - reach, 0, (width - 1, height - 1)).astype(int)
    high = np.clip(np.ceil(pixels.max(0)) + reach, low + 1, (width, height)).astype(int)
    cut = background[low[1] : high[1], low[0] : high[0]]
    canvas = Image.fromarray(cut).resize((cut.shape[1] * _FINER, cut.shape[0] * _FINER), Image.Resampling.NEAREST)
    pen = ImageDraw.Draw(canvas)

    def place(name: str) -> tuple[float, float]:
        x, y = (at[name][0] - low) * _FINER
        return float(x), float(y)

    def disc(name: str, radius_m: float, colour: tuple[int, int, int]) -> None:
        (x, y), r = place(name), radius_m * at[name][1] * _FINER
        pen.ellipse((x - r, y - r, x + r, y + r), fill=colour)

    def limb(a: str, b: str, width_m: float, colour: tuple[int, int, int]) -> None:
        pen.line((place(a), place(b)), fill=colour, width=max(1, round(width_m * at[a][1] * _FINER)))
        disc(a, width_m / 2, colour)
        disc(b, width_m / 2, colour)

    def trunk() -> None:
        corners = [place(j) for j in ("left_shoulder", "right_shoulder", "right_hip", "left_hip")]
        pen.polygon(corners, fill=TRUNK)
        for a, b in (("left_shoulder", "right_shoulder"), ("left_hip", "right_hip"), ("pelvis", "neck")):
            limb(a, b, 0.11, TRUNK)

    def face() -> None:
        limb("neck", "skull", 0.09, SKIN)
        nose_behind = at["nose"][2] > at["skull"][2]
        if nose_behind:
            disc("nose", 0.025, SKIN)
        disc("skull", 0.11, TRUNK if nose_behind else SKIN)
        if not nose_behind:
            disc("nose", 0.025, (190, 140, 110))

    pieces: list[tuple[float, Callable[[], None]]] = [
        ((at[a][2] + at[b][2]) / 2, partial(limb, a, b, width_m, colour)) for a, b, width_m, colour in _LIMBS
    ]
    pieces += [((at["pelvis"][2] + at["neck"][2]) / 2, trunk), (at["skull"][2], face)]
    for _, draw in sorted(pieces, key=lambda piece: -piece[0]):
        draw()
    picture = background.copy()
    picture[low[1] : high[1], low[0] : high[0]] = np.asarray(canvas.reduce(_FINER))
    return picture


def write_film(path: Path, scene: Scene) -> None:
    """Write the scene as an mp4 (H.264), one picture a frame of its motion, the first at 0 s."""
    width, height = scene.camera.image_size
    rate = Fraction(scene.motion.rate_hz).limit_denominator(1001)
    with av.open(str(path), "w") as container:
        # One thread and no B-frames: with either, x264 does not write the same file every time.
        stream = container.add_stream("libx264", rate=rate, options={"preset": "veryfast", "crf": "25", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.thread_count = 1
        for picture in draw_frames(scene):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
