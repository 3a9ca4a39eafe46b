"""What a run does with files: skips, plans, stops, tries again, replaces; and what it says of it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from synthetic import Linear, recording, write_imu
from test_store import contents

from motionseek.errors import StaleIndex, UsageError
from motionseek.indexer import catalog
from motionseek.indexer.catalog import Catalog
from motionseek.indexer.feed import Item, Limits
from motionseek.indexer.pipeline import Event, index
from motionseek.indexer.readers import Source
from motionseek.indexer.run import Run
from motionseek.indexer.store import Store
from motionseek.indexer.verify import verify


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "sources"
    root.mkdir()
    for i in (1, 2, 3):
        write_imu(root / f"{i}.csv", i)
    (root / "junk.csv").write_text("no sensor at all\n1\n")
    return root


def test_an_unchanged_file_is_not_read_again(folder: Path, tmp_path: Path) -> None:
    index(folder / "1.csv", tmp_path / "a", models=[Linear()])
    before = os.stat(folder / "1.csv")
    data = (folder / "1.csv").read_bytes()
    with (folder / "1.csv").open("r+b") as file:
        file.write(bytes(reversed(data)))
    os.utime(folder / "1.csv", ns=(before.st_atime_ns, before.st_mtime_ns))
    # Only who reads it could tell: path, size, time and inode are what they were.
    again = index(folder / "1.csv", tmp_path / "a", models=[Linear()])
    assert (again.skipped, again.failed) == (1, ())
    os.utime(folder / "1.csv")
    assert len(index(folder / "1.csv", tmp_path / "a", models=[Linear()]).failed) == 1


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(folder: Path, tmp_path: Path) -> None:
    events: list[Event] = []
    planned = index(folder, tmp_path / "a", models=[Linear()], dry_run=True, progress=events.append)
    assert (planned.planned, planned.indexed, planned.failed) == (4, 0, ())
    assert {e.status for e in events if e.stage == "recording"} == {"new"}
    assert not (tmp_path / "a").exists()
    index(folder / "1.csv", tmp_path / "a", models=[Linear()])
    before = contents(tmp_path / "a")
    planned = index(folder, tmp_path / "a", models=[Linear()], dry_run=True)
    assert (planned.planned, planned.skipped) == (3, 1)
    assert contents(tmp_path / "a") == before
    assert Store.open(tmp_path / "a").runs().num_rows == 1


def test_a_limit_counts_what_is_not_known(folder: Path, tmp_path: Path) -> None:
    (folder / "junk.csv").unlink()
    for already in (0, 1, 2):
        report = index(folder, tmp_path / "a", models=[Linear()], limit=1, limits=Limits(workers=1))
        assert (report.indexed, report.skipped) == (1, already)
    index(folder, tmp_path / "b", models=[Linear()])
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    with pytest.raises(UsageError, match="limit"):
        index(folder, tmp_path / "a", models=[Linear()], limit=0)


def test_copies_met_at_the_same_time_are_one_recording(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    for name in "abcd":
        write_imu(tmp_path / "s" / f"{name}.csv", 1)
    planned = index(tmp_path / "s", tmp_path / "a", models=[Linear()], dry_run=True)
    assert (planned.planned, planned.skipped) == (1, 3)
    report = index(tmp_path / "s", tmp_path / "a", models=[Linear()], limits=Limits(workers=4))
    assert (report.indexed, report.skipped) == (1, 3)
    (row,) = Store.open(tmp_path / "a").recordings().to_pylist()
    assert [Path(uri).name for uri in row["uris"]] == ["a.csv", "b.csv", "c.csv", "d.csv"]


def test_a_place_met_twice_with_other_bytes_lets_go_of_the_first() -> None:
    run = Run(None, Catalog(None), {"model": {}}, 5.0, 1.0, total=3)
    twice, copy = (Item(Source(path, "imu")) for path in ("/a.csv", "/copy.csv"))
    assert run.claim(twice, "as it was").what == "nothing"
    assert run.claim(copy, "as it was").what == "later"  # it is being read
    assert run.claim(twice, "as it is now").what == "nothing"
    assert run.claim(copy, "as it was").what == "nothing"  # nobody reads it, so nobody need wait for it
    assert run.claim(Item(Source("/b.csv", "imu")), "as it is now").what == "later"


def test_what_cannot_be_read_is_not_tried_again_unless_asked_or_changed(folder: Path, tmp_path: Path) -> None:
    for arguments in ({}, {}, {"retry": True}):
        report = index(folder / "junk.csv", tmp_path / "a", models=[Linear()], **arguments)
        assert [Path(uri).name for uri, _ in report.failed] == ["junk.csv"]
    (row,) = Store.open(tmp_path / "a").recordings().to_pylist()
    assert json.loads(row["extra"])["lasting"]
    write_imu(folder / "junk.csv", 9)
    assert index(folder / "junk.csv", tmp_path / "a", models=[Linear()]).indexed == 1


def test_content_that_fails_in_two_formats_keeps_both_reasons_and_is_tried_in_neither(tmp_path: Path) -> None:
    names = [tmp_path / "in" / name for name in ("a.csv", "b.mp4")]
    for path in names:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"neither a table nor a film")
        os.utime(path, (1, 1))
    first = index(names, tmp_path / "a", models=[Linear()])
    (row,) = Store.open(tmp_path / "a").recordings().to_pylist()
    assert row["uris"] == [str(path) for path in names]
    said = dict(first.failed)
    assert row["reason"] == f"as imu: {said[str(names[0])]}; as video: {said[str(names[1])]}"
    before = contents(tmp_path / "a")
    again = index(names[::-1], tmp_path / "a", models=[Linear()])
    assert dict(again.failed) == said
    assert contents(tmp_path / "a") == before
    held = catalog.Catalog(Store.open(tmp_path / "a"))
    known = [held.known_failure(row["recording_id"], name) for name in ("imu", "video")]
    assert known == [said[str(path)] for path in names]


def test_another_version_tries_again_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.csv").write_bytes(b"no table")
    index(tmp_path / "a.csv", tmp_path / "a", models=[Linear()])
    monkeypatch.setattr(catalog, "RELEASE", "another")
    for known in (False, True):
        held = catalog.Catalog(Store.open(tmp_path / "a"))
        (recording_id,) = held.rows
        assert bool(held.known_failure(recording_id, "imu")) == known
        assert len(index(tmp_path / "a.csv", tmp_path / "a", models=[Linear()]).failed) == 1


def test_a_file_that_vanishes_after_it_was_found_has_failed(folder: Path, tmp_path: Path) -> None:
    def tell(event: Event) -> None:
        if event.stage == "found":
            (folder / "3.csv").unlink(missing_ok=True)

    # The first has to be hashed and read before the last is looked at.
    report = index(folder, tmp_path / "a", models=[Linear()], progress=tell, limits=Limits(workers=1))
    reasons = {Path(uri).name: reason for uri, reason in report.failed}
    assert report.indexed == 2
    assert "No such file" in reasons["3.csv"]


def test_a_file_that_takes_too_much_memory_has_failed_and_the_others_go_on(folder: Path, tmp_path: Path) -> None:
    names = ("t_s", "ax_mps2", "ay_mps2", "az_mps2", "gx_rps", "gy_rps", "gz_rps")
    column = pa.array([9.8]).take(pa.array([0] * 1_000_000))
    table = pa.table(dict.fromkeys(names, pa.chunked_array([column] * 40)))
    pq.write_table(table, folder / "0-bomb.parquet")
    assert (folder / "0-bomb.parquet").stat().st_size < 2_000_000
    report = index(folder, tmp_path / "a", models=[Linear()], limits=Limits(workers=1, memory_gb=1.0))
    reasons = {Path(uri).name: reason for uri, reason in report.failed}
    assert report.indexed == 3
    assert "memory" in reasons["0-bomb.parquet"]
    (row,) = [r for r in Store.open(tmp_path / "a").recordings().to_pylist() if "bomb" in r["uris"][0]]
    assert json.loads(row["extra"]) == {}  # with more memory it may well be read


def test_a_new_model_replaces_the_old_one_only_where_told_to(tmp_path: Path) -> None:
    takes = [recording(0), recording(1)]
    old, new = Linear(0), Linear(1)
    index(takes, tmp_path / "a", models=[old])
    with pytest.raises(StaleIndex, match="--replace"):
        index(takes, tmp_path / "a", models=[new])
    assert index(takes, tmp_path / "a", models=[new], replace=True, dry_run=True).planned == 2
    report = index(takes, tmp_path / "a", models=[new], replace=True)
    assert report.indexed == 2
    index(takes, tmp_path / "b", models=[new])
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert verify(tmp_path / "a") == []


def test_replacing_cut_off_goes_on_with_either_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from motionseek.indexer.writer import Writer

    takes = [recording(0), recording(1)]
    for model in (Linear(0), Linear(1)):
        archive = tmp_path / model.fingerprint
        index(takes, archive, models=[Linear(0)])
        with monkeypatch.context() as cut:

            def die(*_: object) -> None:
                raise KeyboardInterrupt

            cut.setattr(Writer, "put_models", die)
            with pytest.raises(KeyboardInterrupt):
                index(takes, archive, models=[Linear(1)], replace=True)
        index(takes, archive, models=[model], replace=model.fingerprint == "linear-1")
        index(takes, tmp_path / f"{model.fingerprint}-whole", models=[model])
        assert contents(archive) == contents(tmp_path / f"{model.fingerprint}-whole")


def test_runs_say_how_they_ended(folder: Path, tmp_path: Path) -> None:
    def die(event: Event) -> None:
        if event.stage == "recording":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        index(folder, tmp_path / "a", models=[Linear()], progress=die)
    index(folder, tmp_path / "a", models=[Linear()])
    cut, whole = Store.open(tmp_path / "a").runs().to_pylist()
    assert "KeyboardInterrupt" in cut["errors"]
    assert json.loads(whole["counts"])["indexed"] == 3
    assert json.loads(whole["counts"])["failed"] == 1
    assert set(json.loads(whole["timings"])) == {"read", "wait", "encode", "write", "build"}


@pytest.mark.parametrize(
    "wrong",
    [
        *({"workers": -1}, {"timeout_s": 0.0}, {"timeout_s": float("nan")}),
        *({"memory_gb": gb} for gb in (0.1, float("nan"), float("inf"))),
    ],
)
def test_limits_that_cannot_be_kept_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        Limits(**wrong)  # type: ignore[arg-type]
