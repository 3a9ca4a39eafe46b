"""Nearest vectors: FAISS over the vectors of one space and level. A cache; the truth is in Lance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from motionseek.errors import MissingExtra, QueryError
from motionseek.types import Bool, Float32, Level

Int64 = npt.NDArray[np.int64]
Kind = Literal["exact", "ivf"]
BRUTE_ROWS = 20_000
"""Where a filter leaves no more rows than this, they are scanned in full."""
SEEN_PER_ANSWER = 10
"""How many rows that may answer are looked at for each answer wanted, at least."""
ALONE = 1 << 26
"""Multiplications up to which one thread searches: waiting for the others takes longer where cores are busy."""
GPU_MOST = 2048
"""Largest k and number of lists that FAISS takes on a GPU."""


def import_faiss() -> Any:
    """The module faiss, from either of its two packages. Raises MissingExtra."""
    try:
        import faiss
    except ImportError as error:
        raise MissingExtra("FAISS", "cpu") from error
    return faiss


@contextmanager
def one_thread_for(multiplications: int) -> Iterator[None]:
    """FAISS in the calling thread alone, where there is little to do; the number of threads is each thread's own."""
    faiss = import_faiss()
    threads = faiss.omp_get_max_threads()
    if multiplications > ALONE or threads == 1:
        yield
        return
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(threads)


@dataclass(frozen=True, eq=False)
class Rows:
    """Which rows of an index may answer. mask: (N,). What a search makes of it is made once: keep it for the next."""

    mask: Bool

    def __len__(self) -> int:
        return self.count

    @cached_property
    def count(self) -> int:
        return int(np.count_nonzero(self.mask))

    @cached_property
    def at(self) -> Int64:
        """The rows' numbers."""
        return np.flatnonzero(self.mask)

    @cached_property
    def bits(self) -> npt.NDArray[np.uint8]:
        """The mask as FAISS reads it."""
        return np.packbits(self.mask, bitorder="little")


