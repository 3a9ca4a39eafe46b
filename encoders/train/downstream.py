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
from motionseek.encoders.motion import TOKEN_S, token_mask
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
    words: (classes, D) what the text encoder says of each class; a window is then also taught to lie by its class's
    words (InfoNCE), as when sensors are aligned with text. Not with "probe", whose vectors stay as they are.
    The head reads standardised vectors; with words, which say themselves how far apart vectors lie, it reads them as
    they are.
    """

    words: Tensor

    def __init__(self, encoder: Encoder, classes: int, way: Way, words: Float32 | None = None) -> None:
        super().__init__()
        if way not in ("probe", "fine-tune", "scratch"):
            raise UsageError(f"way must be probe, fine-tune or scratch, not {way!r}")
        net = cast(nn.Module, getattr(encoder, "net", None))
        if encoder.modality != "imu" or net is None:
            raise UsageError(f"activities are recognised from IMU; this encoder takes {encoder.modality}")
        fresh = cast(Any, type(net))(cast(Any, net).config)
        if way != "scratch":
            fresh.load_state_dict(net.state_dict())
        self.net, self.way = fresh.requires_grad_(way != "probe"), way
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
        vector = self._embed(self.net, batch.imu, batch.imu_mask)
        return {"vector": vector, "scores": self._told(vector), "label": batch.label}

    def loss(self, encoded: Encoded) -> dict[str, Tensor]:
        label = encoded["label"]
        told = label >= 0
        total = F.nll_loss(encoded["scores"], label, ignore_index=-1, reduction="sum")
        terms = {"classes": total / told.sum().clamp_min(1)}
        if len(self.words):
            meant = self.words[label.clamp_min(0)]
            same = label[:, None] == label[None]
            terms["words"] = losses.info_nce(encoded["vector"], meant, self.log_scale.exp(), mask=told, same=same)
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
    say: Callable[[str], None] = print,
    device: str | torch.device | None = None,
) -> Recogniser:
    """A Recogniser, trained on labelled windows to the end of `settings`. The encoder itself is not changed."""
    torch.manual_seed(settings.seed)
    recogniser = Recogniser(encoder, classes, way, words)
    fit(recogniser, data, None, settings, say=say, name=way, device=device)
    return recogniser


def accuracy(label: Int, guess: Int) -> float:
    """Share of windows (N,) whose guess is right."""
    return float((label == guess).mean())


def macro_f1(label: Int, guess: Int) -> float:
    """Mean over the classes that occur in `label` (N,) of 2 TP / (2 TP + FP + FN)."""
    classes = np.unique(label)
    own, said = label == classes[:, None], guess == classes[:, None]
    return float((2 * (own & said).sum(1) / (own.sum(1) + said.sum(1))).mean())


def _action(net: Any, imu: Tensor, mask: Tensor) -> Tensor:
    return cast(Tensor, net(imu, mask))


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
