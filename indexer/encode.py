"""Pieces of a recording → rows of every table: windows, vectors at each level, token streams."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from motionseek.encoders.base import Embeddings, Encoder, StreamEncoder, tokenises
from motionseek.encoders.preprocess import Grid
from motionseek.errors import ModelError
from motionseek.indexer.middles import Middles
from motionseek.indexer.prepare import Encoders, Frames, Pictures, Piece, Sentences, Signals, form, sampling
from motionseek.indexer.rows import Rows, level_rows, vector_rows
from motionseek.indexer.schema import slots, token_table_name
from motionseek.indexer.tokens import Chunks, StreamKey
from motionseek.indexer.windows import TICK_S, Windows
from motionseek.types import Bool, Float32, Modality

WINDOWS_PER_PASS = 64
TEXTS_PER_PASS = 256


class Encoding:
    """One recording on its way into the archive: takes its pieces in their order, gives rows by table name."""

    def __init__(self, encoders: Encoders, window_s: float, labels: Sequence[str]) -> None:
        self.encoders, self.window_s, self.labels = encoders, window_s, labels
        self.windows = 0
        self._quality = 0.0
        self._told: set[str] = set()
        self._chunks: dict[tuple[str, StreamKey], Chunks] = {}
        self._middles: dict[tuple[str, StreamKey], Middles] = {}
        self._frames: dict[tuple[str, int], Float32] = {}

    @property
    def quality(self) -> float:
        """Mean over the windows, 0 without any."""
        return round(self._quality / self.windows, 4) if self.windows else 0.0

    def take(self, piece: Piece) -> Iterator[Rows]:
        """Raises ModelError where an encoder is unfit."""
        if isinstance(piece, Frames):
            self._look(piece)
            return
        if isinstance(piece, Pictures):
            yield from self._pictures(piece)
            return
        yield self._windows(piece.windows)
        if isinstance(piece, Sentences):
            yield from self._sentences(piece.windows)
        else:
            yield from self._signals(piece)

    def _windows(self, windows: Windows) -> Rows:
        rows = windows.to_rows(self.labels)
        self.windows += len(rows)
        self._quality += float(rows["quality"].to_numpy().sum())
        return "windows", rows

    def _of(self, modality: Modality) -> Iterator[tuple[str, Encoder]]:
        return ((space, encoder) for (space, its), encoder in self.encoders.items() if its == modality)

    def _signals(self, piece: Signals) -> Iterator[Rows]:
        modality = piece.windows.modality
        for space, encoder in self._of(modality):
            grid = _whole(piece.grids[piece.forms.index(form(encoder, modality))], piece.slots, len(slots(modality)))
            if tokenises(encoder):
                yield from self._stream(space, encoder, piece, grid)
            else:
                yield from self._windowed(space, encoder, piece, grid)

    def _stream(self, space: str, encoder: StreamEncoder, piece: Signals, grid: Grid) -> Iterator[Rows]:
        windows, per_tick = piece.windows, round(TICK_S / encoder.token_s)
        token, mask = tokenise(grid, encoder)
        lead = round((piece.origin_s + piece.first * TICK_S - grid.start_s) / encoder.token_s)
        token, mask = token[:, lead:], mask[:, lead:]
        stop = token.shape[1] if piece.last else (piece.stop - piece.first) * per_tick
        yield self._tokens(space, encoder, windows, piece, token[:, :stop], mask[:, :stop], encoder.token_s)
        if not len(windows):
            return
        n = round(encoder.window_s / encoder.token_s)
        first = (windows.tick - piece.first) * per_tick
        short = max(0, int(first.max()) + n - token.shape[1])
        if short:
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
            yield from vector_rows(space, ids[at][there], pooled, present, windows.modality, encoder.fingerprint)
            if "token" in encoder.levels:
                projected = encoder.project(view, seen)
                yield from level_rows(space, "token", ids[at][there], projected, encoder.fingerprint)

    def _windowed(self, space: str, encoder: Encoder, piece: Signals, grid: Grid) -> Iterator[Rows]:
        windows = piece.windows
        window_s = encoder.window_s or self.window_s
        length = round(window_s * grid.rate_hz)
        lead_s = piece.origin_s - grid.start_s
        first = np.rint((windows.tick * TICK_S + lead_s) * grid.rate_hz).astype(np.int64)
        short = max(0, int(first.max(initial=0)) + length - grid.x.shape[2])
        x, mask = _lengthened(grid, short)
        ids = np.array(windows.ids)
        tokens: list[Embeddings] = []
        for at in _passes(len(windows), WINDOWS_PER_PASS):
            index = first[at, None] + np.arange(length)
            seen = np.ascontiguousarray(mask[:, index].swapaxes(0, 1))
            batch = np.ascontiguousarray(x[:, :, index].transpose(2, 0, 1, 3))
            found = encoder.encode(batch, seen)
            there: Bool = np.any(seen, axis=(1, 2))
            present: Bool = np.any(seen, axis=2)
            yield from vector_rows(space, ids[at], found, present, windows.modality, encoder.fingerprint, keep=there)
            if found.token is not None and "token" in encoder.levels:
                tokens.append(found)
        if "token" in encoder.levels:
            yield from self._between(space, encoder, piece, windows, tokens, window_s)

    def _between(
        self,
        space: str,
        encoder: Encoder,
        piece: Signals | Pictures,
        windows: Windows,
        found: Sequence[Embeddings],
        window_s: float,
    ) -> Iterator[Rows]:
        """The token stream of an encoder that sees one window at a time."""
        middles = self._middles.setdefault((space, _key(windows)), Middles(window_s))
        start_s = np.asarray(windows.tick * TICK_S, np.float64)
        if found:
            token = np.concatenate([f.token for f in found if f.token is not None])
            middles.take(start_s, token, np.concatenate([f.mask for f in found if f.mask is not None]))
        until_s = None if piece.last else (piece.stop * TICK_S)
        if (stream := middles.give(until_s)) is not None:
            yield self._tokens(space, encoder, windows, piece, *stream, middles.token_s)

    def _tokens(
        self,
        space: str,
        encoder: Encoder | StreamEncoder,
        windows: Windows,
        piece: Signals | Pictures,
        token: Float32,
        mask: Bool,
        token_s: float,
    ) -> Rows:
        name, key = (space, _key(windows)), _key(windows)
        if name not in self._chunks:
            self._chunks[name] = Chunks(key, piece.origin_s, token_s, len(token), encoder.fingerprint)
        worn = piece.slots if isinstance(piece, Signals) else (0,)
        return token_table_name(space), self._chunks[name].take(token, mask, worn=worn, last=piece.last)

    def _look(self, piece: Frames) -> None:
        for space, encoder in self._of("video"):
            if sampling(encoder, self.window_s) == piece.sampling:
                found = _need_global(encoder, encoder.encode(piece.frames[:, None], raw=True))
                self._frames |= {(space, ms): row for ms, row in zip(piece.times_ms.tolist(), found, strict=True)}

    def _pictures(self, piece: Pictures) -> Iterator[Rows]:
        """A window without any frame is left out; the vector of the others is the mean of the frames they have."""
        unique_ms, which = np.unique(piece.times_ms, return_inverse=True)
        for space, encoder in self._of("video"):
            if sampling(encoder, self.window_s) != piece.sampling:
                continue
            held = [self._frames.get((space, ms)) for ms in unique_ms.tolist()]
            width = next((len(v) for v in held if v is not None), 0)
            there = np.array([v is not None for v in held], np.bool_)[which.reshape(piece.times_ms.shape)]
            frame = np.stack([np.zeros(width, np.float32) if v is None else v for v in held]) if held else None
            keep: Bool = np.any(there, axis=1)
            windows, there = piece.windows.take(keep), there[keep]
            yield self._windows(windows.take(np.array([i not in self._told for i in windows.ids], np.bool_)))
            self._told.update(windows.ids)
            found: list[Embeddings] = []
            if len(windows) and frame is not None:
                view = frame[which.reshape(piece.times_ms.shape)[keep]]
                mean = view.sum(axis=1) / there.sum(axis=1, keepdims=True)
                found = [Embeddings(global_=_unit(mean), token=_unit(view)[:, None], mask=there[:, None])]
                ids = np.array(windows.ids)
                yield from level_rows(space, "global", ids, found[0].global_, encoder.fingerprint)
            if "token" in encoder.levels:
                yield from self._between(space, encoder, piece, windows, found, piece.sampling.window_s)
            done_ms = round((piece.origin_s + piece.stop * TICK_S) * 1000)
            self._frames = {at: v for at, v in self._frames.items() if at[0] != space or at[1] >= done_ms}

    def _sentences(self, windows: Windows) -> Iterator[Rows]:
        ids = np.array(windows.ids)
        for space, encoder in self._of("text"):
            for at in _passes(len(windows), TEXTS_PER_PASS):
                found = encoder.encode(list(windows.captions[at]))
                yield from level_rows(space, "global", ids[at], _need_global(encoder, found), encoder.fingerprint)


def tokenise(grid: Grid, encoder: StreamEncoder) -> tuple[Float32, Bool]:
    """Tokens (P, T, D) and mask (P, T) of a stretch of any length; the last one may be cut short by its end."""
    per_token = round(encoder.token_s * grid.rate_hz)
    rest = -grid.x.shape[2] % per_token
    x, mask = _lengthened(grid, rest)
    found = encoder.encode(x[None], mask[None])
    if found.token is None or found.mask is None:
        raise ModelError(f"the {encoder.space} encoder of {encoder.modality} gives no tokens, though it tokenises")
    return found.token[0], found.mask[0]


def _whole(grid: Grid, held: Sequence[int], slots: int) -> Grid:
    """All slots of the modality, of which `held` came."""
    x = np.zeros((slots, *grid.x.shape[1:]), np.float32)
    mask = np.zeros((slots, grid.mask.shape[1]), np.bool_)
    x[list(held)], mask[list(held)] = grid.x, grid.mask
    return Grid(grid.start_s, grid.rate_hz, x, mask)


def _lengthened(grid: Grid, by: int) -> tuple[Float32, Bool]:
    """x and mask of a grid with so many masked samples after its end."""
    if not by:
        return grid.x, grid.mask
    return np.pad(grid.x, ((0, 0), (0, 0), (0, by))), np.pad(grid.mask, ((0, 0), (0, by)))


def _key(windows: Windows) -> StreamKey:
    return StreamKey(windows.recording_id, windows.modality, windows.person)


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
