"""The training loop: every model of the project is trained by it.

    history = fit(objective, data, validation, FitSettings(steps=2000))

The objective is trained in place. With a `work` folder a killed run goes on where it stood, to the same weights.
"""

from __future__ import annotations

import json
import math
import resource
import sys
import time
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from motionseek.encoders.train import processes
from motionseek.encoders.train.checkpoint import load_checkpoint, save_checkpoint
from motionseek.encoders.train.evaluate import retrieval
from motionseek.encoders.train.history import History
from motionseek.encoders.train.step import Gradient
from motionseek.encoders.train.windows import Batches, Objective, TrainBatch
from motionseek.errors import MotionseekError, UsageError

Say = Callable[[str], None]
_RUNNING = 0.95


@dataclass(frozen=True)
class FitSettings:
    """How to train. Either `steps` or `epochs` says how long; what is 0 or None is off.

    optimiser: "adamw", "adam" or "adagrad".     schedule: "cosine" falls from lr to `floor` of it, "constant" stays;
    both rise over `warmup` steps.     clip: the largest norm of the gradient.
    chunk: windows encoded at a time, so that a large batch fits into little memory; 0 for all at once.
    amp: half precision where there is a GPU.
    validate_every: steps between two validations; 0 is once a pass.     patience: validations without a better R@1 (by
    `min_delta`) before training stops.     keep_every_s: seconds between two savings of where the run stands.
    """

    steps: int = 0
    epochs: float = 0.0
    lr: float = 1e-3
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    optimiser: Literal["adamw", "adam", "adagrad"] = "adamw"
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup: int = 0
    floor: float = 0.02
    clip: float = 1.0
    chunk: int = 0
    amp: bool = False
    validate_every: int = 0
    patience: int = 0
    min_delta: float = 0.001
    keep_every_s: float = 60.0
    seed: int = 0

    def __post_init__(self) -> None:
        if bool(self.steps) == bool(self.epochs) or min(self.steps, self.epochs) < 0:
            raise UsageError("give either steps or epochs, more than 0, to say how long to train")
        for name, known in (("optimiser", ("adamw", "adam", "adagrad")), ("schedule", ("cosine", "constant"))):
            if getattr(self, name) not in known:
                raise UsageError(f"{name} must be one of {', '.join(known)}, not {getattr(self, name)!r}")
        for name in ("lr", "keep_every_s"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name} must be more than 0, not {getattr(self, name)!r}")
        for name in ("weight_decay", "warmup", "floor", "clip", "chunk", "validate_every", "patience"):
            if not getattr(self, name) >= 0:
                raise UsageError(f"{name} must be 0 or more, not {getattr(self, name)!r}")

    def length(self, per_pass: int) -> int:
        return self.steps or max(1, round(self.epochs * per_pass))

    def rate(self, step: int, steps: int) -> float:
        """The learning rate of a step."""
        risen = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        fallen = self.floor + (1 - self.floor) * (1 + math.cos(math.pi * step / steps)) / 2
        return self.lr * risen * (fallen if self.schedule == "cosine" else 1.0)


def fit(
    objective: Objective,
    data: Batches,
    validation: Batches | None,
    settings: FitSettings,
    *,
    work: Path | None = None,
    key: Mapping[str, Any] | None = None,
    say: Say = print,
    name: str = "training",
    device: str | torch.device | None = None,
) -> History:
    """Train `objective` on `data`; it ends in eval mode, with the weights that validated best, and `finish`ed.

    validation: Batches of which one pass is looked at, always the same; None trains to the end and keeps the last
    weights.     work: a folder for the checkpoint, TensorBoard events and the picture of loss and recall; a run that
    was cut off goes on from it, and one that ended is not done again.     key: what else must be the same for that.
    say: takes a line of progress.     device: by default the GPU where there is one.
    Under torchrun each process trains on its share of every batch, and the loss is that of the whole batch.
    Raises UsageError where a batch holds NaN and MotionseekError where the loss is not finite, naming windows.
    """
    run = _Run(objective, data, validation, settings, work, {**(key or {}), "name": name}, say, name, device)
    with closing(run):
        return run.train()


