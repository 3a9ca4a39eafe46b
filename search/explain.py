"""Why a moment was found: what each part and each fifth of a second of it, or each window around it, has to do with the
query, and what else would fit as well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from motionseek.errors import QueryError
from motionseek.indexer.tokens import StreamKey
from motionseek.search.by_vector import probes
from motionseek.search.calibrate import RIVALS, UNRELATED
from motionseek.search.encode import query_tokens
from motionseek.search.instants import INSTANT_S, instants
from motionseek.search.loaded import Loaded
from motionseek.search.plan import vector_spaces
from motionseek.search.query import Query
from motionseek.search.refine import met
from motionseek.types import PARTS, Float32, Float64, Moment, Span

AROUND_S = 10.0
"""How far beyond the moment its surroundings are shown."""
BARS = " ▁▂▃▄▅▆▇█"


@dataclass(frozen=True, eq=False)
class Explanation:
    """What made a hit.

    space: whose vectors or tokens were compared.   rows: names of what is compared: the parts of the body for motion,
    "windows" else.   t_s: (T,) on the moment's clock: tokens, or instants of half a second around the moment.
    cosine: (R, T), NaN where one side has nothing.   mean: (R,) over the moment.   levels: the moment's scores, and for
    motion those of the levels that the search did not need.   local: (R,) for motion, the cosine of each part's one
    vector over the moment.   terms: for a sum, each term with its weight and own cosine with the moment.   rivals:
    other sentences and their cosines with the moment, best first, and whether the query has so little to do with them
    that they count against its confidence.
    """

    query: str
    moment: Moment
    space: str
    rows: tuple[str, ...]
    step_s: float
    t_s: Float64
    cosine: Float32
    mean: Float32
    levels: Mapping[str, float]
    local: Float32 | None = None
    terms: tuple[tuple[str, float, float], ...] = ()
    rivals: tuple[tuple[str, float, bool], ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "query": self.query,
            "path": list(self.moment.path),
            "space": self.space,
            "levels": {level: round(score, 5) for level, score in self.levels.items()},
            "confidence": None if self.moment.confidence is None else round(self.moment.confidence, 4),
            "step_s": self.step_s,
            "t_s": [round(t, 3) for t in self.t_s.tolist()],
            "rows": [
                {"name": name, "mean": _rounded(mean), "cosine": [_rounded(c) for c in cosine]}
                | ({} if self.local is None else {"local": _rounded(self.local[i])})
                for i, (name, mean, cosine) in enumerate(zip(self.rows, self.mean, self.cosine, strict=True))
            ],
            "terms": [{"term": t, "weight": w, "cosine": round(c, 4)} for t, w, c in self.terms],
            "rivals": [{"sentence": s, "cosine": round(c, 4), "counts": far} for s, c, far in self.rivals],
        }

    def text(self) -> str:
        """A picture in letters: a line a row, a column a step, higher bars for better fits, `·` where nothing is."""
        m = self.moment
        levels = ", ".join(f"{level} {score:.3f}" for level, score in self.levels.items())
        sure = "" if m.confidence is None else f", sure {m.confidence:.2f}"
        lines = [f"{' → '.join(m.path)} in the space {self.space}: {levels}{sure}"]
        wide = max(map(len, self.rows), default=0)
        for name, mean, cosine in zip(self.rows, self.mean, self.cosine, strict=True):
            lines.append(f"  {name:{wide}}  {'    -' if np.isnan(mean) else f'{mean:5.2f}'}  {_bars(cosine)}")
        if len(self.t_s):
            # A narration has no steps: it begins where it begins.
            inside = (self.t_s + max(self.step_s, 1e-5) > m.start_s + 1e-6) & (self.t_s < m.end_s - 1e-6)
            marks = "".join("=" if i else " " for i in inside)
            ends = f"{self.t_s[0]:.1f} to {self.t_s[-1] + self.step_s:.1f} s, = is the moment"
            lines.append(f"  {'':{wide}}         {marks}  {ends}")
        lines += [f"  {weight:+g} × {term}: {cosine:.3f}" for term, weight, cosine in self.terms]
        if self.rivals:
            told = ", ".join(
                f"{sentence} {cosine:.2f}{'' if far else ' (alike)'}" for sentence, cosine, far in self.rivals
            )
            lines.append(f"  what else fits: {told}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"Explanation({self.query!r}, {self.cosine.shape} in {self.space})"


def _rounded(cosine: np.floating[Any]) -> float | None:
    return None if np.isnan(cosine) else round(float(cosine), 4)


def _bars(cosine: Float32) -> str:
    level = np.clip(np.nan_to_num(cosine) * (len(BARS) - 1), 0, len(BARS) - 1).round().astype(int)
    return "".join("·" if gone else BARS[i] for i, gone in zip(level.tolist(), np.isnan(cosine).tolist(), strict=True))


def explain(loaded: Loaded, asked: Query, moment: Moment) -> Explanation:
    """See `Archive.explain`."""
    if moment.recording_id not in loaded.sources:
        raise QueryError(f"the archive has no recording {moment.recording_id}")
    if moment.offset_s is not None and asked.modality in ("imu", "pose") and loaded.streams(asked.modality):
        return _by_tokens(loaded, asked, moment, moment.offset_s)
    by_motion = moment.offset_s is not None
    spaces = vector_spaces(loaded, asked)
    if not spaces and asked.modality in ("imu", "pose"):
        raise QueryError(
            f"{asked.said} was compared with whole windows alone, which say no more than their score: search with "
            "rerank='token' to explain what is found"
        )
    for space in sorted(spaces, key=lambda space: (space == "motion") != by_motion):
        if (found := _by_windows(loaded, asked, moment, space)) is not None:
            return found
    raise QueryError(f"no window of {moment.through} lies on the moment that {asked.said} can be compared with")


def _by_tokens(loaded: Loaded, asked: Query, moment: Moment, offset_s: float) -> Explanation:
    encoder = loaded.stream_encoder(asked.modality)
    tokens = query_tokens(asked, encoder)
    key = StreamKey(moment.recording_id, moment.through, moment.person)
    meant = Span(asked.meant[0] + offset_s - 1.0, asked.meant[1] + offset_s + 1.0)
    stream = loaded.store.tokens("motion", [key], {key: meant}).get(key)
    if stream is None:
        raise QueryError(f"the archive has no motion tokens of {moment.through} on {moment.recording_id[:12]}")
    held = stream.start_s, stream.token[: len(PARTS)], stream.mask[: len(PARTS)]
    times_s, ours, theirs, both = met(tokens, held, offset_s)
    shown = np.flatnonzero(both.any(axis=1))
    cosine = np.where(both, (ours * theirs).sum(axis=-1), np.float32(np.nan))[shown]
    count = both[shown].sum(axis=1)
    sides = [
        one.pool((side * both[..., None])[None], both[None])
        for one, side in ((encoder, ours), (loaded.stream_encoder(moment.through), theirs))
    ]
    levels = dict(moment.scores)
    local = None
    if len(shown) and sides[0].local is not None and sides[1].local is not None:
        local = (sides[0].local[0] * sides[1].local[0]).sum(axis=-1)[shown]
        levels.setdefault("local", float(local.mean()))
    if len(shown) and sides[0].global_ is not None and sides[1].global_ is not None:
        levels.setdefault("global", float(sides[0].global_[0] @ sides[1].global_[0]))
    return Explanation(
        asked.said,
        moment,
        "motion",
        tuple(PARTS[p] for p in shown),
        tokens.token_s,
        times_s + offset_s,
        cosine,
        (np.nan_to_num(cosine).sum(axis=1) / count).astype(np.float32),
        levels,
        local,
    )


def _by_windows(loaded: Loaded, asked: Query, moment: Moment, space: str) -> Explanation | None:
    opened = loaded.open(space, "global")
    columns = opened.columns
    if moment.recording_id not in columns.recordings:
        return None
    mine = (
        (columns.recording == columns.recordings.index(moment.recording_id))
        & (columns.modality == moment.through)
        & (columns.person == moment.person)
    )
    near = (columns.end_s > moment.start_s - AROUND_S) & (columns.start_s < moment.end_s + AROUND_S)
    rows = np.flatnonzero(mine & near)
    shared_s = np.minimum(columns.end_s[rows], moment.end_s) - np.maximum(columns.start_s[rows], moment.start_s)
    if not (shared_s > 0).any():
        return None
    windows = opened.index.vectors(rows)
    probe = probes(loaded, asked, space).vector
    score = (windows @ probe.T).max(axis=1, keepdims=True)
    if moment.through == "text":
        t_s, cosine, step_s = columns.start_s[rows], score[:, 0], 0.0
    else:
        order = np.argsort(columns.start_s[rows], kind="stable")
        t_s, solved = instants(columns.start_s[rows][order], columns.end_s[rows][order], score[order])
        cosine, step_s = solved[:, 0], INSTANT_S
    at = windows[int(shared_s.argmax()) if moment.through != "text" else int(np.argmax(score[:, 0] * (shared_s > 0)))]
    terms = tuple(
        (term.said, weight, float((probes(loaded, term, space).vector @ at).max())) for weight, term in asked.terms
    )
    rivals: Sequence[tuple[str, float, bool]] = ()
    if asked.senses == "text":
        held = loaded.rivals(space, in_words=True).vector
        best = np.argsort(-(held @ at), kind="stable")[:5]
        rivals = [(RIVALS[i], float(held[i] @ at), bool((held[i] @ probe.T).max() < UNRELATED)) for i in best.tolist()]
    inside = (t_s + max(step_s, 1e-6) > moment.start_s) & (t_s < moment.end_s)
    mean = np.array([cosine[inside].mean() if inside.any() else np.nan], np.float32)
    return Explanation(
        asked.said,
        moment,
        space,
        ("windows",),
        step_s,
        t_s,
        cosine[None],
        mean,
        moment.scores,
        terms=terms,
        rivals=tuple(rivals),
    )
