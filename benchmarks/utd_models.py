"""What is compared on UTD-MHAD: our motion model and its variants, and the kinds of models that others train.

Every one gives scores (N, N): row i is sensor i against the skeletons of all trials. A skeleton's part is the one that
the sensor is worn on, so which sensor a candidate trial had is not given away.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from utd_trials import WORN

from motionseek.encoders.imu2clip import KINDS, Stack, StackConfig
from motionseek.encoders.mobind import LossWeights, MobindConfig
from motionseek.encoders.model import load_model
from motionseek.encoders.motion import token_mask
from motionseek.encoders.train import losses
from motionseek.encoders.train.motion_objective import MotionObjective, MotionWeights
from motionseek.encoders.train.objectives import MobindObjective
from motionseek.encoders.train.windows import Batches, Encoded, Objective, TrainBatch

Scores = npt.NDArray[np.float32]
BODY = 6 * 12


class Scorer(Protocol):
    """Something that tells how well sensors and skeletons go together."""

    def scores(self, batch: TrainBatch) -> Scores: ...


def sensor(batch: TrainBatch) -> tuple[Tensor, Tensor, Tensor]:
    """The one sensor of each window: (B, 6, L), its mask (B, L) and which of WORN it is on (B,)."""
    slots = torch.tensor(WORN)
    worn = batch.imu_mask[:, slots].any(2).int().argmax(1)
    rows = torch.arange(len(worn))
    return batch.imu[rows, slots[worn]], batch.imu_mask[rows, slots[worn]], worn


def worn_parts(batch: TrainBatch) -> TrainBatch:
    """Only the pose of the parts that sensors are worn on."""
    kept = torch.zeros(6, dtype=torch.bool)
    kept[list(WORN)] = True
    return replace(batch, pose_mask=batch.pose_mask & kept[:, None])


class Ours(MotionObjective):
    """The motion model. score: "token" compares the tokens of the same time, "local" one pooled vector of the part.

    start: "scratch", or "starter" for the weights that the package brings: trained on simulated sensors only.
    """

    def __init__(self, start: str = "scratch", weights: MotionWeights | None = None, score: str = "token") -> None:
        super().__init__(weights=weights or MotionWeights(global_=0.0))
        self.score = score
        if start == "starter":
            model = load_model(start)
            for name, net in (("imu", self.imu), ("pose", self.pose)):
                held = model.encoder(name, "motion").net  # type: ignore[arg-type, attr-defined]
                net.load_state_dict(held.state_dict())

    def encode(self, batch: TrainBatch) -> Encoded:
        return super().encode(worn_parts(batch))

    def finish(self, data: Batches) -> None:
        """Nothing here looks windows up by their projection."""

    @torch.inference_mode()
    def vectors(self, batch: TrainBatch) -> Tensor:
        found, (_, _, worn) = self.encode(batch), sensor(batch)
        return F.normalize(found["imu.local"][torch.arange(len(worn)), torch.tensor(WORN)[worn]], dim=-1)

    @torch.inference_mode()
    def scores(self, batch: TrainBatch) -> Scores:
        found = self.encode(batch)
        if self.score == "token":
            return mean_cosine(*(found[f"{s}.{n}"] for s in ("imu", "pose") for n in ("token", "seen")))
        sides = (
            F.normalize(found[f"{s}.local"], dim=-1) * found[f"{s}.seen"].any(2)[..., None] for s in ("imu", "pose")
        )
        a, b = (x.flatten(1) for x in sides)
        return np.asarray((a @ b.T).numpy())


def mean_cosine(a: Tensor, am: Tensor, b: Tensor, bm: Tensor) -> Scores:
    """Unit tokens (N, P, T, D), zero where masked, and masks (N, P, T) → (N, N), the mean over what both have."""
    count = am.flatten(1).float() @ bm.flatten(1).float().T
    return np.asarray((a.flatten(1) @ b.flatten(1).T / count.clamp(min=1)).numpy())


class Global(Objective):
    """Two encoders, one vector a window, one loss: what IMU2CLIP and DeSPITE train. temperature: None learns it."""

    def __init__(
        self, imu: nn.Module, pose: nn.Module, loss: str = "infonce", temperature: float | None = None
    ) -> None:
        super().__init__()
        self.imu, self.pose, self.kind = imu, pose, loss
        start = torch.tensor(math.log(1 / (temperature or 0.1)))
        self.log_scale = nn.Parameter(start, requires_grad=temperature is None)

    def encode(self, batch: TrainBatch) -> Encoded:
        x, mask, _ = sensor(batch)
        return {"imu": self.imu(x, mask), "pose": self.pose(batch.pose.flatten(1, 2), batch.pose_mask[:, 0])}

    def loss(self, encoded: Encoded) -> dict[str, Tensor]:
        a, b = encoded["imu"], encoded["pose"]
        if self.kind == "infonce":
            return {"loss": losses.info_nce(a, b, self.log_scale.clamp(max=math.log(100)).exp())}
        return {"loss": losses.triplet(a, b) if self.kind == "triplet" else losses.mse(a, b)}

    @torch.inference_mode()
    def vectors(self, batch: TrainBatch) -> Tensor:
        return F.normalize(self.encode(batch)["imu"], dim=-1)

    @torch.inference_mode()
    def scores(self, batch: TrainBatch) -> Scores:
        a, b = (F.normalize(x, dim=-1) for x in self.encode(batch).values())
        return np.asarray((a @ b.T).numpy())


def imu2clip_style(kind: str = "imu2clip", loss: str = "infonce", temperature: float | None = None) -> Global:
    """An IMU encoder of IMU2CLIP beside a stacked CNN-GRU over the whole skeleton; 128 numbers a window."""
    width = 128
    if kind == "imu2clip":
        imu: nn.Module = Stack(StackConfig(width=width, norm="fixed", kernels=(10, 5), pool="mean"))
    else:
        config, network = KINDS[kind]
        imu = network(config(width=width))
    seen = StackConfig(BODY, width, "fixed", (1.0,) * BODY, "mean", kernels=(10, 5))
    return Global(imu, Stack(seen), loss, temperature)


class Recurrent(nn.Module):
    """A two-layer LSTM over 0.1 s patches, its outputs averaged over what is there."""

    def __init__(self, channels: int, scale: Tensor, width: int = 128, patch: int = 5) -> None:
        super().__init__()
        self.register_buffer("scale", scale)
        self.embed = nn.Conv1d(channels, width, patch, patch)
        self.lstm = nn.LSTM(width, width, 2, batch_first=True)
        self.patch = patch

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x (B, C, L), mask (B, L) → (B, width)."""
        out, _ = self.lstm(self.embed(x / self.scale[:, None]).transpose(1, 2))
        return averaged(out, patches_there(mask, self.patch))


