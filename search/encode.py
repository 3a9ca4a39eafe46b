"""A query → vectors and tokens, computed with whatever surrounds the stretch that is meant."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from motionseek.encoders.base import Encoder, StreamEncoder
from motionseek.encoders.preprocess import Grid, signal_grid
from motionseek.errors import ModelError, QueryError, UsageError
from motionseek.search.query import Query
from motionseek.search.rerank import QueryTokens, interleaved
from motionseek.types import ANY_PART, PARTS, Bool, Float32, Float64, Span

PHASES = 5
AROUND_S = 1.0
"""Surroundings that are kept on each side: more than any token looks at."""
SHIFT_S = 0.2
MIN_QUERY_S = 0.4
PLACES = 5
"""A long query is looked up at this many places; the exact score then takes all of it."""
BEFORE, AFTER = 4, 3
"""By how many tokens further over a window's begin and end. A stream's last token may lie in no window: before is one
more. Chosen with 600 queries that benchmarks/candidates.py does not ask."""


@dataclass(frozen=True, eq=False)
class Probes:
    """Vectors to look up, V of them. vector: (V, D) float32.   start_s: (V,) where on the query's clock the window
    that the vector stands for begins; NaN where the query has no time.

    Of projected tokens also held (V, P, W + 1): how many tokens of each part the probe has among the first 0 to W of
    its window, token_s: what they cover, and late (V,): probes that begin so late in the query that only recordings
    shorter than a window can lie there whole.
    """

    vector: Float32
    start_s: Float64
    held: npt.NDArray[np.int16] | None = None
    token_s: float = 0.0
    late: Bool | None = None


def tokens_of(encoder: StreamEncoder, grid: Grid, hop_s: float) -> tuple[Float32, Bool]:
    """Tokens of PARTS every hop_s: (6, T, D) float32 unit-normalised and mask (6, T); token i starts at
    grid.start_s + i * hop_s. A sensor worn nobody knows where has none."""
    x, mask = grid.x, grid.mask
    if (short := round(encoder.token_s * encoder.rate_hz) - x.shape[2]) > 0:
        # What is shorter than a token is one that ends early.
        x, mask = np.pad(x, ((0, 0), (0, 0), (0, short))), np.pad(mask, ((0, 0), (0, short)))
    found = encoder.encode(x[None], mask[None], hop_s=hop_s)
    if found.token is None or found.mask is None:
        raise ModelError(f"the encoder of {encoder.modality} in the space {encoder.space} gives no tokens")
    parts = len(PARTS)
    return found.token[0, :parts], found.mask[0, :parts]


def query_grid(query: Query, encoder: Encoder | StreamEncoder, start_s: float, end_s: float) -> Grid:
    """The query's stream on a regular clock from start_s. Raises QueryError where two sensors share a part."""
    span = Span(start_s, max(end_s, start_s + 2 / encoder.rate_hz))
    try:
        return signal_grid(encoder, query.imus if query.pose is None else query.pose, span)
    except UsageError as error:
        raise QueryError(str(error)) from error


def held_at_ends(grid: Grid, samples: int) -> Grid:
    """The grid with so many more samples before and after. Where a stream has not begun, or has ended, it stays as it
    was at that moment: tokens near the ends of what was cut out look beyond them, and zeros there would be a jolt.
    What is added is masked."""
    x = np.pad(grid.x, ((0, 0), (0, 0), (samples, samples)))
    mask: Bool = np.pad(grid.mask, ((0, 0), (samples, samples)))
    length = x.shape[2]
    first, last = mask.argmax(axis=1)[:, None], length - 1 - mask[:, ::-1].argmax(axis=1)[:, None]
    x = np.take_along_axis(x, np.clip(np.arange(length), first, last)[:, None], axis=2)
    seen: Bool = np.asarray(mask.any(axis=1))
    return Grid(grid.start_s - samples / grid.rate_hz, grid.rate_hz, x * seen[:, None, None], mask)


