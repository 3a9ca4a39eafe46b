"""Pieces of a recording → rows of every table: windows, vectors at each level, token streams."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import accumulate

import numpy as np
import numpy.typing as npt
import torch
from numpy.lib.stride_tricks import sliding_window_view

from motionseek.encoders.base import Embeddings, Encoder, StreamEncoder, tokenises
from motionseek.encoders.preprocess import Grid
from motionseek.errors import ModelError
from motionseek.indexer.middles import Middles
from motionseek.indexer.prepare import Encoders, Frames, Pictures, Piece, Signals, form, sampling
from motionseek.indexer.rows import Rows, level_rows, vector_rows
from motionseek.indexer.schema import slots, token_table_name
from motionseek.indexer.tokens import ChunkRow, Chunks, StreamKey, chunk_table
from motionseek.indexer.windows import TICK_S, Int64, Windows, window_rows
from motionseek.types import Bool, Float32, Modality

WINDOWS_PER_PASS = 64
WINDOWS_TOGETHER = 512
TEXTS_PER_PASS = 256


class Encoding:
    """Recordings on their way into the archive: takes their pieces, gives rows by table name.

    labels: of each recording, by its id. Pieces of a film, which do not say whose they are, need an Encoding alone.
    """

    def __init__(self, encoders: Encoders, window_s: float, labels: Mapping[str, Sequence[str]]) -> None:
        self.encoders, self.window_s, self.labels = encoders, window_s, labels
        self.windows = dict.fromkeys(labels, 0)
        self._quality = dict.fromkeys(labels, 0.0)
        self._told: set[str] = set()
        self._chunks: dict[tuple[str, StreamKey], Chunks] = {}
        self._middles: dict[tuple[str, StreamKey], Middles] = {}
        self._frames: dict[tuple[str, int], Float32] = {}

    def quality(self, recording_id: str) -> float:
        """Mean over a recording's windows, 0 without any."""
        windows = self.windows[recording_id]
        return round(self._quality[recording_id] / windows, 4) if windows else 0.0

    def take(self, piece: Piece) -> Iterator[Rows]:
        """The next piece of a recording. Raises ModelError where an encoder is unfit."""
        if isinstance(piece, Signals):
            yield from self.together([piece])
        elif isinstance(piece, Frames):
            self._look(piece)
        elif isinstance(piece, Pictures):
            yield from self._pictures(piece)
        else:
            yield self._windows([piece.windows])
            yield from self._sentences(piece.windows)

    def together(self, pieces: Sequence[Signals]) -> Iterator[Rows]:
        """One piece each of several recordings, which takes less time than one after another: the same rows."""
        for modality in dict.fromkeys(piece.windows.modality for piece in pieces):
            alike = [piece for piece in pieces if piece.windows.modality == modality]
            while alike:
                total = np.cumsum([len(piece.windows) for piece in alike])
                many = max(1, int(np.searchsorted(total, WINDOWS_TOGETHER, side="right")))
                some, alike = alike[:many], alike[many:]
                yield self._windows([piece.windows for piece in some])
                yield from self._signals(some)

    def _windows(self, several: Sequence[Windows]) -> Rows:
        rows = window_rows(several, self.labels)
        quality, first = rows["quality"].to_numpy(), 0
        for windows in several:
            self.windows[windows.recording_id] += len(windows)
            self._quality[windows.recording_id] += float(quality[first : first + len(windows)].sum())
            first += len(windows)
        return "windows", rows

    def _of(self, modality: Modality) -> Iterator[tuple[str, Encoder]]:
        return ((space, encoder) for (space, its), encoder in self.encoders.items() if its == modality)

    def _signals(self, pieces: Sequence[Signals]) -> Iterator[Rows]:
        for space, encoder in self._of(pieces[0].windows.modality):
            for some in [pieces] if getattr(encoder, "independent", False) else [[piece] for piece in pieces]:
                if tokenises(encoder):
                    yield from self._streams(space, encoder, some)
                else:
                    yield from self._windowed(space, encoder, some)

    def _streams(self, space: str, encoder: StreamEncoder, pieces: Sequence[Signals]) -> Iterator[Rows]:
        n, per_tick = round(encoder.window_s / encoder.token_s), round(TICK_S / encoder.token_s)
        chunks: list[ChunkRow] = []
        streams: list[tuple[Float32, Bool, Int64]] = []
        for piece in pieces:
            grid = _whole(_read(piece, encoder), piece.slots, len(slots(encoder.modality)))
            token, mask = tokenise(grid, encoder)
            lead = round((piece.origin_s + piece.first * TICK_S - grid.start_s) / encoder.token_s)
            token, mask = token[:, lead:], mask[:, lead:]
            stop = token.shape[1] if piece.last else (piece.stop - piece.first) * per_tick
            chunks += self._tokens(space, encoder, piece, token[:, :stop], mask[:, :stop], encoder.token_s)
            first = (piece.windows.tick - piece.first) * per_tick
            if short := max(0, int(first.max(initial=0)) + n - token.shape[1]):
                token, mask = np.pad(token, ((0, 0), (0, short), (0, 0))), np.pad(mask, ((0, 0), (0, short)))
            streams.append((token, mask, first))
        yield token_table_name(space), chunk_table(chunks)
        for some in _passes([len(piece.windows) for piece in pieces], WINDOWS_TOGETHER):
            ids = _ids(pieces, some)
            views = []
            for i, at in some:
                token, mask, first = streams[i]
                index = first[at, None] + np.arange(n)
                views.append((token[:, index].swapaxes(0, 1), mask[:, index].swapaxes(0, 1)))
            seen = np.ascontiguousarray(np.concatenate([mask for _, mask in views]))
            there: Bool = np.any(seen, axis=(1, 2))
            if not there.any():
                continue
            ids, seen = ids[there], seen[there]
            view = np.ascontiguousarray(np.concatenate([token for token, _ in views])[there]) * seen[..., None]
            pooled = encoder.pool(view, seen)
            present: Bool = np.any(seen, axis=2)
            yield from vector_rows(space, ids, pooled, present, encoder.modality, encoder.fingerprint)
            if "token" in encoder.levels:
                yield from level_rows(space, "token", ids, encoder.project(view, seen), encoder.fingerprint)

    def _windowed(self, space: str, encoder: Encoder, pieces: Sequence[Signals]) -> Iterator[Rows]:
        window_s, whose = encoder.window_s or self.window_s, slots(encoder.modality)
        grids = [_read(piece, encoder) for piece in pieces]
        channels, length = grids[0].x.shape[1], round(window_s * grids[0].rate_hz)
        views: list[tuple[Float32, Bool, Int64]] = []
        for piece, grid in zip(pieces, grids, strict=True):
            lead_s = piece.origin_s - grid.start_s
            first = np.rint((piece.windows.tick * TICK_S + lead_s) * grid.rate_hz).astype(np.int64)
            x, mask = _lengthened(grid, max(0, int(first.max(initial=0)) + length - grid.x.shape[2]))
            views.append((sliding_window_view(x, length, 2), sliding_window_view(mask, length, 1), first))
        tokens: list[list[Embeddings]] = [[] for _ in pieces]
        for some in _passes([len(piece.windows) for piece in pieces], WINDOWS_PER_PASS):
            sizes = [at.stop - at.start for _, at in some]
            rows = [slice(stop - size, stop) for size, stop in zip(sizes, accumulate(sizes), strict=True)]
            batch = np.zeros((sum(sizes), len(whose), channels, length), np.float32)
            seen = np.zeros((len(batch), len(whose), length), np.bool_)
            for (i, at), its in zip(some, rows, strict=True):
                x, mask, first = views[i]
                batch[its, pieces[i].slots] = x[:, :, first[at]].transpose(2, 0, 1, 3)
                seen[its, pieces[i].slots] = mask[:, first[at]].swapaxes(0, 1)
            found, ids = encoder.encode(batch, seen), _ids(pieces, some)
            there: Bool = np.any(seen, axis=(1, 2))
            present: Bool = np.any(seen, axis=2)
            yield from vector_rows(space, ids, found, present, encoder.modality, encoder.fingerprint, keep=there)
            if found.token is not None and found.mask is not None and "token" in encoder.levels:
                for (i, _), its in zip(some, rows, strict=True):
                    tokens[i].append(Embeddings(token=found.token[its], mask=found.mask[its]))
        if "token" in encoder.levels:
            for piece, its_tokens in zip(pieces, tokens, strict=True):
                yield from self._between(space, encoder, piece, piece.windows, its_tokens, window_s)

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
            yield token_table_name(space), chunk_table(self._tokens(space, encoder, piece, *stream, middles.token_s))

    def _tokens(
        self,
        space: str,
        encoder: Encoder | StreamEncoder,
        piece: Signals | Pictures,
        token: Float32,
        mask: Bool,
        token_s: float,
    ) -> list[ChunkRow]:
        key = _key(piece.windows)
        name = space, key
        if name not in self._chunks:
            self._chunks[name] = Chunks(key, piece.origin_s, token_s, len(token), encoder.fingerprint)
        worn = piece.slots if isinstance(piece, Signals) else (0,)
        return self._chunks[name].take(token, mask, worn=worn, last=piece.last)

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
            yield self._windows([windows.take(np.array([i not in self._told for i in windows.ids], np.bool_))])
            self._told.update(windows.ids)
            found: list[Embeddings] = []
            if len(windows) and frame is not None:
                view = frame[which.reshape(piece.times_ms.shape)[keep]]
                mean = view.sum(axis=1) / there.sum(axis=1, keepdims=True)
                found = [Embeddings(global_=_unit(mean), token=_unit(view)[:, None], mask=there[:, None])]
                yield from level_rows(space, "global", np.array(windows.ids), found[0].global_, encoder.fingerprint)
            if "token" in encoder.levels:
                yield from self._between(space, encoder, piece, windows, found, piece.sampling.window_s)
            done_ms = round((piece.origin_s + piece.stop * TICK_S) * 1000)
            self._frames = {at: v for at, v in self._frames.items() if at[0] != space or at[1] >= done_ms}

    def _sentences(self, windows: Windows) -> Iterator[Rows]:
        for space, encoder in self._of("text"):
            for ((_, at),) in _passes([len(windows)], TEXTS_PER_PASS):
                found = encoder.encode(list(windows.captions[at]))
                yield from level_rows(
                    space, "global", np.array(windows.ids[at]), _need_global(encoder, found), encoder.fingerprint
                )


