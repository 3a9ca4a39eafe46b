"""Networks as encoders: arrays in, unit vectors out, in passes that fit into memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from motionseek.encoders.base import Embeddings
from motionseek.encoders.mobind import MobindConfig, Stage1, Stage2
from motionseek.encoders.motion import (
    RATE_HZ,
    TOKEN_S,
    TOKEN_SAMPLES,
    ActionEncoder,
    MotionEncoder,
    PartTrunk,
    token_mask,
)
from motionseek.encoders.orientation import orientations
from motionseek.encoders.preprocess import IMU_SLOTS
from motionseek.encoders.text import TextTower, encode_texts
from motionseek.errors import UsageError
from motionseek.types import PARTS, Bool, Float32, Level, Modality

_WINDOWS_PER_PASS = 128
_ROWS, _ROWS_ON_GPU = 16, 1024
"""A kernel is chosen by the shape of what it is given. In passes of always so many rows, the last one filled up, a
row's numbers are the same to the last bit whatever other rows there are: recordings may be encoded together."""
_PASS_SAMPLES = 30_000
_MARGIN_TOKENS = 2


def _batch(batch: Any, mask: Bool | None, parts: int, channels: int, what: str) -> tuple[Tensor, Tensor]:
    x = np.asarray(batch, dtype=np.float32)
    if x.ndim != 4 or x.shape[1:3] != (parts, channels):
        raise UsageError(f"{what} must have shape (B, {parts}, {channels}, L), not {x.shape}")
    there = np.ones((*x.shape[:2], x.shape[3]), np.bool_) if mask is None else np.asarray(mask, np.bool_)
    if there.shape != (*x.shape[:2], x.shape[3]):
        raise UsageError(f"the mask of {what} must have shape {(*x.shape[:2], x.shape[3])}, not {there.shape}")
    if not np.isfinite(x).all():
        raise UsageError(f"{what} holds NaN or infinite values: mask those samples and set them to 0")
    return torch.from_numpy(x), torch.from_numpy(there)


