"""One recording → rows of every table: windows, vectors at each level, token streams."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from motionseek.encoders.base import Embeddings, Encoder, StreamEncoder
from motionseek.encoders.preprocess import Grid, signal_grid
from motionseek.errors import ModelError
from motionseek.indexer import windows as grids
from motionseek.indexer.schema import row_id, slots, token_table_name, vector_table, vector_table_name
from motionseek.indexer.tokens import StreamKey, TokenStream, to_rows
from motionseek.indexer.video import frame_times, frames_at
from motionseek.indexer.windows import TICK_S, Windows
from motionseek.types import Bool, Float32, Imu, Level, Modality, PoseTrack, Recording, VideoRef

Encoders = Mapping[tuple[str, Modality], Encoder]
Tables = dict[str, pa.Table]
Int64 = npt.NDArray[np.int64]
WINDOWS_PER_PASS = 64
FRAMES_PER_PASS = 32
TEXTS_PER_PASS = 256


def encode_recording(recording: Recording, encoders: Encoders, *, window_s: float, stride_s: float) -> Tables:
    """Rows by table name. Raises DamagedFile where a stream cannot be used, ModelError where an encoder is unfit."""
    size = {"window_s": window_s, "stride_s": stride_s}
    tables: dict[str, list[pa.Table]] = {}
    asked: set[str] = {modality for _, modality in encoders}

    def keep(windows: Windows, found: Iterator[tuple[str, pa.Table]]) -> None:
        tables.setdefault("windows", []).append(windows.to_rows(recording.labels))
        for name, rows in found:
            tables.setdefault(name, []).append(rows)

    if "imu" in asked:
        for person, imus in grids.wearers(recording).items():
            windows = grids.of_imus(recording, person, imus, **size)
            keep(windows, _signals(windows, imus, encoders))
    if "pose" in asked:
        for track in recording.poses:
            windows = grids.of_pose(recording, track, **size)
            keep(windows, _signals(windows, track, encoders))
    if "video" in asked and recording.video:
        windows = grids.of_video(recording, recording.video, **size)
        keep(windows, _pictures(windows, recording.video, encoders))
    if "text" in asked and recording.narrations:
        windows = grids.of_text(recording)
        keep(windows, _sentences(windows, encoders))
    return {name: pa.concat_tables(rows) for name, rows in tables.items()}


def _signals(
    windows: Windows, signals: Sequence[Imu] | PoseTrack, encoders: Encoders
) -> Iterator[tuple[str, pa.Table]]:
    if not len(windows):
        return
    made: dict[tuple[float, str], Grid] = {}
    for (space, modality), encoder in encoders.items():
        if modality != windows.modality:
            continue
        form = encoder.rate_hz, getattr(encoder, "pose_form", "person")
        grid = made[form] = made[form] if form in made else signal_grid(encoder, signals)
        if isinstance(encoder, StreamEncoder):
            yield from _stream_rows(space, windows, grid, encoder)
        else:
            yield from _window_rows(space, windows, grid, encoder)


def tokenise(grid: Grid, encoder: StreamEncoder) -> tuple[Float32, Bool]:
    """A whole recording's tokens (P, T, D) and mask (P, T); the last one may be cut short by the recording's end."""
    per_token = round(encoder.token_s * grid.rate_hz)
    rest = -grid.x.shape[2] % per_token
    x, mask = np.pad(grid.x, ((0, 0), (0, 0), (0, rest))), np.pad(grid.mask, ((0, 0), (0, rest)))
    found = encoder.encode(x[None], mask[None])
    if found.token is None or found.mask is None:
        raise ModelError(f"the {encoder.space} encoder of {encoder.modality} gives no tokens, though it tokenises")
    return found.token[0], found.mask[0]


def _stream_rows(space: str, windows: Windows, grid: Grid, encoder: StreamEncoder) -> Iterator[tuple[str, pa.Table]]:
    token, mask = tokenise(grid, encoder)
    parts = slots(windows.modality)[: len(token)]
    stream = TokenStream(grid.start_s, encoder.token_s, token, mask, parts)
    key = StreamKey(windows.recording_id, windows.modality, windows.person)
    yield token_table_name(space), to_rows(key, stream, encoder.fingerprint)
    n = round(encoder.window_s / encoder.token_s)
    first = np.rint(windows.tick * TICK_S / encoder.token_s).astype(np.int64)
    short = max(0, int(first.max()) + n - token.shape[1])
    token, mask = np.pad(token, ((0, 0), (0, short), (0, 0))), np.pad(mask, ((0, 0), (0, short)))
    ids = np.array(windows.ids)
    for at in _passes(len(windows), WINDOWS_PER_PASS * 8):
        index = first[at, None] + np.arange(n)
        seen = np.ascontiguousarray(mask[:, index].swapaxes(0, 1))
        there: Bool = np.any(seen, axis=(1, 2))
        if not there.any():
            continue
        seen = seen[there]
        view = np.ascontiguousarray(token[:, index[there]].swapaxes(0, 1)) * seen[..., None]
        pooled = encoder.pool(view, seen)
        present: Bool = np.any(seen, axis=2)
        yield from _vector_rows(space, ids[at][there], pooled, present, windows.modality, encoder.fingerprint)
        if "token" in encoder.levels:
            projected = Embeddings(global_=encoder.project(view, seen))
            yield from _level_rows(space, "token", ids[at][there], projected.global_, encoder.fingerprint)


def _window_rows(space: str, windows: Windows, grid: Grid, encoder: Encoder) -> Iterator[tuple[str, pa.Table]]:
    length = round(_window_s(encoder, windows) * grid.rate_hz)
    first = np.rint(windows.tick * TICK_S * grid.rate_hz).astype(np.int64)
    short = max(0, int(first.max()) + length - grid.x.shape[2])
    x, mask = np.pad(grid.x, ((0, 0), (0, 0), (0, short))), np.pad(grid.mask, ((0, 0), (0, short)))
    ids = np.array(windows.ids)
    tokens: list[Embeddings] = []
    for at in _passes(len(windows), WINDOWS_PER_PASS):
        index = first[at, None] + np.arange(length)
        seen = np.ascontiguousarray(mask[:, index].swapaxes(0, 1))
        batch = np.ascontiguousarray(x[:, :, index].transpose(2, 0, 1, 3))
        found = encoder.encode(batch, seen)
        there: Bool = np.any(seen, axis=(1, 2))
        yield from _vector_rows(
            space, ids[at], found, np.any(seen, axis=2), windows.modality, encoder.fingerprint, keep=there
        )
        if found.token is not None and "token" in encoder.levels:
            tokens.append(found)
    if tokens:
        yield _middles(space, windows, tokens, encoder)


def _middles(space: str, windows: Windows, found: list[Embeddings], encoder: Encoder) -> tuple[str, pa.Table]:
    """The token stream of an encoder that sees one window at a time: for each instant the token of the window whose
    middle is nearest, so that tokens have as much context on both sides as there is."""
    token = np.concatenate([f.token for f in found if f.token is not None])
    mask = np.concatenate([f.mask for f in found if f.mask is not None])
    count = token.shape[2]
    window_s = _window_s(encoder, windows)
    token_s = window_s / count
    start_s = windows.tick * TICK_S
    total = int(np.floor((start_s[-1] + window_s) / token_s + 1e-6))
    middle_s = (np.arange(total) + 0.5) * token_s
    centre_s = start_s + window_s / 2
    after = np.clip(np.searchsorted(centre_s, middle_s), 0, len(centre_s) - 1)
    before = np.maximum(after - 1, 0)
    nearest = np.where(middle_s - centre_s[before] <= np.abs(centre_s[after] - middle_s), before, after)
    at = np.floor((middle_s - start_s[nearest]) / token_s + 1e-6).astype(np.int64)
    inside = (at >= 0) & (at < count)
    at = np.clip(at, 0, count - 1)
    stream_mask = (mask[nearest, :, at] & inside[:, None]).T
    stream_token = token[nearest, :, at].swapaxes(0, 1) * stream_mask[..., None]
    origin_s = float(windows.start_s[0] - start_s[0])
    parts = slots(windows.modality)[: len(stream_token)]
    key = StreamKey(windows.recording_id, windows.modality, windows.person)
    stream = TokenStream(origin_s, token_s, stream_token, stream_mask, parts)
    return token_table_name(space), to_rows(key, stream, encoder.fingerprint)


def _pictures(windows: Windows, video: VideoRef, encoders: Encoders) -> Iterator[tuple[str, pa.Table]]:
    """Frames at the encoder's rate, each decoded and encoded once, however many windows show it."""
    for (space, modality), encoder in encoders.items():
        if modality != "video":
            continue
        count = max(1, round(_window_s(encoder, windows) * encoder.rate_hz))
        shown_s = windows.start_s[:, None] + (np.arange(count) + 0.5) / encoder.rate_hz
        last_s = windows.end_s[:, None] - 0.5 / max(video.rate_hz, 1.0)
        wanted_ms = np.rint(np.minimum(shown_s, np.maximum(last_s, windows.start_s[:, None])) * 1000)
        unique_ms, which = np.unique(wanted_ms, return_inverse=True)
        frame = _frame_vectors(encoder, video, unique_ms / 1000)
        view = frame[which.reshape(wanted_ms.shape)]
        there = np.ones((*view.shape[:1], 1, count), np.bool_)
        found = Embeddings(global_=_unit(view.mean(axis=1)), token=_unit(view)[:, None], mask=there)
        ids = np.array(windows.ids)
        yield from _level_rows(space, "global", ids, found.global_, encoder.fingerprint)
        if "token" in encoder.levels:
            yield _middles(space, windows, [found], encoder)


