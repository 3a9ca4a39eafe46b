from __future__ import annotations

import json
import os
import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from motionseek.errors import DamagedFile
from motionseek.indexer.readers import content_id, read

HEADER = "t_s,ax_mps2,ay_mps2,az_mps2,gx_rps,gy_rps,gz_rps"
KEYPOINTS = np.c_[np.arange(34).reshape(17, 2) + 5.0, np.full(17, 0.9)]


def write_imu(path: Path, seed: int = 0) -> Path:
    rng = np.random.default_rng(seed)
    table = np.c_[
        np.arange(250) / 50, rng.normal(0, 0.3, (250, 3)) + np.array([0, 9.81, 0]), rng.normal(0, 1, (250, 3))
    ]
    np.savetxt(path, table, delimiter=",", header=HEADER, comments="")
    return path


def write_video(path: Path, frames: int = 50) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 3 * number, np.uint8), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def pose_json(persons: tuple[str, ...] = ("0",), frames: int = 20) -> dict[str, Any]:
    each = [{"id": p, "keypoints": (KEYPOINTS + i).tolist()} for i, p in enumerate(persons)]
    return {"image_size": [64, 48], "frames": [{"t_s": i / 10, "persons": each} for i in range(frames)]}


def make(folder: Path, **changes: Any) -> Path:
    folder.mkdir()
    write_imu(folder / "watch.csv")
    write_imu(folder / "phone.csv", 1)
    write_video(folder / "video.mp4")
    (folder / "pose.json").write_text(json.dumps(pose_json()))
    manifest: dict[str, Any] = {
        "video": {"path": "video.mp4"},
        "imu": [
            {"path": "watch.csv", "placement": "left_wrist", "person": "0"},
            {"path": "phone.csv", "placement": "right_pocket", "person": "0"},
        ],
        "pose": [{"path": "pose.json", "person": "ann"}],
        "narrations": [{"start_s": 0.0, "end_s": 5.0, "text": "she jumps"}],
        "labels": ["jumping"],
        "title": "A jump",
        "source": "made",
        "simulated": ["imu", "pose"],
        "truth": {"offset_s": 1.5},
    }
    manifest.update(changes)
    (folder / "recording.json").write_text(json.dumps({k: v for k, v in manifest.items() if v is not None}))
    return folder


def test_reads_all_streams(tmp_path: Path) -> None:
    recording = read(make(tmp_path / "rec"))
    assert recording.problems == ()
    assert recording.source_format == "manifest"
    assert recording.uri == str(tmp_path / "rec")
    assert [(i.placement, i.person, len(i.acc_t_s)) for i in recording.imus] == [
        ("left_wrist", "0", 250),
        ("right_pocket", "0", 250),
    ]
    assert recording.video is not None
    assert recording.video.size == (64, 48)
    assert recording.video.duration_s == pytest.approx(5.0)
    (track,) = recording.poses
    assert (track.person, track.image_size, len(track.t_s)) == ("ann", (64, 48), 20)
    np.testing.assert_allclose(track.xy_px[3], KEYPOINTS[:, :2])
    assert [(n.start_s, n.end_s, n.text) for n in recording.narrations] == [(0.0, 5.0, "she jumps")]
    assert recording.labels == ("jumping",)
    assert recording.extra == {
        "title": "A jump",
        "source": "made",
        "simulated": ["imu", "pose"],
        "truth": {"offset_s": 1.5},
    }


def test_the_manifest_itself_names_the_recording_too(tmp_path: Path) -> None:
    folder = make(tmp_path / "rec")
    assert read(folder / "recording.json").recording_id == read(folder).recording_id


def test_the_id_follows_the_content_not_the_place(tmp_path: Path) -> None:
    folder = make(tmp_path / "rec")
    before = content_id(folder)
    assert read(folder).recording_id == before
    shutil.copytree(folder, tmp_path / "copy ü")
    folder.rename(tmp_path / "moved")
    assert content_id(tmp_path / "copy ü") == content_id(tmp_path / "moved") == before
    write_imu(tmp_path / "moved" / "watch.csv", seed=7)
    assert content_id(tmp_path / "moved") != before
    (tmp_path / "copy ü" / "unrelated.txt").write_text("x")
    assert content_id(tmp_path / "copy ü") == before
    (tmp_path / "copy ü" / "pose.json").unlink()
    assert content_id(tmp_path / "copy ü") != before


BAD_STREAMS: dict[str, tuple[dict[str, Any], str]] = {
    "absent": ({"imu": [{"path": "nowhere.csv"}]}, "nowhere.csv"),
    "absolute": ({"imu": [{"path": "/etc/hosts"}]}, "outside"),
    "above": ({"imu": [{"path": "../secret.csv"}]}, "outside"),
    "above in the middle": ({"imu": [{"path": "sub/../../secret.csv"}]}, "outside"),
    "linked": ({"imu": [{"path": "link.csv"}]}, "outside"),
    "no path": ({"imu": [{"placement": "head"}]}, "path"),
    "number as path": ({"imu": [{"path": 3}]}, "path"),
    "nul in path": ({"imu": [{"path": "a\0b"}]}, "path"),
    "placement": ({"imu": [{"path": "watch.csv", "placement": "nose"}]}, "nose"),
    "units": ({"imu": [{"path": "watch.csv", "units": {"acc": "stone"}}]}, "stone"),
    "units of another type": ({"imu": [{"path": "watch.csv", "units": ["g"]}]}, "units"),
    "columns": ({"imu": [{"path": "watch.csv", "columns": {"t_s": "zeit"}}]}, "zeit"),
    "wrong unit": ({"imu": [{"path": "watch.csv", "units": {"acc": "g"}}]}, "m/s²"),
    "damaged": ({"imu": [{"path": "junk.csv"}]}, "junk.csv"),
    "entry": ({"imu": ["watch.csv"]}, "imu[0]"),
    "video": ({"video": {"path": "junk.mp4"}}, "junk.mp4"),
    "video start": ({"video": {"path": "video.mp4", "start_s": "soon"}}, "start_s"),
    "pose": ({"pose": [{"path": "junk.json"}]}, "junk.json"),
    "pose person": ({"pose": [{"path": "two.json", "person": "zoe"}]}, "zoe"),
    "pose twice": ({"pose": [{"path": "pose.json"}, {"path": "pose.json"}]}, "earlier"),
    "pose size": ({"pose": [{"path": "pose.json", "image_size": [64]}]}, "image_size"),
    "pose rate": ({"pose": [{"path": "pose.npy", "rate_hz": -3, "image_size": [64, 48]}]}, "rate_hz"),
    "narration backwards": ({"narrations": [{"start_s": 3, "end_s": 1, "text": "x"}]}, "narrations[0]"),
    "narration without text": ({"narrations": [{"start_s": 1, "end_s": 3}]}, "text"),
    "labels": ({"labels": "jumping"}, "labels"),
}


