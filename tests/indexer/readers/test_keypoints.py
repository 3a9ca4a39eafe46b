from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from motionseek.errors import DamagedFile, UnknownFormat, UsageError
from motionseek.indexer.readers.keypoints import read_poses

SIZE = (640, 480)


def body(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.c_[rng.uniform(0, 600, 17), rng.uniform(0, 400, 17), rng.uniform(0.1, 1, 17)]


def dump(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value))
    return path


def test_several_people_become_tracks(tmp_path: Path) -> None:
    frames = [
        {"t_s": 0.0, "persons": [{"id": "a", "keypoints": body(1).tolist()}]},
        {
            "t_s": 0.5,
            "persons": [{"id": 2, "keypoints": body(2).ravel().tolist()}, {"id": "a", "keypoints": body(3).tolist()}],
        },
        {"t_s": 1.0, "persons": []},
    ]
    path = dump(tmp_path / "p.json", {"image_size": SIZE, "frames": frames})
    (two, a), problems = read_poses(path)
    assert problems == ()
    assert (two.person, a.person) == ("2", "a")
    np.testing.assert_allclose(a.t_s, [0, 0.5])
    np.testing.assert_allclose(a.xy_px, np.stack([body(1), body(3)])[..., :2], rtol=1e-6)
    np.testing.assert_allclose(two.confidence[0], body(2)[:, 2], rtol=1e-6)
    assert read_poses(path, person="a")[0][0].person == "a"
    with pytest.raises(DamagedFile, match="'b'"):
        read_poses(path, person="b")


def test_unseen_joints_are_nan(tmp_path: Path) -> None:
    points: list[Any] = body(1).tolist()
    points[3], points[5] = [0, 0, 0], [None, None, None]
    path = dump(tmp_path / "p.json", {"image_size": SIZE, "frames": [{"t_s": 0, "persons": [{"keypoints": points}]}]})
    (track,), _ = read_poses(path)
    assert np.isnan(track.xy_px[0, [3, 5]]).all()
    assert (track.confidence[0, [3, 5]] == 0).all()
    assert np.isfinite(np.delete(track.xy_px[0], [3, 5], axis=0)).all()


def test_coco_results(tmp_path: Path) -> None:
    results = [
        {"image_id": 4, "keypoints": body(1).ravel().tolist(), "score": 0.5},
        {"image_id": 4, "keypoints": body(2).ravel().tolist(), "score": 0.9},
        {"image_id": 2, "keypoints": body(3).ravel().tolist(), "score": 0.1},
    ]
    path = dump(tmp_path / "coco.json", results)
    (track,), _ = read_poses(path, image_size=SIZE, rate_hz=20)
    np.testing.assert_allclose(track.t_s, [0.1, 0.2])
    np.testing.assert_allclose(track.xy_px[1], body(2)[:, :2], rtol=1e-6)
    (track,), _ = read_poses(path, image_size=SIZE, frame_times_s=np.array([1.0, 1.1, 1.5, 1.6, 1.9]))
    np.testing.assert_allclose(track.t_s, [0.5, 0.9])
    with pytest.raises(DamagedFile, match="frame 4"):
        read_poses(path, image_size=SIZE, frame_times_s=np.array([0.0, 1.0]))
    with pytest.raises(DamagedFile, match="rate_hz"):
        read_poses(path, image_size=SIZE)
    with pytest.raises(DamagedFile, match="image_size"):
        read_poses(path, rate_hz=20)


def test_tracks_of_coco_results(tmp_path: Path) -> None:
    results = [{"image_id": i, "keypoints": body(i).ravel().tolist(), "track_id": i % 2} for i in range(6)]
    tracks, _ = read_poses(dump(tmp_path / "coco.json", results), image_size=SIZE, rate_hz=10)
    assert [(t.person, t.t_s.tolist()) for t in tracks] == [("0", [0.0, 0.2, 0.4]), ("1", [0.1, 0.3, 0.5])]


@pytest.mark.parametrize("channels", [2, 3])
def test_npy(tmp_path: Path, channels: int) -> None:
    bodies = np.stack([body(i) for i in range(8)])[..., :channels]
    np.save(tmp_path / "p.npy", bodies)
    (track,), _ = read_poses(tmp_path / "p.npy", image_size=SIZE, rate_hz=25, person="x")
    np.testing.assert_allclose(track.t_s, np.arange(8) / 25)
    np.testing.assert_allclose(track.xy_px, bodies[..., :2], rtol=1e-6)
    np.testing.assert_allclose(track.confidence, bodies[..., 2] if channels == 3 else 1, rtol=1e-6)


