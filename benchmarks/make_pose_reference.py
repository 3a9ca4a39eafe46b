"""What MediaPipe itself finds in real clips: writes tests/indexer/pose/mediapipe.npz.

    python -m venv /somewhere && /somewhere/bin/pip install mediapipe==0.10.21 "numpy<2" av
    /somewhere/bin/python benchmarks/make_pose_reference.py DATA/video-clips

Only numbers are kept. For each clip, a row a picture: `NAME joints` (N, 17, 3) x and y in pixels and visibility, in the
order of COCO-17, smoothed as by default, NaN where nobody is found; `NAME region` (N, 4), the square where it looked:
x, y and side in pixels, angle, NaN without one. MediaPipe counts 1/30 s a picture. Its frames per second are printed.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import av
import numpy as np
from mediapipe.python.solution_base import SolutionBase

CLIPS = ("mmaction2_demo_skeleton.mp4", "mmaction2_test.avi", "mmaction2_demo.mp4")
COCO17 = [0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28]
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, help="folder of the clips")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    held: dict[str, np.ndarray] = {}
    fps: dict[str, float] = {}
    for name in CLIPS:
        with av.open(str(given.clips / name)) as container:
            pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        graph, joints, regions, before = solution(), [], [], None
        began = time.perf_counter()
        for picture in pictures:
            height, width = picture.shape[:2]
            found = graph.process({"image": picture})
            used = before or found.pose_rect_from_detection
            before = found.pose_rect_from_landmarks
            size = np.array([width, height])
            nowhere = [np.nan] * 4
            regions.append(
                [*(size * (used.x_center, used.y_center)), used.width * width, used.rotation] if used else nowhere
            )
            body = found.pose_landmarks.landmark if found.pose_landmarks else None
            joints.append(
                [[body[i].x * width, body[i].y * height, body[i].visibility] for i in COCO17]
                if body
                else [[np.nan] * 3] * 17
            )
        fps[name] = round(len(pictures) / (time.perf_counter() - began), 1)
        held[f"{name} joints"] = np.array(joints, np.float32)
        held[f"{name} region"] = np.array(regions, np.float32)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(given.out, **held)
    print(json.dumps(fps))


if __name__ == "__main__":
    main()
