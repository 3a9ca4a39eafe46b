"""Published checkpoints become models that give the published outputs; anything else is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from motionseek.cli import main
from motionseek.encoders.imu2clip import Stack
from motionseek.encoders.model import load_model, save_model, verify_model
from motionseek.encoders.published import import_published, read_checkpoint
from motionseek.errors import ModelError


def test_imu2clip_with_its_trainers_prefix(parity_dir: Path, tmp_path: Path) -> None:
    state = load_file(parity_dir / "imu2clip_stack_seed1.safetensors")
    wrapped = {"state_dict": {f"imu_encoder.{n}": w for n, w in state.items()} | {"text.weight": torch.zeros(3)}}
    torch.save(wrapped, tmp_path / "epoch=3.ckpt")
    arrays = np.load(parity_dir / "imu2clip_stack_seed1.npz")
    check = parity_dir / "imu2clip_stack_seed1.npz"
    difference = import_published("imu2clip", tmp_path / "epoch=3.ckpt", tmp_path / "m", check=check)
    assert difference is not None
    assert difference < 1e-5
    model = load_model(tmp_path / "m", device="cpu")
    assert model.encoder("imu").rate_hz == 200
    # One sensor of a window, on a slot of its own, is what the published network saw.
    x = np.zeros((4, 7, 6, 1000), np.float32)
    x[:, 4] = arrays["in_imu"]
    mask = np.zeros((4, 7, 1000), np.bool_)
    mask[:, 4] = True
    expected = arrays["out_embedding"] / np.linalg.norm(arrays["out_embedding"], axis=1, keepdims=True)
    np.testing.assert_allclose(model.encode_imu(x, mask).global_, expected, atol=1e-5)
    assert verify_model(tmp_path / "m") == []


@pytest.mark.parametrize("stage", [1, 2])
def test_mobind(stage: int, parity_dir: Path, tmp_path: Path) -> None:
    name = f"mobind_stage{stage}_seed1"
    files = parity_dir / f"{name}.safetensors", tmp_path / "m"
    check = parity_dir / f"{name}.npz"
    difference = import_published("mobind", *files, heads=4, check=check)
    assert difference is not None
    assert difference < 1e-4
    model = load_model(tmp_path / "m", device="cpu")
    assert set(model.encoders) == {("motion", "imu"), ("motion", "pose")}
    assert verify_model(tmp_path / "m") == []
    with pytest.raises(ModelError, match="number of heads"):
        import_published("mobind", files[0], tmp_path / "wrong", heads=8, check=check)
    assert not (tmp_path / "wrong").exists()


def test_what_is_no_checkpoint_is_refused(parity_dir: Path, tmp_path: Path) -> None:
    for name, content, said in (
        ("junk.pt", b"junk", "plain tensors"),
        ("junk.safetensors", b"junk", "plain tensors"),
        ("empty.pt", b"", "plain tensors"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ModelError, match=said):
            read_checkpoint(tmp_path / name)
    torch.save({"model": Stack()}, tmp_path / "whole.pt")  # a pickled object could run code
    with pytest.raises(ModelError, match="state_dict"):
        read_checkpoint(tmp_path / "whole.pt")
    with pytest.raises(ModelError, match="no such file"):
        read_checkpoint(tmp_path / "none.pt")
    with pytest.raises(ModelError, match=r"no net\.5\.weight_hh_l0"):
        import_published("imu2clip", parity_dir / "mobind_stage1_seed1.safetensors", tmp_path / "m")
    state = load_file(parity_dir / "imu2clip_stack_seed1.safetensors")
    state["net.0.weight"][0] = float("nan")
    save_file(state, tmp_path / "nan.safetensors")
    with pytest.raises(ModelError, match=r"net\.0\.weight holds NaN"):
        import_published("imu2clip", tmp_path / "nan.safetensors", tmp_path / "m")
    save_file({**state, "net.0.weight": torch.zeros(9)}, tmp_path / "shape.safetensors")
    with pytest.raises(ModelError, match=r"shape\.safetensors.*\(9,\), not \(6,\)"):
        import_published("imu2clip", tmp_path / "shape.safetensors", tmp_path / "m")


def test_the_command_line(parity_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*args: object) -> tuple[int, str]:
        with pytest.raises(SystemExit) as stop:
            main([str(a) for a in args])
        return int(stop.value.code or 0), capsys.readouterr().out.strip()

    file, check = (parity_dir / f"imu2clip_stack_seed1.{x}" for x in ("safetensors", "npz"))
    assert run("models", "import", "imu2clip", file, "--out", tmp_path / "m", "--check", check)[0] == 0
    assert run("models", "verify", tmp_path / "m") == (0, f"{tmp_path / 'm'}: ok")
    net = Stack()
    with torch.no_grad():
        net.net[0].weight[0] = float("inf")
    save_model(tmp_path / "bad", {}, {("clip", "imu"): net})
    code, out = run("models", "verify", tmp_path / "bad")
    assert code == 1
    assert "clip.imu.net.0.weight is not finite" in out
