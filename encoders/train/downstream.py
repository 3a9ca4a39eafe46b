"""Recognising activities with a trained encoder: by a linear probe, fine-tuned, or from scratch.

Three of the four ways of IMU2CLIP's Table 3 (Moon et al. 2023), for any IMU encoder of a model; the fourth, words
alone, is `motionseek.encoders.zero_shot`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from motionseek.encoders.base import Encoder
from motionseek.encoders.motion import TOKEN_S, part_features, token_mask
from motionseek.encoders.towers import ActionTower, MobindTower, MotionTower, SensorTower, imu_channels
from motionseek.encoders.train import losses
from motionseek.encoders.train.loop import FitSettings, fit
from motionseek.encoders.train.windows import Batches, Encoded, Objective, TrainBatch
from motionseek.errors import UsageError
from motionseek.types import PARTS, Float32

Way = Literal["probe", "fine-tune", "scratch"]
Int = npt.NDArray[np.int64]


class Recogniser(Objective):
    """An encoder and a linear head, trained by cross-entropy over the classes that windows are labelled with.

    way: "probe" keeps the encoder as it is, "fine-tune" trains it too, "scratch" trains the same network from nothing.
    words: (classes, D) what the text encoder says of each class; a window is then also taught to lie nearer its
    class's words than the other classes' (a softmax over cosines). Not with "probe", whose vectors stay as they are.
    mixup: where more than 0, training windows are sums of two, each as much of its class as there is of it (`mixed`).
    The head reads standardised vectors; with words, which say themselves how far apart vectors lie, it reads them as
    they are.
    """

    words: Tensor

    def __init__(
        self, encoder: Encoder, classes: int, way: Way, words: Float32 | None = None, mixup: float = 0.0
    ) -> None:
        super().__init__()
        if way not in ("probe", "fine-tune", "scratch"):
            raise UsageError(f"way must be probe, fine-tune or scratch, not {way!r}")
        if not 0 <= mixup < float("inf"):
            raise UsageError(f"mixup must be a number from 0, not {mixup!r}")
        net = cast(nn.Module, getattr(encoder, "net", None))
        if encoder.modality != "imu" or net is None:
            raise UsageError(f"activities are recognised from IMU; this encoder takes {encoder.modality}")
        fresh = cast(Any, type(net))(cast(Any, net).config)
        if way != "scratch":
            fresh.load_state_dict(net.state_dict())
        self.net, self.way = fresh.requires_grad_(way != "probe"), way
        self.mixup = mixup
        self._embed = _EMBED[type(encoder)]
        length = round(encoder.window_s * encoder.rate_hz)
        with torch.no_grad():
            nothing = torch.zeros(1, 7, 6, length), torch.ones(1, 7, length, dtype=torch.bool)
            width = self._embed(self.net.eval(), *nothing).shape[1]
        if words is not None and (way == "probe" or words.shape != (classes, width)):
            raise UsageError(
                f"words must be ({classes}, {width}) and need an encoder that learns; they are {words.shape}, and way "
                f"is {way!r}"
            )
        self.norm = nn.BatchNorm1d(width) if words is None else nn.Identity()
        self.head = nn.Linear(width, classes)
        self.register_buffer("words", torch.zeros(0, width) if words is None else torch.from_numpy(words))
        self.log_scale = nn.Parameter(torch.tensor(losses.INITIAL_LOG_SCALE), requires_grad=words is not None)
        self.networks = {(encoder.space, "imu"): self.net}

    def train(self, mode: bool = True) -> Recogniser:
        super().train(mode)
        if self.way == "probe":
            self.net.eval()
        return self

    def scores(self, imu: Tensor, mask: Tensor) -> Tensor:
        """imu (B, 7, 6, L), mask (B, 7, L) → log-probabilities (B, C)."""
        return self._told(self._embed(self.net, imu, mask))

    def _told(self, vector: Tensor) -> Tensor:
        out: Tensor = self.head(self.norm(vector)).log_softmax(-1)
        return out

    def encode(self, batch: TrainBatch) -> Encoded:
        """vector (B, D), scores (B, C), the label of each window and of the one mixed into it, its own share (B,)."""
        imu, mask, label = batch.imu, batch.imu_mask, batch.label
        other, share = label, torch.ones(len(batch), device=label.device)
        if self.training and self.mixup:
            imu, mask, partner, share = mixed(imu, mask, self.mixup)
            other = label[partner]
        vector = self._embed(self.net, imu, mask)
        return {"vector": vector, "scores": self._told(vector), "label": label, "other": other, "share": share}

    def loss(self, encoded: Encoded) -> dict[str, Tensor]:
        terms = {"classes": _shared_nll(encoded["scores"], encoded)}
        if len(self.words):
            near = self.log_scale.exp() * F.normalize(encoded["vector"], dim=-1) @ self.words.T
            terms["words"] = _shared_nll(near.log_softmax(-1), encoded)
        return {**terms, "loss": torch.stack(list(terms.values())).sum()}

    @torch.no_grad()
    def after_step(self) -> None:
        self.log_scale.clamp_(*losses.LOG_SCALE_RANGE)

    def sides(self, batch: TrainBatch) -> tuple[Tensor, Tensor]:
        raise UsageError("recognition is not validated by retrieval: train it without validation windows")


def recognise(
    encoder: Encoder,
    data: Batches,
    classes: int,
    way: Way,
    settings: FitSettings,
    *,
    words: Float32 | None = None,
    mixup: float = 0.0,
    say: Callable[[str], None] = print,
    device: str | torch.device | None = None,
) -> Recogniser:
    """A Recogniser, trained on labelled windows to the end of `settings`. The encoder itself is not changed."""
    torch.manual_seed(settings.seed)
    recogniser = Recogniser(encoder, classes, way, words, mixup)
    fit(recogniser, data, None, settings, say=say, name=way, device=device)
    return recogniser


def mixed(imu: Tensor, mask: Tensor, mixup: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """imu (B, 7, 6, L), mask (B, 7, L) → each window plus some of another that has the same sensors; the masks of
    both; which other, (B,); and how much of the sum is the window's own, (B,) from ½ to 1.

    Shares are drawn from Beta(mixup, mixup) (mixup, Zhang et al. 2018). Of windows of each set of sensors, one may
    stay as it is.
    """
    kind = torch.unique(mask.any(2), dim=0, return_inverse=True)[1]
    order = torch.randperm(len(imu), device=imu.device)
    order = order[kind[order].argsort(stable=True)]
    partner = torch.empty_like(order).index_copy_(0, order, order.roll(1))
    partner = torch.where(kind[partner] == kind, partner, torch.arange(len(imu), device=imu.device))
    drawn = torch.distributions.Beta(mixup, mixup).sample((len(imu),)).to(imu)
    share = torch.maximum(drawn, 1 - drawn)
    own = share[:, None, None, None]
    return own * imu + (1 - own) * imu[partner], mask | mask[partner], partner, share


def _shared_nll(told: Tensor, encoded: Encoded) -> Tensor:
    """Log-probabilities (B, C) → cross-entropy with both classes of each window by their shares; −1 has none."""
    total, weight = told.new_zeros(()), told.new_zeros(())
    for label, share in ((encoded["label"], encoded["share"]), (encoded["other"], 1 - encoded["share"])):
        total = total + (share * F.nll_loss(told, label, ignore_index=-1, reduction="none")).sum()
        weight = weight + (share * (label >= 0)).sum()
    return total / weight.clamp_min(1)


def accuracy(label: Int, guess: Int) -> float:
    """Share of windows (N,) whose guess is right."""
    return float((label == guess).mean())


def macro_f1(label: Int, guess: Int) -> float:
    """Mean over the classes that occur in `label` (N,) of 2 TP / (2 TP + FP + FN)."""
    classes = np.unique(label)
    own, said = label == classes[:, None], guess == classes[:, None]
    return float((2 * (own & said).sum(1) / (own.sum(1) + said.sum(1))).mean())


def _action(net: Any, imu: Tensor, mask: Tensor) -> Tensor:
    # What a window lacks costs nothing and stays out of BatchNorm; in evaluation the vectors are those of net().
    parts = mask.any(2).any(0).nonzero().squeeze(1)
    return cast(Tensor, net.head(*part_features(net.trunk, imu[:, parts], mask[:, parts], parts)))


def _sensors(net: Any, imu: Tensor, mask: Tensor) -> Tensor:
    there = mask.any(2)
    each = imu.new_zeros(*there.shape, net.config.width)
    each[there] = net(imu[there], mask[there])
    return each.sum(1) / there.sum(1, keepdim=True).clamp_min(1)


def _motion(net: Any, imu: Tensor, mask: Tensor) -> Tensor:
    seen = token_mask(mask[:, : net.parts])
    token = F.normalize(net.tokens(imu), dim=-1) * seen[..., None]
    return cast(Tensor, net.pool(token, seen)[1])


def _mobind(net: Any, imu: Tensor, mask: Tensor) -> Tensor:
    slots = [PARTS.index(part) for part in net.config.parts]
    rate_hz = net.config.imu_patch / TOKEN_S
    encoded = net.encode_imu(imu_channels(imu[:, slots], net.config, rate_hz), mask[:, slots])
    return cast(Tensor, encoded.local.flatten(1) if encoded.global_ is None else encoded.global_)


_EMBED: Mapping[type, Callable[[Any, Tensor, Tensor], Tensor]] = {
    ActionTower: _action,
    SensorTower: _sensors,
    MotionTower: _motion,
    MobindTower: _mobind,
}
"""How each kind of encoder makes one vector of a window, with gradients."""
