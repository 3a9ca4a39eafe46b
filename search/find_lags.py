"""A sensor's motion tokens over one stream of tokens, at every lag; and each half of its time by itself."""

from __future__ import annotations

import numpy as np
import scipy

from motionseek.indexer.tokens import TokenStream
from motionseek.search.rerank import QueryTokens
from motionseek.types import PARTS, Bool, Float64

MIN_SHARE = 0.5
"""Least share of the shorter side's tokens that must meet at a lag."""
CHANCE_S = 3.0
"""Length of overlap at which half of a score is taken for chance."""
ELSEWHERE_S = 0.35
NEAR_S = 0.06
"""Of an offset: a half may have its best score so near."""


def lag_curve(
    tokens: QueryTokens, stream: TokenStream, max_offset_s: float | None = None
) -> tuple[Float64, Float64, Bool]:
    """Offsets (M,), scores (M,) and where enough meets (M,), every hop_s: mean cosine of the tokens that meet, by FFT,
    a masked one left out, drawn to 0 where they are few. max_offset_s: further ones are not allowed."""
    phases, _, held, _ = tokens.token.shape
    steps = stream.token.shape[1]
    fft = scipy.fft
    size = fft.next_fast_len(held + steps - 1, real=True)
    total = np.zeros((phases, size // 2 + 1), np.complex128)
    pairs, shared = np.zeros((phases, held + steps - 1)), np.zeros((phases, held + steps - 1))
    possible = 0
    for p in range(len(PARTS)):
        mine, theirs = tokens.mask[:, p], stream.mask[p]
        if not (mine.any() and theirs.any()):
            continue
        possible = max(possible, min(int(mine.sum(axis=1).max()), int(theirs.sum())))
        # Along contiguous rows, and in single precision, which a mean of cosines does not feel.
        right = fft.rfft(np.ascontiguousarray((stream.token[p] * theirs[:, None]).T, np.float32), size)
        worn = (tokens.token[:, p] * mine[..., None]).swapaxes(1, 2)
        left = fft.rfft(np.ascontiguousarray(worn, np.float32), size)
        total += np.einsum("fdk,dk->fk", left.conj(), right)
        there = fft.rfft(mine.astype(np.float64), size, axis=1).conj() * fft.rfft(theirs.astype(np.float64), size)
        count = np.rint(_lags(fft.irfft(there, size, axis=1), held, steps))
        pairs += count
        shared = np.maximum(shared, count)
    score = _lags(fft.irfft(total, size, axis=1), held, steps) / np.maximum(pairs, 1)
    shared_s = shared * tokens.token_s
    score = score * shared_s / (shared_s + CHANCE_S)
    allowed = shared >= max(MIN_SHARE * possible, 1)
    # (phases, lags) → lags * phases; a later phase means a smaller offset.
    first = -(held - 1) * phases - (phases - 1)
    offset_s = stream.start_s - tokens.start_s + (first + np.arange(score.size)) * tokens.hop_s
    allowed = allowed[::-1].T.reshape(-1)
    if max_offset_s is not None:
        allowed = allowed & (np.abs(offset_s) <= max_offset_s + 1e-9)
    return offset_s, score[::-1].T.reshape(-1), allowed


def _lags(circular: Float64, held: int, steps: int) -> Float64:
    """Lags -(held - 1) … steps - 1 of circular correlations (F, size)."""
    return np.concatenate([circular[:, circular.shape[1] - (held - 1) :], circular[:, :steps]], axis=1)


def halves(
    tokens: QueryTokens, stream: TokenStream, offset_s: float, max_offset_s: float | None
) -> tuple[float, float]:
    """How much better the worse half of what meets at an offset fits there than elsewhere on the stream, and how many
    seconds meet. A half that has nothing to compare says nothing, 0."""
    middle_s = tokens.start_s + offset_s + (np.arange(tokens.mask.shape[2]) + 0.5) * tokens.token_s
    end_s = stream.start_s + stream.mask.shape[1] * stream.token_s
    meets = np.flatnonzero((middle_s >= stream.start_s) & (middle_s <= end_s))
    margins = []
    for half in np.array_split(meets, 2):
        mask = np.zeros_like(tokens.mask)
        mask[:, :, half] = tokens.mask[:, :, half]
        own = QueryTokens(tokens.start_s, tokens.token_s, tokens.token, mask)
        at_s, score, allowed = lag_curve(own, stream, max_offset_s)
        apart_s = np.abs(at_s - offset_s)
        near, far = allowed & (apart_s <= NEAR_S), allowed & (apart_s > ELSEWHERE_S)
        if near.any() and far.any():
            margins.append(float(score[near].max() - score[far].max()))
    return min(margins, default=0.0), len(meets) * tokens.token_s
