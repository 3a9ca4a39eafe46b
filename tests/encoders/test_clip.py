"""open_clip models: loaded from local weights, never random, and encoding as open_clip itself does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from motionseek.encoders._torchvision import import_torchvision
from motionseek.encoders.clip import OpenClip, Preprocess
from motionseek.errors import ModelError, UsageError

import_torchvision()
import open_clip  # noqa: E402

TINY = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny open_clip model in a folder, as open_clip's own `local-dir:` wants it."""
    root = tmp_path_factory.mktemp("tiny-clip")
    preprocess = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.25, 0.3], "interpolation": "bicubic"}
    (root / "open_clip_config.json").write_text(json.dumps({"model_cfg": TINY, "preprocess_cfg": preprocess}))
    torch.manual_seed(0)
    model = open_clip.CLIP(**TINY)
    save_file(model.state_dict(), root / "open_clip_model.safetensors")
    torch.save(model.state_dict(), root / "plain.pt")
    return root


@pytest.fixture(scope="module")
def tiny(folder: Path) -> OpenClip:
    return OpenClip(f"local-dir:{folder}")


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> str:
    config = tmp_path_factory.mktemp("configs") / "motionseek-tiny.json"
    config.write_text(json.dumps(TINY))
    open_clip.add_model_config(config)
    return "motionseek-tiny"


def frames(*shape: int) -> np.ndarray:
    """Smooth pictures with some grain, as video frames are."""
    *batch, height, width = shape
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width]
    phase = rng.uniform(0, 6, (*batch, 1, 1, 3))
    waves = 110 + 80 * np.sin(x[..., None] / 9 + phase) * np.cos(y[..., None] / 13 - phase)
    return (waves + rng.normal(0, 12, waves.shape)).clip(0, 255).astype(np.uint8)


def test_open_clip_imports_in_a_fresh_process() -> None:
    code = (
        "from motionseek.encoders._torchvision import import_torchvision as f; f(); f(); import open_clip, torchvision"
    )
    run = subprocess.run([sys.executable, "-W", "error::UserWarning", "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("size", [(48, 64), (64, 48), (32, 32), (33, 97), (20, 26), (180, 240)])
def test_frames_reach_the_model_as_through_its_own_transform(tiny: OpenClip, size: tuple[int, int]) -> None:
    batch = frames(3, *size)
    _, _, transform = open_clip.create_model_and_transforms(tiny.name)
    expected = torch.stack([transform(Image.fromarray(frame)) for frame in batch])
    got = tiny.preprocess(torch.from_numpy(batch))
    # At most one grey level, where fixed point and float round apart, and hardly anywhere.
    assert (got - expected).abs().max() <= 1.01 / 255 / 0.2
    assert ((got - expected).abs() > 1e-5).float().mean() < 0.01


@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("size", [32, (24, 40)])
def test_every_resize_mode_agrees_with_open_clip(mode: str, size: int | tuple[int, int]) -> None:
    config = {"size": size, "mode": "RGB", "mean": [0.5] * 3, "std": [0.25] * 3, "fill_color": 0}
    config |= {"interpolation": "bicubic", "resize_mode": mode}
    transform = open_clip.transform.image_transform_v2(open_clip.transform.PreprocessCfg(**config), is_train=False)
    batch = frames(2, 60, 45)
    expected = torch.stack([transform(Image.fromarray(frame)) for frame in batch])
    assert (Preprocess.of(config)(torch.from_numpy(batch)) - expected).abs().max() <= 1.01 / 255 / 0.25


@torch.no_grad()
def test_video_is_open_clips_own_image_features(tiny: OpenClip) -> None:
    batch = frames(2, 3, 48, 64)
    model, _, transform = open_clip.create_model_and_transforms(tiny.name)
    images = torch.stack([transform(Image.fromarray(frame)) for frame in batch.reshape(-1, 48, 64, 3)])
    expected = model.eval().encode_image(images).reshape(2, 3, -1).numpy()
    out = tiny.video.encode(batch, raw=True)
    # What the grey level above does to the features of this network.
    np.testing.assert_allclose(out.token[:, 0], expected, atol=0.005 * np.abs(expected).max())
    np.testing.assert_allclose(out.global_, out.token[:, 0].mean(1), atol=1e-5)
    unit = tiny.video.encode(batch)
    np.testing.assert_allclose(np.linalg.norm(unit.global_, axis=-1), 1, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(unit.token, axis=-1), 1, atol=1e-5)


@torch.no_grad()
def test_text_is_open_clips_own_text_features(tiny: OpenClip) -> None:
    sentences = ["a person is jumping", "", "sits down " * 200]
    model = open_clip.create_model(tiny.name).eval()
    expected = model.encode_text(open_clip.get_tokenizer(tiny.name)(sentences), normalize=True).numpy()
    np.testing.assert_allclose(tiny.text.encode(sentences).global_, expected, atol=1e-5)
    with pytest.raises(UsageError):
        tiny.text.encode("a person is jumping")
    assert tiny.text.encode([]).global_.shape == (0, 24)


def test_missing_frames_are_left_out(tiny: OpenClip) -> None:
    batch = frames(2, 4, 48, 64)
    mask = np.array([[True, True, False, True], [False] * 4])
    out = tiny.video.encode(batch, mask)
    np.testing.assert_allclose(out.global_[0], tiny.video.encode(batch[:1, [0, 1, 3]]).global_[0], atol=1e-5)
    assert not out.global_[1].any()
    assert not out.token[~mask[:, None]].any()
    np.testing.assert_array_equal(out.mask, mask[:, None])
    assert not tiny.video.encode(batch, np.zeros((2, 4), bool)).global_.any()


def test_more_frames_than_one_pass_holds(tiny: OpenClip) -> None:
    batch = frames(3, 30, 32, 32)
    whole = tiny.video.encode(batch).token
    np.testing.assert_allclose(whole[2], tiny.video.encode(batch[2:]).token[0], atol=1e-5)


def test_a_file_of_weights_for_a_name(named: str, folder: Path) -> None:
    ours, sentences = OpenClip(named, folder / "open_clip_model.safetensors"), ["walking"]
    pickled_tensors = OpenClip(named, str(folder / "plain.pt"))
    np.testing.assert_array_equal(ours.text.encode(sentences).global_, pickled_tensors.text.encode(sentences).global_)
    assert ours.fingerprint == pickled_tensors.fingerprint
    assert set(ours.encoders) == {("clip", "text"), ("clip", "video")}


def test_fingerprint_follows_weights_and_preprocessing(
    tiny: OpenClip, named: str, folder: Path, tmp_path: Path
) -> None:
    assert (
        tiny.fingerprint == OpenClip("anything", folder).fingerprint == tiny.text.fingerprint == tiny.video.fingerprint
    )
    assert tiny.fingerprint != OpenClip(named, folder / "open_clip_model.safetensors").fingerprint  # other mean and std
    state = open_clip.CLIP(**TINY).state_dict()
    save_file(state, tmp_path / "a.safetensors")
    state["visual.proj"] = state["visual.proj"].clone()
    state["visual.proj"][0, 0] += 1e-3
    save_file(state, tmp_path / "b.safetensors")
    assert (
        OpenClip(named, tmp_path / "a.safetensors").fingerprint
        != OpenClip(named, tmp_path / "b.safetensors").fingerprint
    )


def test_a_tag_brings_the_activation_it_was_trained_with(
    named: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenAI's weights need QuickGELU, and open_clip only warns where the name does not say so."""
    file = str(folder / "open_clip_model.safetensors")
    tags = {"plain": {"file": file}, "quick": {"file": file, "quick_gelu": True}}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, named, tags)
    plain, quick = OpenClip(named, "plain"), OpenClip(named, "quick")
    activations = {type(m).__name__ for m in quick.model.modules()}
    assert "QuickGELU" in activations
    assert "GELU" not in activations
    assert plain.fingerprint != quick.fingerprint
    assert not np.allclose(plain.text.encode(["walking"]).global_, quick.text.encode(["walking"]).global_, atol=1e-4)
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "ViT-B-32-quickgelu", tags)
    with pytest.raises(ModelError, match=r"not trained with QuickGELU: use ViT-B-32$"):
        OpenClip("ViT-B-32-quickgelu", "plain")


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("this must not run",))


