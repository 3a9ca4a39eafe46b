"""A GoPro's steadied film as the camera saw it before it was steadied: the steadying turned back, frame by frame."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from motionseek.indexer.readers import read
from motionseek.indexer.readers.gopro import steadied
from motionseek.indexer.video import grey_frames
from motionseek.search.flow import ROLL_ARM, Steadying, image_motion
from motionseek.search.turning import Turning
from motionseek.types import Float64

WIDTH_PX = 640
KEPT = 0.7
"""Share of width and height that is kept: outside of it the steadied picture shows nothing."""


def unsteady(path: Path, out: Path, *, crf: int = 18) -> None:
    """Write it as a plain mp4 with as many frames at the same rate, the first at 0 s."""
    told = steadied(path)
    if told is None or told.orientation is None:
        raise SystemExit(f"{path}: the file does not say how its picture was steadied")
    times_s, pictures = zip(*grey_frames(path, longer=WIDTH_PX), strict=True)
    orientation = told.orientation[np.minimum(np.arange(len(times_s)), len(told.orientation) - 1)]
    axes, focal = _axes(path, orientation)
    high, wide = pictures[0].shape
    lens = np.array([[focal * wide, 0, wide / 2], [0, focal * wide, high / 2], [0, 0, 1]])
    # Axes of the sensor → of the picture (right, down, forward): a ray of the camera's picture in the steadied one.
    turned = axes @ orientation.inv().as_matrix() @ axes.T
    left, top = (round(side * (1 - KEPT) / 4) * 2 for side in (wide, high))
    rate = Fraction(1 / float(np.median(np.diff(times_s)))).limit_denominator(1001)
    with av.open(str(out), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"preset": "veryfast", "crf": str(crf), "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = wide - 2 * left, high - 2 * top, "yuv420p"
        stream.codec_context.thread_count = 1
        for picture, turn in zip(pictures, turned, strict=True):
            way = lens @ turn @ np.linalg.inv(lens)
            flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            seen = cv2.warpPerspective(picture, way, (wide, high), flags=flags, borderMode=cv2.BORDER_REFLECT)
            inner = np.ascontiguousarray(seen[top : high - top, left : wide - left])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(inner, format="gray")))
        container.mux(stream.encode())


def _axes(path: Path, orientation: Rotation) -> tuple[Float64, float]:
    """How the sensor's axes lie to the picture's (3, 3), and the focal length in widths, from what is left of turning
    in the steadied picture: of a pinhole, dx = -f w_y, dy = f w_x, roll = -w_z."""
    (imu,) = read(path).imus
    motion = image_motion(path)
    into = Steadying.of(orientation[: len(motion.t_s)], motion.t_s)
    edge_s = np.stack([motion.t_s[:-1], motion.t_s[1:]], axis=-1)
    rate, there = Turning.of(imu).mean_rate(edge_s)
    view = (into.into @ rate[..., None])[..., 0] + into.rate
    kept = there & motion.mask
    fitted = np.linalg.lstsq(
        view[kept] - view[kept].mean(0), motion.rate[kept] - motion.rate[kept].mean(0), rcond=None
    )[0]
    rows = np.stack([fitted[:, 1], -fitted[:, 0], -fitted[:, 2] / ROLL_ARM])
    left, _, right = np.linalg.svd(rows / np.linalg.norm(rows, axis=1, keepdims=True))
    axes = left @ np.diag([1.0, 1.0, np.linalg.det(left @ right)]) @ right
    return axes, float(np.linalg.norm(rows[:2], axis=1).max())
