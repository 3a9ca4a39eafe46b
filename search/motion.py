"""The best candidates of a motion query, looked at token by token or part by part."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from motionseek.encoders.base import StreamEncoder
from motionseek.errors import QueryError
from motionseek.indexer.tokens import StreamKey, TokenStream
from motionseek.search.rerank import QueryTokens, lag_axis_s, lag_scores
from motionseek.types import PARTS, Bool, Float32, Float64, Span

REACH_S = 0.6
"""How far from a candidate's offset the exact score looks: candidates stand half a second apart."""


def needed(
    keys: Sequence[StreamKey], which: npt.NDArray[np.int64], offset_s: Float64, meant: tuple[float, float]
) -> dict[StreamKey, Span]:
    """The stretch of each stream that the candidates on it may touch, and as much again at its ends: what could meet
    is counted there."""
    spread_s = REACH_S + 1.0 + meant[1] - meant[0]
    first_s, last_s = np.full(len(keys), np.inf), np.full(len(keys), -np.inf)
    np.minimum.at(first_s, which, offset_s)
    np.maximum.at(last_s, which, offset_s)
    spans = zip(keys, (first_s + meant[0] - spread_s).tolist(), (last_s + meant[1] + spread_s).tolist(), strict=True)
    return {key: Span(start_s, end_s) for key, start_s, end_s in spans}


def local_scores(
    tokens: QueryTokens,
    encoder: StreamEncoder,
    streams: Sequence[tuple[float, Float32, Bool]],
    their: Sequence[StreamEncoder],
    which: npt.NDArray[np.int64],
    offset_s: Float64,
) -> Float32:
    """Mean over the parts that both have of the cosine of one vector a part, each pooled over the stretch at hand.

    encoder: of the query.   their: of each stream; sensors and bodies are pooled each by their own encoder.
    """
    asked = _local(encoder, tokens.token[:1], tokens.mask[:1])
    _, parts, steps, width = tokens.token.shape
    token = np.zeros((len(which), parts, steps, width), np.float32)
    mask = np.zeros((len(which), parts, steps), np.bool_)
    for i, (start_s, held, there) in enumerate(streams):
        mine = np.flatnonzero(which == i)
        first = np.rint((tokens.start_s + offset_s[mine] - start_s) / tokens.token_s).astype(np.int64)
        at = first[:, None] + np.arange(steps)
        inside = (at >= 0) & (at < held.shape[1])
        at = np.clip(at, 0, held.shape[1] - 1)
        mask[mine] = (there[:, at] & inside).transpose(1, 0, 2)
        token[mine] = held[:, at].transpose(1, 0, 2, 3) * mask[mine][..., None]
    found = np.zeros((len(which), *asked.shape[1:]), np.float32)
    for other in {id(one): one for one in their}.values():
        mine = np.flatnonzero(np.array([one is other for one in their])[which])
        found[mine] = _local(other, token[mine], mask[mine])
    shared: Bool = np.logical_and(mask.any(axis=2), np.any(tokens.mask[:1], axis=2))
    cosine = (asked * found).sum(axis=2)
    score = np.where(shared, cosine, 0).sum(axis=1) / np.maximum(shared.sum(axis=1), 1)
    return np.where(shared.any(axis=1), score, -np.inf).astype(np.float32)


def _local(encoder: StreamEncoder, token: Float32, mask: Bool) -> Float32:
    local = encoder.pool(token, mask).local
    if local is None:
        raise QueryError("the motion model of this archive has no vectors of single parts: use rerank='token'")
    return local


def along(tokens: QueryTokens, stream: TokenStream, middle_s: float) -> tuple[Float64, Float32]:
    """Times (N,) of the query's middle, middle_s after its first token, on the stream, and the scores there (N,)."""
    first, last = -(tokens.token.shape[2] // 2), stream.token.shape[1] - 1
    parts = len(PARTS)
    scores = lag_scores(tokens, stream.token[None, :parts], stream.mask[None, :parts], first, last)[0]
    times = stream.start_s + lag_axis_s(tokens, first, last) + middle_s
    there = np.isfinite(scores)
    return times[there], scores[there]
