"""The first look: windows that may answer, from FAISS."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from motionseek.indexer.ann import weights
from motionseek.indexer.nearest import AnnIndex, Rows
from motionseek.search.encode import Probes
from motionseek.types import Bool, Float32, Float64, Modality

Int64 = npt.NDArray[np.int64]
Int32 = npt.NDArray[np.int32]
FEW = 20
SAMPLE = 4096
SHORT = 1.05
"""By how much longer than a short window the others are, at least."""
LEAST_SHARE = 0.75
"""A guess counts where at least this share of the tokens meet that could; the exact score, which asks for a little
more, moves it."""

CLOSE, MORE = 0.03, 2000
"""What scores within CLOSE of the first is looked at too, up to so many: as when somebody stands still, hundreds of
places are about as good, and what the projection loses decides between them. Chosen with 1800 queries that
benchmarks/candidates.py does not ask."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """N windows that may answer, best first.

    row: (N,) rows of the index.   score: (N,) as FAISS gives it.   rank_score: (N,) comparable across modalities.
    offset_s: (N,) what to add to the query's time to lie on the window, NaN where the query has no time.
    """

    row: Int64
    score: Float32
    rank_score: Float32
    offset_s: Float64

    def __len__(self) -> int:
        return len(self.row)

    def take(self, at: Int64) -> Candidates:
        return Candidates(self.row[at], self.score[at], self.rank_score[at], self.offset_s[at])


NOTHING = Candidates(np.zeros(0, np.int64), *(np.zeros(0, np.float32),) * 2, np.zeros(0))


@dataclass(frozen=True, eq=False)
class Columns:
    """The windows of an index as arrays of N: recordings, modalities and persons as codes into their names."""

    recording: Int32
    recordings: tuple[str, ...]
    modality_code: Int32
    modalities: tuple[str, ...]
    person_code: Int32
    people: tuple[str, ...]
    start_s: Float64
    end_s: Float64

    @classmethod
    def of(cls, windows: pa.Table) -> Columns:
        start_s, end_s = (windows[name].combine_chunks().to_numpy() for name in ("start_s", "end_s"))
        recording, modality, person = (_coded(windows[name]) for name in ("recording_id", "modality", "person"))
        return cls(*recording, *modality, *person, start_s, end_s)

    @cached_property
    def weight(self) -> Float32:
        """(N,) by what an index of projected tokens weighs a window's vector."""
        return weights(self.start_s, self.end_s)

    @cached_property
    def modality(self) -> npt.NDArray[np.str_]:
        return np.array(self.modalities, np.str_)[self.modality_code]

    @cached_property
    def person(self) -> npt.NDArray[np.str_]:
        return np.array(self.people, np.str_)[self.person_code]

    def of_modality(self, *names: str) -> Bool:
        """(N,) the windows of these modalities."""
        wanted = np.array([name in names for name in self.modalities], np.bool_)
        return wanted[self.modality_code] if len(wanted) else np.zeros(len(self.start_s), np.bool_)


def _coded(column: pa.ChunkedArray) -> tuple[Int32, tuple[str, ...]]:
    array = column.combine_chunks()
    coded = array if isinstance(array, pa.DictionaryArray) else array.dictionary_encode()
    return coded.indices.to_numpy(), tuple(coded.dictionary.to_pylist())


class Kept:
    """The windows of an index that may answer a query, with what a search makes of them: made once, kept with the
    archive, because masks of a million windows cost more than the search."""

    def __init__(self, columns: Columns, mask: Bool) -> None:
        self.columns = columns
        self.rows = Rows(mask)
        self._of: dict[str, tuple[Rows, int]] = {}

    @cached_property
    def shortest_s(self) -> float:
        """The length of the shortest of them; infinite where there is none."""
        length_s = self.columns.end_s - self.columns.start_s
        return float(length_s.min(where=self.rows.mask, initial=np.inf))

    @cached_property
    def short(self) -> Rows:
        """Those that are shorter than a whole window: their recordings are."""
        return Rows(self.rows.mask & (self.columns.weight > SHORT))

    def of(self, modality: str) -> tuple[Rows, int]:
        """Those of one modality, and of how many recordings they are."""
        if modality not in self._of:
            mask = self.rows.mask & self.columns.of_modality(modality)
            there = np.bincount(self.columns.recording[mask], minlength=1)
            self._of[modality] = Rows(mask), int(np.count_nonzero(there))
        return self._of[modality]


