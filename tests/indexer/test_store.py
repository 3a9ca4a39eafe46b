import shutil
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from synthetic import Linear, imu, recording

from motionseek.errors import ArchiveError, ArchiveLocked, QueryError
from motionseek.indexer import schema, tokens
from motionseek.indexer.catalog import failed_row, recording_row
from motionseek.indexer.lock import WriterLock
from motionseek.indexer.pipeline import index
from motionseek.indexer.store import Filter, Store, StreamKey, TokenStream
from motionseek.indexer.writer import Writer
from motionseek.types import Span


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    archive = tmp_path_factory.mktemp("store") / "archive"
    index([recording(i) for i in range(4)], archive, models=[Linear()])
    return Store.open(archive)


NASTY = ("it's", "'; DROP TABLE windows; --", 'say "x"', "a\\b", "ünï 日本 🏃", "%_", "line\nbreak", "", "' OR 1=1 --")


@pytest.fixture(scope="module")
def nasty(tmp_path_factory):
    archive = tmp_path_factory.mktemp("nasty") / "archive"
    takes = [recording(i, imus=(imu(i, 8.0, person=n),), labels=(n, f"all-{i}")) for i, n in enumerate(NASTY)]
    index(takes, archive, models=[Linear()])
    return Store.open(archive)


@pytest.mark.parametrize("name", NASTY)
def test_filters_find_exactly_the_name_whatever_it_holds(nasty, name):
    found = nasty.windows(Filter(person=name, modality="imu"))
    assert set(found["person"].to_pylist()) == {name}
    by_label = nasty.windows(Filter(label=name, modality="imu"))
    assert set(by_label["person"].to_pylist()) == {name}
    assert by_label.num_rows == found.num_rows > 0


def test_filters_equal_the_same_choice_made_in_python(store):
    rows = store.windows().to_pylist()
    one, two = sorted({r["recording_id"] for r in rows})[:2]
    choices = [
        (Filter(), lambda r: True),
        (Filter(modality=("imu", "text")), lambda r: r["modality"] in ("imu", "text")),
        (Filter(recording_id=(one, two)), lambda r: r["recording_id"] in (one, two)),
        (Filter(part=("right_knee", "head")), lambda r: {"right_knee", "head"} & set(r["parts"])),
        (Filter(label="none such"), lambda r: False),
        (Filter(person=()), lambda r: False),
        (Filter(min_quality=0.5), lambda r: r["quality"] >= 0.5),
        (Filter(start_s=5.0, end_s=6.0), lambda r: r["end_s"] > 5 and r["start_s"] < 6),
        (Filter(status="ok"), lambda r: True),
        (Filter(status="partial"), lambda r: False),
    ]
    for where, wanted in choices:
        assert store.windows(where).to_pylist() == [r for r in rows if wanted(r)], where


@pytest.mark.parametrize(
    "wrong",
    [
        {"modality": "sound"},
        {"part": "tail"},
        {"status": "removed"},
        {"min_quality": "1 OR 1=1"},
        {"start_s": float("nan")},
        {"person": 3},
        {"label": ("a", 1)},
    ],
)
def test_filters_refuse_what_they_cannot_mean(wrong):
    with pytest.raises(QueryError, match=next(iter(wrong))):
        Filter(**wrong)


def test_a_name_with_nul_is_refused():
    with pytest.raises(QueryError, match="NUL"):
        Filter(person="a\0b").to_sql()


def test_windows_come_sorted_and_only_the_columns_asked_for(store):
    rows = store.windows().to_pylist()
    assert rows == sorted(rows, key=lambda r: (r["recording_id"], r["modality"], r["person"], r["start_s"]))
    assert store.windows(columns=["caption", "start_s"]).column_names == ["caption", "start_s"]


