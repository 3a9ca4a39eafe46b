"""RTMPose (Jiang et al. 2023, arXiv:2303.07399) with its YOLOX detector, through rtmlib on onnxruntime."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any

import numpy as np

from motionseek.errors import MissingExtra, ModelError
from motionseek.indexer.pose.region import GROWN, Body, Region, UInt8, size_of
from motionseek.types import Float32

ASPECT = 3 / 4
"""Width over height of the boxes that RTMPose looks at."""
AROUND = 1.1
"""A person's box is about this much larger than the box of the joints."""
MIN_SCORE = 0.3
"""Below it, on average over the joints, there is nobody."""


class RtmPose:
    """Finds people in a picture, and the joints of one. Raises MissingExtra without rtmlib; ModelError."""

    def __init__(self, folder: Path | None = None) -> None:
        """folder: with one yolox*.onnx and one rtmpose*.onnx; without it rtmlib downloads its own choice once."""
        try:
            import rtmlib
        except ImportError as error:
            raise MissingExtra("rtmlib, which runs RTMPose,", "rtmpose") from error
        try:
            with contextlib.redirect_stdout(sys.stderr):  # rtmlib says on stdout what it loads
                if folder is None:
                    both = rtmlib.Body(mode="balanced", backend="onnxruntime")
                    self._detector, self._joints = both.det_model, both.pose_model
                    self.name = "rtmpose-m"
                else:
                    yolox, rtmpose = _only(folder, "yolox*.onnx"), _only(folder, "rtmpose*.onnx")
                    self._detector = rtmlib.YOLOX(str(yolox), model_input_size=_side(yolox)[::-1])
                    self._joints = rtmlib.RTMPose(str(rtmpose), model_input_size=_side(rtmpose))
                    self.name = rtmpose.stem
        except ModelError:
            raise
        except Exception as error:  # onnxruntime and the download have no common base
            where = "its download" if folder is None else folder
            raise ModelError(
                f"RTMPose cannot be loaded from {where}: {error}. Put yolox*.onnx and rtmpose*.onnx into a folder and "
                "name it:  --pose rtmpose:FOLDER"
            ) from error

    def detect(self, picture: UInt8) -> list[Region]:
        boxes = np.asarray(self._detector(_bgr(picture)), np.float32).reshape(-1, 4)
        size = size_of(picture)
        bodies = [_guides(box[:2], box[2:]) / size for box in boxes]
        return [Region.around(hips, rim, size) for hips, rim in bodies]

    def look(self, picture: UInt8, region: Region) -> Body | None:
        half, middle = np.array([ASPECT, 1]) * float(region.side / (2 * GROWN)), region.middle.astype(np.float64)
        joints, scores = self._joints(_bgr(picture), bboxes=[np.concatenate([middle - half, middle + half])])
        confidence: Float32 = np.clip(np.asarray(scores[0], np.float32), 0, 1)
        if float(confidence.mean()) < MIN_SCORE:
            return None
        points = np.asarray(joints[0], np.float32)
        sure = points[confidence >= MIN_SCORE]
        low, high = sure.min(axis=0), sure.max(axis=0)
        reach = (high - low) * (AROUND - 1) / 2
        guides = _guides(low - reach, high + reach)
        size = 2 * float(np.linalg.norm(guides[1] - guides[0]))
        return Body(points, confidence, guides, presence=1.0, size=size)


def _guides(low: Float32, high: Float32) -> Float32:
    """Of a box: its middle, and a point straight above it as far as a box of the right aspect reaches."""
    width, height = high - low
    middle = (low + high) / 2
    return np.stack([middle, middle - np.array([0, max(height, width / ASPECT, 1.0) / 2], np.float32)])


def _bgr(picture: UInt8) -> UInt8:
    return np.ascontiguousarray(picture[..., ::-1])


def _only(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise ModelError(f"{folder} must hold one {pattern}, not {len(found)}")
    return found[0]


def _side(model: Path) -> tuple[int, int]:
    """(width, height) of the pictures that an ONNX model takes."""
    import onnxruntime

    session: Any = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    shape = session.get_inputs()[0].shape
    if len(shape) != 4 or not all(isinstance(side, int) for side in shape[2:]):
        raise ModelError(f"{model} takes input of shape {shape}, not (1, 3, H, W) with a fixed H and W")
    return shape[3], shape[2]
