"""Which model fills which space of an archive. Vectors of two models cannot be compared, so a space has one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from motionseek.encoders.base import Encoder, tokenises
from motionseek.errors import ArchiveError, ModelError, StaleIndex, UsageError
from motionseek.indexer.catalog import Row
from motionseek.indexer.prepare import Encoders
from motionseek.indexer.store import ModelRow, Store
from motionseek.indexer.windows import TICK_S
from motionseek.indexer.writer import Writer
from motionseek.types import Modality


class ModelLike(Protocol):
    """What `index` needs of a model; `load_model` gives one, and any object that has these will do."""

    @property
    def fingerprint(self) -> str: ...

    @property
    def card(self) -> Mapping[str, Any]: ...

    @property
    def encoders(self) -> Mapping[Any, Encoder]:
        """(space, modality) → Encoder."""
        ...


def load_models(models: Sequence[str | Path | ModelLike]) -> list[tuple[str, ModelLike]]:
    """Models with the names that the archive remembers them by. Raises UsageError, ModelError."""
    if isinstance(models, str | Path):
        models = [models]
    if not models:
        raise UsageError("models is empty: name at least one model, for instance 'starter'")
    loaded: list[tuple[str, ModelLike]] = []
    for model in models:
        if isinstance(model, str | Path):
            from motionseek.encoders.model import available, load_model

            named = str(model) in available() or not Path(model).is_dir()
            name = str(model) if named else str(Path(model).resolve())
            loaded.append((name, load_model(model)))
        else:
            loaded.append((str(model.card.get("name", "")), model))
    return loaded


def encoders_of(loaded: Sequence[tuple[str, ModelLike]], window_s: float) -> Encoders:
    """All encoders by (space, modality). Raises ArchiveError where two models share a space."""
    owner: dict[str, str] = {}
    found: dict[tuple[str, Modality], Encoder] = {}
    for name, model in loaded:
        for (space, modality), encoder in model.encoders.items():
            if owner.setdefault(space, model.fingerprint) != model.fingerprint:
                raise ArchiveError(
                    f"two of the models fill the space {space!r}, and their vectors cannot be compared: "
                    f"index with each into an archive of its own, or give an open_clip model a space of its own "
                    f"(open_clip:NAME:WEIGHTS@frames)"
                )
            if encoder.window_s and abs(encoder.window_s - window_s) > 1e-6:
                raise UsageError(f"window_s is {window_s:g}, but model {name} is made for {encoder.window_s:g} s")
            if tokenises(encoder):
                per_tick = TICK_S / encoder.token_s
                if abs(per_tick - round(per_tick)) > 1e-6 or round(per_tick) < 1:
                    raise ModelError(
                        f"model {name} has tokens of {encoder.token_s:g} s, which do not fit into {TICK_S} s"
                    )
            found[space, modality] = encoder
    return found


def check_spaces(
    store: Store, loaded: Sequence[tuple[str, ModelLike]], window_s: float, stride_s: float, *, replace: bool
) -> list[ModelRow]:
    """The spaces that another model fills and that are to be emptied for these. Raises ArchiveError for windows of
    another size; StaleIndex, without `replace`, where vectors would mix."""
    held = store.models()
    for row in held.values():
        if (row.window_s, row.stride_s) != (window_s, stride_s):
            raise ArchiveError(
                f"{store.uri} has windows of {row.window_s:g} s every {row.stride_s:g} s, not {window_s:g} s every "
                f"{stride_s:g} s: index with those, or into a new archive"
            )
    found = []
    for name, model in loaded:
        for space in dict.fromkeys(space for space, _ in model.encoders):
            if space in held and held[space].fingerprint != model.fingerprint:
                if not replace:
                    raise StaleIndex(_mixed(store.uri, held[space], name))
                found.append(held[space])
    return found


def claim_spaces(
    writer: Writer, loaded: Sequence[tuple[str, ModelLike]], window_s: float, stride_s: float, *, replace: bool
) -> None:
    """Write down which model fills which space, see `check_spaces`; what is replaced is emptied first."""
    for row in check_spaces(writer.store, loaded, window_s, stride_s, replace=replace):
        writer.empty_space(row.space, row.fingerprint)
    held = writer.store.models()
    new = [
        _model_row(space, name, model, window_s, stride_s)
        for name, model in loaded
        for space in dict.fromkeys(space for space, _ in model.encoders)
        if space not in held or held[space].fingerprint != model.fingerprint
    ]
    if new:
        writer.put_models(new)


def _mixed(root: str, held: ModelRow, name: str) -> str:
    return (
        f"the space {held.space!r} of {root} was filled by the model {held.name or held.fingerprint[:12]!r}, and "
        f"vectors of {name!r} cannot be compared with them: index into a new archive, or with that model, or "
        f"replace it and encode everything again (--replace)"
    )


def _model_row(space: str, name: str, model: ModelLike, window_s: float, stride_s: float) -> Row:
    encoders = {
        modality: {
            "fingerprint": encoder.fingerprint,
            "levels": list(encoder.levels),
            "rate_hz": encoder.rate_hz,
            "window_s": encoder.window_s,
            "token_s": encoder.token_s if tokenises(encoder) else None,
            "blocks": encoder.blocks if tokenises(encoder) else 1,
        }
        for (its_space, modality), encoder in model.encoders.items()
        if its_space == space
    }
    return {
        "space": space,
        "fingerprint": model.fingerprint,
        "name": name,
        "encoders": json.dumps(encoders, sort_keys=True),
        "card": json.dumps(dict(model.card), ensure_ascii=False, sort_keys=True),
        "window_s": window_s,
        "stride_s": stride_s,
    }
