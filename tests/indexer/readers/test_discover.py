from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from motionseek.errors import DamagedFile, UnknownFormat, UsageError
from motionseek.indexer.readers import READERS, Source, content_id, discover, read


def sensor(path: Path, seed: int = 0) -> Path:
    rng = np.random.default_rng(seed)
    acc = np.array([0, 9.81, 0]) + rng.normal(0, 0.3, (100, 3))
    np.save(path, np.c_[np.arange(100) / 50, acc, rng.normal(0, 1, (100, 3))])
    return path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    for folder in ("b", "a/deep", ".hidden", "rec", "none"):
        (root / folder).mkdir(parents=True)
    sensor(root / "z.npy")
    sensor(root / "b" / "2.npy", 1)
    sensor(root / "b" / "10.npy", 2)
    sensor(root / "a" / "deep" / "Ünï \n コ#1.npy", 3)
    sensor(root / ".hidden" / "x.npy", 4)
    sensor(root / ".x.npy", 5)
    sensor(root / "rec" / "inner.npy", 6)
    (root / "rec" / "recording.json").write_text('{"imu": [{"path": "inner.npy"}]}')
    (root / "notes.txt").write_text("no recording")
    (root / "broken.mp4").write_bytes(b"junk")
    (root / "broken.csv").write_bytes(b"")
    (root / "b" / "other.json").write_text("{}")
    return root


def names(sources: list[Source], root: Path) -> list[tuple[str, str]]:
    return [(os.path.relpath(s.path, root), s.format) for s in sources]


def test_folders_are_walked_in_order(tree: Path) -> None:
    found = names(discover([tree]), tree)
    assert found == [
        ("a/deep/Ünï \n コ#1.npy", "imu"),
        ("b/10.npy", "imu"),
        ("b/2.npy", "imu"),
        ("broken.csv", "imu"),
        ("broken.mp4", "video"),
        ("rec", "manifest"),
        ("z.npy", "imu"),
    ]


def test_all_that_is_found_is_read_or_refused_by_name(tree: Path) -> None:
    for source in discover([tree]):
        if "broken" in source.path:
            with pytest.raises(DamagedFile, match="broken"):
                read(source)
            assert len(content_id(source)) == 64
        else:
            assert read(source).recording_id == content_id(source)


def test_loops_of_links_end(tree: Path) -> None:
    before = len(discover([tree]))
    (tree / "b" / "up").symlink_to(tree)
    (tree / "b" / "self").symlink_to(tree / "b")
    (tree / "none" / "dangling.npy").symlink_to(tree / "nothing.npy")
    assert len(discover([tree])) == before


def test_each_recording_comes_once(tree: Path) -> None:
    assert names(discover([tree / "z.npy", tree / "b" / ".." / "z.npy", str(tree / "z.npy")]), tree) == [
        ("z.npy", "imu")
    ]
    assert names(discover([tree / "rec" / "recording.json", tree / "rec"]), tree) == [("rec", "manifest")]


def test_paths_are_absolute(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree)
    assert discover(["z.npy"]) == [Source(str(tree / "z.npy"), "imu")]
    assert read("z.npy").uri == str(tree / "z.npy")


def test_a_named_file_that_no_reader_knows_does_not_stop_the_rest(tree: Path) -> None:
    found = discover([tree / "notes.txt", tree / "z.npy"])
    assert [s.format for s in found] == ["", "imu"]
    assert "no reader" in found[0].problem
    with pytest.raises(UnknownFormat, match=r"notes\.txt"):
        read(found[0])
    with pytest.raises(UnknownFormat):
        content_id(found[0])


def test_what_does_not_exist_is_wrong_use(tree: Path) -> None:
    for name in ("nowhere", "z.npy#a1_s1_t1", ""):
        path = str(tree / name) if name else str(tree / "x" / "y")
        with pytest.raises(UsageError, match="does not exist"):
            discover([path])
    with pytest.raises(UsageError, match="a source is empty"):
        discover([""])  # as an unset variable of a shell is; it is not the folder we happen to be in
    with pytest.raises(UsageError, match="list"):
        discover(str(tree))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="vhs"):
        discover([tree], format="vhs")


def test_a_named_format_takes_only_its_own(tree: Path) -> None:
    assert names(discover([tree], format="manifest"), tree) == [("rec", "manifest")]
    assert [f for _, f in names(discover([tree], format="imu"), tree)] == ["imu"] * 6


def test_an_empty_folder_holds_nothing(tree: Path) -> None:
    assert discover([tree / "none"]) == []
    with pytest.raises(UsageError, match="0 recordings"):
        read(tree / "none")


def test_an_unreadable_folder_is_reported(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.scandir

    def refuse(path: str | Path) -> object:
        if Path(path).name == "b":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found = discover([tree])
    (bad,) = [s for s in found if s.problem]
    assert bad.path == str(tree / "b")
    assert "Permission denied" in bad.problem
    assert len(found) == 6


@pytest.fixture
def as_nobody() -> Iterator[Path]:
    """A folder that everybody may enter, and a process that may not read everything: root may."""
    folder = Path(tempfile.mkdtemp(prefix="motionseek-"))
    folder.chmod(0o755)
    yield folder
    if os.getuid() == 0:
        os.seteuid(0)
    (folder / "closed").chmod(0o755)
    shutil.rmtree(folder)


def test_what_may_not_be_read_has_a_problem_and_the_rest_is_read(as_nobody: Path) -> None:
    (as_nobody / "closed").mkdir()
    secret = [sensor(as_nobody / "secret.npy"), as_nobody / "secret.mp4", as_nobody / "secret.vrs", as_nobody / "s.csv"]
    good, _ = sensor(as_nobody / "good.npy"), sensor(as_nobody / "closed" / "watch.npy")
    for path in secret[1:]:
        path.write_bytes(bytes(99))
    for path in (*secret, as_nobody / "closed"):
        path.chmod(0)
    if os.getuid() == 0:
        os.seteuid(65534)
    found = {Path(s.path): s for s in discover([as_nobody])}
    assert set(found) == {good, *secret, as_nobody / "closed"}
    assert "Permission denied" in found[as_nobody / "closed"].problem
    assert len(read(found[good]).imus) == 1
    for path in secret:
        with pytest.raises(DamagedFile, match="Permission denied"):
            read(found[path])


def test_the_id_of_a_file_is_its_sha256(tree: Path) -> None:
    path = tree / "z.npy"
    assert content_id(path) == sha256(path.read_bytes()).hexdigest()
    shutil.copy(path, tree / "copy.npy")
    assert content_id(tree / "copy.npy") == content_id(path)
    sensor(path, 9)
    assert content_id(tree / "copy.npy") != content_id(path)


def test_readers_are_listed_by_name() -> None:
    archives = {"aria", "ego4d", "egohumans", "epic-kitchens", "mobifall", "mri", "total-capture", "utd-mhad"}
    assert set(READERS) == archives | {"manifest", "layout", "mcap", "openpose", "gopro", "camera", "video", "imu"}
    assert all(name == reader.name for name, reader in READERS.items())
