"""Which skeleton belongs to which sensor, on people that training never saw: UTD-MHAD, real sensors.

    python benchmarks/utd_mhad.py --part main|ablations|text|robustness [--seeds 3] [--steps N] [--jobs 2] [--validate]

Train: subjects 1, 3, 5; test: 2, 4, 6. Settings were chosen with --validate, which trains on 1 and 3 and tests on 5.
What is finished already (part, model, seed) is kept in the results file and not run again. The data is read from
$MOTIONSEEK_DATA, else ../shared/data. What each model is, is told in utd_models.py; how lengths are kept from giving
trials away, in utd_trials.py.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from machine import DATA, machine
from scipy import stats
from utd_models import (
    Correlation,
    LinearCca,
    Mobind,
    Ours,
    Spec,
    SyncNet,
    despite_style,
    imu2clip_style,
)
from utd_text import LR as TEXT_LR
from utd_text import MIXUP, TUNED_STEPS, WAYS, text_one
from utd_text import STEPS as TEXT_STEPS
from utd_trials import CUT_S, Stretches, Trials, Windows, as_cut, load_trials, windows

from motionseek.encoders.imu2clip import KINDS
from motionseek.encoders.mobind import LossWeights
from motionseek.encoders.train.loop import FitSettings, fit
from motionseek.encoders.train.motion_objective import MotionWeights
from motionseek.encoders.train.windows import Objective, TrainBatch

OUT = Path(__file__).parent / "results" / "utd_mhad.json"
TRIALS = DATA / "utd-mhad" / "utd_mhad_subjects_1-6.npz"
TRAIN, TEST = (1, 3, 5), (2, 4, 6)
VERSIONS = 12
BATCH = 128
PROTOCOLS = {"cut": CUT_S, "whole": 0.0}
DRAWS = 3
"""Each score is the mean over this many ways to cut the test trials."""

STEPS = 200
MOBIND = LossWeights(1.0, 1.0, 0.5, 0.0, 0.3)
MAIN: Mapping[str, Spec] = {
    "chance": Spec(None),
    "lengths alone": Spec(None),
    "training-free correlation": Spec(Correlation),
    "linear CCA": Spec(LinearCca),
    "IMU2CLIP-style": Spec(imu2clip_style, 4e-3, 400),
    "DeSPITE-style": Spec(despite_style, steps=300),
    "SyncNet-style": Spec(SyncNet, steps=STEPS),
    "MoBind-style": Spec(Mobind, 1e-3, 150, options={"weights": MOBIND}, scored=("token",)),
    "ours, starter as it is": Spec(Ours, options={"start": "starter"}),
    "ours, from the starter": Spec(Ours, steps=STEPS, options={"start": "starter"}),
    "ours, from scratch": Spec(Ours, steps=STEPS, scored=("local",)),
}
"""Everything that trains sees the same batches of 128. Steps differ with what a step costs, so that CPU time is
about the same or more than ours (cpu_s). Learning rates were chosen with --validate."""


def _mobind(*weights: float) -> Spec:
    return Spec(Mobind, 1e-3, 60, options={"weights": LossWeights(*weights)}, scored=("token",))


def _ours(*weights: float, varied: bool = True) -> Spec:
    options = {"weights": MotionWeights(*weights)}
    return Spec(Ours, steps=STEPS // 2, varied=varied, options=options, scored=("local",) if weights[2] else ())


def _imu2clip(**options: Any) -> Spec:
    return Spec(imu2clip_style, 4e-3, STEPS // 2, options=options)


ABLATIONS: Mapping[str, Spec] = {
    "ours: window + token + local": _ours(1.0, 0.5, 0.25, 0.0),
    "ours: without augmentation": _ours(1.0, 0.5, 0.25, 0.0, varied=False),
    "ours: window + local, no time negatives": _ours(1.0, 0.0, 0.25, 0.0),
    "ours: window": _ours(1.0, 0.0, 0.0, 0.0),
    "ours: token (time negatives alone)": _ours(0.0, 1.0, 0.0, 0.0),
    "ours: token + local": _ours(0.0, 0.5, 1.0, 0.0),
    "ours: local": _ours(0.0, 0.0, 1.0, 0.0),
    "MoBind: global": _mobind(1.0),
    "MoBind: global + local": _mobind(1.0, 1.0),
    "MoBind: global + local + token": _mobind(1.0, 1.0, 0.5),
    "MoBind: global + local + token + MTP": _mobind(1.0, 1.0, 0.5, 0.0, 0.3),
    "IMU2CLIP: InfoNCE, learned temperature": _imu2clip(),
    "IMU2CLIP: InfoNCE, temperature 0.1": _imu2clip(temperature=0.1),
    "IMU2CLIP: triplet": _imu2clip(loss="triplet"),
    "IMU2CLIP: MSE": _imu2clip(loss="mse"),
    **{f"IMU2CLIP encoder: {kind}": _imu2clip(kind=kind) for kind in list(KINDS)[1:]},
}
"""Half the steps of the comparison; MoBind's network, whose steps cost four of ours, 60."""


