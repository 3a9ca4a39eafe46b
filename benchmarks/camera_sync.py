"""A camera's own IMU against its picture: offsets that are known, other cameras' gyros, drift, and how fast it is.

    python benchmarks/camera_sync.py [--films 16] [--out benchmarks/results/camera_sync.json]

Films are rendered from random head motion (240 x 136, H.264): a texture at infinity turned by exactly what the gyro
feels, with parallax and noise. True pairs are stretches of a film and its own gyro, shifted by up to 7 s; false pairs
have another film's gyro; all are searched over 8 s either way. "whole" is a gyro that goes beyond the stretch at both
ends, "same length" one that was cut with it. With $MOTIONSEEK_DATA the GoPro sample is shifted and cut likewise, as it
lies and with its steadying turned back (see unsteadied.py).
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from machine import DATA, machine
from unsteadied import unsteady

from motionseek.encoders.simulate.headcam import HeadCamera, HeadMotion, write_film
from motionseek.indexer.readers import read
from motionseek.search.camera import align_camera
from motionseek.search.flow import ImageMotion, image_motion
from motionseek.search.sync import sync
from motionseek.types import Alignment, Imu, Span

FILM_S = 24.0
VIGOURS = (1.0, 0.5, 0.25, 1.5)
CAMERA = HeadCamera(size=(240, 136))
HARDER = {
    "crf 40": replace(CAMERA, crf=40),
    "10 frames/s": replace(CAMERA, rate_hz=10.0),
    "noise of 20 grey values": replace(CAMERA, noise=20.0),
    "three times the parallax": replace(CAMERA, parallax=0.012),
}


@dataclass(frozen=True, eq=False)
class Film:
    picture: ImageMotion
    imu: Imu
    motion: HeadMotion


def film(seed: int, folder: Path, camera: HeadCamera = CAMERA, seconds: float = FILM_S) -> Film:
    rng = np.random.default_rng(seed)
    motion = HeadMotion.random(rng, seconds, vigour=VIGOURS[seed % len(VIGOURS)])
    path = folder / "film.mp4"
    write_film(path, motion, camera, rng)
    return Film(image_motion(path), motion.imu(rng=rng), motion)


def part(picture: ImageMotion, start_s: float, end_s: float) -> ImageMotion:
    at = np.flatnonzero((picture.t_s[:-1] >= start_s) & (picture.t_s[:-1] < end_s))
    return ImageMotion(picture.t_s[at[0] : at[-1] + 2], picture.rate[at], picture.mask[at])


def shifted(imu: Imu, by_s: float) -> Imu:
    return replace(imu, acc_t_s=imu.acc_t_s + by_s, gyro_t_s=imu.gyro_t_s + by_s)


def summary(true: list[tuple[float, Alignment]], false: list[Alignment]) -> dict[str, Any]:
    """true: (known offset, answer) pairs."""
    errors_s = np.array([abs(a.offset_s - known_s) for known_s, a in true if a.offset_s is not None])
    out = {
        "true_pairs": len(true),
        "accepted": len(errors_s),
        "median_error_ms": round(float(np.median(errors_s)) * 1e3, 2) if len(errors_s) else None,
        "largest_error_ms": round(float(errors_s.max()) * 1e3, 2) if len(errors_s) else None,
    }
    if not false:
        return out
    right, wrong = (np.array([a.confidence for a in side]) for side in ([a for _, a in true], false))
    ties = (right[:, None] == wrong).mean() / 2
    return {
        **out,
        "false_pairs": len(false),
        "false_accepted": sum(a.accepted for a in false),
        "auc": round(float((right[:, None] > wrong).mean() + ties), 4),
    }


def pairs(films: list[Film], seconds: float, *, whole: bool) -> dict[str, Any]:
    rng = np.random.default_rng(round(seconds * 10) + whole)
    true, false = [], []
    for own in range(len(films)):
        for _ in range(2):
            start_s = float(rng.uniform(0, FILM_S - 0.5 - seconds))
            span = Span(start_s, start_s + seconds)
            picture, offset_s = part(films[own].picture, span.start_s, span.end_s), float(rng.uniform(-7, 7))
            gyro = [f.imu if whole else f.imu.crop(span) for f in films]
            true.append((offset_s, align_camera(shifted(gyro[own], -offset_s), picture, max_offset_s=8)))
            others = [k for k in range(len(films)) if k != own]
            for other in rng.choice(others, min(7, len(others)), replace=False):
                false.append(align_camera(shifted(gyro[other], -offset_s), picture, max_offset_s=8))
    return summary(true, false)


def drifts(seconds: float, folder: Path) -> Iterator[dict[str, Any]]:
    long = film(0, folder, seconds=seconds)
    for ppm in (-500, -100, 0, 50, 500):
        imu = long.motion.imu(rng=np.random.default_rng(7), offset_s=2.0, drift_ppm=ppm)
        found = align_camera(imu, long.picture, max_offset_s=8)
        yield {"seconds": seconds, "true_ppm": ppm, "found_ppm": found.to_json()["drift_ppm"]}


def harder(folder: Path) -> Iterator[dict[str, Any]]:
    for name, camera in HARDER.items():
        true = []
        for seed in range(4):
            held = film(100 + seed, folder, camera, 12.0)
            true.append((1.5, align_camera(shifted(held.imu, -1.5), part(held.picture, 1, 11), max_offset_s=8)))
        errors_s = [abs(a.offset_s - known_s) for known_s, a in true if a.offset_s is not None]
        worst_ms = round(max(errors_s) * 1e3, 2) if errors_s else None
        yield {"what": name, "pairs": len(true), "accepted": len(errors_s), "largest_error_ms": worst_ms}


def gopro(path: Path, films: list[Film]) -> dict[str, Any]:
    """The stabilised sample: as it lies, aligned by its own metadata, under known shifts, and with other gyros."""
    (imu,) = read(path).imus
    picture = image_motion(path)
    began = sync(path, path)
    if began.offset_s is None:
        return {"accepted": False, "reason": began.reason}
    errors_s = []
    for by_s in np.random.default_rng(0).uniform(-7, 7, 8):
        found = sync(shifted(imu, float(by_s)), path)
        errors_s.append(np.inf if found.offset_s is None else abs(found.offset_s + by_s - began.offset_s))
    strangers = [sync(replace(f.imu, name=imu.name), path, max_offset_s=8) for f in films]
    return {
        "as_it_lies": align_camera(imu, picture, max_offset_s=8).to_json(),
        "stabilisation_undone": began.to_json(),
        "shifts": len(errors_s),
        "largest_error_ms": round(float(max(errors_s)) * 1e3, 3) if np.isfinite(errors_s).all() else None,
        "false_pairs": len(strangers),
        "false_accepted": sum(found.accepted for found in strangers),
    }


def unsteadied(path: Path, films: list[Film], folder: Path) -> dict[str, Any]:
    """The sample with its steadying turned back, as a plain film: its gyro on other clocks, cut, with gaps and noise.
    What the untouched gyro says is the camera's own constant, which the others are held against."""
    (imu,) = read(path).imus
    rng = np.random.default_rng(0)
    motions = {}
    for crf in (18, 40):
        unsteady(path, folder / "seen.mp4", crf=crf)
        motions[crf] = image_motion(folder / "seen.mp4")
    picture = motions[18]
    began = align_camera(imu, picture, max_offset_s=8)
    if began.offset_s is None:
        return {"accepted": False, "reason": began.reason, "alignment": began.to_json()}
    own_s = began.offset_s
    middle_s = float(picture.t_s[[0, -1]].mean())
    tried: dict[str, list[tuple[float, Alignment]]] = {}

    def ask(what: str, known_s: float, sensor: Imu, seen: ImageMotion = picture) -> None:
        tried.setdefault(what, []).append((known_s, align_camera(sensor, seen, max_offset_s=8)))

    ask("re-encoded, crf 40", own_s, imu, motions[40])
    for by_s in rng.uniform(-7, 7, 8):
        ask("shifted", own_s - by_s, shifted(imu, float(by_s)))
        holes = rng.uniform(imu.start_s, imu.end_s, 3)
        kept = (np.abs(imu.gyro_t_s[:, None] - holes) > 0.2).all(axis=1)
        with_gaps = replace(imu, gyro_t_s=imu.gyro_t_s[kept], gyro_rps=imu.gyro_rps[kept])
        ask("three gaps of 0.4 s", own_s - by_s, shifted(with_gaps, float(by_s)))
        noise = rng.normal(scale=0.05, size=imu.gyro_rps.shape).astype(np.float32)
        ask("noise of 0.05 rad/s", own_s - by_s, shifted(replace(imu, gyro_rps=imu.gyro_rps + noise), float(by_s)))
        first_s = float(rng.uniform(0, 2))
        cut = imu.crop(Span(first_s, first_s + 8))
        ask("both cut to 8 s", own_s - by_s, shifted(cut, float(by_s)), part(picture, first_s, first_s + 8))
    for ppm in (-1000, -500, -200, 200, 500, 1000):
        slow = 1 + ppm * 1e-6
        sensor = replace(imu, acc_t_s=imu.acc_t_s / slow, gyro_t_s=imu.gyro_t_s / slow)
        ask("drift of 200 to 1000 ppm", own_s + middle_s * (1 - 1 / slow), sensor)
    rows = {what: summary(answers, []) for what, answers in tried.items()}
    true, false = [], []
    for start_s in np.linspace(0, picture.duration_s - 5.1, 14):
        seen, by_s = part(picture, start_s, start_s + 5), float(rng.uniform(-7, 7))
        true.append((own_s - by_s, align_camera(shifted(imu, by_s), seen, max_offset_s=8)))
        false += [align_camera(shifted(f.imu, by_s - 7), seen, max_offset_s=8) for f in films]
    whole = [align_camera(shifted(f.imu, -6), picture, max_offset_s=8) for f in films]
    return {
        "untouched": began.to_json(),
        **rows,
        "5 s of it": summary(true, false),
        "all of it, other gyros": {"false_pairs": len(whole), "false_accepted": sum(a.accepted for a in whole)},
    }


