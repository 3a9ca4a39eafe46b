"""Training on an archive: its windows as files, then the recipe on those."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from motionseek.encoders.train import processes
from motionseek.encoders.train.files import TrainingFiles
from motionseek.encoders.train.recipe import Recipe
from motionseek.encoders.train.run import Trained, run_recipe
from motionseek.indexer.signals import Exported, can_load, training_files
from motionseek.indexer.store import Store

Say = Callable[[str], None]


def train(recipe: str | Path | Recipe, archive: str | Path, out: str | Path, *, say: Say = print) -> Trained:
    """Train a model by `recipe` (a name that comes with the package, a TOML file or a Recipe) on an archive's windows.

    Writes the model folder `out`, with `out`.work beside it: checkpoint, TensorBoard events, picture. Killed and run
    again, it goes on. Under torchrun it trains in several processes.
    Raises UsageError where recipe and archive do not fit, ArchiveError where the archive lacks what is asked for.
    """
    recipe = recipe if isinstance(recipe, Recipe) else Recipe.load(recipe)
    with processes.joined():
        if processes.rank() == 0:
            _export(recipe, archive, say)
        processes.first_then_rest()
        exported = _export(recipe, archive, None)
        files = TrainingFiles(exported.folder)
        held = Store.open(archive).models().get(str(files.settings.get("space")))
        frozen = held.name if held and can_load(held.name) else None
        return run_recipe(recipe, files, Path(out), frozen=frozen, say=say)


def _export(recipe: Recipe, archive: str | Path, say: Say | None) -> Exported:
    def progress(done: int, total: int, uri: str) -> None:
        if say is not None and done < total and done % 20 == 0:
            say(f"reading signals: {done} of {total} recordings, {uri}")

    data = recipe.data
    exported = training_files(
        archive,
        rate_hz=data.rate_hz,
        windows=data.windows,
        window_s=data.window_s,
        space=data.space or None,
        progress=progress,
    )
    if say is not None:
        for uri, reason in exported.unread:
            say(f"left out: {uri}: {reason}")
    return exported
