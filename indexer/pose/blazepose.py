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
from motionseek.indexer.pose import single
from motionseek.indexer.pose.region import Body, Region, UInt8, circle, opencv
from motionseek.types import Float32

WEIGHTS = Path(__file__).parent / "weights"
DETECTOR_SIDE, LANDMARK_SIDE = 224, 256
STRIDES = ((8, 2), (16, 2), (32, 6))
"""Of the detector's grids, with the anchors at each place."""
MIN_SCORE = 0.5
"""Below it neither a detection nor a landmark network's answer counts as a person."""
MAX_OVERLAP = 0.3
"""Detections that overlap more are of one person, and are averaged."""
HEATMAP_KERNEL = 9
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
        square = whole.cut(picture, DETECTOR_SIDE, black_outside=True)
        raw, logit = self._detector((square * float(np.float32(2 / 255)) - 1).astype(np.float32))
        score = single.sigmoid(np.clip(logit[0, :, 0], -100, 100))
        sure = score >= MIN_SCORE
        if not sure.any():
            return []
        values = raw[0, sure].reshape(-1, 6, 2) / np.float32(DETECTOR_SIDE)
        anchor = self._anchors[sure]
        centre, half = values[:, 0] + anchor, values[:, 1] / 2
        boxes = np.concatenate([centre - half, centre + half], axis=1)
        points = _merged(boxes, values[:, 2:] + anchor[:, None], score[sure])
        bodies = [whole.unboxed(person) for person in points]
        return [Region.around(body[0], body[1], whole.picture) for body in bodies]

    def look(self, picture: UInt8, region: Region) -> Body | None:
        square = region.cut(picture, LANDMARK_SIDE, black_outside=False)
        flat, presence, _, heatmap, _ = self._landmarks(square * np.float32(1 / 255))
        if presence[0, 0] <= MIN_SCORE:
            return None
        values = flat.reshape(-1, 5)
        points = region.to_picture(_refined(values[:, :2] / np.float32(LANDMARK_SIDE), heatmap[0]))
        placed = points * region.picture
        visibility = single.sigmoid(values[COCO17_OF_33, 3])
        hips, rim = points[GUIDES]
        size = float((circle(hips, rim, region.picture) * region.picture).mean())
        return Body(placed[COCO17_OF_33], visibility, placed[GUIDES], float(presence[0, 0]), max(size, 1e-6))


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


def _anchors() -> Float32:
    """(2254, 2): the places that the detector's boxes are relative to, 0 to 1."""
    grids = []
    for stride, count in STRIDES:
        side = DETECTOR_SIDE // stride
        y, x = np.mgrid[:side, :side].astype(np.float32)
        place = (np.stack([x, y], axis=-1).reshape(-1, 2) + np.float32(0.5)) / np.float32(side)
        grids.append(np.repeat(place, count, axis=0))
    return np.concatenate(grids)


def _merged(boxes: Float32, points: Float32, score: Float32) -> Float32:
    """Weighted suppression: boxes (N, 4) x0 y0 x1 y1, points (N, K, 2), score (N,) → points (M, K, 2), one a person."""
    left = np.argsort(-score, kind="stable")
    people = []
    while len(left):
        same = _iou(boxes[left[0]], boxes[left]) > MAX_OVERLAP
        same[0] = True
        one = left[same]
        people.append(single.total(points[one].T * score[one]).T / single.total(score[one]))
        left = left[~same]
    return np.stack(people)


def _iou(box: Float32, boxes: Float32) -> Float32:
    shared = np.clip(np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2]), 0, None).prod(axis=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    union = (box[2:] - box[:2]).prod() + areas - shared
    return np.asarray(np.where(union > 0, shared / np.where(union > 0, union, 1), 0), np.float32)


def _refined(points: Float32, heatmap: Float32) -> Float32:
    """Landmarks (N, 2), 0 to 1, moved to the centre of mass of their own heatmap (H, W, N) around them.

    Only where the heatmap is sure somewhere near, as in MediaPipe's RefineLandmarksFromHeatmap.
    """
    size = np.array(heatmap.shape[1::-1], np.float32)
    reach = HEATMAP_KERNEL // 2
    at = np.trunc(points * size).astype(int)
    inside = ((at >= 0) & (at < size)).all(axis=1)
    padded = np.pad(heatmap, ((reach, reach), (reach, reach), (0, 0)), constant_values=-np.inf)
    step = np.arange(HEATMAP_KERNEL)
    x, y = (np.where(inside, at[:, axis], 0)[:, None] + step for axis in (0, 1))  # (N, kernel), in the padded map
    near = single.sigmoid(padded[y[:, :, None], x[:, None, :], np.arange(len(points))[:, None, None]])
    across, down = ((place - reach).astype(np.float32) for place in (x, y))
    flat = (len(points), -1)
    weight = single.total(near.reshape(flat))
    moment = [single.total((near * by).reshape(flat)) for by in (across[:, None, :], down[:, :, None])]
    moved = inside & (near.max(axis=(1, 2)) >= MIN_SCORE) & (weight > 0)
    centre = np.stack(moment, axis=1) / size / np.where(moved, weight, np.float32(1))[:, None]
    return np.where(moved[:, None], centre, points)
