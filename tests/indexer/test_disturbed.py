"""Runs that are killed, run out of disk or meet each other: run again, they end with an undisturbed one's rows."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from synthetic import Linear, write_imu
from test_store import contents

from motionseek.errors import ArchiveError
from motionseek.indexer.pipeline import index
from motionseek.indexer.schema import vector_table_name
from motionseek.indexer.store import Store
from motionseek.indexer.verify import verify

pytestmark = pytest.mark.slow

KILLS = 50
KILLS_IN_A_ROW = 6
FILES = 12
CHANGED = 5

Census = dict[str, Counter[str]]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files, one of which no reader takes; CHANGED of them are not what the archive `before` was made of."""
    folder = tmp_path_factory.mktemp("disturbed") / "sources"
    folder.mkdir()
    for i in range(FILES):
        write_imu(folder / f"{i}.csv", i, 6.0 + i % 3)
    (folder / "junk.csv").write_text("no sensor at all\n1\n")
    return folder


@pytest.fixture(scope="module")
def before(sources: Path) -> Path:
    """An archive of some of the sources as they once were."""
    held = {i: (sources / f"{i}.csv").read_bytes() for i in range(CHANGED)}
    for i in held:
        write_imu(sources / f"{i}.csv", 100 + i)
    index([sources / f"{i}.csv" for i in range(CHANGED + 3)], sources.parent / "before", models=[Linear()])
    for i, data in held.items():
        (sources / f"{i}.csv").write_bytes(data)
        os.utime(sources / f"{i}.csv", (1_700_000_000, 1_700_000_000 + i))
    return sources.parent / "before"


@pytest.fixture(scope="module")
def whole(sources: Path, before: Path) -> Path:
    """What an undisturbed run makes of the sources."""
    index(sources, sources.parent / "whole", models=[Linear()])
    return sources.parent / "whole"


def start(archive: Path, sources: Path, *more: str) -> subprocess.Popen[str]:
    """An indexer with its reader processes, in a process group of their own, about to begin."""
    command = [sys.executable, str(Path(__file__).with_name("synthetic.py")), str(archive), str(sources), *more]
    run = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, cwd=sources.parent
    )
    assert run.stdout is not None
    assert run.stdout.readline() == "ready\n"
    return run


def kill(run: subprocess.Popen[str]) -> bool:
    """The whole group at once; whether it had not ended before."""
    if run.poll() is None:
        os.killpg(run.pid, signal.SIGKILL)
    run.communicate()
    return run.returncode == -signal.SIGKILL


def census(archive: Path) -> Census:
    """How many rows a reader sees of each readable recording, by table."""
    store = Store.open(archive)
    found: Census = {name: Counter() for name in store.readable_ids().to_pylist()}
    windows = store.windows(columns=["window_id", "recording_id"])
    of = dict(zip(windows["window_id"].to_pylist(), windows["recording_id"].to_pylist(), strict=True))
    for owner in of.values():
        found[owner]["windows"] += 1
    for space in store.models():
        for level in ("global", "local", "token"):
            table = store.table(vector_table_name(space, level))
            ids = table.search().select(["window_id"]).to_arrow()["window_id"].to_pylist() if table else []
            for owner in (of[i] for i in ids if i in of):
                found[owner][f"{space}_{level}"] += 1
        table = store.table(f"{space}_token")
        owners = table.search().select(["recording_id"]).to_arrow()["recording_id"].to_pylist() if table else []
        for owner in (o for o in owners if o in found):
            found[owner][f"{space} tokens"] += 1
    return found


def look(archive: Path, known: Census) -> int:
    """How many recordings a reader sees, each of them whole."""
    try:
        Store.open(archive)
    except ArchiveError:  # its first table is not there yet
        return 0
    seen = census(archive)
    assert {name: rows for name, rows in seen.items() if rows != known[name]} == {}
    return len(seen)


def test_killed_at_fifty_random_moments(sources: Path, before: Path, whole: Path, tmp_path: Path) -> None:
    known = {**census(before), **census(whole)}
    undisturbed = contents(whole)
    run = start(tmp_path / "first", sources)
    began = time.monotonic()
    run.communicate()
    assert run.returncode == 0
    lasts_s = time.monotonic() - began
    assert contents(tmp_path / "first") == undisturbed
    rng = np.random.default_rng(0)
    killed, chain, looks, fresh, archive = 0, 0, 0, 0, tmp_path / "0"
    while killed < KILLS:
        run = start(archive, sources)
        if chain < KILLS_IN_A_ROW:
            until = time.monotonic() + rng.uniform(0.0, lasts_s)
            while time.monotonic() < until and run.poll() is None:
                looks += look(archive, known)
                time.sleep(0.05)
            if kill(run):
                killed, chain = killed + 1, chain + 1
                looks += look(archive, known)
                continue
        else:
            run.communicate()
        assert run.returncode == 0
        assert contents(archive) == undisturbed
        assert verify(archive) == []
        chain, fresh = 0, fresh + 1
        archive = tmp_path / str(fresh)
        if fresh % 2:
            shutil.copytree(before, archive)
    subprocess.run([*run.args], check=True, stdout=subprocess.DEVNULL)  # type: ignore[misc]
    assert contents(archive) == undisturbed
    assert looks > FILES


@pytest.mark.parametrize("largest", [8_000, 33_600])
def test_a_limit_on_files_ends_the_run_with_a_word_and_it_goes_on_later(
    sources: Path, whole: Path, tmp_path: Path, largest: int
) -> None:
    run = start(tmp_path / "a", sources, "--largest-file", str(largest))
    _, said = run.communicate()
    assert run.returncode == 1
    assert said.startswith("ArchiveError:") or "\nArchiveError:" in said
    assert "run again" in said
    look(tmp_path / "a", census(whole))
    index(sources, tmp_path / "a", models=[Linear()])
    assert contents(tmp_path / "a") == contents(whole)


def test_a_full_disk_ends_the_run_with_a_word_and_it_goes_on_later(sources: Path, whole: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "none", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("no disk of its own may be mounted here")
    try:
        run = start(disk / "a", sources)
        _, said = run.communicate()
        assert run.returncode == 1
        assert "the disk is full: free some space and run again" in said
        look(disk / "a", census(whole))
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        index(sources, disk / "a", models=[Linear()])
        assert contents(disk / "a") == contents(whole)
        assert verify(disk / "a") == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_of_two_indexers_at_once_one_is_told_to_wait(sources: Path, whole: Path, tmp_path: Path) -> None:
    first, lock = start(tmp_path / "a", sources), tmp_path / "a" / "writer.lock"
    while not (lock.exists() and lock.read_text()):
        time.sleep(0.01)
    os.killpg(first.pid, signal.SIGSTOP)
    second = start(tmp_path / "a", sources)
    _, said = second.communicate()
    os.killpg(first.pid, signal.SIGCONT)
    first.communicate()
    assert (first.returncode, second.returncode) == (0, 1)
    assert f"is being written by process {first.pid}: wait" in said
    assert contents(tmp_path / "a") == contents(whole)
