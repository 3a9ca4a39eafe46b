"""motionseek models"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from motionseek.cli._common import FILE, as_json, emit, example, table

if TYPE_CHECKING:
    from motionseek.encoders.model import Model


@click.group("models")
@example("motionseek models show starter")
def verb() -> None:
    """The models that come with the package, and model folders."""


@verb.command("list")
@as_json
@example("motionseek models list")
def list_models(as_json: bool) -> None:
    """List the models that come with the package."""
    from motionseek.encoders.model import available, load_model

    models = [load_model(name) for name in available()]
    if as_json:
        emit({"models": [_about(name, model) for name, model in zip(available(), models, strict=True)]})
        return
    rows = [
        (name, ", ".join(f"{s}/{m}" for s, m in model.encoders), model.fingerprint[:12], model.card.get("licence", ""))
        for name, model in zip(available(), models, strict=True)
    ]
    table("", ("model", "encoders", "fingerprint", "licence"), rows)


@verb.command("show")
@click.argument("model")
@as_json
@example("motionseek models show starter")
def show_model(model: str, as_json: bool) -> None:
    """Show the card of a MODEL: a name, a folder, or open_clip:NAME:WEIGHTS."""
    from motionseek.encoders.model import load_model

    about = _about(model, load_model(model))
    if as_json:
        emit(about)
        return
    card = about.pop("card")
    rows = [*about.items(), *((key, value) for key, value in card.items() if key not in about)]
    table("", ("", ""), [(key, value if isinstance(value, str) else _short(value)) for key, value in rows])


@verb.command("verify")
@click.argument("model")
@as_json
@example("motionseek models verify models/mine")
def verify(model: str, as_json: bool) -> None:
    """Check a MODEL: card, weights, and that every encoder encodes. Exit code 1 where something is wrong."""
    from motionseek.encoders.model import verify_model

    problems = verify_model(model)
    if as_json:
        emit({"model": model, "ok": not problems, "problems": problems})
    else:
        click.echo("\n".join(problems) or f"{model}: ok")
    if problems:
        raise click.exceptions.Exit(1)


@verb.command("import")
@click.argument("system", type=click.Choice(("imu2clip", "mobind")))
@click.argument("file", type=FILE)
@click.option("--out", "-o", type=FILE, required=True, help="Folder of the model to write.")
@click.option("--with", "lender", help="For imu2clip: the CLIP it was trained against, open_clip:NAME:WEIGHTS.")
@click.option(
    "--data",
    type=click.Choice(("mri", "totalcapture", "egohumans")),
    default="mri",
    show_default=True,
    help="For mobind: what it was trained on, which says its parts and units.",
)
@click.option("--heads", type=click.IntRange(1), help="For mobind: attention heads, which weights do not show. [8]")
@click.option("--check", type=FILE, help="npz of inputs and published outputs that the model must reproduce.")
@as_json
@example("motionseek models import mobind best.pt --data mri --out models/mobind")
def import_model(
    system: str,
    file: Path,
    out: Path,
    lender: str | None,
    data: str,
    heads: int | None,
    check: Path | None,
    as_json: bool,
) -> None:
    """Turn a published checkpoint FILE into a model folder. Only plain tensors are read; no code in it can run."""
    from motionseek.encoders.model import load_model
    from motionseek.encoders.published import import_published

    difference = import_published(system, file, out, lender=lender, data=data, heads=heads, check=check)
    about = _about(str(out), load_model(out))
    if as_json:
        emit({**about, "difference": difference})
    else:
        same = "" if difference is None else f" (largest difference from {check}: {difference:.1g})"
        click.echo(f"{out}{same}")


def _about(name: str, model: Model) -> dict[str, Any]:
    encoders = [
        {"space": space, "modality": modality, "levels": list(encoder.levels), "rate_hz": encoder.rate_hz}
        for (space, modality), encoder in model.encoders.items()
    ]
    return {"name": name, "fingerprint": model.fingerprint, "encoders": encoders, "card": dict(model.card)}


def _short(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