class _Run:
    """A run from its start, or from where it was left."""

    def __init__(
        self,
        objective: Objective,
        data: Batches,
        validation: Batches | None,
        settings: FitSettings,
        work: Path | None,
        key: Mapping[str, Any],
        say: Say,
        name: str,
        device: str | torch.device | None,
    ) -> None:
        local = f"cuda:{torch.cuda.current_device()}" if torch.cuda.is_available() else "cpu"
        self.device = torch.device(device or local)
        torch.manual_seed(settings.seed + processes.rank())
        self.first = processes.rank() == 0
        if processes.world() > 1 and self.device.type == "cuda":
            objective = nn.SyncBatchNorm.convert_sync_batchnorm(objective)  # type: ignore[no-untyped-call]
        self.objective = objective.to(self.device)
        self.data, self.validation, self.settings = data, validation, settings
        self.say: Say = say if self.first else lambda _: None
        self.name = name
        self.steps = settings.length(data.steps)
        self.every = settings.validate_every or data.steps
        self.parameters = [p for p in objective.parameters() if p.requires_grad]
        self.optimiser = _optimiser(self.parameters, settings)
        self.gradient = Gradient(self.objective, chunk=settings.chunk, amp=_amp(settings, self.device))
        self.history = History()
        self.best: dict[str, Tensor] = {}
        self.bad = self.step = 0
        self.running: dict[str, float] = {}
        fixed = {**asdict(settings), "keep_every_s": 0, "per_pass": data.steps, "world": processes.world()}
        self.key = json.dumps({**fixed, **key}, sort_keys=True, default=str)
        self.checkpoint = work / "checkpoint.safetensors" if work else None
        self.work = work
        if self.checkpoint and self.checkpoint.is_file():
            self._resume(self.checkpoint)
        self.events = _events(work, self.step) if work and self.first else None

    # -- where it stands

    def _resume(self, path: Path) -> None:
        self.best, random, said = load_checkpoint(path, self.objective, self.optimiser, self.key)
        self.best = {name: x.to(self.device) for name, x in self.best.items()}
        processes.set_random_states(random)
        self.step, self.bad, self.running = said["step"], said["bad"], said["running"]
        self.history = History.from_json(said["history"])
        self.gradient.scaler.load_state_dict(said["scaler"])
        self.say(f"{self.name}: going on at step {self.step} of {self.steps}")

    def _keep(self) -> None:
        random = processes.random_states()
        if self.checkpoint is None or not self.first:
            return
        said = {
            "key": self.key,
            "step": self.step,
            "bad": self.bad,
            "running": self.running,
            "history": self.history.to_json(),
            "scaler": self.gradient.scaler.state_dict(),
        }
        save_checkpoint(self.checkpoint, self.objective, self.optimiser, self.best, random, said)

    def close(self) -> None:
        if self.events is not None:
            self.events.close()

    # -- training

    def train(self) -> History:
        objective, settings, history = self.objective, self.settings, self.history
        objective.train()
        clock = _Clock(history.seconds, settings.keep_every_s)
        with closing(_ahead(self.data, self.step, self.steps, self.device)) as batches:
            while self.step < self.steps and history.stopped != "early":
                batch = next(batches)
                rate = settings.rate(self.step, self.steps)
                terms = self._take(batch, rate)
                self.step += 1
                history.windows += len(batch) * processes.world()
                history.seconds = clock.seconds()
                self._tell(terms, rate, clock)
                if self.validation is not None and (self.step % self.every == 0 or self.step == self.steps):
                    with clock.stopped():
                        self._validate(self.validation)
                        self._keep()
                elif processes.agreed(clock.due()) and self.step < self.steps:
                    with clock.stopped():
                        self._keep()
        return self._end()

    def _take(self, batch: TrainBatch, rate: float) -> dict[str, float]:
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad(set_to_none=True)
        terms = {name: float(x) for name, x in self.gradient(batch).items()}
        if not math.isfinite(terms["loss"]):
            raise MotionseekError(self._not_finite(terms, batch))
        scaler = self.gradient.scaler
        scaler.unscale_(self.optimiser)
        if self.settings.clip:
            nn.utils.clip_grad_norm_(self.parameters, self.settings.clip)
        scaler.step(self.optimiser)
        scaler.update()
        self.objective.after_step()
        return terms

    def _not_finite(self, terms: Mapping[str, float], batch: TrainBatch) -> str:
        said = ", ".join(f"{name} {value:g}" for name, value in terms.items())
        where = ""
        if self.work is not None:
            self.work.mkdir(parents=True, exist_ok=True)
            listed = self.work / "not_finite.json"
            listed.write_text(json.dumps({"step": self.step, "terms": said, "window_ids": batch.window_ids}, indent=1))
            where = f" (all of them in {listed})"
        some = ", ".join(batch.window_ids[:8]) + (" …" if len(batch) > 8 else "")
        return (
            f"{self.name}: the loss is not finite at step {self.step} ({said}); lower lr and start again, or look at "
            f"the windows of the batch: {some}{where}"
        )

    def _tell(self, terms: Mapping[str, float], rate: float, clock: _Clock) -> None:
        for name, value in terms.items():
            self.running[name] = value + _RUNNING * (self.running.get(name, value) - value)
        if not self.first or not (clock.speaks() or self.step == self.steps):
            return
        per_s = self.history.windows_per_s
        left_s = (self.steps - self.step) * self.history.seconds / self.step
        self.history.steps.append({"step": self.step, **self.running, "lr": rate})
        self.say(
            f"{self.name}: step {self.step} of {self.steps}, loss {self.running['loss']:.3f}, {per_s:.0f} windows/s, "
            f"{left_s:.0f} s left"
        )
        if self.events is not None:
            for name, value in {**self.running, "lr": rate, "windows_per_s": per_s}.items():
                self.events.add_scalar(f"train/{name}", value, self.step)

    def _validate(self, validation: Batches) -> None:
        found = validate(self.objective, validation, self.device)
        self.objective.train()
        recall = processes.agreed(found["recall"])
        self.history.validations.append({"step": self.step, **found})
        better = self.history.best_recall is None or recall > self.history.best_recall + self.settings.min_delta
        if better:
            self.history.best_step, self.history.best_recall, self.bad = self.step, recall, 0
            self.best = {name: x.detach().clone() for name, x in self.objective.state_dict().items()}
        else:
            self.bad += 1
        if self.settings.patience and self.bad >= self.settings.patience and self.step < self.steps:
            self.history.stopped = "early"
        self.say(
            f"{self.name}: step {self.step} of {self.steps}, validation R@1 {found['R@1 >']:.3f} and "
            f"{found['R@1 <']:.3f} of {found['pool']:.0f}, best {self.history.best_recall:.3f} at step "
            f"{self.history.best_step}" + (", stopped early" if self.history.stopped == "early" else "")
        )
        if self.events is not None:
            for name, value in found.items():
                self.events.add_scalar(f"validation/{name}", value, self.step)

    def _end(self) -> History:
        if self.best:
            self.objective.load_state_dict(self.best)
        self.history.peak_mib = max(self.history.peak_mib, _peak_mib(self.device))
        self._keep()
        self.objective.eval()
        self.objective.finish(self.data)
        if self.work is not None and self.first:
            self.history.draw(self.work / "training.png", self.name)
            (self.work / "history.json").write_text(json.dumps(self.history.to_json(), indent=1) + "\n")
        return self.history


