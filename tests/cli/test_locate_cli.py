"""motionseek locate on files."""

from __future__ import annotations

import json

import numpy as np
import pytest

from motionseek.cli import main
from motionseek.demo.recordings import make_recordings


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scene")
    make_recordings(folder, names=["jump_forward", "sword_a"])
    return folder


def run(capsys, *args):
    with pytest.raises(SystemExit) as exit_:
        main(["locate", *map(str, args)])
    return exit_.value.code or 0, *capsys.readouterr()


def test_a_sensor_finds_its_wearer_and_part(capsys, folder):
    take = folder / "jump_forward"
    code, out, _ = run(capsys, take / "imu_left_wrist.csv", take / "imu_head.csv", take, "--json")
    said = json.loads(out)
    assert code == 0
    assert [(worn["person"], worn["part"]) for worn in said["sensors"]] == [("0", "left_wrist"), ("0", "head")]
    assert np.isfinite([worn["margin"] for worn in said["sensors"]]).all()
    code, out, _ = run(capsys, take, take, "--together")
    assert code == 0
    assert out.count("left_wrist") == 2


def test_a_stranger_is_nobody(capsys, folder):
    code, out, _ = run(capsys, folder / "sword_a" / "imu_left_wrist.csv", folder / "jump_forward")
    assert code == 1
    assert "nobody" in out


def test_placements_and_sensors_must_match(capsys, folder):
    take = folder / "jump_forward"
    code, _, err = run(capsys, take / "imu_head.csv", take, "-p", "head", "-p", "head")
    assert code == 2
    assert "give one for each" in err
