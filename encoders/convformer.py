"""MoBind's encoder of one modality: parts in, tokens and local vectors out."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from motionseek.encoders._modules import mean_valid
from motionseek.encoders.base import Embeddings
from motionseek.errors import UsageError
from motionseek.types import Float32

CHANNELS = (32, 64, 128, 128)
"""Of the four convolutions."""


@dataclass(frozen=True, eq=False)
class Encoded:
    """What a network makes of one modality: local (B, P, D), token (B, P, T, D), mask (B, P, T), global_ (B, D).

    mask is False where a token had less than half of its samples. A missing part's local and tokens are zero vectors
    and must be left out of every comparison by the mask, because a cosine of 0 beats a negative one.
    """

    local: Tensor
    token: Tensor
    mask: Tensor
    global_: Tensor | None = None

    @property
    def parts(self) -> Tensor:
        """(B, P), True where a part has a token."""
        return self.mask.any(-1)

    def numpy(self, *, raw: bool = False) -> Embeddings:
        """The same as arrays, unit-normalised, or as the network gave them where `raw`."""

        def vectors(x: Tensor) -> Float32:
            out: Float32 = (x if raw else F.normalize(x, dim=-1)).detach().float().cpu().numpy()
            return out

        return Embeddings(
            global_=None if self.global_ is None else vectors(self.global_),
            local=vectors(self.local),
            token=vectors(self.token),
            mask=self.mask.cpu().numpy(),
        )


class TokenTransformer(nn.Module):
    """Learned positions and a post-norm transformer."""

    def __init__(self, tokens: int, width: int, layers: int, heads: int, feed_forward: int) -> None:
        super().__init__()
        self.pos_emb = nn.Parameter(torch.randn(1, tokens, width) * 0.01)
        self.transformer = transformer(width, heads, feed_forward, layers)
        self.dropout = nn.Dropout(0.3)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """x (N, T, D), valid (N, T) → (N, T, D)."""
        out: Tensor = self.dropout(attend(self.transformer, x + self.pos_emb[:, : x.shape[1]], valid))
        return out


class ConvFormer(nn.Module):
    """Four convolutions, patches of 0.2 s, a transformer over them: tokens, and their mean projected."""

    def __init__(
        self, in_channels: int, patch: int, tokens: int, width: int, layers: int, heads: int, feed_forward: int
    ) -> None:
        super().__init__()
        self.in_channels, self.patch, self.tokens = in_channels, patch, tokens
        for i, (before, after) in enumerate(zip((in_channels, *CHANNELS), CHANNELS, strict=False), start=1):
            self.add_module(f"conv{i}", nn.Conv1d(before, after, 5, padding=2))
            self.add_module(f"bn{i}", nn.BatchNorm1d(after))
        self.dropout = nn.Dropout(0.3)
        self.pre_transformer = nn.Linear(CHANNELS[-1] * patch, width, bias=False)
        self.transformer = TokenTransformer(tokens, width, layers, heads, feed_forward)
        self.projector = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Encoded:
        """x (B, P, C, L), mask (B, P, L) → Encoded without global_; T = ceil(L / patch).

        Missing samples, and the rest of a last patch that is not full, are what lies beyond a window's ends: zero in
        every layer. Raises UsageError.
        """
        if x.ndim != 4 or x.shape[2] != self.in_channels or not 0 < x.shape[3] <= self.patch * self.tokens:
            raise UsageError(
                f"the encoder takes (B, P, {self.in_channels}, L) with L up to {self.patch * self.tokens}, "
                f"not {tuple(x.shape)}"
            )
        batch, parts, _, length = x.shape
        if mask is None:
            mask = torch.ones(batch, parts, length, dtype=torch.bool, device=x.device)
        if mask.shape != (batch, parts, length):
            raise UsageError(f"the mask of an input {tuple(x.shape)} is (B, P, L), not {tuple(mask.shape)}")
        rest = -length % self.patch
        there = F.pad(mask.flatten(0, 1).to(x.dtype), (0, rest))
        valid = there.unfold(-1, self.patch, self.patch).mean(-1) >= 0.5
        # Parts that are missing as a whole are not encoded, or they would be in the statistics of BatchNorm.
        present = valid.any(1)
        token = x.new_zeros(*valid.shape, self.projector.in_features)
        if present.any():
            h = F.pad(x.flatten(0, 1), (0, rest))[present]
            token[present] = self._tokens(h, there[present, None], valid[present]).to(token.dtype)
        local = self.projector(mean_valid(token, valid))
        shape = (batch, parts, valid.shape[-1])
        return Encoded(local.reshape(batch, parts, -1), token.reshape(*shape, -1), valid.reshape(shape))

    def _tokens(self, x: Tensor, there: Tensor, valid: Tensor) -> Tensor:
        """x (N, C, L), there (N, 1, L) of 0 and 1, valid (N, T) → (N, T, D), zero where not valid."""
        h = x.masked_fill(there == 0, 0.0)
        for i in range(1, len(CHANNELS) + 1):
            h = F.relu(self.get_submodule(f"bn{i}")(self.get_submodule(f"conv{i}")(h)))
            # As beyond the ends of a window: convolutions must not carry their biases on from where nothing is.
            h = (self.dropout(h) if i % 2 == 0 else h) * there
        patches = h.unfold(-1, self.patch, self.patch).transpose(1, 2).flatten(2)
        out: Tensor = self.transformer(self.pre_transformer(patches), valid) * valid[..., None].to(x.dtype)
        return out


def transformer(width: int, heads: int, feed_forward: int, layers: int) -> nn.TransformerEncoder:
    """Post-norm, dropout 0.1, batch first."""
    layer = nn.TransformerEncoderLayer(width, heads, feed_forward, 0.1, batch_first=True)
    return nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)


def attend(encoder: nn.TransformerEncoder, x: Tensor, valid: Tensor) -> Tensor:
    """x (N, T, D), of which only what is valid (N, T) is attended to; a row with nothing valid stays finite."""
    ignored = ~valid & valid.any(1, keepdim=True)
    out: Tensor = encoder(x, src_key_padding_mask=ignored if bool(ignored.any()) else None)
    return out
