"""Make the motion that the package carries for its demo, api/demo/samples/mocap.npz.

    python benchmarks/make_samples.py [DATA]

DATA is the folder with cmu-mocap/ and deepmimic/, $MOTIONSEEK_DATA by default. CMU trials at 60 Hz, cut to 20 s;
DeepMimic clips of its MIT licence, cyclic ones repeated to about 8 s.
"""

from __future__ import annotations

import json
import math
import os
import sys
from pathlib import Path

from motionseek.encoders.simulate.mocap import read_amc, read_deepmimic
from motionseek.encoders.simulate.motion import Motion
from motionseek.encoders.simulate.packed import write_packed

SAMPLES = Path(__file__).parents[1] / "api" / "demo" / "samples"
RATE_HZ = 60.0
LONGEST_S = 20.0
LOOPED_S = 8.0
TOO_LONG = ("long_zombie", "stealthy_walk0")


def _short(motion: Motion) -> Motion:
    if motion.rate_hz > RATE_HZ + 1:
        motion = motion.resample(RATE_HZ)
    return motion.crop(0, int(LONGEST_S * motion.rate_hz))


def main(data: Path) -> None:
    motions = [
        _short(read_amc(amc.parent / f"{amc.parent.name}.asf", amc))
        for amc in sorted((data / "cmu-mocap").glob("*/*.amc"))
    ]
    for path in sorted((data / "deepmimic").glob("humanoid3d_*.txt")):
        if path.stem.removeprefix("humanoid3d_") in TOO_LONG:
            continue
        motion = read_deepmimic(path)
        if json.loads(path.read_text())["Loop"] == "wrap":
            motion = read_deepmimic(path, loops=math.ceil(LOOPED_S / motion.duration_s))
        motions.append(_short(motion))
    write_packed(SAMPLES / "mocap.npz", motions)
    for motion in motions:
        print(f"{motion.source:10} {motion.name:16} {motion.rate_hz:6.1f} Hz {motion.duration_s:6.1f} s")
    print(f"{(SAMPLES / 'mocap.npz').stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("MOTIONSEEK_DATA", "../shared/data")))