@torch.no_grad()
def validate(objective: Objective, data: Batches, device: torch.device | str = "cpu") -> dict[str, float]:
    """R@1, R@5 and MRR of the objective's sides over one pass, both ways; recall: the mean R@1; pool: of how many."""
    objective.eval()
    found = [objective.sides(data.batch(step).to(torch.device(device))) for step in range(data.steps)]
    a, b = (torch.cat([pair[side] for pair in found]).float() for side in (0, 1))
    if not len(a):
        raise UsageError("no window of the validation has both of the sides that are compared: choose other windows")
    there, back = retrieval(a, b), retrieval(b, a)
    out = {f"{name} {way}": value for way, side in ((">", there), ("<", back)) for name, value in side.items()}
    return {**out, "recall": (there["R@1"] + back["R@1"]) / 2, "pool": float(len(a))}


def _optimiser(parameters: list[nn.Parameter], settings: FitSettings) -> torch.optim.Optimizer:
    if settings.optimiser == "adagrad":
        return torch.optim.Adagrad(parameters, lr=settings.lr, weight_decay=settings.weight_decay, eps=1e-8)
    kind = torch.optim.AdamW if settings.optimiser == "adamw" else torch.optim.Adam
    return kind(parameters, lr=settings.lr, weight_decay=settings.weight_decay, betas=settings.betas, fused=True)


