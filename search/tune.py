"""The fewest lists and candidates that an archive's own windows need, measured and kept with its indexes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from motionseek.errors import ArchiveError, UsageError
from motionseek.indexer import ann_files
from motionseek.indexer.ann import EXACT_ROWS, build_index, fewest, lists_needed
from motionseek.indexer.nearest import AnnIndex
from motionseek.indexer.schema import vector_table_name
from motionseek.indexer.store import Store
from motionseek.search.by_motion import APART_S, MIN_SHARE, RERANKED, streams_of
from motionseek.search.by_vector import RERANKED as OF_VECTORS
from motionseek.search.candidates import Candidates, Kept, by_tokens, timeless
from motionseek.search.encode import PHASES, Probes, token_probes
from motionseek.search.loaded import Loaded, Opened
from motionseek.search.motion import REACH_S, needed
from motionseek.search.rerank import QueryTokens, fit_near, interleaved
from motionseek.types import PARTS, Bool, Float32, Level, Modality

if TYPE_CHECKING:
    from motionseek.indexer.pipeline import ModelLike

COUNTS = (50, 100, 200, 300, 500, 1000)
"""Numbers of candidates to choose from; the last is what the others are measured against."""
QUERIES = 100
ANSWERS = 11
LEAST_ROWS = 1000
"""A full scan of fewer is always the fastest."""


@dataclass(frozen=True)
class Tuned:
    """What was chosen for one index, and what it reaches.

    nprobe: lists that are looked into, of nlist, for each block of the index; none where all windows are.
    candidates: how many have their tokens compared; 0 where there are none.
    recall: share of the ten best of a full scan that the index finds, of blocks the least; at the level token by a
    query that is looked up shifted as well.
    winner_kept: share of queries whose best candidate by its tokens is among those looked at; 1 without tokens.
    p95_ms: of 20 answers, 19 come faster: candidates and token scores of one query at a time, its vector given.
    met: whether both aims are.
    """

    space: str
    level: Level
    kind: str
    windows: int
    nlist: int
    nprobe: tuple[int, ...]
    candidates: int
    recall: float
    winner_kept: float
    p95_ms: float
    met: bool

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def tune(
    archive: str | Path,
    *,
    recall: float = 0.99,
    p95_ms: float = 20.0,
    models: Sequence[str | Path | ModelLike] = (),
    progress: Callable[[str], None] | None = None,
) -> list[Tuned]:
    """Choose how each index of an archive is searched, measured with the archive's own windows, and keep that: the
    kind, the lists to look into, and the candidates whose tokens are compared. Where both aims cannot be met, recall
    comes first. What was chosen outlives the index: built again, it is built to the same aims.

    recall: least share of the best answers of a full scan to be found.   p95_ms: time in which 95 % of the answers
    should come.   models: as for `open`.   progress: called with what is being done.
    Raises UsageError for aims that make no sense, ArchiveError where there is nothing to tune or to write to.
    """
    if not 0 < recall <= 1:
        raise UsageError(f"recall must be above 0 and at most 1, not {recall:g}")
    if not p95_ms > 0:
        raise UsageError(f"p95_ms must be above 0, not {p95_ms:g}")
    loaded = Loaded(Store.open(archive), models)
    say = progress or (lambda doing: None)
    levels: tuple[Level, ...] = ("token", "global")
    held = [(s, level) for s in sorted(loaded.spaces) for level in levels if _holds(loaded.store, s, level)]
    found = [tuned for s, level in held if (tuned := _tuned(loaded, s, level, recall, p95_ms, say))]
    if not found:
        raise ArchiveError(f"{archive} has no windows yet: index recordings into it first")
    return found


def _holds(store: Store, space: str, level: Level) -> bool:
    return store.table(vector_table_name(space, level)) is not None


def _tuned(
    loaded: Loaded, space: str, level: Level, recall: float, p95_ms: float, say: Callable[[str], None]
) -> Tuned | None:
    say(f"{space} {level}: opening")
    opened = loaded.open(space, level)
    if not len(opened.index):
        return None
    aims: dict[str, Any] = {"recall": recall, "p95_ms": p95_ms}
    by_size = "exact" if len(opened.index) <= EXACT_ROWS else "ivf"
    if opened.index.kind != by_size:
        # Tuned before, to other aims.
        say(f"{space} {level}: building anew")
        opened = _built(loaded, space, level, aims)
    say(f"{space} {level}: measuring with {min(QUERIES, len(opened.index))} of {len(opened.index)} windows")
    look = _TokenLook(loaded, space, opened) if level == "token" else _VectorLook(opened)
    reached, kept = _lists(opened.index, recall), look.choose(recall)
    took_ms = look.p95_ms()
    if took_ms > p95_ms and opened.index.kind == "exact" and len(opened.index) >= LEAST_ROWS:
        say(f"{space} {level}: a full scan takes {took_ms:.1f} ms; building lists")
        whole = opened
        opened = _built(loaded, space, level, {**aims, "kind": "ivf"})
        look.opened = opened
        in_lists = _lists(opened.index, recall)
        lists_ms = look.p95_ms()
        if lists_ms < took_ms:
            aims, reached, took_ms = {**aims, "kind": "ivf"}, in_lists, lists_ms
        else:
            opened = whole
    index = opened.index
    index.recall = reached
    index.parameters["tuned"] = {**aims, **({"candidates": look.candidates} if look.candidates else {})}
    _keep(loaded.store, index)
    return Tuned(
        space,
        level,
        index.kind,
        len(index),
        int(index.parameters.get("nlist", 0)),
        tuple(index.parameters["nprobe"]) if index.kind == "ivf" else (),
        look.candidates,
        reached,
        kept,
        round(took_ms, 3),
        reached >= recall and kept >= recall and took_ms <= p95_ms,
    )


def _built(loaded: Loaded, space: str, level: Level, settings: dict[str, Any]) -> Opened:
    return Opened(build_index(loaded.store, space, level, write=False, settings=settings))


def _keep(store: Store, index: AnnIndex) -> None:
    try:
        ann_files.save(store.ann_dir, index, ann_files.built_from(store, index.space, index.level))
    except OSError as error:
        raise ArchiveError(
            f"{store.ann_dir} cannot be written to ({error.strerror or error}): what was measured cannot be kept"
        ) from error


def _lists(index: AnnIndex, aim: float) -> float:
    """Set the fewest lists of each block that reach the recall aimed at. Returns the least that is reached."""
    if index.kind == "exact":
        return 1.0
    found = []
    for block in range(index.blocks):
        matrix, rng = index.vectors(np.arange(len(index)), block), np.random.default_rng(1)
        shifted = index.level == "token"
        found.append(fewest(lists_needed(index.faiss_blocks[block], matrix, index.windows, rng, shifted=shifted), aim))
    index.parameters["nprobe"] = [nprobe for nprobe, _ in found]
    return min(recall for _, recall in found)


class _VectorLook:
    """Single vectors, as sentences and pictures are looked up."""

    candidates = 0

    def __init__(self, opened: Opened) -> None:
        self.opened = opened
        rng = np.random.default_rng(2)
        self._query = opened.index.vectors(rng.choice(len(opened.index), min(QUERIES, len(opened.index)), False))
        self._kept = Kept(opened.columns, np.ones(len(opened.index), np.bool_))

    def choose(self, aim: float) -> float:
        """Nothing is compared further."""
        return 1.0

    def p95_ms(self) -> float:
        index, columns = self.opened.index, self.opened.columns
        spread, every = self.opened.spreads, cast(tuple[Modality, ...], columns.modalities)
        return _p95_ms(
            lambda query: timeless(index, self._kept, query, every, spread, OF_VECTORS, ANSWERS),
            self._query,
        )


class _TokenLook:
    """Stretches of the archive's own token streams, looked up as queries at a random phase against the grid."""

    candidates = RERANKED

    def __init__(self, loaded: Loaded, space: str, opened: Opened) -> None:
        self.opened, self._loaded, self._space = opened, loaded, space
        columns, rng = opened.columns, np.random.default_rng(3)
        counts = np.bincount(columns.modality_code, minlength=len(columns.modalities))
        asks = int(np.where(counts > 0, counts, counts.max() + 1).argmin())
        rows = np.flatnonzero(columns.modality_code == asks)
        rows = rng.choice(rows, min(len(rows), QUERIES), replace=False)
        others = columns.modality_code != asks
        alone = not others.any()
        self._encoder = loaded.stream_encoder(columns.modalities[asks])
        self._stride_s = loaded.spaces[space].stride_s
        size = round(self._encoder.window_s / self._encoder.token_s)
        every = Candidates(rows, *(np.zeros(len(rows), np.float32),) * 2, columns.start_s[rows])
        keys, which = streams_of(columns, every)
        held = loaded.store.tokens(space, keys)
        among = Kept(columns, others)
        self._asked: list[tuple[QueryTokens, Kept]] = []
        for row, stream in zip(rows.tolist(), (held[keys[w]] for w in which.tolist()), strict=True):
            first = round((columns.start_s[row] - stream.start_s) / stream.token_s)
            at = np.s_[: len(PARTS), max(0, first) : first + size]
            tokens = _between(
                stream.token[at], stream.mask[at], float(columns.start_s[row]), stream.token_s, float(rng.random())
            )
            if tokens is not None:
                kept = Kept(columns, columns.recording != columns.recording[row]) if alone else among
                self._asked.append((tokens, kept))

    def choose(self, aim: float) -> float:
        """Of COUNTS, the fewest candidates among which the best of the most stay. Returns the share that does."""
        kept: list[list[bool]] = []
        for asked, among in self._asked:
            probes = self._probes(asked, among)
            found, score = self._scored(asked, probes, among, COUNTS[-1])
            if np.isfinite(score).any():
                row = found.row[score.argmax()]
                fewer = (self._found(probes, among, count).row for count in COUNTS[:-1])
                kept.append([*(bool((rows == row).any()) for rows in fewer), True])
        shares = np.mean(kept, axis=0).tolist() if kept else [1.0]
        at = next(i for i, share in enumerate(shares) if share >= aim)
        self.candidates = COUNTS[at]
        return round(shares[at], 4)

    def p95_ms(self) -> float:
        return _p95_ms(
            lambda asked: self._scored(asked[0], self._probes(*asked), asked[1], self.candidates), self._asked
        )

    def _probes(self, asked: QueryTokens, among: Kept) -> Probes:
        return token_probes(asked, self._encoder, self._stride_s, among.shortest_s)

    def _found(self, probes: Probes, kept: Kept, count: int) -> Candidates:
        return by_tokens(self.opened.index, kept, probes, count, APART_S, ANSWERS)

    def _scored(self, asked: QueryTokens, probes: Probes, kept: Kept, count: int) -> tuple[Candidates, Float32]:
        """The candidates and their token scores."""
        found = self._found(probes, kept, count)
        keys, which = streams_of(self.opened.columns, found)
        meant = asked.start_s, asked.start_s + asked.duration_s
        spans = needed(keys, which, found.offset_s, meant)
        held = self._loaded.store.tokens(self._space, keys, spans, parts=[PARTS[part] for part in asked.worn])
        streams = [(s.start_s, s.token, s.mask) for s in (held[key] for key in keys)]
        asked = asked.only(asked.worn)
        return found, fit_near(asked, streams, which, found.offset_s, REACH_S, min_share=MIN_SHARE).score


