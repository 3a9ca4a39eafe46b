"""Which of several people wears a sensor, and where: scenes composed of motions that the starter never saw.

    python benchmarks/locate.py [--model FOLDER] [--scenes 24] [--out benchmarks/results/locate.json]

A scene is a stretch of N people's motion (the demo's CMU and DeepMimic clips, no clip twice), each seen from a side of
their own in one picture of 640 x 480, with keypoints 1.5 pixels off and some lost. Everybody wears one simulated
sensor, turned by up to 20 degrees, at a place that `locate` is told ("known") or not ("unknown"), and a stranger who
is not in the picture wears one more. Clocks are aligned. Chance is 1 / N for the person, 1 / 5 for the part. "Forced"
is without the right to say nobody, which a sensor that does not move says all the same. What `locate` takes for chance
was chosen on other scenes of the same clips, so strangers are refused here as well as they ever will be.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from machine import machine

from motionseek.demo.recordings import load_clips
from motionseek.encoders.model import Model, load_model
from motionseek.encoders.simulate.camera import Camera, view
from motionseek.encoders.simulate.motion import Motion
from motionseek.encoders.simulate.sensors import virtual_imu
from motionseek.search.locate import locate
from motionseek.types import ANY_PART, Imu, PoseTrack

PLACEMENTS = ("left_wrist", "right_wrist", "left_knee", "right_knee", "head")
IMAGE_SIZE = (640, 480)
RATE_HZ = 60.0


def take(motion: Motion, seconds: float, rng: np.random.Generator) -> Motion:
    """A stretch of a motion, beginning anywhere."""
    frames = round(seconds * motion.rate_hz)
    first = int(rng.integers(0, len(motion.position_m) - frames + 1))
    return motion.crop(first, first + frames)


def seen(motion: Motion, person: int, people: int, rng: np.random.Generator) -> PoseTrack:
    """The motion in a strip of the picture of its own, from a random side."""
    strip = (IMAGE_SIZE[0] // people, IMAGE_SIZE[1])
    camera = Camera.around(
        motion, rng.uniform(0, 360), rng.uniform(0, 25), focal_px=1.2 * IMAGE_SIZE[0], image_size=strip
    )
    track = view(motion.resample(30.0), camera, rng=rng, noise_px=1.5, drop=0.03, person=str(person))
    xy = track.xy_px + np.array([person * strip[0], 0], np.float32)
    return replace(track, xy_px=xy, image_size=IMAGE_SIZE)


def scene(
    motions: Sequence[Motion], people: int, seconds: float, rng: np.random.Generator
) -> tuple[list[Imu], list[PoseTrack], list[str]]:
    """Sensors of everybody and then of the stranger, pose tracks of everybody, true parts."""
    chosen = [take(motions[i], seconds, rng) for i in rng.choice(len(motions), people + 1, replace=False)]
    parts = rng.choice(PLACEMENTS, people + 1).tolist()
    worn = [
        replace(virtual_imu(motion, part, rng=rng, mounting_deg=20, rate_hz=100), name=f"{i}")
        for i, (motion, part) in enumerate(zip(chosen, parts, strict=True))
    ]
    return worn, [seen(motion, i, people, rng) for i, motion in enumerate(chosen[:-1])], parts


def measure(
    motions: Sequence[Motion], people: int, seconds: float, scenes: int, model: Model | None, *, known: bool
) -> dict[str, float | int]:
    rng = np.random.default_rng([people, round(seconds)])
    person = part = nobody = stranger = among = 0
    for _ in range(scenes):
        worn, tracks, parts = scene(motions, people, seconds, rng)
        asked = worn if known else [replace(imu, placement=ANY_PART) for imu in worn]
        found = locate(asked[:-1], tracks, model=model).sensors
        person += sum(w.person == str(i) for i, w in enumerate(found))
        part += sum(w.person == str(i) and w.part == parts[i] for i, w in enumerate(found))
        nobody += sum(w.person is None for w in found)
        stranger += locate(asked[-1], tracks, model=model).sensors[0].person is not None
        forced = locate(asked[:-1], tracks, model=model, min_score=-1.0).sensors
        among += sum(w.person == str(i) for i, w in enumerate(forced))
    sensors = people * scenes
    return {
        "people": people,
        "seconds": seconds,
        "sensors": sensors,
        "chance": round(1 / people, 3),
        "right_person": round(person / sensors, 3),
        "nobody": round(nobody / sensors, 3),
        "wrong_person": round(1 - (person + nobody) / sensors, 3),
        "right_person_if_forced": round(among / sensors, 3),
        "right_part_of_right_person": round(part / max(person, 1), 3),
        "stranger_accepted": round(stranger / scenes, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="starter")
    parser.add_argument("--scenes", type=int, default=24)
    parser.add_argument("--people", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--seconds", type=float, nargs="+", default=[8.0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "locate.json")
    given = parser.parse_args()
    clips = [clip.motion.resample(RATE_HZ) for clip in load_clips()]
    model = load_model(given.model)
    results = []
    for seconds in given.seconds:
        motions = [motion for motion in clips if motion.duration_s > seconds + 0.1]
        for people in given.people:
            for method, used in (("traces", None), ("tokens and traces", model)):
                for known in (False, True):
                    row = measure(motions, people, seconds, given.scenes, used, known=known)
                    results.append({"method": method, "placement": "known" if known else "unknown", **row})
                    print(json.dumps(results[-1]), flush=True)
    said = {
        "machine": machine(),
        "model": {"name": model.name, "fingerprint": model.fingerprint},
        "clips": {f"{s:g} s": sum(m.duration_s > s + 0.1 for m in clips) for s in given.seconds},
        "results": results,
    }
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
