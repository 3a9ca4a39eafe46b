"""Reading token streams, many a moment: a search compares the tokens of hundreds of places."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from motionseek.indexer.schema import TOKENS_PER_CHUNK, slots
from motionseek.indexer.tokens import StreamKey, TokenStream
from motionseek.types import Bool, Float32, Modality, Span

KEPT_BYTES = 512 << 20
"""Tokens that were read stay in memory up to this size; the oldest go first."""
WHOLE = 1 << 20
"""A table of no more tokens that lies on this machine is read whole at once: later searches then read nothing."""
_STREAM = ["recording_id", "modality", "person"]
_PLACE = ["part", "slots", "stream_start_s", "chunk", "token_s", "n"]

Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class _Chunk:
    """Tokens as they lie in a row. int8: (n, D).   scale, mask: (n,)."""

    int8: npt.NDArray[np.int8]
    scale: Float32
    mask: Bool

    @property
    def nbytes(self) -> int:
        return self.int8.nbytes + self.scale.nbytes + self.mask.nbytes


class TokenReader:
    """The streams of one version of a token table.

    Where each stream's rows lie is read once. A filter over hundreds of streams is a scan, taking rows by their ids is
    not.
    """

    def __init__(self, table: Any, readable: pa.Array, *, near: bool = True) -> None:
        """readable: recording_id of all recordings that may be read.   near: whether the table lies on this machine."""
        self._table, self._near = table, near
        rows = table.search().select([*_STREAM, *_PLACE]).with_row_id(True).to_arrow()
        rows = rows.filter(pc.is_in(rows["recording_id"], value_set=readable))
        rows = rows.sort_by([(name, "ascending") for name in (*_STREAM, "chunk")])
        self._id: Int64 = rows["_rowid"].to_numpy().astype(np.int64)
        self._part: list[str] = rows["part"].to_pylist()
        self._slots, self._start_s, self._token_s = (rows[n].to_numpy() for n in ("slots", "stream_start_s", "token_s"))
        self._first: Int64 = rows["chunk"].to_numpy().astype(np.int64) * TOKENS_PER_CHUNK
        self._stop: Int64 = self._first + rows["n"].to_numpy()
        code = np.zeros(rows.num_rows, np.int64)
        for name in _STREAM:
            coded = rows[name].combine_chunks().dictionary_encode()
            code = code * (len(coded.dictionary) + 1) + coded.indices.to_numpy()
        begins = np.flatnonzero(np.diff(code, prepend=-1))
        ends = np.append(begins[1:], rows.num_rows)
        heads = (rows[name].take(begins).to_pylist() for name in _STREAM)
        self._rows = dict(zip(zip(*heads, strict=True), zip(begins.tolist(), ends.tolist(), strict=True), strict=True))
        self._kept: dict[int, _Chunk] = {}
        self._kept_bytes, self._lock = 0, Lock()

    def read(
        self, keys: Sequence[StreamKey], spans: Mapping[StreamKey, Span], parts: Collection[str] | None = None
    ) -> dict[StreamKey, TokenStream]:
        """The streams of keys, cut to their spans; those without tokens there are left out. parts: only these of their
        parts, masked where a stream has nothing of them."""
        wanted: dict[StreamKey, tuple[Int64, int, int]] = {}
        for key in dict.fromkeys(keys):
            begin, end = self._rows.get((key.recording_id, key.modality, key.person), (0, 0))
            if begin == end:
                continue
            at = np.arange(begin, end)
            first, stop = self._cut(begin, spans.get(key))
            at = at[(self._first[at] < stop) & (self._stop[at] > first)]
            if len(at):
                first = max(first, int(self._first[at].min()))
                wanted[key] = at, first, min(stop, int(self._stop[at].max()))
        if parts is not None:
            worn = {key: at[[self._part[i] in parts for i in at.tolist()]] for key, (at, _, _) in wanted.items()}
            # One row of a stream that has none of them says how wide its tokens are.
            wanted = {
                key: (worn[key] if len(worn[key]) else at[:1], first, stop) for key, (at, first, stop) in wanted.items()
            }
        chunks = self._chunks(np.concatenate([at for at, _, _ in wanted.values()])) if wanted else {}
        return {key: self._stream(key.modality, *place, chunks, parts) for key, place in wanted.items()}

    def _cut(self, row: int, span: Span | None) -> tuple[int, int]:
        """The first token that a span touches and the one after the last."""
        if span is None:
            return 0, np.iinfo(np.int64).max
        first, stop = ((t - self._start_s[row]) / self._token_s[row] for t in (span.start_s, span.end_s))
        return int(np.floor(first + 1e-6)), int(np.ceil(stop - 1e-6))

    def _stream(
        self,
        modality: Modality,
        at: Int64,
        first: int,
        stop: int,
        chunks: Mapping[int, _Chunk],
        wanted: Collection[str] | None,
    ) -> TokenStream:
        row = int(at[0])
        parts, token_s = slots(modality)[: self._slots[row]], float(self._token_s[row])
        parts = parts if wanted is None else tuple(part for part in parts if part in wanted)
        token = np.zeros((len(parts), stop - first, chunks[row].int8.shape[1]), np.float32)
        mask = np.zeros(token.shape[:2], np.bool_)
        for i in at.tolist():
            if self._part[i] not in parts:
                continue
            begins, chunk, part = int(self._first[i]), chunks[i], parts.index(self._part[i])
            here = slice(max(0, first - begins), stop - begins)
            held = chunk.mask[here]
            there = slice(max(0, begins - first), max(0, begins - first) + len(held))
            np.multiply(chunk.int8[here], chunk.scale[here, None], out=token[part, there])
            mask[part, there] = held
        return TokenStream(float(self._start_s[row]) + first * token_s, token_s, token, mask, parts)

    def _chunks(self, at: Int64) -> dict[int, _Chunk]:
        """The rows `at` by their place, from memory where they are."""
        with self._lock:
            found = {i: self._kept[i] for i in at.tolist() if i in self._kept}
        missing = np.array([i for i in at.tolist() if i not in found], np.int64)
        if not len(missing):
            return found
        if self._near and not self._kept and int((self._stop - self._first).sum()) <= WHOLE:
            missing = np.arange(len(self._id))
        place = dict(zip(self._id[missing].tolist(), missing.tolist(), strict=True))
        rows = self._table.take_row_ids(list(place)).select(["tokens", "scale", "mask"]).with_row_id().to_arrow()
        new = {}
        for batch in rows.to_batches():
            scale, mask = (batch[name].flatten().to_numpy(zero_copy_only=False) for name in ("scale", "mask"))
            ends = np.cumsum(pc.list_value_length(batch["mask"]).to_numpy())
            for row_id, tokens, end, n in zip(
                batch["_rowid"].to_pylist(),
                batch["tokens"],
                ends.tolist(),
                np.diff(ends, prepend=0).tolist(),
                strict=True,
            ):
                int8 = np.frombuffer(tokens.as_buffer(), np.int8).reshape(n, -1).copy()
                new[place[row_id]] = _Chunk(int8, scale[end - n : end].copy(), mask[end - n : end].copy())
        self._keep(new)
        return found | new

    def _keep(self, chunks: Mapping[int, _Chunk]) -> None:
        with self._lock:
            for i, chunk in chunks.items():
                if i not in self._kept:
                    self._kept[i] = chunk
                    self._kept_bytes += chunk.nbytes
            while self._kept_bytes > KEPT_BYTES:
                self._kept_bytes -= self._kept.pop(next(iter(self._kept))).nbytes
