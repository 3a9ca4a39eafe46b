"""What our own motion model is trained for: sensors against pose, and both against sentences."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from motionseek.encoders.motion import ActionConfig, ActionEncoder, MotionConfig, MotionEncoder, part_features
from motionseek.encoders.train.losses import caption_nce, info_nce, token_nce, window_nce
from motionseek.encoders.train.windows import Batches, Encoded, Objective, TrainBatch
from motionseek.errors import UsageError


@dataclass(frozen=True)
class MotionWeights:
    """What each term counts; 0 leaves it out.

    window: InfoNCE on the mean token cosine of two windows, which is the score that search ranks by.
    token, local, global_: MoBind's levels, with one learned scale each.
    text: sensors and pose against the frozen vectors of their sentences.
    """

    window: float = 1.0
    token: float = 0.5
    local: float = 0.25
    global_: float = 0.25
    text: float = 0.0

    def __post_init__(self) -> None:
        if min(vars(self).values()) < 0 or not any(vars(self).values()):
            raise UsageError(f"weights must be 0 or more, and one of them more than 0: {self}")


class MotionObjective(Objective):
    """Tokens of limited context, part by part, and on the same trunks a head that answers text.

    config: sizes of each side; `kind` is set here.     text_dim: the width of the frozen sentence vectors.
    projection_from: the windows whose tokens the projection is fitted to; by default those of training.
    """

    def __init__(
        self,
        config: MotionConfig | None = None,
        *,
        weights: MotionWeights | None = None,
        text_dim: int = 256,
        space: str = "motion",
        text_space: str = "clip",
        projection_from: Batches | None = None,
    ) -> None:
        super().__init__()
        self.weights = weights or MotionWeights()
        sizes = {k: v for k, v in vars(config or MotionConfig("imu")).items() if k != "kind"}
        self.imu, self.pose = (MotionEncoder(MotionConfig(kind, **sizes)) for kind in ("imu", "pose"))
        self.log_scale = nn.Parameter(torch.tensor([math.log(20.0), math.log(10.0), math.log(14.0), math.log(14.0)]))
        self.networks: dict[tuple[str, str], nn.Module] = {(space, "imu"): self.imu, (space, "pose"): self.pose}
        self.heads = nn.ModuleDict()
        if self.weights.text:
            for side, net in self._nets.items():
                head = ActionEncoder(ActionConfig(side, net.config.width, text_dim, net.config.dropout))
                head.trunk = net.trunk
                self.heads[side] = head
                self.networks[text_space, side] = head
        self.text_dim = text_dim
        self.projection_from = projection_from

    @property
    def _nets(self) -> dict[str, MotionEncoder]:
        return {"imu": self.imu, "pose": self.pose}

    @property
    def compares_pose(self) -> bool:
        w = self.weights
        return bool(w.window or w.token or w.local or w.global_)

    def encode(self, batch: TrainBatch) -> Encoded:
        """token (B, 6, T, D) unit, zero where masked; seen (B, 6, T); local, global_ and, for text, one vector."""
        found: dict[str, Tensor] = {}
        for side, x, mask in (("imu", batch.imu, batch.imu_mask), ("pose", batch.pose, batch.pose_mask)):
            net = self._nets[side]
            features, seen = part_features(net.trunk, x, mask)
            if self.heads:
                found[f"{side}.text"] = cast(ActionEncoder, self.heads[side]).head(features, seen)
                found[f"{side}.there"] = seen.flatten(1).any(1)
            if self.compares_pose:
                features, seen = features[:, : net.parts], seen[:, : net.parts]
                token = F.normalize(net.token(features), dim=-1) * seen[..., None]
                local, global_ = net.pool(token, seen)
                found |= {
                    f"{side}.token": token,
                    f"{side}.seen": seen,
                    f"{side}.local": local,
                    f"{side}.global": global_,
                }
        if self.heads:
            found |= self._text(batch)
        return found

    def _text(self, batch: TrainBatch) -> dict[str, Tensor]:
        if batch.text is None or batch.text_mask is None:
            return {
                "text": batch.imu.new_zeros(len(batch), self.text_dim),
                "told": batch.imu_mask.new_zeros(len(batch)),
            }
        if batch.text.shape[1] != self.text_dim:
            raise UsageError(
                f"the windows' text vectors have {batch.text.shape[1]} numbers, not {self.text_dim}: set text_dim"
            )
        return {"text": batch.text, "told": batch.text_mask}

    def loss(self, encoded: Encoded) -> dict[str, Tensor]:
        terms: dict[str, Tensor] = {}
        weights = self.weights
        scale = self.log_scale.clamp(max=math.log(100)).exp()
        if self.compares_pose:
            (a, am, al, ag), (b, bm, bl, bg) = (
                [encoded[f"{side}.{name}"] for name in ("token", "seen", "local", "global")] for side in ("imu", "pose")
            )
            both = am & bm
            if weights.window:
                terms["window"] = window_nce(a, b, scale[0], mask_a=am, mask_b=bm)
            if weights.token:
                terms["token"] = token_nce(a.flatten(0, 1), b.flatten(0, 1), scale[1], mask=both.flatten(0, 1))
            if weights.local:
                terms["local"] = info_nce(al.flatten(0, 1), bl.flatten(0, 1), scale[2], mask=both.any(2).flatten())
            if weights.global_:
                terms["global_"] = info_nce(ag, bg, scale[3], mask=both.flatten(1).any(1))
        for side in self.heads:
            there = encoded[f"{side}.there"] & encoded["told"]
            text = encoded["text"][there]
            terms[f"{side}_text"] = caption_nce(encoded[f"{side}.text"][there], text, text)
        counts = {**vars(weights), "imu_text": weights.text, "pose_text": weights.text}
        return {**terms, "loss": torch.stack([counts[name] * x for name, x in terms.items()]).sum()}

    def sides(self, batch: TrainBatch) -> tuple[Tensor, Tensor]:
        """All tokens of a window as one vector, sensors and pose; without pose, sensors and their sentence."""
        encoded = self.encode(batch)
        if not self.compares_pose:
            both = encoded["imu.there"] & encoded["told"]
            return F.normalize(encoded["imu.text"][both], dim=-1), encoded["text"][both]
        both = (encoded["imu.seen"] & encoded["pose.seen"]).flatten(1).any(1)
        a, b = (F.normalize(encoded[f"{side}.token"][both].flatten(1), dim=-1) for side in ("imu", "pose"))
        return a, b

    def finish(self, data: Batches) -> None:
        if self.compares_pose:
            fit_projection(self.imu, self.pose, self.projection_from or data)


@torch.no_grad()
def fit_projection(imu: MotionEncoder, pose: MotionEncoder, data: Batches, *, windows: int = 4096) -> None:
    """Principal axes of each part's tokens in windows, of sensors and pose together, written into both encoders.

    They are not centred: what they keep as well as they can is the inner product of two windows.
    """
    device = imu.projection.device
    # (part, flat, flat): sums over windows of the outer products of a part's tokens
    spread = torch.zeros(imu.parts, *(imu.projection.shape[1],) * 2, device=device)
    step, taken = 0, 0
    while taken < windows and step < 4 * data.steps:
        batch = data.batch(step).to(device)
        step, taken = step + 1, taken + len(batch)
        for net, x, mask in ((imu, batch.imu, batch.imu_mask), (pose, batch.pose, batch.pose_mask)):
            features, seen = part_features(net.trunk, x[:, : net.parts], mask[:, : net.parts])
            # of parts that are mostly there
            whole = seen.sum(2, keepdim=True) * 2 > seen.shape[2]
            token = F.normalize(net.token(features), dim=-1) * (seen & whole)[..., None]
            flat = token.flatten(2).transpose(0, 1)
            spread += flat.transpose(1, 2) @ flat
    axes = torch.linalg.eigh(spread).eigenvectors.flip(2)[..., : imu.config.projected]
    for net in (imu, pose):
        net.projection.copy_(axes)
