"""Vectors → rows of the tables `<space>_global`, `<space>_local` and `<space>_projected`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from motionseek.encoders.base import Embeddings
from motionseek.errors import ModelError
from motionseek.indexer.schema import row_id, slots, vector_table, vector_table_name
from motionseek.types import Bool, Float32, Level, Modality

Rows = tuple[str, pa.Table]


def vector_rows(
    space: str,
    ids: npt.NDArray[np.str_],
    found: Embeddings,
    present: Bool,
    modality: Modality,
    fingerprint: str,
    *,
    keep: Bool | None = None,
) -> Iterator[Rows]:
    """present: (B, P'), the parts that each window has; the encoder may know only the first of them."""
    keep = np.ones(len(ids), np.bool_) if keep is None else keep
    if found.global_ is not None:
        yield from level_rows(space, "global", ids[keep], found.global_[keep], fingerprint)
    if found.local is not None:
        parts = found.local.shape[1]
        if parts > present.shape[1]:
            raise ModelError(
                f"the {space} encoder of {modality} gives {parts} parts, of {present.shape[1]} that it was given"
            )
        window, part = np.nonzero(present[:, :parts] & keep[:, None])
        names = np.array(slots(modality))[part]
        yield from level_rows(space, "local", ids[window], found.local[window, part], fingerprint, names)


def level_rows(
    space: str,
    level: Level,
    ids: npt.NDArray[np.str_],
    vectors: Float32 | None,
    fingerprint: str,
    parts: npt.NDArray[np.str_] | None = None,
) -> Iterator[Rows]:
    if vectors is None or not len(vectors):
        return
    if not np.isfinite(vectors).all():
        raise ModelError(f"the {space} encoder gave NaN or infinite {level} vectors")
    schema = vector_table(level, vectors.shape[1])
    flat = pa.array(np.ascontiguousarray(vectors, schema.field("vector").type.value_type.to_pandas_dtype()).reshape(-1))
    columns: dict[str, Any] = {
        "window_id": pa.array(ids.tolist()),
        "vector": pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]),
        "fingerprint": pa.array([fingerprint] * len(ids)),
    }
    if parts is not None:
        columns["part"] = pa.array(parts.tolist())
        columns["local_id"] = pa.array([row_id(w, p) for w, p in zip(ids.tolist(), parts.tolist(), strict=True)])
    yield vector_table_name(space, level), pa.table([columns[name] for name in schema.names], schema=schema)
