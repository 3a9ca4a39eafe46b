"""What IMU2CLIP and MoBind are trained for, on the same windows as everything else."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from motionseek.encoders import convformer, imu2clip
from motionseek.encoders.mobind import PAPER_WEIGHTS, STAGE1_WEIGHTS, LossWeights, MobindConfig, Stage1, Stage2
from motionseek.encoders.motion import TOKEN_S
from motionseek.encoders.towers import imu_channels
from motionseek.encoders.train import losses
from motionseek.encoders.train.windows import Encoded, Objective, TrainBatch
from motionseek.errors import UsageError
from motionseek.types import PARTS

Target = Literal["text", "video"]
ContrastiveLoss = Literal["infonce", "triplet", "mse"]
LOSSES = ("infonce", "triplet", "mse")
SAME = 1 - 1e-5
"""Cosine from which two frozen vectors are one narration or one picture told twice."""


class Imu2ClipObjective(Objective):
    """An IMU encoder is trained to say what frozen text or video vectors say (Moon et al. 2023, eqs. 1 and 2).

    kind: a name of imu2clip.KINDS.     config: its configuration; `width` is that of the frozen vectors.
    targets: IMU↔text, IMU↔video or both; a window counts for each target that it has.
    temperature: None learns it from 0.1, as the published code does; a number keeps it, as the paper's runs did.
    spare_twins: windows with the same narration are not each other's negatives; the published code makes them so.
    """

    def __init__(
        self,
        kind: str = "imu2clip",
        config: Mapping[str, Any] | None = None,
        *,
        targets: tuple[Target, ...] = ("text",),
        loss: ContrastiveLoss = "infonce",
        temperature: float | None = None,
        margin: float = 0.2,
        spare_twins: bool = True,
        space: str = "clip",
    ) -> None:
        super().__init__()
        if kind not in imu2clip.KINDS:
            raise UsageError(f"encoder {kind!r} is not one of {', '.join(imu2clip.KINDS)}")
        if loss not in LOSSES:
            raise UsageError(f"loss {loss!r} is not one of {', '.join(LOSSES)}")
        if not targets or set(targets) - {"text", "video"}:
            raise UsageError(f'targets must be "text", "video" or both, not {list(targets)}')
        config_type, network = imu2clip.KINDS[kind]
        self.net = network(config_type(**(config or {})))
        self.networks = {(space, "imu"): self.net}
        self.targets, self.kind_of_loss, self.margin, self.spare_twins = tuple(targets), loss, margin, spare_twins
        log_scale = torch.tensor(math.log(1 / (temperature or 0.1)))
        self.log_scale = nn.Parameter(log_scale, requires_grad=temperature is None)

    def encode(self, batch: TrainBatch) -> Encoded:
        """imu (B, D), the mean of a window's sensors as SensorTower gives it; the frozen vectors and who has them."""
        sensors = batch.imu_mask.any(2)
        width = int(self.net.config.width)  # type: ignore[union-attr, arg-type]
        each = batch.imu.new_zeros(*sensors.shape, width)
        if sensors.any():
            each[sensors] = F.normalize(self.net(batch.imu[sensors], batch.imu_mask[sensors]), dim=-1).to(each.dtype)
        imu = each.sum(1) / sensors.sum(1, keepdim=True).clamp_min(1)
        found = {"imu": imu, "imu_there": sensors.any(1)}
        for target in self.targets:
            vectors, mask = getattr(batch, target), getattr(batch, f"{target}_mask")
            if vectors is not None and vectors.shape[1] != width:
                raise UsageError(
                    f"the windows' {target} vectors have {vectors.shape[1]} numbers and the encoder gives {width}: "
                    f"set width = {vectors.shape[1]} in the recipe's model"
                )
            found[target] = torch.zeros_like(imu) if vectors is None else vectors
            found[f"{target}_there"] = torch.zeros_like(found["imu_there"]) if mask is None else mask
        return found

    def loss(self, encoded: Encoded) -> dict[str, Tensor]:
        """One term a target, and their sum."""
        terms: dict[str, Tensor] = {}
        for target in self.targets:
            imu, other = encoded["imu"], encoded[target]
            there = encoded["imu_there"] & encoded[f"{target}_there"]
            if self.kind_of_loss == "infonce":
                same = other @ other.T > SAME if self.spare_twins else None
                terms[target] = losses.info_nce(imu, other, self.log_scale.exp(), mask=there, same=same)
            elif self.kind_of_loss == "triplet":
                terms[target] = losses.triplet(imu, other, margin=self.margin, mask=there)
            else:
                terms[target] = losses.mse(imu, other, mask=there)
        return {**terms, "loss": torch.stack(list(terms.values())).sum()}

    def sides(self, batch: TrainBatch) -> tuple[Tensor, Tensor]:
        """IMU against the first target of the windows that have both."""
        encoded, target = self.encode(batch), self.targets[0]
        both = encoded["imu_there"] & encoded[f"{target}_there"]
        return F.normalize(encoded["imu"][both], dim=-1), encoded[target][both]

    @torch.no_grad()
    def after_step(self) -> None:
        self.log_scale.clamp_(*losses.LOG_SCALE_RANGE)


