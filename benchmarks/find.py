"""Which recording of an archive a sensor belongs to, and whether strangers are refused.

    python benchmarks/find.py [--queries 100] [--strangers 200] [--out benchmarks/results/find.json]

Recordings are half a minute each of bodies seen by a camera, from takes without joins (see sync.py) in which no motion
comes twice. Half of the test motions and all of the validation motions make the archive; the other half are strangers,
whose recordings are not in it. A query is 10 or 20 s of five sensors or one, cut from any of the former, on a clock
shifted by up to 7 s, with nothing said about the offset. What is reported is "test"; how `search/find.py` judges was
chosen on "validation", the two halves of the motions exchanged, and its thresholds there and on the test's strangers.
Chance is 1 / recordings. The bound is the same scores without the right to refuse: "right_first".
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sync import FADE_S, PLACEMENTS, REACH_S, halves, moved, recorded

from motionseek.encoders.model import Model, load_model
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
    found: list[Belongs] = [archive.find(imus) for _, _, imus in queries(held, count, seconds, sensors, rng)]
    best = [m.confidence for b in found for m in (*b.matches, *b.nearest)[:1]]
    return {
        "strangers": count,
        "strangers_accepted": sum(map(bool, found)),
        "highest_confidence": round(max(best), 3) if best else None,
    }


def measured(
    motions: Sequence[Motion], more: Sequence[Motion], model: Model, folder: Path, count: int, strangers: int
) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    held, others = recordings(motions[0::2], "asked", rng), recordings(motions[1::2], "stranger", rng)
    stored = held + recordings(more, "beside", rng)
    index([replace(recording, imus=()) for recording in stored], folder, models=[model])
    archive = open_archive(folder, models=[model])
    out: dict[str, Any] = {"recordings": len(stored), "chance": round(1 / len(stored), 3)}
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
    parser.add_argument("--only", choices=("validation", "test"), help="Only this half of the motions.")
    parser.add_argument("--model", default="starter")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "find.json")
    given = parser.parse_args()
    torch.set_num_threads(1)
    data = Path(os.environ.get("MOTIONSEEK_DATA") or Path(__file__).parents[2] / "shared" / "data")
    model = load_model(given.model)
    result: dict[str, Any] = {
        "machine": {"processor": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()},
        "model": {"name": given.model, "fingerprint": model.fingerprint},
    }
    if given.only and given.out.is_file():
        result = json.loads(given.out.read_text()) | result
    validation, test = halves(data)
    for name, motions, more in (("validation", validation, test), ("test", test, validation)):
        if given.only in (None, name):
            with tempfile.TemporaryDirectory() as folder:
                result[name] = measured(motions, more, model, Path(folder) / "a", given.queries, given.strangers)
            given.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(given.out)


if __name__ == "__main__":
    main()
