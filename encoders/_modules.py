"""What the networks share: masked statistics, masked pooling, and weights that must fit and can be told apart."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from motionseek.errors import ModelError, UsageError

Module = TypeVar("Module", bound=nn.Module)


class MaskedGroupNorm(nn.GroupNorm):
    """GroupNorm whose statistics leave out what is masked, and whose output is zero there."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """x (B, C, L), mask (B, C or 1, L) → (B, C, L)."""
        if mask is None:
            return super().forward(x)
        batch, channels, length = x.shape
        weight = mask.to(x.dtype).expand_as(x)
        grouped = (batch, self.num_groups, -1)
        total = weight.reshape(grouped).sum(-1, keepdim=True).clamp_min(1.0)
        mean = (x * weight).reshape(grouped).sum(-1, keepdim=True) / total
        centred = (x.reshape(grouped) - mean) * weight.reshape(grouped)
        variance = centred.square().sum(-1, keepdim=True) / total
        normal = (centred * torch.rsqrt(variance + self.eps)).reshape(batch, channels, length)
        return (normal * self.weight[:, None] + self.bias[:, None]) * weight


def checked(x: Tensor, mask: Tensor | None, channels: int) -> tuple[Tensor, Tensor | None]:
    """x (B, C, L), zero where masked (even if it was NaN there), and the mask as (B, C or 1, L).

    Raises UsageError where x is not (B, channels, L) or the mask neither (B, L) nor (B, C, L).
    """
    if x.ndim != 3 or x.shape[1] != channels or not x.shape[-1]:
        raise UsageError(f"the encoder takes (B, {channels}, L), not {tuple(x.shape)}")
    if mask is None:
        return x, None
    if mask.shape == (x.shape[0], x.shape[2]):
        mask = mask[:, None]
    elif mask.shape != x.shape:
        raise UsageError(f"the mask of an input {tuple(x.shape)} is (B, L) or (B, C, L), not {tuple(mask.shape)}")
    mask = mask.bool()
    return x.masked_fill(~mask, 0.0), mask


def last_valid(x: Tensor, valid: Tensor) -> Tensor:
    """x (B, T, D), valid (B, T) → (B, D) at the last valid step; zero where there is none."""
    steps = torch.arange(x.shape[1], device=x.device)
    last = torch.where(valid, steps, -1).amax(1)
    taken = x[torch.arange(len(x), device=x.device), last.clamp_min(0)]
    return taken * (last >= 0)[:, None].to(x.dtype)


def mean_valid(x: Tensor, valid: Tensor) -> Tensor:
    """x (B, T, D), valid (B, T) → (B, D), the mean of the valid steps; zero where there is none."""
    weight = valid.to(x.dtype)[..., None]
    return (x * weight).sum(1) / weight.sum(1).clamp_min(1.0)


def load_checked(module: Module, state: Mapping[str, Tensor], what: str) -> Module:
    """`module` with exactly the weights of `state`, in eval mode. Raises ModelError naming what does not fit."""
    own = module.state_dict()
    missing, extra = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    wrong = [
        f"{name} is {tuple(state[name].shape)}, not {tuple(own[name].shape)}"
        for name in own.keys() & state.keys()
        if state[name].shape != own[name].shape
    ]
    problems = [f"missing {', '.join(missing[:4])}"] * bool(missing)
    problems += [f"unknown {', '.join(extra[:4])}"] * bool(extra) + sorted(wrong)[:4]
    if problems:
        raise ModelError(f"the weights do not fit {what}: {'; '.join(problems)}")
    module.load_state_dict(dict(state))
    return module.eval()


def fingerprint(module: nn.Module, *settings: Any) -> str:
    """sha256 of the weights, with their names and types, and of JSON-like settings that decide the vectors too."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