def _text(way: str) -> Spec:
    learns = way.startswith("recognition") and "probe" not in way
    tuned = {"tuned_steps": TUNED_STEPS} if "then fine-tuned" in way else {}
    return Spec(None, TEXT_LR, TEXT_STEPS, options={**tuned, **({"mixup": MIXUP} if learns else {})})


TEXT = {way: _text(way) for way in WAYS}


def retrieval(scores: npt.NDArray[np.float32], action: npt.NDArray[np.int64]) -> dict[str, float]:
    """Scores (N, N), right answers on the diagonal → R@1, R@5, MRR, how often the best is of the same action, and R@1
    among the candidates of the same action. Ties count against."""
    own = scores.diagonal()[:, None]
    same = action[:, None] == action[None]
    rank = (scores >= own).sum(1)
    best = scores.argmax(1)
    within = ((scores >= own) & same).sum(1)
    return {
        "R@1": float((rank <= 1).mean()),
        "R@5": float((rank <= 5).mean()),
        "MRR": float((1 / rank).mean()),
        "same action": float((action[best] == action).mean()),
        "R@1 within action": float((within <= 1).mean()),
    }


@lru_cache(maxsize=1)
def trials() -> Trials:
    return load_trials(TRIALS)


@lru_cache(maxsize=2)
def versions(subjects: tuple[int, ...], count: int) -> list[Windows]:
    """The trials as recorded, then `count` varied versions, the same for every model and seed."""
    rng, which = np.random.default_rng(7), trials().of(subjects)
    return [windows(trials(), which), *(windows(trials(), which, rng) for _ in range(count))]


def train(spec: Spec, subjects: tuple[int, ...], seed: int) -> tuple[Any, float]:
    """A model trained on `subjects`, in evaluation mode, and its CPU seconds."""
    torch.manual_seed(seed)
    model = spec.make(**spec.options)
    if isinstance(model, LinearCca):
        model.fit(as_cut(versions(subjects, 0)[0], seed, 0.0))
    if not spec.steps:
        return model.eval() if isinstance(model, Objective) else model, 0.0
    data = Stretches(versions(subjects, VERSIONS), seed, spec.varied, BATCH)
    settings = FitSettings(spec.steps, lr=spec.lr, weight_decay=0.02, betas=(0.9, 0.98), warmup=30, seed=seed)
    started = time.process_time()
    fit(model, data, None, settings, say=lambda _: None)
    return model, time.process_time() - started


def lengths_alone(batch: TrainBatch) -> npt.NDArray[np.float32]:
    """The nearer the lengths, the better."""
    a, b = (m.any(1).sum(1).float() for m in (batch.imu_mask, batch.pose_mask))
    return np.asarray(-(a[:, None] - b[None]).abs().numpy())


def evaluate(score: Any, subjects: tuple[int, ...], cut_s: float = CUT_S) -> dict[str, dict[str, float]]:
    """Both directions, mean over DRAWS ways to cut the trials' ends."""
    held = versions(subjects, 0)[0]
    found: dict[str, list[dict[str, float]]] = {"imu_to_skeleton": [], "skeleton_to_imu": []}
    for seed in range(DRAWS if cut_s else 1):
        s = score(as_cut(held, seed, cut_s))
        found["imu_to_skeleton"].append(retrieval(s, held.action))
        found["skeleton_to_imu"].append(retrieval(s.T, held.action))
    return {d: {k: float(np.mean([r[k] for r in rows])) for k in rows[0]} for d, rows in found.items()}


