"""Sensors and words on UTD-MHAD: sentences find the windows of people that training never saw, and recognition."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from utd_models import sensor
from utd_trials import LENGTH, Stretches, Windows, as_cut

from motionseek.encoders.base import Encoder
from motionseek.encoders.imu2clip import Stack, StackConfig
from motionseek.encoders.model import Model, load_model
from motionseek.encoders.motion import ActionConfig, ActionEncoder
from motionseek.encoders.towers import SensorTower
from motionseek.encoders.train import losses
from motionseek.encoders.train.downstream import Recogniser, Way, accuracy, macro_f1, recognise
from motionseek.encoders.train.evaluate import average_precision
from motionseek.encoders.train.loop import FitSettings, fit
from motionseek.encoders.train.windows import Encoded, Objective, TrainBatch
from motionseek.encoders.zero_shot import class_vectors, zero_shot
from motionseek.indexer.readers.utd_mhad import ACTIONS
from motionseek.types import Float32

STEPS = 400
"""Of whole trials: with stretches of 3 s, as for skeletons, mAP was .05 lower on people held out of the training ones
(1, 3 and 5 in turn)."""
LR = 1.5e-3
WAYS = (
    "chance",
    "words: starter as it is",
    "words: from the starter",
    "words: from scratch",
    "words: IMU2CLIP's stacked CNN-GRU, from scratch",
    "recognition: linear probe of the starter",
    "recognition: fine-tuned starter",
    "recognition: fine-tuned starter, words beside labels",
    "recognition: from scratch",
    "recognition: IMU2CLIP's stacked CNN-GRU, aligned with words, then fine-tuned, words beside labels",
)
TUNED_STEPS = 150
"""Of fine-tuning an encoder that is aligned with these words already, at half the rate."""
MIXUP = 0.4
"""Of every recogniser whose encoder learns. On people held out of the training ones macro-F1 rose by .04 (see the page
of results); 1.0 brought less."""
Data = Callable[[tuple[int, ...], int], list[Windows]]


class Named(Objective):
    """An encoder of sensors learns to say what the frozen text tower says of the action: InfoNCE over the batch, in
    which windows of one action are not each other's negatives (IMU2CLIP, eq. 1)."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.log_scale = nn.Parameter(torch.tensor(losses.INITIAL_LOG_SCALE))

    def encode(self, batch: TrainBatch) -> Encoded:
        if isinstance(self.net, ActionEncoder):
            z = self.net(batch.imu, batch.imu_mask)
        else:
            x, mask, _ = sensor(batch)
            z = self.net(x, mask)
        text = torch.zeros_like(z) if batch.text is None else batch.text
        return {"imu": z, "text": text, "label": batch.label}

    def loss(self, encoded: Encoded) -> dict[str, Tensor]:
        label = encoded["label"]
        same = label[:, None] == label[None]
        return {"loss": losses.info_nce(encoded["imu"], encoded["text"], self.log_scale.exp(), same=same)}

    @torch.no_grad()
    def after_step(self) -> None:
        self.log_scale.clamp_(*losses.LOG_SCALE_RANGE)


def text_one(name: str, seed: int, split: tuple[tuple[int, ...], tuple[int, ...]], data: Data) -> dict[str, Any]:
    """Test people's whole trials: how well each action's words rank them, and how well they are told apart."""
    torch.set_num_threads(1)
    model = load_model("starter")
    plain = data(split[1], 0)[0]
    test = as_cut(plain, 0, 0.0)
    settings = FitSettings(STEPS, lr=LR, weight_decay=0.02, betas=(0.9, 0.98), warmup=30, seed=seed)
    started = time.process_time()
    if name == "chance":
        scores = np.random.default_rng(seed).random((len(test), len(ACTIONS)), np.float32)
    elif name.startswith("words"):
        scores = _by_words(name, model, test, settings, split[0], data)
    else:
        found = _recogniser(name, model, settings, split[0], data)
        with torch.inference_mode():
            scores = found.scores(test.imu, test.imu_mask).numpy()
    return {name: told(scores, plain.action - 1) | {"cpu_s": round(time.process_time() - started, 1)}}


def _words(model: Model) -> Float32:
    """What the frozen text tower says of each action: unit vectors (27, D)."""

    def encode_text(texts: list[str]) -> Float32:
        out = model.encode_text(texts, space="clip").global_
        if out is None:
            raise RuntimeError("the starter's text tower gives no vectors")
        return out

    return class_vectors(encode_text, ACTIONS, ("{}",))


def _by_words(
    name: str, model: Model, test: TrainBatch, settings: FitSettings, known: tuple[int, ...], data: Data
) -> Float32:
    words = _words(model)
    held: Any = model.encoder("imu", "clip").net  # type: ignore[attr-defined]
    net: nn.Module = held
    if "starter" not in name:
        torch.manual_seed(settings.seed)
        width = words.shape[1]
        net = ActionEncoder(ActionConfig("imu", output_dim=width, trend=True))
        if "GRU" in name:
            net = _stack(width)
    objective = Named(net.requires_grad_(True))
    if "as it is" not in name:
        stretches = Stretches(data(known, 12), settings.seed, length=LENGTH, text=words)
        fit(objective, stretches, None, settings, say=lambda _: None)
    with torch.inference_mode():
        z = F.normalize(objective.eval().encode(test)["imu"], dim=-1).numpy()
    return zero_shot(z, words)


def _stack(width: int) -> Stack:
    return Stack(StackConfig(width=width, norm="fixed", kernels=(10, 5), pool="mean"))


def _recogniser(name: str, model: Model, settings: FitSettings, known: tuple[int, ...], data: Data) -> Recogniser:
    """A classifier of the actions on an encoder that is kept, trained on or new, as `name` says."""
    words = _words(model)
    stretches = Stretches(data(known, 12), settings.seed, length=LENGTH, text=words)
    encoder: Encoder = model.encoder("imu", "clip")
    way: Way = "probe" if "probe" in name else "scratch" if "scratch" in name else "fine-tune"
    if "GRU" in name:
        torch.manual_seed(settings.seed)
        aligned = Named(_stack(words.shape[1]))
        fit(aligned, stretches, None, settings, say=lambda _: None)
        encoder = SensorTower(aligned.net.cpu(), "imu", "clip", "", torch.device("cpu"))
        settings = replace(settings, steps=TUNED_STEPS, lr=settings.lr / 2, seed=settings.seed + 1000)
        stretches = replace(stretches, seed=settings.seed)
    beside = words if "beside" in name else None
    mixup = 0.0 if way == "probe" else MIXUP
    return recognise(encoder, stretches, len(ACTIONS), way, settings, words=beside, mixup=mixup, say=lambda _: None)


def told(scores: Float32, label: npt.NDArray[np.int64]) -> dict[str, float]:
    """Scores (N, C) and the right class (N,): mAP of classes over windows, and the best class of each window."""
    guess = scores.argmax(1)
    ap = [average_precision(scores[:, c], label == c) for c in np.unique(label)]
    first = [label[scores[:, c].argmax()] == c for c in np.unique(label)]
    return {
        "mAP": float(np.mean(ap)),
        "R@1 of the words": float(np.mean(first)),
        "accuracy": accuracy(label, guess),
        "macro-F1": macro_f1(label, guess),
    }
