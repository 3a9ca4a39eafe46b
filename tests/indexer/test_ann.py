import builtins
import errno
import json
import os
import resource
import shutil

import faiss
import numpy as np
import pytest
from synthetic import Linear, recording, unit

from motionseek.errors import ArchiveError, MissingExtra, QueryError
from motionseek.indexer import ann, ann_files, nearest
from motionseek.indexer.ann import Rows, open_index
from motionseek.indexer.pipeline import index
from motionseek.indexer.store import Store


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    archive = tmp_path_factory.mktemp("ann") / "archive"
    index([recording(i) for i in range(6)], archive, models=[Linear()])
    return Store.open(archive)


@pytest.fixture
def ivf(store, monkeypatch):
    """The same archive as if it were a large one."""
    monkeypatch.setattr(ann, "EXACT_ROWS", 50)
    monkeypatch.setattr(nearest, "BRUTE_ROWS", 10)
    return ann.build_index(store, "motion", "token", write=False)


def brute(vectors, query, k, keep=None):
    scores = query @ vectors.T
    if keep is not None:
        scores = np.where(keep, scores, -np.inf)
    rows = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, rows, 1), rows


@pytest.mark.parametrize("level", ["global", "local", "token"])
def test_exact_answers_equal_a_full_scan(store, level):
    found = open_index(store, "motion", level)
    windows, vectors = store.vectors("motion", level)
    assert found.kind == "exact"
    assert found.recall == 1.0
    assert found.windows.to_pylist() == windows.to_pylist()
    assert found.vectors(np.arange(len(found))) == pytest.approx(vectors)
    query = np.random.default_rng(1).normal(size=(5, vectors.shape[1])).astype(np.float32)
    scores, rows = found.search(query, 10)
    want_scores, want_rows = brute(vectors, query, 10)
    assert scores == pytest.approx(want_scores, rel=1e-4, abs=1e-5)
    assert (rows == want_rows).mean() > 0.98
    keep = np.random.default_rng(2).random(len(found)) < 0.3
    scores, rows = found.search(query, 10, Rows(keep))
    assert scores == pytest.approx(brute(vectors, query, 10, keep)[0], rel=1e-4, abs=1e-5)
    assert keep[rows].all()
    assert (found.part is None) == (level != "local")


def test_filters_reach_the_index_where_they_leave_many_rows(store, monkeypatch):
    monkeypatch.setattr(nearest, "BRUTE_ROWS", 0)
    found = open_index(store, "motion", "token")
    vectors = found.vectors(np.arange(len(found)))
    query = np.random.default_rng(1).normal(size=(4, vectors.shape[1])).astype(np.float32)
    keep = np.arange(len(found)) % 3 == 0
    scores, rows = found.search(query, 7, Rows(keep))
    assert scores == pytest.approx(brute(vectors, query, 7, keep)[0], rel=1e-4)
    assert keep[rows].all()


def test_what_is_not_there_is_minus_one(store):
    found = open_index(store, "motion", "global")
    query = np.ones((2, 16), np.float32)
    keep = np.zeros(len(found), bool)
    scores, rows = found.search(query, 3, Rows(keep))
    assert (rows == -1).all()
    assert np.isneginf(scores).all()
    keep[4] = True
    scores, rows = found.search(query, 3, Rows(keep))
    assert rows.tolist() == [[4, -1, -1]] * 2
    scores, rows = found.search(query, len(found) + 5)
    assert (rows[:, -5:] == -1).all()
    assert sorted(rows[0, :-5]) == list(range(len(found)))
    assert found.search(np.zeros((0, 16), np.float32), 3)[1].shape == (0, 3)


@pytest.mark.parametrize(
    ("query", "k", "keep"),
    [
        (np.ones((1, 3)), 5, None),
        (np.ones(16), 5, None),
        (np.ones((1, 16)), 0, None),
        (np.ones((1, 16)), 1, np.ones(2)),
    ],
)
def test_queries_that_do_not_fit_are_refused(store, query, k, keep):
    with pytest.raises(QueryError):
        open_index(store, "motion", "global").search(query, k, None if keep is None else Rows(keep))


def test_ivf_states_the_recall_that_it_has(ivf):
    assert ivf.kind == "ivf"
    assert ivf.recall >= 0.99
    vectors = ivf.vectors(np.arange(len(ivf)))
    modality = np.array(ivf.windows["modality"].to_pylist())
    query, keep = vectors[modality == "imu"], modality == "pose"
    rows = ivf.search(query, 10, Rows(keep))[1]
    want = brute(vectors, query, 10, keep)[1]
    got = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(rows, want, strict=True)])
    assert got >= 0.97
    assert keep[rows].all()


def test_ivf_finds_all_that_a_filter_leaves(ivf):
    keep = np.zeros(len(ivf), bool)
    keep[3:17] = True
    vectors = ivf.vectors(np.arange(len(ivf)))
    scores, rows = ivf.search(-vectors[60:64], 14, Rows(keep))
    assert all(sorted(r) == list(range(3, 17)) for r in rows.tolist())
    assert (np.diff(scores, axis=1) <= 1e-5).all()


def test_recall_is_measured_on_a_larger_clustered_set():
    import pyarrow as pa

    rng = np.random.default_rng(0)
    centres = rng.normal(size=(200, 32))
    matrix = unit(centres[rng.integers(0, 200, 21_000)] + 0.3 * rng.normal(size=(21_000, 32)))
    windows = pa.table({"modality": ["imu" if i % 2 else "pose" for i in range(len(matrix))]})
    import faiss

    built, recall, parameters = ann.ivf(matrix, windows, {})
    assert recall >= ann.TARGET_RECALL
    assert parameters["nprobe"] < parameters["nlist"] / 4
    query = matrix[::100]
    options = faiss.SearchParametersIVF(nprobe=parameters["nprobe"])
    rows, want = built.search(query, 10, params=options)[1], brute(matrix, query, 10)[1]
    assert np.mean([len(set(a) & set(b)) / 10 for a, b in zip(rows, want, strict=True)]) >= 0.98


