from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from motionseek.errors import DamagedFile, UsageError
from motionseek.indexer.readers import content_id, discover, read
from motionseek.types import Recording

PHONE = {"t_s": "seconds_elapsed", **dict(zip(("ax_mps2", "ay_mps2", "az_mps2"), "xyz", strict=True))}
PHONE |= dict(zip(("gx_rps", "gy_rps", "gz_rps"), "xyz", strict=True))


def write_imu(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    table = np.c_[
        np.arange(200) / 50, rng.normal(0, 0.3, (200, 3)) + np.array([0, 9.81, 0]), rng.normal(0, 1, (200, 3))
    ]
    np.savetxt(path, table, delimiter=",", header="t_s,ax_mps2,ay_mps2,az_mps2,gx_rps,gy_rps,gz_rps", comments="")


def write(folder: Path, held: object) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "recordings.json").write_text(json.dumps(held))
    return folder


def lab(folder: Path) -> Path:
    """Two subjects, three trials; both wrists, but for one that was lost."""
    for seed, name in enumerate(("ann/walk_1", "ann/walk_2", "bob/jump_1")):
        write_imu(folder / f"{name}_left.csv", seed)
        write_imu(folder / f"{name}_right.csv", seed + 10)
    (folder / "ann" / "walk_2_right.csv").unlink()
    (folder / "ann" / "notes.txt").write_text("x")
    (folder / ".ann").mkdir()
    shutil.copy(folder / "bob" / "jump_1_left.csv", folder / ".ann" / "walk_9_left.csv")
    sides = [
        {"path": f"{{who}}/{{what}}_{{n}}_{side}.csv", "placement": f"{side}_wrist", "person": "{who}"}
        for side in ("left", "right")
    ]
    return write(folder, {"imu": sides, "labels": ["{what}", "trial {n}"], "site": "hall", "unknown": "{where}"})


def all_of(folder: Path) -> list[Recording]:
    return [read(source) for source in discover([folder])]


def test_each_set_of_values_is_a_recording(tmp_path: Path) -> None:
    found = all_of(lab(tmp_path / "lab"))
    assert [r.uri.partition("#")[2] for r in found] == ["ann/walk/1", "ann/walk/2", "bob/jump/1"]
    assert [r.labels for r in found] == [("walk", "trial 1"), ("walk", "trial 2"), ("jump", "trial 1")]
    first, second, _ = found
    assert [(i.placement, i.person) for i in first.imus] == [("left_wrist", "ann"), ("right_wrist", "ann")]
    assert first.problems == ()
    assert first.extra == {"title": "ann/walk/1", "site": "hall", "unknown": "{where}"}
    assert [i.placement for i in second.imus] == ["left_wrist"]
    assert "ann/walk_2_right.csv" in second.problems[0]
    table = np.loadtxt(tmp_path / "lab" / "ann" / "walk_1_right.csv", delimiter=",", skiprows=1)
    np.testing.assert_allclose(first.imus[1].acc_mps2, table[:, 1:4], rtol=1e-6)


def test_the_folder_the_file_and_one_recording_can_be_named(tmp_path: Path) -> None:
    folder = lab(tmp_path / "lab")
    assert discover([folder / "recordings.json"]) == discover([folder]) == discover([tmp_path])
    one = read(f"{folder}/recordings.json#bob/jump/1")
    assert one.recording_id == all_of(folder)[2].recording_id == content_id(f"{folder}/recordings.json#bob/jump/1")
    for wrong in ("bob/jump/7", "bob", "bob/jump/1/2", "../bob/jump/1", ""):
        with pytest.raises(UsageError):
            read(f"{folder}/recordings.json#{wrong}")


def test_the_id_follows_the_content_not_the_place(tmp_path: Path) -> None:
    folder = lab(tmp_path / "lab")
    before = [r.recording_id for r in all_of(folder)]
    assert len(set(before)) == 3
    moved = folder.rename(tmp_path / "moved")
    assert [r.recording_id for r in all_of(moved)] == before
    write_imu(moved / "ann" / "walk_1_left.csv", 99)
    write_imu(moved / "cem" / "jump_1_left.csv", 77)
    after = [r.recording_id for r in all_of(moved)]
    assert after[0] != before[0]
    assert after[1:3] == before[1:]
    assert len(after) == 4


