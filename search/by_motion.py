"""Answers by tokens of motion: what sensors and bodies are compared by, with the offset at which they lie best."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numpy as np
import numpy.typing as npt

from motionseek.indexer.tokens import StreamKey
from motionseek.search.calibrate import against_chance
from motionseek.search.candidates import Candidates, Columns, by_tokens, timed
from motionseek.search.encode import query_tokens, token_probes
from motionseek.search.loaded import Loaded
from motionseek.search.moments import Found
from motionseek.search.motion import REACH_S, local_scores, needed
from motionseek.search.plan import Plan
from motionseek.search.query import Query
from motionseek.search.refine import pairs, trimmed
from motionseek.search.rerank import fit_near
from motionseek.search.results import Clock, Rerank
from motionseek.types import PARTS, Float32, Modality

RERANKED = 300
"""Candidates whose tokens are looked at, where the index was not tuned to another number."""
APART_S = 0.5
MIN_SHARE = 0.8
"""A lag counts where at least this share of the tokens meet that could: a query may lie over a recording's end by the
rest. With half of them, chance meetings of few tokens win."""


def by_motion(loaded: Loaded, asked: Query, plan: Plan, rerank: Rerank, wanted: int, clock: Clock) -> Found:
    """What one plan finds: of the windows whose projected tokens are nearest, scored as `rerank` says; the best of
    `wanted` recordings among them."""
    opened = plan.opened
    count = max(int(opened.index.parameters.get("tuned", {}).get("candidates", RERANKED)), 4 * wanted)
    with clock("encode"):
        encoder = loaded.stream_encoder(asked.modality)
        tokens = query_tokens(asked, encoder)
    with clock("candidates"):
        probes = token_probes(tokens, encoder, loaded.spaces[plan.space].stride_s, plan.kept.shortest_s)
        look = timed if rerank == "none" else by_tokens
        best = look(opened.index, plan.kept, probes, count, APART_S, wanted)
    if rerank == "none" or not len(best):
        start_s, end_s = opened.columns.start_s[best.row], opened.columns.end_s[best.row]

        def window(i: int) -> tuple[float, float]:
            return float(start_s[i]), float(end_s[i])

        levels = {"projected": best.score}
        sure = by_chance(opened.columns, best, best.score)
        return Found(plan, asked, best.row, best.score, best.score, levels, None, window, sure)
    with clock("tokens"):
        keys, which = streams_of(opened.columns, best)
        spans = needed(keys, which, best.offset_s, asked.meant)
        # Vectors of one part are made from all of them; else only what the query has is compared.
        worn = tokens.worn if rerank == "token" else list(range(len(PARTS)))
        held = loaded.store.tokens(plan.space, keys, spans, parts=[PARTS[part] for part in worn])
        tokens = tokens.only(worn)
    with clock("rerank"):
        streams = [(s.start_s, s.token, s.mask) for s in (held[key] for key in keys)]
        fitted = fit_near(tokens, streams, which, best.offset_s, REACH_S, min_share=MIN_SHARE)
        levels = {"projected": best.score, "token": fitted.score}
        score = fitted.score
        if rerank == "local":
            their = [loaded.stream_encoder(key.modality) for key in keys]
            score = levels["local"] = local_scores(tokens, encoder, streams, their, which, fitted.offset_s)
        order = np.argsort(-score, kind="stable")
        order = order[np.isfinite(score[order]) & np.isfinite(fitted.score[order])]
        best, score, which = best.take(order), score[order], which[order]
        offset_s = fitted.offset_s[order]
        levels = {level: of[order] for level, of in levels.items()}

    def span(i: int) -> tuple[float, float]:
        meant = trimmed(*pairs(tokens, streams[which[i]], float(offset_s[i])), tokens.token_s) or asked.meant
        start_s, end_s = max(meant[0], asked.meant[0]), min(meant[1], asked.meant[1])
        return start_s + float(offset_s[i]), end_s + float(offset_s[i])

    return Found(plan, asked, best.row, score, score, levels, offset_s, span, by_chance(opened.columns, best, score))


def by_chance(columns: Columns, found: Candidates, score: Float32) -> Callable[[int], float]:
    """i → how sure the i-th of what was found is, beside what was found in other recordings."""
    recording = columns.recording[found.row]

    def confidence(i: int) -> float:
        return against_chance(float(score[i]), score[recording != recording[i]])

    return confidence


def streams_of(columns: Columns, found: Candidates) -> tuple[list[StreamKey], npt.NDArray[np.int64]]:
    """The token streams of candidates, and which of them each candidate lies on."""
    codes = np.stack([c[found.row] for c in (columns.recording, columns.modality_code, columns.person_code)], axis=1)
    streams, which = np.unique(codes, axis=0, return_inverse=True)
    keys = [
        StreamKey(columns.recordings[r], cast(Modality, columns.modalities[m]), columns.people[p])
        for r, m, p in streams.tolist()
    ]
    return keys, which.reshape(-1)