def patches_there(mask: Tensor, patch: int) -> Tensor:
    """mask (B, L) → (B, L // patch), True where half of a patch is there."""
    return mask[:, : mask.shape[1] // patch * patch].unflatten(1, (-1, patch)).float().mean(2) >= 0.5


def averaged(x: Tensor, there: Tensor) -> Tensor:
    """x (B, T, D), there (B, T) → (B, D)."""
    weight = there[..., None].to(x.dtype)
    return (x * weight).sum(1) / weight.sum(1).clamp(min=1)


class Attending(nn.Module):
    """A transformer over 0.1 s patches."""

    def __init__(self, channels: int, width: int = 128, patch: int = 5) -> None:
        super().__init__()
        self.embed = nn.Conv1d(channels, width, patch, patch)
        self.place = nn.Parameter(torch.randn(1, 400 // patch, width) * 0.02)
        layer = nn.TransformerEncoderLayer(width, 4, 256, 0.1, batch_first=True)
        self.net = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.patch = patch

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x (B, C, L), mask (B, L) → (B, width)."""
        z = self.embed(x).transpose(1, 2)
        there = patches_there(mask, self.patch)
        return averaged(self.net(z + self.place[:, : z.shape[1]], src_key_padding_mask=~there), there)


def despite_style() -> Global:
    """DeSPITE's pair of encoders in small: an LSTM over the sensor, a transformer over the skeleton, InfoNCE."""
    return Global(Recurrent(6, torch.tensor([9.81] * 3 + [4.0] * 3)), Attending(BODY))


class Streams(nn.Module):
    """Convolutions over stretches of a second → one vector every 0.2 s."""

    def __init__(self, channels: int, scale: Tensor, width: int = 128) -> None:
        super().__init__()
        self.register_buffer("scale", scale)
        self.net = nn.Sequential(
            *(nn.Conv1d(channels, 48, 7, 2, 3), nn.BatchNorm1d(48), nn.ReLU()),
            *(nn.Conv1d(48, 96, 5, 1, 2), nn.BatchNorm1d(96), nn.ReLU()),
            *(nn.Conv1d(96, width, 25, 5, 12), nn.BatchNorm1d(width), nn.ReLU(), nn.Conv1d(width, width, 1)),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = F.normalize(self.net(x / self.scale[:, None]).transpose(1, 2), dim=-1)
        return out


class SyncNet(Objective):
    """SyncNet's two streams: vectors of short stretches, pulled together at the same time and pushed a margin apart at
    other times of the trial and between trials; a pair's score is its mean distance over time."""

    def __init__(self, margin: float = 1.0) -> None:
        super().__init__()
        self.imu, self.pose = Streams(6, torch.tensor([9.81] * 3 + [4.0] * 3)), Streams(BODY, torch.ones(BODY))
        self.margin = margin

    def encode(self, batch: TrainBatch) -> Encoded:
        x, mask, _ = sensor(batch)
        a, b = self.imu(x), self.pose(batch.pose.flatten(1, 2))
        am, bm = (token_mask(m[:, None])[:, 0] for m in (mask, batch.pose_mask[:, 0]))
        return {"a": a[:, : am.shape[1]], "am": am, "b": b[:, : bm.shape[1]], "bm": bm}

    def loss(self, encoded: Encoded) -> dict[str, Tensor]:
        a, am, b, bm = encoded.values()
        there = am & bm
        near = (a - b).square().sum(-1)[there].mean()
        shift = int(torch.randint(2, max(3, a.shape[1] // 2), ()))
        other = int(torch.randint(1, len(b), ()))
        pushed = []
        for far, seen in ((b.roll(shift, 1), am & bm.roll(shift, 1)), (b.roll(other, 0), am & bm.roll(other, 0))):
            distance = ((a - far).square().sum(-1) + 1e-8).sqrt()[seen]
            pushed.append(F.relu(self.margin - distance).square().mean())
        return {"loss": near + pushed[0] + pushed[1]}

    @torch.inference_mode()
    def scores(self, batch: TrainBatch) -> Scores:
        a, am, b, bm = self.encode(batch).values()
        rows = []
        for x, m in zip(a, am, strict=True):
            seen = (m & bm).float()
            distance = (b - x).norm(dim=-1)
            rows.append(-(distance * seen).sum(1) / seen.sum(1).clamp(min=1))
        return np.asarray(torch.stack(rows).numpy())


class Mobind(MobindObjective):
    """MoBind's own network, smaller (128 wide, 2 layers), on the parts that sensors are worn on.

    score: "token" is the mean cosine of the tokens that both have, "local" of the parts, "global" of the bodies.
    """

    def __init__(self, weights: LossWeights, score: str = "global") -> None:
        parts = ("right_wrist", "right_knee")
        config = MobindConfig(
            parts, imu_channels=6, pose_channels=12, pose_patch=10, tokens=31, width=128, layers=2, masked_layers=2
        )
        super().__init__(config, weights=weights)
        self.score = score

    @torch.inference_mode()
    def vectors(self, batch: TrainBatch) -> Tensor:
        return F.normalize(self.encode(batch)["imu.global_"], dim=-1)

    @torch.inference_mode()
    def scores(self, batch: TrainBatch) -> Scores:
        found = self.encode(batch)
        masks = [found[f"{s}.mask"] for s in ("imu", "pose")]
        if self.score == "global":
            a, b = (F.normalize(found[f"{s}.global_"], dim=-1) for s in ("imu", "pose"))
            return np.asarray((a @ b.T).numpy())
        if self.score == "local":
            masks = [m.any(2, keepdim=True) for m in masks]
            unit = [F.normalize(found[f"{s}.local"], dim=-1)[:, :, None] for s in ("imu", "pose")]
        else:
            unit = [F.normalize(found[f"{s}.token"], dim=-1) for s in ("imu", "pose")]
        a, b = (x * m[..., None] for x, m in zip(unit, masks, strict=True))
        return mean_cosine(a, masks[0], b, masks[1])


class LinearCca:
    """Canonical correlations of one-second stretches, for each worn part its own; scored like our tokens."""

    def __init__(self, kept: int = 40, dims: int = 20, ridge: float = 0.1) -> None:
        self.kept, self.dims, self.ridge = kept, dims, ridge
        self.maps: list[tuple[npt.NDArray[np.float64], ...]] = []

    def fit(self, batch: TrainBatch) -> None:
        signal, there, worn = sensor(batch)
        for part in range(len(WORN)):
            rows = (worn == part).nonzero()[:, 0]
            x, xm = stretches(sensor_features(signal[rows]), there[rows])
            y, ym = stretches(batch.pose[rows, WORN[part]], batch.pose_mask[rows, 0])
            both = xm & ym
            (px, mx), (py, my) = (principal(z[both], self.kept) for z in (x, y))
            a, b = (x[both] - mx) @ px, (y[both] - my) @ py
            n, eye = len(a), np.eye(self.kept)
            wa, wb = (inverse_root(z.T @ z / n + self.ridge * eye) for z in (a, b))
            u, s, vt = np.linalg.svd(wa @ (a.T @ b / n) @ wb)
            weight = np.sqrt(s[: self.dims])
            self.maps.append((mx, px @ wa @ u[:, : self.dims] * weight, my, py @ wb @ vt.T[:, : self.dims] * weight))

    def scores(self, batch: TrainBatch) -> Scores:
        signal, there, worn = sensor(batch)
        out = np.zeros((len(worn), len(worn)), np.float32)
        for part, (mx, wx, my, wy) in enumerate(self.maps):
            rows = (worn == part).nonzero()[:, 0]
            x, xm = stretches(sensor_features(signal[rows]), there[rows])
            y, ym = stretches(batch.pose[:, WORN[part]], batch.pose_mask[:, 0])
            a, b = unit((x - mx) @ wx) * xm[..., None], unit((y - my) @ wy) * ym[..., None]
            flat = a.reshape(len(a), -1) @ b.reshape(len(b), -1).T
            out[rows] = flat / np.maximum(xm.astype(float) @ ym.astype(float).T, 1)
        return out


def sensor_features(imu: Tensor) -> Tensor:
    acc, gyro = imu[:, :3] / 9.81, imu[:, 3:] / 4
    return torch.cat([acc, gyro, acc.norm(dim=1, keepdim=True), gyro.norm(dim=1, keepdim=True)], 1)


def stretches(x: Tensor, mask: Tensor, span: int = 50) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """x (B, C, L), mask (B, L) → every 0.2 s the second around it, every second sample (B, T, C * 25), and where
    the middle 0.2 s are there (B, T)."""
    side = (span - 10) // 2
    held = F.pad(x, (side, side)).unfold(2, span, 10)[..., ::2]
    there = token_mask(mask[:, None])[:, 0]
    return held.permute(0, 2, 1, 3).flatten(2).double().numpy()[:, : there.shape[1]], there.numpy()


def principal(x: npt.NDArray[np.float64], count: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    mean = x.mean(0)
    _, s, vt = np.linalg.svd(x - mean, full_matrices=False)
    return vt[:count].T / (s[:count] / np.sqrt(len(x))), mean


def inverse_root(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    value, vector = np.linalg.eigh(x)
    out: npt.NDArray[np.float64] = vector / np.sqrt(value) @ vector.T
    return out


def unit(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    out: npt.NDArray[np.float64] = x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-9)
    return out


class Correlation:
    """No training: the gyroscope's norm against how fast the limb turns in the picture, correlated over time."""

    @torch.inference_mode()
    def scores(self, batch: TrainBatch) -> Scores:
        signal, there, worn = sensor(batch)
        rate = signal[:, 3:].norm(dim=1)
        out = torch.zeros(len(worn), len(worn))
        for part, slot in enumerate(WORN):
            velocity = batch.pose[:, slot, 6:].unflatten(1, (3, 2))
            swing = (velocity[:, 2] - velocity[:, 1]).norm(dim=1)
            rows = (worn == part).nonzero()[:, 0]
            out[rows] = correlations(rate[rows], there[rows], swing, batch.pose_mask[:, 0])
        return np.asarray(out.numpy())


def correlations(a: Tensor, am: Tensor, b: Tensor, bm: Tensor) -> Tensor:
    """a (N, L), b (M, L) and masks → (N, M): the correlation over the samples that both have."""
    am, bm = am.float(), bm.float()
    count = (am @ bm.T).clamp(min=2)
    a, b = a * am, b * bm
    sa, sb = a @ bm.T / count, am @ b.T / count
    va, vb = (a**2) @ bm.T / count - sa**2, am @ (b**2).T / count - sb**2
    return (a @ b.T / count - sa * sb) / (va * vb).clamp(min=1e-9).sqrt()


@dataclass(frozen=True)
class Spec:
    """A model of the comparison and how it is trained; steps 0 trains nothing.

    scored: other ways to score with the same trained model, rows of their own.
    """

    make: Any
    lr: float = 1.5e-3
    steps: int = 0
    varied: bool = True
    options: dict[str, Any] = field(default_factory=dict)
    scored: tuple[str, ...] = ()
