"""A recipe's tables and an archive's windows → what is trained on what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
from torch import Tensor

from motionseek.encoders import imu2clip
from motionseek.encoders.mobind import LossWeights, MobindConfig
from motionseek.encoders.motion import RATE_HZ, TOKEN_S, MotionConfig
from motionseek.encoders.preprocess import IMU_SLOTS
from motionseek.encoders.train.files import Int, TrainingFiles
from motionseek.encoders.train.motion_objective import MotionObjective, MotionWeights
from motionseek.encoders.train.objectives import Imu2ClipObjective, MobindObjective
from motionseek.encoders.train.recipe import Recipe, Stage, strict
from motionseek.encoders.train.windows import Objective
from motionseek.errors import UsageError
from motionseek.types import Bool

_IMU2CLIP_LOSS = ("targets", "loss", "temperature", "margin", "spare_twins")
_MOBIND_LOSS = ("stage", "window", "items", "drop")


def build_objective(
    recipe: Recipe, stage: Stage, files: TrainingFiles, start: Mapping[str, Tensor] | None = None
) -> Objective:
    """The objective of a stage. start: the state of the last stage's. Raises UsageError, ModelError."""
    where = f"recipe {recipe.name}, {stage.name}"
    if recipe.objective == "imu2clip":
        return _imu2clip(recipe, stage, files, where)
    if recipe.objective == "mobind":
        return _mobind(recipe, stage, where, start)
    return _motion(recipe, stage, files, where)


def _motion(recipe: Recipe, stage: Stage, files: TrainingFiles, where: str) -> MotionObjective:
    if recipe.data.rate_hz != RATE_HZ or recipe.data.pose_form != "person":
        raise UsageError(f'{where}: the motion model takes rate_hz = {RATE_HZ:g} and pose_form = "person"')
    tokens = round(recipe.data.window_s / TOKEN_S)
    config = strict(MotionConfig, {"kind": "imu", "tokens": tokens, **stage.model}, f"{where}: model")
    if config.tokens != tokens:
        raise UsageError(f"{where}: windows of {recipe.data.window_s:g} s have {tokens} tokens, not {config.tokens}")
    weights = strict(MotionWeights, stage.loss, f"{where}: loss")
    if weights.text and files.texts is None:
        weights = replace(weights, text=0.0)
    width = files.texts.width if files.texts is not None else 256
    return MotionObjective(config, weights=weights, text_dim=width, text_space=_space(files))


def _imu2clip(recipe: Recipe, stage: Stage, files: TrainingFiles, where: str) -> Imu2ClipObjective:
    loss = {"targets": ["text"], **stage.loss}
    _known(loss, _IMU2CLIP_LOSS, f"{where}: loss")
    targets = tuple(loss.pop("targets"))
    if loss.get("temperature") == "learned":
        loss["temperature"] = None
    width = _width(files, targets)
    model = {"width": width, "rate_hz": recipe.data.rate_hz, **stage.model}
    kind = str(model.pop("encoder", "imu2clip"))
    if kind == "imu2clip":
        model.setdefault("compat", recipe.compat)
    if kind not in imu2clip.KINDS:
        raise UsageError(f"{where}: model.encoder {kind!r} is not one of {', '.join(imu2clip.KINDS)}")
    config = strict(imu2clip.KINDS[kind][0], model, f"{where}: model")
    if config.rate_hz != recipe.data.rate_hz or config.width != width:
        raise UsageError(
            f"{where}: the windows have {recipe.data.rate_hz:g} samples a second and vectors of {width} numbers; "
            f"leave rate_hz and width out of the model"
        )
    return Imu2ClipObjective(kind, vars(config), targets=targets, space=_space(files), **loss)


