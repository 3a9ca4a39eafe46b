"""The loop: it learns, goes on after a kill to the same weights, and says what is wrong with which windows."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from tiny import TinyData, TinyObjective

from motionseek.encoders.train.evaluate import retrieval
from motionseek.encoders.train.history import History
from motionseek.encoders.train.loop import FitSettings, fit
from motionseek.encoders.train.step import Gradient
from motionseek.errors import MotionseekError, UsageError

HERE = Path(__file__).parent


def quiet(_: str) -> None:
    """Nothing is said."""


def made(seed: int = 0, dropout: float = 0.0) -> TinyObjective:
    torch.manual_seed(seed)
    return TinyObjective(dropout=dropout)


def test_it_learns_and_keeps_the_best_weights(tmp_path: Path) -> None:
    objective, held = made(), TinyData(shuffle=False)
    said: list[str] = []
    history = fit(
        objective, TinyData(), held, FitSettings(epochs=20, lr=3e-3, warmup=5), work=tmp_path, say=said.append
    )
    assert history.windows == 20 * 96
    assert history.best_recall == pytest.approx(max(v["recall"] for v in history.validations))
    assert history.best_recall > 0.8
    with torch.no_grad():
        a, b = (torch.cat(s) for s in zip(*[objective.sides(held.batch(i)) for i in range(held.steps)], strict=True))
    assert (retrieval(a, b)["R@1"] + retrieval(b, a)["R@1"]) / 2 == pytest.approx(history.best_recall)
    assert any("windows/s" in line and "s left" in line for line in said)
    assert (tmp_path / "training.png").stat().st_size > 5000
    assert History.from_json(json.loads((tmp_path / "history.json").read_text())) == history
    assert list((tmp_path / "events").glob("events.out.tfevents*"))


def test_it_stops_early() -> None:
    settings = FitSettings(steps=1000, lr=1e-9, validate_every=2, patience=3)
    history = fit(made(), TinyData(), TinyData(shuffle=False), settings, say=quiet)
    assert history.stopped == "early"
    assert history.best_step == 2
    assert [v["step"] for v in history.validations] == [2, 4, 6, 8]


@pytest.mark.parametrize("chunk", [5, 8, 24])
def test_a_batch_in_pieces_has_the_gradient_of_the_whole(chunk: int) -> None:
    batch = TinyData().batch(0)
    whole, pieces = made(), made()
    a = Gradient(whole)(batch)
    b = Gradient(pieces, chunk=chunk)(batch)
    assert float(b["loss"]) == pytest.approx(float(a["loss"]), abs=1e-6)
    for p, q in zip(whole.parameters(), pieces.parameters(), strict=True):
        assert torch.allclose(p.grad, q.grad, atol=1e-6)


def test_pieces_draw_the_same_dropout_twice() -> None:
    """The gradient is that of the loss which was computed: a small step along it lowers exactly that loss."""
    batch = TinyData().batch(0)
    objective = made(dropout=0.5)
    torch.manual_seed(3)
    loss = Gradient(objective, chunk=7)(batch)["loss"]
    gradients = [p.grad.clone() for p in objective.parameters()]
    with torch.no_grad():
        for p, g in zip(objective.parameters(), gradients, strict=True):
            p -= 1e-4 * g
    torch.manual_seed(3)
    lower = Gradient(objective, chunk=7)(batch)["loss"]
    expected = sum(float((g**2).sum()) for g in gradients) * 1e-4
    assert float(loss - lower) == pytest.approx(expected, rel=0.05)


def test_windows_with_nan_are_named() -> None:
    with pytest.raises(UsageError, match="1 windows hold NaN or infinite imu values: w17;"):
        fit(made(), TinyData(broken=17), None, FitSettings(epochs=1), say=quiet)


def test_a_loss_that_is_not_finite_names_its_windows(tmp_path: Path) -> None:
    objective = made()
    with torch.no_grad():
        objective.log_scale.fill_(float("inf"))
    data = TinyData()
    first = data.batch(0).window_ids
    with pytest.raises(MotionseekError, match=f"not finite at step 0 .*{first[0]}, {first[1]}"):
        fit(objective, data, None, FitSettings(steps=3), work=tmp_path, say=quiet)
    assert tuple(json.loads((tmp_path / "not_finite.json").read_text())["window_ids"]) == first


def test_another_run_is_not_gone_on_with(tmp_path: Path) -> None:
    fit(made(), TinyData(), None, FitSettings(steps=4), work=tmp_path, say=quiet)
    with pytest.raises(UsageError, match="other settings"):
        fit(made(), TinyData(), None, FitSettings(steps=5), work=tmp_path, say=quiet)


def test_a_checkpoint_of_another_shape_names_the_weight(tmp_path: Path) -> None:
    settings = FitSettings(steps=2)
    fit(made(), TinyData(), None, settings, work=tmp_path, say=quiet)
    wider = made()
    wider.net[4] = torch.nn.Linear(32, 11)
    says = r"checkpoint\.safetensors has \(8,\) numbers of net\.4\.bias, and the model needs \(11,\); delete it"
    with pytest.raises(UsageError, match=says):
        fit(wider, TinyData(), None, settings, work=tmp_path, say=quiet)
    more = made()
    more.extra = torch.nn.Linear(2, 2)
    with pytest.raises(UsageError, match=r"has no extra\.bias, and the model needs \(2,\)"):
        fit(more, TinyData(), None, settings, work=tmp_path, say=quiet)


RUN = """
import sys, time, torch
sys.path.insert(0, {here!r})
from pathlib import Path
from tiny import TinyData, TinyObjective
from motionseek.encoders.train.loop import FitSettings, fit
torch.set_num_threads(1)
torch.manual_seed(0)
class Slow(TinyData):
    def batch(self, step, **share):
        time.sleep({wait})
        return super().batch(step, **share)