def _amp(settings: FitSettings, device: torch.device) -> torch.dtype | None:
    if not settings.amp or device.type != "cuda":
        return None
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16


def _ahead(data: Batches, step: int, steps: int, device: torch.device) -> Generator[TrainBatch]:
    """Batches from `step` on: the next one is read and varied, and checked, while this one is used."""
    share = {"rank": processes.rank(), "world": processes.world()}

    def prepare(step: int) -> TrainBatch:
        batch = checked(data.batch(step, **share))
        return batch.pinned() if device.type == "cuda" else batch

    with ThreadPoolExecutor(1, thread_name_prefix="batches") as pool:
        coming = pool.submit(prepare, step)
        for following in range(step + 1, steps + 1):
            batch = coming.result()
            if following < steps:
                coming = pool.submit(prepare, following)
            yield batch.to(device)


def checked(batch: TrainBatch) -> TrainBatch:
    """The batch. Raises UsageError where it holds NaN or infinite numbers, naming the windows."""
    for name in ("imu", "pose", "text", "video"):
        x = getattr(batch, name)
        # one sum tells of any; only then is it looked at which
        if x is None or math.isfinite(float(x.sum())):
            continue
        wrong = (~torch.isfinite(x.flatten(1)).all(1)).nonzero().flatten().tolist()
        if wrong:
            some = ", ".join(batch.window_ids[i] for i in wrong[:8]) + (" …" if len(wrong) > 8 else "")
            raise UsageError(f"{len(wrong)} windows hold NaN or infinite {name} values: {some}; leave them out")
    return batch


class _Clock:
    """Seconds of training, without what stops it; when to speak and when to keep."""

    def __init__(self, spent_s: float, keep_every_s: float) -> None:
        self._started = time.monotonic() - spent_s
        self._spoke = self._kept = time.monotonic()
        self._keep_every_s = keep_every_s
        self._speak_every_s = 1.0

    def seconds(self) -> float:
        return time.monotonic() - self._started

    def speaks(self) -> bool:
        """More and more seldom, up to every 10 s."""
        if time.monotonic() - self._spoke < self._speak_every_s:
            return False
        self._spoke, self._speak_every_s = time.monotonic(), min(10.0, 1.5 * self._speak_every_s)
        return True

    def due(self) -> bool:
        return time.monotonic() - self._kept > self._keep_every_s

    def stopped(self) -> _Pause:
        return _Pause(self)


class _Pause:
    def __init__(self, clock: _Clock) -> None:
        self._clock = clock

    def __enter__(self) -> None:
        self._at = time.monotonic()

    def __exit__(self, *_: object) -> None:
        now = time.monotonic()
        self._clock._started += now - self._at
        self._clock._kept = now


def _events(work: Path, step: int) -> Any | None:
    """TensorBoard's writer, where it is installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(work / "events"), purge_step=step or None)


def _peak_mib(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