def _passes(rows: Tensor, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """Numbers of rows (N,) → those of each pass, and the same filled up to a whole pass with the first row."""
    size = _ROWS if device.type == "cpu" else _ROWS_ON_GPU
    for piece in torch.split(rows, size) if len(rows) else ():
        yield piece, F.pad(piece, (0, size - len(piece)), value=int(rows[0]))


def _vectors(x: Tensor, raw: bool) -> Float32:
    out: Float32 = (x if raw else F.normalize(x, dim=-1)).float().cpu().numpy()
    return out


class _Tower:
    """What all towers say of themselves."""

    rate_hz = RATE_HZ
    window_s = 5.0
    levels: tuple[Level, ...] = ("global",)

    def __init__(self, net: nn.Module, modality: Modality, space: str, fingerprint: str, device: torch.device) -> None:
        self.net = net.to(device).eval().requires_grad_(False)
        self.modality: Modality = modality
        self.space = space
        self.fingerprint = fingerprint
        self.device = device


class ActionTower(_Tower):
    """Windows of sensors or pose → one vector of the starter's `clip` space each."""

    net: ActionEncoder
    independent = True

    @torch.inference_mode()
    def encode(self, batch: Any, mask: Bool | None = None, *, raw: bool = False) -> Embeddings:
        """batch (B, P, C, L) float32 on the 50 Hz grid, mask (B, P, L) → global_ (B, D)."""
        net, config = self.net, self.net.trunk.config
        x, there = _batch(batch, mask, config.parts, config.channels, self.modality)
        seen = token_mask(there)
        # Most windows have one or two of the parts; what one tells does not depend on the others.
        told, signals = torch.zeros(seen.shape[0] * seen.shape[1], net.told), x.flatten(0, 1)
        for piece, rows in _passes(seen.any(2).flatten().nonzero().squeeze(1), self.device):
            features = net.trunk(signals[rows].to(self.device), (rows % config.parts).to(self.device))
            each = net.each(features.transpose(1, 2)[:, None], seen.flatten(0, 1)[rows, None].to(self.device))
            told[piece] = each[: len(piece), 0].cpu()
        out, told = torch.zeros(len(x), net.config.output_dim), told.reshape(*seen.shape[:2], -1)
        for piece, rows in _passes(torch.arange(len(x)), self.device):
            fused = net.together(told[rows].to(self.device), seen[rows].any(2).to(self.device))
            out[piece] = fused[: len(piece)].cpu()
        return Embeddings(global_=_vectors(out, raw), mask=there.any(2).numpy())


class MotionTower(_Tower):
    """Sensors or pose of any length → tokens every 0.2 s, local and global vectors of the `motion` space."""

    net: MotionEncoder
    independent = True
    levels: tuple[Level, ...] = ("global", "local", "token")
    token_s = TOKEN_S
    blocks = MotionEncoder.parts
    context_s = PartTrunk.context_s

    @torch.inference_mode()
    def encode(
        self, batch: Any, mask: Bool | None = None, *, raw: bool = False, hop_s: float | None = None
    ) -> Embeddings:
        """batch (B, P, C, L), mask (B, P, L) → token (B, 6, T, D), local, global_; T = L / 10 at the default hop."""
        token, seen = self.tokens(batch, mask, hop_s=hop_s)
        pooled = self.pool(token, seen, raw=raw)
        return Embeddings(pooled.global_, pooled.local, token, seen)

    @torch.inference_mode()
    def tokens(self, batch: Any, mask: Bool | None = None, *, hop_s: float | None = None) -> tuple[Float32, Bool]:
        """As `encode`: token (B, 6, T, D) and its mask (B, 6, T) alone."""
        config = self.net.trunk.config
        x, there = _batch(batch, mask, config.parts, config.channels, self.modality)
        hop = TOKEN_SAMPLES if hop_s is None else round(hop_s * RATE_HZ)
        there = there[:, : self.net.parts]
        seen = token_mask(there, hop)
        # Most recordings have one or two of the parts; a token of one does not depend on the others.
        parts = there.any(2).any(0).nonzero().squeeze(1)
        token = torch.zeros(*seen.shape, self.net.config.token_dim)
        if len(parts):
            found = F.normalize(self._tokens(x[:, parts], hop, parts.to(self.device)), dim=-1)
            token[:, parts] = found * seen[:, parts, :, None]
        return token.numpy(), seen.numpy()

    def _tokens(self, x: Tensor, hop: int, parts: Tensor) -> Tensor:
        """Of `parts` (P',), x (B, P', C, L). Long streams pass through the network in pieces whose ends overlap by more
        than a token's context."""
        length = x.shape[3]
        if length * len(x) <= _PASS_SAMPLES:
            return self.net.tokens(x.to(self.device), hop, parts).cpu()
        if len(x) > 1:
            rows = max(1, _PASS_SAMPLES // length)
            return torch.cat([self._tokens(piece, hop, parts) for piece in torch.split(x, rows)])
        per_token = TOKEN_SAMPLES // hop
        margin = _MARGIN_TOKENS * TOKEN_SAMPLES
        pieces = []
        for start in range(0, length - TOKEN_SAMPLES + 1, _PASS_SAMPLES):
            first = max(0, start - margin)
            piece = self.net.tokens(x[..., first : start + _PASS_SAMPLES + margin].to(self.device), hop, parts).cpu()
            skip = (start - first) // TOKEN_SAMPLES * per_token
            pieces.append(piece[:, :, skip : skip + _PASS_SAMPLES // hop])
        return torch.cat(pieces, dim=2)

    @torch.inference_mode()
    def pool(self, token: Float32, mask: Bool, *, raw: bool = False) -> Embeddings:
        """Unit tokens (B, 6, T, D) and mask (B, 6, T) → local (B, 6, D'), global_ (B, D'')."""
        net, config = self.net, self.net.config
        there = torch.from_numpy(np.ascontiguousarray(mask)).to(self.device)
        mean, seen = net.means(torch.from_numpy(token).to(self.device), there)
        local, global_ = torch.zeros(len(mean), net.parts, config.local_dim), torch.zeros(len(mean), config.global_dim)
        for piece, rows in _passes(torch.arange(len(mean)), self.device):
            of_parts, of_all = net.of_means(mean[rows], seen[rows])
            local[piece], global_[piece] = of_parts[: len(piece)].cpu(), of_all[: len(piece)].cpu()
        return Embeddings(global_=_vectors(global_, raw), local=_vectors(local, raw), mask=np.asarray(mask.any(2)))

    @torch.inference_mode()
    def project(self, token: Float32, mask: Bool) -> Float32:
        """Unit tokens (B, 6, 25, D) of whole windows, mask (B, 6, 25) → (B, 6 * K), un-normalised."""
        net = self.net
        seen = torch.from_numpy(np.ascontiguousarray(mask))
        x = torch.from_numpy(np.ascontiguousarray(token)) * seen[..., None]
        projected = torch.zeros(len(x), net.parts, net.config.projected)
        for part in seen.any(2).any(0).nonzero().squeeze(1).tolist():
            for piece, rows in _passes(seen[:, part].any(1).nonzero().squeeze(1), self.device):
                one = net.project_part(x[rows, part].to(self.device), part)
                projected[piece, part] = one[: len(piece)].cpu()
        return _vectors(projected.flatten(1), raw=True)


class SensorTower(_Tower):
    """An encoder of IMU2CLIP over each sensor; a window's vector is the mean of its sensors'."""

    levels: tuple[Level, ...] = ("global", "local")

    def __init__(self, net: Any, modality: Modality, space: str, fingerprint: str, device: torch.device) -> None:
        super().__init__(net, modality, space, fingerprint, device)
        self.rate_hz = float(net.config.rate_hz)
        self.width = int(net.config.width)

    @torch.inference_mode()
    def encode(self, batch: Any, mask: Bool | None = None, *, raw: bool = False) -> Embeddings:
        """batch (B, 7, 6, L), mask (B, 7, L) → global_ (B, D), local (B, 7, D)."""
        slots = len(IMU_SLOTS)
        x, there = _batch(batch, mask, slots, 6, self.modality)
        seen = there.any(2)
        rows = seen.flatten().nonzero().squeeze(1)
        vectors: list[Tensor] = []
        for piece in torch.split(rows, _WINDOWS_PER_PASS):
            sensors, samples = x.flatten(0, 1)[piece], there.flatten(0, 1)[piece]
            vectors.append(F.normalize(self.net(sensors.to(self.device), samples.to(self.device)).cpu(), dim=-1))
        local = torch.zeros(len(x) * slots, self.width)
        if vectors:
            local[rows] = torch.cat(vectors)
        local = local.reshape(len(x), slots, self.width)
        mean = local.sum(1) / seen.sum(1, keepdim=True).clamp(min=1)
        return Embeddings(global_=_vectors(mean, raw), local=_vectors(local, raw), mask=seen.numpy())


class MobindTower(_Tower):
    """One modality of MoBind, published or trained here. Parts that it does not know are masked.

    Published scores are inner products of the vectors that `raw` gives; trained they are for the unit vectors.
    """

    net: Stage1

    def __init__(self, net: Stage1, modality: Modality, space: str, fingerprint: str, device: torch.device) -> None:
        super().__init__(net, modality, space, fingerprint, device)
        config = net.config
        self.levels = ("global", "local", "token") if isinstance(net, Stage2) else ("local", "token")
        self.rate_hz = (config.imu_patch if modality == "imu" else config.pose_patch) / TOKEN_S
        self.window_s = config.tokens * TOKEN_S
        self.pose_form = "picture" if config.pose_channels == 6 else "person"
        self.slots = [PARTS.index(part) for part in config.parts]

    @torch.inference_mode()
    def encode(self, batch: Any, mask: Bool | None = None, *, raw: bool = False) -> Embeddings:
        """batch (B, 7, 6, L) or pose (B, 6, C, L), mask (B, P, L) → local (B, 6, D), token (B, 6, T, D), global_."""
        is_imu = self.modality == "imu"
        channels = 6 if is_imu else self.net.config.pose_channels
        x, there = _batch(batch, mask, len(IMU_SLOTS) if is_imu else len(PARTS), channels, self.modality)
        x, there = x[:, self.slots], there[:, self.slots]
        if is_imu:
            x = imu_channels(x, self.net.config, self.rate_hz)
        encode = self.net.encode_imu if is_imu else self.net.encode_pose
        found = [
            encode(a.to(self.device), b.to(self.device)).numpy(raw=raw)
            for a, b in zip(torch.split(x, _WINDOWS_PER_PASS), torch.split(there, _WINDOWS_PER_PASS), strict=True)
        ]
        token, local, seen = (self._in_slots([getattr(e, name) for e in found]) for name in ("token", "local", "mask"))
        whole = np.concatenate([e.global_ for e in found if e.global_ is not None]) if "global" in self.levels else None
        return Embeddings(global_=whole, local=local, token=token, mask=seen)

    def _in_slots(self, pieces: list[Any]) -> Any:
        """(B, P', ...) of the network's own parts → (B, 6, ...) of PARTS."""
        own = np.concatenate(pieces)
        out = np.zeros((len(own), len(PARTS), *own.shape[2:]), own.dtype)
        out[:, self.slots] = own
        return out


def imu_channels(x: Tensor, config: MobindConfig, rate_hz: float) -> Tensor:
    """Accelerometer m/s² and gyroscope rad/s (B, P, 6, L) → what a MoBind network of this configuration reads."""
    acc = x[:, :, :3] / config.acc_unit_mps2
    if config.imu_channels == 6:
        return torch.cat([acc, x[:, :, 3:]], dim=2)
    flat = x.flatten(0, 1).cpu().numpy()
    turned = torch.from_numpy(orientations(flat[:, :3], flat[:, 3:], rate_hz)).to(x.device)
    return torch.cat([acc, turned.reshape(*x.shape[:2], 4, -1)], dim=2)


class WordTower(_Tower):
    """Sentences → vectors of the starter's `clip` space."""

    net: TextTower
    rate_hz = 0.0

    @torch.inference_mode()
    def encode(self, batch: Sequence[str], mask: Bool | None = None, *, raw: bool = False) -> Embeddings:
        """batch: N sentences → global_ (N, D)."""
        if isinstance(batch, str) or not all(isinstance(t, str) for t in batch):
            raise UsageError("encode_text needs a list of sentences")
        if not batch:
            return Embeddings(global_=np.zeros((0, self.net.config.output_dim), np.float32))
        return Embeddings(global_=_vectors(encode_texts(self.net, list(batch)), raw))