@dataclass(frozen=True, eq=False)
class Spread:
    """What vectors of one modality look like: mean (D,) and covariance (D, D) of `count` windows."""

    mean: Float64
    covariance: Float64
    count: int

    def standardised(self, query: Float32, score: Float32) -> Float32:
        """Inner products with `query` as standard deviations above their mean over the modality's windows.

        Text lies at another distance from sensors than from pictures, so cosines of two modalities say nothing beside
        each other, but how far a window stands out among its like does. The mean and covariance give both numbers for
        any query without scoring the windows. A few windows are no population: their deviation is drawn to 0.1.
        """
        mean = float(self.mean @ query)
        variance = float(query @ self.covariance @ query)
        deviation = np.sqrt((max(variance, 0.0) * self.count + 0.01 * FEW) / (self.count + FEW))
        standard: Float32 = ((score - mean) / deviation).astype(np.float32)
        return standard


def spreads(index: AnnIndex, columns: Columns) -> dict[str, Spread]:
    """Per modality, from at most SAMPLE windows spread evenly over the index."""
    found = {}
    for code, modality in enumerate(columns.modalities):
        rows = np.flatnonzero(columns.modality_code == code)
        rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), SAMPLE)).astype(np.int64))]
        vectors = index.vectors(rows).astype(np.float64)
        mean = vectors.mean(axis=0)
        centred = vectors - mean
        found[modality] = Spread(mean, centred.T @ centred / max(1, len(rows) - 1), len(rows))
    return found


def timeless(
    index: AnnIndex,
    kept: Kept,
    probe: Float32,
    through: tuple[Modality, ...],
    spread: Mapping[str, Spread],
    k: int,
    recordings: int,
) -> Candidates:
    """The windows nearest to one vector, of each modality at least k and of at least `recordings` recordings where
    there are as many, best standardised score first."""
    rows, scores, ranks = [], [], []
    for modality in through:
        mine, held = kept.of(modality)
        if not mine.count:
            continue
        wanted = min(recordings, held)
        count = min(k, mine.count)
        while True:
            score, row = index.search(probe[None], count, mine)
            found = row[0] >= 0
            if count == mine.count or len(set(kept.columns.recording[row[0][found]].tolist())) >= wanted:
                break
            count = min(mine.count, 4 * count)
        rows.append(row[0][found])
        scores.append(score[0][found])
        ranks.append(spread[modality].standardised(probe, score[0][found]))
    if not rows:
        return NOTHING
    row_, score_, rank = np.concatenate(rows), np.concatenate(scores), np.concatenate(ranks)
    order = np.argsort(-rank, kind="stable")
    return Candidates(row_[order], score_[order], rank[order], np.full(len(order), np.nan))


def by_tokens(index: AnnIndex, kept: Kept, probes: Probes, k: int, apart_s: float, recordings: int) -> Candidates:
    """The windows whose tokens are to be looked at: what `timed` finds, and all that score within CLOSE of the first,
    up to MORE."""
    return timed(index, kept, probes, k, apart_s, recordings, close=CLOSE)


