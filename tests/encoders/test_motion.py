"""Our own motion model: one token per instant, whatever it is looked at through."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from motionseek.encoders.motion import ActionConfig, ActionEncoder, MotionConfig, MotionEncoder, token_mask
from motionseek.encoders.towers import MotionTower
from motionseek.errors import ModelError, UsageError


@pytest.fixture(scope="module")
def tower() -> MotionTower:
    torch.manual_seed(0)
    net = MotionEncoder(MotionConfig("imu", width=32, token_dim=16, projected=24))
    net.projection.normal_()
    return MotionTower(net, "imu", "motion", "test", torch.device("cpu"))


def test_a_token_depends_on_its_context_only(tower: MotionTower) -> None:
    x = np.random.default_rng(0).normal(size=(1, 7, 6, 500)).astype(np.float32)
    whole = tower.encode(x).token
    piece = tower.encode(x[..., 100:300]).token
    assert whole is not None
    assert piece is not None
    assert np.allclose(piece[:, :, 2:-2], whole[:, :, 12:28], atol=1e-5)
    changed = x.copy()
    changed[..., 250 + 10 + 18 :] = 0  # beyond token 25's own span and its context of 0.34 s
    assert np.allclose(tower.encode(changed).token[:, :, 25], whole[:, :, 25], atol=1e-5)


def test_a_finer_hop_gives_the_same_tokens_between_others(tower: MotionTower) -> None:
    x = np.random.default_rng(1).normal(size=(2, 7, 6, 250)).astype(np.float32)
    coarse, fine = tower.encode(x), tower.encode(x, hop_s=0.04)
    assert coarse.token is not None
    assert fine.token is not None
    assert np.allclose(fine.token[:, :, ::5], coarse.token, atol=1e-5)
    with pytest.raises(ModelError, match="every 2 or 10"):
        tower.encode(x, hop_s=0.06)


def test_a_long_stream_in_pieces_equals_one_pass(tower: MotionTower) -> None:
    x = np.random.default_rng(2).normal(size=(1, 7, 6, 64_321)).astype(np.float32)
    token = tower.encode(x).token
    with torch.inference_mode():
        once = torch.nn.functional.normalize(tower.net.tokens(torch.from_numpy(x)), dim=-1).numpy()
    assert token is not None
    assert token.shape == (1, 6, 6432, 16)
    assert np.allclose(token, once, atol=1e-5)


def test_missing_parts_do_not_reach_any_vector(tower: MotionTower) -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(2, 7, 6, 250)).astype(np.float32)
    mask = np.ones((2, 7, 250), bool)
    mask[:, 2:] = False
    other = x.copy()
    other[:, 2:] = rng.normal(size=other[:, 2:].shape)
    a, b = tower.encode(x, mask), tower.encode(other, mask)
    assert a.mask is not None
    assert not a.mask[:, 2:].any()
    assert np.allclose(a.global_, b.global_, atol=1e-6)
    assert np.allclose(tower.project(a.token, a.mask), tower.project(b.token, b.mask), atol=1e-4)


def test_tokens_of_the_parts_that_are_there_are_those_of_all_parts_in_one_pass(tower: MotionTower) -> None:
    x = np.random.default_rng(5).normal(size=(2, 7, 6, 403)).astype(np.float32)
    mask = np.zeros((2, 7, 403), bool)
    mask[0, 1], mask[1, 4, 100:], mask[:, 6] = True, True, True
    with torch.inference_mode():
        whole = torch.nn.functional.normalize(tower.net.tokens(torch.from_numpy(x)), dim=-1)
        seen = token_mask(torch.from_numpy(mask[:, :6]))
    found = tower.encode(x, mask)
    assert np.array_equal(found.mask, seen.numpy())
    assert np.allclose(found.token, (whole * seen[..., None]).numpy(), atol=1e-6)
    mask[:, :6] = False
    nothing = tower.encode(x, mask)
    assert nothing.token.shape == found.token.shape
    assert not nothing.token.any()


def test_projection_keeps_inner_products_on_its_axes(tower: MotionTower) -> None:
    """With orthonormal axes the projected inner product is that of each part's tokens along its own axes."""
    net = tower.net
    axes = torch.linalg.qr(torch.randn(net.projection.shape, generator=torch.Generator().manual_seed(0)))[0]
    rng = np.random.default_rng(4)
    x = rng.normal(size=(3, 7, 6, 250)).astype(np.float32)
    kept = net.projection.clone()
    net.projection.copy_(axes)
    out = tower.encode(x)
    projected = tower.project(out.token, out.mask)
    net.projection.copy_(kept)
    along = [out.token[:, part].reshape(3, -1) @ axes[part].numpy() for part in range(6)]
    expected = sum(one @ one.T for one in along)
    assert projected.shape == (3, 6 * axes.shape[2])
    assert np.allclose(projected @ projected.T, expected, rtol=1e-4)


