"""Token streams with the structure of movement, as many as wanted, in a moment: no model, no data.

A recording is one of ACTIVITIES, done by somebody: three swings, each in a plane of its activity, at the speeds and
phases of this recording, around a middle that people doing the same share, with noise. Tokens are a function of time,
so that a query may begin anywhere between them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from motionseek.indexer.nearest import Int64
from motionseek.indexer.schema import RECORDINGS, TOKENS, TOKENS_PER_CHUNK
from motionseek.search.encode import PHASES
from motionseek.search.rerank import QueryTokens, interleaved
from motionseek.types import PARTS, Bool, Float32, Float64

ACTIVITIES, SWINGS, WIDTH, PROJECTED = 400, 3, 64, 96
TOKEN_S, WINDOW_S, RECORDING_S = 0.2, 5.0, 60.0
SIZE, LENGTH = round(WINDOW_S / TOKEN_S), round(RECORDING_S / TOKEN_S)
WINDOWS_EACH = round(RECORDING_S - WINDOW_S) + 1
NOISE = 0.06
WRIST = PARTS.index("right_wrist")


def unit(x: Float64) -> Float32:
    return np.asarray(x / np.linalg.norm(x, axis=-1, keepdims=True), np.float32)


class Wrist:
    """What searches need to know of the encoder: windows of one wrist's tokens, projected along principal axes."""

    window_s, token_s, blocks = WINDOW_S, TOKEN_S, 1

    def __init__(self, axes: Float32) -> None:
        self.axes = axes

    @classmethod
    def fitted(cls, token: Float32) -> Wrist:
        """token: (N, SIZE, D) of some windows."""
        flat = token.reshape(len(token), -1).astype(np.float64)
        _, axes = np.linalg.eigh(flat.T @ flat)
        return cls(np.ascontiguousarray(axes[:, ::-1][:, :PROJECTED], np.float32))

    def project(self, token: Float32, mask: Bool) -> Float32:
        """(B, P, SIZE, D) → (B, PROJECTED)."""
        return np.asarray((token * mask[..., None])[:, WRIST].reshape(len(token), -1) @ self.axes)


