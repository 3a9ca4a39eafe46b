"""Damage that is done to a real archive; after repair, and indexing again where that is asked for, it holds the rows
of one that nothing happened to."""

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pytest
from synthetic import Linear, recording, write_imu

import motionseek as ms
from motionseek.cli import main
from motionseek.errors import ArchiveError
from motionseek.indexer.pipeline import index
from motionseek.indexer.repair import repair
from motionseek.indexer.store import Store
from motionseek.indexer.verify import verify

TAKES = 3
CACHES = ("runs", "files")


def takes(folder):
    return index([recording(i) for i in range(TAKES)], folder, models=[Linear()])


def contents(folder):
    """Every row of every table that is not about when and where it was made, by key."""
    store = Store.open(folder)
    held = {}
    for name in store.table_names():
        if name not in CACHES:
            rows = store.need(name).to_arrow()
            held[name] = rows.sort_by(rows.schema.names[0]).to_pylist()
    return held


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good") / "a"
    takes(folder)
    return folder


@pytest.fixture(scope="module")
def undisturbed(good):
    return contents(good)


@pytest.fixture
def archive(good, tmp_path):
    return Path(shutil.copytree(good, tmp_path / "a"))


def one_recording(store):
    return store.recordings(columns=["recording_id"])["recording_id"][1].as_py()


def twice(table, rows=3):
    """The same rows a second time."""

    def damage(store):
        store.need(table).add(store.need(table).to_arrow().slice(2, rows))

    return damage


def differing(store):
    """A row a second time, with another vector."""
    row = store.need("motion_global").to_arrow().slice(4, 1)
    width = row.schema.field("vector").type.list_size
    other = pa.FixedSizeListArray.from_arrays(pa.array([0.5] * width, pa.float32()), width)
    store.need("motion_global").add(row.set_column(1, row.schema.field("vector"), other))


def uncommitted(store):
    """A run killed before it wrote a recording's own row."""
    store.need("recordings").delete(f"recording_id = '{one_recording(store)}'")


def strangers(table):
    def damage(store):
        rows = store.need(table).to_arrow().slice(0, 2)
        names = pa.array([f"nobody's {i}" for i in range(2)])
        for at, field in enumerate(rows.schema):
            if field.name in (rows.schema.names[0], "window_id", "recording_id"):
                rows = rows.set_column(at, field, names)
        store.need(table).add(rows)

    return damage


def lost(table, column="window_id", rows=3):
    def damage(store):
        keys = store.need(table).to_arrow()[column].unique().slice(1, rows).to_pylist()
        store.need(table).delete(f"{column} IN ({', '.join(repr(k) for k in keys)})")

    return damage


def all_windows_of_one(store):
    store.need("windows").delete(f"recording_id = '{one_recording(store)}'")


def everything_of_one_but_its_row(store):
    mine = f"recording_id = '{one_recording(store)}'"
    ids = store.need("windows").search().where(mine).select(["window_id"]).to_arrow()["window_id"].to_pylist()
    for name in store.table_names():
        names = store.need(name).schema.names
        if name != "recordings" and "recording_id" in names:
            store.need(name).delete(mine)
        elif "window_id" in names:
            store.need(name).delete(f"window_id IN ({', '.join(repr(i) for i in ids)})")


def another_model(table):
    def damage(store):
        key = store.need(table).schema.names[0]
        keys = store.need(table).to_arrow()[key].slice(0, 2).to_pylist()
        where = f"{key} IN ({', '.join(repr(k) for k in keys)})"
        store.need(table).update(where=where, values={"fingerprint": "another"})

    return damage


def no_table(name):
    def damage(store):
        for path in (store.root / "lance" / f"{name}.lance" / "data").iterdir():
            path.write_bytes(path.read_bytes()[:40])

    return damage


def no_versions(name, of):
    """What a machine leaves that lost its power: files cut off, or as long as they were and all zeros."""

    def damage(store):
        for path in (store.root / "lance" / f"{name}.lance" / "_versions").iterdir():
            path.write_bytes(of(path.read_bytes()))

    return damage