def test_a_name_stands_for_one_value_wherever_it_occurs(tmp_path: Path) -> None:
    folder = tmp_path / "lab"
    for name in ("a/a.csv", "a/b.csv", "b/b.csv", "b/c/b.csv"):
        write_imu(folder / name)
    write(folder, {"imu": {"path": "{trial}/{trial}.csv"}})
    assert [r.uri.partition("#")[2] for r in all_of(folder)] == ["a", "b"]


def test_a_path_without_all_names_is_shared(tmp_path: Path) -> None:
    folder = tmp_path / "lab"
    for i, name in enumerate(("s1/a.csv", "s1/b.csv", "s1/phone/p.csv")):
        write_imu(folder / name, i)
    write(folder, {"imu": [{"path": "{who}/{trial}.csv"}, {"path": "{who}/phone/p.csv", "placement": "left_pocket"}]})
    assert [[i.name for i in r.imus] for r in all_of(folder)] == [["a", "p"], ["b", "p"]]


def test_a_phones_log_of_two_tables(tmp_path: Path) -> None:
    """As Sensor Logger leaves it: a folder for each log, z before x, each sensor on its own clock."""
    rng = np.random.default_rng(0)
    held = {}
    for name, rate_hz, level in (("TotalAcceleration", 100, 9.81), ("Gyroscope", 60, 0.0)):
        t_s = np.arange(5 * rate_hz) / rate_hz + 0.013
        zyx = rng.normal(0, 0.5, (len(t_s), 3)) + np.array([0, level, 0])
        held[name] = t_s, zyx[:, ::-1]
        (tmp_path / "log 1").mkdir(exist_ok=True)
        table = np.c_[1.7e18 + t_s * 1e9, t_s, zyx]
        header = "time,seconds_elapsed,z,y,x"
        np.savetxt(tmp_path / "log 1" / f"{name}.csv", table, fmt="%.9g", delimiter=",", header=header, comments="")
    entry = {"path": "{log}/TotalAcceleration.csv", "gyro": "{log}/Gyroscope.csv", "columns": PHONE}
    (recording,) = all_of(write(tmp_path, {"imu": entry | {"placement": "right_pocket"}}))
    assert recording.problems == ()
    (imu,) = recording.imus
    assert imu.placement == "right_pocket"
    np.testing.assert_allclose(imu.acc_t_s, held["TotalAcceleration"][0])
    np.testing.assert_allclose(imu.acc_mps2, held["TotalAcceleration"][1], rtol=1e-6)
    np.testing.assert_allclose(imu.gyro_t_s, held["Gyroscope"][0])
    np.testing.assert_allclose(imu.gyro_rps, held["Gyroscope"][1], rtol=1e-6)
    (tmp_path / "log 1" / "Gyroscope.csv").write_text("time,seconds_elapsed,z,y,w\n1,2,3,4,5\n")
    with pytest.raises(DamagedFile, match="has no column x"):
        read(f"{tmp_path}/recordings.json#log 1")


BAD: dict[str, tuple[object, str]] = {
    "no names": ({"imu": {"path": "a.csv"}}, "no name in braces"),
    "no path has all": ({"imu": [{"path": "{a}.csv"}, {"path": "{b}.csv"}]}, "no path has all of its names: a, b"),
    "nothing fits": ({"imu": {"path": "{a}/{b}.csv"}}, "no file below its folder fits"),
    "a list": ([], "must hold an object"),
    "digits first": ({"imu": {"path": "{1}.csv"}}, "no name in braces"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_describes_nothing_is_one_failure_with_its_reason(tmp_path: Path, case: str) -> None:
    held, says = BAD[case]
    write_imu(tmp_path / "lab" / "a.csv")
    (source,) = discover([write(tmp_path / "lab", held)])
    assert says in source.problem
    with pytest.raises(DamagedFile, match=r"recordings\.json"):
        read(source)


def test_a_path_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    write_imu(tmp_path / "secret.csv")
    write_imu(tmp_path / "lab" / "a.csv")
    held: dict[str, Any] = {"imu": [{"path": "{n}.csv"}, {"path": "../secret.csv"}]}
    (recording,) = all_of(write(tmp_path / "lab", held))
    assert len(recording.imus) == 1
    assert "outside" in recording.problems[0]
