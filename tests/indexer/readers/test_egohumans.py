from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from archives import egohumans

from motionseek.errors import DamagedFile, UsageError
from motionseek.indexer.pipeline import index
from motionseek.indexer.readers import content_id, discover, read


def bodies(frames: int = 60) -> dict[str, np.ndarray]:
    """(F, 21, 3) of two people who walk: COCO-17 and four further joints."""
    rng = np.random.default_rng(0)
    step = np.arange(frames)[:, None, None] * [2.0, 0.5]
    return {
        name: np.concatenate([rng.uniform(100, 900, (1, 21, 2)) + step, np.full((frames, 21, 1), 0.9)], axis=2)
        for name in ("aria01", "aria02")
    }


def test_a_recording_a_camera_and_a_track_a_person(tmp_path: Path) -> None:
    people = bodies()
    there = {"aria01": range(1, 61), "aria02": [*range(10, 20), *range(30, 51)]}
    root = egohumans(tmp_path, "01_tagging", {"cam01": people, "cam02": people}, there)
    one, two = discover([tmp_path])
    assert (one.path, two.path) == (f"{root}#cam01", f"{root}#cam02")
    recording = read(one)
    assert recording.recording_id == content_id(one) != content_id(two)
    assert (recording.modalities, recording.labels, recording.problems) == (("pose",), ("tagging",), ())
    first, second = recording.poses
    assert [(t.person, t.image_size, t.start_s, t.end_s) for t in recording.poses] == [
        ("aria01", (3840, 2160), 0.0, pytest.approx(2.95)),
        ("aria02", (3840, 2160), pytest.approx(0.45), pytest.approx(2.45)),
    ]
    np.testing.assert_allclose(first.xy_px, people["aria01"][:, :17, :2], rtol=1e-5)
    np.testing.assert_allclose(second.xy_px[:10], people["aria02"][9:19, :17, :2], rtol=1e-5)
    assert np.isnan(second.xy_px[10:20]).all()
    assert (second.confidence[10:20] == 0).all()


def test_a_frame_that_is_missing_is_a_gap_and_a_damaged_one_is_told(tmp_path: Path) -> None:
    root = egohumans(tmp_path, "03_fencing", {"aria01": bodies(20)})
    folder = root / "poses2d" / "aria01" / "rgb"
    (folder / "00005.npy").unlink()
    (folder / "00009.npy").write_bytes(b"junk")
    np.save(folder / "00010.npy", np.array([{"human_name": "x"}], dtype=object), allow_pickle=True)
    recording = read(f"{root}#aria01")
    assert recording.problems[0].startswith("2 of 19 frames cannot be read, the first: 00009.npy")
    assert recording.poses[0].image_size == (1408, 1408)
    np.testing.assert_allclose(recording.poses[0].t_s * 20, [i for i in range(20) if i not in (4, 8, 9)], atol=1e-9)


def test_nothing_there(tmp_path: Path) -> None:
    root = tmp_path / "processed_data"
    (root / "poses2d").mkdir(parents=True)
    (source,) = discover([tmp_path])
    with pytest.raises(DamagedFile, match="no folder of a camera"):
        read(source)
    (root / "poses2d" / "cam01").mkdir()
    with pytest.raises(DamagedFile, match="cam01 has no frame"):
        read(f"{root}#cam01")
    with pytest.raises(UsageError, match="does not exist"):
        read(f"{root}#cam7")
    np.save(root / "poses2d" / "cam01" / "00001.npy", np.array([], dtype=object), allow_pickle=True)
    with pytest.raises(DamagedFile, match="nobody in 1 frames"):
        read(f"{root}#cam01")


def test_it_is_indexed(tmp_path: Path) -> None:
    egohumans(tmp_path / "take", "07_tennis", {"cam01": bodies(140)})
    report = index(tmp_path / "take", tmp_path / "archive")
    assert (report.indexed, report.failed, report.partial) == (1, (), ())
    assert report.windows == 6