def query_tokens(query: Query, encoder: StreamEncoder) -> QueryTokens:
    """Tokens of the stretch that is meant, at PHASES phases.

    Raises QueryError where it is too short, or where no sensor has a known placement.
    """
    start_s, end_s = _meant(query)
    _placed(query)
    hop_s = encoder.token_s / PHASES
    before = int((min(AROUND_S, max(0.0, start_s - query.start_s)) + 1e-9) / encoder.token_s)
    grid = query_grid(query, encoder, start_s - before * encoder.token_s, min(query.end_s, end_s + AROUND_S))
    token, mask = tokens_of(encoder, held_at_ends(grid, round(AROUND_S * encoder.rate_hz)), hop_s)
    first = (before + round(AROUND_S / encoder.token_s)) * PHASES
    count = int((end_s - start_s - encoder.token_s) / hop_s + 1 + 0.5)
    # Phases with fewer tokens score higher by chance, so all have the same number.
    count -= count % PHASES
    token, mask = token[:, first : first + count], mask[:, first : first + count]
    if not mask.any():
        raise QueryError(f"{query.said} has no usable motion between {start_s:g} and {end_s:g} s")
    return interleaved(start_s, encoder.token_s, token, mask, PHASES)


def _meant(query: Query) -> tuple[float, float]:
    start_s, end_s = query.meant
    if end_s - start_s < MIN_QUERY_S - 1e-9:
        raise QueryError(
            f"{query.said} is {end_s - start_s:.2f} s long: at least {MIN_QUERY_S:g} s of motion are needed"
        )
    return start_s, end_s


def _placed(query: Query) -> None:
    if query.imus and all(imu.part == ANY_PART for imu in query.imus):
        raise QueryError(
            "where the sensor is worn is not known, and motion is compared part by part: say it, for instance with "
            "--placement right_wrist (in Python: Imu.load(path, placement=…))"
        )


def token_probes(
    tokens: QueryTokens, encoder: StreamEncoder, stride_s: float, shortest_s: float | None = None
) -> Probes:
    """Projected windows of the query, at every phase and every shift of a token within the index's stride.

    A query shorter than a window is placed everywhere inside one, a longer one taken at up to PLACES places; where it
    has fewer placements than the stride has tokens it also reaches over the window's ends, and by BEFORE and AFTER
    tokens further, because a recording may end or begin within it. What is missing is masked, and what is there is
    counted, because an inner product of projected tokens is a sum over those that meet. shortest_s: of the windows
    that are looked among; a recording no longer than that may lie anywhere in the query.
    """
    _, parts, held, width = tokens.token.shape
    size, stride = round(encoder.window_s / encoder.token_s), round(stride_s / encoder.token_s)
    first, last = sorted((0, held - size))
    lack = max(0, stride - (last - first + 1))
    before, after = (BEFORE, AFTER) if lack else (0, 0)
    first, last = first - lack // 2 - before, last + lack - lack // 2 + after
    blocks = np.unique(np.linspace(first, last - stride + 1, PLACES).round().astype(int))
    starts = np.unique(blocks[:, None] + np.arange(stride))
    shortest = size if shortest_s is None else round(min(shortest_s, encoder.window_s) / encoder.token_s)
    starts = np.append(starts, np.arange(starts[-1] + 1, held - shortest + 1))
    late = np.tile(starts > blocks[-1] + stride - 1, tokens.phases)
    at = starts[:, None] + np.arange(size)
    there = (at >= 0) & (at < held)
    at = np.clip(at, 0, held - 1)
    # Views of a part that nobody wears stay zero: copying them costs more than all else here.
    views = np.zeros((tokens.phases, len(starts), parts, size, width), np.float32)
    masks = np.zeros(views.shape[:-1], np.bool_)
    for part in tokens.worn:
        masks[:, :, part] = tokens.mask[:, part, at] & there
        np.multiply(tokens.token[:, part, at], masks[:, :, part, :, None], out=views[:, :, part])
    flat, there = views.reshape(-1, parts, size, width), masks.reshape(-1, parts, size)
    start_s = tokens.start_s + np.add.outer(np.arange(tokens.phases) * tokens.hop_s, starts * tokens.token_s)
    kept = there.any(axis=(1, 2))
    if not kept.all():
        flat, there = flat[kept], there[kept]
    counts = np.pad(there.cumsum(axis=2, dtype=np.int16), ((0, 0), (0, 0), (1, 0)))
    return Probes(encoder.project(flat, there), start_s.reshape(-1)[kept], counts, tokens.token_s, late[kept])