@contextmanager
def beside(readers: int) -> Iterator[None]:
    """Torch leaves a core to each of so many readers: in the short passes of sensors and poses, threads that wait for a
    core cost more than they bring."""
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads - readers))
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def tokenise(grid: Grid, encoder: StreamEncoder) -> tuple[Float32, Bool]:
    """Tokens (P, T, D) and mask (P, T) of a stretch of any length; the last one may be cut short by its end."""
    per_token = round(encoder.token_s * grid.rate_hz)
    rest = -grid.x.shape[2] % per_token
    x, mask = _lengthened(grid, rest)
    token, seen = encoder.tokens(x[None], mask[None])
    return token[0], seen[0]


def _ids(pieces: Sequence[Signals], some: Sequence[tuple[int, slice]]) -> npt.NDArray[np.str_]:
    return np.array([name for i, at in some for name in pieces[i].windows.ids[at]])


def _read(piece: Signals, encoder: Encoder | StreamEncoder) -> Grid:
    """What the encoder reads of it, of the slots that came."""
    return piece.grids[piece.forms.index(form(encoder, encoder.modality))]


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


def _passes(counts: Sequence[int], size: int) -> Iterator[list[tuple[int, slice]]]:
    """Of several recordings' windows, `size` in a pass: which recordings', and which of theirs."""
    some: list[tuple[int, slice]] = []
    left = size
    for i, count in enumerate(counts):
        first = 0
        while first < count:
            stop = min(count, first + left)
            some.append((i, slice(first, stop)))
            left, first = left - (stop - first), stop
            if not left:
                yield some
                some, left = [], size
    if some:
        yield some


def _need_global(encoder: Encoder, found: Embeddings) -> Float32:
    if found.global_ is None:
        raise ModelError(f"the {encoder.space} encoder of {encoder.modality} gives no global vectors")
    return found.global_


def _unit(x: Float32) -> Float32:
    norm = np.linalg.norm(x, axis=-1, keepdims=True)
    return np.asarray(x / np.where(norm > 0, norm, 1), np.float32)
