"""The exact token score: how well a query's tokens lie on a stream's tokens, at every lag.

For a lag, every query token meets the stream token that it then falls on. The score is the mean of the cosines over
the pairs of tokens (of all parts) that both sides have: a masked token is left out, never counted as 0, and a lag
where too few pairs are left scores -inf.

A query's clock is never on the stream's token grid. So the query is tokenised at F phases, `hop_s = token_s / F`
apart; the scores of all phases interleave into one fine lag axis: with lag l in tokens and phase f, the offset (what
to add to the query's time) is

    offset = (l * F - f) * hop_s + stream start - query start.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from motionseek.errors import UsageError
from motionseek.types import Bool, Float32, Float64

MIN_SHARE = 0.5
"""A lag counts only where at least this share of the pairs that the two masks allow at best is there."""


@dataclass(frozen=True, eq=False)
class QueryTokens:
    """A query's tokens at F phases against the grid.

    start_s: time of the first token's start at phase 0.    token_s: seconds a token covers.
    token: (F, P, T, D) float32, unit-normalised; phase f begins f * token_s / F later.   mask: (F, P, T) bool.
    """

    start_s: float
    token_s: float
    token: Float32
    mask: Bool

    def __post_init__(self) -> None:
        if self.token.ndim != 4 or self.mask.shape != self.token.shape[:3]:
            raise UsageError(f"query tokens must be (F, P, T, D) with mask (F, P, T), not {self.token.shape}")

    @property
    def worn(self) -> list[int]:
        """The parts that it has, by their place."""
        there: list[int] = np.flatnonzero(self.mask.any(axis=(0, 2))).tolist()
        return there

    def only(self, parts: list[int]) -> QueryTokens:
        """The same of these parts alone."""
        return QueryTokens(self.start_s, self.token_s, self.token[:, parts], self.mask[:, parts])

    @property
    def phases(self) -> int:
        return len(self.token)

    @property
    def hop_s(self) -> float:
        return self.token_s / self.phases

    @property
    def duration_s(self) -> float:
        return float(self.token.shape[2] * self.token_s)

    def __repr__(self) -> str:
        return f"QueryTokens({self.token.shape}, from {self.start_s:.2f} s)"


@dataclass(frozen=True, eq=False)
class Fit:
    """Where a query lies best on each of B streams. score: (B,), -inf where nothing meets.   offset_s: (B,)."""

    score: Float32
    offset_s: Float64


def interleaved(start_s: float, token_s: float, token: Float32, mask: Bool, phases: int) -> QueryTokens:
    """Tokens at a fine hop, (P, T * F, D) and mask (P, T * F), as F phases of T tokens; a remainder is masked."""
    parts, fine, width = token.shape
    tokens = -(-fine // phases)
    padded = np.zeros((parts, tokens * phases, width), np.float32)
    there = np.zeros((parts, tokens * phases), np.bool_)
    padded[:, :fine], there[:, :fine] = token, mask
    return QueryTokens(
        start_s,
        token_s,
        np.ascontiguousarray(padded.reshape(parts, tokens, phases, width).transpose(2, 0, 1, 3)),
        np.ascontiguousarray(there.reshape(parts, tokens, phases).transpose(2, 0, 1)),
    )


def _joined(token: Float32, mask: Bool) -> Float32:
    """(..., P, T, D) → (..., T, P * D) with masked tokens zero: one product then sums the cosines of all parts."""
    kept = token if mask.all() else np.where(mask[..., None], token, np.float32(0))
    moved = np.moveaxis(kept, -3, -2)
    return np.ascontiguousarray(moved).reshape(*moved.shape[:-2], -1)


def _summed(asked: Float32, stored: Float32, first: int, last: int) -> Float32:
    """asked (F, T, K), stored (B, T', K) → (B, F, last - first + 1): the sum over t of asked[t] · stored[t + lag]."""
    phases, steps, width = asked.shape
    count, length, _ = stored.shape
    lags = last - first + 1
    if lags > steps:
        pairs = asked.reshape(phases * steps, width) @ stored.swapaxes(1, 2)
        return _diagonals(pairs.reshape(count, phases, steps, length), first, last)
    # For few lags one product with the query laid out at each of them is less than the products of all pairs.
    laid = np.zeros((phases, lags, length, width), np.float32)
    for lag in range(first, last + 1):
        begin, end = max(0, lag), min(length, lag + steps)
        if begin < end:
            laid[:, lag - first, begin:end] = asked[:, begin - lag : end - lag]
    total = stored.reshape(count, length * width) @ laid.reshape(phases * lags, length * width).T
    return np.asarray(total.reshape(count, phases, lags))


def _diagonals(pairs: Float32, first: int, last: int) -> Float32:
    """pairs (..., I, J) → (..., last - first + 1): the sum of pairs[i, i + lag] over i, for every lag."""
    rows, columns = pairs.shape[-2:]
    before = max(0, -first)
    after = max(0, rows - 1 + last - (columns - 1))
    padded = pairs
    if before or after:
        padded = np.pad(pairs, [(0, 0)] * (pairs.ndim - 2) + [(0, 0), (before, after)])
    padded = padded[..., before + first :] if first > 0 else padded
    *outer, row, column = padded.strides
    view = np.lib.stride_tricks.as_strided(
        padded, (*padded.shape[:-2], rows, last - first + 1), (*outer, row + column, column), writeable=False
    )
    total: Float32 = view.sum(axis=-2)
    return total


def lag_scores(
    query: QueryTokens,
    token: Float32,
    mask: Bool,
    first: int,
    last: int,
    *,
    min_share: float = MIN_SHARE,
    held: npt.NDArray[np.int64] | None = None,
) -> Float32:
    """Score of every fine lag against B streams.

    token: (B, P, T, D) float32, unit-normalised; mask: (B, P, T). first, last: lags in tokens, last included.
    held: (B, P), how many tokens of each part a stream has, where only a stretch of it is given.
    Returns (B, M) float32, M = (last - first + 1) * F; entry m is the lag (first * F - (F - 1) + m) * hop_s.
    """
    if last < first:
        raise UsageError(f"the lags {first} to {last} are empty")
    if token.ndim != 4 or token.shape[1] != query.token.shape[1] or token.shape[3] != query.token.shape[3]:
        raise UsageError(f"tokens of shape {token.shape} cannot be compared with a query of {query.token.shape}")
    # What the query does not have cannot meet anything: one wrist needs a sixth of the products.
    if len(used := query.worn) < query.token.shape[1]:
        query, token, mask = query.only(used), token[:, used], mask[:, used]
        held = None if held is None else held[:, used]
    most = mask.sum(axis=2) if held is None else held
    _, parts, steps, _ = query.token.shape
    total = _summed(_joined(query.token, query.mask), _joined(token, mask), first, last)
    count = np.full(total.shape, steps * parts, np.float32)
    # Where all tokens are there, and at every lag, nothing has to be counted.
    inside = first >= 0 and last + steps <= token.shape[2] and bool(query.mask.all())
    holed = ~mask.all(axis=(1, 2)) if inside else np.ones(len(token), np.bool_)
    if holed.any():
        asked, stored = (x.swapaxes(1, 2).astype(np.float32) for x in (query.mask, mask[holed]))
        count[holed] = _summed(asked, stored, first, last)
    # What could meet at all: a wrist sensor against a whole body, a long query against a short clip.
    possible = np.minimum(most[:, None], query.mask.sum(axis=2)[None]).sum(axis=2)
    enough = count > np.maximum(min_share * possible[..., None], 0.5) - 1e-3
    score = np.where(enough, total / np.maximum(count, 1), np.float32(-np.inf))
    # (B, F, lags) → (B, lags, F) with the phases reversed, because a later phase means a smaller offset.
    fine: Float32 = score[:, ::-1].swapaxes(1, 2).reshape(len(token), -1)
    return fine


def lag_axis_s(query: QueryTokens, first: int, last: int) -> Float64:
    """The M lags of `lag_scores` in seconds, for a stream that starts when the query starts."""
    steps = np.arange(first * query.phases - (query.phases - 1), last * query.phases + 1, dtype=np.float64)
    lag_s: Float64 = np.multiply(steps, query.hop_s)
    return lag_s


def peak(scores: Float32) -> tuple[Float32, Float64]:
    """(B, M) → the best score (B,) and its position (B,), refined between lags by a parabola through three scores."""
    rows = np.arange(len(scores))
    best = scores.argmax(axis=1)
    top = scores[rows, best].astype(np.float64)
    left = scores[rows, np.maximum(best - 1, 0)].astype(np.float64)
    right = scores[rows, np.minimum(best + 1, scores.shape[1] - 1)].astype(np.float64)
    inside = (best > 0) & (best < scores.shape[1] - 1) & np.isfinite(left) & np.isfinite(right)
    left, centre, right = (np.where(inside, x, 0.0) for x in (left, top, right))
    bend = left - 2 * centre + right
    shift = np.where(bend < 0, 0.5 * (left - right) / np.where(bend < 0, bend, -1.0), 0.0)
    return top.astype(np.float32), best + np.clip(shift, -0.5, 0.5)


def fit(
    query: QueryTokens,
    start_s: Float64,
    token: Float32,
    mask: Bool,
    first: int,
    last: int,
    *,
    min_share: float = MIN_SHARE,
    held: npt.NDArray[np.int64] | None = None,
) -> Fit:
    """The best lag of the query on each of B streams that start at start_s (B,); see `lag_scores`."""
    scores = lag_scores(query, token, mask, first, last, min_share=min_share, held=held)
    score, position = peak(scores)
    lag_s = (first * query.phases - (query.phases - 1) + position) * query.hop_s
    return Fit(score, start_s - query.start_s + lag_s)


def fit_near(
    query: QueryTokens,
    streams: Sequence[tuple[float, Float32, Bool]],
    stream: npt.NDArray[np.int64],
    offset_s: Float64,
    reach_s: float,
    *,
    min_share: float = MIN_SHARE,
) -> Fit:
    """Refine N guesses: the best fit within `reach_s` of each guessed offset.

    streams: (start_s, token (P, T, D), mask (P, T)) of each stream.   stream: (N,) which one a guess is on.
    offset_s: (N,) guessed offsets.
    """
    used = query.worn
    query = query.only(used)
    reach = max(1, int(np.ceil(reach_s / query.token_s - 1e-9)))
    steps = query.token.shape[2] + 2 * reach
    start = np.array([s[0] for s in streams], np.float64)[stream] if len(streams) else np.zeros(0)
    # The stream token that the query's first one falls on, by the guess; the slice reaches `reach` further both ways.
    first = np.rint((offset_s + query.start_s - start) / query.token_s).astype(np.int64) - reach
    parts, width = query.token.shape[1], query.token.shape[3]
    token = np.zeros((len(stream), parts, steps, width), np.float32)
    mask = np.zeros((len(stream), parts, steps), np.bool_)
    # A slice of one part costs a third of picking it.
    slots = slice(used[0], used[0] + 1) if len(used) == 1 else used
    for i, (of, at) in enumerate(zip(stream.tolist(), first.tolist(), strict=True)):
        _, tokens, there = streams[of]
        begin, end = max(at, 0), min(at + steps, tokens.shape[1])
        if begin < end:
            token[i, :, begin - at : end - at] = tokens[slots, begin:end]
            mask[i, :, begin - at : end - at] = there[slots, begin:end]
    # Beyond the stretch a stream goes on: what could meet is counted over all of it.
    held = np.array([there[slots].sum(axis=1) for _, _, there in streams], np.int64).reshape(-1, parts)[stream]
    return fit(query, start + first * query.token_s, token, mask, 0, 2 * reach, min_share=min_share, held=held)
