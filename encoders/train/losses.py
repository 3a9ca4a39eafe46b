"""The losses of IMU2CLIP and MoBind. All take vectors as the networks give them and normalise them here.

Symbols: s = exp(log_scale) = 1 / temperature, cos(·,·) the cosine. What `mask` marks False is neither an anchor nor a
candidate. A loss with nothing valid in it is 0 and has a gradient of 0.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

INITIAL_LOG_SCALE = math.log(1 / 0.07)
"""MoBind's start of its one learned temperature."""
LOG_SCALE_RANGE = (0.0, math.log(100.0))
"""Where MoBind clamps it to after every step."""


def info_nce(
    a: Tensor, b: Tensor, scale: Tensor | float, *, mask: Tensor | None = None, same: Tensor | None = None
) -> Tensor:
    """Symmetric InfoNCE over a batch; a, b (B, D), mask (B,), same (B, B).

    1/2 Σ over both directions of −mean_i log(exp(s cos(a_i, b_i)) / Σ_j exp(s cos(a_i, b_j))): IMU2CLIP eq. (1)
    and MoBind's global and local levels. IMU2CLIP's code takes the sum of the directions, twice this value.
    same: True where two items mean the same (one narration twice) and so must not be each other's negatives.
    """
    a, b = F.normalize(a, dim=-1), F.normalize(b, dim=-1)
    if mask is not None:
        a, b = a[mask], b[mask]
        same = None if same is None else same[mask][:, mask]
    logits = scale * a @ b.T
    if same is not None:
        own = torch.eye(len(a), dtype=torch.bool, device=a.device)
        logits = logits.masked_fill(same & ~own, torch.finfo(logits.dtype).min)
    target = torch.arange(len(a), device=a.device)
    return (_cross_entropy(logits, target) + _cross_entropy(logits.T, target)) / 2


def token_nce(a: Tensor, b: Tensor, scale: Tensor | float, *, mask: Tensor | None = None) -> Tensor:
    """InfoNCE over time, MoBind's token level; a, b (N, T, D), mask (N, T).

    As `info_nce`, but for each token the candidates are the T tokens of its own window and part, and no others.
    """
    logits = scale * F.normalize(a, dim=-1) @ F.normalize(b, dim=-1).transpose(1, 2)
    target = torch.arange(a.shape[1], device=a.device).expand(a.shape[:2])
    if mask is not None:
        logits = logits.masked_fill(~(mask[:, :, None] & mask[:, None, :]), torch.finfo(logits.dtype).min)
        target = target.masked_fill(~mask, -100)
    forth, back = (_cross_entropy(x.flatten(0, 1), target.flatten()) for x in (logits, logits.transpose(1, 2)))
    return (forth + back) / 2


def multi_positive(one: Tensor, many: Tensor, scale: Tensor | float, *, mask: Tensor | None = None) -> Tensor:
    """One body's global vector against each of its sensors; one (B, D), many (B, S, D), mask (B, S).

    With l[b, b', s] = s cos(one_b, many_b's): the mean of
    −mean_b [logsumexp_s l[b, b, s] − ln S − logsumexp_{b', s} l[b, b', s]]  and
    the cross-entropy of each of the B·S sensors to its body. In MoBind's code (stage 2), not in its paper.
    """
    batch, sensors = many.shape[:2]
    mask = torch.ones(batch, sensors, dtype=torch.bool, device=many.device) if mask is None else mask
    logits = scale * torch.einsum("bd,csd->bcs", F.normalize(one, dim=-1), F.normalize(many, dim=-1))
    least = torch.finfo(logits.dtype).min
    logits = logits.masked_fill(~mask, least)
    own = logits[torch.arange(batch), torch.arange(batch)]
    count = mask.sum(1)
    gain = own.logsumexp(1) - count.clamp_min(1).log() - logits.flatten(1).logsumexp(1)
    there = count > 0
    to_sensors = -(gain * there).sum() / there.sum().clamp_min(1)
    body = torch.arange(batch, device=many.device)[:, None].expand(batch, sensors).masked_fill(~mask, -100)
    return (to_sensors + _cross_entropy(logits.flatten(1).T, body.flatten())) / 2