def test_tokens_come_back_within_a_step_of_their_scale(tmp_path):
    rng = np.random.default_rng(0)
    token = rng.normal(size=(7, 700, 64)).astype(np.float32)
    mask = rng.random((7, 700)) > 0.2
    mask[3] = False
    token *= mask[..., None]
    parts = schema.slots("imu")
    key, other = StreamKey("it's", "imu", "p'1"), StreamKey("it's", "imu", "p'2")
    rows = tokens.to_rows(key, TokenStream(3.5, 0.2, token, mask, parts), "f")
    assert rows.num_rows == 6 * 3
    with Writer(tmp_path / "a") as writer:
        take = recording(0)
        row = {**recording_row(take, ["u"], ["f"], 1.0), "recording_id": "it's"}
        writer.add(row, {"motion_token": rows})
    store = Store.open(tmp_path / "a")
    found = store.tokens("motion", [key, other])
    assert list(found) == [key]
    got = found[key]
    assert (got.start_s, got.token_s, got.parts) == (3.5, 0.2, parts)
    assert (got.mask == mask).all()
    step = np.abs(token).max(axis=-1, keepdims=True) / 127
    assert (np.abs(got.token - token) <= step / 2 + 1e-6).all()
    cut = store.tokens("motion", [key], {key: Span(60.0, 61.0)})[key]
    assert cut.start_s == pytest.approx(3.5 + 282 * 0.2)
    assert (cut.token == got.token[:, 282:288]).all()
    assert (cut.mask == got.mask[:, 282:288]).all()
    across = store.tokens("motion", [key], {key: Span(50.0, 500.0)})[key]
    assert across.start_s == pytest.approx(3.5 + 232 * 0.2)
    assert (across.token == got.token[:, 232:]).all()
    assert store.tokens("motion", [key], {key: Span(0.0, 3.0)}) == {}
    two = store.tokens("motion", [key], {key: Span(60.0, 61.0)}, parts=(parts[3], parts[1]))[key]
    assert (two.parts, two.start_s) == ((parts[1], parts[3]), cut.start_s)
    assert (two.token == cut.token[[1, 3]]).all()
    none = store.tokens("motion", [key], parts=(parts[3],))[key]
    assert none.token.shape == (1, 700, 64)
    assert not none.mask.any()


def test_an_encoder_that_knows_fewer_parts_gets_them_back(store):
    key = StreamKey(store.windows(columns=["recording_id"])["recording_id"][0].as_py(), "imu")
    assert store.tokens("motion", [key])[key].token.shape == (6, 60, 16)
    assert store.tokens("clip", [key])[key].token.shape == (7, 12, 16)
    assert store.tokens("nowhere", [key]) == {}


def test_vectors_stand_beside_their_windows(store):
    model = Linear()
    windows, vectors = store.vectors("clip", "global", Filter(modality="text"))
    want = model.encoders["clip", "text"].encode(windows["caption"].to_pylist()).global_
    assert vectors == pytest.approx(want, abs=1e-6)
    all_windows, everything = store.vectors("clip", "global")
    at = [all_windows["window_id"].to_pylist().index(i) for i in windows["window_id"].to_pylist()]
    assert (everything[at] == vectors).all()
    local_windows, local = store.vectors("motion", "local")
    assert len(local) == len(local_windows) == store.table("motion_local").count_rows()
    for row in local_windows.slice(0, 50).to_pylist():
        assert row["part"] in row["parts"]


def test_rows_of_a_recording_that_was_not_committed_are_not_seen(tmp_path):
    index([recording(i) for i in range(2)], tmp_path / "a", models=[Linear()])
    store = Store.open(tmp_path / "a")
    before, count = store.windows(), len(store.vectors("motion", "global")[0])
    one = before["recording_id"][0].as_py()
    store.table("recordings").delete(f"recording_id = '{one}'")
    store.refresh()
    assert one not in store.windows()["recording_id"].to_pylist()
    assert 0 < len(store.vectors("motion", "global")[0]) < count
    assert store.tokens("motion", [StreamKey(one, "imu")]) == {}


def test_a_row_written_twice_is_one_row(tmp_path):
    with Writer(tmp_path / "a") as writer:
        for reason in ("first", "second", "third"):
            writer.add(failed_row("id", ["u"], reason), {})
            if reason == "second":
                writer.flush()
    found = Store.open(tmp_path / "a").recordings().to_pylist()
    assert [(r["recording_id"], r["reason"]) for r in found] == [("id", "third")]


def test_every_table_has_its_key_from_the_moment_it_exists(store):
    for name in store.table_names():
        first = store.table(name).schema.field(0)
        assert not first.nullable
        assert any(b"primary-key" in key for key in first.metadata), name


