"""Archives on an object store, by a real server on loopback."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from synthetic import Linear, recording, write_imu
from test_store import contents

import motionseek as ms
from motionseek.cli import main
from motionseek.errors import ArchiveError, ArchiveLocked
from motionseek.indexer.lease import WriterLease
from motionseek.indexer.pipeline import index
from motionseek.indexer.remove import remove
from motionseek.indexer.repair import repair
from motionseek.indexer.store import Store
from motionseek.indexer.verify import verify
from motionseek.indexer.writer import Writer

pytestmark = pytest.mark.slow
pytest.importorskip("moto")
boto3 = pytest.importorskip("boto3")


def _started() -> tuple[str, Any]:
    """Where it listens, and the server."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    return f"http://{host}:{port}", server


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    at, server = _started()
    yield at
    server.stop()


def _client(at: str) -> Any:
    secret = {"aws_access_key_id": "key", "aws_secret_access_key": "secret"}
    return boto3.client("s3", endpoint_url=at, region_name="us-east-1", **secret)


@pytest.fixture
def address(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Of an archive that is not there yet."""
    environment = {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT": server,
        "AWS_ALLOW_HTTP": "true",
        "MOTIONSEEK_CACHE": str(tmp_path / "cache"),
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    bucket = f"bucket-{time.time_ns()}"
    _client(server).create_bucket(Bucket=bucket)
    return f"s3://{bucket}/archive"


def rows(archive: str | Path) -> dict[str, object]:
    return {name: held for name, held in contents(archive).items() if name != "writer"}


def test_it_holds_what_a_folder_holds_whatever_is_done_to_it(address: str, tmp_path: Path) -> None:
    for archive in (address, tmp_path / "folder"):
        index([recording(i) for i in range(3)], archive, models=[Linear()])
        assert index([recording(i) for i in range(4)], archive, models=[Linear()]).skipped == 3
        remove(archive, [recording(1).recording_id])
        assert verify(archive) == []
    assert rows(address) == rows(tmp_path / "folder")
    answers = [
        [
            (m.recording_id, m.start_s, m.score)
            for m in ms.open(at, models=[Linear()]).search("jump number 2", target="imu", k=5)
        ]
        for at in (address, tmp_path / "folder")
    ]
    assert answers[0] == answers[1]
    assert answers[0]


def test_what_is_derived_lies_on_this_machine_and_is_made_again(address: str, tmp_path: Path) -> None:
    index([recording(i) for i in range(2)], address, models=[Linear()])
    shutil.rmtree(tmp_path / "cache")
    assert {finding.kind for finding in verify(address)} == {"stale"}
    assert all("built again" in finding.mended for finding in repair(address))
    assert verify(address) == []
    shutil.rmtree(tmp_path / "cache")
    assert len(ms.open(address, models=[Linear()]).search("jump number 1", target="imu")) == 2
    assert list((tmp_path / "cache").rglob("*.faiss"))


def test_damage_is_found_and_mended(address: str) -> None:
    index([recording(i) for i in range(2)], address, models=[Linear()])
    table = Store.open(address).need("motion_global")
    table.add(table.to_arrow().slice(0, 2))
    assert {"duplicate", "stale"} <= {finding.kind for finding in verify(address)}
    repair(address)
    assert verify(address) == []


def test_one_writer_at_a_time(address: str) -> None:
    index(recording(0), address, models=[Linear()])
    with Writer(address), pytest.raises(ArchiveLocked, match=r"process \d+ on .* free in \d+ s"):
        index(recording(1), address, models=[Linear()])
    assert index(recording(1), address, models=[Linear()]).indexed == 1


def test_of_many_that_ask_at_once_one_gets_it(address: str) -> None:
    Store.open(address, create=True)
    got, begin, end = [], threading.Barrier(6), threading.Barrier(6)

    def ask() -> None:
        store = Store.open(address, create=True)
        begin.wait()
        try:
            with WriterLease(store):
                got.append(True)
                end.wait()
        except ArchiveLocked:
            end.wait()

    asking = [threading.Thread(target=ask) for _ in range(6)]
    for one in asking:
        one.start()
    for one in asking:
        one.join(60)
    assert got == [True]


def test_a_lease_is_renewed_while_held_and_runs_out_when_its_holder_dies(address: str) -> None:
    store = Store.open(address, create=True)
    with WriterLease(store, lease_s=1.0) as held:
        time.sleep(2.0)
        held.check()
        with pytest.raises(ArchiveLocked), WriterLease(Store.open(address)):
            pass
        held._ended.set()  # as if its process had stopped
        held._renewing.join()
        time.sleep(1.2)
        with pytest.raises(ArchiveError, match="another process may write"):
            held.check()
        with WriterLease(Store.open(address)):
            pass


def test_what_cannot_be_reached_is_said(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ArchiveError, match="is no motionseek archive; make one"):
        Store.open(address)
    with pytest.raises(ArchiveError, match="s3://BUCKET/ARCHIVE"):
        Store.open("s3://bucket")
    monkeypatch.setenv("AWS_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ArchiveError, match="AWS_SECRET_ACCESS_KEY"):
        Store.open(address)


def test_a_store_that_vanishes_does_not_hide_what_ended_the_run(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    at, own = _started()
    monkeypatch.setenv("AWS_ENDPOINT", at)
    _client(at).create_bucket(Bucket=address.split("/")[2])

    def run() -> None:
        with Writer(address):
            own.stop()
            raise ArchiveError("what ended the run")

    with pytest.raises(ArchiveError, match="what ended the run"):
        run()


def test_on_the_command_line(address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def said(*words: str) -> dict[str, Any]:
        with pytest.raises(SystemExit) as ended:
            main([*words, "--archive", address, "--json"])
        assert not ended.value.code
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    write_imu(tmp_path / "one.csv", 1)
    assert said("index", str(tmp_path / "one.csv"), "--workers", "1")["indexed"] == 1
    assert said("search", "walking", "--target", "imu")["hits"]
    assert said("verify")["findings"] == []
