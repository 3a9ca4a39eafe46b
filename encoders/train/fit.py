"""The two trainings of the starter: actions beside text, and sensors beside pose."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from motionseek.encoders.motion import ActionConfig, ActionEncoder, MotionConfig, MotionEncoder, token_mask
from motionseek.encoders.train.data import Augment, Batch, Corpus, draw_batch
from motionseek.encoders.train.losses import info_nce, token_nce, window_nce
from motionseek.errors import MotionseekError

Say = Callable[[str], None]
Int = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Budget:
    """How long to train. lr: peak of a cosine schedule with a short warm-up."""

    steps: int
    batch: int = 128
    lr: float = 1.5e-3
    weight_decay: float = 0.02
    seed: int = 0


def _steps(
    name: str, parameters: Sequence[nn.Parameter], budget: Budget, say: Say
) -> Iterator[Callable[[Tensor], None]]:
    """Yield, as often as the budget says, a function that takes the loss and makes one step."""
    optimiser = torch.optim.AdamW(
        parameters, lr=budget.lr, weight_decay=budget.weight_decay, betas=(0.9, 0.98), fused=True
    )
    started, step, running = time.monotonic(), 0, math.nan

    def update(loss: Tensor) -> None:
        nonlocal running
        if not torch.isfinite(loss):
            raise MotionseekError(f"{name}: the loss became {loss.item()} at step {step}; lower lr and start again")
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        running = loss.item() if math.isnan(running) else 0.98 * running + 0.02 * loss.item()

    for step in range(budget.steps):
        fall = 0.02 + 0.49 * (1 + math.cos(math.pi * step / budget.steps))
        for group in optimiser.param_groups:
            group["lr"] = budget.lr * min(1.0, (step + 1) / 100) * fall
        yield update
        if step % 50 == 49:
            rate = budget.batch * (step + 1) / (time.monotonic() - started)
            left_s = budget.batch * (budget.steps - step - 1) / rate
            at = f"step {step + 1} of {budget.steps}"
            say(f"{name}: {at}, loss {running:.3f}, {rate:.0f} windows/s, {left_s:.0f} s left")


def _ahead(draw: Callable[[], Batch]) -> Iterator[Batch]:
    """The next batch is prepared while this one is used."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(draw)
        while True:
            batch, coming = coming.result(), pool.submit(draw)
            yield batch


def _balanced(corpus: Corpus, clips: Int) -> npt.NDArray[np.float64]:
    """How often to draw each of `clips`, so that a label comes up with the root of its number of clips."""
    label, count = np.unique(corpus.label[clips], return_inverse=True, return_counts=True)[1:]
    weight = 1 / np.sqrt(count)[label]
    out: npt.NDArray[np.float64] = weight / weight.sum()
    return out


def fit_actions(
    corpus: Corpus,
    clips: Int,
    captions: Mapping[str, Sequence[str]],
    encode: Callable[[list[str]], Tensor],
    others: Sequence[str],
    budget: Budget,
    augment: Augment,
    config: tuple[ActionConfig, ActionConfig] | None = None,
    say: Say = print,
) -> tuple[ActionEncoder, ActionEncoder]:
    """Sensors and pose of `clips` → the vectors of their captions.

    captions: per label of the corpus.     encode: the frozen text tower.     others: sentences that no clip shows.
    Loss per modality: cross-entropy between the softmax of cosines to a batch of captions (and some of `others`) and
    the same softmax of the caption's own cosines to them, so that captions that mean the same are not pushed apart;
    plus 1 − cosine to the caption, so that cosines mean the same in all modalities.
    """
    torch.manual_seed(budget.seed)
    rng = np.random.default_rng(budget.seed)
    texts = {label: F.normalize(encode(list(captions[label])), dim=-1) for label in corpus.labels}
    far = F.normalize(encode(list(others)), dim=-1)
    imu_config, pose_config = config or (ActionConfig("imu"), ActionConfig("pose"))
    imu, pose = ActionEncoder(imu_config).train(), ActionEncoder(pose_config).train()
    weight = _balanced(corpus, clips)

    def draw() -> Batch:
        slots = rng.choice(7, 1 if rng.random() < 0.5 else int(rng.integers(2, 6)), replace=False)
        return draw_batch(corpus, rng.choice(clips, budget.batch, p=weight), rng, augment, slots=slots)

    batches = _ahead(draw)
    for update in _steps("actions", [*imu.parameters(), *pose.parameters()], budget, say):
        batch = next(batches)
        named = [texts[corpus.labels[corpus.label[c]]] for c in batch.clip]
        caption = torch.stack([t[int(torch.randint(len(t), ()))] for t in named])
        pool = torch.cat([caption, far[torch.randperm(len(far))[: budget.batch]]])
        meant = (caption @ pool.T / 0.05).softmax(1)
        loss = torch.zeros(())
        used = torch.from_numpy(np.flatnonzero(batch.imu_mask.any((0, 2))))
        for net, x, mask in (
            (imu, torch.from_numpy(batch.imu), torch.from_numpy(batch.imu_mask)),
            (pose, torch.from_numpy(batch.pose), torch.from_numpy(batch.pose_mask)),
        ):
            z = F.normalize(net(x, mask, used if net is imu else None), dim=-1)
            loss = loss - (meant * (z @ pool.T / 0.07).log_softmax(1)).sum(1).mean()
            loss = loss - (meant[:, : len(z)].T * (caption @ z.T / 0.07).log_softmax(1)).sum(1).mean() * 0.5
            loss = loss + (1 - (z * caption).sum(1)).mean()
        update(loss)
    return imu.eval(), pose.eval()