objective = TinyObjective(dropout=0.3)
settings = FitSettings(steps=60, lr=2e-3, warmup=4, validate_every=7, keep_every_s=0.05)
fit(objective, Slow(), TinyData(shuffle=False), settings, work=Path({work!r}), say=lambda _: None)
torch.save(objective.state_dict(), {out!r})
"""


def run_of(work: Path, out: Path, wait: float) -> list[str]:
    return [sys.executable, "-c", RUN.format(here=str(HERE), work=str(work), out=str(out), wait=wait)]


@pytest.mark.slow
def test_killed_at_any_moment_it_ends_with_the_same_weights(tmp_path: Path) -> None:
    undisturbed, killed = tmp_path / "a.pt", tmp_path / "b.pt"
    subprocess.run(run_of(tmp_path / "a", undisturbed, 0.0), check=True)
    kills = 0
    for _ in range(12):
        process = subprocess.Popen(run_of(tmp_path / "b", killed, 0.05))
        checkpoint = tmp_path / "b" / "checkpoint.safetensors"
        before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        while process.poll() is None and not (checkpoint.exists() and checkpoint.stat().st_mtime_ns > before):
            time.sleep(0.02)
        time.sleep(0.13)
        if process.poll() is None and kills < 3:
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        if process.wait() == 0:
            break
    assert kills == 3
    a, b = (torch.load(path, weights_only=True) for path in (undisturbed, killed))
    assert all(torch.equal(a[name], b[name]) for name in a)


TWO = """
import os, sys, torch
sys.path.insert(0, {here!r})
import torch.distributed as dist
from tiny import TinyData, TinyObjective
from motionseek.encoders.train.loop import FitSettings, fit
from motionseek.encoders.train.processes import joined
torch.set_num_threads(1)
with joined():
    torch.manual_seed(0)
    objective = TinyObjective()
    settings = FitSettings(steps=6, lr=2e-3, chunk={chunk}, clip=0.5)
    history = fit(objective, TinyData(), TinyData(shuffle=False), settings, say=lambda _: None)
    if os.environ.get("RANK", "0") == "0":
        torch.save([objective.state_dict(), history.steps[-1]["loss"]], {out!r})
"""


@pytest.mark.slow
@pytest.mark.parametrize("chunk", [0, 5])
def test_two_processes_are_one(tmp_path: Path, chunk: int) -> None:
    for name, run in {
        "one": [sys.executable],
        "two": [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"],
    }.items():
        script = tmp_path / f"{name}.py"
        script.write_text(TWO.format(here=str(HERE), out=str(tmp_path / f"{name}.pt"), chunk=chunk))
        subprocess.run([*run, str(script)], check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    (one, loss), (two, other) = (torch.load(tmp_path / f"{n}.pt", weights_only=True) for n in ("one", "two"))
    assert other == pytest.approx(loss, abs=1e-5)
    assert all(torch.allclose(one[name], two[name], atol=1e-5) for name in one)
