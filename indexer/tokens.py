"""Token streams: a recording's tokens, stored once, in chunks of int8 with one scale a token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from motionseek.indexer.schema import TOKENS, TOKENS_PER_CHUNK, row_id, slots
from motionseek.types import Bool, Float32, Modality


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


def to_rows(key: StreamKey, stream: TokenStream, fingerprint: str) -> pa.Table:
    """Rows of the table TOKENS; a part that is nowhere there has none."""
    scale = np.abs(stream.token).max(axis=-1) / 127.0
    scale = np.where(stream.mask, scale, 0).astype(np.float32)
    int8 = np.rint(stream.token / np.where(scale > 0, scale, 1)[..., None]).astype(np.int8)
    rows = []
    for p in np.flatnonzero(stream.mask.any(axis=1)):
        for first in range(0, stream.token.shape[1], TOKENS_PER_CHUNK):
            at = slice(first, first + TOKENS_PER_CHUNK)
            mask = stream.mask[p, at]
            chunk, part = first // TOKENS_PER_CHUNK, stream.parts[p]
            rows.append(
                {
                    "token_id": row_id(key.recording_id, key.modality, key.person, part, chunk),
                    "recording_id": key.recording_id,
                    "modality": key.modality,
                    "person": key.person,
                    "part": part,
                    "slots": len(stream.parts),
                    "stream_start_s": stream.start_s,
                    "chunk": chunk,
                    "chunk_start_s": stream.start_s + first * stream.token_s,
                    "token_s": stream.token_s,
                    "n": len(mask),
                    "tokens": np.where(mask[:, None], int8[p, at], np.int8(0)).tobytes(),
                    "scale": scale[p, at],
                    "mask": mask,
                    "fingerprint": fingerprint,
                }
            )
    return pa.Table.from_pylist(rows, schema=TOKENS)


def from_rows(key: StreamKey, chunks: Sequence[dict[str, Any]]) -> TokenStream:
    """The stream that chunks of the table TOKENS hold; it starts with the first of them."""
    one = chunks[0]
    parts = slots(key.modality)[: one["slots"]]
    token_s, width = one["token_s"], len(one["tokens"]) // one["n"]
    first = [c["chunk"] * TOKENS_PER_CHUNK for c in chunks]
    base, stop = min(first), max(f + c["n"] for f, c in zip(first, chunks, strict=True))
    token = np.zeros((len(parts), stop - base, width), np.float32)
    mask = np.zeros(token.shape[:2], np.bool_)
    for at, chunk in zip(first, chunks, strict=True):
        where = parts.index(chunk["part"]), slice(at - base, at - base + chunk["n"])
        int8 = np.frombuffer(chunk["tokens"], np.int8).reshape(chunk["n"], width)
        token[where] = int8 * np.asarray(chunk["scale"], np.float32)[:, None]
        mask[where] = chunk["mask"]
    return TokenStream(one["stream_start_s"] + base * token_s, token_s, token, mask, parts)