def triplet(a: Tensor, b: Tensor, *, margin: float = 0.2, mask: Tensor | None = None) -> Tensor:
    """Hinge on every triple of the batch, both directions; a, b (B, D), mask (B,). IMU2CLIP Table 4 names it.

    mean over i and j ≠ i of max(0, margin − cos(a_i, b_i) + cos(a_i, b_j)), and the same for b against a.
    """
    a, b = F.normalize(a, dim=-1), F.normalize(b, dim=-1)
    if mask is not None:
        a, b = a[mask], b[mask]
    cosine = a @ b.T
    own = cosine.diagonal()
    other = ~torch.eye(len(a), dtype=torch.bool, device=a.device)
    hinge = F.relu(margin - own[:, None] + cosine) + F.relu(margin - own[None, :] + cosine)
    return (hinge * other).sum() / (2 * other.sum().clamp_min(1))


def mse(a: Tensor, b: Tensor, *, mask: Tensor | None = None) -> Tensor:
    """mean_i |a_i/|a_i| − b_i/|b_i||², that is 2 − 2 cos; a, b (B, D), mask (B,). IMU2CLIP Table 4 names it."""
    distance = (F.normalize(a, dim=-1) - F.normalize(b, dim=-1)).square().sum(-1)
    weight = torch.ones_like(distance) if mask is None else mask.to(distance.dtype)
    return (distance * weight).sum() / weight.sum().clamp_min(1)


def masked_token_mse(predicted: Tensor, token: Tensor, hidden: Tensor) -> Tensor:
    """Mean squared error where tokens were hidden; predicted, token (N, T, D), hidden (N, T) True where hidden.

    MoBind's masked token prediction. The target is detached, as in its code: only the prediction learns.
    """
    error = (predicted - token.detach()).square().mean(-1)
    return (error * hidden).sum() / hidden.sum().clamp_min(1)


def _cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """The mean over rows whose target is not -100; 0 where there is none."""
    total = F.cross_entropy(logits, target, reduction="sum") if logits.numel() else logits.sum()
    return total / (target != -100).sum().clamp_min(1)


def window_nce(a: Tensor, b: Tensor, scale: Tensor | float, *, mask_a: Tensor, mask_b: Tensor) -> Tensor:
    """InfoNCE on all tokens of a window at once; a, b unit (B, P, T, D), zero where masked; masks (B, P, T).

    Score of two windows: the mean cosine over the tokens that both have, so that how much of a window is there tells
    nothing. Pairs with fewer than 5 such tokens are no candidates; rows whose own pair has fewer are left out.
    """
    count = mask_a.flatten(1).to(a.dtype) @ mask_b.flatten(1).to(a.dtype).T
    logits = scale * (a.flatten(1) @ b.flatten(1).T) / count.clamp_min(1)
    logits = logits.masked_fill(count < 5, torch.finfo(logits.dtype).min)
    target = torch.arange(len(a), device=a.device).masked_fill(count.diagonal() < 5, -100)
    return (_cross_entropy(logits, target) + _cross_entropy(logits.T, target)) / 2


def caption_nce(z: Tensor, caption: Tensor, pool: Tensor) -> Tensor:
    """Vectors z (B, D) against the unit vectors of their captions (B, D), in a pool (M, D) that starts with those.

    Cross-entropy between the softmax of cosines to the pool and the same softmax of the caption's own cosines to it,
    so that captions that mean the same are not pushed apart; half of the same from captions to z; plus 1 − cosine to
    the caption, so that cosines mean the same in all modalities. 0 where there is nothing.
    """
    if not len(z):
        return z.sum() * 0.0
    z = F.normalize(z, dim=-1)
    meant = (caption @ pool.T / 0.05).softmax(1)
    forth = -(meant * (z @ pool.T / 0.07).log_softmax(1)).sum(1).mean()
    back = -(meant[:, : len(z)].T * (caption @ z.T / 0.07).log_softmax(1)).sum(1).mean()
    return forth + 0.5 * back + (1 - (z * caption).sum(1)).mean()
