"""`motionseek train` says at once, not after minutes, what a recipe lacks."""

from __future__ import annotations

from pathlib import Path

import pytest

from motionseek.cli import main


@pytest.mark.parametrize(
    ("recipe", "says"),
    [
        ("starter", "bnr_dataset1.npz is not there"),
        ("mine.toml", "nothing.npz is not there"),
        ("wrong.toml", "unknown key 'minutes'"),
        ("other", "neither a recipe that comes with the package (imu2clip, "),
    ],
)
def test_what_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], recipe: str, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text('objective = "starter"\nbandai = ["nothing.npz"]\n')
    Path("wrong.toml").write_text('objective = "starter"\nminutes = 3\n')
    named = recipe if recipe in ("starter", "other") else str(tmp_path / recipe)
    with pytest.raises(SystemExit) as stop:
        main(["train", named, "--data", str(tmp_path), "--out", "model"])
    assert stop.value.code == 2
    assert says in capsys.readouterr().err
    assert not Path("model.work").exists()
