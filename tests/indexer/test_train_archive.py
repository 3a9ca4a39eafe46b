"""From an archive to a model that loads and answers, by each objective; and what does not fit is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic import D, Linear
from test_signals import write_take

from motionseek.cli import main
from motionseek.encoders.model import load_model
from motionseek.encoders.train.recipe import Recipe
from motionseek.errors import ArchiveError, UsageError
from motionseek.indexer.pipeline import index
from motionseek.indexer.train import train

BY_PERSON = {"by": "person", "train": ["A", "B"], "validation": ["C"], "test": ["D"]}
TINY_MOBIND = {
    "parts": ["left_wrist"],
    "imu_channels": 6,
    "pose_channels": 12,
    "pose_patch": 10,
    "width": 16,
    "heads": 2,
    "layers": 1,
    "feed_forward": 16,
    "masked_layers": 1,
}
MOTION = {
    "name": "tiny",
    "objective": "motion",
    "data": {"batch": 6},
    "split": BY_PERSON,
    "model": {"width": 16, "token_dim": 8, "projected": 8},
    "loss": {"text": 0.5},
    "augment": {"time_warp": 0.1, "jitter_s": 0.05, "mounting_deg": 10.0},
    "fit": {"steps": 4, "validate_every": 2},
}
MOBIND = {
    "name": "tiny mobind",
    "objective": "mobind",
    "data": {"batch": 6},
    "split": BY_PERSON,
    "model": TINY_MOBIND,
    "stages": [
        {"name": "limbs", "loss": {"stage": 1, "local": 1.0, "token": 0.5}, "fit": {"steps": 2}},
        {"name": "body", "loss": {"stage": 2, "global": 1.0, "masked": 0.3}, "fit": {"steps": 3, "chunk": 3}},
    ],
}
IMU2CLIP = {
    "name": "tiny imu2clip",
    "objective": "imu2clip",
    "data": {"batch": 6, "rate_hz": 100.0, "text": "caption"},
    "split": BY_PERSON,
    "loss": {"targets": ["text"], "temperature": 0.1},
    "fit": {"steps": 3, "optimiser": "adagrad"},
}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("train")
    for seed, person in enumerate("ABCDAB"):
        write_take(root / "sources" / f"take-{seed}", seed, person)
    index(root / "sources", root / "archive", models=[Linear()])
    return root / "archive"


def quiet(_: str) -> None:
    """Nothing is said."""


@pytest.mark.parametrize(
    ("table", "encoders"),
    [
        (MOTION, {("motion", "imu"), ("motion", "pose"), ("clip", "imu"), ("clip", "pose")}),
        pytest.param(MOBIND, {("motion", "imu"), ("motion", "pose")}, marks=pytest.mark.slow),
        pytest.param(IMU2CLIP, {("clip", "imu")}, marks=pytest.mark.slow),
    ],
    ids=["motion", "mobind", "imu2clip"],
)
def test_a_recipe_becomes_a_model(
    archive: Path, tmp_path: Path, table: dict[str, Any], encoders: set[tuple[str, str]]
) -> None:
    trained = train(Recipe.of(table), archive, tmp_path / "model", say=quiet)
    model = load_model(tmp_path / "model")
    assert set(model.encoders) == encoders
    for key in encoders:
        encoder = model.encoders[key]
        parts, channels = (7, 6) if key[1] == "imu" else (6, 12)
        x = np.random.default_rng(0).normal(size=(2, parts, channels, round(5 * encoder.rate_hz))).astype(np.float32)
        found = encoder.encode(x, np.ones((2, parts, x.shape[3]), np.bool_))
        assert found.global_ is not None
        assert np.isfinite(found.global_).all()
        if key[0] == "clip":
            assert found.global_.shape == (2, D)
    card = json.loads((tmp_path / "model" / "model.json").read_text())
    assert card["split"]["test"]["people"] == ["D"]
    assert card["test"]["pool"] == trained.test["pool"] > 0
    assert all(
        (tmp_path / "model.work" / name.replace(" ", "_") / "training.png").is_file() for name in trained.histories
    )
    again = train(Recipe.of(table), archive, tmp_path / "model", say=quiet)
    assert again.test == pytest.approx(trained.test)


def test_the_projection_is_fitted_and_saved(archive: Path, tmp_path: Path) -> None:
    train(Recipe.of(MOTION), archive, tmp_path / "model", say=quiet)
    for modality in ("imu", "pose"):
        net = load_model(tmp_path / "model").encoder(modality, "motion").net
        assert net.projection.abs().sum() > 0


@pytest.mark.parametrize(
    ("table", "error", "says"),
    [
        (
            {**IMU2CLIP, "loss": {"targets": ["video"]}},
            UsageError,
            "needs windows with imu and video, and none of .* it has: imu, pose, text",
        ),
        (
            {**MOBIND, "model": {**TINY_MOBIND, "parts": ["left_wrist", "head"]}},
            UsageError,
            "no window has a sensor at head; the archive has: left_wrist, right_knee",
        ),
        ({**MOTION, "data": {"placements": ["torso"]}}, UsageError, "no window has a sensor at torso"),
        ({**MOTION, "data": {"windows": "video"}}, ArchiveError, "no video windows to train on"),
        ({**MOTION, "data": {"rate_hz": 20.0}}, UsageError, "the motion model takes rate_hz = 50"),
        ({**MOBIND, "data": {"rate_hz": 20.0}}, UsageError, r"needs rate_hz = 50.0 in the recipe's data, not 20.0"),
        ({**MOTION, "split": {**BY_PERSON, "test": ["Z"]}}, UsageError, "person 'Z' is not in the archive"),
        ({**MOTION, "split": {"by": "recording", "fractions": [0.5, 0.5]}}, UsageError, "the split leaks: person"),
        ({**MOTION, "model": {"depth": 3}}, UsageError, "model: unknown key 'depth'"),
        ({**MOTION, "loss": {"windows": 1.0}}, UsageError, "loss: unknown key 'windows'"),
        ({**IMU2CLIP, "loss": {"tau": 1.0}}, UsageError, "loss: unknown key 'tau'"),
        ({**IMU2CLIP, "model": {"width": 512}}, UsageError, "vectors of 16 numbers"),
    ],
)
def test_what_does_not_fit_is_said_before_the_first_step(
    archive: Path, tmp_path: Path, table: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        train(Recipe.of(table), archive, tmp_path / "model", say=quiet)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_the_verb(archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    toml = tmp_path / "mine.toml"
    toml.write_text(
        'name = "mine"\nobjective = "motion"\n[data]\nbatch = 6\n'
        '[split]\nby = "person"\ntrain = ["*"]\nvalidation = ["C"]\n[model]\nwidth = 16\n[fit]\nsteps = 3\n'
    )
    with pytest.raises(SystemExit) as stop:
        main(["train", str(toml), "--archive", str(archive), "--out", str(tmp_path / "model"), "--json"])
    out, err = capsys.readouterr()
    assert stop.value.code == 0
    said = json.loads(out)
    assert said["model"] == str(tmp_path / "model")
    assert said["stages"]["training"]["windows"] == 18
    assert "training: step 3 of 3, loss" in err
    assert "windows/s" in err
