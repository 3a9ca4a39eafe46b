"""An archive that is searched: a query in, moments out."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from motionseek.encoders.base import Encoder, StreamEncoder
from motionseek.errors import ModelError, QueryError, StaleIndex
from motionseek.indexer.ann import AnnIndex, open_index
from motionseek.indexer.filters import Filter
from motionseek.indexer.schema import vector_table_name
from motionseek.indexer.store import ModelRow, Store
from motionseek.indexer.tokens import StreamKey
from motionseek.search import candidates as look
from motionseek.search.audit import MAX_OFFSET_S, TOLERANCE_S, AuditReport, Progress, audit
from motionseek.search.candidates import Candidates, Columns, Plan, Spread
from motionseek.search.encode import Probes, query_tokens, token_probes, video_probes, window_probes
from motionseek.search.locate import Located, locate
from motionseek.search.motion import REACH_S, along, local_scores, needed
from motionseek.search.query import Query
from motionseek.search.rerank import fit_near
from motionseek.search.results import SearchResult, best_apart
from motionseek.search.timeline import LEVEL, SWITCH, Timeline, build, sentences_of
from motionseek.types import MODALITIES, PARTS, Bool, Float32, Float64, Imu, Level, Modality, Moment, PoseTrack

if TYPE_CHECKING:
    from motionseek.encoders.model import Model
    from motionseek.indexer.pipeline import ModelLike

Rerank = Literal["none", "local", "token"]
RERANKED = 200
"""Candidates whose tokens are looked at."""
APART_S = 0.5


@dataclass(frozen=True)
class Source:
    """What a search needs to know of one recording. spans: modality → (start_s, end_s) of its streams."""

    uri: str
    labels: tuple[str, ...]
    spans: Mapping[str, tuple[float, float]]


@dataclass(eq=False)
class _Opened:
    """An index and its windows as arrays."""

    index: AnnIndex
    columns: Columns = field(init=False)

    def __post_init__(self) -> None:
        self.columns = Columns.of(self.index.windows)

    @cached_property
    def spreads(self) -> dict[str, Spread]:
        return look.spreads(self.index, self.columns)


class Archive:
    """Read access by query. Models are loaded when a query first needs them.

    models: used instead of those that the archive names, for the spaces that they have; they must be the same.
    """

    def __init__(self, store: Store, models: Sequence[str | Path | ModelLike] = ()) -> None:
        self.store = store
        self._given = [_loaded(model) for model in models]
        self._models: dict[str, ModelLike] = {}
        self._opened: dict[tuple[str, str], _Opened] = {}

    def __repr__(self) -> str:
        return f"Archive({self.store.root}, {len(self.sources)} recordings)"

    @cached_property
    def sources(self) -> dict[str, Source]:
        """recording_id → what was indexed, of all recordings that could be read."""
        columns = ["recording_id", "uris", "labels", "streams", "narrations", "status"]
        rows = self.store.recordings(columns=columns).to_pylist()
        return {row["recording_id"]: _source(row) for row in rows if row["status"] in ("ok", "partial")}

    @cached_property
    def spaces(self) -> dict[str, ModelRow]:
        """The model that filled each space."""
        return self.store.models()

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """What the recordings hold."""
        held = {modality for source in self.sources.values() for modality in source.spans}
        return tuple(m for m in MODALITIES if m in held)

    # -- questions

    def search(
        self,
        query: object,
        *,
        target: Modality = "video",
        k: int = 10,
        rerank: Rerank | None = None,
        where: Filter | None = None,
        group: bool = True,
        placement: str | None = None,
    ) -> SearchResult:
        """The k best moments of `target` for a sentence (str), a file (Path), an Imu or several of one wearer, a
        PoseTrack, a Moment, a vector of the space `clip`, or a Query, which may be a signed sum of such.

        target: what a hit is a stretch of; `Moment.through` says which modality's vectors found it.
        rerank: "token" scores the best 200 windows by all of their tokens at every lag and gives `offset_s`; "local"
        by one vector a part; default "token" where query and target share the motion space, else "none".
        group: the best moment of each recording only.   placement: where the query's sensor is worn.

        `Moment.score` is what hits are ranked by: for motion the mean cosine of tokens (or parts); for vectors how many
        standard deviations the window's cosine lies above those of all windows of its modality and space, which makes
        these comparable; the cosine itself is in `scores["global"]`.

        Raises QueryError where the query cannot be answered as asked, StaleIndex where a model is not the one that
        built the index. An archive without recordings answers with no moments.
        """
        clock = _Clock()
        if k < 1:
            raise QueryError(f"k must be at least 1, not {k}")
        if target not in MODALITIES:
            raise QueryError(f"target {target!r} is not known; use one of: {', '.join(MODALITIES)}")
        if rerank not in (None, "none", "local", "token"):
            raise QueryError(f"rerank {rerank!r} is not known; use none, local or token")
        with clock("query"):
            asked = Query.of(query, placement=placement)
        if not self.sources:
            return SearchResult(asked.said, target, (), clock.done(), {"kind": "exact", "recall": 1.0})
        with clock("index"):
            plans = self._plans(asked, target, where)
        plan, opened, keep = plans[0]
        if plan.level == "token":
            moments = self._by_motion(asked, plan, opened, keep, rerank or "token", target, k, clock)
        else:
            if rerank in ("local", "token"):
                raise QueryError(
                    f"rerank={rerank!r} compares motion, which a {asked.modality} query and the target {target!r} do "
                    "not share in this archive: use rerank='none'"
                )
            moments = [m for way in plans for m in self._by_vector(asked, *way, target, k, clock)]
            moments.sort(key=lambda m: -m.score)
        with clock("group"):
            chosen = best_apart(moments, k, group=group)
        about = {"kind": opened.index.kind, "recall": opened.index.recall}
        return SearchResult(asked.said, target, chosen, clock.done(), about)

    def score_along(
        self, query: object, recording_id: str, *, through: Modality | None = None, placement: str | None = None
    ) -> tuple[Float64, Float32]:
        """The score of a query along one recording: times (N,), the middle of what was compared, and scores (N,).

        For a sentence or vector the cosine of each window of `through` (default: the first of IMU, pose and video that
        is indexed); for an IMU or pose the token score at each place, against pose where there is any.
        Raises QueryError for a recording that the archive does not have, or that has nothing to compare.
        """
        asked = Query.of(query, placement=placement)
        if recording_id not in self.sources:
            raise QueryError(f"the archive has no recording {recording_id}")
        if asked.modality in ("imu", "pose") and self._speaks("motion", asked.modality):
            encoder = self._stream_encoder(asked.modality)
            tokens = query_tokens(asked, encoder)
            keys = [key for key in self._stream_keys(recording_id) if through in (None, key.modality)]
            streams = self.store.tokens("motion", keys)
            for key in keys:
                if key in streams:
                    return along(tokens, streams[key])
            raise QueryError(f"recording {recording_id} has no motion tokens to compare with")
        for space in self._vector_spaces(asked):
            opened = self._open(space, "global")
            columns = opened.columns
            mine = np.array([columns.recordings[c] == recording_id for c in range(len(columns.recordings))], np.bool_)
            for modality in (through,) if through else ("imu", "pose", "video", "text"):
                rows = np.flatnonzero(mine[columns.recording] & (columns.modality == modality))
                if len(rows):
                    times = (columns.start_s[rows] + columns.end_s[rows]) / 2
                    order = np.argsort(times, kind="stable")
                    return times[order], opened.index.vectors(rows[order]) @ self._probes(asked, space).vector[0]
        raise QueryError(f"recording {recording_id} has no window that the query can be compared with")

    def locate(
        self,
        imu: Imu | str | Path | Sequence[Imu],
        media: PoseTrack | Sequence[PoseTrack] | str | Path,
        *,
        offset_s: float = 0.0,
        max_offset_s: float = 0.0,
        min_score: float | None = None,
    ) -> Located:
        """Which person of `media` wears each sensor, and where: `motionseek.locate` with the archive's motion model,
        or by the traces alone where it has none.

        media: as for `locate`, or the recording_id of a recording of the archive, which is read again.
        """
        if isinstance(media, str) and media in self.sources:
            media = self.sources[media].uri
        model = None
        if self._speaks("motion", "imu") and self._speaks("motion", "pose"):
            self._stream_encoder("imu")
            self._stream_encoder("pose")
            model = self._models["motion"]
        return locate(imu, media, model=model, offset_s=offset_s, max_offset_s=max_offset_s, min_score=min_score)

    def timeline(
        self,
        recording: str,
        classes: Sequence[str] | Mapping[str, str] | None = None,
        *,
        through: Modality | None = None,
        person: str | None = None,
        level: float = LEVEL,
        switch: float = SWITCH,
    ) -> Timeline:
        """What somebody did when, in one recording: its windows compared with sentences, smoothed into segments.

        recording: its id, or how that begins.   classes: names, or name → the sentence it is compared by; a list of
        everyday activities by default.   through: the windows to compare (default: the first of pose, IMU and video
        that is indexed).   person: whose, where there are several.   level: cosine below which nothing fits.
        switch: price of a change, in log-likelihood; higher means fewer, longer segments.
        Raises QueryError where there is no such recording, person or window.
        """
        recording_id, sentences = self.recording_id(recording), sentences_of(classes)
        for space in self._vector_spaces(Query.of_text(next(iter(sentences.values())))):
            opened = self._open(space, "global")
            columns = opened.columns
            names = columns.recordings
            mine = columns.recording == (names.index(recording_id) if recording_id in names else -1)
            for modality in (through,) if through else ("pose", "imu", "video"):
                rows = np.flatnonzero(mine & (columns.modality == modality))
                people = sorted(set(columns.person[rows].tolist()))
                if person is not None:
                    rows = rows[columns.person[rows] == person]
                elif len(people) > 1:
                    raise QueryError(f"{recording} shows several people ({', '.join(people)}): name one as person")
                if len(rows):
                    rows = rows[np.argsort(columns.start_s[rows], kind="stable")]
                    texts = self._encoder(space, "text").encode(list(sentences.values())).global_
                    if texts is None:
                        raise ModelError(f"the encoder of text in the space {space} gives no global vectors")
                    spans_s = columns.start_s[rows], columns.end_s[rows]
                    scores = opened.index.vectors(rows) @ texts.T
                    who = columns.person[rows[0]].item()
                    return build(
                        recording_id, modality, who, tuple(sentences), spans_s, scores, level=level, switch=switch
                    )
        raise QueryError(
            f"recording {recording_id[:12]} has no window of {through or 'pose, IMU or video'}"
            f"{'' if person is None else f' of person {person}'} that sentences can be compared with"
        )

    def audit(
        self,
        *,
        where: Filter | None = None,
        model: Model | None = None,
        max_offset_s: float = MAX_OFFSET_S,
        tolerance_s: float = TOLERANCE_S,
        progress: Progress | None = None,
    ) -> AuditReport:
        """Check every recording's own streams against each other: body sensors against pose, a camera's own IMU
        against its picture. See `motionseek.search.audit.audit`. Raises UsageError only."""
        return audit(
            self.store,
            where=where,
            model=model,
            max_offset_s=max_offset_s,
            tolerance_s=tolerance_s,
            progress=progress,
        )

    # -- planning

    def _plans(self, asked: Query, target: Modality, where: Filter | None) -> list[tuple[Plan, _Opened, Bool]]:
        """The ways to answer for which the archive has windows: by motion, or else through every space of vectors that
        understands the query."""
        if target not in self.modalities:
            raise QueryError(f"no recording of this archive holds {target}; it has: {', '.join(self.modalities)}")
        plans = []
        if (
            asked.modality in ("imu", "pose")
            and target in look.MOTION_THROUGH
            and self._speaks("motion", asked.modality)
        ):
            plans.append(Plan("motion", "token", look.MOTION_THROUGH[target]))
        through = look.clip_through(asked.modality, target)
        plans += [Plan(space, "global", through) for space in self._vector_spaces(asked)]
        tried: list[str] = []
        found = []
        for plan in plans:
            if self.store.table(vector_table_name(plan.space, plan.level)) is None:
                continue
            opened = self._open(plan.space, plan.level)
            reachable = self._reachable(opened.columns, plan, target)
            if reachable.any():
                keep = reachable if where is None else reachable & self._allowed(opened.index, where)
                for term in asked.parts:
                    if term.like:
                        keep = keep & (self._overlap_s(term, opened.columns) == 0)
                found.append((plan, opened, keep))
                if plan.level == "token":
                    break
            tried += plan.through
        if found:
            return found
        if not plans:
            spaces = ", ".join(f"{s} ({', '.join(sorted(row.encoders))})" for s, row in sorted(self.spaces.items()))
            raise QueryError(
                f"no model of this archive understands a {asked.modality} query for {target}; it has: {spaces}"
            )
        looked = ", ".join(dict.fromkeys(tried)) or "nothing"
        raise QueryError(
            f"a {asked.modality} query finds {target} through {looked} of the same recording, and no recording with "
            f"{target} has that; the archive has: {', '.join(self.modalities)}"
        )

    def _vector_spaces(self, asked: Query) -> list[str]:
        """Spaces whose global vectors can be compared with every term; a bare vector is one of `clip`."""
        held = ["clip", *sorted(set(self.spaces) - {"clip", "motion"})]
        bare = any(term.vector is not None for term in asked.parts)
        return [s for s in (held[:1] if bare else held) if all(self._speaks(s, term.modality) for term in asked.parts)]

    def _speaks(self, space: str, modality: str) -> bool:
        """Whether the space's model has an encoder for a query of this modality."""
        if space not in self.spaces:
            return False
        return modality in ("vector", "moment") or modality in self.spaces[space].encoders

    def _reachable(self, columns: Columns, plan: Plan, target: Modality) -> Bool:
        """(N,) windows of the plan's modalities that lie on a stream of the target."""
        missing = (np.inf, -np.inf)
        spans = [
            self.sources[r].spans.get(target, missing) if r in self.sources else missing for r in columns.recordings
        ]
        start_s, end_s = np.array(spans, np.float64).reshape(-1, 2).T
        overlaps = (columns.start_s < end_s[columns.recording]) & (columns.end_s > start_s[columns.recording])
        return overlaps & np.isin(columns.modality, plan.through)

    def _allowed(self, index: AnnIndex, where: Filter) -> Bool:
        allowed = self.store.windows(where, columns=["window_id"])["window_id"].combine_chunks()
        found: Bool = pa.compute.is_in(index.windows["window_id"], value_set=allowed).to_numpy().astype(np.bool_)
        return found

    # -- the two ways

    def _by_vector(
        self, asked: Query, plan: Plan, opened: _Opened, keep: Bool, target: Modality, k: int, clock: _Clock
    ) -> list[Moment]:
        with clock("encode"):
            probes = self._probes(asked, plan.space)
        with clock("candidates"):
            spread = opened.spreads
            found = [
                look.timeless(opened.index, opened.columns, keep, vector, plan.through, spread, max(RERANKED, 4 * k), k)
                for vector in probes.vector
            ]
            best = _merged(found)
        return [
            self._moment(opened, best, i, target, float(best.rank_score[i]), {"global": float(best.score[i])})
            for i in range(len(best))
        ]

    def _by_motion(
        self,
        asked: Query,
        plan: Plan,
        opened: _Opened,
        keep: Bool,
        rerank: Rerank,
        target: Modality,
        k: int,
        clock: _Clock,
    ) -> list[Moment]:
        with clock("encode"):
            encoder = self._stream_encoder(asked.modality)
            tokens = query_tokens(asked, encoder)
        with clock("candidates"):
            probes = token_probes(tokens, encoder)
            found = look.timed(opened.index, opened.columns, keep, probes, max(RERANKED, 4 * k), APART_S)
        if rerank == "none":
            return [
                self._moment(opened, found, i, target, float(s), {"projected": float(s)})
                for i, s in enumerate(found.score)
            ]
        best = found.take(_first(found, opened.columns, max(RERANKED, 4 * k), k))
        with clock("tokens"):
            keys, which = self._streams_of(opened.columns, best)
            spans = needed(keys, which, best.offset_s, asked.meant)
            held = self.store.tokens(plan.space, keys, spans)
        with clock("rerank"):
            streams = [(s.start_s, s.token[: len(PARTS)], s.mask[: len(PARTS)]) for s in (held[key] for key in keys)]
            fitted = fit_near(tokens, streams, which, best.offset_s, REACH_S)
            scores = {"token": fitted.score}
            rank_by = fitted.score
            if rerank == "local":
                rank_by = scores["local"] = local_scores(tokens, encoder, streams, which, fitted.offset_s)
            order = [i for i in np.argsort(-rank_by, kind="stable") if np.isfinite(rank_by[i])]
            return [
                self._moment(
                    opened,
                    best,
                    i,
                    target,
                    float(rank_by[i]),
                    {"projected": float(best.score[i])} | {level: float(s[i]) for level, s in scores.items()},
                    aligned=(np.array(asked.meant), float(fitted.offset_s[i])),
                )
                for i in order
            ]

    def _moment(
        self,
        opened: _Opened,
        found: Candidates,
        i: int,
        target: Modality,
        score: float,
        scores: Mapping[str, float],
        *,
        aligned: tuple[Float64, float] | None = None,
    ) -> Moment:
        columns, row = opened.columns, int(found.row[i])
        recording_id = columns.recordings[columns.recording[row]]
        source = self.sources[recording_id]
        start_s, end_s, offset_s = float(columns.start_s[row]), float(columns.end_s[row]), None
        if aligned is not None:
            meant_s, offset_s = aligned
            start_s, end_s = (meant_s + offset_s).tolist()
        first_s, last_s = source.spans[target]
        start_s = min(max(start_s, first_s), last_s)
        caption, labels = (opened.index.windows[name][row].as_py() for name in ("caption", "labels"))
        return Moment(
            rank=i + 1,
            recording_id=recording_id,
            uri=source.uri,
            modality=target,
            start_s=start_s,
            end_s=max(start_s, min(end_s, last_s)),
            score=score,
            scores=scores,
            through=columns.modality[row].item(),
            person=columns.person[row].item(),
            offset_s=offset_s,
            caption=caption,
            labels=tuple(labels),
        )

    # -- what is loaded when it is needed

    def _open(self, space: str, level: Level) -> _Opened:
        if (space, level) not in self._opened:
            self._opened[space, level] = _Opened(open_index(self.store, space, level))
        return self._opened[space, level]

    def _encoder(self, space: str, modality: Modality) -> Encoder:
        row = self.spaces[space]
        if space not in self._models:
            given = [m for m in self._given if any(s == space for s, _ in m.encoders)]
            self._models[space] = given[0] if given else self._load(row)
        model = self._models[space]
        encoder = model.encoders.get((space, modality))
        if encoder is None:
            raise QueryError(f"the model {row.name} has no encoder for {modality} in the space {space}")
        built = row.encoders.get(modality, {}).get("fingerprint", row.fingerprint)
        if encoder.fingerprint != built:
            raise StaleIndex(
                f"{self.store.root}: the space {space!r} was built by the model {row.name!r} with the fingerprint "
                f"{built[:12]}, and the one at hand has {encoder.fingerprint[:12]}: open the archive with the model "
                "that built it, or index the sources into a new archive"
            )
        return encoder

    def _load(self, row: ModelRow) -> ModelLike:
        if not row.name:
            raise ModelError(
                f"{self.store.root}: the space {row.space!r} was built by a model without a name: open the archive "
                "with that model (models=[…])"
            )
        return _loaded(row.name)

    def _stream_encoder(self, modality: str) -> StreamEncoder:
        encoder = self._encoder("motion", "imu" if modality == "imu" else "pose")
        if not isinstance(encoder, StreamEncoder):
            raise QueryError("the motion model of this archive does not tokenise streams: use rerank='none'")
        return encoder

    def _probes(self, asked: Query, space: str) -> Probes:
        if asked.terms:
            parts = [(weight, self._probes(term, space).vector.mean(axis=0)) for weight, term in asked.terms]
            total = sum(weight * vector / np.linalg.norm(vector) for weight, vector in parts)
            size = float(np.linalg.norm(total))
            if size < 1e-6:
                raise QueryError(f"the terms of {asked.said} cancel each other out: nothing is left to search for")
            return Probes((total / size)[None].astype(np.float32), np.full(1, np.nan))
        if asked.like:
            return self._stored_probe(asked, space)
        if asked.vector is not None:
            width = self._open(space, "global").index.vectors(np.zeros(1, np.int64)).shape[1]
            if len(asked.vector) != width:
                raise QueryError(f"vectors of the space {space} have {width} numbers, not {len(asked.vector)}")
            unit = asked.vector / np.linalg.norm(asked.vector)
            return Probes(unit[None].astype(np.float32), np.full(1, np.nan))
        if asked.modality == "text":
            found = self._encoder(space, "text").encode([asked.text])
            if found.global_ is None:
                raise ModelError(f"the encoder of text in the space {space} gives no global vectors")
            return Probes(found.global_, np.full(1, np.nan))
        if asked.modality == "video":
            return video_probes(asked, self._encoder(space, "video"))
        return window_probes(asked, self._encoder(space, "imu" if asked.modality == "imu" else "pose"))

    def _stored_probe(self, asked: Query, space: str) -> Probes:
        """The mean of the vectors that lie on a moment, each weighing as much as it shares with it."""
        opened = self._open(space, "global")
        shared_s = self._overlap_s(asked, opened.columns)
        rows = np.flatnonzero(shared_s)
        if not len(rows):
            raise QueryError(f"{asked.said} has no vector in the space {space!r}: the span lies outside the recording")
        mean = (opened.index.vectors(rows) * shared_s[rows, None]).sum(axis=0)
        return Probes((mean / np.linalg.norm(mean))[None].astype(np.float32), np.full(1, np.nan))

    def _overlap_s(self, asked: Query, columns: Columns) -> Float64:
        """(N,) seconds that each window shares with a moment."""
        recording_id = self.recording_id(asked.like)
        start_s, end_s = (asked.span.start_s, asked.span.end_s) if asked.span else (-np.inf, np.inf)
        if recording_id not in columns.recordings:
            return np.zeros(len(columns.start_s))
        mine = columns.recording == columns.recordings.index(recording_id)
        shared_s = np.minimum(columns.end_s, end_s) - np.maximum(columns.start_s, start_s)
        return np.where(mine, np.maximum(shared_s, 0.0), 0.0)

    def recording_id(self, begins: str) -> str:
        """The one recording whose id begins like that. Raises QueryError for none or several."""
        found = [r for r in self.sources if r.startswith(begins)] if begins else []
        if len(found) != 1:
            several = f"{len(found)} recordings whose ids begin with" if found else "no recording"
            raise QueryError(f"the archive has {several} {begins!r}")
        return found[0]

    def _streams_of(self, columns: Columns, found: Candidates) -> tuple[list[StreamKey], npt.NDArray[np.int64]]:
        """The token streams of candidates, and which of them each candidate lies on."""
        keys: dict[StreamKey, int] = {}
        which = [
            keys.setdefault(
                StreamKey(
                    columns.recordings[columns.recording[row]],
                    columns.modality[row].item(),
                    columns.person[row].item(),
                ),
                len(keys),
            )
            for row in found.row
        ]
        return list(keys), np.array(which, np.int64)

    def _stream_keys(self, recording_id: str) -> list[StreamKey]:
        where = Filter(recording_id=recording_id, modality=("pose", "imu"))
        rows = self.store.windows(where, columns=["modality", "person"]).to_pylist()
        keys = dict.fromkeys(StreamKey(recording_id, row["modality"], row["person"]) for row in rows)
        return sorted(keys, key=lambda key: (key.modality != "pose", key.person))


