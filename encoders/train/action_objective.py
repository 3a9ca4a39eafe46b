"""What the starter's `clip` side is trained for: sensors and pose of a window beside the sentences that name it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from motionseek.encoders.motion import ActionConfig, ActionEncoder
from motionseek.encoders.train.losses import caption_nce
from motionseek.encoders.train.windows import Encoded, Objective, TrainBatch


class ActionObjective(Objective):
    """Sensors and pose → the vectors of their captions.

    others: (K, D) unit vectors of sentences that no window shows; each batch sees some of them, as many as windows.
    Beside what all sensors of a window say together stands what each says alone, because a search often has only one.
    """

    far: Tensor

    def __init__(
        self, config: tuple[ActionConfig, ActionConfig] | None = None, *, others: Tensor | None = None
    ) -> None:
        super().__init__()
        imu, pose = config or (ActionConfig("imu"), ActionConfig("pose"))
        self.imu, self.pose = ActionEncoder(imu), ActionEncoder(pose)
        self.networks = {("clip", "imu"): self.imu, ("clip", "pose"): self.pose}
        self.register_buffer("far", torch.zeros(0, imu.output_dim) if others is None else others)

    def encode(self, batch: TrainBatch) -> Encoded:
        text = batch.imu.new_zeros(len(batch), self.imu.config.output_dim) if batch.text is None else batch.text
        told = batch.imu_mask.new_zeros(len(batch)) if batch.text_mask is None else batch.text_mask
        features, seen = self.imu.features(batch.imu, batch.imu_mask)
        each = self.imu.head(features.flatten(0, 1)[:, None], seen.flatten(0, 1)[:, None])
        return {
            "imu": self.imu.head(features, seen),
            "each": each.reshape(*seen.shape[:2], -1),
            "each_there": seen.any(2) & told[:, None],
            "imu_there": batch.imu_mask.flatten(1).any(1) & told,
            "pose": self.pose(batch.pose, batch.pose_mask),
            "pose_there": batch.pose_mask.flatten(1).any(1) & told,
            "text": text,
        }

    def loss(self, encoded: Encoded) -> dict[str, Tensor]:
        far = self.far[torch.randperm(len(self.far))[: len(encoded["text"])]]
        terms = {}
        for side in ("imu", "pose"):
            there = encoded[f"{side}_there"]
            text = encoded["text"][there]
            terms[side] = caption_nce(encoded[side][there], text, torch.cat([text, far]))
        alone = [
            caption_nce(z[there], encoded["text"][there], torch.cat([encoded["text"][there], far]))
            for z, there in zip(encoded["each"].unbind(1), encoded["each_there"].unbind(1), strict=True)
        ]
        terms["each"] = torch.stack(alone).mean()
        return {**terms, "loss": terms["imu"] + terms["pose"] + terms["each"]}

    def sides(self, batch: TrainBatch) -> tuple[Tensor, Tensor]:
        """Sensors and their captions."""
        encoded = self.encode(batch)
        there = encoded["imu_there"]
        return F.normalize(encoded["imu"][there], dim=-1), encoded["text"][there]
