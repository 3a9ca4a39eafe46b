"""Recipes are read strictly: what they do not say is the default, what nobody knows is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from motionseek.encoders.train import recipe as recipes
from motionseek.encoders.train.augment import Augment
from motionseek.encoders.train.recipe import Recipe
from motionseek.errors import UsageError


@pytest.mark.parametrize("name", [n for n in recipes.names() if n != "starter"])
def test_every_recipe_that_comes_along_loads(name: str) -> None:
    held = Recipe.load(name)
    assert held.name == name
    assert held.description
    if name != "motionseek":
        assert all(stage.augment == Augment() for stage in held.stages)


def test_the_papers_numbers() -> None:
    imu2clip = Recipe.load("imu2clip")
    [stage] = imu2clip.stages
    assert (stage.batch, stage.fit.epochs, stage.fit.lr, stage.fit.optimiser) == (16, 10, 2e-4, "adagrad")
    assert (imu2clip.data.rate_hz, imu2clip.data.window_s, imu2clip.data.windows) == (200.0, 5.0, "text")
    assert stage.loss["temperature"] == 0.1
    assert Recipe.load("imu2clip_video").stages[0].fit.lr == 5e-4
    [stage] = Recipe.load("mobind").stages
    assert (stage.batch, stage.fit.lr, stage.fit.weight_decay) == (1356, 1e-4, 1e-4)
    assert {k: v for k, v in stage.loss.items() if k != "stage"} == dict(
        zip(("global", "local", "token", "masked"), (1.0, 1.0, 0.5, 0.3), strict=True)
    )
    limbs, body = Recipe.load("mobind_two_stages").stages
    assert (limbs.batch * 4, limbs.fit.lr, limbs.fit.patience) == (1356, 3e-4, 1000)
    assert (body.batch, body.fit.lr, body.loss["multi"], body.fit.seed) == (128, 1e-4, 0.1, 1201)


def minimal(**more: Any) -> dict[str, Any]:
    return {"objective": "motion", "fit": {"steps": 3}, **more}


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (minimal(optimizer={}), "mine: unknown key 'optimizer'; known: name, description"),
        (minimal(data={"rate": 50}), "mine: data: unknown key 'rate'"),
        (minimal(augment={"warp": 0.1}), "mine: augment: unknown key 'warp'; known: time_warp"),
        (minimal(fit={"steps": 3, "learning_rate": 1}), "mine: fit: unknown key 'learning_rate'"),
        (minimal(fit={"steps": "3"}), "mine: fit.steps has the wrong type: '3'"),
        (minimal(fit={}), "mine: fit: give either steps or epochs"),
        (minimal(fit={"steps": 3, "schedule": "linear"}), "schedule must be one of cosine, constant, not 'linear'"),
        (minimal(split={"by": "person", "train": "a"}), "mine: split.train has the wrong type: 'a'"),
        (minimal(objective="magic"), "objective must be one of motion, imu2clip, mobind, not 'magic'"),
        (minimal(compat=True, augment={"scale": 0.1}), "compat = true trains as published, so augment must be empty"),
        (minimal(stages=[{"lose": {}}]), r"mine: stages\[0\]: unknown key 'lose'"),
        (minimal(data={"placements": ["elbow"]}), "placement 'elbow' is not known"),
        (minimal(augment=3), "augment must be a table|unknown|not iterable"),
    ],
)
def test_what_nobody_knows_is_refused_by_name(table: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        Recipe.of(table, "mine")


def test_stages_add_to_what_all_share() -> None:
    held = Recipe.of(
        minimal(
            loss={"token": 0.5},
            augment={"scale": 0.1},
            stages=[
                {"name": "one", "batch": 7},
                {"loss": {"window": 2.0}, "fit": {"lr": 0.5}, "augment": {"scale": 0.0}},
            ],
        )
    )
    one, two = held.stages
    assert (one.name, one.batch, one.loss, one.augment.scale) == ("one", 7, {"token": 0.5}, 0.1)
    assert (two.name, two.batch, two.loss) == ("stage 2", 128, {"token": 0.5, "window": 2.0})
    assert (two.fit.lr, two.fit.steps, two.augment.scale) == (0.5, 3, 0.0)
    assert held.with_fit(steps=9).stages[1].fit.steps == 9


def test_a_file_that_is_no_toml_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.toml"
    broken.write_text("objective = ")
    with pytest.raises(UsageError, match=r"broken\.toml"):
        Recipe.load(broken)
    with pytest.raises(UsageError, match=r"nobody is neither a recipe .*motionseek.* nor a TOML file"):
        Recipe.load("nobody")
