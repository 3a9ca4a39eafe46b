"""Poses from pixels against MediaPipe's own: how far the joints are apart, and how many pictures a second.

    python benchmarks/pose.py [--clips DATA/video-clips] [--out benchmarks/results/pose.json]

The reference, tests/indexer/pose/mediapipe.npz, is what MediaPipe 0.10.21 finds in the same clips (complexity 1,
smoothed, one person, told the pictures' own times), made by benchmarks/make_pose_reference.py, which prints MediaPipe's
pictures a second as well. Of each picture the person nearest to MediaPipe's is compared, over joints that both see
inside the picture. Distance: over the person's height, the longer side of the box around all of MediaPipe's joints.
Pictures in which MediaPipe finds somebody and we do not are counted. `same_square` tells the distance where we look at
the very squares that MediaPipe looked at.

The bound: MediaPipe beside itself, run again with pictures one level of 255 brighter, and with 1/30 s counted for each
picture. Where a body fills the picture and more, each square follows from the last, and the smallest difference grows.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from machine import DATA, machine

from motionseek.indexer.pose import estimate_pose
from motionseek.indexer.pose.blazepose import BlazePose
from motionseek.indexer.pose.region import Region, size_of
from motionseek.indexer.pose.smooth import OneEuro
from motionseek.indexer.video import frame_times, probe, rgb_frames
from motionseek.types import PoseTrack

ROOT = Path(__file__).parents[1]

REFERENCE = ROOT / "tests" / "indexer" / "pose" / "mediapipe.npz"
CLIPS = ("mmaction2_demo_skeleton.mp4", "mmaction2_test.avi", "mmaction2_demo.mp4")


def compared(tracks: tuple[PoseTrack, ...], t_s: Any, theirs: Any, size: tuple[int, int]) -> dict[str, Any]:
    """theirs: (N, 17, 3), x, y and visibility, at t_s (N,)."""
    found = np.full((max(1, len(tracks)), len(t_s), 17, 2), np.nan)
    for held, track in zip(found, tracks, strict=False):
        at = np.searchsorted(t_s, track.t_s - 1e-4)
        held[at] = track.xy_px
    height = np.ptp(theirs[..., :2], axis=1).max(axis=1)
    inside = ((theirs[..., :2] >= 0) & (theirs[..., :2] < size)).all(axis=2)
    off = np.linalg.norm(found - theirs[None, ..., :2], axis=3) / height[None, :, None]
    off[:, ~inside] = np.nan
    there = np.isfinite(height)
    seen = np.isfinite(off).any(axis=2)
    mean = np.where(seen, np.nansum(off, axis=2) / np.maximum(1, np.isfinite(off).sum(axis=2)), np.inf)
    nearest = off[mean.argmin(axis=0), np.arange(len(t_s))][there]
    return {
        "pictures": len(t_s),
        "people": len(tracks),
        "mediapipe_finds": int(there.sum()),
        "found_of_them": int(seen.any(axis=0)[there].sum()),
        "median_distance": rounded(np.nanmedian(nearest)),
        "p90_distance": rounded(np.nanpercentile(nearest, 90)),
        "within_10_percent": round(float((nearest[np.isfinite(nearest)] < 0.1).mean()), 3),
    }


def same_square(path: Path, theirs: Any, regions: Any) -> dict[str, Any]:
    """theirs: (N, 17, 3); regions: (N, 5), where MediaPipe looked: x, y, width, height in shares, angle."""
    estimator, smooth, distances = BlazePose(), None, []
    pictures = rgb_frames(path, longest=1920, max_rate_hz=1e3)
    for number, (time_s, picture) in zip(range(len(theirs)), pictures, strict=False):
        at, size = regions[number], size_of(picture)
        body = estimator.look(picture, Region(at[:2], at[2:4], at[4], size)) if np.isfinite(at[0]) else None
        if body is None or not np.isfinite(theirs[number, 0, 0]):
            smooth = None
            continue
        smooth = smooth or OneEuro(0.05, 80.0)
        xy = theirs[number, :, :2]
        off = np.linalg.norm(smooth(time_s, body.joints, body.size) - xy, axis=1) / np.ptp(xy, axis=0).max()
        distances += off[((xy >= 0) & (xy < size)).all(axis=1)].tolist()
    return {
        "median_distance": rounded(np.median(distances)),
        "p90_distance": rounded(np.percentile(distances, 90)),
    }


def beside_itself(theirs: Any, again: Any, size: tuple[int, int]) -> dict[str, Any]:
    """Both (N, 17, 3), MediaPipe's."""
    height = np.ptp(theirs[..., :2], axis=1).max(axis=1)
    inside = ((theirs[..., :2] >= 0) & (theirs[..., :2] < size)).all(axis=2)
    off = np.linalg.norm(again[..., :2] - theirs[..., :2], axis=2) / height[:, None]
    both = off[inside & np.isfinite(off)]
    return {
        "mediapipe_finds": int(np.isfinite(height).sum()),
        "found_of_them": int((np.isfinite(height) & np.isfinite(again[:, 0, 0])).sum()),
        "median_distance": rounded(np.median(both)),
        "p90_distance": rounded(np.percentile(both, 90)),
    }


def rounded(value: Any) -> float:
    return float(f"{value:.2g}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, default=DATA / "video-clips")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    reference = np.load(REFERENCE, allow_pickle=False)
    report: dict[str, Any] = {
        "machine": machine(),
        "load_before": round(os.getloadavg()[0], 1),
        "estimator": "blazepose",
        "reference": "mediapipe 0.10.21, complexity 1",
        "clips": {},
    }
    for name in CLIPS:
        path = args.clips / name
        t_s, theirs = frame_times(path), reference[f"{name} joints"]
        pictures = min(len(t_s), len(theirs))
        row: dict[str, Any] = {}
        for most in (1, 4):
            began, cpu = time.perf_counter(), time.process_time()
            tracks = estimate_pose(path, most=most, rate_hz=1000.0)
            wall_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu
            found = compared(tracks, t_s[:pictures], theirs[:pictures], probe(path).size)
            found |= {"pictures_per_s": round(len(t_s) / wall_s, 1)}
            found |= {"pictures_per_cpu_s": round(len(t_s) / cpu_s, 1)}
            row["one person" if most == 1 else f"up to {most} people"] = found
        row["same_square"] = same_square(path, theirs, reference[f"{name} region"])
        for way in ("brighter", "thirtieth"):
            row[f"mediapipe {way}"] = beside_itself(theirs, reference[f"{name} {way}"], probe(path).size)
        report["clips"][name] = row
        print(name, json.dumps(row), flush=True)
    text = json.dumps(report, indent=2)
    print(text)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
