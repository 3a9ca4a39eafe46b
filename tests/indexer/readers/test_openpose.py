from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from archives import film, openpose

from motionseek.errors import DamagedFile
from motionseek.indexer.readers import content_id, discover, read
from motionseek.indexer.readers.keypoints import read_poses
from motionseek.types import COCO17

BODY_25 = (
    *("nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist"),
    *("mid_hip", "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle"),
    *("right_eye", "left_eye", "right_ear", "left_ear", "left_big_toe", "left_small_toe", "left_heel"),
    *("right_big_toe", "right_small_toe", "right_heel"),
)
COCO_18 = (
    *("nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist"),
    *("right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle"),
    *("right_eye", "left_eye", "right_ear", "left_ear"),
)


def body(names: tuple[str, ...], frame: int = 0) -> np.ndarray:
    """(J, 3): each joint where its name says, the same whatever the order of the joints."""
    place = {name: (10 + 2 * i, 40 - i + frame % 5) for i, name in enumerate(sorted(set(BODY_25)))}
    return np.array([(*place[name], 0.9) for name in names])


@pytest.mark.parametrize("names", [BODY_25, COCO_18])
def test_joints_come_in_the_order_of_coco(tmp_path: Path, names: tuple[str, ...]) -> None:
    film(tmp_path / "walk.mp4", 2.0)
    openpose(tmp_path / "keypoints", "walk", [body(names, i) for i in range(20)])
    (source,) = discover([tmp_path])
    assert source.format == "openpose"
    assert Path(source.path).name == "walk_000000000000_keypoints.json"
    recording = read(source)
    assert recording.recording_id == content_id(source)
    assert recording.problems == ()
    (track,) = recording.poses
    assert track.image_size == (64, 48)
    np.testing.assert_allclose(track.t_s, np.arange(20) / 10, atol=1e-6)
    want = np.stack([body(COCO17, i) for i in range(20)])
    np.testing.assert_allclose(track.xy_px, want[..., :2], rtol=1e-6)
    np.testing.assert_allclose(track.confidence, 0.9, rtol=1e-6)
    assert recording.video is not None


def test_frames_without_a_body_are_a_gap_and_the_surest_body_counts(tmp_path: Path) -> None:
    film(tmp_path / "walk.mp4", 1.0)
    bodies = [body(BODY_25, i) for i in range(10)]
    first = openpose(tmp_path, "walk", [b if i not in (4, 5) else None for i, b in enumerate(bodies)])
    crowd = json.loads(first.read_text())
    crowd["people"].insert(0, {"pose_keypoints_2d": (bodies[0] * [1, 1, 0.2] + [5, 5, 0]).reshape(-1).tolist()})
    first.write_text(json.dumps(crowd))
    (track,) = read(first).poses
    np.testing.assert_allclose(track.t_s, [0, 0.1, 0.2, 0.3, 0.6, 0.7, 0.8, 0.9], atol=1e-6)
    np.testing.assert_allclose(track.xy_px[0], body(COCO17)[:, :2])


def test_coordinates_from_0_to_1_are_scaled_to_the_picture(tmp_path: Path) -> None:
    first = openpose(tmp_path, "walk", [body(BODY_25) / [64, 48, 1]] * 3)
    (track,), _ = read_poses(first, image_size=(64, 48), rate_hz=25)
    np.testing.assert_allclose(track.xy_px[0], body(COCO17)[:, :2], rtol=1e-5)
    np.testing.assert_allclose(track.t_s, [0, 0.04, 0.08])


def test_damaged_frames_are_left_out_and_said(tmp_path: Path) -> None:
    first = openpose(tmp_path, "walk", [body(BODY_25, i) for i in range(6)])
    (tmp_path / "walk_000000000002_keypoints.json").write_text('{"people": [{"pose_keyp')
    (tmp_path / "walk_000000000004_keypoints.json").write_text('{"people": [{"pose_keypoints_2d": [1, 2, 3]}]}')
    (track,), said = read_poses(first, image_size=(64, 48), rate_hz=10)
    np.testing.assert_allclose(track.t_s, [0, 0.1, 0.3, 0.5])
    assert len(said) == 1
    assert said[0].startswith("2 frames cannot be read, the first: walk_000000000002")
    for file in tmp_path.glob("*.json"):
        file.write_text("junk")
    with pytest.raises(DamagedFile, match="none of 6 frames"):
        read_poses(first, image_size=(64, 48), rate_hz=10)


def test_without_the_video_it_says_what_is_missing(tmp_path: Path) -> None:
    first = openpose(tmp_path, "walk", [body(BODY_25)])
    with pytest.raises(DamagedFile, match=r"put the video beside them.*recording.json"):
        read(first)
    (tmp_path / "recording.json").write_text(
        json.dumps({"pose": [{"path": first.name, "image_size": [64, 48], "rate_hz": 10}]})
    )
    assert len(read(tmp_path).poses) == 1
