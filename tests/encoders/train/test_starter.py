"""The starter's recipe, made tiny, goes through the one loop to a model that loads; what is done is not redone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from motionseek.encoders.model import load_model, save_model
from motionseek.encoders.motion import ActionConfig, ActionEncoder
from motionseek.encoders.simulate.procedural import GENERATORS
from motionseek.encoders.text import TextConfig, TextTower
from motionseek.encoders.train import starter
from motionseek.encoders.train.starter import StarterRecipe, train_starter
from motionseek.errors import ModelError, UsageError


@pytest.mark.slow
def test_a_tiny_starter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = {name: GENERATORS[name] for name in ("walk", "jump", "stand")}
    monkeypatch.setattr(starter, "GENERATORS", few)
    recipe = StarterRecipe(bandai=(), procedural=8, procedural_s=14.0, action_steps=3, motion_steps=3, batch=8)
    out = tmp_path / "starter"
    taught: list[int] = []

    def teach(config: TextConfig, *, seed: int, **_: object) -> TextTower:
        """The teacher may not be installed; the tower has the form that it leaves."""
        taught.append(seed)
        torch.manual_seed(seed)
        tower = TextTower(config)
        return tower.keeping(tower.tokenize(["walking", "jumping"])).eval()

    monkeypatch.setattr(starter, "distil", teach)
    said: list[str] = []
    train_starter(recipe, tmp_path, out, say=said.append)
    assert any("actions: step 3 of 3" in line for line in said)
    assert any("motion: step 3 of 3" in line for line in said)
    model = load_model(out)
    wanted = {("clip", "text"), ("clip", "imu"), ("clip", "pose"), ("motion", "imu"), ("motion", "pose")}
    assert set(model.encoders) == wanted
    x = np.random.default_rng(0).normal(size=(2, 7, 6, 250)).astype(np.float32)
    assert np.isfinite(model.encode_imu(x, space="motion").global_).all()
    first = (out / "weights.safetensors").read_bytes()
    said.clear()
    train_starter(recipe, tmp_path, out, say=said.append)
    assert not any("step 1 of 3" in line for line in said)
    assert (out / "weights.safetensors").read_bytes() == first
    assert taught == [0]
    with pytest.raises(UsageError, match="other settings"):
        train_starter(replace(recipe, seed=1), tmp_path, out, say=said.append)
    assert taught == [0, 1]

    said.clear()
    train_starter(replace(recipe, seed=2, motion_from=str(out)), tmp_path, tmp_path / "other", say=said.append)
    assert not any(line.startswith("motion: step") for line in said)
    assert load_model(tmp_path / "other").card["motion_of"] == f"starter {load_model(out).fingerprint}"
    held, other = load_file(out / "weights.safetensors"), load_file(tmp_path / "other" / "weights.safetensors")
    same = {name for name in held if torch.equal(held[name], other.get(name, torch.empty(0)))}
    assert {name for name in held if name.startswith("motion.")} <= same
    assert not {name for name in held if name.startswith("clip.imu.") and name.endswith("conv1.weight")} & same


def test_motion_networks_of_another_kind_are_refused(tmp_path: Path) -> None:
    net = ActionEncoder(ActionConfig("imu", width=16, output_dim=8))
    save_model(tmp_path / "words", {"name": "words"}, {("clip", "imu"): net})
    with pytest.raises(ModelError, match="motion"):
        train_starter(StarterRecipe(bandai=(), motion_from=str(tmp_path / "words")), tmp_path, tmp_path / "out")