def _frame_vectors(encoder: Encoder, video: VideoRef, times_s: npt.NDArray[np.float64]) -> Float32:
    """Frames shown at times_s (K,) on the recording's clock → (K, D), not normalised."""
    file_s = times_s - video.start_s + float(frame_times(video.path)[0])
    size = getattr(encoder, "frame_size", None)
    vectors = []
    for at in _passes(len(times_s), FRAMES_PER_PASS):
        frames = frames_at(video.path, file_s[at], size=size)
        vectors.append(_need_global(encoder, encoder.encode(frames[:, None], raw=True)))
    return np.concatenate(vectors)


def _sentences(windows: Windows, encoders: Encoders) -> Iterator[tuple[str, pa.Table]]:
    ids = np.array(windows.ids)
    for (space, modality), encoder in encoders.items():
        if modality == "text":
            for at in _passes(len(windows), TEXTS_PER_PASS):
                found = encoder.encode(list(windows.captions[at]))
                yield from _level_rows(space, "global", ids[at], _need_global(encoder, found), encoder.fingerprint)


def _window_s(encoder: Encoder, windows: Windows) -> float:
    return encoder.window_s or float(windows.end_s[0] - windows.start_s[0])


def _passes(n: int, size: int) -> Iterator[slice]:
    for first in range(0, n, size):
        yield slice(first, first + size)


