"""Answers by one vector a window: what a sentence, a picture or a sum of queries is compared by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from motionseek.errors import ModelError, QueryError
from motionseek.search.calibrate import against_rivals
from motionseek.search.candidates import Candidates, timeless
from motionseek.search.encode import Probes, video_probes, window_probes
from motionseek.search.loaded import Loaded
from motionseek.search.moments import Found
from motionseek.search.plan import Plan, overlap_s
from motionseek.search.query import Query
from motionseek.search.refine import grown
from motionseek.search.results import Clock

RERANKED = 200
"""Candidates of each probe, at least."""


def by_vector(loaded: Loaded, asked: Query, plan: Plan, wanted: int, clock: Clock) -> Found:
    """What one plan finds, windows of at least `wanted` recordings where there are as many."""
    opened = plan.opened
    with clock("encode"):
        probe = probes(loaded, asked, plan.space).vector
    with clock("candidates"):
        spread, count = opened.spreads, max(RERANKED, 4 * wanted)
        best = _merged(
            [timeless(opened.index, plan.kept, vector, plan.through, spread, count, wanted) for vector in probe]
        )

    def span(i: int) -> tuple[float, float]:
        modality = opened.columns.modality[best.row[i]].item()
        return grown(opened, int(best.row[i]), probe, float((probe @ spread[modality].mean).max()))

    def confidence(i: int) -> float:
        window = opened.index.vectors(best.row[i : i + 1])
        nearest = probe[int((probe @ window[0]).argmax())]
        modality = opened.columns.modality[best.row[i]].item()
        rivals = loaded.rivals(plan.space, in_words=asked.senses == "text")
        return float(against_rivals(rivals, modality, nearest, window)[0])

    levels = {"global": best.score, "standard": best.rank_score}
    return Found(plan, asked, best.row, best.rank_score, best.score, levels, None, span, confidence)


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
