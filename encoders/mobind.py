"""The networks of MoBind (2026): IMU and pose ConvFormers over body parts, and the two stages they are trained in.

Inputs are (B, P, C, L) with a mask (B, P, L) of what was measured. The names of the weights are those of the published
code, so that its checkpoints load (`from_published`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from motionseek.encoders._modules import load_checked
from motionseek.encoders.convformer import CHANNELS, ConvFormer, Encoded, attend, transformer
from motionseek.encoders.train import losses
from motionseek.errors import ModelError, UsageError
from motionseek.types import PARTS

LIMBS = PARTS[:4]
SENSORS = PARTS[:5]
"""What MoBind knows: the limbs, and the head for TotalCapture and EgoHumans."""


@dataclass(frozen=True)
class MobindConfig:
    """Both stages. The defaults are the published network for mRi: 5 s, IMU at 50 Hz, pose at 10 Hz.

    parts: the P axis, in order.     imu_patch, pose_patch: samples per token, 0.2 s of either rate.
    tokens: the most that fit, that is window_s / 0.2 s.     masked_layers: depth of the masked token prediction.
    compat: give the masked token prediction the sensor ids that the published code gives, which are mixed up.
    acc_unit_mps2: what the accelerometer's numbers are multiples of; mRi's are g.

    Seven IMU channels are accelerometer and orientation (w, x, y, z) as published, six accelerometer and gyroscope.
    Six pose channels are a part's joints in the picture as published, twelve are `preprocess.normalise_pose`'s.
    """

    parts: tuple[str, ...] = LIMBS
    imu_channels: int = 7
    pose_channels: int = 6
    imu_patch: int = 10
    pose_patch: int = 2
    tokens: int = 25
    width: int = 256
    layers: int = 4
    heads: int = 8
    feed_forward: int = 128
    masked_layers: int = 4
    mask_ratio: float = 0.75
    compat: bool = False
    acc_unit_mps2: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", tuple(self.parts))
        if unknown := set(self.parts) - set(PARTS):
            raise ModelError(f"{sorted(unknown)[0]!r} is no part; parts are {', '.join(PARTS)}")
        if self.width % self.heads:
            raise ModelError(f"width {self.width} cannot be shared among {self.heads} heads")
        if not self.parts or not 0 < self.mask_ratio < 1:
            raise ModelError("a MoBind network needs at least one part and a mask_ratio between 0 and 1")


@dataclass(frozen=True)
class LossWeights:
    """What each term counts."""

    global_: float = 0.0
    local: float = 0.0
    token: float = 0.0
    multi: float = 0.0
    masked: float = 0.0


STAGE1_WEIGHTS = LossWeights(local=1.0, token=0.5)
STAGE2_WEIGHTS = LossWeights(global_=1.0, multi=0.1, masked=0.3)
"""For mRi; 0.2 for `multi` on EgoHumans."""
PAPER_WEIGHTS = LossWeights(global_=1.0, local=1.0, token=0.5, masked=0.3)
"""The single stage that the paper tells of; the published code trains in two."""


class Stage1(nn.Module):
    """Both ConvFormers, trained on single parts: local and token level."""

    def __init__(self, config: MobindConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or MobindConfig()
        shared = (config.tokens, config.width, config.layers, config.heads, config.feed_forward)
        self.imu_encoder = ConvFormer(config.imu_channels, config.imu_patch, *shared)
        self.motion_encoder = ConvFormer(config.pose_channels, config.pose_patch, *shared)
        self.logit_scale = nn.Parameter(torch.tensor(losses.INITIAL_LOG_SCALE))

    def encode_imu(self, x: Tensor, mask: Tensor | None = None) -> Encoded:
        """x (B, P, C, L), mask (B, P, L) → Encoded."""
        out: Encoded = self.imu_encoder(x, mask)
        return out

    def encode_pose(self, x: Tensor, mask: Tensor | None = None) -> Encoded:
        """x (B, P, C, L), mask (B, P, L) → Encoded."""
        out: Encoded = self.motion_encoder(x, mask)
        return out

    def loss(self, imu: Encoded, pose: Encoded, weights: LossWeights = STAGE1_WEIGHTS) -> dict[str, Tensor]:
        """Each term that has a weight, and "total". Only parts and tokens that both have are compared.

        local: negatives are the other windows and the other parts.   token: the other times of one window and part.
        """
        scale, parts, tokens = self.logit_scale.exp(), imu.parts & pose.parts, imu.mask & pose.mask
        terms = {}
        if weights.local:
            terms["local"] = losses.info_nce(
                imu.local.flatten(0, 1), pose.local.flatten(0, 1), scale, mask=parts.flatten()
            )
        if weights.token:
            terms["token"] = losses.token_nce(
                imu.token.flatten(0, 1), pose.token.flatten(0, 1), scale, mask=tokens.flatten(0, 1)
            )
        return _totalled(terms, weights)

    @torch.no_grad()
    def clamp_scale(self) -> None:
        """To be called after every step of the optimiser."""
        self.logit_scale.clamp_(*losses.LOG_SCALE_RANGE)


class Stage2(Stage1):
    """All parts of a body together: a global vector, and masked token prediction while training."""

    def __init__(self, config: MobindConfig | None = None) -> None:
        super().__init__(config)
        width, parts = self.config.width, len(self.config.parts)
        self.imu_norm, self.motion_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.imu_agg_proj, self.motion_agg_proj = (
            nn.Sequential(nn.Linear(parts * width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)) for _ in range(2)
        )
        self.local2global_imu = nn.Linear(width, width)
        self.mask_token = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.imu_pos_emb = nn.Parameter(torch.randn(1, self.config.tokens, width) * 0.02)
        self.sensor_id_emb = nn.Embedding(parts, width)
        nn.init.normal_(self.sensor_id_emb.weight, std=0.02)
        self.imu_transformer = transformer(width, self.config.heads, 4 * width, self.config.masked_layers)
        self.pre_pred_norm = nn.LayerNorm(width)
        self.imu_pred = nn.Linear(width, width)

    def encode_imu(self, x: Tensor, mask: Tensor | None = None) -> Encoded:
        """As Stage1.encode_imu, with global_; x must have all parts of the configuration, missing ones masked."""
        return self._whole(super().encode_imu(x, mask), self.imu_norm, self.imu_agg_proj)

    def encode_pose(self, x: Tensor, mask: Tensor | None = None) -> Encoded:
        """As Stage1.encode_pose, with global_; x must have all parts of the configuration, missing ones masked."""
        return self._whole(super().encode_pose(x, mask), self.motion_norm, self.motion_agg_proj)

    def _whole(self, encoded: Encoded, norm: nn.Module, aggregate: nn.Module) -> Encoded:
        if encoded.local.shape[1] != len(self.config.parts):
            raise UsageError(f"the model's P axis is {', '.join(self.config.parts)}; mask the parts that are missing")
        # A missing part is the zero that LayerNorm centres on, not the norm's answer to a zero vector.
        local = norm(encoded.local) * encoded.parts[..., None].to(encoded.local.dtype)
        return replace(encoded, local=local, global_=aggregate(local.flatten(1)))

    def loss(
        self,
        imu: Encoded,
        pose: Encoded,
        weights: LossWeights = STAGE2_WEIGHTS,
        *,
        generator: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """Each term that has a weight, and "total"; `generator` chooses the tokens to hide, on the CPU."""
        terms = super().loss(imu, pose, weights)
        scale, both = self.logit_scale.exp(), imu.parts.any(1) & pose.parts.any(1)
        if imu.global_ is None or pose.global_ is None:
            raise UsageError("Stage2.loss takes what Stage2's own encoders give")
        if weights.global_:
            terms["global_"] = losses.info_nce(imu.global_, pose.global_, scale, mask=both)
        if weights.multi:
            sensors = self.local2global_imu(imu.local)
            terms["multi"] = losses.multi_positive(
                pose.global_.detach(), sensors, scale, mask=imu.parts & both[:, None]
            )
        if weights.masked:
            hidden = self.hide(imu.mask, generator)
            terms["masked"] = losses.masked_token_mse(self.predict(imu, hidden), imu.token, hidden)
        return _totalled(terms, weights)

    def hide(self, mask: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """mask (B, P, T) → (B, P, T), True for the tokens to hide: all but 1 − mask_ratio of T, in each part alone.

        What is missing is never hidden, because there is nothing to predict.
        """
        kept = int(mask.shape[-1] * (1 - self.config.mask_ratio))
        order = torch.rand(mask.shape, generator=generator).argsort(-1).argsort(-1).to(mask.device)
        return (order >= kept) & mask

    def predict(self, imu: Encoded, hidden: Tensor) -> Tensor:
        """The tokens (B, P, T, D) as guessed from those of the same part that `hidden` (B, P, T) leaves."""
        batch, parts, tokens, _ = imu.token.shape
        ids = torch.arange(parts, device=hidden.device)
        # The published rows run over parts first, its ids over windows first: most rows get another part's id.
        ids = ids.repeat_interleave(batch) if self.config.compat else ids.repeat(batch)
        x = torch.where(hidden[..., None], self.mask_token, imu.token).flatten(0, 1)
        x = x + self.imu_pos_emb[:, :tokens] + self.sensor_id_emb(ids)[:, None]
        x = attend(self.imu_transformer, x, imu.mask.flatten(0, 1))
        out: Tensor = self.imu_pred(self.pre_pred_norm(x)).reshape(batch, parts, tokens, -1)
        return out


KINDS: Mapping[str, tuple[type[MobindConfig], type[Stage1]]] = {
    "mobind_stage1": (MobindConfig, Stage1),
    "mobind_stage2": (MobindConfig, Stage2),
}
"""Name in a model card → (its configuration, its module)."""


def from_published(
    state: Mapping[str, Tensor],
    *,
    heads: int = 8,
    parts: tuple[str, ...] | None = None,
    acc_unit_mps2: float = 1.0,
) -> Stage1:
    """Stage1 or Stage2 from a published checkpoint; sizes come from the shapes, heads cannot be seen in them.

    parts: what the sensors of a stage-2 checkpoint are; by default MoBind's four limbs, then the head.
    The checkpoint's cls_token is not used by the network, and is dropped.
    Raises ModelError where names or shapes are not those of MoBind.
    """
    state = {name: weight for name, weight in state.items() if not name.endswith(".transformer.cls_token")}
    stage2 = "sensor_id_emb.weight" in state
    layers = "imu_encoder.transformer.transformer.layers."
    try:
        width, imu_flat = state["imu_encoder.pre_transformer.weight"].shape
        sensors = state["sensor_id_emb.weight"].shape[0] if stage2 else len(LIMBS)
        config = MobindConfig(
            parts=parts or PARTS[:sensors],
            imu_channels=state["imu_encoder.conv1.weight"].shape[1],
            pose_channels=state["motion_encoder.conv1.weight"].shape[1],
            imu_patch=imu_flat // CHANNELS[-1],
            pose_patch=state["motion_encoder.pre_transformer.weight"].shape[1] // CHANNELS[-1],
            tokens=state["imu_encoder.transformer.pos_emb"].shape[1],
            width=width,
            layers=sum(n.startswith(layers) and n.endswith(".linear1.weight") for n in state),
            heads=heads,
            feed_forward=state[f"{layers}0.linear1.weight"].shape[0],
            masked_layers=sum(n.startswith("imu_transformer.") and n.endswith(".linear1.weight") for n in state) or 1,
            compat=True,
            acc_unit_mps2=acc_unit_mps2,
        )
    except (KeyError, ValueError, IndexError) as error:
        raise ModelError(f"this is not a checkpoint of MoBind that can be understood: {error} is missing") from error
    module = Stage2(config) if stage2 else Stage1(config)
    return load_checked(module, state, f"MoBind's stage {2 if stage2 else 1}")


def _totalled(terms: dict[str, Tensor], weights: LossWeights) -> dict[str, Tensor]:
    weighted = [weight * terms[name] for name, weight in vars(weights).items() if name in terms]
    return {**terms, "total": torch.stack(weighted).sum() if weighted else torch.zeros(())}