def fit_motion(
    corpus: Corpus,
    clips: Int,
    budget: Budget,
    augment: Augment,
    config: tuple[MotionConfig, MotionConfig] | None = None,
    say: Say = print,
) -> tuple[MotionEncoder, MotionEncoder]:
    """Sensors against pose of the same person at the same time: window, token, local and global level.

    Window: InfoNCE on the mean token cosine of two windows, which is the score that search ranks by. Token, local and
    global levels: as MoBind's, with one learned scale each. Each step sees a random choice of parts.
    """
    torch.manual_seed(budget.seed)
    rng = np.random.default_rng(budget.seed)
    imu_config, pose_config = config or (MotionConfig("imu"), MotionConfig("pose"))
    imu, pose = MotionEncoder(imu_config).train(), MotionEncoder(pose_config).train()
    log_scale = nn.Parameter(torch.tensor([math.log(20.0), math.log(10.0), math.log(14.0), math.log(14.0)]))
    long_enough = clips[corpus.length[clips] >= 100]
    weight = _balanced(corpus, long_enough)

    def draw() -> Batch:
        slots = np.sort(rng.choice(6, int(rng.choice([1, 2, 3, 4, 5], p=[0.3, 0.2, 0.2, 0.15, 0.15])), replace=False))
        return draw_batch(corpus, rng.choice(long_enough, budget.batch, p=weight), rng, augment, slots=slots)

    batches = _ahead(draw)
    parameters = [*imu.parameters(), *pose.parameters(), log_scale]
    for update in _steps("motion", parameters, budget, say):
        batch = next(batches)
        used = torch.from_numpy(np.flatnonzero(batch.imu_mask.any((0, 2))))
        scale = log_scale.clamp(max=math.log(100)).exp()
        sides = []
        for net, x, mask in ((imu, batch.imu, batch.imu_mask), (pose, batch.pose, batch.pose_mask)):
            tokens = F.normalize(net.tokens(torch.from_numpy(x)[:, used], parts=used), dim=-1)
            seen = token_mask(torch.from_numpy(mask)[:, used])
            tokens = tokens * seen[..., None]
            full = tokens.new_zeros(len(x), net.parts, *tokens.shape[2:]).index_copy(1, used, tokens)
            local, global_ = net.pool(full, seen.new_zeros(full.shape[:3]).index_copy(1, used, seen))
            sides.append((tokens, seen, local[:, used], global_))
        (a, am, al, ag), (b, bm, bl, bg) = sides
        both = am & bm
        loss = window_nce(a, b, scale[0], mask_a=am, mask_b=bm)
        loss = loss + 0.5 * token_nce(a.flatten(0, 1), b.flatten(0, 1), scale[1], mask=both.flatten(0, 1))
        loss = loss + 0.25 * info_nce(al.flatten(0, 1), bl.flatten(0, 1), scale[2], mask=both.any(2).flatten())
        loss = loss + 0.25 * info_nce(ag, bg, scale[3], mask=both.flatten(1).any(1))
        update(loss)
    return imu.eval(), pose.eval()


@torch.inference_mode()
def fit_projection(
    imu: MotionEncoder, pose: MotionEncoder, corpus: Corpus, clips: Int, augment: Augment, *, windows: int = 4096
) -> None:
    """Principal axes of the tokens of whole windows, of sensors and pose together, written into both encoders."""
    rng = np.random.default_rng(0)
    long = clips[corpus.length[clips] >= 240]
    rows = []
    for _ in range(windows // 256):
        batch = draw_batch(corpus, rng.choice(long, 256), rng, augment)
        for net, x, mask in ((imu, batch.imu, batch.imu_mask), (pose, batch.pose, batch.pose_mask)):
            seen = token_mask(torch.from_numpy(mask[:, : net.parts]))
            rows.append(F.normalize(net.tokens(torch.from_numpy(x)), dim=-1) * seen[..., None])
    flat = torch.cat(rows).flatten(1)
    mean = flat.mean(0)
    torch.manual_seed(0)
    axes = torch.pca_lowrank(flat - mean, q=imu.config.projected, center=False, niter=4)[2]
    for net in (imu, pose):
        net.projection.copy_(axes)
        net.projection_mean.copy_(mean)