@dataclass(frozen=True, eq=False)
class Movements:
    """Recordings, each an activity in somebody's way. activity: (R,).   speed_hz, phase: (R, SWINGS)."""

    activity: Int64
    speed_hz: Float64
    phase: Float64
    middles: Float64
    planes: Float64

    @classmethod
    def of(cls, windows: int, seed: int = 0) -> Movements:
        rng, count = np.random.default_rng(seed), -(-windows // WINDOWS_EACH)
        return cls(
            rng.integers(0, ACTIVITIES, count),
            rng.uniform(0.15, 1.2, (count, SWINGS)),
            rng.uniform(0, 2 * np.pi, (count, SWINGS)),
            rng.normal(size=(ACTIVITIES, WIDTH)) * 0.5 / np.sqrt(WIDTH),
            rng.normal(size=(ACTIVITIES, SWINGS, 2, WIDTH)) / np.sqrt(WIDTH),
        )

    def at(self, recording: Int64, times_s: Float64, rng: np.random.Generator) -> Float32:
        """Tokens (R, T, D) of recordings (R,) at times (R, T) or (T,)."""
        act = self.activity[recording]
        times_s = np.broadcast_to(times_s, (len(recording), times_s.shape[-1]))
        turn = 2 * np.pi * self.speed_hz[recording][:, None] * times_s[..., None] + self.phase[recording][:, None]
        swing = np.concatenate([np.cos(turn), np.sin(turn)], axis=2).astype(np.float32)
        planes = self.planes[act].transpose(0, 2, 1, 3).reshape(len(act), 2 * SWINGS, WIDTH).astype(np.float32)
        x = self.middles[act][:, None].astype(np.float32) + swing @ planes
        x += NOISE * rng.standard_normal(x.shape, np.float32)
        return unit(x)

    def query(self, recording: int, start_s: float, seed: int) -> QueryTokens:
        """WINDOW_S of one recording, sensed by somebody else: other noise, another phase against the grid."""
        fine = SIZE * PHASES
        token = np.zeros((len(PARTS), fine, WIDTH), np.float32)
        times_s = start_s + np.arange(fine) * TOKEN_S / PHASES
        token[WRIST] = self.at(np.array([recording]), times_s, np.random.default_rng(seed))[0]
        mask = np.zeros(token.shape[:2], np.bool_)
        mask[WRIST] = True
        return interleaved(start_s, TOKEN_S, token, mask, PHASES)


def names(count: int) -> list[str]:
    return [hashlib.sha256(str(i).encode()).hexdigest() for i in range(count)]


def write_recordings(db: Any, ids: list[str], duration_s: Float64) -> None:
    """The table of recordings, as indexing writes it."""
    of = {
        "recording_id": pa.array(ids),
        "uris": [[f"{name[:8]}.csv"] for name in ids],
        "streams": [[] for _ in ids],
        "labels": [[] for _ in ids],
        "narrations": [[] for _ in ids],
        "fingerprints": [["made"]] * len(ids),
        "status": ["ok"] * len(ids),
        "start_s": np.zeros(len(ids)),
        "duration_s": duration_s,
        "quality": np.ones(len(ids)),
        **{name: [""] * len(ids) for name in ("source_format", "reason", "extra")},
    }
    columns = [pa.array(of[name], RECORDINGS.field(name).type) for name in RECORDINGS.names]
    db.create_table("recordings", pa.Table.from_arrays(columns, schema=RECORDINGS))


def write(movements: Movements, folder: Path) -> tuple[Float32, pa.Table, Wrist]:
    """The recordings and tokens as an archive's tables under `folder`. Returns the windows' projected vectors (N,
    PROJECTED), their table, and the projection."""
    count = len(movements.activity)
    ids = sorted(names(count))
    db = lancedb.connect(folder / "lance")
    write_recordings(db, ids, np.full(count, RECORDING_S))
    starts = np.arange(WINDOWS_EACH) * round(1 / TOKEN_S)
    tokens = db.create_table("motion_token", schema=TOKENS)
    rng = np.random.default_rng(1)
    wrist, vectors = None, []
    for at in range(0, count, 500):
        which = np.arange(at, min(count, at + 500))
        token = movements.at(which, np.arange(LENGTH) * TOKEN_S, rng)
        tokens.add(_chunks(token, [ids[i] for i in which]))
        views = token[:, starts[:, None] + np.arange(SIZE)].reshape(-1, SIZE, WIDTH)
        wrist = wrist or Wrist.fitted(views[:: max(1, len(views) // 8000)])
        vectors.append(views.reshape(len(views), -1) @ wrist.axes)
    if wrist is None:
        raise SystemExit("no windows are wanted")
    start_s = np.tile(starts * TOKEN_S, count)
    windows = pa.table(
        {
            "recording_id": _coded(np.repeat(np.arange(count), WINDOWS_EACH), ids),
            "modality": _coded(np.zeros(len(start_s)), ["imu"]),
            "person": _coded(np.zeros(len(start_s)), [""]),
            "start_s": start_s,
            "end_s": start_s + WINDOW_S,
        }
    )
    return np.concatenate(vectors), windows, wrist


def _coded(code: npt.NDArray[Any], held: list[str]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(code.astype(np.int32)), held)


def _chunks(token: Float32, ids: list[str]) -> pa.Table:
    """Rows of the table of tokens, as indexing writes them."""
    scale = np.abs(token).max(axis=2) / 127
    int8 = np.rint(token / scale[..., None]).astype(np.int8)
    rows = []
    for first in range(0, LENGTH, TOKENS_PER_CHUNK):
        at = slice(first, min(LENGTH, first + TOKENS_PER_CHUNK))
        n = at.stop - at.start
        rows += [
            {
                "token_id": f"{name[:24]}{first}",
                "recording_id": name,
                "modality": "imu",
                "person": "",
                "part": PARTS[WRIST],
                "slots": len(PARTS),
                "stream_start_s": 0.0,
                "chunk": first // TOKENS_PER_CHUNK,
                "chunk_start_s": first * TOKEN_S,
                "token_s": TOKEN_S,
                "n": n,
                "tokens": int8[i, at].tobytes(),
                "scale": scale[i, at],
                "mask": np.ones(n, np.bool_),
                "fingerprint": "made",
            }
            for i, name in enumerate(ids)
        ]
    return pa.Table.from_pylist(rows, schema=TOKENS)
