"""motionseek train"""

from __future__ import annotations

from pathlib import Path

import click

from motionseek.cli._common import FILE, archive_option, as_json, emit, example


@click.command("train")
@click.argument("recipe")
@archive_option
@click.option("--out", "-o", type=FILE, required=True, help="Folder of the model to write.")
@click.option(
    "--data",
    type=FILE,
    default=Path("data"),
    show_default=True,
    envvar="MOTIONSEEK_DATA",
    help="Folder of the motion that the recipe starter simulates sensors on; the others read the archive.",
)
@as_json
@example(
    "motionseek train motionseek --archive archive --out models/mine",
    "torchrun --no-python --nproc-per-node 4 motionseek train mobind --archive archive --out models/mobind",
    "motionseek train starter --data ~/data --out models/starter",
)
def verb(recipe: str, archive: str, out: Path, data: Path, as_json: bool) -> None:
    """Train a model by a RECIPE on the windows of an archive.

    RECIPE is the name of one that comes with the package (motionseek, imu2clip, imu2clip_video, imu2clip_all, mobind,
    mobind_two_stages, starter) or a TOML file. Stopped or killed, and run again, it goes on where it was.
    """
    from motionseek.encoders.train import processes
    from motionseek.encoders.train.recipe import Recipe, find

    def say(what: str) -> None:
        click.echo(what, err=True)

    if Recipe.is_starter(recipe):
        from motionseek.encoders.train.starter import StarterRecipe, train_starter

        train_starter(StarterRecipe.load(find(recipe)), data, out, say=say)
        said: dict[str, object] = {"model": str(out)}
    else:
        from motionseek.indexer.train import train

        said = train(recipe, archive, out, say=say).to_json()
    if processes.rank() == 0:
        if as_json:
            emit(said)
        else:
            click.echo(out)
