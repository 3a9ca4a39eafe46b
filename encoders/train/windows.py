"""What training works on: batches of windows, however they are come by, and what a model must offer to be trained.

An `Objective` encodes a batch and takes a loss of what it encoded. The two are apart so that a large batch can be
encoded in pieces, on one GPU or several, and still be compared as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

Encoded = Mapping[str, Tensor]
"""What an objective makes of a batch: tensors of which every one has the batch's B rows first."""


@dataclass(frozen=True, eq=False)
class TrainBatch:
    """Windows as tensors on one device.

    imu: (B, 7, 6, L) float32, m/s² and rad/s at the recipe's rate, slots PARTS then "unknown"; zero where masked.
    imu_mask: (B, 7, L) bool; all False where the window has no IMU.
    pose: (B, 6, 12, L) as preprocess.normalise_pose gives it.     pose_mask: (B, 6, L) bool.
    text: (B, D) frozen unit vectors of the caption or label, None where the data has none; text_mask: (B,) bool.
    video: (B, D) frozen unit vectors of the window's frames, None where the data has none; video_mask: (B,) bool.
    label: (B,) int64, -1 where there is none.     window_ids: B names, for messages.
    """

    imu: Tensor
    imu_mask: Tensor
    pose: Tensor
    pose_mask: Tensor
    text: Tensor | None
    text_mask: Tensor | None
    video: Tensor | None
    video_mask: Tensor | None
    label: Tensor
    window_ids: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.window_ids)

    def to(self, device: torch.device) -> TrainBatch:
        return self._each(lambda x: x.to(device, non_blocking=True))

    def pinned(self) -> TrainBatch:
        """In memory from which a GPU copies while it computes."""
        return self._each(lambda x: x.pin_memory())

    def rows(self, at: slice) -> TrainBatch:
        """Some of the windows; a view."""
        return replace(self._each(lambda x: x[at]), window_ids=self.window_ids[at])

    def _each(self, change: Any) -> TrainBatch:
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{n: change(x) for n, x in values.items() if isinstance(x, Tensor)})


class Batches(Protocol):
    """Where batches come from. The same step always gives the same batch, so that a run can go on where it stopped."""

    @property
    def steps(self) -> int:
        """Batches in one pass over the windows."""
        ...

    def batch(self, step: int, *, rank: int = 0, world: int = 1) -> TrainBatch:
        """Batch `step`, counted over all passes, on the CPU; of `world` processes each gets its share of the rows."""
        ...


class Objective(nn.Module):
    """A model and what it is trained for. A subclass gives `networks`, `encode`, `loss` and `sides`."""

    networks: Mapping[tuple[str, str], nn.Module]
    """(space, modality) → the network that save_model writes."""

    def encode(self, batch: TrainBatch) -> Encoded:
        """Whatever `loss` needs of a batch, masks and frozen vectors too; every tensor has B rows first, and the same
        names and further axes whatever the batch holds."""
        raise NotImplementedError

    def loss(self, encoded: Encoded) -> dict[str, Tensor]:
        """Scalar terms of a whole batch; "loss" is their weighted sum."""
        raise NotImplementedError

    def forward(self, batch: TrainBatch) -> dict[str, Tensor]:
        return self.loss(self.encode(batch))

    def sides(self, batch: TrainBatch) -> tuple[Tensor, Tensor]:
        """Two (B', D) unit vectors whose rows belong together, of the B' windows that have both: validation R@1."""
        raise NotImplementedError

    def after_step(self) -> None:
        """What the weights must be held to after every step of the optimiser."""

    def finish(self, data: Batches) -> None:
        """What is fitted once, after the last step, to the training windows."""
