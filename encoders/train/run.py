"""A recipe carried out: stages trained one after the other, tested, and saved as a model with its card."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from motionseek.encoders.model import save_model
from motionseek.encoders.train import processes
from motionseek.encoders.train.build import build_objective, usable
from motionseek.encoders.train.dataset import WindowData
from motionseek.encoders.train.files import Int, TrainingFiles
from motionseek.encoders.train.history import History
from motionseek.encoders.train.loop import fit, validate
from motionseek.encoders.train.recipe import Recipe, Stage
from motionseek.encoders.train.split import divide
from motionseek.encoders.train.windows import Objective
from motionseek.errors import UsageError

Say = Callable[[str], None]


@dataclass(frozen=True)
class Trained:
    """The model's folder, what each stage went through, and the test's numbers where the split has a test."""

    model: Path
    histories: Mapping[str, History]
    test: Mapping[str, float] | None

    def to_json(self) -> dict[str, Any]:
        stages = {name: history.to_json() for name, history in self.histories.items()}
        return {"model": str(self.model), "stages": stages, "test": self.test}


def run_recipe(
    recipe: Recipe, files: TrainingFiles, out: Path, *, frozen: str | None = None, say: Say = print
) -> Trained:
    """Train as the recipe says and write the model folder `out`; what is needed to go on is kept in `out`.work.

    frozen: the model whose text and video vectors are the targets; it lends the saved model its encoders.
    Raises UsageError where windows, split and recipe do not fit together, before the first step.
    """
    rows = usable(recipe, recipe.stages[0], files)
    sides = divide(files, recipe.split, rows)
    work = out.with_name(out.name + ".work")
    counts = ", ".join(f"{len(held)} in {side}" for side, held in sides.items())
    said = say if processes.rank() == 0 else (lambda _: None)
    said(f"{len(rows)} of {len(files)} windows can be used: {counts}")
    histories: dict[str, History] = {}
    state: dict[str, Tensor] | None = None
    for stage in recipe.stages:
        torch.manual_seed(stage.fit.seed)
        objective = build_objective(recipe, stage, files, state)
        data, validation = _data(recipe, stage, files, sides)
        key = {"recipe": recipe.to_json(), "windows": files.folder.name, "stage": stage.name}
        folder = work / stage.name.replace(" ", "_")
        histories[stage.name] = fit(
            objective, data, validation, stage.fit, work=folder, key=key, say=said, name=stage.name
        )
        state = objective.state_dict()
    test = None
    if "test" in sides:
        test = validate(objective, _quiet(data, sides["test"]), next(objective.parameters()).device)
        said(f"test: R@1 {test['R@1 >']:.3f} and {test['R@1 <']:.3f} of {test['pool']:.0f}")
    if processes.rank() == 0:
        save_model(out, _card(recipe, objective, files, sides, histories, test, frozen), objective.networks)
        said(f"wrote {out}")
    return Trained(out, histories, test)


def _data(
    recipe: Recipe, stage: Stage, files: TrainingFiles, sides: Mapping[str, Int]
) -> tuple[WindowData, WindowData | None]:
    settings = recipe.data.of_window
    data = WindowData(
        files,
        sides["train"],
        batch=stage.batch,
        settings=settings,
        augment=stage.augment,
        seed=stage.fit.seed,
        labels=sorted(set(files.labels.tolist()) - {""}),
    )
    if data.size < 2 or data.size < processes.world():
        raise UsageError(
            f"there is {data.size} window in a batch, and at least two are compared: train on more windows"
        )
    return data, _quiet(data, sides["validation"]) if "validation" in sides else None


def _quiet(data: WindowData, rows: Int) -> WindowData:
    return data.quiet(rows, batch=min(128, data.size))


def _card(
    recipe: Recipe,
    objective: Objective,
    files: TrainingFiles,
    sides: Mapping[str, Int],
    histories: Mapping[str, History],
    test: Mapping[str, float] | None,
    frozen: str | None,
) -> dict[str, Any]:
    spaces = {space for space, _ in objective.networks}
    lends = frozen if frozen and str(files.settings.get("space")) in spaces else None
    people = {side: sorted(set(files.persons[rows].tolist()) - {""}) for side, rows in sides.items()}
    return {
        "name": recipe.name,
        "description": recipe.description,
        "licence": recipe.licence,
        "data": [f"{len(sides['train'])} windows of an archive, {files.window_s:g} s at {files.rate_hz:g} Hz"],
        **({"with": lends} if lends else {}),
        "recipe": json.loads(json.dumps(recipe.to_json())),
        "split": {side: {"windows": len(rows), "people": people[side]} for side, rows in sides.items()},
        "validation": {
            name: {
                "best_step": h.best_step,
                "best_recall": h.best_recall,
                "last": h.validations[-1] if h.validations else None,
            }
            for name, h in histories.items()
        },
        "test": test,
    }
