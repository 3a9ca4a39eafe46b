"""The encoders of IMU2CLIP against the published network's outputs and against what masks promise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from motionseek.encoders._modules import MaskedGroupNorm
from motionseek.encoders.imu2clip import KINDS, Stack, StackConfig, from_published
from motionseek.errors import ModelError, UsageError


@pytest.fixture(scope="module")
def published(parity_dir: Path) -> tuple[dict[str, torch.Tensor], torch.Tensor, np.ndarray]:
    arrays = np.load(parity_dir / "imu2clip_stack_seed1.npz", allow_pickle=False)
    state = load_file(parity_dir / "imu2clip_stack_seed1.safetensors")
    return state, torch.from_numpy(arrays["in_imu"]), arrays["out_embedding"]


def signal(batch: int = 3, channels: int = 6, length: int = 250) -> torch.Tensor:
    return torch.randn(batch, channels, length, generator=torch.Generator().manual_seed(0))


def seeded(kind: str, **config: object) -> torch.nn.Module:
    torch.manual_seed(0)
    config_type, module = KINDS[kind]
    return module(config_type(**config)).eval()


@torch.no_grad()
def test_compat_gives_the_published_vectors(published) -> None:
    state, x, expected = published
    np.testing.assert_allclose(from_published(state)(x).numpy(), expected, atol=1e-5)


@torch.no_grad()
def test_corrected_recurs_over_time(published) -> None:
    state, x, expected = published
    corrected = Stack(StackConfig())
    corrected.load_state_dict(state)
    out = corrected(x)
    assert np.abs(out.numpy() - expected).max() > 1e-2
    # An independent pass: the same convolutions, then the GRU cell written out.
    h = torch.nn.functional.group_norm(x, 2, state["net.0.weight"], state["net.0.bias"])
    for i in (1, 2, 3):
        h = torch.nn.functional.max_pool1d(torch.conv1d(h, state[f"net.{i}.net.0.weight"], dilation=2), 3)
    h = torch.nn.functional.group_norm(h, 4, state["net.4.weight"], state["net.4.bias"])
    last = torch.zeros(len(x), 512)
    for step in h.unbind(-1):
        last = torch.gru_cell(
            step, last, *(state[f"net.5.{n}_l0"] for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
        )
    np.testing.assert_allclose(out.numpy(), last.numpy(), atol=1e-5)


def test_published_size() -> None:
    assert sum(p.numel() for p in Stack().parameters()) == 850_892


@pytest.mark.parametrize("length", [977, 1005, 200, 3])
def test_compat_refuses_other_lengths(length: int) -> None:
    with pytest.raises(UsageError, match="978 to 1004"):
        Stack(StackConfig(width=8, compat=True))(signal(length=length))


@pytest.mark.parametrize("length", [978, 1004])
def test_compat_accepts_its_lengths(length: int) -> None:
    assert Stack(StackConfig(width=8, compat=True))(signal(length=length)).shape == (3, 8)


def test_checkpoints_of_other_networks_are_refused_by_name(published) -> None:
    state, _, _ = published
    with pytest.raises(ModelError, match=r"net\.5\.weight_hh_l0 is missing"):
        from_published({"module." + name: w for name, w in state.items()})
    with pytest.raises(ModelError, match=r"missing net\.0\.bias"):
        from_published({name: w for name, w in state.items() if name != "net.0.bias"})
    with pytest.raises(ModelError, match=r"net\.1\.net\.0\.weight is \(32, 3, 10\), not \(32, 6, 10\)"):
        from_published(state | {"net.1.net.0.weight": torch.zeros(32, 3, 10)})
    with pytest.raises(ModelError, match=r"unknown net\.9"):
        from_published(state | {"net.9": torch.zeros(1)})


@torch.no_grad()
def test_masked_group_norm_is_group_norm_of_what_is_there() -> None:
    x = signal(length=40)
    norm = MaskedGroupNorm(2, 6)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    mask = torch.zeros(3, 1, 40, dtype=torch.bool)
    mask[..., 5:30] = True
    out = norm(x, mask)
    torch.testing.assert_close(out[..., 5:30], norm(x[..., 5:30]), atol=1e-5, rtol=1e-5)
    assert not out[..., :5].any()
    torch.testing.assert_close(norm(x, torch.ones_like(mask)), norm(x), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_fixed_norm_keeps_scale_and_group_norm_loses_it() -> None:
    x = signal()
    for norm, keeps in (("fixed", True), ("group", False)):
        stack = seeded("imu2clip", norm=norm, width=16)
        assert (not torch.allclose(stack(x), stack(3 * x), atol=1e-3)) is keeps


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("length", [1, 40, 250, 1000])
def test_any_length(kind: str, length: int) -> None:
    out = seeded(kind, width=16)(signal(length=length))
    assert out.shape == (3, 16)
    assert out.isfinite().all()


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_masked_samples_do_not_matter(kind: str) -> None:
    encoder, x = seeded(kind, width=16), signal(length=500)
    mask = torch.ones(3, 500, dtype=torch.bool)
    mask[:, 120:180] = False
    spoilt = x.clone()
    spoilt[:, :, 120:180] = torch.nan
    torch.testing.assert_close(encoder(spoilt, mask), encoder(x, mask), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(encoder(x, mask), encoder(x), atol=1e-5)
    torch.testing.assert_close(encoder(x, torch.ones_like(mask)), encoder(x), atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_a_window_with_nothing_measured_stays_finite(kind: str) -> None:
    assert seeded(kind, width=16)(signal(), torch.zeros(3, 250, dtype=torch.bool)).isfinite().all()


@torch.no_grad()
@pytest.mark.parametrize("pool", ["last", "mean"])
def test_a_missing_end_is_the_shorter_window(pool: str) -> None:
    torch.manual_seed(0)
    config = StackConfig(norm="fixed", width=16, pool=pool)
    stack, x = Stack(config).eval(), signal(length=1000)
    there = 500
    mask = torch.arange(1000).expand(3, 1000) < there
    steps = sum(there - i * config.hop >= config.field / 2 for i in range(32))
    zeroed = x.clone()
    zeroed[:, :, there:] = 0
    shorter = zeroed[:, :, : config.field + (steps - 1) * config.hop]
    torch.testing.assert_close(stack(x, mask), stack(shorter), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_sensors_may_be_masked_one_by_one() -> None:
    stack, x = seeded("imu2clip", norm="fixed", in_channels=12, width=16), signal(channels=12)
    mask = torch.ones(3, 12, 250, dtype=torch.bool)
    mask[:, 6:] = False
    zeroed = x.clone()
    zeroed[:, 6:] = 0
    torch.testing.assert_close(stack(x, mask), stack(zeroed), atol=1e-5, rtol=1e-5)


def test_wrong_input_and_configuration_are_named() -> None:
    with pytest.raises(UsageError, match=r"\(B, 6, L\)"):
        Stack(StackConfig(width=8))(signal(channels=3))
    with pytest.raises(UsageError, match="mask"):
        Stack(StackConfig(width=8))(signal(), torch.ones(3, 249, dtype=torch.bool))
    for config in (
        {"norm": "batch"},
        {"in_channels": 7},
        {"in_channels": 9, "norm": "fixed"},
        {"scale": (1.0,), "norm": "fixed"},
    ):
        with pytest.raises(ModelError):
            StackConfig(**config)
