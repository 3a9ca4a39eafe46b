"""One step of training: the gradient of one loss over all windows of a batch, however they are encoded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from motionseek.encoders.train.processes import gathered, world
from motionseek.encoders.train.windows import Encoded, Objective, TrainBatch


class Gradient(nn.Module):
    """Gradients of an objective, added to its parameters.

    chunk: windows that are encoded with their activations kept; 0 for all of a batch. Smaller chunks need less memory
    and encode everything twice; the gradient is the same (Gao et al. 2021, "Scaling deep contrastive learning batch
    size under memory limited setup"), but that BatchNorm then sees one chunk at a time.
    """

    def __init__(self, objective: Objective, *, chunk: int = 0, amp: torch.dtype | None = None) -> None:
        super().__init__()
        self.objective = objective
        self.chunk = chunk
        self.amp = amp
        half = amp == torch.float16 and next(objective.parameters()).is_cuda
        self.scaler = torch.amp.GradScaler("cuda", enabled=half)
        self._part = _Part(objective)
        self._shared = DistributedDataParallel(self._part, find_unused_parameters=True) if world() > 1 else self._part

    def forward(self, batch: TrainBatch) -> dict[str, Tensor]:
        """The terms of the loss, detached. A loss that is not finite leaves no gradient."""
        if self.chunk and len(batch) > self.chunk:
            return self._in_pieces(batch)
        with self._precision(batch):
            terms = self._shared(batch, None)
        self._backward(terms["loss"])
        return {name: x.detach() for name, x in terms.items()}

    def _backward(self, loss: Tensor) -> None:
        if torch.isfinite(loss):
            self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]

    def _precision(self, batch: TrainBatch) -> torch.autocast:
        return torch.autocast(batch.imu.device.type, self.amp or torch.bfloat16, enabled=self.amp is not None)

    def _in_pieces(self, batch: TrainBatch) -> dict[str, Tensor]:
        pieces = [batch.rows(slice(i, i + self.chunk)) for i in range(0, len(batch), self.chunk)]
        random, found = [], []
        with torch.no_grad(), self._precision(batch), _kept_buffers(self.objective):
            for piece in pieces:
                random.append(_random(batch.imu.device))
                found.append(self.objective.encode(piece))
        leaves = {n: torch.cat([f[n] for f in found]) for n in found[0]}
        leaves = {n: x.requires_grad_() if x.is_floating_point() else x for n, x in leaves.items()}
        # Outside of DDP's forward: what only the loss has (a temperature) is added up and shared with the last piece.
        with self._precision(batch):
            terms = self.objective.loss(gathered(leaves))
        if torch.isfinite(terms["loss"]):
            with self._alone():
                self._backward(terms["loss"])
            after = _random(batch.imu.device)
            self._again(pieces, random, leaves)
            _set_random(after)
        return {name: x.detach() for name, x in terms.items()}

    def _again(self, pieces: list[TrainBatch], random: list[list[Tensor]], leaves: Encoded) -> None:
        first = 0
        for piece, state in zip(pieces, random, strict=True):
            last = first + len(piece)
            gradient = {n: x.grad[first:last] for n, x in leaves.items() if x.grad is not None}
            _set_random(state)
            with nullcontext() if last == len(leaves[next(iter(leaves))]) else self._alone():
                with self._precision(piece):
                    surrogate = self._shared(piece, gradient)["loss"]
                surrogate.backward()
            first = last

    def _alone(self) -> AbstractContextManager[None]:
        """Gradients are not shared yet."""
        return self._shared.no_sync() if isinstance(self._shared, DistributedDataParallel) else nullcontext()


class _Part(nn.Module):
    """What DDP looks at: the loss of a whole batch, or one piece's share of a gradient known already."""

    def __init__(self, objective: Objective) -> None:
        super().__init__()
        self.objective = objective

    def forward(self, batch: TrainBatch, gradient: Encoded | None) -> dict[str, Tensor]:
        encoded = self.objective.encode(batch)
        if gradient is None:
            return self.objective.loss(gathered(encoded))
        shares = [(encoded[n] * g).sum() for n, g in gradient.items() if encoded[n].requires_grad]
        # every parameter takes part, or DDP would share nothing of those that only the loss has
        shares += [p.flatten()[0] * 0.0 for p in self.objective.parameters() if p.requires_grad]
        return {"loss": torch.stack([s.float() for s in shares]).sum()}


@contextmanager
def _kept_buffers(module: nn.Module) -> Iterator[None]:
    """A pass that leaves running statistics alone."""
    held = {name: x.clone() for name, x in module.named_buffers()}
    yield
    for name, x in module.named_buffers():
        x.copy_(held[name])


def _random(device: torch.device) -> list[Tensor]:
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]


def _set_random(state: list[Tensor]) -> None:
    torch.set_rng_state(state[0])
    if len(state) > 1:
        torch.cuda.set_rng_state(state[1])
