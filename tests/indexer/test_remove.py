import json
from pathlib import Path

import pytest
from synthetic import Linear, recording

import motionseek as ms
from motionseek.cli import main
from motionseek.errors import ArchiveError, UsageError
from motionseek.indexer.pipeline import index
from motionseek.indexer.remove import remove
from motionseek.indexer.store import Store
from motionseek.indexer.verify import verify

TABLES = ("windows", "motion_token", "motion_global", "motion_local", "motion_projected", "clip_global", "clip_token")


def contents(folder):
    store = Store.open(folder)
    return {n: store.need(n).to_arrow().sort_by(store.need(n).schema.names[0]).to_pylist() for n in TABLES}


@pytest.fixture
def archive(tmp_path):
    index([recording(i) for i in range(3)], tmp_path / "a", models=[Linear()])
    return tmp_path / "a"


@pytest.mark.parametrize("by", ["id", "prefix", "pattern"])
def test_what_is_removed_leaves_nothing_behind(archive, tmp_path, by):
    name = recording(1).recording_id
    removed = (
        remove(archive, source="take-1") if by == "pattern" else remove(archive, [name[: 8 if by == "prefix" else 64]])
    )
    assert [(r.recording_id, r.uris, r.whole) for r in removed] == [(name, ("take-1",), True)]
    assert verify(archive) == []
    # As if it had never been there.
    index([recording(0), recording(2)], tmp_path / "b", models=[Linear()])
    assert contents(archive) == contents(tmp_path / "b")
    assert name not in Store.open(archive).recordings()["recording_id"].to_pylist()
    assert index([recording(i) for i in range(3)], archive, models=[Linear()]).indexed == 1


def test_search_no_longer_finds_it(tmp_path):
    folder = tmp_path / "a"
    index([recording(i) for i in range(2)], folder)
    found = {m.recording_id for m in ms.open(folder).search("walk", target="imu", k=20).moments}
    assert recording(0).recording_id in found
    remove(folder, [recording(0).recording_id])
    found = {m.recording_id for m in ms.open(folder).search("walk", target="imu", k=20).moments}
    assert found == {recording(1).recording_id}


def test_a_copy_elsewhere_keeps_the_recording(tmp_path):
    import numpy as np

    t_s = np.arange(400) / 50
    rows = np.column_stack([t_s, np.tile([0, 0, 9.81, 0, 0, 0], (400, 1)) + np.sin(t_s)[:, None] * 0.1])
    text = "t_s,ax_mps2,ay_mps2,az_mps2,gx_rps,gy_rps,gz_rps\n" + "\n".join(",".join(map(str, r)) for r in rows)
    for folder in ("old", "new"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "watch.csv").write_text(text)
    index([tmp_path / "old", tmp_path / "new"], tmp_path / "a", models=[Linear()])
    (one,) = remove(tmp_path / "a", source="*/old/*")
    assert not one.whole
    assert Store.open(tmp_path / "a").recordings()["uris"].to_pylist() == [[str(tmp_path / "new" / "watch.csv")]]
    (one,) = remove(tmp_path / "a", source=f"{tmp_path}/*")
    assert one.whole
    assert not len(Store.open(tmp_path / "a").recordings())


@pytest.mark.parametrize(
    ("recordings", "source"),
    [(["nobody"], None), (["abc"], None), ([], "*/nowhere/*"), ([], None), (["' OR 1=1 --"], None)],
)
def test_what_fits_nothing_is_refused_and_removes_nothing(archive, recordings, source):
    before = contents(archive)
    with pytest.raises(UsageError):
        remove(archive, recordings, source=source)
    assert contents(archive) == before


def test_names_with_quotes_are_names(tmp_path):
    from dataclasses import replace

    names = ["it's", "it''s", "x' OR '1'='1"]
    index([replace(recording(i), uri=name) for i, name in enumerate(names)], tmp_path / "a", models=[Linear()])
    (one,) = remove(tmp_path / "a", source="x' OR*")
    assert one.uris == (names[2],)
    assert len(Store.open(tmp_path / "a").readable_ids()) == 2


def test_no_archive_is_made_by_removing(tmp_path):
    with pytest.raises(ArchiveError):
        remove(tmp_path / "none", ["abcdef"])
    assert not Path(tmp_path / "none").exists()


def test_the_command(archive, capsys):
    def run(*args):
        with pytest.raises(SystemExit) as code:
            main(["remove", *args, "--archive", str(archive), "--json"])
        return code.value.code, json.loads(capsys.readouterr().out)

    code, said = run("--source", "take-*", "--dry-run")
    assert code == 0
    assert len(said["removed"]) == 3
    assert len(Store.open(archive).readable_ids()) == 3
    assert len(run(recording(2).recording_id)[1]["removed"]) == 1
    code, said = run("nobody")
    assert code == 2
    assert "names no recording" in said["error"]["message"]
