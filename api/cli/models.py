"""motionseek models"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from motionseek.cli._common import as_json, emit, example, table

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


def _about(name: str, model: Model) -> dict[str, Any]:
    encoders = [
        {"space": space, "modality": modality, "levels": list(encoder.levels), "rate_hz": encoder.rate_hz}
        for (space, modality), encoder in model.encoders.items()
    ]
    return {"name": name, "fingerprint": model.fingerprint, "encoders": encoders, "card": dict(model.card)}


def _short(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