@pytest.mark.parametrize("case", BAD_STREAMS)
def test_one_bad_stream_does_not_lose_the_others(tmp_path: Path, case: str) -> None:
    changes, says = BAD_STREAMS[case]
    write_imu(tmp_path / "secret.csv")
    folder = make(tmp_path / "rec", **changes)
    (folder / "sub").mkdir()
    (folder / "link.csv").symlink_to(tmp_path / "secret.csv")
    for name in ("junk.csv", "junk.mp4", "junk.json"):
        (folder / name).write_bytes(bytes(range(256)) * 4)
    (folder / "two.json").write_text(json.dumps(pose_json(("a", "b"))))
    np.save(folder / "pose.npy", np.zeros((5, 17, 3)))
    recording = read(folder)
    assert says in "\n".join(recording.problems)
    assert len(recording.modalities) >= 3
    assert recording.recording_id == content_id(folder)


def test_links_inside_the_folder_are_followed(tmp_path: Path) -> None:
    folder = make(tmp_path / "rec", imu=[{"path": "link.csv"}])
    (folder / "link.csv").symlink_to("watch.csv")
    assert len(read(folder).imus) == 1


NOTHING = {"video": None, "imu": None, "pose": None, "narrations": None}
BAD_MANIFESTS: dict[str, bytes] = {
    "empty": b"",
    "junk": bytes(range(256)),
    "cut off": b'{"imu": [{"path": "watch.c',
    "list": b"[]",
    "number": b"3",
    "nothing": b"{}",
    "labels only": b'{"labels": ["a"]}',
    "deep": b"[" * 100_000,
    "only bad streams": b'{"imu": [{"path": "no.csv"}], "video": 7}',
}


@pytest.mark.parametrize("case", BAD_MANIFESTS)
def test_bad_manifests_are_refused_by_name(tmp_path: Path, case: str) -> None:
    folder = make(tmp_path / "rec")
    (folder / "recording.json").write_bytes(BAD_MANIFESTS[case])
    with pytest.raises(DamagedFile, match=r"recording\.json"):
        read(folder)


def test_every_byte_count_of_a_cut_manifest_is_refused(tmp_path: Path) -> None:
    folder = make(tmp_path / "rec")
    data = (folder / "recording.json").read_bytes()
    for length in range(0, len(data) - 1, 37):
        (folder / "recording.json").write_bytes(data[:length])
        with pytest.raises(DamagedFile):
            read(folder)


def test_text_alone_is_a_recording(tmp_path: Path) -> None:
    folder = make(tmp_path / "rec", video=None, imu=None, pose=None)
    assert read(folder).modalities == ("text",)


def test_unicode_and_newline_names(tmp_path: Path) -> None:
    folder = make(tmp_path / "Aufnahme \n ü", imu=[{"path": "Uhr \n コード.csv"}])
    write_imu(folder / "Uhr \n コード.csv")
    assert len(read(folder).imus) == 1


def test_the_videos_start_moves_its_frames_and_the_poses_that_count_them(tmp_path: Path) -> None:
    folder = make(
        tmp_path / "rec",
        video={"path": "video.mp4", "start_s": 2.5},
        pose=[{"path": "coco.json"}, {"path": "pose.json"}],
    )
    results = [{"image_id": n, "keypoints": KEYPOINTS.ravel().tolist(), "score": 1, "track_id": 4} for n in (0, 7, 30)]
    (folder / "coco.json").write_text(json.dumps(results))
    recording = read(folder)
    assert recording.problems == ()
    assert recording.video is not None
    assert recording.video.start_s == 2.5
    by_frame, by_time = recording.poses
    np.testing.assert_allclose(by_frame.t_s, [2.5, 3.2, 5.5])
    assert by_time.t_s[0] == 0.0


def test_a_gopro_file_may_be_named_as_a_worn_sensor(tmp_path: Path, gopro_mp4: Path) -> None:
    folder = make(
        tmp_path / "rec",
        video={"path": "GX01.MP4"},
        imu=[{"path": "GX01.MP4", "placement": "head", "person": "me"}],
        pose=None,
    )
    shutil.copy(gopro_mp4, folder / "GX01.MP4")
    recording = read(folder)
    assert recording.problems == ()
    assert [(i.placement, i.person, i.name) for i in recording.imus] == [("head", "me", "GoPro Max")]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_stream_is_said(tmp_path: Path) -> None:
    folder = make(tmp_path / "rec")
    (folder / "watch.csv").chmod(0)
    assert "watch.csv" in read(folder).problems[0]
