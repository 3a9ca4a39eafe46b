"""Where a training run stands, in one safetensors file that is replaced as a whole.

A killed run goes on from it with the very numbers of one that was never disturbed: weights, buffers, the optimiser's
moments, every process's random numbers, and what early stopping remembers.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from motionseek.errors import UsageError


def save_checkpoint(
    path: Path,
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    best: Mapping[str, Tensor],
    rng: Mapping[str, Tensor],
    said: Mapping[str, Any],
) -> None:
    """said: JSON-like, what is no tensor."""
    tensors = {f"module.{name}": x for name, x in module.state_dict().items()}
    tensors |= {f"best.{name}": x for name, x in best.items()}
    tensors |= {f"rng.{name}": x for name, x in rng.items()}
    numbers: dict[str, Any] = {}
    for place, state in optimiser.state_dict()["state"].items():
        for name, value in state.items():
            if isinstance(value, Tensor):
                tensors[f"optimiser.{place}.{name}"] = value
            else:
                numbers[f"{place}.{name}"] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.tmp")
    apart = {name: x.detach().cpu().clone().contiguous() for name, x in tensors.items()}
    save_file(apart, temporary, metadata={"said": json.dumps({**said, "optimiser": numbers})})
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)


def load_checkpoint(
    path: Path, module: nn.Module, optimiser: torch.optim.Optimizer, key: str
) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Any]]:
    """Best weights, random states, and what was said; the module and the optimiser are as they were.

    Raises UsageError where the run was another one: `key` must be the one that it was saved with, and the weights must
    have the module's names and shapes.
    """
    try:
        with safe_open(path, "pt") as file:
            said = json.loads(file.metadata()["said"])
            names = file.keys()
            tensors = {name: file.get_tensor(name) for name in names}
    except (SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise UsageError(f"{path} cannot be read ({error}); delete it to train from the start") from error
    if said["key"] != key:
        raise UsageError(f"{path} belongs to a run with other settings or windows; delete it to train from the start")

    def under(prefix: str) -> dict[str, Tensor]:
        return {n.removeprefix(prefix): x for n, x in tensors.items() if n.startswith(prefix)}

    _refuse_other_shapes(path, under("module."), module.state_dict())
    module.load_state_dict(under("module."))
    state: dict[int, dict[str, Any]] = {}
    for name, value in (under("optimiser.") | said["optimiser"]).items():
        place, what = name.split(".", 1)
        state.setdefault(int(place), {})[what] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    return under("best."), under("rng."), said


def _refuse_other_shapes(path: Path, held: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
    """Raises UsageError naming the first weight that is not the module's."""
    for name in sorted(held.keys() | own.keys()):
        there, wanted = (tuple(x[name].shape) if name in x else None for x in (held, own))
        if there != wanted:
            has = "has no" if there is None else f"has {there} numbers of"
            needs = "does not have it" if wanted is None else f"needs {wanted}"
            raise UsageError(f"{path} {has} {name}, and the model {needs}; delete it to train from the start")
