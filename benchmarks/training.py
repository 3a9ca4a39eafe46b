"""Training's speed against its bound, and the memory of a large batch in pieces.

    python benchmarks/training.py [--seconds 60] [--out benchmarks/results/training.json]

Speed: windows a second of the loop, which reads windows from memory-mapped files, varies them and prepares the next
batch while this one runs, against the same forward, backward and optimiser step on one random batch that lies in
memory. Both run in turn, several times, in the same process; the ratio is of their medians.
Memory: peak of a process that takes one step of MoBind's published network on 1,356 items (339 windows of four limbs),
whole and in pieces. Windows are made up; nothing but motionseek is needed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from machine import machine

from motionseek.encoders.train.augment import Augment
from motionseek.encoders.train.dataset import WindowData
from motionseek.encoders.train.files import FORMAT, SHARD, WINDOWS, Body, TrainingFiles, shard_table
from motionseek.encoders.train.loop import FitSettings, fit
from motionseek.encoders.train.motion_objective import MotionObjective
from motionseek.encoders.train.recipe import Recipe
from motionseek.encoders.train.windows import TrainBatch

BATCH = 128
SAMPLES = 3000


class Still:
    """One batch in memory, again and again."""

    steps = 1

    def __init__(self, batch: TrainBatch) -> None:
        self.held = batch

    def batch(self, step: int, *, rank: int = 0, world: int = 1) -> TrainBatch:
        return self.held


def made_up(folder: Path, bodies: int, sensors: int = 5) -> TrainingFiles:
    """Minutes of five sensors and a pose each, and a window every second."""
    rng = np.random.default_rng(0)
    held, rows = [], []
    for i in range(bodies):
        walk = rng.normal(size=(SAMPLES, 17, 2)).cumsum(0) + rng.uniform(100, 400, (1, 17, 2))
        walk[:, [5, 6], 1], walk[:, [11, 12], 1] = 150, 300
        imu = {s: rng.normal(size=(SAMPLES, 6)).astype(np.float32) for s in range(sensors)}
        there = {s: np.ones(SAMPLES, np.bool_) for s in range(sensors)}
        name = f"r{i}/p{i}"
        seen = np.ones((SAMPLES, 17), np.bool_)
        held.append(Body(name, f"r{i}", f"p{i}", "0", 0.0, imu, there, walk.astype(np.float32), seen, (640, 480)))
        for first in range(0, SAMPLES - 250, 50):
            row = {"window_id": f"w{i}.{first}", "recording_id": f"r{i}", "uri": f"r{i}", "person": f"p{i}"}
            row |= {"body": name, "first": first, "start_s": first / 50, "caption": "", "labels": []}
            rows.append(row | {"caption_text": -1, "label_text": -1, "video": -1})
    with pa.ipc.new_file(str(folder / "shard.arrow"), SHARD) as file:
        file.write_batch(shard_table(held))
    with pa.ipc.new_file(str(folder / "windows.arrow"), WINDOWS) as file:
        file.write_table(pa.Table.from_pylist(rows, schema=WINDOWS))
    about = {"format": FORMAT, "rate_hz": 50.0, "window_s": 5.0, "shards": ["shard.arrow"], "space": None}
    (folder / "training.json").write_text(json.dumps(about))
    return TrainingFiles(folder)


def speed(seconds: float, threads: int) -> dict[str, object]:
    torch.set_num_threads(threads)
    stage = Recipe.load("motionseek").stages[0]
    with tempfile.TemporaryDirectory() as name:
        files = made_up(Path(name), 40)
        rates: dict[str, list[float]] = {"loop": [], "loop without variation": [], "bound": []}
        one = WindowData(files, np.arange(len(files)), batch=BATCH).batch(0)
        noise = replace(one, imu=torch.randn_like(one.imu), pose=torch.randn_like(one.pose))
        sources = {
            "bound": Still(noise),
            "loop": WindowData(files, np.arange(len(files)), batch=BATCH, augment=stage.augment),
            "loop without variation": WindowData(files, np.arange(len(files)), batch=BATCH, augment=Augment()),
        }
        steps = 4
        for turn in range(6):
            for what, source in sources.items():
                torch.manual_seed(0)
                objective = MotionObjective()
                objective.finish = lambda data: None  # type: ignore[method-assign]
                settings = FitSettings(steps=steps, lr=1e-4)
                started = time.perf_counter()
                history = fit(objective, source, None, settings, say=lambda _: None)
                if turn:
                    # the first batch is prepared before the first step can start; a run waits for it once
                    rates[what].append(history.windows / history.seconds)
                elif what == "bound":
                    steps = max(4, round(seconds / 15 * steps / (time.perf_counter() - started)))
    median = {what: float(np.median(r)) for what, r in rates.items()}
    return {
        "batch": BATCH,
        "sensors": 5,
        "threads": threads,
        "steps_a_run": steps,
        "windows_per_s": {what: round(r, 1) for what, r in median.items()},
        "runs": {what: [round(x, 1) for x in r] for what, r in rates.items()},
        "ratio": round(median["loop"] / median["bound"], 3),
        "ratio_without_variation": round(median["loop without variation"] / median["bound"], 3),
    }


MEMORY = """
import torch
from motionseek.encoders.mobind import MobindConfig, LossWeights
from motionseek.encoders.train.objectives import MobindObjective
from motionseek.encoders.train.step import Gradient
from motionseek.encoders.train.windows import TrainBatch
torch.manual_seed(0)
n = {windows}
batch = TrainBatch(torch.randn(n, 7, 6, 250), torch.ones(n, 7, 250, dtype=torch.bool), torch.rand(n, 6, 6, 250),
    torch.ones(n, 6, 250, dtype=torch.bool), None, None, None, None, torch.full((n,), -1), tuple(map(str, range(n))))
objective = MobindObjective(MobindConfig(imu_channels=6), stage=1, weights=LossWeights(local=1.0, token=0.5))
def kib(name):
    with open("/proc/self/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith(name))
with open("/proc/self/clear_refs", "w") as f:
    f.write("5")
before = kib("VmRSS")
Gradient(objective.train(), chunk={chunk})(batch)
print((kib("VmHWM") - before) / 1024)
"""
"""Linux: writing 5 forgets the peak of loading the libraries, so that the step's own is seen."""


def memory(windows: int, chunks: tuple[int, ...]) -> dict[str, object]:
    found: dict[str, object] = {"windows": windows, "items": 4 * windows}
    for chunk in chunks:
        script = MEMORY.format(windows=windows, chunk=chunk)
        said = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
        found["whole_mib" if not chunk else f"in_pieces_of_{chunk}_mib"] = round(float(said.stdout))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each kind of run, together")
    parser.add_argument("--windows", type=int, default=339, help="of the memory test")
    parser.add_argument("--threads", type=int, default=max(1, (os.cpu_count() or 2) - 1), help="of the forward pass")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    report = {
        "machine": machine(),
        "load_before": round(os.getloadavg()[0], 1),
        "speed": speed(args.seconds, args.threads),
        "peak_memory_of_one_step": memory(args.windows, (0, 113, 32)),
    }
    text = json.dumps(report, indent=2)
    print(text)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
