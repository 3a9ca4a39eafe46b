"""Words and a phone in the trouser pocket, when other people with such phones were in training: MobiFall.

    python benchmarks/mobifall.py [--seeds 3] [--jobs 2]

Six people (2 to 7) with their real, jittered clocks. Three rotations: the starter's IMU encoder is trained further on
four people, beside the words of what they do, and asked on the other two. Zero-shot on the same two people stands
beside it. The starter on everybody is in starter.py. The data is read from $MOTIONSEEK_DATA, else ../shared/data.
"""

from __future__ import annotations

import argparse
import json
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from machine import DATA, machine
from starter import CLASSES, WORDS, PhoneWindows, phone_windows, words_report
from utd_mhad import summary
from utd_text import Named

from motionseek.encoders.model import Model, load_model
from motionseek.encoders.preprocess import IMU_SLOTS
from motionseek.encoders.train.augment import Augment, cut_ends, vary_imu
from motionseek.encoders.train.loop import FitSettings, fit
from motionseek.encoders.train.windows import TrainBatch
from motionseek.types import Float32

FILE = DATA / "mobifall" / "mobifall_subjects_1-7.npz"
OUT = Path(__file__).parent / "results" / "mobifall.json"
TESTED = ((2, 3), (4, 5), (6, 7))
STEPS, LR, BATCH = 150, 5e-4, 96
SLOT = IMU_SLOTS.index("right_knee")
AUGMENT = Augment(
    free_mounting=1.0, acc_noise_mps2=0.2, gyro_noise_rps=0.05, acc_bias_mps2=0.2, gyro_bias_rps=0.03, scale=0.05
)
"""A phone lies in a pocket any way round."""
NAMES = {**CLASSES, "SCH": "sitting down"}


@dataclass(frozen=True, eq=False)
class Balanced:
    """Windows of the training people, each activity as often as the others."""

    held: PhoneWindows
    text: Float32
    seed: int

    @property
    def steps(self) -> int:
        return max(1, len(self.held.activity) // BATCH)

    def batch(self, step: int, *, rank: int = 0, world: int = 1) -> TrainBatch:
        rng = np.random.default_rng([self.seed, step])
        label = rng.integers(len(NAMES), size=BATCH)
        rows = np.array([rng.choice(np.flatnonzero(self.held.activity == list(NAMES)[c])) for c in label])
        x, mask = self.held.x[rows].copy(), self.held.mask[rows].copy()
        mask[:, SLOT] = cut_ends(mask[:, SLOT], 50.0, rng, AUGMENT)
        x[:, SLOT] = vary_imu(x[:, SLOT], rng, AUGMENT) * mask[:, SLOT, None]
        return TrainBatch(
            torch.from_numpy(x),
            torch.from_numpy(mask),
            torch.zeros(BATCH, 6, 12, x.shape[3]),
            torch.zeros(BATCH, 6, x.shape[3], dtype=torch.bool),
            torch.from_numpy(self.text[label]),
            torch.ones(BATCH, dtype=torch.bool),
            None,
            None,
            torch.from_numpy(label),
            tuple(str(r) for r in rows),
        )


def words_of(model: Model, sentences: list[str]) -> Float32:
    out = model.encode_text(sentences, space="clip").global_
    if out is None:
        raise RuntimeError("the starter's text tower gives no vectors")
    return out


def one(tested: tuple[int, ...], seed: int) -> dict[str, Any]:
    torch.set_num_threads(1)
    model, held = load_model("starter"), phone_windows(FILE)
    ours = np.isin(held.person, tested)
    before: Any = model.encoder("imu", "clip").net  # type: ignore[attr-defined]
    objective = Named(before.requires_grad_(True)).eval()
    words = words_of(model, list(WORDS)), words_of(model, list(CLASSES.values()))
    rows = {"zero-shot": report(objective, held.of(ours), *words)}
    data = Balanced(held.of(~ours), words_of(model, list(NAMES.values())), seed)
    started = time.process_time()
    settings = FitSettings(STEPS, lr=LR, weight_decay=0.02, betas=(0.9, 0.98), warmup=20, seed=seed)
    fit(objective, data, None, settings, say=lambda _: None)
    rows["other people in training"] = report(objective, held.of(ours), *words)
    return {**rows, "cpu_s": time.process_time() - started}


def report(objective: Named, held: PhoneWindows, words: Float32, classes: Float32) -> dict[str, Any]:
    net: Any = objective.net
    with torch.inference_mode():
        z = F.normalize(net(torch.from_numpy(held.x), torch.from_numpy(held.mask)), dim=-1).numpy()
    return words_report(z, held.activity, words, classes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    held: dict[str, Any] = json.loads(args.out.read_text()) if args.out.is_file() else {}
    runs = held.setdefault("runs", {})
    todo = [(t, s) for s in range(args.seeds) for t in TESTED if f"people {t}, seed {s}" not in runs]
    with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool:
        waiting = {pool.submit(one, tested, seed): (tested, seed) for tested, seed in todo}
        for future in as_completed(waiting):
            tested, seed = waiting[future]
            runs[f"people {tested}, seed {seed}"] = found = future.result()
            print(tested, seed, {k: v["macro_f1_of_6"] for k, v in found.items() if k != "cpu_s"}, flush=True)
            # A seed's number is the mean over the rotations, so that the interval is that of seeds.
            whole = [s for s in range(args.seeds) if all(f"people {t}, seed {s}" in runs for t in TESTED)]
            by_seed = [mean([runs[f"people {t}, seed {s}"] for t in TESTED]) for s in whole]
            held["summary"] = summary(by_seed) if by_seed else {}
            held |= {
                "machine": machine(),
                "settings": {"steps": STEPS, "lr": LR, "batch": BATCH, "tested": TESTED},
            }
            args.out.parent.mkdir(parents=True, exist_ok=True)
            args.out.write_text(json.dumps(held, indent=1) + "\n")


def mean(rows: list[Any]) -> Any:
    """The mean of each number in trees of the same form."""
    if isinstance(rows[0], dict):
        return {key: mean([row[key] for row in rows]) for key in rows[0]}
    return float(np.mean(rows))


if __name__ == "__main__":
    main()
