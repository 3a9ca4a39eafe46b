"""Answers by one vector a window: what a sentence, a picture or a sum of queries is compared by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from motionseek.errors import ModelError, QueryError
from motionseek.search.candidates import Candidates, timeless
from motionseek.search.encode import Probes, video_probes, window_probes
from motionseek.search.loaded import Loaded
from motionseek.search.plan import Plan, overlap_s
from motionseek.search.query import Query
from motionseek.search.results import Clock, moment_at
from motionseek.types import Modality, Moment

RERANKED = 200
"""Candidates of each probe, at least."""


def by_vector(loaded: Loaded, asked: Query, plan: Plan, target: Modality, k: int, clock: Clock) -> list[Moment]:
    """Moments of one plan, best first."""
    opened = plan.opened
    with clock("encode"):
        asked_probes = probes(loaded, asked, plan.space)
    with clock("candidates"):
        spread, count = opened.spreads, max(RERANKED, 4 * k)
        found = [
            timeless(opened.index, opened.columns, plan.keep, vector, plan.through, spread, count, k)
            for vector in asked_probes.vector
        ]
        best = _merged(found)
    return [
        moment_at(loaded, opened, int(row), target, i + 1, float(rank), {"global": float(score)})
        for i, (row, rank, score) in enumerate(zip(best.row, best.rank_score, best.score, strict=True))
    ]


def probes(loaded: Loaded, asked: Query, space: str) -> Probes:
    """The vectors to look up in a space. Raises QueryError where nothing is left of the query."""
    if asked.terms:
        parts = [(weight, probes(loaded, term, space).vector.mean(axis=0)) for weight, term in asked.terms]
        total = sum(weight * vector / np.linalg.norm(vector) for weight, vector in parts)
        size = float(np.linalg.norm(total))
        if size < 1e-6:
            raise QueryError(f"the terms of {asked.said} cancel each other out: nothing is left to search for")
        return Probes((total / size)[None].astype(np.float32), np.full(1, np.nan))
    if asked.like:
        return _stored_probe(loaded, asked, space)
    if asked.vector is not None:
        width = loaded.open(space, "global").index.vectors(np.zeros(1, np.int64)).shape[1]
        if len(asked.vector) != width:
            raise QueryError(f"vectors of the space {space} have {width} numbers, not {len(asked.vector)}")
        unit = asked.vector / np.linalg.norm(asked.vector)
        return Probes(unit[None].astype(np.float32), np.full(1, np.nan))
    if asked.modality == "text":
        found = loaded.encoder(space, "text").encode([asked.text])
        if found.global_ is None:
            raise ModelError(f"the encoder of text in the space {space} gives no global vectors")
        return Probes(found.global_, np.full(1, np.nan))
    if asked.modality == "video":
        return video_probes(asked, loaded.encoder(space, "video"))
    return window_probes(asked, loaded.encoder(space, "imu" if asked.modality == "imu" else "pose"))


def _stored_probe(loaded: Loaded, asked: Query, space: str) -> Probes:
    """The mean of the vectors that lie on a moment, each weighing as much as it shares with it."""
    opened = loaded.open(space, "global")
    shared_s = overlap_s(loaded, asked, opened.columns)
    rows = np.flatnonzero(shared_s)
    if not len(rows):
        raise QueryError(f"{asked.said} has no vector in the space {space!r}: the span lies outside the recording")
    mean = (opened.index.vectors(rows) * shared_s[rows, None]).sum(axis=0)
    return Probes((mean / np.linalg.norm(mean))[None].astype(np.float32), np.full(1, np.nan))


def _merged(found: Sequence[Candidates]) -> Candidates:
    """Candidates of several probes as one list; a window keeps its best score."""
    row = np.concatenate([f.row for f in found])
    rank = np.concatenate([f.rank_score for f in found])
    order = np.argsort(-rank, kind="stable")
    _, first = np.unique(row[order], return_index=True)
    at = order[np.sort(first)]
    score, offset_s = np.concatenate([f.score for f in found]), np.concatenate([f.offset_s for f in found])
    return Candidates(row[at], score[at], rank[at], offset_s[at])
