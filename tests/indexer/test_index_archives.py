"""From the folders of the public archives to rows."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from synthetic import Linear

from motionseek.errors import UsageError
from motionseek.indexer.pipeline import index
from motionseek.indexer.store import Store

sys.path.append(str(Path(__file__).parent / "readers"))
from archives import ego4d_csv, ego4d_narrations, epic_csvs, mobifall_log, shaken, uid


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    t_ms = np.arange(2000) * 5.0
    acc, gyro = shaken(t_ms / 1000)
    ego4d_csv(tmp_path / "ego4d", uid(1), t_ms, acc, gyro)
    ego4d_narrations(tmp_path / "ego4d", {uid(1): ([(3.0, "#C C walks")], [])})
    epic_csvs(tmp_path / "epic", "P01_101", t_ms, acc, t_ms, gyro)
    for kind, x in (("acc", acc), ("gyro", gyro)):
        mobifall_log(tmp_path / "phone" / "sub2", f"JOG_{kind}_2_1", (t_ms * 1e6).astype(np.int64), x)
    (tmp_path / "humans" / "processed_data" / "poses2d").mkdir(parents=True)
    return tmp_path


def test_a_folder_of_archives_is_indexed_by_its_formats(folder: Path, tmp_path: Path) -> None:
    report = index(folder, tmp_path / "a", models=[Linear()])
    assert report.indexed == 3
    assert [(Path(uri).name, "no folder of a camera" in reason) for uri, reason in report.failed] == [
        ("processed_data", True)
    ]
    store = Store.open(tmp_path / "a")
    rows = {row["source_format"]: row for row in store.recordings().to_pylist() if row["status"] != "failed"}
    assert set(rows) == {"ego4d", "epic-kitchens", "mobifall"}
    assert {row["status"] for row in rows.values()} == {"ok"}
    windows = store.windows().to_pylist()
    ego4d = [w for w in windows if w["recording_id"] == rows["ego4d"]["recording_id"] and w["modality"] == "imu"]
    assert [w["start_s"] for w in ego4d] == pytest.approx([0, 1, 2, 3, 4, 5])
    assert {w["caption"] for w in ego4d if w["start_s"] < 5} == {"a person walks"}
    assert {tuple(w["parts"]) for w in ego4d} == {("head",)}
    again = index(folder, tmp_path / "a", models=[Linear()])
    assert (again.indexed, again.skipped) == (0, 3)


def test_a_format_passes_over_the_others(folder: Path, tmp_path: Path) -> None:
    report = index(folder, tmp_path / "a", models=[Linear()], format="ego4d")
    assert (report.indexed, report.failed) == (1, ())
    with pytest.raises(UsageError, match="epic-kitchens"):
        index(folder, tmp_path / "a", models=[Linear()], format="epic")
