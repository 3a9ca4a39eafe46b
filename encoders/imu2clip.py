"""The IMU encoders of IMU2CLIP (Moon et al., 2023): the stacked 1D-CNN-RNN and the four others of its Table 5.

All map x (B, C, L) and a mask of what was really measured to (B, D). Published models see 5 s at 200 Hz, six
channels, accelerometer then gyroscope. Here any rate, length and number of sensors will do, except where `compat`
asks for the published behaviour.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from motionseek.encoders._modules import MaskedGroupNorm, checked, last_valid, load_checked, mean_valid
from motionseek.errors import ModelError, UsageError
from motionseek.types import STANDARD_GRAVITY_MPS2

GYRO_SCALE_RPS = 5.0
"""What `norm="fixed"` divides angular rates by: brisk arm movement becomes about 1."""

Norm = Literal["group", "fixed"]
Pool = Literal["last", "mean"]


@dataclass(frozen=True)
class StackConfig:
    """The stacked 1D-CNN-RNN. The defaults are the published network, with its axis error put right.

    norm: "group" standardises each triple of channels per window, as published, so that gravity and scale vanish;
    "fixed" divides channels by constants and keeps both.
    scale: the divisors of "fixed", one a channel; () means acc xyz, gyro xyz per sensor, in m/s² and rad/s.
    pool: which output of the GRU is the embedding, the last valid step or the mean of the valid ones.
    compat: recur over the channels with time as the feature, as the published code does. Only 978 to 1004 samples fit.
    rate_hz: of the signals that the weights were, or will be, trained on; published models saw 200.
    """

    in_channels: int = 6
    width: int = 512
    norm: Norm = "group"
    scale: tuple[float, ...] = ()
    pool: Pool = "last"
    channels: int = 32
    kernels: tuple[int, ...] = (10, 5, 5)
    dilation: int = 2
    compat: bool = False
    rate_hz: float = 50.0

    def __post_init__(self) -> None:
        # A configuration read back from JSON holds lists.
        object.__setattr__(self, "scale", tuple(self.scale))
        object.__setattr__(self, "kernels", tuple(self.kernels))
        if self.norm not in ("group", "fixed") or self.pool not in ("last", "mean"):
            raise ModelError(f'norm must be "group" or "fixed" and pool "last" or "mean": {self}')
        if self.norm == "group" and self.in_channels % 3:
            raise ModelError(f'norm="group" standardises triples, and {self.in_channels} channels are no triples')
        if self.norm == "fixed" and not self.scale and self.in_channels % 6:
            raise ModelError(f"give one scale a channel: {self.in_channels} channels are not acc and gyro of sensors")
        if self.scale and len(self.scale) != self.in_channels:
            raise ModelError(f"scale has {len(self.scale)} values for {self.in_channels} channels")
        if self.channels % 4:
            raise ModelError(f"channels must be a multiple of 4, not {self.channels}")

    @property
    def hop(self) -> int:
        """Samples between two steps of the GRU."""
        return int(3 ** len(self.kernels))

    @property
    def field(self) -> int:
        """Samples that one step of the GRU sees, which is also the shortest input that needs no padding."""
        span, hop = 1, 1
        for kernel in self.kernels:
            span += (kernel - 1) * self.dilation * hop + 2 * hop
            hop *= 3
        return span


class FixedScale(nn.Module):
    """Each channel divided by a constant."""

    scale: Tensor

    def __init__(self, scale: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor(scale)[:, None], persistent=False)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """x (B, C, L) → (B, C, L); zero, as what is masked is, stays zero."""
        return x / self.scale


class ConvPool(nn.Module):
    """Conv1d without bias, then max-pooling by 3: the pooling is the only non-linearity, as published."""

    def __init__(self, in_channels: int, channels: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv1d(in_channels, channels, kernel, dilation=dilation, bias=False), nn.MaxPool1d(3)
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net(x)
        return out


class Stack(nn.Module):
    """The stacked 1D-CNN-RNN that the paper chose (its Section 3.2 and Table 5)."""

    def __init__(self, config: StackConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or StackConfig()
        scale = config.scale or (*[STANDARD_GRAVITY_MPS2] * 3, *[GYRO_SCALE_RPS] * 3) * (config.in_channels // 6)
        inputs = (config.in_channels, *[config.channels] * (len(config.kernels) - 1))
        # One list, so that the names of the weights are those of the published checkpoints.
        self.net = nn.ModuleList(
            [
                FixedScale(scale)
                if config.norm == "fixed"
                else MaskedGroupNorm(config.in_channels // 3, config.in_channels),
                *[
                    ConvPool(channels, config.channels, kernel, config.dilation)
                    for channels, kernel in zip(inputs, config.kernels, strict=True)
                ],
                MaskedGroupNorm(4, config.channels),
                nn.GRU(config.channels, config.width, batch_first=True),
            ]
        )

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """x (B, C, L), mask (B, L) or (B, C, L) of what was measured → (B, D).

        Masked samples are zero after the normalisation, whose statistics leave them out. A step of the GRU is valid
        where at least half of the samples it sees were measured; a window with no valid step becomes the zero
        vector. Inputs shorter than one step are padded with masked samples. Raises UsageError.
        """
        x, mask = checked(x, mask, self.config.in_channels)
        if self.config.compat:
            return self._published(x)
        short = self.config.field - x.shape[-1]
        if short > 0:
            mask = x.new_ones(len(x), 1, x.shape[-1], dtype=torch.bool) if mask is None else mask
            x, mask = F.pad(x, (0, short)), F.pad(mask, (0, short))
        x = self.net[0](x, mask)
        for block in self.net[1:-2]:
            x = block(x)
        steps = None
        if mask is not None:
            there = mask.any(1, keepdim=True).to(x.dtype)
            share = F.avg_pool1d(there, self.config.field, self.config.hop)
            # What is shorter than a step cannot fill half of one.
            steps = share >= 0.5 * (1.0 - max(short, 0) / self.config.field) - 1e-6
        x = self.net[-2](x, steps)
        out, _ = self.net[-1](x.transpose(1, 2))
        if steps is None:
            steps = x.new_ones(len(x), 1, x.shape[-1], dtype=torch.bool)
        pooled = last_valid if self.config.pool == "last" else mean_valid
        return pooled(out, steps[:, 0])

    def _published(self, x: Tensor) -> Tensor:
        # Missing samples stay the raw zeros that the published code pads with: its normalisation knows no mask.
        x = self.net[0](x)
        for block in self.net[1:-2]:
            if x.shape[-1] < 27:
                break
            x = block(x)
        if x.shape[-1] != self.config.channels:
            raise UsageError(
                "compat=True reproduces a network that takes 978 to 1004 samples a window (5 s at 200 Hz); "
                "resample the window, or use the corrected network"
            )
        _, last = self.net[-1](self.net[-2](x))
        out: Tensor = last[-1]
        return out


def from_published(state: Mapping[str, Tensor]) -> Stack:
    """The published network from its checkpoint: the encoder's own names, net.0.weight to net.5.bias_hh_l0.

    Its axis error is kept, because its weights were learned with it. Raises ModelError where names or shapes differ.
    """
    recurrent = state.get("net.5.weight_hh_l0")
    if recurrent is None or recurrent.ndim != 2:
        raise ModelError(
            "this is not the stacked encoder of IMU2CLIP: net.5.weight_hh_l0 is missing. "
            "Strip the prefix of a whole training checkpoint, so that its names begin with net.0"
        )
    return load_checked(
        Stack(StackConfig(width=recurrent.shape[1], compat=True, rate_hz=200.0)), state, "IMU2CLIP's stacked encoder"
    )


@dataclass(frozen=True)
class AttentionConfig:
    """Convolution and attention pooling; 24 channels and kernel 10 as published."""

    in_channels: int = 6
    width: int = 512
    channels: int = 24
    kernel: int = 10
    rate_hz: float = 50.0


class AttentionPooled(nn.Module):
    """GroupNorm, Conv1d, LeakyReLU, softmax over time, Linear. Table 5 names an RNN that the code does not have."""

    def __init__(self, config: AttentionConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or AttentionConfig()
        self.norm = MaskedGroupNorm(config.in_channels // 3, config.in_channels)
        self.conv = nn.Conv1d(config.in_channels, config.channels, config.kernel, dilation=2, padding="same")
        self.attention = nn.Conv1d(config.channels, 1, 1)
        self.out = nn.Linear(config.channels, config.width)
        nn.init.trunc_normal_(self.conv.weight, std=0.02)
        nn.init.normal_(self.out.weight, std=0.1)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """x (B, C, L), mask (B, L) or (B, C, L) → (B, D); masked samples get no attention."""
        x, mask = checked(x, mask, self.config.in_channels)
        x = F.leaky_relu(self.conv(self.norm(x, mask)))
        score = self.attention(x)
        if mask is not None:
            score = score.masked_fill(~mask.any(1, keepdim=True), torch.finfo(x.dtype).min)
        out: Tensor = self.out(F.leaky_relu((x * score.softmax(-1)).sum(-1)))
        return out


@dataclass(frozen=True)
class TimeDistributedConfig:
    """A GRU over 10 frames of 128 filtered samples, as published."""

    in_channels: int = 6
    width: int = 512
    frames: int = 10
    per_frame: int = 128
    rate_hz: float = 50.0


class TimeDistributed(nn.Module):
    """Two convolutions to one channel, average-pooled to frames; a GRU and a Linear over the frames."""

    def __init__(self, config: TimeDistributedConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or TimeDistributedConfig()
        self.conv = nn.Sequential(
            nn.Conv1d(config.in_channels, config.in_channels, 50, padding="same"),
            nn.ReLU(),
            nn.Conv1d(config.in_channels, 1, 10, padding="same"),
            nn.ReLU(),
        )
        self.gru = nn.GRU(config.per_frame, config.width, batch_first=True)
        self.out = nn.Linear(config.width, config.width)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """x (B, C, L), mask (B, L) or (B, C, L) → (B, D); masked samples are zero."""
        x, mask = checked(x, mask, self.config.in_channels)
        x = self.conv(x)
        frames = F.adaptive_avg_pool1d(x, self.config.frames * self.config.per_frame)
        _, last = self.gru(frames.reshape(len(x), self.config.frames, self.config.per_frame))
        out: Tensor = self.out(last[-1])
        return out


@dataclass(frozen=True)
class PatchConfig:
    """Patches of `patch` samples, each one Linear; `pool` is "cls" or "mean" for the transformer only.

    The published default is a patch of one sample, which no attention over 5 s affords; 20 samples are 0.1 s.
    """

    in_channels: int = 6
    width: int = 512
    patch: int = 20
    pool: Literal["cls", "mean"] = "cls"
    bidirectional: bool = True
    rate_hz: float = 50.0


def _patches(x: Tensor, mask: Tensor | None, patch: int) -> tuple[Tensor, Tensor]:
    """x (B, C, L) → patches (B, T, C*patch), and (B, T) True where half of a patch was measured."""
    rest = -x.shape[-1] % patch
    there = x.new_ones(len(x), 1, x.shape[-1]) if mask is None else mask.any(1, keepdim=True).to(x.dtype)
    x = F.pad(x, (0, rest))
    valid = F.avg_pool1d(F.pad(there, (0, rest)), patch)[:, 0] >= 0.5
    return x.unfold(-1, patch, patch).permute(0, 2, 1, 3).flatten(2), valid


class PatchTransformer(nn.Module):
    """One transformer layer over patches and a [CLS] token; as published, nothing tells it where a patch lies."""

    def __init__(self, config: PatchConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or PatchConfig()
        self.embed = nn.Linear(config.in_channels * config.patch, config.width, bias=False)
        self.cls = nn.Parameter(torch.zeros(1, 1, config.width))
        layer = nn.TransformerEncoderLayer(config.width, 1, 128, batch_first=True)
        self.transformer = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """x (B, C, L), mask (B, L) or (B, C, L) → (B, D); patches with less than half measured are not attended to."""
        x, mask = checked(x, mask, self.config.in_channels)
        patches, valid = _patches(x, mask, self.config.patch)
        tokens = torch.cat([self.cls.expand(len(x), -1, -1), self.embed(patches)], 1)
        keep = F.pad(valid, (1, 0), value=True)
        tokens = self.transformer(tokens, src_key_padding_mask=~keep)
        return tokens[:, 0] if self.config.pool == "cls" else mean_valid(tokens[:, 1:], valid)


class PatchRnn(nn.Module):
    """A GRU over patches; both directions, half the width each, unless told otherwise."""

    def __init__(self, config: PatchConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or PatchConfig()
        hidden = config.width // 2 if config.bidirectional else config.width
        if config.bidirectional and config.width % 2:
            raise ModelError(f"two directions need an even width, not {config.width}")
        self.embed = nn.Linear(config.in_channels * config.patch, hidden, bias=False)
        self.gru = nn.GRU(hidden, hidden, batch_first=True, bidirectional=config.bidirectional)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """x (B, C, L), mask (B, L) or (B, C, L) → (B, D): the state after the last patch measured, and before."""
        x, mask = checked(x, mask, self.config.in_channels)
        patches, valid = _patches(x, mask, self.config.patch)
        out, _ = self.gru(self.embed(patches))
        if not self.config.bidirectional:
            return last_valid(out, valid)
        forth, back = out.chunk(2, -1)
        return torch.cat([last_valid(forth, valid), last_valid(back.flip(1), valid.flip(1))], -1)


KINDS: Mapping[str, tuple[type[Any], Callable[[Any], nn.Module]]] = {
    "imu2clip": (StackConfig, Stack),
    "imu2clip_attention": (AttentionConfig, AttentionPooled),
    "imu2clip_time_distributed": (TimeDistributedConfig, TimeDistributed),
    "imu2clip_patch_transformer": (PatchConfig, PatchTransformer),
    "imu2clip_patch_rnn": (PatchConfig, PatchRnn),
}
"""Name in a model card → (its configuration, its module)."""