def card_of(store, name="motion_global"):
    return json.loads((store.ann_dir / f"{name}.json").read_text())


@pytest.mark.parametrize("suffix", ["faiss", "arrow"])
def test_a_flipped_bit_is_noticed_and_the_file_built_again(store, suffix):
    found = open_index(store, "motion", "global")
    query = found.vectors(np.arange(3))
    want = found.search(query, 5)
    path = store.ann_dir / f"motion_global.{suffix}"
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0x40
    path.write_bytes(flipped)
    assert "not the one" in ann.why_stale(store, "motion", "global")
    again = open_index(store, "motion", "global").search(query, 5)
    assert again[0] == pytest.approx(want[0])
    assert (again[1] == want[1]).all()
    assert path.read_bytes() == whole
    assert ann.why_stale(store, "motion", "global") == ""


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"layout": 1}', None])
def test_a_sidecar_that_cannot_be_believed_means_building_again(store, damage):
    open_index(store, "motion", "global")
    path = store.ann_dir / "motion_global.json"
    path.unlink() if damage is None else path.write_text(damage)
    assert ann.why_stale(store, "motion", "global")
    open_index(store, "motion", "global")
    assert ann.why_stale(store, "motion", "global") == ""


@pytest.mark.parametrize("name", ["motion_global.faiss", "motion_global.arrow"])
def test_damage_that_changes_neither_size_nor_time_means_building_again(store, name):
    query = open_index(store, "motion", "global").vectors(np.arange(3))
    want = open_index(store, "motion", "global").search(query, 5)
    path = store.ann_dir / name
    whole, stat = path.read_bytes(), path.stat()
    path.write_bytes(bytes(len(whole)))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    again = open_index(store, "motion", "global").search(query, 5)
    assert again[0] == pytest.approx(want[0])
    assert path.read_bytes() == whole


def test_a_full_disk_is_said(store, tmp_path):
    archive = shutil.copytree(store.root, tmp_path / "a")
    shutil.rmtree(archive / "ann")
    block = faiss.IndexFlatIP(64)
    block.add(np.zeros((100, 64), np.float32))
    was = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600, was[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            ann_files._write_block(block, tmp_path / "block.faiss")
        with pytest.raises(ArchiveError, match=r"motion_global cannot be written: .* the tables are whole"):
            open_index(Store.open(archive), "motion", "global")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, was)


def test_an_archive_that_may_only_be_read_is_searched_all_the_same(store, tmp_path, monkeypatch):
    archive = shutil.copytree(store.root, tmp_path / "a")
    shutil.rmtree(archive / "ann")

    def refuse(*_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(ann_files, "_replace", refuse)
    assert len(open_index(Store.open(archive), "motion", "global")) == len(open_index(store, "motion", "global"))
    assert not list((archive / "ann").iterdir())


def test_a_file_of_another_model_or_older_tables_is_built_again(store):
    open_index(store, "motion", "global")
    path = store.ann_dir / "motion_global.json"
    for change in ({"fingerprint": "other"}, {"tables": {}}, {"layout": 0}):
        path.write_text(json.dumps({**card_of(store), **change}))
        assert "changed" in ann.why_stale(store, "motion", "global")
        open_index(store, "motion", "global")
        assert ann.why_stale(store, "motion", "global") == ""


def test_new_rows_are_in_the_index_of_a_store_that_is_opened_after(tmp_path):
    index([recording(0)], tmp_path / "a", models=[Linear()])
    old = Store.open(tmp_path / "a")
    count = len(open_index(old, "motion", "global"))
    index([recording(0), recording(1)], tmp_path / "a", models=[Linear()])
    assert len(open_index(Store.open(tmp_path / "a"), "motion", "global")) == 2 * count


def test_opening_does_not_build_what_is_fresh(store):
    open_index(store, "motion", "global")
    before = {p.name: p.stat().st_mtime_ns for p in store.ann_dir.iterdir()}
    open_index(store, "motion", "global")
    assert {p.name: p.stat().st_mtime_ns for p in store.ann_dir.iterdir()} == before
    assert not [name for name in before if name.endswith(".partial")]


def test_without_faiss_the_error_is_the_line_that_installs_it(store, monkeypatch):
    real = builtins.__import__

    def no_faiss(name, *args, **more):
        if name == "faiss":
            raise ImportError(name)
        return real(name, *args, **more)

    monkeypatch.setattr(builtins, "__import__", no_faiss)
    with pytest.raises(MissingExtra, match=r"pip install 'motionseek\[cpu\]'"):
        open_index(store, "motion", "global")


def test_parts_that_nobody_wears_ask_for_nothing():
    import pyarrow as pa

    rng = np.random.default_rng(0)
    matrix = unit(rng.normal(size=(3000, 16)))
    windows = pa.table({"modality": ["imu" if i % 3 == 0 else "pose" for i in range(len(matrix))]})
    matrix[::3] = 0
    _, recall, parameters = ann.ivf(matrix, windows, {})
    assert recall == 1
    assert parameters["nprobe"] == 1
    matrix[::30] = unit(rng.normal(size=(100, 16)))
    rows, keep = ann.own_queries(matrix, windows, rng)
    assert len(rows) == 100
    assert matrix[rows].any(axis=1).all()
    assert not keep.mask[::3].any()