def test_removal_takes_everything_and_is_finished_by_the_next_writer(tmp_path, monkeypatch):
    archive = tmp_path / "a"
    index([recording(i) for i in range(3)], archive, models=[Linear()])
    index([recording(i) for i in range(2)], tmp_path / "b", models=[Linear()])
    victim = recording(2).recording_id
    with Writer(archive) as writer:
        monkeypatch.setattr(Writer, "finish_removals", lambda self: None)
        writer.remove([victim])
    assert victim not in Store.open(archive).windows()["recording_id"].to_pylist()
    monkeypatch.undo()
    with Writer(archive):
        pass
    assert contents(archive) == contents(tmp_path / "b")


def contents(archive):
    """All rows of an archive, sorted, without its log of runs and what it remembers of this machine's files."""
    store = Store.open(archive)
    tables = {}
    for name in store.table_names():
        if name not in ("runs", "files"):
            rows = store.table(name).to_arrow()
            tables[name] = rows.sort_by(rows.column_names[0]).to_pylist()
    return tables


def test_one_writer_at_a_time_and_a_dead_one_holds_nothing(tmp_path):
    archive = tmp_path / "a"
    with Writer(archive), pytest.raises(ArchiveLocked, match="process"), Writer(archive):
        pass
    code = "import sys, os; from pathlib import Path; from motionseek.indexer.lock import WriterLock\n"
    code += f"lock = WriterLock(Path({str(archive)!r})).__enter__(); print('held', flush=True); sys.stdin.read()"
    other = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "held\n"
    with pytest.raises(ArchiveLocked, match=f"process {other.pid}"), WriterLock(archive):
        pass
    other.kill()
    other.communicate()
    with WriterLock(archive):
        pass


def test_what_is_no_archive_is_said_with_what_to_do(tmp_path):
    with pytest.raises(ArchiveError, match="motionseek index"):
        Store.open(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ArchiveError, match=r"notes\.txt"):
        Store.open(tmp_path, create=True)
    with pytest.raises(ArchiveError, match="is a file"):
        Store.open(tmp_path / "notes.txt")
    with pytest.raises(ArchiveError, match="folder"):
        Store.open("ftp://somewhere/archive")
    with pytest.raises(ArchiveError, match="cannot be opened: Not a directory: give another folder"):
        Store.open(tmp_path / "notes.txt" / "archive", create=True)
    Store.open(tmp_path / "a", create=True).ann_dir.rmdir()
    (tmp_path / "a" / "ann").touch()
    with pytest.raises(ArchiveError, match="cannot be written to"):
        Store.open(tmp_path / "a", create=True)


def test_an_archive_of_a_later_format_is_refused(tmp_path, monkeypatch):
    later = schema.RECORDINGS.with_metadata({schema.FORMAT_KEY: b"99"})
    monkeypatch.setattr("motionseek.indexer.store.RECORDINGS", later)
    with pytest.raises(ArchiveError, match="format 99"):
        Store.open(tmp_path / "a", create=True)


def test_an_empty_archive_answers_with_nothing(tmp_path):
    store = Store.open(tmp_path / "a", create=True)
    assert (store.windows().num_rows, store.recordings().num_rows, store.models()) == (0, 0, {})
    assert isinstance(store.windows(columns=["start_s"]), pa.Table)
    with pytest.raises(ArchiveError, match="no global vectors"):
        store.vectors("clip", "global")


def test_an_archive_can_be_moved_and_copied(store, tmp_path):
    shutil.copytree(store.root, tmp_path / "copy")
    assert contents(tmp_path / "copy") == contents(store.root)


def test_many_small_commits_are_compacted(tmp_path):
    with Writer(tmp_path / "a") as writer:
        for i in range(6):
            writer.add(failed_row(f"id{i}", ["u"], "broken"), {})
            writer.flush()
        assert writer.optimize(max_fragments=3) == ["recordings"]
    store = Store.open(tmp_path / "a")
    assert store.recordings().num_rows == 6
    assert store.table("recordings").stats()["fragment_stats"]["num_fragments"] == 1
