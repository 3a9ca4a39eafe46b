"""Several processes as one: what torchrun starts, and one loss over all of their windows."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor

from motionseek.encoders.train.windows import Encoded


@contextmanager
def joined() -> Iterator[None]:
    """Join the other processes where torchrun started this one."""
    if "WORLD_SIZE" not in os.environ or dist.is_initialized():
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield
        # On a loaded machine a process that left before the other was seen to abort at exit.
        dist.barrier()
        gc.collect()
    finally:
        dist.destroy_process_group()


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def first_then_rest() -> None:
    """Wait for the others."""
    if dist.is_initialized():
        dist.barrier()


def agreed(value: float) -> float:
    """What the first process says."""
    if not dist.is_initialized():
        return value
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    said = torch.tensor([value], dtype=torch.float64, device=device)
    dist.broadcast(said, 0)
    return float(said.item())


def gathered(encoded: Encoded) -> Encoded:
    """The rows of all processes; gradients reach this process's own.

    The loss is the same in every process and DDP takes the mean of their gradients, so what reaches the encoders is
    multiplied by the number of processes: each has only its own rows' share of it.
    """
    if world() == 1:
        return encoded
    return {name: _gather(x) for name, x in encoded.items()}


def _gather(x: Tensor) -> Tensor:
    plain = x.detach().to(torch.uint8) if x.dtype == torch.bool else x.detach().contiguous()
    pieces = [torch.empty_like(plain) for _ in range(world())]
    dist.all_gather(pieces, plain)
    out = [piece.to(x.dtype) for piece in pieces]
    if x.requires_grad:
        own = x * 1.0
        own.register_hook(lambda gradient: gradient * world())  # type: ignore[no-untyped-call]
        out[rank()] = own
    return torch.cat(out)


def random_states() -> dict[str, Tensor]:
    """The random numbers of every process, by name."""
    own = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        own["cuda"] = torch.cuda.get_rng_state()
    if world() == 1:
        return {f"{name}.0": state for name, state in own.items()}
    held: dict[str, Tensor] = {}
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    for name, state in own.items():
        pieces = [torch.empty_like(state, device=device) for _ in range(world())]
        dist.all_gather(pieces, state.to(device))
        held |= {f"{name}.{i}": piece.cpu() for i, piece in enumerate(pieces)}
    return held


def set_random_states(held: Mapping[str, Tensor]) -> None:
    torch.set_rng_state(held[f"cpu.{rank()}"])
    if torch.cuda.is_available() and f"cuda.{rank()}" in held:
        torch.cuda.set_rng_state(held[f"cuda.{rank()}"])
