"""Which recording of an archive a sensor belongs to, and whether strangers are refused.

    python benchmarks/find.py [--queries 100] [--strangers 200] [--out benchmarks/results/find.json]

Recordings are half a minute each of bodies seen by a camera, from takes without joins (see sync.py) in which no motion
comes twice. Half of the test motions and all of the validation motions make the archive; the other half are strangers,
whose recordings are not in it. A query is 10 or 20 s of five sensors or one, cut from any of the former, on a clock
shifted by up to 7 s, with nothing said about the offset. How `search/find.py` judges was chosen on "validation", the
two halves of the motions exchanged, and on "test": neither is a proof.
Chance is 1 / recordings. The bound is the same scores without the right to refuse: "right_first".

"fresh" is the proof, what neither saw: the other styles of the Bandai-Namco data (the starter trained on these), two
of them as the archive, all others as strangers; the same strangers, and real watches and phones of other people, each
stretch of them once, before an archive of all motions of validation and test. Nothing was chosen on it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import DATA, machine
from starter import phone_trials
from sync import FADE_S, HELD_OUT_STYLE, PLACEMENTS, RATE_HZ, REACH_S, halves, moved, recorded

from motionseek.encoders.model import Model, load_model
from motionseek.encoders.simulate.mocap import read_bandai_npz
from motionseek.encoders.simulate.motion import Motion
from motionseek.encoders.simulate.take import faded
from motionseek.indexer.pipeline import index
from motionseek.search.archive import Archive
from motionseek.search.archive import open as open_archive
from motionseek.search.find import Belongs
from motionseek.types import Imu, Recording, Span

RECORDING_S = 30.0
LENGTHS_S = (10.0, 20.0)
SENSORS = (5, 1)
FRESH_STYLES = ("masculine", "normal")
"""Of the archive; the other styles are strangers."""
FRESH_RECORDINGS = 48


def recordings(motions: Sequence[Motion], name: str, rng: np.random.Generator) -> list[Recording]:
    """All motions once, one after the other, in recordings of RECORDING_S: sensors and pose on one clock."""
    chosen = [motions[i] for i in rng.permutation(len(motions))]
    long = faded(chosen, fade_s=FADE_S)
    frames = round(RECORDING_S * long.rate_hz)
    made = []
    for number, first in enumerate(range(0, len(long.position_m) - frames, frames)):
        imus, pose = recorded(long.crop(first, first + frames), PLACEMENTS, rng)
        uri = f"{name} {number}"
        recording_id = hashlib.sha256(uri.encode()).hexdigest()
        made.append(Recording(recording_id, uri, tuple(imus), None, (pose,)))
    return made


def queries(
    held: Sequence[Recording], count: int, seconds: float, sensors: int, rng: np.random.Generator
) -> Iterator[tuple[str, float, list[Imu]]]:
    """(uri, what to add to the sensors' time, sensors), the recordings in turn."""
    for number in range(count):
        recording = held[number % len(held)]
        start_s = float(rng.uniform(0.5, RECORDING_S - 0.5 - seconds))
        by_s = float(rng.uniform(-REACH_S, REACH_S))
        worn = rng.choice(len(PLACEMENTS), sensors, replace=False)
        cut = [recording.imus[i].crop(Span(start_s, start_s + seconds)) for i in worn]
        yield recording.uri, -by_s, [moved(imu, by_s) for imu in cut]


def asked(archive: Archive, held: Sequence[Recording], count: int, seconds: float, sensors: int) -> dict[str, Any]:
    rng = np.random.default_rng([sensors, round(seconds)])
    first = right = wrong = 0
    errors_s = []
    for uri, known_s, imus in queries(held, count, seconds, sensors, rng):
        found = archive.find(imus)
        best = next(iter((*found.matches, *found.nearest)), None)
        first += best is not None and best.uri == uri
        wrong += any(match.uri != uri for match in found.matches)
        for match in found.matches:
            if match.uri == uri:
                right += 1
                errors_s.append(abs(match.offset_s - known_s))
    return {
        "queries": count,
        "right_first": round(first / count, 3),
        "accepted_right": round(right / count, 3),
        "accepted_wrong": round(wrong / count, 3),
        "median_error_ms": round(1e3 * float(np.median(errors_s)), 1) if errors_s else None,
        "largest_error_ms": round(1e3 * max(errors_s), 1) if errors_s else None,
    }


def refused(archive: Archive, held: Sequence[Recording], count: int, seconds: float, sensors: int) -> dict[str, Any]:
    rng = np.random.default_rng([sensors, round(seconds), 1])
    return strangers_of(archive, [imus for _, _, imus in queries(held, count, seconds, sensors, rng)])


def strangers_of(archive: Archive, asked: Sequence[Sequence[Imu]]) -> dict[str, Any]:
    """With how many of a hundred might come through, at most, at 95 % (Wilson)."""
    found: list[Belongs] = [archive.find(list(imus)) for imus in asked]
    best = [m.confidence for b in found for m in (*b.matches, *b.nearest)[:1]]
    accepted, count, z = sum(map(bool, found)), len(found), 1.96
    share = accepted / count
    middle, half = share + z**2 / (2 * count), z * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return {
        "strangers": count,
        "strangers_accepted": accepted,
        "at_most_of_100": round(float(100 * (middle + half) / (1 + z**2 / count)), 2),
        "highest_confidence": round(max(best), 3) if best else None,
    }


def fresh(data: Path) -> tuple[list[Motion], list[Motion]]:
    """Motions of the archive's styles, and of the strangers'."""
    found = [m for n in (1, 2) for m in read_bandai_npz(data / "bandai-namco" / f"bnr_dataset{n}.npz")]
    found = [m.resample(RATE_HZ) for m in found if m.labels[1] != HELD_OUT_STYLE and m.duration_s > 2.5 * FADE_S]
    return (
        [m for m in found if m.labels[1] in FRESH_STYLES],
        [m for m in found if m.labels[1] not in FRESH_STYLES],
    )


def worn(data: Path, seconds: float) -> dict[str, list[list[Imu]]]:
    """Stretches of real sensors that do not overlap: of watches, and of phones in a trouser pocket but for standing."""
    whole: dict[str, list[Imu]] = {"watch": [], "phone": []}
    with np.load(data / "watch-imu" / "seglearn_watch.npz", allow_pickle=False) as npz:
        for six, side in zip(np.split(npz["imu"], np.cumsum(npz["length"])[:-1]), npz["side"], strict=True):
            part = "right_wrist" if side else "left_wrist"
            t_s = np.arange(len(six)) / 50.0
            whole["watch"].append(Imu(t_s, six[:, :3] * 9.81, t_s, six[:, 3:], placement=part))
    trials = phone_trials(data / "mobifall" / "mobifall_subjects_1-7.npz")
    whole["phone"] = [imu for activity, _, imu in trials if activity != "STD"]
    cut: dict[str, list[list[Imu]]] = {}
    for name, imus in whole.items():
        cut[name] = [
            [imu.crop(Span(float(start_s), float(start_s) + seconds))]
            for imu in imus
            for start_s in np.arange(imu.start_s, imu.end_s - seconds + 1e-6, seconds)
        ]
    return cut


def stored(held: Sequence[Recording], folder: Path, model: Model) -> Archive:
    index([replace(recording, imus=()) for recording in held], folder, models=[model])
    return open_archive(folder, models=[model])


def never_seen(data: Path, model: Model, folder: Path, count: int, strangers: int) -> dict[str, Any]:
    rng = np.random.default_rng(7)
    mine, theirs = (recordings(m, n, rng) for m, n in zip(fresh(data), ("asked", "stranger"), strict=True))
    mine = mine[:FRESH_RECORDINGS]
    archive = stored(mine, folder / "fresh", model)
    out: dict[str, Any] = {"recordings": len(mine), "chance": round(1 / len(mine), 3), "of_strangers": len(theirs)}
    bodies = [r for name, half in zip("ab", halves(data), strict=True) for r in recordings(half, name, rng)]
    other = stored(bodies, folder / "bodies", model)
    out["before_all_former"] = beside = {"recordings": len(bodies)}
    for seconds in LENGTHS_S:
        for sensors in SENSORS:
            name = f"{seconds:g} s, {sensors} sensors"
            out[name] = asked(archive, mine, count, seconds, sensors)
            out[name] |= refused(archive, theirs, strangers, seconds, sensors)
            beside[name] = refused(other, theirs, strangers, seconds, sensors)
            print(name, json.dumps([out[name], beside[name]]), file=sys.stderr, flush=True)
        for kind, imus in worn(data, seconds).items():
            beside[f"{seconds:g} s, {kind}"] = strangers_of(other, imus)
            print(seconds, kind, json.dumps(beside[f"{seconds:g} s, {kind}"]), file=sys.stderr, flush=True)
    return out


def measured(
    motions: Sequence[Motion], more: Sequence[Motion], model: Model, folder: Path, count: int, strangers: int
) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    held, others = recordings(motions[0::2], "asked", rng), recordings(motions[1::2], "stranger", rng)
    every = held + recordings(more, "beside", rng)
    archive = stored(every, folder, model)
    out: dict[str, Any] = {"recordings": len(every), "chance": round(1 / len(every), 3)}
    for seconds in LENGTHS_S:
        for sensors in SENSORS:
            row = asked(archive, held, count, seconds, sensors) | refused(archive, others, strangers, seconds, sensors)
            out[f"{seconds:g} s, {sensors} sensors"] = row
            print(seconds, sensors, json.dumps(row), file=sys.stderr, flush=True)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--strangers", type=int, default=200)
    parser.add_argument("--only", choices=("validation", "test", "fresh"), help="Only this part.")
    parser.add_argument("--model", default="starter")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "find.json")
    given = parser.parse_args()
    torch.set_num_threads(1)
    model = load_model(given.model)
    result: dict[str, Any] = {
        "machine": machine(),
        "model": {"name": given.model, "fingerprint": model.fingerprint},
    }
    if given.only and given.out.is_file():
        result = json.loads(given.out.read_text()) | result
    validation, test = halves(DATA)
    for name, motions, more in (("validation", validation, test), ("test", test, validation)):
        if given.only in (None, name):
            with tempfile.TemporaryDirectory() as folder:
                result[name] = measured(motions, more, model, Path(folder) / "a", given.queries, given.strangers)
            given.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if given.only in (None, "fresh"):
        with tempfile.TemporaryDirectory() as folder:
            result["fresh"] = never_seen(DATA, model, Path(folder), given.queries, given.strangers)
        given.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(given.out)


if __name__ == "__main__":
    main()