def timed(
    index: AnnIndex, kept: Kept, probes: Probes, k: int, apart_s: float, recordings: int, *, close: float = 0.0
) -> Candidates:
    """The k windows nearest to any of the probes, and the nearest of each of `recordings` recordings as far as they
    were found, one for each stream and offset: guesses of one stream within `apart_s` of a better one are dropped.

    Each block that the query has is searched by itself, and all that is found is compared by all blocks together. Of
    projected tokens the score is the mean over the pairs that meet, as the exact score is: by the sum, a recording that
    begins or ends within the query, or is shorter than a window, would always come last. close: of what was found, up
    to MORE are given where they score within so much of the first.
    """
    if not kept.rows.count:
        return NOTHING
    columns = kept.columns
    vector = probes.vector.reshape(len(probes.vector), index.blocks, -1)
    asked = np.flatnonzero(vector.any(axis=(0, 2))).tolist()
    count = min(k, kept.rows.count)
    lists = index.parameters.get("nprobe", [0] * index.blocks)
    cheapest = min(asked, key=lambda block: lists[block], default=0)
    found = [_nearest(index, kept, probes, vector, count, block, late=block == cheapest) for block in asked]
    if not found:
        return NOTHING
    if len(found) == 1:
        there = found[0][1] >= 0
        score, row = found[0][0][there], found[0][1][there]
        probe = np.nonzero(there)[0]
        if probes.held is not None:
            kind, per_token = _per_token(probes, columns, row, np.ones((len(row), 1), np.bool_), index.blocks, asked)
            score = score / columns.weight[row] * per_token[probe, kind]
    else:
        rows = np.unique(np.concatenate([row.reshape(-1) for _, row in found]))
        rows = rows[rows >= 0]
        total = np.zeros((len(vector), len(rows)), np.float32)
        worn = np.zeros((len(rows), len(asked)), np.bool_)
        for i, block in enumerate(asked):
            held = index.vectors(rows, block)
            worn[:, i] = held.any(axis=1)
            total += vector[:, block] @ held.T
        if probes.held is not None:
            kind, per_token = _per_token(probes, columns, rows, worn, index.blocks, asked)
            total /= columns.weight[rows]
            total *= per_token[:, kind]
        flat = total.reshape(-1)
        most = len(vector) * k
        best = np.argpartition(-flat, most)[:most] if len(flat) > most else np.arange(len(flat))
        score, row, probe = flat[best], rows[best % len(rows)], best // len(rows)
    order = np.argsort(-score, kind="stable")
    order = order[np.isfinite(score[order])]
    score, row, probe = score[order], row[order], probe[order]
    offset_s = columns.start_s[row] - probes.start_s[probe]
    # One number for a stream's stretch of time: where on its clock, person, sense and recording.
    cell = np.rint(offset_s / apart_s).astype(np.int64)
    cell -= cell.min(initial=0)
    for codes in (columns.person_code, columns.modality_code, columns.recording):
        cell += codes[row].astype(np.int64) * (cell.max(initial=0) + 1)
    _, first = np.unique(cell, return_index=True)
    first = np.sort(first)
    _, best = np.unique(columns.recording[row[first]], return_index=True)
    if close:
        k = max(k, min(MORE, int(np.count_nonzero(score[first] >= score[:1] - close))))
    first = first[np.union1d(np.arange(min(k, len(first))), np.sort(best)[:recordings])]
    return Candidates(row[first], score[first], score[first], offset_s[first])


def _nearest(
    index: AnnIndex, kept: Kept, probes: Probes, vector: Float32, count: int, block: int, *, late: bool
) -> tuple[Float32, Int64]:
    """The `count` windows that one block of each probe is nearest to. late: late ones too, as deep among the windows
    that are short as others are among all; they need one block only, because few windows can answer."""
    if probes.late is None or not probes.late.any():
        return index.search(vector[:, block], count, kept.rows, block=block)
    score, row = np.full((len(vector), count), -np.inf, np.float32), np.full((len(vector), count), -1, np.int64)
    score[~probes.late], row[~probes.late] = index.search(vector[~probes.late, block], count, kept.rows, block=block)
    if late:
        few = max(1, -(-count * kept.short.count // kept.rows.count))
        found = index.search(vector[probes.late, block], few, kept.short, block=block)
        score[probes.late, :few], row[probes.late, :few] = found
    return score, row


def _per_token(
    probes: Probes, columns: Columns, row: Int64, worn: Bool, blocks: int, asked: list[int]
) -> tuple[Int64, Float32]:
    """What a sum over tokens is multiplied by, to be their mean. worn: (R, A) which of the blocks asked a row has.

    Returns the kind of each row (R,), by its length and blocks, and 1 / the tokens that meet for V probes and C kinds
    (V, C); NaN where they are too few.
    """
    if probes.held is None:
        raise ValueError("probes of projected tokens say how many tokens they have")
    held = probes.held if probes.held.shape[1] == blocks else probes.held.sum(axis=1, keepdims=True).repeat(blocks, 1)
    held = held[:, asked].astype(np.float32)
    size = np.rint((columns.end_s[row] - columns.start_s[row]) / probes.token_s)
    size = np.clip(size, 0, held.shape[2] - 1).astype(np.int64)
    _, first, kind = np.unique(
        (size << worn.shape[1]) + worn @ (1 << np.arange(worn.shape[1])), return_index=True, return_inverse=True
    )
    met = np.einsum("vac,ca->vc", held[:, :, size[first]], worn[first].astype(np.float32))
    enough = met >= np.maximum(LEAST_SHARE * met.max(axis=0, initial=0), 1)
    return kind.reshape(-1), np.where(enough, 1 / np.maximum(met, 1), np.float32(np.nan)).astype(np.float32)
