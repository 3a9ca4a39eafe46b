"""How a query is answered: in which space, at which level, through which windows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from motionseek.errors import QueryError
from motionseek.indexer.filters import Filter
from motionseek.indexer.schema import vector_table_name
from motionseek.search.candidates import Columns, Kept
from motionseek.search.loaded import Loaded, Opened
from motionseek.search.query import Query
from motionseek.types import MODALITIES, Float64, Level, Modality

MOTION_THROUGH: Mapping[Modality, tuple[Modality, ...]] = {"video": ("pose",), "imu": ("imu",), "pose": ("pose",)}
"""Target → the modalities whose motion tokens find it. A picture's motion is the body's in it."""


def clip_through(asked: str, target: Modality) -> tuple[Modality, ...]:
    """The modalities whose `clip` vectors find the target. A video is found by whatever of its recording is
    indexed, except by the very sense that was given: a sensor finds videos by pose and picture."""
    if target != "video":
        return (target,)
    return tuple(m for m in ("imu", "pose", "video") if m != asked or asked == "video")


@dataclass(frozen=True, eq=False)
class Plan:
    """One way to answer. through: modalities of the windows that are looked at.   opened: their index.
    kept: which of its windows may answer."""

    space: str
    level: Level
    through: tuple[Modality, ...]
    opened: Opened
    kept: Kept


def plans(
    loaded: Loaded, asked: Query, target: Modality, where: Filter | None, through: Modality | None = None
) -> list[Plan]:
    """The best ways to answer for which the archive has windows; several where windows of several spaces are compared.

    In turn: motion that query and target share; vectors that both have; then whatever else the target's recordings
    hold, by motion or by vectors, from where the target is a step along the recording. through: only these windows.
    Raises QueryError where there is no way, saying what there is.
    """
    if target not in loaded.modalities:
        raise QueryError(f"no recording of this archive holds {target}; it has: {', '.join(loaded.modalities)}")
    tiers = _tiers(loaded, asked, target, through)
    tried: list[str] = []
    for tier in tiers:
        found = []
        for space, level, senses in tier:
            if loaded.store.table(vector_table_name(space, level)) is None:
                continue
            opened = loaded.open(space, level)
            if (senses, target) not in opened.kept:
                opened.kept[senses, target] = _reachable(loaded, opened.columns, senses, target)
            kept = opened.kept[senses, target]
            tried += senses
            if kept.rows.count:
                found.append(Plan(space, level, senses, opened, _narrowed(loaded, opened, kept, asked, where)))
        if found:
            return found
    if not any(tiers):
        raise QueryError(
            f"no model of this archive understands a {asked.senses} query for {target}; it has: {_said(loaded)}"
        )
    looked = ", ".join(dict.fromkeys(tried)) or "nothing"
    raise QueryError(
        f"{target} is looked for through vectors of {looked} that {asked.senses} can be compared with, and no "
        f"recording with {target} has such; the archive has recordings of {', '.join(loaded.modalities)}, and the "
        f"spaces {_said(loaded)}"
    )


def _said(loaded: Loaded) -> str:
    """The spaces with the senses that each has an encoder for."""
    said = []
    for space, row in sorted(loaded.spaces.items()):
        parts_only = not any(loaded.has_level(space, sense, "global") for sense in row.encoders)
        why = "; of parts only, none of whole windows" if parts_only else ""
        said.append(f"{space} ({', '.join(sorted(row.encoders))}{why})")
    return ", ".join(said)


Way = tuple[str, Level, tuple[Modality, ...]]


def _tiers(loaded: Loaded, asked: Query, target: Modality, through: Modality | None) -> list[list[Way]]:
    level = _motion_level(loaded, asked)
    spaces = vector_spaces(loaded, asked)
    moving: tuple[Modality, ...] = ("pose", "imu")
    if through is not None:
        motion: list[Way] = [("motion", level, (through,))] if level and through in moving else []
        return [motion, [(space, "global", (through,)) for space in spaces]]
    direct = MOTION_THROUGH.get(target, ())
    # Like is known by like: where nothing leads to the target itself, the sense that was given comes before others.
    own = (asked.modality,) if asked.modality in ("imu", "pose", "video") else ()
    return [
        [("motion", level, direct)] if level and direct else [],
        [(space, "global", clip_through(asked.modality, target)) for space in spaces],
        [("motion", level, moving)] if level else [],
        [(space, "global", own) for space in spaces] if own else [],
        [(space, "global", MODALITIES) for space in spaces],
    ]


def _motion_level(loaded: Loaded, asked: Query) -> Level | None:
    """By what motion is compared: tokens, or whole windows where the model sees one at a time."""
    if asked.modality not in ("imu", "pose") or not loaded.speaks("motion", asked.modality):
        return None
    if loaded.streams(asked.modality):
        return "token"
    return "global" if loaded.has_level("motion", asked.modality, "global") else None


def vector_spaces(loaded: Loaded, asked: Query) -> list[str]:
    """Spaces whose global vectors can be compared with every term; a bare vector is one of `clip`, and a moment of
    the archive is in those that hold vectors of it. `motion` is the first where its model sees windows, not streams.
    """
    if any(term.vector is not None for term in asked.parts):
        held = ["clip"]
    else:
        held = sorted(loaded.spaces, key=lambda space: (space != "motion", space != "clip", space))
        held = held if loaded.windowed else [space for space in held if space != "motion"]
    spaces = [s for s in held if all(loaded.speaks(s, term.modality) for term in asked.parts)]
    likes = [term for term in asked.parts if term.like]
    if not likes:
        return spaces
    held = [s for s in spaces if loaded.store.table(vector_table_name(s, "global")) is not None]
    known = [s for s in held if all(overlap_s(loaded, term, loaded.open(s, "global").columns).any() for term in likes)]
    # Where no space has vectors of the moment, asking for them says what is missing.
    return known or held[:1]


def overlap_s(loaded: Loaded, asked: Query, columns: Columns) -> Float64:
    """(N,) seconds that each window shares with a moment."""
    recording_id = loaded.recording_id(asked.like)
    start_s, end_s = (asked.span.start_s, asked.span.end_s) if asked.span else (-np.inf, np.inf)
    if recording_id not in columns.recordings:
        return np.zeros(len(columns.start_s))
    mine = columns.recording == columns.recordings.index(recording_id)
    shared_s = np.minimum(columns.end_s, end_s) - np.maximum(columns.start_s, start_s)
    return np.where(mine, np.maximum(shared_s, 0.0), 0.0)


def _reachable(loaded: Loaded, columns: Columns, senses: tuple[Modality, ...], target: Modality) -> Kept:
    """The windows of these modalities that lie on a stream of the target."""
    missing = (np.inf, -np.inf)
    sources = loaded.sources
    spans = [sources[r].spans.get(target, missing) if r in sources else missing for r in columns.recordings]
    start_s, end_s = np.array(spans, np.float64).reshape(-1, 2).T
    overlaps = (columns.start_s < end_s[columns.recording]) & (columns.end_s > start_s[columns.recording])
    return Kept(columns, overlaps & columns.of_modality(*senses))


def _narrowed(loaded: Loaded, opened: Opened, kept: Kept, asked: Query, where: Filter | None) -> Kept:
    """Without what a filter excludes, and without the moments that the query is made of."""
    likes = [term for term in asked.parts if term.like]
    if where is None and not likes:
        return kept
    mask = kept.rows.mask if where is None else kept.rows.mask & loaded.allowed(opened.index, where)
    for term in likes:
        mask = mask & (overlap_s(loaded, term, opened.columns) == 0)
    return Kept(opened.columns, mask)