def _need_global(encoder: Encoder, found: Embeddings) -> Float32:
    if found.global_ is None:
        raise ModelError(f"the {encoder.space} encoder of {encoder.modality} gives no global vectors")
    return found.global_


def _unit(x: Float32) -> Float32:
    norm = np.linalg.norm(x, axis=-1, keepdims=True)
    return np.asarray(x / np.where(norm > 0, norm, 1), np.float32)


def _vector_rows(
    space: str,
    ids: npt.NDArray[np.str_],
    found: Embeddings,
    present: Bool,
    modality: Modality,
    fingerprint: str,
    *,
    keep: Bool | None = None,
) -> Iterator[tuple[str, pa.Table]]:
    """present: (B, P'), the parts that each window has; the encoder may know only the first of them."""
    keep = np.ones(len(ids), np.bool_) if keep is None else keep
    if found.global_ is not None:
        yield from _level_rows(space, "global", ids[keep], found.global_[keep], fingerprint)
    if found.local is not None:
        parts = found.local.shape[1]
        if parts > present.shape[1]:
            raise ModelError(
                f"the {space} encoder of {modality} gives {parts} parts, of {present.shape[1]} that it was given"
            )
        window, part = np.nonzero(present[:, :parts] & keep[:, None])
        names = np.array(slots(modality))[part]
        yield from _level_rows(space, "local", ids[window], found.local[window, part], fingerprint, names)


def _level_rows(
    space: str,
    level: Level,
    ids: npt.NDArray[np.str_],
    vectors: Float32 | None,
    fingerprint: str,
    parts: npt.NDArray[np.str_] | None = None,
) -> Iterator[tuple[str, pa.Table]]:
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
