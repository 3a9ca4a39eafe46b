"""What a training run went through, as numbers and as a picture."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class History:
    """steps: one entry each time something was said: step, terms of the loss (running means), learning rate.

    validations: step and R@1, R@5, MRR of `Objective.sides`, both ways, and their mean R@1 as "recall".
    best_step, best_recall: the validation whose weights were kept; None without validation.
    stopped: "done", or "early" where validation did not get better any more.
    windows_per_s: of the loop without validation.     peak_mib: of the GPU, or of the process.
    """

    steps: list[dict[str, float]] = field(default_factory=list)
    validations: list[dict[str, float]] = field(default_factory=list)
    best_step: int | None = None
    best_recall: float | None = None
    stopped: str = "done"
    seconds: float = 0.0
    windows: int = 0
    peak_mib: float = 0.0

    @property
    def windows_per_s(self) -> float:
        return self.windows / self.seconds if self.seconds else math.nan

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "windows_per_s": round(self.windows_per_s, 1) if self.seconds else None}

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> History:
        return cls(**{name: value for name, value in said.items() if name != "windows_per_s"})

    def draw(self, path: Path, title: str = "") -> None:
        """A PNG of loss and recall over the steps."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(8, 6), layout="constrained")
        FigureCanvasAgg(figure)
        loss, recall = figure.subplots(2, 1, sharex=True)
        names = [n for n in (self.steps[-1] if self.steps else {}) if n not in ("step", "lr")]
        for name in names:
            rows = [r for r in self.steps if name in r]
            loss.plot([r["step"] for r in rows], [r[name] for r in rows], lw=2.2 if name == "loss" else 1, label=name)
        loss.set_ylabel("loss")
        if names:
            loss.legend(frameon=False, ncols=4, fontsize="small")
        for name in ("R@1", "R@5"):
            for way, style in ((">", "-"), ("<", "--")):
                rows = [r for r in self.validations if f"{name} {way}" in r]
                label = f"{name} {'there' if way == '>' else 'back'}"
                recall.plot(
                    [r["step"] for r in rows], [r[f"{name} {way}"] for r in rows], style, marker=".", label=label
                )
        if self.best_step is not None:
            recall.axvline(self.best_step, color="0.6", lw=1)
        if self.validations:
            recall.axhline(1 / max(1.0, self.validations[-1]["pool"]), color="0.8", lw=1, label="chance R@1")
            recall.legend(frameon=False, ncols=5, fontsize="small")
        recall.set_ylim(0, 1)
        recall.set(xlabel="step", ylabel="validation")
        figure.suptitle(title)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=110)