def test_token_mask_needs_half_of_the_span() -> None:
    mask = torch.zeros(1, 40, dtype=torch.bool)
    mask[0, 5:14] = True  # half of token 0, 4 of token 1's 10 samples
    assert token_mask(mask).tolist() == [[True, False, False, False]]


def test_bad_input_is_named(tower: MotionTower) -> None:
    with pytest.raises(UsageError, match=r"imu must have shape \(B, 7, 6, L\)"):
        tower.encode(np.zeros((1, 5, 6, 250), np.float32))
    with pytest.raises(UsageError, match="NaN"):
        tower.encode(np.full((1, 7, 6, 250), np.nan, np.float32))


def test_an_action_vector_ignores_absent_sensors_and_empty_windows() -> None:
    torch.manual_seed(0)
    net = ActionEncoder(ActionConfig("imu", width=32, output_dim=8)).eval()
    x, mask = torch.randn(3, 7, 6, 250), torch.zeros(3, 7, 250, dtype=torch.bool)
    mask[:2, 3] = True
    with torch.no_grad():
        both = net(x, mask)
        alone = net(x[:1], mask[:1])
    assert torch.allclose(both[0], alone[0], atol=1e-5)
    assert (both[2] == 0).all()


def test_a_trend_tells_a_window_from_its_reverse() -> None:
    """Features symmetric in time but for their order: only the trend, the covariance with time, can tell."""
    torch.manual_seed(0)
    net = ActionEncoder(ActionConfig("imu", width=32, output_dim=8, trend=True)).eval()
    features, seen = torch.randn(2, 3, 25, 32), torch.ones(2, 3, 25, dtype=torch.bool)
    seen[1, :, 5:9] = False
    with torch.no_grad():
        told, back = net.head(features, seen), net.head(features.flip(2), seen.flip(2))
        plain = ActionEncoder(ActionConfig("imu", width=32, output_dim=8)).eval()
        assert torch.allclose(plain.head(features, seen), plain.head(features.flip(2), seen.flip(2)), atol=1e-5)
    assert not torch.allclose(told, back, atol=1e-3)


def test_the_trend_is_the_covariance_with_time_over_its_deviation() -> None:
    torch.manual_seed(1)
    net = ActionEncoder(ActionConfig("imu", width=4, output_dim=8, trend=True)).eval()
    features, seen = torch.randn(1, 1, 25, 4), torch.rand(1, 1, 25) > 0.3
    held: list[torch.Tensor] = []
    net.part.register_forward_pre_hook(lambda _, inputs: held.append(inputs[0]))
    with torch.no_grad():
        net.head(features, seen)
    there = seen[0, 0].numpy()
    at = np.arange(25)[there]
    for k in range(4):
        expected = np.cov(at, features[0, 0, there, k].numpy(), bias=True)[0, 1] / at.std()
        assert held[0][0, 0, 12 + k].item() == pytest.approx(expected, abs=1e-5)
