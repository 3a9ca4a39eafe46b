import shutil

import pyarrow as pa
import pytest
from synthetic import Linear, recording

from motionseek.errors import ArchiveError
from motionseek.indexer.pipeline import index
from motionseek.indexer.repair import repair
from motionseek.indexer.store import Store
from motionseek.indexer.verify import verify


@pytest.fixture
def archive(tmp_path):
    index([recording(i) for i in range(3)], tmp_path / "a", models=[Linear()])
    return tmp_path / "a"


def kinds(archive):
    return {(f.kind, f.table): f.count for f in verify(archive)}


def test_a_good_archive_has_nothing_to_say(archive):
    assert verify(archive) == []


def test_an_empty_archive_is_good_and_a_folder_is_none(tmp_path):
    Store.open(tmp_path / "a", create=True)
    assert verify(tmp_path / "a") == []
    with pytest.raises(ArchiveError):
        verify(tmp_path)


def test_each_kind_of_damage_is_found_and_counted(archive):
    store = Store.open(archive)
    rows = store.table("motion_global").to_arrow()
    store.table("motion_global").add(rows.slice(0, 2))
    found = kinds(archive)
    assert found["duplicate", "motion_global"] == 2
    assert found["stale", "motion_global.faiss"] == 1

    one = store.windows(columns=["recording_id"])["recording_id"][0].as_py()
    lost = store.table("windows").count_rows(f"recording_id = '{one}'")
    store.table("recordings").delete(f"recording_id = '{one}'")
    found = kinds(archive)
    assert found["orphan", "windows"] == lost
    assert found["orphan", "motion_token"] > 0

    left = store.windows(columns=["window_id"])["window_id"].to_pylist()
    at = next(i for i, window in enumerate(rows["window_id"].to_pylist()) if window in left)
    other = rows.slice(at, 1).set_column(2, rows.schema.field(2), pa.array(["stranger"]))
    store.table("motion_projected").delete(f"window_id = '{rows['window_id'][at].as_py()}'")
    store.table("motion_global").add(other)
    found = kinds(archive)
    assert found["foreign", "motion_global"] == 1
    assert found["missing", "motion_projected"] >= 1


@pytest.mark.parametrize("repaired_first", [True, False])
def test_rows_without_their_recording_are_orphans_until_they_are_mended(archive, repaired_first):
    Store.open(archive).table("recordings").delete(f"recording_id = '{recording(1).recording_id}'")
    assert {kind for kind, _ in kinds(archive)} >= {"orphan"}

    def run_again():
        index([recording(i) for i in range(3)], archive, models=[Linear()])

    for step in (lambda: repair(archive), run_again) if repaired_first else (run_again, lambda: repair(archive)):
        step()
    assert verify(archive) == []
    assert len(Store.open(archive).recordings()) == 3


def test_a_table_that_is_gone_is_missed(archive):
    held = len(Store.open(archive).vectors("motion", "global")[0])
    shutil.rmtree(archive / "lance" / "motion_global.lance")
    assert kinds(archive) == {("missing", "motion_global"): held}
    repair(archive)
    assert index([recording(i) for i in range(3)], archive, models=[Linear()]).indexed == 3
    assert verify(archive) == []


def test_a_folder_that_a_killed_writer_left_is_no_table(archive):
    (archive / "lance" / "clip_local.lance").mkdir()
    assert verify(archive) == []
    assert repair(archive) == []
    assert index([recording(3)], archive, models=[Linear()]).indexed == 1


@pytest.mark.parametrize("table", ["windows", "recordings", "models"])
def test_whatever_is_damaged_in_a_table_is_said(archive, table):
    file = max((archive / "lance" / f"{table}.lance" / "data").iterdir(), key=lambda file: file.stat().st_size)
    good, said = file.read_bytes(), 0
    for at in range(0, len(good), len(good) // 12):
        file.write_bytes(good[:at] + bytes(x ^ 0x55 for x in good[at : at + 64]) + good[at + 64 :])
        said += bool(verify(archive))
    assert said > 6
