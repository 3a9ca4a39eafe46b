"""motionseek train"""

from __future__ import annotations

from pathlib import Path

import click

from motionseek.cli._common import FILE, as_json, emit, example


@click.command("train")
@click.argument("recipe")
@click.option("--out", "-o", type=FILE, required=True, help="Folder of the model to write.")
@click.option(
    "--data", type=FILE, default=Path("data"), show_default=True, envvar="MOTIONSEEK_DATA", help="Data folder."
)
@as_json
@example("motionseek train starter --data ~/data --out models/mine")
def verb(recipe: str, out: Path, data: Path, as_json: bool) -> None:
    """Train a model by a RECIPE: the name of one that comes with the package ("starter"), or a TOML file."""
    from motionseek.encoders import train
    from motionseek.encoders.train.starter import StarterRecipe, train_starter
    from motionseek.errors import UsageError

    carried = {toml.stem: toml for toml in Path(train.__file__).parent.glob("*.toml")}
    path = carried.get(recipe, Path(recipe))
    if not path.is_file():
        raise UsageError(f"{recipe} is neither a recipe that comes with the package nor a TOML file")
    train_starter(StarterRecipe.load(path), data, out, say=lambda what: click.echo(what, err=True))
    if as_json:
        emit({"model": str(out)})
    else:
        click.echo(out)
