"""What MediaPipe itself finds in real clips: writes tests/indexer/pose/mediapipe.npz.

    python -m venv /somewhere && /somewhere/bin/pip install mediapipe==0.10.21 "numpy<2" av
    /somewhere/bin/python benchmarks/make_pose_reference.py DATA/video-clips

Only numbers are kept. For each clip, a row a picture: `NAME joints` (N, 17, 3) x and y in pixels and visibility, in
the order of COCO-17, smoothed as by default, NaN where nobody is found; `NAME region` (N, 5), where it looked: x, y,
width and height in shares of the picture's, and angle, NaN without. MediaPipe is told the pictures' own times. Then
MediaPipe again, to see how far it goes from itself: `NAME brighter`, joints from pictures one level brighter; `NAME
thirtieth`, from the same pictures with 1/30 s counted for each, as `mediapipe.solutions` does. Its pictures a second
are printed.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
from mediapipe.python.solution_base import SolutionBase

CLIPS = ("mmaction2_demo_skeleton.mp4", "mmaction2_test.avi", "mmaction2_demo.mp4")
COCO17 = [0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28]
FIRST_US = 33333
"""MediaPipe's filters take no picture at 0."""
OUT = Path(__file__).parents[1] / "tests" / "indexer" / "pose" / "mediapipe.npz"


def solution() -> SolutionBase:
    """`mediapipe.solutions.pose` of complexity 1, with the regions that it works by among its outputs."""
    return SolutionBase(
        binary_graph_path="mediapipe/modules/pose_landmark/pose_landmark_cpu.binarypb",
        side_inputs={
            "model_complexity": 1,
            "smooth_landmarks": True,
            "enable_segmentation": False,
            "smooth_segmentation": False,
            "use_prev_landmarks": True,
        },
        outputs=["pose_landmarks", "pose_rect_from_detection", "pose_rect_from_landmarks"],
    )


def followed(pictures: Sequence[np.ndarray], times_us: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Joints (N, 17, 3) and regions (N, 5), as they are kept."""
    graph, joints, regions, before = solution(), [], [], None
    for picture, time_us in zip(pictures, times_us, strict=True):
        height, width = picture.shape[:2]
        graph._simulated_timestamp = FIRST_US + time_us - 33333  # `process` adds as much
        found = graph.process({"image": picture})
        used = before or found.pose_rect_from_detection
        before = found.pose_rect_from_landmarks
        regions.append([used.x_center, used.y_center, used.width, used.height, used.rotation] if used else [np.nan] * 5)
        body = found.pose_landmarks.landmark if found.pose_landmarks else None
        joints.append(
            [[body[i].x * width, body[i].y * height, body[i].visibility] for i in COCO17]
            if body
            else [[np.nan] * 3] * 17
        )
    return np.array(joints, np.float32), np.array(regions, np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, help="folder of the clips")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    held: dict[str, np.ndarray] = {}
    fps: dict[str, float] = {}
    for name in CLIPS:
        with av.open(str(given.clips / name)) as container:
            frames = list(container.decode(video=0))
        pictures = [frame.to_ndarray(format="rgb24") for frame in frames]
        times_us = sorted(round(1e6 * frame.time) for frame in frames)  # an AVI's come in the order of decoding
        began = time.perf_counter()
        held[f"{name} joints"], held[f"{name} region"] = followed(pictures, times_us)
        fps[name] = round(len(pictures) / (time.perf_counter() - began), 1)
        brighter = [np.minimum(picture, 254) + np.uint8(1) for picture in pictures]
        held[f"{name} brighter"] = followed(brighter, times_us)[0]
        held[f"{name} thirtieth"] = followed(pictures, [33333 * i for i in range(len(pictures))])[0]
    given.out.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(given.out, **held)
    print(json.dumps(fps))


if __name__ == "__main__":
    main()
