"""The tables of an archive: columns, and the key of each.

Keys are declared inside the schema, so that a table never exists without its key: without one, `merge_insert` may
store a row twice and say nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pyarrow as pa

from motionseek.types import ANY_PART, PARTS, Level, Modality

FORMAT = 2
FORMAT_KEY = b"motionseek.format"
KEY_MARK = {b"lance-schema:unenforced-primary-key": b"true"}
TOKENS_PER_CHUNK = 256

_STRINGS = pa.list_(pa.string())
STREAM = pa.struct(
    [
        ("modality", pa.string()),
        ("placement", pa.string()),
        ("part", pa.string()),
        ("person", pa.string()),
        ("name", pa.string()),
        ("path", pa.string()),
        ("rate_hz", pa.float64()),
        ("gyro_rate_hz", pa.float64()),
        ("start_s", pa.float64()),
        ("end_s", pa.float64()),
    ]
)
"""One stream of a recording, at its true median rate; `gyro_rate_hz`: a sensor's gyroscope, 0 without one; `path` is
the file of a video, else ""."""
CHECKS = pa.struct([(name, pa.float64()) for name in ("coverage", "clipped", "stuck", "acc_g")])
"""What a window's samples say about themselves, see `quality.Checks`; null where a check does not apply."""
NARRATION = pa.struct([("start_s", pa.float64()), ("end_s", pa.float64()), ("text", pa.string())])


def _table(key: str, columns: Sequence[tuple[str, pa.DataType]]) -> pa.Schema:
    fields = [pa.field(key, pa.string(), nullable=False, metadata=KEY_MARK)]
    fields += [pa.field(name, kind, nullable=False) for name, kind in columns]
    return pa.schema(fields, metadata={FORMAT_KEY: str(FORMAT).encode()})


RECORDINGS = _table(
    "recording_id",
    [
        ("uris", _STRINGS),
        ("source_format", pa.string()),
        ("streams", pa.list_(STREAM)),
        ("start_s", pa.float64()),
        ("duration_s", pa.float64()),
        ("labels", _STRINGS),
        ("narrations", pa.list_(NARRATION)),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("quality", pa.float64()),
        ("fingerprints", _STRINGS),
        ("extra", pa.string()),
    ],
)
"""`fingerprints`: the models that have encoded the recording. `extra`: JSON, as the source gave it."""

WINDOWS = _table(
    "window_id",
    [
        ("recording_id", pa.string()),
        ("modality", pa.string()),
        ("person", pa.string()),
        ("parts", _STRINGS),
        ("start_s", pa.float64()),
        ("end_s", pa.float64()),
        ("caption", pa.string()),
        ("labels", _STRINGS),
        ("quality", pa.float64()),
        ("flags", _STRINGS),
        ("checks", CHECKS),
    ],
)
"""`quality`: share of the window that is there and good, 0 to 1. `flags`: of `quality.FLAGS`."""

MODELS = _table(
    "space",
    [
        ("fingerprint", pa.string()),
        ("name", pa.string()),
        ("encoders", pa.string()),
        ("card", pa.string()),
        ("window_s", pa.float64()),
        ("stride_s", pa.float64()),
    ],
)
"""One model a space: vectors of two models cannot be compared. `encoders`: JSON, what each modality's encoder is."""

RUNS = _table(
    "run_id",
    [
        ("started", pa.string()),
        ("seconds", pa.float64()),
        ("configuration", pa.string()),
        ("versions", pa.string()),
        ("counts", pa.string()),
        ("errors", pa.string()),
        ("timings", pa.string()),
    ],
)

FILES = _table("path", [("size", pa.int64()), ("mtime_ns", pa.int64()), ("inode", pa.int64()), ("sha256", pa.string())])
"""Files as they were when they were hashed, on the machine that did it: a cache, so that they are not read again."""

LEASE = _table("name", [("holder", pa.string()), ("until", pa.float64())])
"""Of the table `writer`, see `lease`."""

TOKENS = _table(
    "token_id",
    [
        ("recording_id", pa.string()),
        ("modality", pa.string()),
        ("person", pa.string()),
        ("part", pa.string()),
        ("slots", pa.int32()),
        ("stream_start_s", pa.float64()),
        ("chunk", pa.int32()),
        ("chunk_start_s", pa.float64()),
        ("token_s", pa.float64()),
        ("n", pa.int32()),
        ("tokens", pa.binary()),
        ("scale", pa.list_(pa.float32())),
        ("mask", pa.list_(pa.bool_())),
        ("fingerprint", pa.string()),
    ],
)
"""Tokens once, in chunks of at most 256: int8 (n, D) row by row, one scale a token, mask True where it is there.

`slots`: how many of the modality's slots the encoder has tokens for, the first ones."""


def vector_table(level: Level, width: int) -> pa.Schema:
    """`<space>_global`, `<space>_local` or, for the level `token`, `<space>_projected`."""
    if level == "local":
        columns = [("window_id", pa.string()), ("part", pa.string()), ("vector", pa.list_(pa.float16(), width))]
        return _table("local_id", [*columns, ("fingerprint", pa.string())])
    return _table("window_id", [("vector", pa.list_(pa.float32(), width)), ("fingerprint", pa.string())])


def vector_table_name(space: str, level: Level) -> str:
    return f"{space}_projected" if level == "token" else f"{space}_{level}"


def token_table_name(space: str) -> str:
    return f"{space}_token"


def slots(modality: Modality) -> tuple[str, ...]:
    """What the P axis of a modality's tokens means."""
    return {"imu": (*PARTS, ANY_PART), "pose": PARTS, "video": ("frame",), "text": ("sentence",)}[modality]


def row_id(*what: str | float) -> str:
    """A key that depends only on what the row is about, so that writing it again meets the same row."""
    return hashlib.sha256("\x1f".join(map(str, what)).encode()).hexdigest()[:32]
