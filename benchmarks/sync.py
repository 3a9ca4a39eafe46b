"""Body sensors against body pose: known offsets and drifts on motion without joins, beside three other ways.

    python benchmarks/sync.py [--clips 200] [--out benchmarks/results/sync.json]

Takes are motions of which no sensor or keypoint was ever used for training (CMU, DeepMimic, one style of Bandai-Namco
that was held out), each fading into the next **before** sensors and keypoints are simulated, so that no seam tells the
time. Sensors (50 Hz, turned by up to 20 degrees, noise of a watch, strapped with up to 2 cm of play) against keypoints
of a camera that follows the person (30 Hz, 1.5 pixels of noise, 3 % lost). A clip is `s` seconds of the sensors and
`s` seconds of the pose, the one up to 7 s (or s / 3) before or after the other, as MoBind's protocol has it.

Every second motion of each source is for validation, on which the thresholds of `search/sync.py` were chosen; what is
reported is the other half, but for the row "validation". Compared in the same run: always answering 0, MoBind's vote
(5 s windows every 0.2 s, the 5 nearest each way vote), and windows of raw acceleration against keypoint acceleration
with a weighted vote, after SyncWISE. UTD-MHAD: real trials (none of them trained on), whole, where both begin at once,
and a random 70 % of the sensor's and the pose's time each. About 20 minutes on one core.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import DATA, machine

from motionseek.encoders.base import tokenises
from motionseek.encoders.model import Model, load_model
from motionseek.encoders.preprocess import imu_grid, pose_grid
from motionseek.encoders.simulate.camera import Camera, view
from motionseek.encoders.simulate.mocap import read_amc, read_bandai_npz, read_deepmimic
from motionseek.encoders.simulate.motion import Motion
from motionseek.encoders.simulate.sensors import PLACEMENT_FRAMES, virtual_imu
from motionseek.encoders.simulate.take import faded, followed
from motionseek.indexer.readers import discover, read
from motionseek.search.correlate import cosine, lags, pearson
from motionseek.search.drift import SLOWER, follow
from motionseek.search.encode import tokens_of
from motionseek.search.sync import sync
from motionseek.search.traces import pooled, traces_of
from motionseek.types import Alignment, Float64, Imu, PoseTrack, Span

PLACEMENTS = ("left_wrist", "right_wrist", "left_knee", "right_knee", "head")
RATE_HZ, SENSOR_HZ, CAMERA_HZ = 60.0, 50.0, 30.0
REACH_S = 7.0
FADE_S = 0.8
HELD_OUT_STYLE = "feminine"
LENGTHS_S = (5.0, 10.0, 20.0, 60.0, 180.0)
DRIFTS_PPM = (-500, -200, -100, -50, 0, 50, 100, 200, 500)

Pair = tuple[list[Imu], PoseTrack, float]
"""Sensors, pose, and what to add to the sensors' time to get the pose's."""
Way = Callable[[Pair], Alignment | float]
Answer = tuple[float, float, float]
"""Known offset, the one accepted (NaN where it was refused), the best one even where it was refused."""
TOKENS, TRACES = "motion tokens + gyro x limb", "gyro x limb"


# -- motion


def halves(data: Path) -> tuple[list[Motion], list[Motion]]:
    """Motions for validation and for the report: every second one of each source."""
    sources: list[list[Motion]] = [[], [], []]
    for path in sorted((data / "cmu-mocap").glob("*/*.amc")):
        sources[0].append(read_amc(next(path.parent.glob("*.asf")), path))
    for path in sorted((data / "deepmimic").glob("**/*humanoid3d_*.txt")):
        sources[1].append(read_deepmimic(path))
    for path in sorted((data / "bandai-namco").glob("*.npz")):
        sources[2] += [m for m in read_bandai_npz(path) if m.labels[1] == HELD_OUT_STYLE]
    long = [[m for m in ms if m.duration_s > 2.5 * FADE_S] for ms in sources]
    return (
        [m.resample(RATE_HZ) for ms in long for m in ms[0::2]],
        [m.resample(RATE_HZ) for ms in long for m in ms[1::2]],
    )


def take(motions: Sequence[Motion], seconds: float, rng: np.random.Generator) -> Motion:
    """A take of at least this length: sources in turn, so that the many short walks of one do not fill it, and no
    motion twice before all of its source were there, because the same capture twice would be a second right answer."""
    decks: dict[str, list[Motion]] = {source: [] for source in sorted({m.source for m in motions})}
    chosen: list[Motion] = []
    while sum(m.duration_s - FADE_S for m in chosen) + FADE_S < seconds + 1:
        source = str(rng.choice(list(decks)))
        if not decks[source]:
            own = [m for m in motions if m.source == source]
            decks[source] = [own[i] for i in rng.permutation(len(own))]
        chosen.append(decks[source].pop())
    return faded(chosen, fade_s=FADE_S)


def recorded(motion: Motion, sensors: Sequence[str], rng: np.random.Generator) -> tuple[list[Imu], PoseTrack]:
    """Sensors and pose of a whole motion, both starting at 0 s."""
    imus = [
        virtual_imu(
            motion,
            placement,
            rng=rng,
            mounting_deg=20,
            rate_hz=SENSOR_HZ,
            offset_m=PLACEMENT_FRAMES[placement].offset_m + rng.normal(scale=0.01, size=3),
        )
        for placement in sensors
    ]
    seen = followed(motion).resample(CAMERA_HZ)
    camera = Camera.around(seen, rng.uniform(0, 360), rng.uniform(0, 25))
    return imus, view(seen, camera, rng=rng, noise_px=1.5, drop=0.03)


def moved(imu: Imu, by_s: float, drift_ppm: float = 0.0) -> Imu:
    """The sensor on a clock that shows t' where the true time is t' (1 + drift) - by_s."""
    acc, gyro = ((t + by_s) / (1 + drift_ppm * 1e-6) for t in (imu.acc_t_s, imu.gyro_t_s))
    return replace(imu, acc_t_s=acc, gyro_t_s=gyro)


def clip(motion: Motion, seconds: float, sensors: Sequence[str], rng: np.random.Generator) -> Pair:
    """seconds of sensors and of pose, shifted against each other by up to REACH_S of the motion."""
    imus, pose = recorded(motion, sensors, rng)
    reach_s = min(REACH_S, seconds / 3)
    apart_s = float(rng.uniform(-reach_s, reach_s))
    first_s = float(rng.uniform(max(0.0, -apart_s), motion.duration_s - seconds - max(0.0, apart_s)))
    sensed = Span(first_s, first_s + seconds)
    shown = Span(first_s + apart_s, first_s + apart_s + seconds)
    # Each clip on a clock that begins with it, as two files do: the true offset is the distance of their beginnings.
    imus = [moved(imu.crop(sensed), -sensed.start_s) for imu in imus]
    pose = pose.crop(shown)
    return imus, replace(pose, t_s=pose.t_s - shown.start_s), -apart_s


def clips(motions: Sequence[Motion], seconds: float, count: int, sensors: int, seed: int) -> Iterator[Pair]:
    rng = np.random.default_rng([seed, sensors, round(seconds)])
    for _ in range(count):
        chosen = PLACEMENTS if sensors == len(PLACEMENTS) else tuple(rng.choice(PLACEMENTS, sensors, replace=False))
        yield clip(take(motions, seconds + min(REACH_S, seconds / 3), rng), seconds, chosen, rng)


def captures(motions: Sequence[Motion], count: int, sensors: Sequence[str], seed: int) -> Iterator[Pair]:
    """Clips of 10 s out of motions that were captured in one go: no fade at all."""
    rng = np.random.default_rng(seed)
    long = [m for m in motions if m.duration_s > 10 + 10 / 3 + 0.2]
    for _ in range(count):
        yield clip(long[int(rng.integers(len(long)))], 10.0, sensors, rng)


# -- ways to answer


def ours(model: Model | None) -> Way:
    return lambda pair: sync(pair[0], pair[1], model=model, max_offset_s=REACH_S + 1)


def best_s(found: Alignment) -> float:
    if found.offset_s is not None:
        return found.offset_s
    return found.aliases_s[0] if found.aliases_s else 0.0


def vote(model: Model, pair: Pair, *, by_tokens: bool) -> float:
    """MoBind's: windows of 5 s every 0.2 s; each one's 5 nearest on the other side vote for their lag.

    by_tokens: compare windows by all of their tokens, which the starter is better at, instead of by one pooled vector.
    """
    imus, pose, _ = pair
    streams = []
    for modality, grid in (("imu", imu_grid(imus, 50.0)), ("pose", pose_grid(pose, 50.0))):
        encoder = model.encoders["motion", modality]
        if not tokenises(encoder):
            raise SystemExit("the model has no motion tokens")
        streams.append((encoder, grid.start_s, *tokens_of(encoder, grid, encoder.token_s)))
    size = min(round(5.0 / streams[0][0].token_s), *(token.shape[1] for _, _, token, _ in streams))
    windows = []
    for encoder, start_s, token, mask in streams:
        at = np.arange(token.shape[1] - size + 1)[:, None] + np.arange(size)
        tokens, there = np.ascontiguousarray(token[:, at].swapaxes(0, 1)), mask[:, at].swapaxes(0, 1)
        vectors = encoder.pool(tokens, there).global_
        if by_tokens:
            joined = (tokens * there[..., None]).reshape(len(tokens), -1)
            vectors = joined / np.maximum(np.linalg.norm(joined, axis=1, keepdims=True), 1e-9)
        windows.append((vectors, start_s))
    (x, x_start_s), (y, y_start_s) = windows
    similar = (x @ y.T).astype(np.float64)
    votes: dict[int, float] = {}
    for rows, turned in ((similar, 1), (similar.T, -1)):
        nearest = np.argsort(-rows, axis=1)[:, :5]
        for i, others in enumerate(nearest):
            for j in others:
                lag = turned * (int(j) - i)
                votes[lag] = votes.get(lag, 0.0) + float(rows[i, j])
    return max(votes, key=lambda lag: votes[lag]) * 0.2 + y_start_s - x_start_s


def windowed(pair: Pair) -> float:
    """After SyncWISE: the first principal component of acceleration against that of the keypoints' acceleration, in
    windows of 10 s every second, each shifted over REACH_S; what all vote for, by how peaked each correlation is."""
    imus, pose, _ = pair
    rate_hz = 50.0
    grid, seen = imu_grid(imus, rate_hz), pose_grid(pose, rate_hz)
    used = np.flatnonzero(grid.mask.any(axis=1) & np.append(seen.mask.any(axis=1), False))
    if not len(used):
        return 0.0
    forces = np.linalg.norm(grid.x[used, :3], axis=1)
    speeds = np.gradient(seen.x[used][:, 6:], 1 / rate_hz, axis=2)
    x = _component(forces)
    y = _component(np.linalg.norm(speeds, axis=1))
    size, reach = round(min(10.0, len(x) / rate_hz / 2) * rate_hz), round(REACH_S * rate_hz)
    bins = np.zeros(2 * reach + 1)
    for begin in range(0, len(x) - size + 1, round(rate_hz)):
        window = _standard(x[begin : begin + size])
        shifts = np.arange(-reach, reach + 1)
        valid = (begin + shifts >= 0) & (begin + shifts + size <= len(y))
        if not valid.any():
            continue
        r = np.array([window @ _standard(y[begin + s : begin + s + size]) / size for s in shifts[valid]])
        peak = int(r.argmax())
        weight = max(float(r[peak]), 0.0) * max(float((r[peak] - r.mean()) / (r.std() + 1e-9)), 0.0)
        bins[shifts[valid][peak] + reach] += weight
    kernel = np.exp(-0.5 * (np.arange(-50, 51) / 15) ** 2)
    return float(np.convolve(bins, kernel, mode="same").argmax() - reach) / rate_hz + seen.start_s - grid.start_s


def _component(x: Float64) -> Float64:
    """(P, L) → the first principal component (L,), its sign such that it grows with the sum."""
    centred = x - x.mean(axis=1, keepdims=True)
    direction = np.linalg.svd(centred, full_matrices=False)[0][:, 0]
    return (direction if direction.sum() > 0 else -direction) @ centred


def _standard(x: Float64) -> Float64:
    return (x - x.mean()) / (x.std() + 1e-9)


# -- figures


def said(answers: Sequence[Answer]) -> dict[str, Any]:
    known, accepted, best = (np.array([a[i] for a in answers], np.float64) for i in range(3))
    kept = np.isfinite(accepted)
    out: dict[str, Any] = {"clips": len(answers), "all": errors(np.abs(best - known))}
    if not kept.all():
        out["refused"] = round(float(1 - kept.mean()), 4)
        out["accepted"] = errors(np.abs(accepted[kept] - known[kept]))
    return out


def errors(error_s: Float64) -> dict[str, Any]:
    """What became of clips, each figure with the interval that 95 % of 2,000 draws of as many clips lie in."""
    if not len(error_s):
        return {}
    drawn = error_s[np.random.default_rng(0).integers(len(error_s), size=(2000, len(error_s)))]
    out: dict[str, Any] = {"largest_ms": round(float(error_s.max() * 1e3), 1)}
    for name, figure, digits in (
        ("mae_ms", lambda e: e.mean(axis=-1) * 1e3, 1),
        ("median_ms", lambda e: np.median(e, axis=-1) * 1e3, 1),
        *((f"within_{ms}_ms", lambda e, ms=ms: (e < ms / 1e3).mean(axis=-1), 4) for ms in (50, 100, 200)),
    ):
        out[name] = round(float(figure(error_s)), digits)
        out[f"{name}_95"] = [round(float(q), digits) for q in np.quantile(figure(drawn), (0.025, 0.975))]
    return out


def answered(found: Alignment | float, known_s: float) -> Answer:
    if isinstance(found, Alignment):
        return known_s, np.nan if found.offset_s is None else found.offset_s, best_s(found)
    return known_s, found, found


def measured(pairs: Iterator[Pair], ways: Mapping[str, Way], what: str) -> dict[str, Any]:
    answers: dict[str, list[Answer]] = {name: [] for name in ways}
    began = time.perf_counter()
    for done, pair in enumerate(pairs, 1):
        for name, way in ways.items():
            answers[name].append(answered(way(pair), pair[2]))
        if done % 20 == 0:
            print(f"{what}: {done} clips, {done / (time.perf_counter() - began):.1f} a second", file=sys.stderr)
    return {name: said(rows) for name, rows in answers.items()}


def drifts(motions: Sequence[Motion], minutes: float, sensors: Sequence[str]) -> list[dict[str, Any]]:
    """One take, its sensors on clocks that run off by known amounts, by gyro and limb alone."""
    rng = np.random.default_rng(round(minutes))
    imus, pose = recorded(take(motions, minutes * 60, rng), sensors, rng)
    rows = []
    for ppm in DRIFTS_PPM:
        found = sync([moved(imu, 2.0, ppm) for imu in imus], pose).to_json()
        row = {"minutes": minutes, "sensors": len(sensors), "true_ppm": ppm, "found_ppm": found["drift_ppm"]}
        rows.append({**row, "error_ppm": found["drift_error_ppm"]})
        print(json.dumps(rows[-1]), file=sys.stderr)
    return rows


def two_hours(motions: Sequence[Motion], model: Model) -> dict[str, Any]:
    """Seconds that all lags of 2 h against 2 h take once features exist: a short take's, repeated with noise."""
    rng = np.random.default_rng(0)
    imus, pose = recorded(take(motions, 120, rng), PLACEMENTS, rng)
    short = traces_of(imus, pose)[0]

    def long(x: Float64) -> Float64:
        tiled = np.tile(x, (1, -(-round(7200 * short.rate_hz) // x.shape[1])))[:, : round(7200 * short.rate_hz)]
        return np.abs(tiled + rng.normal(scale=0.3, size=tiled.shape))

    sensor = long(short.sensor)
    there = np.ones(sensor.shape, np.bool_)
    traces = replace(short, sensor=sensor, sensor_mask=there, limb=sensor + long(short.limb), limb_mask=there)
    began = time.perf_counter()
    slow = traces.slower(SLOWER)
    r, count = pearson(slow.sensor, slow.sensor_mask, slow.limb, slow.limb_mask)
    score = pooled(r, count, slow.rate_hz)
    traced_s = time.perf_counter() - began
    peak_s = float(lags(slow.sensor.shape[1], slow.limb.shape[1])[score.argmax()] / slow.rate_hz)
    began = time.perf_counter()
    line = follow(traces.detail(), peak_s)
    followed_s = time.perf_counter() - began
    token = rng.normal(size=(2, 6, 36_000, 64)).astype(np.float32)
    token /= np.linalg.norm(token, axis=-1, keepdims=True)
    mask = np.ones((6, 36_000), np.bool_)
    began = time.perf_counter()
    cosine(token[0], mask, token[1], mask)
    tokens_s = time.perf_counter() - began
    print(json.dumps({"line": None if line is None else line.slope}), file=sys.stderr)
    return {
        "sensors": len(PLACEMENTS),
        "lags": len(score),
        "traces_all_lags_s": round(traced_s, 3),
        "tokens_all_lags_s": round(tokens_s, 3),
        "drift_along_the_line_s": round(followed_s, 3),
    }


def utd_pairs(folder: Path, share: float, seed: int) -> Iterator[Pair]:
    """Real trials, their sensor's clock moved; of sensor and pose a random `share` each, so that where they begin and
    end tells nothing."""
    rng = np.random.default_rng(seed)
    for source in discover([folder]):
        recording = read(source)
        if not recording.imus or not recording.poses:
            continue
        imu, pose = recording.imus[0], recording.poses[0]
        length_s = share * min(imu.end_s - imu.start_s, pose.end_s - pose.start_s)
        starts = [s.start_s + rng.uniform(0, 1) * (s.end_s - s.start_s - length_s) for s in (imu, pose)]
        by_s = float(rng.uniform(-REACH_S, REACH_S))
        worn = imu.crop(Span(starts[0], starts[0] + length_s))
        yield [moved(worn, by_s)], pose.crop(Span(starts[1], starts[1] + length_s)), -by_s


def by_length(motions: Sequence[Motion], model: Model, count: int) -> dict[str, Any]:
    """Each length with fewer clips where they are long."""
    out: dict[str, Any] = {}
    for seconds in LENGTHS_S:
        few = max(8, round(count * min(1.0, 20 / seconds)))
        for sensors in (5, 1):
            pairs = clips(motions, seconds, few, sensors, seed=2)
            ways = {TOKENS: ours(model), TRACES: ours(None)}
            out[f"{seconds:g} s, {sensors} sensors"] = measured(pairs, ways, f"{seconds:g} s, {sensors} sensors")
    return out


def drawn(rows: Mapping[str, Any], path: Path) -> None:
    """Share of clips within 50 ms and share refused, by length."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams["svg.hashsalt"] = "sync"
    figure = Figure(figsize=(7.2, 2.8), layout="constrained")
    for axes, (title, figure_of) in zip(
        figure.subplots(1, 2, sharey=True),
        (
            ("all clips: within 50 ms", lambda said: said["all"]["within_50_ms"]),
            ("refused", lambda said: said.get("refused", 0.0)),
        ),
        strict=True,
    ):
        for sensors, colour in ((5, "#1f5fa8"), (1, "#c2571a")):
            for way, dashes in ((TOKENS, "-"), (TRACES, "--")):
                shares = [figure_of(rows[f"{s:g} s, {sensors} sensors"][way]) for s in LENGTHS_S]
                label = f"{way}, {sensors} sensor{'s' * (sensors > 1)}"
                axes.plot(LENGTHS_S, shares, dashes, marker="o", markersize=3, color=colour, label=label)
        axes.set(title=title, xscale="log", xlabel="seconds of clip", ylim=(-0.02, 1.02))
        axes.set_xticks(LENGTHS_S, [f"{s:g}" for s in LENGTHS_S])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    figure.axes[0].legend(fontsize=7, loc="lower right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None} if path.suffix == ".png" else None)


def sections(data: Path, model: Model, count: int) -> dict[str, Callable[[], Any]]:
    validation, test = halves(data)
    mine: dict[str, Way] = {TOKENS: ours(model), TRACES: ours(None)}
    ways: dict[str, Way] = {
        **mine,
        "MoBind's vote": lambda pair: vote(model, pair, by_tokens=False),
        "MoBind's vote, windows by tokens": lambda pair: vote(model, pair, by_tokens=True),
        "windows' vote, after SyncWISE": windowed,
        "always 0": lambda pair: 0.0,
    }
    utd = data / "utd-mhad"

    def both(motions: Sequence[Motion], seed: int, ways: Mapping[str, Way], count: int) -> dict[str, Any]:
        return {
            f"{sensors} sensors": measured(clips(motions, 20.0, count, sensors, seed), ways, f"{sensors} sensors")
            for sensors in (5, 1)
        }

    return {
        "validation_20_s": lambda: both(validation, 0, mine, count // 2),
        "clips_20_s": lambda: both(test, 1, ways, count),
        "captures_10_s": lambda: {
            f"{len(p)} sensors": measured(captures(validation + test, count // 4, p, 3), ways, "captures")
            for p in (PLACEMENTS, PLACEMENTS[:1])
        },
        "lengths": lambda: by_length(test, model, count // 4),
        "drift": lambda: [row for minutes in (10.0, 30.0) for row in drifts(test, minutes, PLACEMENTS)],
        "utd_whole_trials": lambda: measured(utd_pairs(utd, 1.0, 0), ways, "UTD-MHAD"),
        "utd_70_percent_each": lambda: measured(utd_pairs(utd, 0.7, 0), ways, "UTD-MHAD"),
        "two_hours": lambda: two_hours(test, model),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--only", action="append", help="Only this section of the results; repeat for several.")
    parser.add_argument("--model", default="starter")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "sync.json")
    parser.add_argument("--picture", type=Path, default=Path(__file__).parents[1] / "docs" / "sync_lengths.png")
    given = parser.parse_args()
    torch.set_num_threads(1)
    model = load_model(given.model)
    about = {
        "machine": machine(),
        "model": {"name": given.model, "fingerprint": model.fingerprint},
    }
    # Sections of an earlier run with the same model stay: a run that was cut off goes on with --only.
    kept = json.loads(given.out.read_text()) if given.only and given.out.is_file() else {}
    result = {**(kept if kept.get("model") == about["model"] else {}), **about}
    for name, section in sections(DATA, model, given.clips).items():
        if given.only and name not in given.only:
            continue
        result[name] = section()
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(result, indent=1) + "\n")
        print(name, json.dumps(result[name]))
    if "lengths" in result:
        drawn(result["lengths"], given.picture)
    print(given.out)


if __name__ == "__main__":
    main()
