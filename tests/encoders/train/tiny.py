"""A small objective and small data for tests of the loop: no BatchNorm, so that pieces of a batch are the batch."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from motionseek.encoders.train.losses import info_nce
from motionseek.encoders.train.windows import Encoded, Objective, TrainBatch


class TinyData:
    """Windows whose text vector can be told from their IMU; batch `step` always holds the same."""

    def __init__(self, windows: int = 96, batch: int = 24, *, shuffle: bool = True, broken: int = -1) -> None:
        rng = np.random.default_rng(0)
        self.text = rng.normal(size=(windows, 8)).astype(np.float32)
        self.text /= np.linalg.norm(self.text, axis=1, keepdims=True)
        mix = rng.normal(size=(8, 6 * 10)).astype(np.float32)
        self.imu = (self.text @ mix).reshape(windows, 1, 6, 10) + rng.normal(size=(windows, 7, 6, 10)).astype(
            np.float32
        )
        if broken >= 0:
            self.imu[broken] = np.nan
        self.size, self.shuffle = batch, shuffle

    @property
    def steps(self) -> int:
        return len(self.imu) // self.size

    def batch(self, step: int, *, rank: int = 0, world: int = 1) -> TrainBatch:
        turn, at = divmod(step, self.steps)
        order = np.random.default_rng(turn).permutation(len(self.imu)) if self.shuffle else np.arange(len(self.imu))
        rows = order[at * self.size : (at + 1) * self.size][rank::world]
        n = len(rows)
        return TrainBatch(
            imu=torch.from_numpy(self.imu[rows]),
            imu_mask=torch.ones(n, 7, 10, dtype=torch.bool),
            pose=torch.zeros(n, 6, 12, 10),
            pose_mask=torch.zeros(n, 6, 10, dtype=torch.bool),
            text=torch.from_numpy(self.text[rows]),
            text_mask=torch.from_numpy(rows % 5 != 0),
            video=None,
            video_mask=None,
            label=torch.full((n,), -1),
            window_ids=tuple(f"w{i}" for i in rows),
        )


class TinyObjective(Objective):
    def __init__(self, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(7 * 60, 32), nn.Tanh(), nn.Dropout(dropout), nn.Linear(32, 8))
        self.log_scale = nn.Parameter(torch.tensor(2.0))
        self.networks = {("clip", "imu"): self.net}

    def encode(self, batch: TrainBatch) -> Encoded:
        assert batch.text is not None
        assert batch.text_mask is not None
        return {"imu": self.net(batch.imu), "text": batch.text, "there": batch.text_mask}

    def loss(self, encoded: Encoded) -> dict[str, Tensor]:
        nce = info_nce(encoded["imu"], encoded["text"], self.log_scale.exp(), mask=encoded["there"])
        return {"nce": nce, "loss": nce}

    def sides(self, batch: TrainBatch) -> tuple[Tensor, Tensor]:
        encoded = self.encode(batch)
        both = encoded["there"]
        return F.normalize(encoded["imu"][both], dim=-1), encoded["text"][both]
