"""A camera's own IMU against its picture: offsets that are known, other cameras' gyros, drift, and how fast it is.

    python benchmarks/camera_sync.py [--films 16] [--out benchmarks/results/camera_sync.json]

Films are rendered from random head motion (240 x 136, H.264): a texture at infinity turned by exactly what the gyro
feels, with parallax and noise. True pairs are stretches of a film and its own gyro, shifted by up to 7 s; false pairs
have another film's gyro; all are searched over 8 s either way. "whole" is a gyro that goes beyond the stretch at both
ends, "same length" one that was cut with it. With $MOTIONSEEK_DATA the GoPro sample is shifted and cut likewise.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

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
    right, wrong = (np.array([a.confidence for a in side]) for side in ([a for _, a in true], false))
    ties = (right[:, None] == wrong).mean() / 2
    return {
        "true_pairs": len(true),
        "accepted": len(errors_s),
        "median_error_ms": round(float(np.median(errors_s)) * 1e3, 2),
        "largest_error_ms": round(float(errors_s.max()) * 1e3, 2),
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
            for other in rng.choice(others, min(4, len(others)), replace=False):
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


def timed(films: list[Film]) -> dict[str, Any]:
    picture = part(films[0].picture, 6, 16)
    began = time.perf_counter()
    for _ in range(5):
        align_camera(films[0].imu, picture, max_offset_s=8)
    return {"align_10_s_over_16_s_of_lags_s": round((time.perf_counter() - began) / 5, 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, default=16)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "camera_sync.json")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    data = Path(os.environ.get("MOTIONSEEK_DATA") or Path(__file__).parents[2] / "shared" / "data")
    sample = data / "gopro" / "max-heromode.mp4"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        films = [film(seed, folder) for seed in range(given.films)]
        result = {
            "machine": {"processor": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()},
            "opencv": cv2.__version__,
            "films": given.films,
            "whole": {f"{s:g} s": pairs(films, s, whole=True) for s in (3, 5, 10, 20)},
            "same_length": {f"{s:g} s": pairs(films, s, whole=False) for s in (5, 10, 20)},
            "harder": list(harder(folder)),
            "drift": [row for seconds in (24.0, 60.0, 120.0) for row in drifts(seconds, folder)],
            "gopro": gopro(sample, films) if sample.is_file() else None,
            "speed": timed(films),
        }
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(result, indent=1) + "\n")
    print(given.out)


if __name__ == "__main__":
    main()
