"""The first look: windows that may answer, from FAISS."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from motionseek.indexer.ann import AnnIndex
from motionseek.search.encode import Probes
from motionseek.types import Bool, Float32, Float64, Modality

Int64 = npt.NDArray[np.int64]
FEW = 20
SAMPLE = 4096


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


@dataclass(frozen=True, eq=False)
class Columns:
    """The windows of an index as arrays of N: recordings and modalities as codes into their names."""

    recording: Int64
    recordings: tuple[str, ...]
    modality: npt.NDArray[np.str_]
    person: npt.NDArray[np.str_]
    start_s: Float64
    end_s: Float64

    @classmethod
    def of(cls, windows: pa.Table) -> Columns:
        coded = pc.dictionary_encode(windows["recording_id"].combine_chunks())
        return cls(
            np.asarray(coded.indices, np.int64),
            tuple(coded.dictionary.to_pylist()),
            np.asarray(windows["modality"].to_pylist(), np.str_),
            np.asarray(windows["person"].to_pylist(), np.str_),
            np.asarray(windows["start_s"], np.float64),
            np.asarray(windows["end_s"], np.float64),
        )


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
    for modality in np.unique(columns.modality).tolist():
        rows = np.flatnonzero(columns.modality == modality)
        rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), SAMPLE)).astype(np.int64))]
        vectors = index.vectors(rows).astype(np.float64)
        mean = vectors.mean(axis=0)
        centred = vectors - mean
        found[modality] = Spread(mean, centred.T @ centred / max(1, len(rows) - 1), len(rows))
    return found


def timeless(
    index: AnnIndex,
    columns: Columns,
    keep: Bool,
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
        mine = keep & (columns.modality == modality)
        there = int(mine.sum())
        if not there:
            continue
        wanted = min(recordings, len(np.unique(columns.recording[mine])))
        count = min(k, there)
        while True:
            score, row = index.search(probe[None], count, mine)
            if count == there or len(np.unique(columns.recording[row[0][row[0] >= 0]])) >= wanted:
                break
            count = min(there, 4 * count)
        found = row[0] >= 0
        rows.append(row[0][found])
        scores.append(score[0][found])
        ranks.append(spread[modality].standardised(probe, score[0][found]))
    if not rows:
        return Candidates(np.zeros(0, np.int64), *(np.zeros(0, np.float32),) * 2, np.zeros(0))
    row, score_, rank = np.concatenate(rows), np.concatenate(scores), np.concatenate(ranks)
    order = np.argsort(-rank, kind="stable")
    return Candidates(row[order], score_[order], rank[order], np.full(len(order), np.nan))


def timed(index: AnnIndex, columns: Columns, keep: Bool, probes: Probes, k: int, apart_s: float) -> Candidates:
    """The windows nearest to any of the probes, one for each stream and offset; guesses of one stream that lie within
    `apart_s` of a better one are dropped."""
    there = int(keep.sum())
    if not there:
        return Candidates(np.zeros(0, np.int64), *(np.zeros(0, np.float32),) * 2, np.zeros(0))
    score, row = index.search(probes.vector, min(k, there), keep)
    probe = np.repeat(np.arange(len(row)), row.shape[1])[(row >= 0).reshape(-1)]
    score, row = score[row >= 0], row[row >= 0]
    order = np.argsort(-score, kind="stable")
    score, row, probe = score[order], row[order], probe[order]
    offset_s = columns.start_s[row] - probes.start_s[probe]
    person = np.unique(columns.person, return_inverse=True)[1][row]
    cell = np.stack(
        [columns.recording[row], columns.modality[row] == "imu", person, np.rint(offset_s / apart_s)], axis=1
    )
    _, first = np.unique(cell, axis=0, return_index=True)
    first = np.sort(first)
    return Candidates(row[first], score[first], score[first], offset_s[first])