def timed(held: Film) -> dict[str, Any]:
    picture = part(held.picture, 6, 16)
    began = time.perf_counter()
    for _ in range(5):
        align_camera(held.imu, picture, max_offset_s=8)
    return {"align_10_s_over_16_s_of_lags_s": round((time.perf_counter() - began) / 5, 3)}


def sections(sample: Path, count: int, folder: Path) -> dict[str, Callable[[], Any]]:
    @cache
    def films() -> list[Film]:
        return [film(seed, folder) for seed in range(count)]

    found: dict[str, Callable[[], Any]] = {
        "whole": lambda: {f"{s:g} s": pairs(films(), s, whole=True) for s in (3, 5, 10, 20)},
        "same_length": lambda: {f"{s:g} s": pairs(films(), s, whole=False) for s in (5, 10, 20)},
        "harder": lambda: list(harder(folder)),
        "drift": lambda: [row for seconds in (24.0, 60.0, 120.0) for row in drifts(seconds, folder)],
        "speed": lambda: timed(film(0, folder)),
    }
    if sample.is_file():
        found["gopro"] = lambda: gopro(sample, films())
        found["gopro_unsteadied"] = lambda: unsteadied(sample, films(), folder)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, default=16)
    parser.add_argument("--only", action="append", help="Only this section of the results; repeat for several.")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "camera_sync.json")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    sample = DATA / "gopro" / "max-heromode.mp4"
    # Sections of an earlier run stay: a run that was cut off goes on with --only.
    kept = json.loads(given.out.read_text()) if given.only and given.out.is_file() else {}
    result = {**kept, "machine": machine(), "opencv": cv2.__version__, "films": given.films}
    given.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        for what, section in sections(sample, given.films, Path(name)).items():
            if not given.only or what in given.only:
                result[what] = section()
                given.out.write_text(json.dumps(result, indent=1) + "\n")
                print(what, json.dumps(result[what]), flush=True)
    print(given.out)


if __name__ == "__main__":
    main()