def cut(held):
    return held[: len(held) // 2]


def zeros(held):
    return bytes(len(held))


def flipped(name):
    def damage(store):
        path = store.ann_dir / name
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 0xFF
        path.write_bytes(bytes(data))

    return damage


def gone(name):
    return lambda store: (store.ann_dir / name).unlink()


DAMAGES = {
    "windows twice": (twice("windows"), {("duplicate", "windows")}, False),
    "recordings twice": (twice("recordings", 1), {("duplicate", "recordings")}, False),
    "vectors twice": (twice("motion_projected"), {("duplicate", "motion_projected")}, False),
    "local vectors twice": (twice("motion_local"), {("duplicate", "motion_local")}, False),
    "tokens twice": (twice("motion_token"), {("duplicate", "motion_token")}, False),
    "two that differ": (differing, {("duplicate", "motion_global")}, True),
    "killed before the commit": (uncommitted, {("orphan", "windows"), ("orphan", "motion_token")}, True),
    "windows of nobody": (strangers("windows"), {("orphan", "windows")}, False),
    "vectors of nobody": (strangers("clip_global"), {("orphan", "clip_global")}, False),
    "tokens of nobody": (strangers("motion_token"), {("orphan", "motion_token")}, False),
    "windows lost": (lost("windows"), {("orphan", "motion_global")}, True),
    "all windows lost": (all_windows_of_one, {("missing", "windows")}, True),
    "all but the row lost": (everything_of_one_but_its_row, {("missing", "windows")}, True),
    "global vectors lost": (lost("motion_global"), {("missing", "motion_global")}, True),
    "projected vectors lost": (lost("motion_projected"), {("missing", "motion_projected")}, True),
    "local vectors lost": (lost("motion_local"), {("missing", "motion_local")}, True),
    "vectors of the only level lost": (lost("clip_global"), {("missing", "clip_global")}, True),
    "tokens lost": (lost("motion_token", "recording_id", 1), {("missing", "motion_token")}, True),
    "vectors of another model": (another_model("motion_global"), {("foreign", "motion_global")}, True),
    "tokens of another model": (another_model("motion_token"), {("foreign", "motion_token")}, True),
    "an unreadable table": (no_table("motion_global"), {("unreadable", "motion_global")}, True),
    "unreadable tokens": (no_table("motion_token"), {("unreadable", "motion_token")}, True),
    "unreadable windows": (no_table("windows"), {("unreadable", "windows")}, True),
    "unreadable versions": (no_versions("motion_global", cut), {("unreadable", "motion_global")}, True),
    "unreadable versions of tokens": (no_versions("motion_token", zeros), {("unreadable", "motion_token")}, True),
    "unreadable versions of windows": (no_versions("windows", zeros), {("unreadable", "windows")}, True),
    "a flipped index": (flipped("motion_global.faiss"), {("stale", "motion_global.faiss")}, False),
    "flipped windows of an index": (flipped("motion_projected.arrow"), {("stale", "motion_projected.faiss")}, False),
    "a flipped sidecar": (flipped("motion_projected.json"), {("stale", "motion_projected.faiss")}, False),
    "an index that is gone": (gone("clip_global.faiss"), {("stale", "clip_global.faiss")}, False),
}


QUICK = ("two that differ", "windows lost", "an unreadable table", "unreadable versions of windows", "a flipped index")


@pytest.mark.parametrize("damage", [d if d in QUICK else pytest.param(d, marks=pytest.mark.slow) for d in DAMAGES])
def test_damage_is_found_mended_and_leaves_no_trace(archive, undisturbed, damage):
    do, expected, again = DAMAGES[damage]
    do(Store.open(archive))
    found = verify(archive)
    assert expected <= {(f.kind, f.table) for f in found}
    mended = repair(archive)
    assert {kind for kind, _ in expected} <= {f.kind for f in mended}
    assert all(f.mended for f in mended)
    assert any(f.redo for f in mended) == (again and damage != "killed before the commit")
    left = {f.kind for f in verify(archive)}
    assert left <= ({"missing"} if again else set())
    if again:
        report = takes(archive)
        assert report.indexed == TAKES if "unreadable" in damage else 0 < report.indexed < TAKES
    assert verify(archive) == []
    assert contents(archive) == undisturbed


@pytest.mark.parametrize("of", [cut, zeros])
def test_a_table_that_cannot_be_opened_is_said_by_whoever_asks(archive, of):
    no_versions("windows", of)(Store.open(archive))
    with pytest.raises(ArchiveError, match="`motionseek verify` says what is wrong"):
        Store.open(archive).windows()
    with pytest.raises(ArchiveError, match="windows"):
        takes(archive)


def test_a_removal_that_was_cut_off_and_a_table_that_cannot_be_read_are_both_mended(archive, undisturbed):
    store = Store.open(archive)
    store.need("recordings").update(where=f"recording_id = '{one_recording(store)}'", values={"status": "removed"})
    no_versions("motion_global", cut)(store)
    with pytest.raises(ArchiveError, match="motion_global"):
        takes(archive)
    repair(archive)
    assert takes(archive).indexed == TAKES
    assert verify(archive) == []
    assert contents(archive) == undisturbed


def test_a_good_archive_is_left_as_it_is(archive):
    versions = {name: Store.open(archive).need(name).version for name in Store.open(archive).table_names()}
    assert repair(archive) == []
    assert {name: Store.open(archive).need(name).version for name in versions} == versions
    assert takes(archive).indexed == 0


def test_what_is_marked_is_still_found_until_it_is_indexed_again(archive):
    lost("motion_projected")(Store.open(archive))
    repair(archive)
    assert len(Store.open(archive).readable_ids()) == TAKES


@pytest.mark.parametrize("table", ["recordings", "models"])
def test_without_its_recordings_or_models_an_archive_cannot_be_mended(archive, table):
    no_table(table)(Store.open(archive))
    with pytest.raises(ArchiveError, match=rf"{table}: .* Nothing can be mended without it"):
        repair(archive)


def test_files_that_were_hashed_are_hashed_again_where_that_cannot_be_read(archive, tmp_path):
    write_imu(tmp_path / "watch.csv", 7)
    index(tmp_path / "watch.csv", archive, models=[Linear()])
    no_table("files")(Store.open(archive))
    with pytest.raises(ArchiveError, match=r"table files cannot be read.*`motionseek verify` says what is wrong"):
        index(tmp_path / "watch.csv", archive, models=[Linear()])
    assert [(f.kind, f.table, f.mended) for f in repair(archive)] == [("unreadable", "files", "table dropped")]
    assert index(tmp_path / "watch.csv", archive, models=[Linear()]).skipped == 1


def test_a_log_of_runs_that_cannot_be_read_is_given_up(archive):
    no_table("runs")(Store.open(archive))
    assert [(f.kind, f.table, f.mended) for f in repair(archive)] == [("unreadable", "runs", "table dropped")]
    assert takes(archive).indexed == 0
    assert Store.open(archive).runs().num_rows == 1


def test_the_command_says_what_it_did(archive, capsys):
    twice("windows")(Store.open(archive))
    lost("motion_projected")(Store.open(archive))

    def run(*args):
        with pytest.raises(SystemExit) as code:
            main(["verify", *args, "--archive", str(archive), "--json"])
        return code.value.code, json.loads(capsys.readouterr().out)["findings"]

    code, findings = run()
    assert code == 1
    assert all(f["mended"] == "" for f in findings)
    code, findings = run("--repair")
    assert code == 1
    said = {f["table"]: f for f in findings}
    assert said["windows"]["mended"] == "one of each kept"
    assert said["motion_projected"]["index_again"] > 0
    takes(archive)
    assert run("--repair") == (0, [])
    assert ms.verify(archive) == []
