"""Answers by tokens of motion: what sensors and bodies are compared by, with the offset at which they lie best."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from motionseek.indexer.tokens import StreamKey
from motionseek.search.candidates import Candidates, Columns, timed
from motionseek.search.encode import query_tokens, token_probes
from motionseek.search.loaded import Loaded
from motionseek.search.motion import REACH_S, local_scores, needed
from motionseek.search.plan import Plan
from motionseek.search.query import Query
from motionseek.search.rerank import fit_near
from motionseek.search.results import Clock, Rerank, moment_at
from motionseek.types import PARTS, Modality, Moment

RERANKED = 200
"""Candidates whose tokens are looked at."""
APART_S = 0.5


def by_motion(
    loaded: Loaded, asked: Query, plan: Plan, rerank: Rerank, target: Modality, k: int, clock: Clock
) -> list[Moment]:
    """Moments of one plan, best first: of the windows whose projected tokens are nearest, scored as `rerank` says."""
    opened = plan.opened
    with clock("encode"):
        encoder = loaded.stream_encoder(asked.modality)
        tokens = query_tokens(asked, encoder)
    with clock("candidates"):
        found = timed(
            opened.index, opened.columns, plan.keep, token_probes(tokens, encoder), max(RERANKED, 4 * k), APART_S
        )
    if rerank == "none":
        return [
            moment_at(loaded, opened, int(row), target, i + 1, float(s), {"projected": float(s)})
            for i, (row, s) in enumerate(zip(found.row, found.score, strict=True))
        ]
    best = found.take(_first(found, opened.columns, max(RERANKED, 4 * k), k))
    with clock("tokens"):
        keys, which = _streams_of(opened.columns, best)
        spans = needed(keys, which, best.offset_s, asked.meant)
        held = loaded.store.tokens(plan.space, keys, spans)
    with clock("rerank"):
        streams = [(s.start_s, s.token[: len(PARTS)], s.mask[: len(PARTS)]) for s in (held[key] for key in keys)]
        fitted = fit_near(tokens, streams, which, best.offset_s, REACH_S)
        scores = {"token": fitted.score}
        rank_by = fitted.score
        if rerank == "local":
            rank_by = scores["local"] = local_scores(tokens, encoder, streams, which, fitted.offset_s)
        order = [i for i in np.argsort(-rank_by, kind="stable") if np.isfinite(rank_by[i])]
        return [
            moment_at(
                loaded,
                opened,
                int(best.row[i]),
                target,
                rank + 1,
                float(rank_by[i]),
                {"projected": float(best.score[i])} | {level: float(s[i]) for level, s in scores.items()},
                aligned=(asked.meant, float(fitted.offset_s[i])),
            )
            for rank, i in enumerate(order)
        ]


def _streams_of(columns: Columns, found: Candidates) -> tuple[list[StreamKey], npt.NDArray[np.int64]]:
    """The token streams of candidates, and which of them each candidate lies on."""
    keys: dict[StreamKey, int] = {}
    which = [
        keys.setdefault(
            StreamKey(
                columns.recordings[columns.recording[row]],
                columns.modality[row].item(),
                columns.person[row].item(),
            ),
            len(keys),
        )
        for row in found.row
    ]
    return list(keys), np.array(which, np.int64)


def _first(found: Candidates, columns: Columns, count: int, recordings: int) -> npt.NDArray[np.int64]:
    """The first `count` candidates, and the best one of each of the first `recordings` recordings."""
    _, best = np.unique(columns.recording[found.row], return_index=True)
    return np.unique(np.concatenate([np.arange(min(len(found), count)), np.sort(best)[:recordings]]))
