"""Files on disk → index → answers, by the command line and by the Python API, with a model from a folder."""

from __future__ import annotations

import json

import numpy as np
import pytest
from stand_ins import a_pose, an_imu, random_networks
from swings import body, forearm

import motionseek as ms
from motionseek.cli import main
from motionseek.demo.recordings import write_imu, write_pose
from motionseek.encoders.model import save_model


def run(capsys, *args):
    with pytest.raises(SystemExit) as exit_:
        main([str(a) for a in args])
    out, err = capsys.readouterr()
    return exit_.value.code or 0, out, err


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A model folder and three recordings of a wrist and a body, one of them damaged."""
    root = tmp_path_factory.mktemp("world")
    save_model(root / "model", {"name": "random", "licence": "none"}, random_networks())
    for seed in (1, 2, 3):
        home = root / "takes" / f"take{seed}"
        home.mkdir(parents=True)
        write_imu(home / "wrist.csv", an_imu(seed, np.arange(0, 15, 0.02)))
        write_pose(home / "pose.json", a_pose(seed, np.arange(0, 15, 1 / 30)))
        manifest = {
            "imu": [{"path": "wrist.csv", "placement": "right_wrist"}],
            "pose": [{"path": "pose.json"}],
            "narrations": [{"start_s": 0.0, "end_s": 15.0, "text": f"take number {seed}"}],
            "labels": [f"label {seed}"],
        }
        (home / "recording.json").write_text(json.dumps(manifest))
    (root / "takes" / "take3" / "wrist.csv").write_text("this is no table\n")
    (root / "takes" / "take3" / "pose.json").write_text("{")
    manifest = {"imu": [{"path": "wrist.csv"}], "pose": [{"path": "pose.json"}]}
    (root / "takes" / "take3" / "recording.json").write_text(json.dumps(manifest))
    return root


def test_the_whole_way_by_the_command_line(capsys, world):
    where = ("--archive", world / "archive")
    code, out, err = run(capsys, "index", world / "takes", *where, "--model", world / "model", "--json")
    said = json.loads(out)
    assert code == 1
    assert said["indexed"] == 2
    assert len(said["failed"]) == 1
    assert "take3" in said["failed"][0]["uri"]
    assert "take3" in err

    wrist = world / "takes" / "take2" / "wrist.csv"
    cut = ("search", "--imu", f"{wrist}@4.5-9", "--target", "imu", *where)
    code, out, _ = run(capsys, *cut, "--placement", "right_wrist", "--json")
    hits = json.loads(out)["hits"]
    assert code == 0
    assert "take2" in hits[0]["uri"]
    assert hits[0]["offset_s"] == pytest.approx(0, abs=0.01)
    assert (hits[0]["start_s"], hits[0]["end_s"]) == pytest.approx((4.5, 9), abs=0.05)
    assert [hit["rank"] for hit in hits] == [1, 2]

    code, out, err = run(capsys, *cut)
    assert code == 2
    assert "--placement" in err
    code, out, _ = run(capsys, *cut, "--placement", "right_wrist")
    assert code == 0
    assert "take2" in out

    code, out, err = run(capsys, "search", "jumping", *where)
    assert code == 2
    assert "it has: imu, pose, text" in err
    code, out, _ = run(capsys, "search", "jumping", "-t", "pose", "--label", "label 1", *where, "--json")
    assert [hit["labels"] for hit in json.loads(out)["hits"]] == [["label 1"]]
    assert run(capsys, "verify", *where)[0] == 0


def test_a_folder_as_query_and_the_python_api(world):
    archive = ms.open(world / "archive")
    take = world / "takes" / "take1"
    through_pose = archive.search(ms.Query.from_file(take, modality="pose"), target="pose")
    assert "take1" in through_pose[0].uri
    assert through_pose[0].score > 0.99
    by_path = archive.search(take / "wrist.csv", target="imu", placement="right_wrist", k=1)
    assert "take1" in by_path[0].uri
    with pytest.raises(ms.QueryError, match="no video"):
        ms.Query.from_file(take, modality="video")
    with pytest.raises(ms.QueryError, match="must start before it ends"):
        ms.Query.from_file(f"{take}@9-3")
    with pytest.raises(ms.QueryError, match="no such file"):
        ms.Query.from_file("nowhere.csv")


def test_a_model_changed_under_the_archive_is_refused(world):
    archive = ms.open(world / "archive")
    weights = world / "model" / "weights.safetensors"
    kept = weights.read_bytes()
    save_model(world / "model", {"name": "random", "licence": "none"}, random_networks(1))
    try:
        with pytest.raises(ms.StaleIndex, match="fingerprint"):
            archive.search("jumping", target="imu")
    finally:
        weights.write_bytes(kept)


def test_sync_with_a_model(model):
    """An untrained model adds noise to the score; where the traces are clear it must not move the offset."""
    t_s, seen_s = np.arange(0, 20, 0.01), np.arange(3, 18, 1 / 30)
    found = ms.sync(forearm(t_s), body(seen_s, clock_s=seen_s - 1.25), model=model)
    assert found.offset_s == pytest.approx(-1.25, abs=0.005)
    assert found.method.startswith("motion tokens")