def _between(token: Float32, mask: Bool, start_s: float, token_s: float, shift: float) -> QueryTokens | None:
    """Tokens (P, T, D) of a query that begins a share `shift` of a hop later; None where none is left."""
    steps = (token.shape[1] - 1) * PHASES
    if steps < PHASES:
        return None
    at = (np.arange(steps) + shift) / PHASES
    before, share = at.astype(np.int64), (at % 1)[:, None].astype(np.float32)
    mixed = token[:, before] * (1 - share) + token[:, before + 1] * share
    there = mask[:, before] & mask[:, before + 1]
    if not there.any():
        return None
    mixed /= np.maximum(np.linalg.norm(mixed, axis=-1, keepdims=True), 1e-6)
    start_s += shift * token_s / PHASES
    return interleaved(start_s, token_s, (mixed * there[..., None]).astype(np.float32), there, PHASES)


def _p95_ms(answer: Callable[[Any], object], queries: Sequence[Any] | Float32) -> float:
    """95th percentile of one answer after the other, the first ones to warm up not counted."""
    took_ms = []
    for query in [*queries[:3], *queries]:
        began = time.perf_counter()
        answer(query)
        took_ms.append((time.perf_counter() - began) * 1e3)
    return float(np.percentile(took_ms[3:], 95)) if len(took_ms) > 3 else 0.0
