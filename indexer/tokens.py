"""Token streams: a recording's tokens, stored once, in chunks of int8 with one scale a token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from motionseek.indexer.schema import TOKENS, TOKENS_PER_CHUNK, row_id, slots
from motionseek.types import Bool, Float32, Modality

ChunkRow = dict[str, Any]


@dataclass(frozen=True, order=True)
class StreamKey:
    """Whose movement, seen through what: one token stream."""

    recording_id: str
    modality: Modality
    person: str = ""


@dataclass(frozen=True, eq=False)
class TokenStream:
    """A recording's tokens: token[:, i] covers start_s + i * token_s and the token_s after it.

    token: (P, T, D) float32, 0 where masked.  mask: (P, T) bool.  parts: names of the P axis.
    """

    start_s: float
    token_s: float
    token: Float32
    mask: Bool
    parts: tuple[str, ...]


class Chunks:
    """A stream's tokens as they come, in rows of the table TOKENS; rows that are not full wait for what follows."""

    def __init__(self, key: StreamKey, start_s: float, token_s: float, slots: int, fingerprint: str) -> None:
        self.key, self.start_s, self.token_s, self.slots, self.fingerprint = key, start_s, token_s, slots, fingerprint
        self._chunk = 0
        self._rest: tuple[Float32, Bool] | None = None

    def take(self, token: Float32, mask: Bool, *, worn: Sequence[int], last: bool) -> list[ChunkRow]:
        """The next tokens (P, T, D) and mask (P, T) → the rows that are full, all of them at the end.

        worn: the slots that the stream has; the others have no rows.
        """
        if self._rest is not None:
            token = np.concatenate([self._rest[0], token], axis=1)
            mask = np.concatenate([self._rest[1], mask], axis=1)
        length = token.shape[1]
        full = length if last else length // TOKENS_PER_CHUNK * TOKENS_PER_CHUNK
        self._rest = token[:, full:], mask[:, full:]
        rows = self._rows(token[:, :full], mask[:, :full], worn)
        self._chunk += -(-full // TOKENS_PER_CHUNK)
        return rows

    def _rows(self, token: Float32, mask: Bool, worn: Sequence[int]) -> list[ChunkRow]:
        worn = [p for p in worn if p < self.slots]
        token, mask = token[worn], mask[worn]
        scale = np.abs(token).max(axis=-1, initial=0.0) / 127.0
        scale = np.where(mask, scale, 0).astype(np.float32)
        int8 = np.rint(token / np.where(scale > 0, scale, 1)[..., None]).astype(np.int8)
        int8[~mask] = 0
        key, rows = self.key, []
        for i, part in enumerate(slots(key.modality)[p] for p in worn):
            for first in range(0, token.shape[1], TOKENS_PER_CHUNK):
                at = slice(first, first + TOKENS_PER_CHUNK)
                there, chunk = mask[i, at], self._chunk + first // TOKENS_PER_CHUNK
                rows.append(
                    {
                        "token_id": row_id(key.recording_id, key.modality, key.person, part, chunk),
                        "recording_id": key.recording_id,
                        "modality": key.modality,
                        "person": key.person,
                        "part": part,
                        "slots": self.slots,
                        "stream_start_s": self.start_s,
                        "chunk": chunk,
                        "chunk_start_s": self.start_s + chunk * TOKENS_PER_CHUNK * self.token_s,
                        "token_s": self.token_s,
                        "n": len(there),
                        "tokens": int8[i, at].tobytes(),
                        "scale": scale[i, at],
                        "mask": there,
                        "fingerprint": self.fingerprint,
                    }
                )
        return rows


def chunk_table(rows: Sequence[ChunkRow]) -> pa.Table:
    """Rows of the table TOKENS."""
    return pa.Table.from_pylist(list(rows), schema=TOKENS)


def to_rows(key: StreamKey, stream: TokenStream, fingerprint: str) -> pa.Table:
    """Rows of the table TOKENS; a part that is nowhere there has none."""
    chunks = Chunks(key, stream.start_s, stream.token_s, len(stream.parts), fingerprint)
    worn = np.flatnonzero(stream.mask.any(axis=1)).tolist()
    return chunk_table(chunks.take(stream.token, stream.mask, worn=worn, last=True))
