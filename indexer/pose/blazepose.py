"""BlazePose's two networks as MediaPipe's published graph runs them (Bazarevsky et al. 2020, arXiv:2006.10204).

The detector finds people in the whole picture, letterboxed to 224 x 224: a box each, the middle of the hips, and a
point that gives the body's size and which way is up. The landmark network looks at one person cut out by those, 256 x
256, and gives 33 landmarks of the body and two more from which the next frame's cut-out follows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from motionseek.errors import MissingExtra
from motionseek.indexer.pose.region import Body, Region, UInt8, opencv
from motionseek.types import Float32, Float64

WEIGHTS = Path(__file__).parent / "weights"
DETECTOR_SIDE, LANDMARK_SIDE = 224, 256
STRIDES = ((8, 2), (16, 2), (32, 6))
"""Of the detector's grids, with the anchors at each place."""
MIN_SCORE = 0.5
"""Below it neither a detection nor a landmark network's answer counts as a person."""
MAX_OVERLAP = 0.3
"""Detections that overlap more are of one person, and are averaged."""
HEATMAP_KERNEL = 7
GUIDES = slice(33, 35)
"""After the 33 landmarks: the middle of the hips, and a point on the circle around the body."""

COCO17_OF_33 = np.array([0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28])
"""The landmarks that are the joints of COCO-17, in its order."""


class BlazePose:
    """Finds people in a picture, and the joints of one. Raises MissingExtra without ai-edge-litert or OpenCV."""

    def __init__(self, model: str = "full") -> None:
        """model: "lite" or "full"."""
        opencv()
        self.name = f"blazepose-{model}"
        self._detector = _Network("pose_detection.tflite")
        self._landmarks = _Network(f"pose_landmark_{model}.tflite")
        self._anchors = _anchors()

    def detect(self, picture: UInt8) -> list[Region]:
        whole = Region.whole(picture)
        square = whole.cut(picture, DETECTOR_SIDE, black_outside=True) * 2 - 1
        raw, logit = self._detector(square)
        score = _sigmoid(np.clip(logit[0, :, 0], -100, 100))
        sure = score >= MIN_SCORE
        if not sure.any():
            return []
        values = raw[0, sure].astype(np.float64).reshape(-1, 6, 2) / DETECTOR_SIDE
        anchor = self._anchors[sure]
        centre, half = values[:, 0] + anchor, values[:, 1] / 2
        boxes = np.concatenate([centre - half, centre + half], axis=1)
        points = _merged(boxes, values[:, 2:] + anchor[:, None], score[sure])
        return [Region.around(*whole.to_picture(person[:2])) for person in points]

    def look(self, picture: UInt8, region: Region) -> Body | None:
        square = region.cut(picture, LANDMARK_SIDE, black_outside=False)
        flat, presence, _, heatmap, _ = self._landmarks(square)
        if presence[0, 0] < MIN_SCORE:
            return None
        values = flat.reshape(-1, 5).astype(np.float64)
        points = region.to_picture(_refined(values[:, :2] / LANDMARK_SIDE, heatmap[0]))
        visibility = _sigmoid(values[COCO17_OF_33, 3]).astype(np.float32)
        return Body(points[COCO17_OF_33], visibility, points[GUIDES], float(presence[0, 0]))


class _Network:
    """A .tflite model on one thread. Raises MissingExtra without ai-edge-litert."""

    def __init__(self, name: str) -> None:
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise MissingExtra("ai-edge-litert, which runs BlazePose,", "pose") from error
        self._interpreter: Any = Interpreter(str(WEIGHTS / name), num_threads=1)
        self._interpreter.allocate_tensors()
        self._into: int = self._interpreter.get_input_details()[0]["index"]
        self._out: list[int] = [detail["index"] for detail in self._interpreter.get_output_details()]

    def __call__(self, square: Float32) -> list[Float32]:
        self._interpreter.set_tensor(self._into, square[None])
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(index) for index in self._out]


def _anchors() -> Float64:
    """(2254, 2): the places that the detector's boxes are relative to, 0 to 1."""
    grids = []
    for stride, count in STRIDES:
        side = DETECTOR_SIDE // stride
        y, x = np.mgrid[:side, :side]
        place = (np.stack([x, y], axis=-1).reshape(-1, 2) + 0.5) / side
        grids.append(np.repeat(place, count, axis=0))
    return np.concatenate(grids)


def _merged(boxes: Float64, points: Float64, score: Float64) -> Float64:
    """Weighted suppression: boxes (N, 4) x0 y0 x1 y1, points (N, K, 2), score (N,) → points (M, K, 2), one a person."""
    left = np.argsort(-score, kind="stable")
    people = []
    while len(left):
        same = _iou(boxes[left[0]], boxes[left]) > MAX_OVERLAP
        same[0] = True
        one = left[same]
        people.append(np.average(points[one], axis=0, weights=score[one]))
        left = left[~same]
    return np.stack(people)


def _iou(box: Float64, boxes: Float64) -> Float64:
    shared = np.clip(np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2]), 0, None).prod(axis=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    union = (box[2:] - box[:2]).prod() + areas - shared
    return np.asarray(np.where(union > 0, shared / np.where(union > 0, union, 1), 0))


def _refined(points: Float64, heatmap: Float32) -> Float64:
    """Landmarks (N, 2), 0 to 1, moved to the centre of mass of their own heatmap (H, W, N) around them.

    Only where the heatmap is sure somewhere near, as in MediaPipe's RefineLandmarksFromHeatmap.
    """
    size = np.array(heatmap.shape[1::-1])
    reach = HEATMAP_KERNEL // 2
    at = np.trunc(points * size).astype(int)
    inside = ((at >= 0) & (at < size)).all(axis=1)
    padded = np.pad(heatmap, ((reach, reach), (reach, reach), (0, 0)), constant_values=-np.inf)
    step = np.arange(HEATMAP_KERNEL)
    x, y = (np.where(inside, at[:, axis], 0)[:, None] + step for axis in (0, 1))  # (N, 7), in the padded map
    weight = _sigmoid(padded[y[:, :, None], x[:, None, :], np.arange(len(points))[:, None, None]])
    total = weight.sum(axis=(1, 2))
    centre = np.stack(
        [
            (weight.sum(axis=1) * (x - reach)).sum(axis=1),
            (weight.sum(axis=2) * (y - reach)).sum(axis=1),
        ],
        axis=1,
    ) / (np.where(total > 0, total, 1)[:, None] * size)
    moved = inside & (weight.max(axis=(1, 2)) >= MIN_SCORE) & (total > 0)
    return np.where(moved[:, None], centre, points)


def _sigmoid(x: Float32 | Float64) -> Float64:
    with np.errstate(over="ignore"):
        return np.asarray(1 / (1 + np.exp(-np.asarray(x, np.float64))))