def _mobind(recipe: Recipe, stage: Stage, where: str, start: Mapping[str, Tensor] | None) -> MobindObjective:
    config = strict(MobindConfig, {"compat": recipe.compat, **stage.model}, f"{where}: model")
    form = {6: "picture", 12: "person"}.get(config.pose_channels)
    wanted = {
        "rate_hz": config.imu_patch / TOKEN_S,
        "window_s": config.tokens * TOKEN_S,
        "pose_form": form or recipe.data.pose_form,
    }
    for name, value in wanted.items():
        held = getattr(recipe.data, name)
        if held != value and (isinstance(value, str) or abs(held - value) > 1e-6):
            raise UsageError(f"{where}: this model needs {name} = {value!r} in the recipe's data, not {held!r}")
    terms = [f.name.rstrip("_") for f in fields(LossWeights)]
    _known(stage.loss, (*_MOBIND_LOSS, *terms), f"{where}: loss")
    weights = {name: value for name, value in stage.loss.items() if name in terms}
    other = {name: value for name, value in stage.loss.items() if name in _MOBIND_LOSS}
    own = {n.removeprefix("net."): w for n, w in start.items()} if start else None
    return MobindObjective(
        config, weights=strict(LossWeights, weights, f"{where}: loss") if weights else None, start=own, **other
    )


def _known(table: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    unknown = sorted(set(table) - set(known))
    if unknown:
        raise UsageError(f"{where}: unknown key {unknown[0]!r}; known: {', '.join(known)}")


def _width(files: TrainingFiles, targets: Sequence[str]) -> int:
    for name, held in (("text", files.texts), ("video", files.videos)):
        if name in targets and held is not None:
            return held.width
    raise UsageError(
        f"the archive holds no {' or '.join(targets)} vectors to train against: index it with a model that has them "
        f"(for instance -m open_clip:…), or name their space in the recipe's data"
    )


def _space(files: TrainingFiles) -> str:
    return str(files.settings.get("space") or "clip")


def usable(recipe: Recipe, stage: Stage, files: TrainingFiles) -> Int:
    """The windows that have what is compared. Raises UsageError naming the modality or placement that none has."""
    every = np.arange(len(files))
    wanted = _placements(recipe, stage)
    worn = files.sensors(every)
    there: Bool = np.any(worn, axis=0)
    absent = [p for p in wanted if p not in IMU_SLOTS or not there[IMU_SLOTS.index(p)]]
    if absent:
        has = ", ".join(s for s, t in zip(IMU_SLOTS, there.tolist(), strict=True) if t) or "no sensor"
        raise UsageError(
            f"recipe {recipe.name}: no window has a sensor at {', '.join(absent)}; the archive has: {has}. Name those "
            f"in the recipe ({'model.parts' if recipe.objective == 'mobind' else 'data.placements'})"
        )
    slots = [IMU_SLOTS.index(p) for p in wanted] or list(range(len(IMU_SLOTS)))
    held: dict[str, Bool] = {
        "imu": np.any(worn[:, slots], axis=1),
        "pose": files.poses(every),
        "text": (files.caption_text >= 0) | (files.label_text >= 0),
        "video": files.video >= 0,
    }
    others = _others(recipe, stage)
    paired = held["imu"] & np.any([held[name] for name in others], axis=0)
    if not paired.any():
        has = ", ".join(name for name, mask in held.items() if mask.any()) or "nothing"
        raise UsageError(
            f"recipe {recipe.name} needs windows with imu and {' or '.join(others)}, and none of the archive's "
            f"{len(files)} windows has both; it has: {has}"
        )
    return np.flatnonzero(paired)


def _placements(recipe: Recipe, stage: Stage) -> tuple[str, ...]:
    if recipe.objective == "mobind":
        return tuple(stage.model.get("parts", MobindConfig().parts))
    return recipe.data.placements


def _others(recipe: Recipe, stage: Stage) -> list[str]:
    """What the sensors are compared with."""
    if recipe.objective == "imu2clip":
        return list(stage.loss.get("targets", ["text"]))
    if recipe.objective == "mobind":
        return ["pose"]
    weights = strict(MotionWeights, stage.loss, f"recipe {recipe.name}: loss")
    compared = weights.window or weights.token or weights.local or weights.global_
    return ["pose"] * bool(compared) + ["text"] * bool(weights.text)