def window_probes(query: Query, encoder: Encoder) -> Probes:
    """Global vectors of windows of the stretch that is meant: at PLACES places, each at every shift within 1 s.

    Raises QueryError where it is too short or nothing in it can be used, and in the space `motion` where no sensor has
    a known placement.
    """
    start_s, end_s = _meant(query)
    if encoder.space == "motion":
        _placed(query)
    spare_s = max(0.0, end_s - start_s - encoder.window_s)
    blocks = np.linspace(0, spare_s, PLACES if spare_s > 1 else 1)
    offsets = np.unique(np.round(np.clip(np.add.outer(blocks, SHIFT_S * np.arange(5)), 0, spare_s), 6))
    length = round(encoder.window_s * encoder.rate_hz)
    grid = query_grid(query, encoder, start_s, end_s)
    first = np.rint(offsets * encoder.rate_hz).astype(np.int64)
    short = max(0, int(first.max()) + length - grid.x.shape[2])
    x, mask = np.pad(grid.x, ((0, 0), (0, 0), (0, short))), np.pad(grid.mask, ((0, 0), (0, short)))
    at = first[:, None] + np.arange(length)
    seen = np.ascontiguousarray(mask[:, at].swapaxes(0, 1))
    found = encoder.encode(np.ascontiguousarray(x[:, :, at].transpose(2, 0, 1, 3)), seen)
    known = seen if found.mask is None else found.mask
    there: Bool = np.asarray(known.reshape(len(known), -1).any(axis=1))
    if found.global_ is None or not there.any():
        raise QueryError(f"{query.said} has no usable motion between {start_s:g} and {end_s:g} s")
    return Probes(found.global_[there], (start_s + offsets)[there])


def video_probes(query: Query, encoder: Encoder) -> Probes:
    """Global vectors of the video's windows, at up to PLACES places."""
    from motionseek.indexer.video import frame_times, frames_at

    if query.video is None:
        raise QueryError(f"{query.said} is no video")
    times = frame_times(query.video)
    shift_s = 0.0 if query.video_start_s is None else query.video_start_s - float(times[0])
    times = times + shift_s
    span = query.span or Span(float(times[0]), float(times[-1]) + 1e-3)
    start_s, end_s = max(span.start_s, float(times[0])), min(span.end_s, float(times[-1]) + 1e-3)
    if start_s >= end_s:
        raise QueryError(f"{query.said} lies outside the video, which spans {times[0]:.2f}-{times[-1]:.2f} s")
    window_s = min(encoder.window_s or 5.0, end_s - start_s)
    starts = np.unique(np.linspace(start_s, end_s - window_s, PLACES if end_s - start_s > window_s + 1 else 1))
    count = max(1, round(window_s * encoder.rate_hz))
    wanted = np.minimum(starts[:, None] + (np.arange(count) + 0.5) * window_s / count, times[-1])
    size = getattr(encoder, "frame_size", None)
    frames = np.stack([frames_at(query.video, row, size=size) for row in wanted - shift_s])
    found = encoder.encode(frames)
    if found.global_ is None:
        raise ModelError(f"the encoder of video in the space {encoder.space} gives no global vectors")
    return Probes(found.global_, starts)