class MobindObjective(Objective):
    """Sensors against the pose of the same body at the same time, part by part (MoBind, 2026).

    stage: 1 trains single parts (local and token level), 2 the whole body (global level, multi-positive term, masked
    token prediction) and, with the paper's weights, all levels at once.
    weights: what each of MoBind's terms counts.     window: weight of InfoNCE on all tokens of a window at once.
    items: weight of token InfoNCE whose negatives are the other windows at the same time, beside MoBind's, whose
    negatives are the other times of the same window.
    drop: up to so many sensors of a window are left out, as many as chance says.
    start: the weights of a first stage, for the second.
    """

    def __init__(
        self,
        config: MobindConfig | None = None,
        *,
        stage: Literal[1, 2] = 2,
        weights: LossWeights | None = None,
        window: float = 0.0,
        items: float = 0.0,
        drop: int = 0,
        start: Mapping[str, Tensor] | None = None,
        space: str = "motion",
    ) -> None:
        super().__init__()
        config = config or MobindConfig()
        if drop >= len(config.parts):
            raise UsageError(f"drop = {drop} may leave none of the {len(config.parts)} sensors")
        self.net = (Stage2 if stage == 2 else Stage1)(config)
        if start is not None:
            wrong = [name for name in start if name not in self.net.state_dict()]
            if wrong:
                raise UsageError(f"the first stage has weights that the second does not: {wrong[0]}")
            self.net.load_state_dict(dict(start), strict=False)
        self.networks = {(space, "imu"): self.net, (space, "pose"): self.net}
        self.weights = weights or (STAGE1_WEIGHTS if stage == 1 else PAPER_WEIGHTS)
        self.window, self.items, self.drop = window, items, drop
        self.slots = [PARTS.index(part) for part in config.parts]
        self.imu_rate_hz, self.pose_rate_hz = config.imu_patch / TOKEN_S, config.pose_patch / TOKEN_S

    def encode(self, batch: TrainBatch) -> Encoded:
        """Both sides' tokens, locals, masks and globals. The batch's signals are at the sensors' rate."""
        config = self.net.config
        imu, there = batch.imu[:, self.slots], batch.imu_mask[:, self.slots]
        if self.training and self.drop:
            count = torch.randint(0, self.drop + 1, (len(imu), 1), device=imu.device)
            order = torch.rand(there.shape[:2], device=imu.device).argsort(1)
            there = there & (order >= count)[..., None]
        step = self.imu_rate_hz / self.pose_rate_hz
        if step < 1 or abs(step - round(step)) > 1e-6:
            raise UsageError(f"pose at {self.pose_rate_hz:g} Hz is no whole part of the sensors' {self.imu_rate_hz:g}")
        pose = batch.pose[:, self.slots, :, :: round(step)]
        if pose.shape[2] != config.pose_channels:
            raise UsageError(
                f"pose_channels = {config.pose_channels} does not fit the {pose.shape[2]} channels of the windows' "
                'pose: 6 need pose_form = "picture" in the recipe\'s data, 12 need "person"'
            )
        sides = {
            "imu": self.net.encode_imu(imu_channels(imu, config, self.imu_rate_hz), there),
            "pose": self.net.encode_pose(pose, batch.pose_mask[:, self.slots, :: round(step)]),
        }
        found = {f"{s}.{n}": getattr(e, n) for s, e in sides.items() for n in ("local", "token", "mask", "global_")}
        return {name: x for name, x in found.items() if x is not None}

    def loss(self, encoded: Encoded) -> dict[str, Tensor]:
        """Each term that has a weight, and their weighted sum."""
        sides = [
            convformer.Encoded(*(encoded.get(f"{s}.{n}") for n in ("local", "token", "mask", "global_")))  # type: ignore[arg-type]
            for s in ("imu", "pose")
        ]
        imu, pose = sides
        terms = self.net.loss(imu, pose, self.weights)
        total = terms.pop("total")
        if not terms:
            total = imu.token.new_zeros(())
        scale = self.net.logit_scale.exp()
        a, b = (F.normalize(s.token, dim=-1) * s.mask[..., None] for s in sides)
        if self.window:
            terms["window"] = losses.window_nce(a, b, scale, mask_a=imu.mask, mask_b=pose.mask)
            total = total + self.window * terms["window"]
        if self.items:
            both = (imu.mask & pose.mask).permute(1, 2, 0).flatten(0, 1)
            own, other = (x.permute(1, 2, 0, 3).flatten(0, 1) for x in (a, b))
            terms["items"] = losses.token_nce(own, other, scale, mask=both)
            total = total + self.items * terms["items"]
        return {**terms, "loss": total}

    def sides(self, batch: TrainBatch) -> tuple[Tensor, Tensor]:
        """The global vectors where the second stage has learned any, else the concatenated unit tokens."""
        encoded = self.encode(batch)
        both = encoded["imu.mask"].flatten(1).any(1) & encoded["pose.mask"].flatten(1).any(1)
        if self.weights.global_:
            flat = [encoded[f"{s}.global_"] for s in ("imu", "pose")]
        else:
            flat = [
                (F.normalize(encoded[f"{s}.token"], dim=-1) * encoded[f"{s}.mask"][..., None]).flatten(1)
                for s in ("imu", "pose")
            ]
        a, b = (F.normalize(x[both], dim=-1) for x in flat)
        return a, b

    def after_step(self) -> None:
        self.net.clamp_scale()
