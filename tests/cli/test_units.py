"""Sensor files in other units: every verb that reads one is told in which, and an archive remembers it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from motionseek.cli import cli
from motionseek.demo.recordings import make_recordings
from motionseek.search.archive import open as open_archive
from motionseek.types import STANDARD_GRAVITY_MPS2, Imu

UNITS = ("--units", "acc=g,gyro=deg/s,time=ms")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording, and its left wrist's sensor once more in ms, g and degrees per second, indexed so."""
    folder = tmp_path_factory.mktemp("units")
    make_recordings(folder, names=["jump_forward"])
    values = np.loadtxt(folder / "jump_forward" / "imu_left_wrist.csv", delimiter=",", skiprows=1)
    values *= np.repeat([1e3, 1 / STANDARD_GRAVITY_MPS2, 180 / np.pi], [1, 3, 3])
    header = "t_s,ax_mps2,ay_mps2,az_mps2,gx_rps,gy_rps,gz_rps"
    (folder / "watch").mkdir()
    np.savetxt(folder / "watch" / "watch.csv", values, delimiter=",", header=header, comments="", fmt="%.9g")
    assert ran("index", folder, "--archive", folder / "archive", *UNITS).exit_code == 0
    return folder


def ran(*args: object) -> Result:
    return CliRunner().invoke(cli, list(map(str, args)))


def test_the_same_alignment(folder: Path) -> None:
    take, watch = folder / "jump_forward", folder / "watch" / "watch.csv"
    own = ran("sync", take / "imu_left_wrist.csv", take, "-p", "left_wrist", "--json")
    told = ran("sync", watch, take, "-p", "left_wrist", *UNITS, "--json")
    assert told.exit_code == own.exit_code == 0
    assert json.loads(told.stdout)["offset_s"] == pytest.approx(json.loads(own.stdout)["offset_s"], abs=1e-3)


def test_the_same_wearer(folder: Path) -> None:
    worn = ran("locate", folder / "watch" / "watch.csv", folder / "jump_forward", *UNITS, "--json")
    assert worn.exit_code == 0
    assert json.loads(worn.stdout)["sensors"][0]["part"] == "left_wrist"


@pytest.mark.parametrize(
    "asked",
    [("search", "--imu", "{watch}@0.5-4", "-p", "left_wrist", "-t", "imu"), ("find", "{watch}", "-p", "left_wrist")],
)
def test_units_are_passed_on_and_asked_for(folder: Path, asked: tuple[str, ...]) -> None:
    watch = folder / "watch" / "watch.csv"
    args = [word.format(watch=watch) for word in asked]
    refused = ran(*args, "--archive", folder / "archive")
    assert refused.exit_code != 0
    assert "--units" in str(refused.exception)
    assert ran(*args, "--archive", folder / "archive", *UNITS, "--json").exit_code == 0


def test_in_a_sum_of_terms_too(folder: Path) -> None:
    written = f""""jumping" + left_wrist:'{folder / "watch" / "watch.csv"}'@0.5-4"""
    found = ran("search", written, "-t", "imu", "--archive", folder / "archive", *UNITS, "--json")
    assert found.exit_code == 0
    assert json.loads(found.stdout)["hits"]


def test_what_was_indexed_is_read_again_in_its_units(folder: Path, tmp_path: Path) -> None:
    archive = folder / "archive"
    (recording_id,) = (r for r, source in open_archive(archive).sources.items() if source.uri.endswith("watch.csv"))
    drawn = ran("log", recording_id, "--archive", archive, "--png", tmp_path / "day.png")
    assert drawn.exit_code == 0
    assert "no sensor" not in drawn.output
    hit = {"recording_id": recording_id, "modality": "imu", "start_s": 1.0, "end_s": 3.0, "score": 1.0}
    (tmp_path / "hits.json").write_text(json.dumps({"hits": [hit]}))
    cut = ran("export", "--hits", tmp_path / "hits.json", "--out", tmp_path / "out", "--archive", archive, "--json")
    assert cut.exit_code == 0
    (name,) = json.loads(cut.stdout)["files"]
    whole = Imu.load(folder / "jump_forward" / "imu_left_wrist.csv")
    kept = (whole.acc_t_s >= 1.0) & (whole.acc_t_s < 3.0)
    np.testing.assert_allclose(Imu.load(tmp_path / "out" / name).acc_mps2, whole.acc_mps2[kept], atol=1e-3)