def test_nothing_is_ever_random_or_executed(
    named: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ModelError, match="would be random"):
        OpenClip("ViT-B-32")
    with pytest.raises(ModelError, match="no open_clip_config"):
        OpenClip(f"local-dir:{tmp_path}")
    (tmp_path / "open_clip_config.json").write_text((folder / "open_clip_config.json").read_text())
    with pytest.raises(ModelError, match="cannot be loaded"):
        OpenClip(f"local-dir:{tmp_path}")
    (tmp_path / "open_clip_config.json").write_text("{}")
    with pytest.raises(ModelError, match="not the description"):
        OpenClip(f"local-dir:{tmp_path}")
    torch.save({"visual.proj": Bomb()}, tmp_path / "bomb.pt")
    with pytest.raises(ModelError, match="without running code"):
        OpenClip(named, tmp_path / "bomb.pt")
    assert "must not run" not in capsys.readouterr().out
    with pytest.raises(ModelError, match=r"not weights of ViT-B-32 "):
        OpenClip("ViT-B-32", folder / "open_clip_model.safetensors")


def test_what_cannot_be_found_is_named(named: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such file"):
        OpenClip(named, tmp_path / "gone.safetensors")
    with pytest.raises(ModelError, match="neither a file nor a tag of ViT-B-32; its tags: openai"):
        OpenClip("ViT-B-32", "laion9b")
    with pytest.raises(ModelError, match=r"no model 'ViT-B-33'.*ViT-B-32"):
        OpenClip("ViT-B-33", "openai")
    (tmp_path / "weights.npz").touch()
    with pytest.raises(ModelError, match=r"are one of \.safetensors"):
        OpenClip(named, tmp_path / "weights.npz")


def test_an_unreachable_hub_asks_for_a_file(tmp_path: Path) -> None:
    code = (
        "from motionseek.encoders.clip import OpenClip; from motionseek.errors import ModelError\n"
        "try: OpenClip('ViT-B-32', 'laion2b_s34b_b79k')\n"
        "except ModelError as e: print(e)"
    )
    env = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "OMP_NUM_THREADS": "1", "PATH": ""}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert "cannot be fetched" in run.stdout, run.stderr
    assert "weights=FILE.safetensors" in run.stdout


def test_wrong_frames_are_named(tiny: OpenClip) -> None:
    with pytest.raises(UsageError, match="uint8"):
        tiny.video.encode(np.zeros((1, 2, 8, 8, 3), np.float32))
    with pytest.raises(UsageError, match="mask"):
        tiny.video.encode(np.zeros((1, 2, 8, 8, 3), np.uint8), np.ones((2, 1), bool))
