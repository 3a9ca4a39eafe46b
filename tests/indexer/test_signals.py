"""Training files of an archive hold what its readers read, windows where the archive has them, and nothing twice."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from synthetic import D, HashedWords, Linear, imu, pose, recording, write_imu

from motionseek.encoders.preprocess import IMU_SLOTS, imu_grid, pose_grid
from motionseek.encoders.train.augment import Augment
from motionseek.encoders.train.dataset import WindowData, WindowSettings
from motionseek.encoders.train.files import TrainingFiles
from motionseek.errors import ArchiveError, UsageError
from motionseek.indexer import signals
from motionseek.indexer.catalog import recording_row
from motionseek.indexer.pipeline import index
from motionseek.indexer.readers import read
from motionseek.indexer.signals import training_files
from motionseek.indexer.store import Filter, Store
from motionseek.indexer.windows import of_video
from motionseek.indexer.writer import Writer
from motionseek.types import Span, VideoRef


def write_take(folder: Path, seed: int, person: str, duration_s: float = 9.0) -> None:
    """A recording on disk: a watch, sometimes a phone, a pose that starts later, a sentence, a label."""
    folder.mkdir(parents=True)
    sensors = []
    for place in ("left_wrist", "right_pocket")[: 1 + seed % 2]:
        one = imu(seed + len(place), duration_s)
        table = np.column_stack([one.acc_t_s, one.acc_mps2, one.gyro_rps])
        header = "t_s,ax_mps2,ay_mps2,az_mps2,gx_rps,gy_rps,gz_rps"
        np.savetxt(folder / f"{place}.csv", table, delimiter=",", header=header, comments="")
        sensors.append({"path": f"{place}.csv", "placement": place, "person": person})
    track = pose(seed, duration_s - 1.3)
    frames = [
        {"t_s": float(t) + 1.3, "persons": [{"id": "0", "keypoints": [[*p, 1.0] for p in xy.tolist()]}]}
        for t, xy in zip(track.t_s, track.xy_px, strict=True)
    ]
    (folder / "pose.json").write_text(json.dumps({"image_size": [640, 480], "frames": frames}))
    manifest = {
        "imu": sensors,
        "pose": [{"path": "pose.json"}],
        "narrations": [{"start_s": 0.0, "end_s": 6.0, "text": f"walk number {seed}"}],
        "labels": ["walking" if seed % 2 else "jumping"],
    }
    (folder / "recording.json").write_text(json.dumps(manifest))


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("signals")
    for seed in range(4):
        write_take(root / "sources" / f"take-{seed}", seed, person="ABBC"[seed])
    index(root / "sources", root / "archive", models=[Linear()])
    return root / "archive"


def test_a_window_is_what_the_encoder_saw(archive: Path) -> None:
    files = TrainingFiles(training_files(archive).folder)
    store = Store.open(archive)
    windows = store.windows(Filter(modality="imu")).to_pylist()
    assert sorted(files.windows["window_id"].to_pylist()) == sorted(w["window_id"] for w in windows)
    uri = {r["recording_id"]: r["uris"][0] for r in store.recordings().to_pylist()}
    data = WindowData(files, np.arange(len(files)), batch=7, shuffle=False)
    assert data.steps == -(-len(windows) // 7)
    by_id = {w["window_id"]: w for w in windows}
    for step in range(data.steps):
        batch = data.batch(step)
        for i, window_id in enumerate(batch.window_ids):
            row = by_id[window_id]
            recording = read(uri[row["recording_id"]])
            span = Span(row["start_s"], row["start_s"] + 4.98)
            want = imu_grid(recording.imus, 50.0, span)
            n = want.x.shape[2]
            assert np.array_equal(batch.imu_mask[i, :, :n], want.mask)
            assert np.abs(batch.imu[i, :, :, :n].numpy() - want.x).max() < 0.05
            seen = pose_grid(recording.poses[0], 50.0, span)
            both = batch.pose_mask[i].numpy() & np.pad(seen.mask, ((0, 0), (0, 250 - seen.mask.shape[1])))
            assert both.sum() > 0.7 * seen.mask.sum()
            inner = both[:, :, None].swapaxes(1, 2) & np.ones((1, 12, 1), bool)
            padded = np.pad(seen.x, ((0, 0), (0, 0), (0, 250 - seen.x.shape[2])))
            difference = np.abs(batch.pose[i].numpy() - padded)[inner]
            assert np.median(difference) < 0.02


def test_sentences_come_with_their_vectors(archive: Path) -> None:
    files = TrainingFiles(training_files(archive).folder)
    batch = WindowData(files, np.arange(len(files)), batch=64, shuffle=False).batch(0)
    captions = files.windows["caption"].to_pylist()
    want = HashedWords().encode([c or "-" for c in captions]).global_
    assert batch.text is not None
    assert batch.text_mask is not None
    assert batch.text.shape == (len(files), D)
    assert batch.text_mask.tolist() == [bool(c) for c in captions]
    assert np.allclose(batch.text[batch.text_mask], want[batch.text_mask], atol=1e-5)
    assert sorted(set(files.labels.tolist())) == ["jumping", "walking"]


def test_windows_of_sentences_are_centred_on_them(archive: Path) -> None:
    files = TrainingFiles(training_files(archive, windows="text").folder)
    assert len(files) == 4
    assert files.windows["start_s"].to_pylist() == [0.5] * 4
    assert files.sensors(np.arange(4)).any(1).all()


def test_what_is_there_is_not_read_again_and_what_changed_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(3):
        write_take(tmp_path / "sources" / f"take-{seed}", seed, person=str(seed))
    archive = tmp_path / "archive"
    index(tmp_path / "sources", archive, models=[Linear()])
    monkeypatch.setattr(signals, "SHARD_BYTES", 1)
    seen: list[str] = []

    def watch(done: int, total: int, uri: str) -> None:
        seen.append(uri)
        if len(seen) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training_files(archive, progress=watch)
    first = [uri for uri in seen if uri]
    seen = ["", "", "", ""]
    whole = training_files(archive, progress=watch)
    assert set(seen) - {""} == {first[-1]}  # the two before it had been written
    assert training_files(archive) == whole
    write_take(tmp_path / "sources" / "take-9", 9, person="9")
    index(tmp_path / "sources", archive, models=[Linear()])
    more = training_files(archive)
    assert more.folder != whole.folder
    assert not whole.folder.exists()
    assert len(set(TrainingFiles(more.folder).recordings.tolist())) == 4
    assert not list((archive / "train").rglob("*.tmp"))


class Film:
    """Stands for an encoder of pictures."""

    space, modality, levels = "clip", "video", ("global",)
    rate_hz, window_s, fingerprint = 1.0, 0.0, "film"


def test_each_window_has_the_picture_nearest_in_time(tmp_path: Path) -> None:
    model, rng = Linear(), np.random.default_rng(0)
    model.encoders |= {("clip", "video"): Film()}
    for seed in range(3):
        write_imu(tmp_path / f"{seed}.csv", seed, 20.0)
    index([tmp_path / f"{seed}.csv" for seed in range(3)], tmp_path / "a", models=[model])
    without = TrainingFiles(training_files(tmp_path / "a").folder)  # a model that sees, and nothing to be seen
    assert set(without.windows["video"].to_pylist()) == {-1}
    for seed, length_s in enumerate((5.0, 12.3, 47.0)):
        take = recording(seed, video=VideoRef("clip.mp4", float(rng.uniform(0, 9)), length_s, 30.0, (64, 48)))
        assert take.video is not None
        with Writer(tmp_path / "a") as writer:
            rows = of_video(take, take.video, window_s=5.0, stride_s=1.0).to_rows([])
            writer.add(recording_row(take, [take.uri], [], 1.0), {"windows": rows}, new=True)
    store = Store.open(tmp_path / "a")
    films = store.windows(Filter(modality="video")).to_pylist()
    owner = [films[i]["recording_id"] for i in rng.integers(len(films), size=200)] + ["nobody"]
    start_s = np.round(rng.uniform(-5, 60, size=201), 1)
    found, _ = signals._shown(store, "clip", {"recording_id": owner, "start_s": start_s.tolist()}) or ([], None)
    for row, its, at_s in zip(found, owner, start_s, strict=True):
        apart = {i: abs(film["start_s"] - at_s) for i, film in enumerate(films) if film["recording_id"] == its}
        nearest = min(apart, key=lambda i: apart[i], default=-1)
        assert row == (nearest if apart and apart[nearest] <= 0.5 + 1e-6 else -1)
    assert max(found) > 0


def test_a_recording_that_moved_away_is_said(tmp_path: Path) -> None:
    for seed in range(2):
        write_take(tmp_path / "sources" / f"take-{seed}", seed, person=str(seed))
    index(tmp_path / "sources", tmp_path / "archive", models=[Linear()])
    (tmp_path / "sources" / "take-1").rename(tmp_path / "elsewhere")
    exported = training_files(tmp_path / "archive")
    [(uri, reason)] = exported.unread
    assert uri.endswith("take-1")
    assert reason
    files = TrainingFiles(exported.folder)
    assert files.sensors(np.arange(len(files))).any(1).sum() == 5


def test_variation_is_drawn_by_step_and_shared_by_processes(archive: Path) -> None:
    files = TrainingFiles(training_files(archive).folder)
    augment = Augment(
        time_warp=0.1, mounting_deg=20, acc_noise_mps2=0.1, gyro_noise_rps=0.1, sensor_drop=0.5, jitter_s=0.1, cut_s=0.3
    )
    data = WindowData(files, np.arange(len(files)), batch=8, augment=augment, seed=3)
    a, b, other = data.batch(5), data.batch(5), data.batch(6)
    assert a.window_ids == b.window_ids
    assert np.array_equal(a.imu, b.imu)
    assert np.array_equal(a.pose, b.pose)
    assert a.window_ids != other.window_ids
    shares = [data.batch(5, rank=rank, world=2) for rank in (0, 1)]
    assert sorted(shares[0].window_ids + shares[1].window_ids) == sorted(a.window_ids)
    seen = [i for step in range(data.steps) for i in data.batch(step).window_ids]
    assert len(seen) == len(set(seen)) == data.steps * 8
    assert np.isfinite(a.imu.numpy()).all()
    assert not a.imu.numpy()[~a.imu_mask.numpy()[:, :, None].repeat(6, 2)].any()


def test_what_is_asked_for_but_not_there_is_named(archive: Path) -> None:
    with pytest.raises(ArchiveError, match="no video windows to train on; it has imu, pose, text"):
        training_files(archive, windows="video")
    with pytest.raises(ArchiveError, match="no space 'frames'; it has clip, motion"):
        training_files(archive, space="frames")
    files = TrainingFiles(training_files(archive).folder)
    with pytest.raises(
        UsageError, match="no window has a sensor at head; there are sensors at: left_wrist, right_knee"
    ):
        WindowData(files, np.arange(len(files)), batch=4, settings=WindowSettings(placements=("left_wrist", "head")))
    only = WindowData(files, np.arange(len(files)), batch=99, settings=WindowSettings(placements=("left_wrist",)))
    worn = only.batch(0).imu_mask.any(2).any(0).numpy()
    assert worn.tolist() == [slot == "left_wrist" for slot in IMU_SLOTS]


def test_the_published_form_of_pose(archive: Path) -> None:
    files = TrainingFiles(training_files(archive).folder)
    data = WindowData(files, np.arange(4), batch=4, settings=WindowSettings(pose_form="picture"), shuffle=False)
    batch = data.batch(0)
    assert batch.pose.shape == (4, 6, 6, 250)
    xy, seen = files.read_pose(np.arange(4), length=250)
    want = xy[:, :, 9, 1] / 480  # y of the left wrist, the last of its part's six channels
    there = batch.pose_mask[:, 0].numpy() & seen[:, :, 9]
    assert np.allclose(batch.pose[:, 0, 5].numpy()[there], want[there], atol=1e-6)