def open(path: str | Path, *, models: Sequence[str | Path | ModelLike] = ()) -> Archive:
    """Open an archive for reading. Raises ArchiveError where there is none; models: see Archive."""
    return Archive(Store.open(path), models)


def _loaded(model: str | Path | ModelLike) -> ModelLike:
    if not isinstance(model, str | Path):
        return model
    from motionseek.encoders.model import load_model

    return load_model(model)


def _source(row: Mapping[str, Any]) -> Source:
    spans: dict[str, tuple[float, float]] = {}
    streams = [*row["streams"], *({"modality": "text", **told} for told in row["narrations"])]
    for stream in streams:
        start_s, end_s = spans.get(stream["modality"], (np.inf, -np.inf))
        spans[stream["modality"]] = min(start_s, stream["start_s"]), max(end_s, stream["end_s"])
    return Source(row["uris"][0] if row["uris"] else "", tuple(row["labels"]), spans)


def _first(found: Candidates, columns: Columns, count: int, recordings: int) -> npt.NDArray[np.int64]:
    """The first `count` candidates, and the best one of each of the first `recordings` recordings."""
    _, best = np.unique(columns.recording[found.row], return_index=True)
    return np.unique(np.concatenate([np.arange(min(len(found), count)), np.sort(best)[:recordings]]))


def _merged(found: Sequence[Candidates]) -> Candidates:
    """Candidates of several probes as one list; a window keeps its best score."""
    row = np.concatenate([f.row for f in found])
    rank = np.concatenate([f.rank_score for f in found])
    order = np.argsort(-rank, kind="stable")
    _, first = np.unique(row[order], return_index=True)
    at = order[np.sort(first)]
    score, offset_s = np.concatenate([f.score for f in found]), np.concatenate([f.offset_s for f in found])
    return Candidates(row[at], score[at], rank[at], offset_s[at])


class _Clock:
    """Milliseconds per stage."""

    def __init__(self) -> None:
        self.began = time.perf_counter()
        self.stages: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.stages[stage] = self.stages.get(stage, 0.0) + (time.perf_counter() - began) * 1e3

    def done(self) -> dict[str, float]:
        return {**self.stages, "total": (time.perf_counter() - self.began) * 1e3}