def test_times_are_sorted_and_repeats_said(tmp_path: Path) -> None:
    frames = [
        {"t_s": t, "persons": [{"keypoints": body(i).tolist()}]} for i, t in enumerate([0.2, 0.1, 0.1, float("nan")])
    ]
    (track,), problems = read_poses(dump(tmp_path / "p.json", {"image_size": SIZE, "frames": frames}))
    np.testing.assert_allclose(track.t_s, [0.1, 0.2])
    np.testing.assert_allclose(track.xy_px[1], body(0)[:, :2], rtol=1e-6)
    assert "without a time" in problems[0]
    assert "repeated" in problems[1]


BAD: dict[str, Any] = {
    "no frames": {"image_size": SIZE},
    "frames of numbers": {"image_size": SIZE, "frames": [1, 2]},
    "no persons": {"image_size": SIZE, "frames": [{"t_s": 0}]},
    "nobody": {"image_size": SIZE, "frames": [{"t_s": 0, "persons": []}]},
    "words": {"image_size": SIZE, "frames": [{"t_s": "now", "persons": [{"keypoints": []}]}]},
    "sixteen joints": {"image_size": SIZE, "frames": [{"t_s": 0, "persons": [{"keypoints": body(0)[:16].tolist()}]}]},
    "size of words": {"image_size": "big", "frames": [{"t_s": 0, "persons": [{"keypoints": body(0).tolist()}]}]},
    "coco without frame": [{"keypoints": body(0).ravel().tolist()}],
    "coco of text": ["a"],
    "no results": [],
    "number": 7,
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_refused_by_name(tmp_path: Path, case: str) -> None:
    path = dump(tmp_path / "bad.json", BAD[case])
    with pytest.raises(DamagedFile, match=r"bad\.json"):
        read_poses(path, rate_hz=30, image_size=None if isinstance(BAD[case], dict) else SIZE)


def test_other_bad_input(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPYjunk")
    (tmp_path / "b.npy").write_bytes(b"")
    np.save(tmp_path / "c.npy", np.zeros((3, 16, 3)))
    np.save(tmp_path / "d.npy", np.zeros((0, 17, 3)))
    for name in ("a.npy", "b.npy", "c.npy", "d.npy", "none.npy", "none.json"):
        with pytest.raises(DamagedFile, match=name):
            read_poses(tmp_path / name, image_size=SIZE, rate_hz=30)
    with pytest.raises(UnknownFormat, match="csv"):
        read_poses(tmp_path / "pose.csv")
    for rate_hz in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="rate_hz"):
            read_poses(tmp_path / "c.npy", rate_hz=rate_hz)


@pytest.mark.parametrize("first", [0, 1])
def test_mmpose(tmp_path: Path, first: int) -> None:
    def instance(seed: int, **more: Any) -> dict[str, Any]:
        return {"keypoints": body(seed)[:, :2].tolist(), "keypoint_scores": body(seed)[:, 2].tolist(), **more}

    weak = instance(1) | {"keypoint_scores": [0.01] * 17}
    frames: list[dict[str, Any]] = [
        {"frame_id": first, "instances": []},
        {"frame_id": first + 1, "instances": [weak, instance(2)]},
        {"frame_id": first + 3, "instances": [instance(3)]},
    ]
    path = dump(tmp_path / "mmpose.json", {"meta_info": {}, "instance_info": frames})
    (track,), problems = read_poses(path, image_size=SIZE, rate_hz=10)
    assert problems == ()
    np.testing.assert_allclose(track.t_s, [0.1, 0.3])
    np.testing.assert_allclose(track.xy_px, np.stack([body(2), body(3)])[..., :2], rtol=1e-6)
    np.testing.assert_allclose(track.confidence[1], body(3)[:, 2], rtol=1e-6)
    frames[1]["instances"] = [instance(1, track_id=7), instance(2, track_id=8)]
    tracks, _ = read_poses(dump(path, {"instance_info": frames}), image_size=SIZE, rate_hz=10)
    assert [t.person for t in tracks] == ["0", "7", "8"]
    for bad in ([{"frame_id": 5, "instances": []}], [{"instances": []}], [{"frame_id": 1, "instances": [{}]}], 3):
        with pytest.raises(DamagedFile, match="MMPose"):
            read_poses(dump(path, {"instance_info": bad}), image_size=SIZE, rate_hz=10)
