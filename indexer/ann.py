"""Nearest vectors: FAISS over the vectors of one space and level. A cache; the truth is in Lance."""

from __future__ import annotations

from typing import Literal

import pyarrow as pa

from motionseek.indexer.store import Store
from motionseek.types import Bool, Float32, Level


class AnnIndex:
    """Vectors of one (space, level). Scores are inner products: the cosine for global and local vectors."""

    windows: pa.Table
    kind: Literal["exact", "ivf"]
    recall: float
    fingerprint: str

    def search(self, query: Float32, k: int, keep: Bool | None = None) -> tuple[Float32, object]:
        """The best k rows of each query (Q, D): scores (Q, k) float32 and rows (Q, k) int64, -1 where none is left."""
        raise NotImplementedError


def open_index(store: Store, space: str, level: Level) -> AnnIndex:
    """The index of (space, level), built where it is missing or stale."""
    raise NotImplementedError
