"""Every loss against loops that follow its equation word by word."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from motionseek.encoders.train.losses import info_nce, masked_token_mse, mse, multi_positive, token_nce, triplet

SCALE = 9.0


def vectors(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def cos(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def pick(logits: list[float], right: int) -> float:
    """−log softmax of the right one."""
    return float(np.log(np.sum(np.exp(logits))) - logits[right])


def both_ways(a: np.ndarray, b: np.ndarray) -> float:
    n = len(a)
    forth = [pick([SCALE * cos(a[i], b[j]) for j in range(n)], i) for i in range(n)]
    back = [pick([SCALE * cos(b[i], a[j]) for j in range(n)], i) for i in range(n)]
    return (np.mean(forth) + np.mean(back)) / 2


@pytest.mark.parametrize("keep", [[0, 1, 2, 3, 4], [0, 2, 3], [1]])
def test_info_nce(keep: list[int]) -> None:
    a, b = vectors(5, 7), vectors(5, 7, seed=1)
    mask = torch.zeros(5, dtype=torch.bool)
    mask[keep] = True
    assert info_nce(a, b, SCALE, mask=mask).item() == pytest.approx(both_ways(a.numpy()[keep], b.numpy()[keep]))


def test_info_nce_spares_what_means_the_same() -> None:
    a, b = vectors(3, 7), vectors(3, 7, seed=1)
    same = torch.zeros(3, 3, dtype=torch.bool)
    same[0, 2] = same[2, 0] = True
    x, y = a.numpy(), b.numpy()
    candidates = {0: [0, 1], 1: [0, 1, 2], 2: [1, 2]}
    each = [
        pick([SCALE * cos(u[i], v[j]) for j in others], others.index(i))
        for u, v in ((x, y), (y, x))
        for i, others in candidates.items()
    ]
    assert info_nce(a, b, SCALE, same=same).item() == pytest.approx(np.mean(each))


def test_token_nce_compares_within_a_window_only() -> None:
    a, b = vectors(3, 6, 4), vectors(3, 6, 4, seed=1)
    expected = np.mean([both_ways(x, y) for x, y in zip(a.numpy(), b.numpy(), strict=True)])
    assert token_nce(a, b, SCALE).item() == pytest.approx(expected)


def test_token_nce_leaves_out_what_is_missing() -> None:
    a, b = vectors(2, 6, 4), vectors(2, 6, 4, seed=1)
    kept = [[0, 1, 4], [2, 3, 4, 5]]
    mask = torch.zeros(2, 6, dtype=torch.bool)
    for row, tokens in enumerate(kept):
        mask[row, tokens] = True
    sums = [len(k) * both_ways(a[i, k].numpy(), b[i, k].numpy()) for i, k in enumerate(kept)]
    assert token_nce(a, b, SCALE, mask=mask).item() == pytest.approx(sum(sums) / 7)


@pytest.mark.parametrize("missing", [[], [(0, 1), (2, 0)]])
def test_multi_positive(missing: list[tuple[int, int]]) -> None:
    one, many = vectors(3, 7), vectors(3, 2, 7, seed=1)
    mask = torch.ones(3, 2, dtype=torch.bool)
    for at in missing:
        mask[at] = False
    there = [(b, s) for b in range(3) for s in range(2) if mask[b, s]]
    x, y = one.numpy(), many.numpy()
    logit = {(b, c, s): SCALE * cos(x[b], y[c, s]) for b in range(3) for c, s in there}
    to_sensors = []
    for b in range(3):
        own = [s for c, s in there if c == b]
        positive = np.log(sum(np.exp(logit[b, b, s]) for s in own)) - np.log(len(own))
        to_sensors.append(-(positive - np.log(sum(np.exp(logit[b, c, s]) for c, s in there))))
    to_body = [pick([logit[b, c, s] for b in range(3)], c) for c, s in there]
    expected = (np.mean(to_sensors) + np.mean(to_body)) / 2
    assert multi_positive(one, many, SCALE, mask=mask).item() == pytest.approx(expected)


def test_triplet() -> None:
    a, b = vectors(4, 5), vectors(4, 5, seed=1)
    x, y = a.numpy(), b.numpy()
    pairs = [(i, j) for i in range(4) for j in range(4) if i != j]
    each = [max(0.0, 0.3 - cos(x[i], y[i]) + cos(x[i], y[j])) for i, j in pairs]
    each += [max(0.0, 0.3 - cos(x[i], y[i]) + cos(x[j], y[i])) for i, j in pairs]
    assert triplet(a, b, margin=0.3).item() == pytest.approx(np.mean(each))
    mask = torch.tensor([True, True, False, True])
    assert triplet(a, b, mask=mask).item() == pytest.approx(triplet(a[mask], b[mask]).item())


def test_mse() -> None:
    a, b = vectors(4, 5), vectors(4, 5, seed=1)
    each = np.array([2 - 2 * cos(x, y) for x, y in zip(a.numpy(), b.numpy(), strict=True)])
    assert mse(a, b).item() == pytest.approx(each.mean())
    assert mse(a, b, mask=torch.tensor([True, False, True, False])).item() == pytest.approx(each[[0, 2]].mean())


def test_masked_token_mse_learns_from_the_prediction_only() -> None:
    predicted, token = vectors(2, 3, 4).requires_grad_(), vectors(2, 3, 4, seed=1).requires_grad_()
    hidden = torch.tensor([[True, False, True], [False, True, False]])
    loss = masked_token_mse(predicted, token, hidden)
    difference = (predicted - token).detach().numpy()[hidden.numpy()]
    assert loss.item() == pytest.approx((difference**2).mean())
    loss.backward()
    assert token.grad is None
    assert predicted.grad is not None
    assert not predicted.grad[~hidden].any()


def test_nothing_valid_is_no_loss_and_no_gradient() -> None:
    one, many, none = vectors(3, 5).requires_grad_(), vectors(3, 4, 5, seed=1).requires_grad_(), torch.zeros(3, 4) > 0
    terms = (
        info_nce(one, many[:, 0], SCALE, mask=none[:, 0]),
        token_nce(many, many.flip(1), SCALE, mask=none),
        multi_positive(one, many, SCALE, mask=none),
        triplet(one, many[:, 0], mask=none[:, 0]),
        mse(one, many[:, 0], mask=none[:, 0]),
        masked_token_mse(many, many, none),
    )
    total = torch.stack(terms).sum()
    total.backward()
    assert total.item() == 0
    assert one.grad is not None
    assert many.grad is not None
    assert not one.grad.any()
    assert not many.grad.any()
