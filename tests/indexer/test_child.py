"""The process that reads: what happens to it never happens to the run."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest
from synthetic import Linear, write_imu

from motionseek.indexer.child import Child, ChildDied
from motionseek.indexer.feed import Limits
from motionseek.indexer.pipeline import Event, index
from motionseek.indexer.prepare import End, Head, Needs, as_dict
from motionseek.indexer.worker import Failure, Identity


@pytest.fixture
def hanging(tmp_path: Path) -> Path:
    """A file that never ends: a pipe into which nobody writes."""
    os.mkfifo(tmp_path / "hanging.csv")
    return tmp_path / "hanging.csv"


def job(do: str, path: Path, format: str = "imu", **more: object) -> dict[str, object]:
    return {"do": do, "source": {"path": str(path), "format": format, "problem": ""}, **more}


def test_it_identifies_and_reads_and_notices_a_change(tmp_path: Path) -> None:
    path = tmp_path / "one.csv"
    write_imu(path, 1)
    child = Child(60.0, 4.0)
    needs = as_dict(Needs.of(Linear().encoders, 5.0, 1.0))
    try:
        (identity,) = child.ask(job("identify", path))
        assert isinstance(identity, Identity)
        assert [Path(f.path).name for f in identity.files] == ["one.csv"]
        told = list(child.ask(job("read", path, recording_id=identity.recording_id, needs=needs)))
        assert isinstance(told[0], Head)
        assert isinstance(told[-1], End)
        write_imu(path, 2)
        (changed,) = child.ask(job("read", path, recording_id=identity.recording_id, needs=needs))
        assert isinstance(changed, Failure)
        assert "changed while" in changed.reason
        assert not changed.lasting
        (vanished,) = child.ask(job("identify", tmp_path / "nothing.csv"))
        assert "No such file" in vanished.reason
        assert not vanished.lasting
    finally:
        child.close()


def test_a_crash_is_told_and_the_next_job_is_done(tmp_path: Path, hanging: Path) -> None:
    write_imu(tmp_path / "one.csv", 1)
    child = Child(60.0, 4.0)

    def crash() -> None:
        while child._process is None:
            time.sleep(0.05)
        time.sleep(0.2)
        os.kill(child._process.pid, signal.SIGSEGV)

    try:
        threading.Thread(target=crash).start()
        with pytest.raises(ChildDied, match="SIGSEGV") as died:
            list(child.ask(job("identify", hanging)))
        assert died.value.lasting
        (identity,) = child.ask(job("identify", tmp_path / "one.csv"))
        assert isinstance(identity, Identity)
    finally:
        child.close()


def test_a_file_that_never_ends_has_failed_and_the_others_go_on(tmp_path: Path) -> None:
    endless = tmp_path / "endless.csv"
    write_imu(endless, 0)
    write_imu(tmp_path / "one.csv", 1)

    def tell(event: Event) -> None:
        if event.stage == "found":
            endless.unlink()
            os.mkfifo(endless)

    report = index(
        [endless, tmp_path / "one.csv"], tmp_path / "a", models=[Linear()], limits=Limits(1, 8.0), progress=tell
    )
    assert report.indexed == 1
    [(uri, reason)] = report.failed
    assert Path(uri) == endless
    assert "no sign of life" in reason


def test_it_ends_with_its_parent(tmp_path: Path) -> None:
    child = Child(60.0, 4.0)
    process = child._started()
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(30) == 0
    child.close()


def test_no_module_comes_from_the_folder_we_are_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('this is not the json that was meant')")
    write_imu(tmp_path / "one.csv", 1)
    monkeypatch.chdir(tmp_path)
    child = Child(60.0, 4.0)
    try:
        (identity,) = child.ask(job("identify", tmp_path / "one.csv"))
        assert isinstance(identity, Identity)
    finally:
        child.close()
