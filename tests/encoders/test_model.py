"""Model folders: what is written is what is read, and nothing else is taken for a model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from motionseek.encoders import imu2clip, mobind
from motionseek.encoders._torchvision import import_torchvision
from motionseek.encoders.imu2clip import Stack, StackConfig
from motionseek.encoders.model import available, load_model, save_model
from motionseek.encoders.motion import ActionConfig, ActionEncoder, MotionConfig, MotionEncoder
from motionseek.encoders.text import TextConfig, TextTower
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
        load_model(folder).encoder("imu", "clip")
    (folder / "model.json").write_text(json.dumps({**card, "preprocessing": "0"}))
    with pytest.raises(ModelError, match="another version"):
        load_model(folder)
    (folder / "model.json").write_text(json.dumps(card))
    (folder / "weights.safetensors").write_bytes(b"junk")
    with pytest.raises(ModelError, match="cannot be read"):
        load_model(folder)


@pytest.mark.parametrize("kind", [*imu2clip.KINDS, *mobind.KINDS])
def test_every_published_network_can_be_a_model(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config, network = (imu2clip.KINDS | mobind.KINDS)[kind]
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 7, 6, 250)).astype(np.float32)
    mask = np.ones((2, 7, 250), np.bool_)
    mask[1, 2:] = False
    if kind in imu2clip.KINDS:
        save_model(tmp_path, {}, {("clip", "imu"): network(config(width=16))})
        model = load_model(tmp_path, device="cpu")
        out = model.encode_imu(x, mask)
        assert out.local is not None
        assert not out.local[1, 2:].any()
        assert np.allclose(out.global_, model.encode_imu(np.where(mask[:, :, None], x, 9), mask).global_, atol=1e-5)
        return
    sizes = {"width": 16, "layers": 1, "heads": 2, "feed_forward": 16, "masked_layers": 1}
    net = network(config(parts=("right_wrist", "head"), imu_channels=6, pose_channels=12, pose_patch=10, **sizes))
    save_model(tmp_path, {}, {("motion", "imu"): net, ("motion", "pose"): net})
    # Both encoders hold the whole network, which is on disk once.
    assert len(load_file(tmp_path / "weights.safetensors")) <= len(net.state_dict())
    model = load_model(tmp_path, device="cpu")
    imu, pose = model.encode_imu(x, mask), model.encode_pose(x[:, :6].repeat(2, axis=2))
    assert imu.token is not None
    assert pose.token is not None
    assert imu.token.shape == pose.token.shape == (2, 6, 25, 16)
    assert imu.mask is not None
    assert imu.mask.any(axis=2)[0].tolist() == [False, True, False, False, True, False]
    assert imu.mask.any(axis=2)[1].tolist() == [False, True, False, False, False, False]


def test_a_model_lends_what_it_lacks_from_the_one_it_was_trained_against(folder: Path, tmp_path: Path) -> None:
    torch.manual_seed(1)
    lender = {("clip", "text"): TextTower(TextConfig(width=16, heads=2, layers=1, output_dim=8, words=3))}
    save_model(tmp_path / "lender", {}, {**lender, ("far", "imu"): Stack(StackConfig(width=8))})
    card = json.loads((folder / "model.json").read_text())
    alone = load_model(folder).fingerprint
    (folder / "model.json").write_text(json.dumps({**card, "with": str(tmp_path / "lender")}))
    model = load_model(folder)
    assert ("clip", "text") in model.encoders
    assert ("far", "imu") not in model.encoders
    assert model.fingerprint == model.encoder("text").fingerprint == model.encoder("imu", "clip").fingerprint != alone
    (folder / "model.json").write_text(json.dumps({**card, "with": str(tmp_path / "gone")}))
    with pytest.raises(ModelError, match="gone"):
        load_model(folder)


def test_text_is_read_as_open_clip_reads_it() -> None:
    import_torchvision()
    from open_clip.transformer import TextTransformer

    torch.manual_seed(0)
    sizes = {"width": 16, "heads": 2, "layers": 2, "context_length": 12, "output_dim": 8}
    tower = TextTower(TextConfig(**sizes)).eval()
    theirs = TextTransformer(**sizes, vocab_size=49408).eval()
    theirs.load_state_dict(tower.open_clip_state())
    texts = ["jumping", "a person walks slowly, then turns to the left", ""]
    tokens = tower.tokenize(texts)
    with torch.no_grad():
        assert torch.allclose(tower(tokens), theirs(tokens), atol=1e-5)
        # Words kept are as before; all others are read alike, and as open_clip reads the exported weights.
        small = tower.keeping(tower.tokenize(["jumping walks slowly"]))
        assert torch.allclose(small(tokens[:1]), tower(tokens[:1]), atol=1e-6)
        assert torch.equal(small(tower.tokenize(["zebra"])), small(tower.tokenize(["guitar"])))
        theirs.load_state_dict(small.open_clip_state())
        assert torch.allclose(small(tokens), theirs(tokens), atol=1e-5)


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
