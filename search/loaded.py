"""What an opened archive has in memory: its recordings, models and indexes, each loaded when it is first needed."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from motionseek.encoders.base import Encoder, StreamEncoder, tokenises
from motionseek.errors import ModelError, QueryError, StaleIndex
from motionseek.imports import without_collecting
from motionseek.indexer.ann import AnnIndex, open_index
from motionseek.indexer.catalog import read_again
from motionseek.indexer.filters import Filter
from motionseek.indexer.store import ModelRow, Store
from motionseek.indexer.tokens import StreamKey
from motionseek.search.calibrate import RIVALS, SAMPLE, Rivals
from motionseek.search.candidates import Columns, Kept, Spread, spreads
from motionseek.types import MODALITIES, Bool, Level, Modality, Narration, Recording

if TYPE_CHECKING:
    from motionseek.indexer.pipeline import ModelLike


@dataclass(frozen=True)
class Source:
    """What a search needs to know of one recording. spans: modality → (start_s, end_s) of its streams.
    narrations: in order of their starts."""

    uri: str
    labels: tuple[str, ...]
    spans: Mapping[str, tuple[float, float]]
    narrations: tuple[Narration, ...] = ()


@dataclass(eq=False)
class Opened:
    """An index and its windows as arrays."""

    index: AnnIndex
    columns: Columns = field(init=False)
    kept: dict[tuple[tuple[Modality, ...], Modality], Kept] = field(default_factory=dict)
    """(modalities, target) → those of its windows that lie on a stream of the target, once they were asked for."""

    def __post_init__(self) -> None:
        self.columns = Columns.of(self.index.windows)

    @cached_property
    def spreads(self) -> dict[str, Spread]:
        return spreads(self.index, self.columns)


class Loaded:
    """An archive's store with what was loaded of it.

    models: used instead of those that the archive names, for the spaces that they have; they must be the same.
    """

    def __init__(self, store: Store, models: Sequence[str | Path | ModelLike] = ()) -> None:
        self.store = store
        self._given = [load(model) for model in models]
        self._models: dict[str, ModelLike] = {}
        self._opened: dict[tuple[str, str], Opened] = {}
        self._rivals: dict[tuple[str, bool], Rivals] = {}

    # -- recordings

    @cached_property
    def sources(self) -> dict[str, Source]:
        """recording_id → what was indexed, of all recordings that could be read."""
        columns = ["recording_id", "uris", "labels", "streams", "narrations", "status"]
        rows = self.store.recordings(columns=columns).to_pylist()
        return {row["recording_id"]: _source(row) for row in rows if row["status"] in ("ok", "partial")}

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """What the recordings hold."""
        held = {modality for source in self.sources.values() for modality in source.spans}
        return tuple(m for m in MODALITIES if m in held)

    def recording_id(self, named: str) -> str:
        """The one recording whose id begins like that, or that lies there: a path, or how one ends. Raises QueryError
        for none or several."""
        if named in self.sources:
            return named
        place = named.removesuffix("/recording.json")
        uris = {r: source.uri for r, source in self.sources.items()} if named else {}
        found = [r for r, uri in uris.items() if uri in (place, os.path.abspath(place))]
        ends = f"/{place}", f"#{place}"
        found = found or [r for r, uri in uris.items() if r.startswith(named) or uri.endswith(ends)]
        if len(found) != 1:
            several = f"{len(found)} recordings that are called" if found else "no recording"
            more = ": give more of the recording_id, or of where it lies" if found else ""
            raise QueryError(f"the archive has {several} {named!r}{more}")
        return found[0]

    def read_again(self, recording_id: str) -> Recording:
        """A recording of the archive as it was read when it was indexed, from where it lies.

        Raises QueryError where the archive does not have it, MediaError or UsageError where its files cannot be read.
        """
        columns = ["recording_id", "source_format", "extra"]
        rows = self.store.recordings(Filter(recording_id=recording_id), columns=columns).to_pylist()
        if not rows or recording_id not in self.sources:
            raise QueryError(f"the archive has no recording {recording_id!r}")
        return read_again(rows[0], self.sources[recording_id].uri)

    def stream_keys(self, recording_id: str) -> list[StreamKey]:
        """The token streams of a recording, bodies before sensors."""
        where = Filter(recording_id=recording_id, modality=("pose", "imu"))
        rows = self.store.windows(where, columns=["modality", "person"]).to_pylist()
        keys = dict.fromkeys(StreamKey(recording_id, row["modality"], row["person"]) for row in rows)
        return sorted(keys, key=lambda key: (key.modality != "pose", key.person))

    # -- indexes

    def open(self, space: str, level: Level) -> Opened:
        if (space, level) not in self._opened:
            self._opened[space, level] = Opened(open_index(self.store, space, level))
        return self._opened[space, level]

    def allowed(self, index: AnnIndex, where: Filter) -> Bool:
        """(N,) windows of the index that a filter lets through, as Lance says."""
        allowed = self.store.windows(where, columns=["window_id"])["window_id"].combine_chunks()
        found: Bool = pa.compute.is_in(index.windows["window_id"], value_set=allowed).to_numpy().astype(np.bool_)
        return found

    def rivals(self, space: str, *, in_words: bool) -> Rivals:
        """What a query of the space competes with: everyday sentences for a query in words, else other windows."""
        if (space, in_words) not in self._rivals:
            opened = self.open(space, "global")
            rows = np.arange(len(opened.index))
            rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), 4 * SAMPLE)).astype(np.int64))]
            windows = opened.index.vectors(rows)
            if in_words:
                told = self.encoder(space, "text").encode(list(RIVALS)).global_
                vector = windows[:0] if told is None else told
            else:
                vector = windows[:: max(1, len(windows) // SAMPLE)]
            modality = opened.columns.modality[rows]
            cosine = windows @ vector.T
            spread = {m: float(cosine[modality == m].std()) for m in np.unique(modality).tolist() if len(vector)}
            self._rivals[space, in_words] = Rivals(vector, spread)
        return self._rivals[space, in_words]

    # -- models

    @cached_property
    def spaces(self) -> dict[str, ModelRow]:
        """The model that filled each space."""
        return self.store.models()

    def speaks(self, space: str, modality: str) -> bool:
        """Whether the space's model has an encoder for a query of this modality."""
        if space not in self.spaces:
            return False
        return modality in ("vector", "moment") or modality in self.spaces[space].encoders

    def has_level(self, space: str, modality: str, level: Level) -> bool:
        """Whether the space's model gives vectors of this modality at this level."""
        about = self.spaces[space].encoders.get(modality, {})
        return level in about.get("levels", ("global",))

    def streams(self, modality: str) -> bool:
        """Whether the motion model tokenises whole recordings of this modality; else it sees a window at a time."""
        held = self.spaces["motion"].encoders if "motion" in self.spaces else {}
        return held.get(modality, {}).get("token_s") is not None

    @property
    def windowed(self) -> bool:
        """Whether there is a motion model that sees a window at a time, and has one vector for each."""
        held = self.spaces["motion"].encoders if "motion" in self.spaces else {}
        return any(not self.streams(m) and self.has_level("motion", m, "global") for m in held)

    def model(self, space: str) -> ModelLike:
        if space not in self._models:
            given = [m for m in self._given if any(s == space for s, _ in m.encoders)]
            self._models[space] = given[0] if given else self._load(self.spaces[space])
        return self._models[space]

    def _load(self, row: ModelRow) -> ModelLike:
        if not row.name:
            raise ModelError(
                f"{self.store.uri}: the space {row.space!r} was built by a model without a name: open the archive "
                "with that model (models=[…])"
            )
        return load(row.name)

    def encoder(self, space: str, modality: Modality) -> Encoder:
        """Raises StaleIndex where the encoder is not the one that built the index, QueryError where there is none."""
        row = self.spaces[space]
        encoder = self.model(space).encoders.get((space, modality))
        if encoder is None:
            raise QueryError(f"the model {row.name} has no encoder for {modality} in the space {space}")
        built = row.encoders.get(modality, {}).get("fingerprint", row.fingerprint)
        if encoder.fingerprint != built:
            raise StaleIndex(
                f"{self.store.uri}: the space {space!r} was built by the model {row.name!r} with the fingerprint "
                f"{built[:12]}, and the one at hand has {encoder.fingerprint[:12]}: open the archive with the model "
                "that built it, or index the sources into a new archive"
            )
        return encoder

    def stream_encoder(self, modality: str) -> StreamEncoder:
        encoder = self.encoder("motion", "imu" if modality == "imu" else "pose")
        if not tokenises(encoder):
            raise QueryError("the motion model of this archive sees one window at a time: it gives no stream of tokens")
        return encoder


def load(model: str | Path | ModelLike) -> ModelLike:
    """A model by its name or folder; one that is loaded already is itself."""
    if not isinstance(model, str | Path):
        return model
    with without_collecting():
        from motionseek.encoders.model import load_model

    return load_model(model)


def _source(row: Mapping[str, Any]) -> Source:
    spans: dict[str, tuple[float, float]] = {}
    streams = [*row["streams"], *({"modality": "text", **told} for told in row["narrations"])]
    for stream in streams:
        start_s, end_s = spans.get(stream["modality"], (np.inf, -np.inf))
        spans[stream["modality"]] = min(start_s, stream["start_s"]), max(end_s, stream["end_s"])
    told = sorted((Narration(**n) for n in row["narrations"]), key=lambda n: n.start_s)
    return Source(row["uris"][0] if row["uris"] else "", tuple(row["labels"]), spans, tuple(told))
