"""Our own motion model: tokens of limited context, computed in one pass over a recording of any length.

An instant has one token per part, whatever window it is looked at through. Each of sensors and pose has a network
shared by all parts; what is compared are the tokens of the same part at the same time.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from motionseek.errors import ModelError

RATE_HZ = 50.0
TOKEN_S = 0.2
TOKEN_SAMPLES = 10
_STRIDE = 2
_PATCH = TOKEN_SAMPLES // _STRIDE


@dataclass(frozen=True)
class TrunkConfig:
    """Sizes of a PartTrunk. kind: "imu" (6 channels, 7 slots) or "pose" (12 channels, 6 parts)."""

    kind: str
    width: int = 128
    dropout: float = 0.1

    @property
    def parts(self) -> int:
        return 7 if self.kind == "imu" else 6

    @property
    def channels(self) -> int:
        return 6 if self.kind == "imu" else 12


class PartTrunk(nn.Module):
    """Signals of one part → features every 0.2 s (or, at a finer hop, every multiple of 0.04 s).

    Input (N, C, L) at 50 Hz and each row's part (N,); output (N, width, T). A feature sees 0.34 s beyond its own span.
    Sensors enter as acc / 9.81 and gyro / 4 with their norms beside them, so gravity and scale are kept and how the
    sensor is turned on the body matters less.
    """

    context_s = 0.34

    def __init__(self, config: TrunkConfig) -> None:
        super().__init__()
        self.config = config
        width, channels = config.width, config.channels + (2 if config.kind == "imu" else 0)
        self.part = nn.Embedding(config.parts, 48)
        self.conv1 = nn.Conv1d(channels, 48, 7, stride=_STRIDE, padding=3)
        self.norm1 = nn.BatchNorm1d(48)
        self.conv2 = nn.Conv1d(48, 96, 5, padding=2)
        self.norm2 = nn.BatchNorm1d(96)
        self.patch = nn.Conv1d(96, width, _PATCH, stride=_PATCH)
        self.norm3 = nn.BatchNorm1d(width)
        self.mix = nn.Conv1d(width, width, 3, padding=1)
        self.norm4 = nn.BatchNorm1d(width)
        self.drop = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, part: Tensor, hop: int = TOKEN_SAMPLES) -> Tensor:
        """x (N, C, L), part (N,) int64; hop in samples: 10, or a divisor of it that is even → (N, width, T)."""
        if TOKEN_SAMPLES % hop or hop % _STRIDE:
            raise ModelError(f"tokens can be computed every 2 or 10 samples, not every {hop}")
        if self.config.kind == "imu":
            acc, gyro = x[:, :3] / 9.81, x[:, 3:] / 4.0
            # torch's own norm over a middle axis takes as long as a convolution. Signals need no gradient, which a root
            # would not have at 0.
            norms = torch.stack([acc.square().sum(1).sqrt() - 1.0, gyro.square().sum(1).sqrt()], dim=1)
            x = torch.cat([acc, gyro, norms], dim=1)
        x = self.norm1(self.conv1(x)) + self.part(part)[:, :, None]
        x = self.drop(F.relu(self.norm2(self.conv2(F.relu(x)))))
        dense = TOKEN_SAMPLES // hop
        x = F.conv1d(x, self.patch.weight, self.patch.bias, stride=hop // _STRIDE)
        x = F.relu(self.norm3(x))
        mixed = F.conv1d(x, self.mix.weight, self.mix.bias, padding=dense, dilation=dense)
        return x + F.relu(self.norm4(mixed))


@dataclass(frozen=True)
class MotionConfig:
    """Sizes of one side (sensors or pose) of the motion space. tokens: per window, projected: numbers per window and
    part."""

    kind: str
    width: int = 128
    token_dim: int = 64
    local_dim: int = 64
    global_dim: int = 128
    dropout: float = 0.1
    tokens: int = 25
    projected: int = 96


class MotionEncoder(nn.Module):
    """Sensors or pose → tokens, local and global vectors of the `motion` space, and the projection of a window."""

    parts = 6
    projection: Tensor

    def __init__(self, config: MotionConfig) -> None:
        super().__init__()
        self.config = config
        self.trunk = PartTrunk(TrunkConfig(config.kind, config.width, config.dropout))
        self.token = nn.Linear(config.width, config.token_dim)
        self.local = nn.Linear(config.token_dim, config.local_dim)
        self.fuse = nn.Sequential(
            nn.Linear(self.parts * (config.local_dim + 1), 256), nn.GELU(), nn.Linear(256, config.global_dim)
        )
        flat = config.tokens * config.token_dim
        self.register_buffer("projection", torch.zeros(self.parts, flat, config.projected))

    def tokens(self, x: Tensor, hop: int = TOKEN_SAMPLES, parts: Tensor | None = None) -> Tensor:
        """x (B, P, C, L) → (B, 6, T, token_dim), not normalised; or only `parts` (P',) of them, x (B, P', C, L).

        The IMU's seventh slot has no place in this space.
        """
        if parts is None:
            x, parts = x[:, : self.parts], torch.arange(self.parts, device=x.device)
        b, p, c, length = x.shape
        part = parts.repeat(b)
        features = self.trunk(x.reshape(b * p, c, length), part, hop)
        tokens: Tensor = self.token(features.transpose(1, 2))
        return tokens.reshape(b, p, -1, self.config.token_dim)

    def pool(self, token: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Unit tokens (B, 6, T, D) and mask (B, 6, T) → local (B, 6, local_dim), global (B, global_dim)."""
        return self.of_means(*self.means(token, mask))

    @staticmethod
    def means(token: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """As `pool` takes them → (B, 6, D) of the tokens of each part, and (B, 6) bool which parts there are."""
        weight = mask.to(token.dtype)[..., None]
        return (token * weight).sum(2) / weight.sum(2).clamp(min=1), mask.any(2)

    def of_means(self, mean: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """As `pool`, of what `means` gives."""
        local = self.local(mean)
        there = seen[..., None].to(mean.dtype)
        flat = torch.cat([F.normalize(local, dim=-1) * there, there], dim=-1)
        return local, self.fuse(flat.flatten(1))

    def project(self, token: Tensor, mask: Tensor) -> Tensor:
        """Unit tokens of one window each (B, 6, tokens, D) → (B, 6 * projected): per part the principal axes of its
        tokens, one part after another, so that a query of one part is compared by that part's numbers alone.

        Missing tokens are zero, so they add nothing to an inner product of two projections.
        """
        shown = token * mask[..., None]
        return torch.stack([self.project_part(shown[:, part], part) for part in range(self.parts)], dim=1).flatten(1)

    def project_part(self, token: Tensor, part: int) -> Tensor:
        """Of one part: unit tokens (B, tokens, D), zero where they are missing → (B, projected)."""
        if token.shape[1] != self.config.tokens:
            raise ModelError(f"a window must have {self.config.tokens} tokens, not {token.shape[1]}")
        return token.flatten(1) @ self.projection[part]


@dataclass(frozen=True)
class ActionConfig:
    """Sizes of one side (sensors or pose) of the starter's `clip` space. trend: features are also told by how they
    change from the window's begin to its end, which tells sitting down from getting up."""

    kind: str
    width: int = 128
    output_dim: int = 256
    dropout: float = 0.1
    trend: bool = False


class ActionEncoder(nn.Module):
    """Sensors or pose of one window → one vector beside the text tower's: whatever parts are there.

    Per part: mean, spread and maximum of the features over time, and their trend where the configuration asks for it;
    then parts are weighed by a learned attention, because which part tells most depends on the action.
    """

    told = 256
    """How many numbers each part is told by."""

    def __init__(self, config: ActionConfig) -> None:
        super().__init__()
        self.config = config
        self.trunk = PartTrunk(TrunkConfig(config.kind, config.width, config.dropout))
        self.part = nn.Sequential(
            nn.Linear((3 + config.trend) * config.width, self.told), nn.GELU(), nn.Dropout(config.dropout)
        )
        self.weigh = nn.Linear(self.told, 1)
        self.out = nn.Sequential(nn.Linear(self.told, 256), nn.GELU(), nn.Linear(256, config.output_dim))

    def forward(self, x: Tensor, mask: Tensor, parts: Tensor | None = None) -> Tensor:
        """x (B, P, C, L), mask (B, P, L) bool → (B, output_dim), not normalised; an empty window is zero.

        parts (P',): the only ones that any window has; by default those that the mask shows.
        """
        return self.head(*self.features(x, mask, parts))

    def features(self, x: Tensor, mask: Tensor, parts: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """As `forward` → what `head` takes, of the parts that any window has."""
        if parts is None:
            parts = mask.any(2).any(0).nonzero().squeeze(1)
        x, mask = x[:, parts], mask[:, parts]
        b, p, c, length = x.shape
        seen = token_mask(mask)
        if not p:
            return x.new_zeros(b, 1, 1, self.config.width), seen.new_zeros(b, 1, 1)
        features = self.trunk(x.reshape(b * p, c, length), parts.repeat(b)).transpose(1, 2)
        return features.reshape(b, p, *features.shape[1:]), seen

    def head(self, features: Tensor, seen: Tensor) -> Tensor:
        """Features (B, P, T, width) of the trunk, seen (B, P, T) bool → (B, output_dim); an empty window is zero."""
        return self.together(self.each(features, seen), seen.any(2))

    def each(self, features: Tensor, seen: Tensor) -> Tensor:
        """As `head` takes them → (B, P, told), what each part tells."""
        weight = seen[..., None].to(features.dtype)
        count = weight.sum(2).clamp(min=1)
        mean = (features * weight).sum(2) / count
        spread = (((features - mean[:, :, None]) ** 2 * weight).sum(2) / count + 1e-5).sqrt()
        top = features.masked_fill(~seen[..., None], -1e4).amax(2).clamp(min=-1.0)
        told = [mean, spread, top]
        if self.config.trend:
            at = torch.arange(features.shape[2], dtype=features.dtype, device=features.device)[:, None]
            lead = (at - (at * weight).sum(2, keepdim=True) / count[:, :, None]) * weight
            told.append((lead * features).sum(2) / (count * (lead**2).sum(2) + 1e-5).sqrt())
        hidden: Tensor = self.part(torch.cat(told, dim=2))
        return hidden

    def together(self, hidden: Tensor, there: Tensor) -> Tensor:
        """What each part tells (B, P, told), there (B, P) bool → (B, output_dim)."""
        score = self.weigh(hidden).squeeze(-1).masked_fill(~there, -1e4)
        fused = (hidden * score.softmax(1)[..., None]).sum(1)
        out: Tensor = self.out(fused)
        return out * there.any(1, keepdim=True).to(out.dtype)


def part_features(trunk: PartTrunk, x: Tensor, mask: Tensor, parts: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Parts that are there, and no others: x (B, P, C, L), mask (B, P, L) → features (B, P, T, width), zero where a
    part is missing, and (B, P, T) which of them were seen. Missing parts stay out of the statistics of BatchNorm.
    parts: (P,) which ones they are; by default the first P."""
    seen = token_mask(mask)
    there = mask.any(2)
    features = x.new_zeros(*seen.shape, trunk.config.width)
    if there.any():
        part = (torch.arange(x.shape[1], device=x.device) if parts is None else parts).expand(there.shape)
        found = trunk(x[there], part[there]).transpose(1, 2)
        features = features.to(found.dtype).index_put((there,), found)
    return features, seen


def token_mask(mask: Tensor, hop: int = TOKEN_SAMPLES) -> Tensor:
    """Samples (…, L) bool → tokens (…, T) bool: True where at least half of the token's own span is there."""
    lead, length = mask.shape[:-1], mask.shape[-1]
    # the strided convolution rounds an odd length up
    tokens = max(0, ((length + 1) // _STRIDE - _PATCH) // (hop // _STRIDE) + 1)
    padded = F.pad(mask.to(torch.float32), (0, max(0, (tokens - 1) * hop + TOKEN_SAMPLES - length)))
    share = padded.reshape(-1, padded.shape[-1]).unfold(1, TOKEN_SAMPLES, hop).mean(2)
    return (share[:, :tokens] >= 0.5).reshape(*lead, tokens)
