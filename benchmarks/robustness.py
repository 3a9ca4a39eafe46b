"""How much a query loses whose clock is off the token grid, and of whose surroundings nothing is known.

    python benchmarks/robustness.py [--model starter] [--queries 150] [--seeds 3]

A stretch of sensors is looked up among all positions of all pose streams, through the functions that search uses
(`query_tokens`, `fit`; every lag, so no candidate is lost to an index). It is found where the best position of all is
on its own stream and right within 0.3 s. Four ways: on the grid of the stored tokens or moved by up to ±0.1 s, and with
a second of surroundings or cut out. Simulated: motion of a style held out from training, faded into takes before
sensors and keypoints are simulated. Real: UTD-MHAD, all subjects of the test, the middle 1.6 s of each trial.

The tokens that the engine computes of a query every 0.04 s (its five phases) are compared with using one phase only.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from machine import DATA, machine
from scipy import stats

from motionseek.encoders.base import StreamEncoder
from motionseek.encoders.model import load_model
from motionseek.encoders.preprocess import pose_grid
from motionseek.encoders.simulate.camera import Camera, view
from motionseek.encoders.simulate.mocap import read_bandai_npz
from motionseek.encoders.simulate.sensors import virtual_imu
from motionseek.encoders.simulate.take import faded, followed
from motionseek.indexer.readers import discover, read
from motionseek.search.by_motion import MIN_SHARE
from motionseek.search.encode import query_tokens, tokens_of
from motionseek.search.query import Query
from motionseek.search.rerank import QueryTokens, fit
from motionseek.types import Bool, Float32, Float64, Imu, PoseTrack, Span

OUT = Path(__file__).parent / "results" / "robustness.json"
FIVE = ("left_wrist", "right_wrist", "left_knee", "right_knee", "head")
WAYS = {
    "on the grid, in context": (False, False),
    "off the grid, in context": (True, False),
    "on the grid, cut out": (False, True),
    "off the grid, cut out": (True, True),
}
NEAR_S = 0.3
TAKES, CLIPS_A_TAKE = 24, 12

Stream = tuple[float, Float32, Bool]
Recalls = dict[str, dict[str, float]]


@dataclass(frozen=True, eq=False)
class Take:
    """Sensors and pose of one person on one clock."""

    imus: tuple[Imu, ...]
    pose: PoseTrack


def simulated(path: Path, seed: int) -> list[Take]:
    rng = np.random.default_rng(seed)
    motions = [m for m in read_bandai_npz(path) if m.labels[1] == "feminine" and m.duration_s > 2]
    takes = []
    for i in range(TAKES):
        chosen = [motions[k].resample(60.0) for k in rng.choice(len(motions), CLIPS_A_TAKE)]
        take = faded(chosen, name=f"take {i}")
        sensors = tuple(virtual_imu(take, p, rng=rng, mounting_deg=20, rate_hz=50.0) for p in FIVE)
        held = followed(take)
        camera = Camera.around(held, float(rng.uniform(0, 360)), float(rng.uniform(0, 20)))
        takes.append(Take(sensors, view(held.resample(30.0), camera, rng=rng, noise_px=1.5, drop=0.03)))
    return takes


def real(path: Path) -> list[Take]:
    recordings = [read(source) for source in discover([path])]
    return [Take(r.imus, r.poses[0]) for r in recordings if r.imus[0].person in ("2", "4", "6")]


def stream_of(encoder: StreamEncoder, pose: PoseTrack) -> Stream:
    grid = pose_grid(pose, encoder.rate_hz)
    return grid.start_s, *tokens_of(encoder, grid, encoder.token_s)


def asked(imus: Sequence[Imu], start_s: float, length_s: float, cut_out: bool) -> Query:
    span = Span(start_s, start_s + length_s)
    if cut_out:
        imus = [_cut(imu, span) for imu in imus]
    query = Query.of(list(imus))
    return replace(query, span=span)


def _cut(imu: Imu, span: Span) -> Imu:
    acc = (imu.acc_t_s >= span.start_s - 1e-6) & (imu.acc_t_s <= span.end_s + 1e-6)
    gyro = (imu.gyro_t_s >= span.start_s - 1e-6) & (imu.gyro_t_s <= span.end_s + 1e-6)
    return replace(
        imu,
        acc_t_s=imu.acc_t_s[acc],
        acc_mps2=imu.acc_mps2[acc],
        gyro_t_s=imu.gyro_t_s[gyro],
        gyro_rps=imu.gyro_rps[gyro],
    )


def together(streams: Sequence[Stream]) -> tuple[Float64, Float32, Bool]:
    """Starts (N,), tokens (N, P, T, D) and mask (N, P, T), shorter streams masked at their ends."""
    longest = max(mask.shape[1] for _, _, mask in streams)
    token = [np.pad(t, ((0, 0), (0, longest - t.shape[1]), (0, 0))) for _, t, _ in streams]
    mask = [np.pad(m, ((0, 0), (0, longest - m.shape[1]))) for _, _, m in streams]
    return np.array([s for s, _, _ in streams]), np.stack(token), np.stack(mask)


def found(tokens: QueryTokens, held: tuple[Float64, Float32, Bool], own: int) -> bool:
    fitted = fit(tokens, *held, -tokens.token.shape[2], held[1].shape[2], min_share=MIN_SHARE)
    best = int(fitted.score.argmax())
    return best == own and abs(float(fitted.offset_s[best])) <= NEAR_S


def one_phase(tokens: QueryTokens) -> QueryTokens:
    return QueryTokens(tokens.start_s, tokens.token_s, tokens.token[:1], tokens.mask[:1])


def recalls(
    takes: Sequence[Take],
    encoders: tuple[StreamEncoder, StreamEncoder],
    which: Any,
    queries: int,
    length_s: float,
    seed: int,
) -> Recalls:
    """R@1 of each way, with all phases and with one."""
    imu, pose = encoders
    streams = [stream_of(pose, take.pose) for take in takes]
    held = together(streams)
    rng = np.random.default_rng(seed)
    rows = rng.choice(len(takes), queries, replace=len(takes) < queries)
    hits: dict[str, list[tuple[bool, bool]]] = {way: [] for way in WAYS}
    for own in rows:
        take = takes[own]
        grid_s, _, _ = streams[own]
        spare_s = min(take.pose.end_s, take.imus[0].end_s) - length_s
        middle = which == "worn"
        start_s = spare_s / 2 if middle else float(rng.uniform(1.2, spare_s - 1.2))
        start_s = grid_s + round((start_s - grid_s) / pose.token_s) * pose.token_s
        moved_s = float(rng.uniform(-0.1, 0.1))
        sensors = take.imus if middle else [take.imus[k] for k in which]
        for way, (off, cut) in WAYS.items():
            tokens = query_tokens(asked(sensors, start_s + moved_s * off, length_s, cut), imu)
            hits[way].append((found(tokens, held, own), found(one_phase(tokens), held, own)))
    return {
        way: dict(zip(("engine", "one phase"), np.mean(h, axis=0).tolist(), strict=True)) for way, h in hits.items()
    }


def interval(values: list[float]) -> list[float]:
    half = stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values)) if values[1:] else 0.0
    return [round(float(np.mean(values)), 3), round(float(half), 3)]


def summary(found: Sequence[Recalls]) -> dict[str, dict[str, list[float]]]:
    return {way: {k: interval([r[way][k] for r in found]) for k in ("engine", "one phase")} for way in WAYS}


def lost(found: Sequence[Recalls]) -> dict[str, list[float]]:
    """What the engine finds less than it does on the grid and in context, of the same queries."""
    first, *others = WAYS
    return {way: interval([r[first]["engine"] - r[way]["engine"] for r in found]) for way in others}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="starter")
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    model = load_model(args.model)
    encoders: Any = (model.encoder("imu", "motion"), model.encoder("pose", "motion"))
    started = time.monotonic()
    mine = real(DATA / "utd-mhad" / "utd_mhad_subjects_1-6.npz")
    rows: dict[str, list[Recalls]] = {}
    positions: dict[str, int] = {}
    for seed in range(args.seeds):
        takes = simulated(DATA / "bandai-namco" / "bnr_dataset2.npz", seed)
        for name, held, which, length_s in (
            ("simulated, 5 sensors, 2.4 s", takes, (0, 1, 2, 3, 4), 2.4),
            ("simulated, right wrist, 2.4 s", takes, (1,), 2.4),
            ("simulated, right wrist, 5 s", takes, (1,), 5.0),
            ("UTD-MHAD, its one sensor, 1.6 s", mine, "worn", 1.6),
        ):
            rows.setdefault(name, []).append(recalls(held, encoders, which, args.queries, length_s, seed))
            positions[name] = round(sum(t.pose.end_s - t.pose.start_s for t in held) / 0.04)
            print(f"seed {seed}, {name}: {rows[name][-1]}", flush=True)
    report = {
        "model": model.name,
        "fingerprint": model.fingerprint,
        "machine": machine(),
        "queries": args.queries,
        "seeds": args.seeds,
        "minutes": round((time.monotonic() - started) / 60, 1),
        "positions": positions,
        "R@1": {name: summary(found) for name, found in rows.items()},
        "lost": {name: lost(found) for name, found in rows.items()},
        "runs": rows,
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report["R@1"], indent=1))


if __name__ == "__main__":
    main()
