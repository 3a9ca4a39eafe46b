"""What is in the tables while a writer is at work, and after it was cut off."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from synthetic import Linear, recording
from test_store import contents

from motionseek.errors import ArchiveError
from motionseek.indexer import writer as writing
from motionseek.indexer.catalog import recording_row
from motionseek.indexer.pipeline import index
from motionseek.indexer.store import Store
from motionseek.indexer.verify import verify
from motionseek.indexer.windows import of_imus
from motionseek.indexer.writer import Writer


def windows_of(seed: int) -> tuple[dict[str, object], pa.Table]:
    """The row of a recording, and rows of the table `windows`."""
    take = recording(seed)
    rows = of_imus(take, "", take.imus, window_s=5.0, stride_s=1.0).to_rows(take.labels)
    return recording_row(take, [take.uri], [], 1.0), rows


def held(archive: Path, name: str) -> list[str]:
    """Keys of all rows of a table, seen by readers or not."""
    table = Store.open(archive).need(name)
    keys: list[str] = table.search().to_arrow()[table.schema.names[0]].to_pylist()
    return sorted(keys)


def test_rows_of_a_recording_whose_own_never_came_are_gone_before_it_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index(recording(0), tmp_path / "a", models=[Linear()])
    before, seen = contents(tmp_path / "a"), Store.open(tmp_path / "a").windows().to_pylist()
    put = Writer._put

    def until_its_row(self: Writer, name: str, rows: pa.Table, *, new: bool = False) -> None:
        if name == "recordings" and rows["status"].to_pylist() != ["removed"]:
            raise KeyboardInterrupt
        put(self, name, rows, new=new)

    with monkeypatch.context() as cut:
        cut.setattr(Writer, "_put", until_its_row)
        with pytest.raises(KeyboardInterrupt):
            index(recording(1), tmp_path / "a", models=[Linear()])
    assert Store.open(tmp_path / "a").windows().to_pylist() == seen
    assert len(held(tmp_path / "a", "motion_token")) > len(before["motion_token"])
    with Writer(tmp_path / "a"):
        pass
    assert {finding.kind for finding in verify(tmp_path / "a")} <= {"stale"}  # its FAISS files
    assert held(tmp_path / "a", "recordings") == [recording(0).recording_id]
    for name in ("windows", "motion_global", "motion_local", "motion_projected", "motion_token", "clip_global"):
        assert len(held(tmp_path / "a", name)) == len(before[name]), name


def test_what_the_archive_knows_as_failed_is_merged(tmp_path: Path) -> None:
    row, rows = windows_of(0)
    with Writer(tmp_path / "a") as writer:
        writer.add({**row, "status": "failed"})
    with Writer(tmp_path / "a") as writer:
        writer.add(row, {"windows": rows})
        writer.flush()
        writer.add(row, {"windows": rows})
    assert held(tmp_path / "a", "recordings") == [row["recording_id"]]
    assert held(tmp_path / "a", "windows") == sorted(rows["window_id"].to_pylist())


def test_what_cannot_be_written_is_the_archives_error_and_not_that_of_the_next_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row, rows = windows_of(0)
    monkeypatch.setattr(writing, "BATCH_ROWS", 1)
    with Writer(tmp_path / "a") as writer:
        writer.add({**row, "extra": "half a character: \ud83d"}, {"windows": rows})
        with pytest.raises(ArchiveError, match="cannot be written"):
            writer.add(row, {"windows": rows})


def test_a_long_recording_that_is_half_written_outlives_another_that_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "BATCH_BYTES", 1)  # each piece is written as it comes
    (long, of_long), (bad, of_bad) = windows_of(0), windows_of(1)
    with Writer(tmp_path / "a") as writer:
        writer.stage(str(long["recording_id"]), "windows", of_long.slice(0, 4), spill=True)
        writer.stage(str(bad["recording_id"]), "windows", of_bad, spill=True)
        assert len(held(tmp_path / "a", "windows")) == 4 + len(of_bad)
        assert Store.open(tmp_path / "a").windows().num_rows == 0
        writer.discard(str(bad["recording_id"]))
        assert held(tmp_path / "a", "windows") == sorted(of_long["window_id"].to_pylist()[:4])
        writer.stage(str(long["recording_id"]), "windows", of_long.slice(4), spill=True)
        writer.add(long, new=True)
    assert held(tmp_path / "a", "windows") == sorted(of_long["window_id"].to_pylist())
    assert held(tmp_path / "a", "recordings") == [long["recording_id"]]
    assert Store.open(tmp_path / "a").windows().num_rows == len(of_long)


def test_a_long_recording_that_is_cut_off_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "BATCH_BYTES", 1)
    row, rows = windows_of(0)
    with Writer(tmp_path / "a") as writer:
        writer.stage(str(row["recording_id"]), "windows", rows, spill=True)
    assert held(tmp_path / "a", "windows") != []
    with Writer(tmp_path / "a"):
        pass
    assert held(tmp_path / "a", "windows") == held(tmp_path / "a", "recordings") == []
