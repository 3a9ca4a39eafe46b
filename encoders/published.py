"""The checkpoints that IMU2CLIP's and MoBind's code writes, as model folders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from motionseek.encoders import imu2clip, mobind
from motionseek.encoders.mobind import Stage1, Stage2
from motionseek.encoders.model import save_model
from motionseek.errors import ModelError, UsageError
from motionseek.types import PARTS, STANDARD_GRAVITY_MPS2

ANCHORS = {"imu2clip": "net.5.weight_hh_l0", "mobind": "imu_encoder.pre_transformer.weight"}
"""A name that every checkpoint of the system has, after whatever its trainer put before it."""
WRAPPERS = ("state_dict", "model_state_dict", "model")
TOLERANCE = 1e-4


@dataclass(frozen=True)
class MobindData:
    """What a MoBind network was trained on: parts in the published order, and the accelerometer's unit."""

    parts: tuple[str, ...]
    acc_unit_mps2: float
    heads: int = 8


MOBIND_DATA: Mapping[str, MobindData] = {
    "mri": MobindData(PARTS[:4], STANDARD_GRAVITY_MPS2),
    "totalcapture": MobindData(PARTS[:5], 1.0),
    "egohumans": MobindData(PARTS[:5], 1.0),
}


def import_published(
    system: str,
    file: Path,
    out: Path,
    *,
    lender: str | None = None,
    data: str = "mri",
    heads: int | None = None,
    check: Path | None = None,
) -> float | None:
    """Convert a checkpoint to the model folder `out`, in full precision.

    system: "imu2clip" or "mobind".     lender: the CLIP whose text and video the IMU encoder was trained against, as
    "open_clip:NAME:WEIGHTS".     data: what MoBind was trained on, a name of MOBIND_DATA.     heads: of MoBind's
    attention, which its weights do not show; 8 as published.     check: an npz of inputs and the outputs that the
    published code gave for them; the folder is only written where ours are the same.

    Returns the largest difference from `check`. Raises ModelError, naming what in the file does not fit.
    """
    if system not in ANCHORS:
        raise UsageError(f"{system!r} is not one of {', '.join(ANCHORS)}")
    if data not in MOBIND_DATA:
        raise UsageError(f"{data!r} is not one of {', '.join(MOBIND_DATA)}")
    state = _stripped(read_checkpoint(file), ANCHORS[system], file)
    card: dict[str, Any] = {"name": file.stem, "imported_from": file.name}
    networks: dict[tuple[str, str], nn.Module]
    try:
        if system == "imu2clip":
            net: nn.Module = imu2clip.from_published(state)
            networks = {("clip", "imu"): net}
            card |= {"description": "IMU2CLIP's stacked encoder, as published", "licence": "CC BY-NC 4.0"}
            card |= {"with": lender} if lender else {}
        else:
            about = MOBIND_DATA[data]
            stage2 = "sensor_id_emb.weight" in state
            net = mobind.from_published(
                state,
                heads=heads or about.heads,
                parts=about.parts if stage2 else None,
                acc_unit_mps2=about.acc_unit_mps2,
            )
            networks = {("motion", "imu"): net, ("motion", "pose"): net}
            card |= {"description": f"MoBind, stage {2 if stage2 else 1}, trained on {data}", "licence": "not stated"}
    except ModelError as error:
        raise ModelError(f"{file}: {error}") from error
    broken = [name for name, w in state.items() if w.is_floating_point() and not w.isfinite().all()]
    if broken:
        raise ModelError(f"{file}: {broken[0]} holds NaN or infinite weights")
    difference = None if check is None else _difference(net, check)
    if difference is not None and difference > TOLERANCE:
        raise ModelError(
            f"{file}: its outputs differ from those of {check} by {difference:.2g}, more than {TOLERANCE:g}"
            + (f"; is {heads or MOBIND_DATA[data].heads} the number of heads?" if system == "mobind" else "")
        )
    save_model(out, card, networks, half=False)
    return difference


def read_checkpoint(file: Path) -> dict[str, Any]:
    """A safetensors file, or a torch checkpoint that holds tensors only. Raises ModelError."""
    if not file.is_file():
        raise ModelError(f"{file}: there is no such file")
    try:
        if file.suffix == ".safetensors":
            return dict(load_file(file))
        held = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file fails in as many ways as there are readers in it
        raise ModelError(
            f"{file}: not a checkpoint of plain tensors, and anything else could run code while it is read: "
            f"save its state_dict alone (torch.save(model.state_dict(), file)) [{str(error).partition(chr(10))[0]}]"
        ) from error
    for wrapper in WRAPPERS:
        if isinstance(held, Mapping) and isinstance(held.get(wrapper), Mapping):
            held = held[wrapper]
    if not isinstance(held, Mapping):
        raise ModelError(f"{file}: holds a {type(held).__name__}, not named weights")
    return dict(held)


def _stripped(held: Mapping[str, Any], anchor: str, file: Path) -> dict[str, Tensor]:
    """The weights below whatever prefix the anchor has."""
    prefixes = [str(name).removesuffix(anchor) for name in held if str(name).endswith(anchor)]
    if len(prefixes) != 1:
        several = "several networks" if prefixes else f"no {anchor}"
        raise ModelError(f"{file}: has {several}; it begins with {', '.join(map(str, list(held)[:3]))}")
    prefix = prefixes[0]
    return {n.removeprefix(prefix): w for n, w in held.items() if n.startswith(prefix) and isinstance(w, Tensor)}


@torch.inference_mode()
def _difference(net: nn.Module, file: Path) -> float:
    """The largest difference between a network's outputs and those in an npz, relative to nothing."""
    try:
        arrays = np.load(file, allow_pickle=False)
        inputs = {name: torch.from_numpy(arrays[name]) for name in arrays.files if name.startswith("in_")}
        expected = {name: torch.from_numpy(arrays[name]) for name in arrays.files if name.startswith("out_")}
    except (OSError, ValueError) as error:
        raise ModelError(f"{file}: not an npz of inputs (in_…) and outputs (out_…): {error}") from error
    found = _outputs(net, inputs, file)
    shared = [name for name in found if name in expected]
    if not shared:
        raise ModelError(f"{file}: has none of the outputs {', '.join(found)}")
    return max(float((found[name] - expected[name]).abs().max()) for name in shared)


def _outputs(net: nn.Module, inputs: Mapping[str, Tensor], file: Path) -> dict[str, Tensor]:
    try:
        if not isinstance(net, Stage1):
            return {"out_embedding": net(inputs["in_imu"])}
        imu, pose = inputs["in_imu"], inputs["in_motion"]
        if not isinstance(net, Stage2):  # one item of the first stage is one limb
            imu, pose = imu[:, None], pose[:, None]
        sides = {"i": net.encode_imu(imu), "m": net.encode_pose(pose)}
    except KeyError as error:
        raise ModelError(f"{file}: has no input {error}") from error
    found: dict[str, Tensor] = {}
    for side, encoded in sides.items():
        if encoded.global_ is None:
            found |= {f"out_token_{side}": encoded.token[:, 0], f"out_cls_{side}": encoded.local[:, 0]}
        else:
            found |= {f"out_token_{side}": encoded.token, f"out_local_{side}": encoded.local}
            found[f"out_cls_{side}"] = encoded.global_
    return found
