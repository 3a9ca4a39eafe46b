"""Model folders: what is written is what is read, and nothing else is taken for a model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from motionseek.encoders.imu2clip import Stack, StackConfig
from motionseek.encoders.model import available, load_model, save_model
from motionseek.encoders.motion import ActionConfig, ActionEncoder, MotionConfig, MotionEncoder
from motionseek.errors import ModelError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    networks = {
        ("clip", "imu"): ActionEncoder(ActionConfig("imu", width=16, output_dim=8)),
        ("motion", "imu"): MotionEncoder(MotionConfig("imu", width=16, token_dim=8, projected=4)),
        ("other", "imu"): Stack(StackConfig(width=8)),
    }
    save_model(tmp_path / "m", {"name": "little"}, networks)
    return tmp_path / "m"


def test_a_model_comes_back_as_it_was_written(folder: Path) -> None:
    model = load_model(folder, device="cpu")
    assert model.name == "little"
    assert set(model.encoders) == {("clip", "imu"), ("motion", "imu"), ("other", "imu")}
    x = np.random.default_rng(0).normal(size=(2, 7, 6, 1000)).astype(np.float32)
    again = load_model(folder, device="cpu")
    for space in model.spaces:
        a = model.encode_imu(x, space=space).global_
        assert a is not None
        assert np.allclose(np.linalg.norm(a, axis=1), 1, atol=1e-5)
        assert np.array_equal(a, again.encode_imu(x, space=space).global_)


def test_the_fingerprint_follows_weights_and_not_words(folder: Path) -> None:
    before = load_model(folder).fingerprint
    card = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**card, "description": "other words"}))
    assert load_model(folder).fingerprint == before
    weights = bytearray((folder / "weights.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "weights.safetensors").write_bytes(weights)
    assert load_model(folder).fingerprint != before


def test_what_is_no_model_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="neither a model folder"):
        load_model(tmp_path / "nothing")
    with pytest.raises(ModelError, match="no encoder for text"):
        load_model(folder).encode_text(["jumping"])
    card = json.loads((folder / "model.json").read_text())
    card["encoders"][0]["config"]["width"] = 24
    (folder / "model.json").write_text(json.dumps(card))
    with pytest.raises(ModelError, match=r"clip\.imu do not fit"):
        load_model(folder)
    (folder / "model.json").write_text(json.dumps({**card, "preprocessing": "0"}))
    with pytest.raises(ModelError, match="another version"):
        load_model(folder)
    (folder / "weights.safetensors").write_bytes(b"junk")
    with pytest.raises(ModelError, match="cannot be read"):
        load_model(folder)


def test_random_clip_is_never_loaded() -> None:
    with pytest.raises(ModelError):
        load_model("open_clip:ViT-B-32")


def test_the_starter_knows_its_words() -> None:
    """Text alone: words that mean nearly the same lie nearer than words that do not."""
    if "starter" not in available():
        pytest.skip("no starter weights yet")
    model = load_model("starter", device="cpu")
    words = ["jumping", "leaping", "walking", "strolling", "sitting on a chair"]
    z = model.encode_text(words).global_
    assert z is not None
    cosine = z @ z.T
    assert cosine[0, 1] > max(cosine[0, 2:])
    assert cosine[2, 3] > max(cosine[2, [0, 1, 4]])