@dataclass(eq=False)
class AnnIndex:
    """Vectors of one (space, level), ready to search. Scores are inner products: of unit vectors, so cosines, at the
    levels global and local; of projected windows, un-normalised, at the level token.

    windows: metadata aligned with the rows, sorted by recording, modality, person and start; names that repeat are
    dictionaries.   recall: recall@10 against a full scan, measured when built; of blocks the lowest; at the level
    token that of a query that is looked up shifted as well.
    parameters: what it was built with; of lists `nprobe`, how many are looked into, one number a block.   faiss_blocks:
    a row's numbers may be several blocks, each searched by itself in an index of FAISS: the level token has one a body
    part.
    """

    space: str
    level: Level
    kind: Kind
    recall: float
    fingerprint: str
    parameters: dict[str, Any]
    windows: pa.Table
    faiss_blocks: Sequence[Any]
    _on_gpu: Sequence[Any] = field(default=(), repr=False)

    def __len__(self) -> int:
        return len(self.windows)

    @property
    def blocks(self) -> int:
        return len(self.faiss_blocks)

    @property
    def width(self) -> int:
        """Numbers a row."""
        return sum(int(block.d) for block in self.faiss_blocks)

    @property
    def part(self) -> npt.NDArray[np.str_] | None:
        """(N,) the part of each row, at the level local."""
        return np.asarray(self.windows["part"].to_pylist()) if "part" in self.windows.column_names else None

    def vectors(self, rows: Int64, block: int | None = None) -> Float32:
        """The vectors of `rows` (R,) → (R, D) float32, or one block of them."""
        rows = np.ascontiguousarray(rows, np.int64)
        found = []
        for index in self.faiss_blocks if block is None else [self.faiss_blocks[block]]:
            out = np.empty((len(rows), index.d), np.float32)
            if len(rows):
                index.reconstruct_batch(rows, x=out)
            found.append(out)
        return found[0] if len(found) == 1 else np.concatenate(found, axis=1)

    def search(
        self, query: Float32, k: int, keep: Rows | None = None, *, block: int = 0, nprobe: int | None = None
    ) -> tuple[Float32, Int64]:
        """The best k rows of each query (Q, D) float32: scores (Q, k) and rows (Q, k), -inf and -1 where none is left.

        keep: the rows that may answer. Where it leaves few, they are scanned in full.   block: which block of the rows
        is compared, D its width.   nprobe: lists to look into, in place of what was measured. Raises QueryError where
        the query's width or k does not fit.
        """
        query = np.ascontiguousarray(query, np.float32)
        width = self.faiss_blocks[block].d
        if query.ndim != 2 or (len(self) and query.shape[1] != width):
            raise QueryError(
                f"queries of the {self.level} level of {self.space!r} must be (Q, {width}), not {query.shape}"
            )
        if k < 1:
            raise QueryError(f"k must be at least 1, not {k}")
        if keep is not None and keep.mask.shape != (len(self),):
            raise QueryError(f"keep must have one entry for each of the {len(self)} rows, not shape {keep.mask.shape}")
        kept = len(self) if keep is None else keep.count
        best = min(k, kept)
        if not best or not len(query):
            return np.full((len(query), k), -np.inf, np.float32), np.full((len(query), k), -1, np.int64)
        if keep is not None and kept == len(self):
            keep = None
        if keep is not None and kept <= max(BRUTE_ROWS, k):
            scores, rows = self._scan(query, keep.at, best, block)
        else:
            share = 1.0 if self.kind == "exact" else self.parameters["nprobe"][block] / self.parameters["nlist"]
            with one_thread_for(int(query.size * len(self) * share)):
                scores, rows = self._ask(query, best, keep, block, nprobe)
            lost = rows < 0
            if lost.any():
                scores[lost] = -np.inf
        if best < k:
            room = ((0, 0), (0, k - best))
            return np.pad(scores, room, constant_values=-np.inf), np.pad(rows, room, constant_values=-1)
        return scores, rows

    def _ask(self, query: Float32, k: int, keep: Rows | None, block: int, nprobe: int | None) -> tuple[Float32, Int64]:
        faiss = import_faiss()
        index = self.faiss_blocks[block]
        selector = None if keep is None else faiss.IDSelectorBitmap(keep.bits)
        kept = len(self) if keep is None else keep.count
        on_gpu = self._on_gpu[block] if self._on_gpu and selector is None and k <= GPU_MOST else None
        found: tuple[Float32, Int64]
        if self.kind == "exact":
            options = None if selector is None else faiss.SearchParameters(sel=selector)
            found = (on_gpu or index).search(query, k, params=options)
            return found
        nlist = int(self.parameters["nlist"])
        # The recall was measured for ten answers: for more, and for fewer rows that may answer, look into more lists.
        enough = -(-SEEN_PER_ANSWER * k * nlist // kept)
        lists = min(nlist, max(int(self.parameters["nprobe"][block]), enough) if nprobe is None else nprobe)
        options = faiss.SearchParametersIVF(sel=selector, nprobe=lists)
        found = (on_gpu if on_gpu is not None and lists <= GPU_MOST else index).search(query, k, params=options)
        short = found[1][:, -1] < 0
        if nprobe is None and short.any():
            # The probed lists held too few rows that may answer: look into all of them.
            options = faiss.SearchParametersIVF(sel=selector, nprobe=nlist)
            found[0][short], found[1][short] = index.search(query[short], k, params=options)
        return found

    def _scan(self, query: Float32, rows: Int64, k: int, block: int) -> tuple[Float32, Int64]:
        scores = query @ self.vectors(rows, block).T
        top = np.argpartition(-scores, k - 1, axis=1)[:, :k] if k < len(rows) else np.arange(len(rows))[None]
        top = np.broadcast_to(top, (len(query), k))
        order = np.argsort(-np.take_along_axis(scores, top, 1), axis=1, kind="stable")
        top = np.take_along_axis(top, order, 1)
        return np.take_along_axis(scores, top, 1), rows[top]