def one(name: str, spec: Spec, seed: int, split: tuple[tuple[int, ...], tuple[int, ...]]) -> dict[str, Any]:
    """What a model reaches with one seed: a row by its name, and one for each other way to score."""
    torch.set_num_threads(1)
    if spec.make is None:
        rng = np.random.default_rng(seed)
        score = lengths_alone if name == "lengths alone" else lambda batch: rng.random((len(batch),) * 2, np.float32)
        return {name: {p: evaluate(score, split[1], cut) for p, cut in PROTOCOLS.items()} | {"cpu_s": 0.0}}
    model, cpu_s = train(spec, split[0], seed)
    rows = {}
    for way in ("", *spec.scored):
        if way:
            model.score = way
        row: dict[str, Any] = {p: evaluate(model.scores, split[1], cut) for p, cut in PROTOCOLS.items()}
        if not way and hasattr(model, "vectors"):
            row["nearest_neighbour"] = nearest(model.vectors, *split)
        rows[f"{name}, scored by {way}" if way else name] = {**row, "cpu_s": round(cpu_s, 1)}
    return rows


def nearest(vectors: Callable[[TrainBatch], torch.Tensor], known: tuple[int, ...], asked: tuple[int, ...]) -> float:
    """How often the nearest sensor window of the training people is of the same action."""
    sides = [versions(subjects, 0)[0] for subjects in (known, asked)]
    a, b = (vectors(as_cut(side, 0)) for side in sides)
    best = (b @ a.T).argmax(1).numpy()
    return float((sides[0].action[best] == sides[1].action).mean())


def interval(values: list[float]) -> list[float]:
    """Mean, and half the 95 % interval of the mean by Student's t."""
    half = stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values)) if values[1:] else 0.0
    return [round(float(np.mean(values)), 3), round(float(half), 3)]


def summary(rows: list[Any]) -> Any:
    """The same tree as each row, with [mean, half interval] over the rows for every number."""
    if isinstance(rows[0], dict):
        return {key: summary([row[key] for row in rows]) for key in rows[0]}
    return interval(rows)


def run(part: str, specs: Mapping[str, Spec], seeds: int, jobs: int, split: Any, out: Path) -> None:
    """Every model and seed that `out` does not have yet; `out` is written after each."""
    held = json.loads(out.read_text()) if out.is_file() else {}
    runs = held.setdefault(part, {}).setdefault("runs", {})
    todo = [
        (name, seed) for name, spec in specs.items() for seed in range(seeds) if str(seed) not in runs.get(name, {})
    ]
    started = time.monotonic()
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        waiting = {
            pool.submit(text_one, name, seed, split, versions)
            if part == "text"
            else pool.submit(one, name, specs[name], seed, split): (name, seed)
            for name, seed in todo
        }
        for done, future in enumerate(as_completed(waiting), start=1):
            name, seed = waiting[future]
            rows = future.result()
            for row, values in rows.items():
                runs.setdefault(row, {})[str(seed)] = values
            found = rows[name]
            held[part]["summary"] = {n: summary(list(seeds.values())) for n, seeds in runs.items()}
            held |= {"machine": machine(), "torch": torch.__version__}
            about: dict[str, Any] = {"train": split[0], "test": split[1], "batch": BATCH, "cut_s": CUT_S}
            about |= {n: {"steps": s.steps, "lr": s.lr, "varied": s.varied, **s.options} for n, s in specs.items()}
            held[part]["settings"] = held[part].get("settings", {}) | about
            held[part]["minutes"] = round(held[part].get("minutes", 0.0) + (time.monotonic() - started) / 60, 1)
            started = time.monotonic()
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text(json.dumps(held, indent=1, default=vars) + "\n")
            print(f"{done}/{len(todo)} {name} seed {seed}: {_short(found)}", flush=True)


def _short(found: Mapping[str, Any]) -> str:
    if "cut" in found:
        forth, back = found["cut"]["imu_to_skeleton"], found["cut"]["skeleton_to_imu"]
        return f"R@1 {forth['R@1']:.3f} / {back['R@1']:.3f}, {found['cpu_s']:.0f} CPU s"
    return ", ".join(f"{key} {value:.3f}" for key, value in found.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=["main", "ablations", "text"], default="main")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", help="models whose name holds this")
    parser.add_argument("--validate", action="store_true", help="train on 1 and 3, test on 5")
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    specs = {"main": MAIN, "ablations": ABLATIONS, "text": TEXT}[args.part]
    specs = {n: s for n, s in specs.items() if not args.only or args.only in n}
    run(args.part, specs, args.seeds, args.jobs, ((1, 3), (5,)) if args.validate else (TRAIN, TEST), args.out)


if __name__ == "__main__":
    main()
