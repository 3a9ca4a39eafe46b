"""The demo's recordings, made on the spot from the carried motions: film, keypoints, five worn sensors, narrations.

One folder a recording, with a `recording.json` that names its files, as the manifest reader wants them. A third of
them have their sensors' clock shifted against the film's by an amount kept under "truth", which readers ignore. Beside
them lies the GoPro clip, which is real.
"""

from __future__ import annotations

import json
import os
import shutil
import tomllib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from motionseek.demo.film import Scene, write_film
from motionseek.encoders.simulate.camera import view
from motionseek.encoders.simulate.motion import Motion
from motionseek.encoders.simulate.packed import read_packed
from motionseek.encoders.simulate.sensors import virtual_imu
from motionseek.types import Imu, Narration, PoseTrack, Span

SAMPLES = Path(__file__).parent / "samples"
GOPRO_CLIP = "max-heromode.mp4"
PLACEMENTS = ("left_wrist", "right_wrist", "left_knee", "right_knee", "head")
IMU_COLUMNS = ("t_s", "ax_mps2", "ay_mps2", "az_mps2", "gx_rps", "gy_rps", "gz_rps")
VIDEO_RATE_HZ = 30.0
IMU_RATE_HZ = 100.0
IMAGE_SIZE = (320, 240)
_SEED = 20250611
_SOURCES = {
    "cmu": "CMU Graphics Lab Motion Capture Database, mocap.cs.cmu.edu",
    "deepmimic": "DeepMimic, github.com/xbpeng/DeepMimic (MIT)",
}


@dataclass(frozen=True)
class Clip:
    """A carried motion and what it shows."""

    name: str
    motion: Motion
    labels: tuple[str, ...]
    says: tuple[Narration, ...]
    azimuth_deg: float
    clock_shifted: bool


def load_clips() -> list[Clip]:
    """The carried motions with their descriptions, in the order of clips.toml."""
    motions = {motion.name: motion for motion in read_packed(SAMPLES / "mocap.npz")}
    clips = []
    for entry in tomllib.loads((SAMPLES / "clips.toml").read_text(encoding="utf-8"))["clip"]:
        motion = motions[entry["motion"]]
        motion = motion.crop(round(entry.get("from_s", 0.0) * motion.rate_hz), len(motion.position_m))
        says: str | list[tuple[float, float, str]] = entry["says"]
        spans = [(0.0, motion.duration_s, says)] if isinstance(says, str) else says
        narrations = tuple(Narration(start, min(end, motion.duration_s), text) for start, end, text in spans)
        shifted = entry.get("clock_shifted", False)
        clips.append(Clip(entry["name"], motion, tuple(entry["labels"]), narrations, entry["azimuth_deg"], shifted))
    return clips


def make_recordings(
    folder: str | Path, *, progress: Callable[[int, int, str], None] | None = None, names: Sequence[str] | None = None
) -> list[Path]:
    """Write the demo's recordings below `folder`, the same ones every time; what was there by their names is replaced.

    progress: called with (done, total, name).   names: only these clips; all, and the GoPro clip, by default. Returns
    what to index: a manifest a recording, and the GoPro's mp4.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    clips = list(enumerate(load_clips()))
    chosen = [(i, clip) for i, clip in clips if names is None or clip.name in names]
    paths: list[Path] = []
    # Drawing and encoding let go of the interpreter's lock for most of their time.
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        for path in pool.map(lambda pair: _make_recording(folder, *pair), chosen):
            paths.append(path)
            if progress:
                progress(len(paths), len(chosen), path.parent.name)
    if names is None:
        shutil.copyfile(SAMPLES / GOPRO_CLIP, folder / GOPRO_CLIP)
        paths.append(folder / GOPRO_CLIP)
    return paths


def _make_recording(folder: Path, index: int, clip: Clip) -> Path:
    """Write one recording; the same for the same index and clip, whichever others are made."""
    rng = np.random.default_rng([_SEED, index])
    home = folder / clip.name
    home.mkdir(exist_ok=True)
    scene = Scene.around(clip.motion.resample(VIDEO_RATE_HZ), clip.azimuth_deg, image_size=IMAGE_SIZE)
    write_film(home / "video.mp4", scene)
    write_pose(home / "pose.json", view(scene.motion, scene.camera, rng=rng, noise_px=0.8, drop=0.02))

    offset_s = float(np.round(rng.uniform(0.6, 4.0) * rng.choice([-1, 1]), 3)) if clip.clock_shifted else 0.0
    worn = [
        virtual_imu(clip.motion, placement, rng=rng, mounting_deg=15.0, start_s=-offset_s, rate_hz=IMU_RATE_HZ)
        for placement in PLACEMENTS
    ]
    if offset_s and clip.motion.duration_s > 8.0:
        # Sensors that start and stop with the film would give the offset away.
        first, last = rng.uniform(0.2, 1.0, size=2)
        worn = [imu.crop(Span(imu.start_s + first, imu.end_s - last)) for imu in worn]
    for imu in worn:
        write_imu(home / f"imu_{imu.placement}.csv", imu)

    manifest = {
        "title": clip.name.replace("_", " "),
        "source": f"{_SOURCES[clip.motion.source]}, clip {clip.motion.name}",
        "simulated": ["imu", "pose", "video"],
        "labels": list(clip.labels),
        "video": {"path": "video.mp4"},
        "imu": [{"path": f"imu_{p}.csv", "placement": p, "person": "0"} for p in PLACEMENTS],
        "pose": [{"path": "pose.json", "person": "0", "image_size": list(IMAGE_SIZE), "rate_hz": VIDEO_RATE_HZ}],
        "narrations": [{"start_s": n.start_s, "end_s": round(n.end_s, 3), "text": n.text} for n in clip.says],
        "truth": {"imu_offset_s": offset_s},
    }
    _write_json(home / "recording.json", manifest, indent=1)
    return home / "recording.json"


def write_imu(path: Path, imu: Imu) -> None:
    """A plain IMU csv of a sensor whose accelerometer and gyroscope share their samples."""
    values = np.column_stack([imu.acc_t_s, imu.acc_mps2, imu.gyro_rps]).astype(np.float64)
    table = pa.table({name: np.round(column, 5) for name, column in zip(IMU_COLUMNS, values.T, strict=True)})
    with path.open("wb") as file:
        file.write((",".join(IMU_COLUMNS) + "\n").encode())
        pa_csv.write_csv(table, file, pa_csv.WriteOptions(include_header=False))


def write_pose(path: Path, track: PoseTrack) -> None:
    """COCO keypoints per frame; an unseen one is 0, 0, 0."""
    keypoints = np.concatenate([track.xy_px, track.confidence[..., None]], axis=-1).astype(np.float64)
    rows = np.round(np.nan_to_num(keypoints), 2).reshape(len(keypoints), -1).tolist()
    frames = [
        {"t_s": round(t_s, 5), "persons": [{"id": track.person, "keypoints": row}]}
        for t_s, row in zip(track.t_s.tolist(), rows, strict=True)
    ]
    _write_json(path, {"image_size": list(track.image_size), "frames": frames})


def _write_json(path: Path, content: Mapping[str, Any], indent: int | None = None) -> None:
    separators = None if indent else (",", ":")
    path.write_text(json.dumps(content, indent=indent, separators=separators, ensure_ascii=False), encoding="utf-8")
