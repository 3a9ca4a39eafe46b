"""The demo's recordings, read back by independent means: decoded film, csv as text, geometry by hand."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import av
import numpy as np
import pytest

from motionseek.demo.film import LEFT
from motionseek.demo.recordings import IMAGE_SIZE, PLACEMENTS, SAMPLES, load_clips, make_recordings
from motionseek.encoders.simulate.motion import JOINTS
from motionseek.types import COCO17, PART_OF_PLACEMENT

NAMES = ("jump", "walk_a", "scoop_up")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    paths = make_recordings(tmp_path_factory.mktemp("recordings"), names=NAMES)
    return {path.parent.name: path.parent for path in paths}


def manifest(folder: Path) -> dict:
    return json.loads((folder / "recording.json").read_text())


def film(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    with av.open(str(folder / "video.mp4")) as container:
        frames = list(container.decode(video=0))
    return np.array([f.time for f in frames]), np.stack([f.to_ndarray(format="rgb24") for f in frames])


def sensor(folder: Path, placement: str) -> np.ndarray:
    with (folder / f"imu_{placement}.csv").open() as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["t_s", "ax_mps2", "ay_mps2", "az_mps2", "gx_rps", "gy_rps", "gz_rps"]
    return np.array(rows[1:], dtype=float)


def keypoints(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    frames = json.loads((folder / "pose.json").read_text())["frames"]
    points = np.array([f["persons"][0]["keypoints"] for f in frames]).reshape(-1, 17, 3)
    return np.array([f["t_s"] for f in frames]), np.where(points[..., 2:] > 0, points[..., :2], np.nan)


def test_the_carried_samples_are_small_and_every_motion_is_described() -> None:
    assert sum(path.stat().st_size for path in SAMPLES.iterdir()) < 6.2e6
    clips = load_clips()
    assert len(clips) >= 20
    assert len({clip.name for clip in clips}) == len(clips)
    for clip in clips:
        assert clip.labels
        assert clip.says
        assert all(0 <= n.start_s < n.end_s <= clip.motion.duration_s + 1e-6 for n in clip.says)
        assert clip.motion.position_m.shape[1] == len(JOINTS)


def test_the_manifest_names_files_that_exist_and_says_what_is_simulated(made: dict[str, Path]) -> None:
    for folder in made.values():
        content = manifest(folder)
        named = [content["video"]["path"], *(e["path"] for e in content["imu"] + content["pose"])]
        assert sorted([*named, "recording.json"]) == sorted(path.name for path in folder.iterdir())
        assert [e["placement"] for e in content["imu"]] == list(PLACEMENTS)
        assert all(e["placement"] in PART_OF_PLACEMENT for e in content["imu"])
        assert set(content["simulated"]) == {"imu", "pose", "video"}


def test_film_and_keypoints_share_frames_and_show_the_same_person(made: dict[str, Path]) -> None:
    film_s, pictures = film(made["jump"])
    pose_s, points = keypoints(made["jump"])
    assert film_s == pytest.approx(pose_s, abs=1e-3)
    assert np.diff(film_s) == pytest.approx(np.full(len(film_s) - 1, 1 / 30), abs=1e-3)
    assert pictures.shape[1:] == (IMAGE_SIZE[1], IMAGE_SIZE[0], 3)
    # The camera stands on the person's left: left limbs are never hidden, and painted in their colour.
    assert LEFT[2] > LEFT[0] + 100
    for a, b in (("hip", "knee"), ("knee", "ankle"), ("elbow", "wrist")):
        middle = (points[:, COCO17.index(f"left_{a}")] + points[:, COCO17.index(f"left_{b}")]) / 2
        frames = np.flatnonzero(np.isfinite(middle).all(axis=1))
        x, y = np.rint(middle[frames]).astype(int).T
        red, _, blue = pictures[frames, y, x].astype(int).T
        assert len(frames) > 0.9 * len(pictures)
        assert np.mean(blue - red > 50) > 0.95


def smooth(x: np.ndarray) -> np.ndarray:
    return np.convolve(np.pad(x, 4, "edge"), np.hanning(11)[1:-1] / np.hanning(11).sum(), "valid")


def best_shift(pose_s: np.ndarray, seen: np.ndarray, felt_s: np.ndarray, felt: np.ndarray) -> tuple[float, float]:
    """The shift in s, within 0.6, at which two signals of one clock correlate best, and that correlation."""

    def fit(shift_s: float) -> float:
        inside = (pose_s > felt_s[0] + shift_s) & (pose_s < felt_s[-1] + shift_s)
        return float(np.corrcoef(np.interp(pose_s[inside] - shift_s, felt_s, felt), seen[inside])[0, 1])

    score, shift_s = max((fit(s), s) for s in np.arange(-0.6, 0.61, 0.05))
    return float(shift_s), score


def test_sensors_feel_the_jumps_that_the_film_shows(made: dict[str, Path]) -> None:
    assert manifest(made["jump"])["truth"] == {"imu_offset_s": 0.0}
    head = sensor(made["jump"], "head")
    pose_s, points = keypoints(made["jump"])
    height = -np.nanmean([points[:, COCO17.index(n), 1] for n in ("nose", "left_ear", "right_ear")], axis=0)
    upward = np.gradient(np.gradient(smooth(height), pose_s), pose_s)
    shift_s, score = best_shift(pose_s, upward, head[:, 0], np.linalg.norm(head[:, 1:4], axis=1))
    assert abs(shift_s) < 0.06
    assert score > 0.6


def test_a_shifted_clock_comes_right_with_the_offset_that_the_manifest_keeps(made: dict[str, Path]) -> None:
    offset_s = manifest(made["scoop_up"])["truth"]["imu_offset_s"]
    assert 0.6 <= abs(offset_s) <= 4.0
    wrist = sensor(made["scoop_up"], "right_wrist")
    felt_s = wrist[:, 0] + offset_s
    pose_s, points = keypoints(made["scoop_up"])
    assert pose_s[0] + 0.1 < felt_s[0] < felt_s[-1] < pose_s[-1] - 0.1
    forearm = points[:, COCO17.index("right_wrist")] - points[:, COCO17.index("right_elbow")]
    seen = np.isfinite(forearm[:, 0])
    path = [smooth(np.interp(pose_s, pose_s[seen], axis[seen])) for axis in forearm.T]
    speed = np.linalg.norm(np.gradient(path, pose_s, axis=1), axis=0)
    shift_s, score = best_shift(pose_s, speed, felt_s, np.linalg.norm(wrist[:, 4:], axis=1))
    assert abs(shift_s) < 0.06
    assert score > 0.5


def test_a_worn_sensor_reads_about_gravity_on_average(made: dict[str, Path]) -> None:
    for placement in PLACEMENTS:
        values = sensor(made["walk_a"], placement)
        assert np.diff(values[:, 0]) == pytest.approx(np.full(len(values) - 1, 0.01), abs=1e-4)
        assert 8.5 < np.linalg.norm(values[:, 1:4], axis=1).mean() < 14


def test_the_same_recordings_come_out_every_time(made: dict[str, Path], tmp_path: Path) -> None:
    make_recordings(tmp_path, names=["walk_a"])
    for path in made["walk_a"].iterdir():
        assert (tmp_path / "walk_a" / path.name).read_bytes() == path.read_bytes(), path.name
