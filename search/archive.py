"""An archive that is searched: a query in, moments out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from motionseek.errors import QueryError
from motionseek.indexer.filters import Filter
from motionseek.indexer.store import ModelRow, Store
from motionseek.search.along import score_along
from motionseek.search.audit import MAX_OFFSET_S, TOLERANCE_S, AuditReport, Progress, audit
from motionseek.search.by_motion import by_motion
from motionseek.search.by_vector import by_vector
from motionseek.search.by_window import by_window
from motionseek.search.explain import Explanation, explain
from motionseek.search.find import Belongs, find
from motionseek.search.loaded import Loaded, Source
from motionseek.search.locate import Located, locate
from motionseek.search.moments import choose
from motionseek.search.plan import plans
from motionseek.search.query import Query, poses_of
from motionseek.search.results import Clock, Rerank, SearchResult
from motionseek.search.timeline import LEVEL, SWITCH, Classes, Timeline, sentences_of, timeline
from motionseek.types import MODALITIES, Float32, Float64, Imu, Modality, Moment, PoseTrack, Recording

if TYPE_CHECKING:
    from motionseek.encoders.model import Model
    from motionseek.indexer.pipeline import ModelLike


class Archive:
    """Read access by query. Models are loaded when a query first needs them.

    models: used instead of those that the archive names, for the spaces that they have; they must be the same.
    """

    def __init__(self, store: Store, models: Sequence[str | Path | ModelLike] = ()) -> None:
        self._loaded = Loaded(store, models)

    def __repr__(self) -> str:
        return f"Archive({self.store.uri}, {len(self.sources)} recordings)"

    @property
    def store(self) -> Store:
        return self._loaded.store

    @property
    def sources(self) -> Mapping[str, Source]:
        """recording_id → what was indexed, of all recordings that could be read."""
        return self._loaded.sources

    @property
    def spaces(self) -> Mapping[str, ModelRow]:
        """The model that filled each space."""
        return self._loaded.spaces

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """What the recordings hold."""
        return self._loaded.modalities

    def recording_id(self, named: str) -> str:
        """The one recording whose id begins like that, or that lies there: a path, or how one ends. Raises QueryError
        for none or several."""
        return self._loaded.recording_id(named)

    def read_again(self, recording_id: str) -> Recording:
        """A recording as it was read when it was indexed, from where it lies, in the units that were given then.

        Raises QueryError where the archive does not have it, MediaError or UsageError where its files cannot be read.
        """
        return self._loaded.read_again(recording_id)

    # -- questions

    def search(
        self,
        query: object,
        *,
        target: Modality = "video",
        k: int = 10,
        offset: int = 0,
        rerank: Rerank | None = None,
        where: Filter | None = None,
        group: bool = True,
        placement: str | None = None,
        through: Modality | None = None,
        min_confidence: float = 0.0,
    ) -> SearchResult:
        """The k best moments of `target` for a sentence (str), a file (Path), an Imu or several of one wearer, a
        PoseTrack, a Moment, a vector of the space `clip`, or a Query, which may be a signed sum of such.

        target: what a hit is a stretch of; `Moment.through` says which modality's windows found it, and `Moment.path`
        the whole way, such as ("imu", "pose", "video", "text").   through: only windows of this modality.
        rerank: "token" scores the best 300 windows by all of their tokens at every lag and gives `offset_s`; "local"
        by one vector a part; default "token" where query and target share the motion space, else "none".
        group: the best moment of each recording only.   placement: where the query's sensor is worn.

        offset: this many better moments are left away: the next page of k begins at `offset + k`.
        min_confidence: only moments that are at least as sure; see `motionseek.search.calibrate` for what that means.
        No moments at all is an answer: not in here.

        `Moment.score` is a cosine: of the window, or for motion the mean over tokens (or parts). Hits are ordered by
        it; only those by vectors of several modalities or spaces, whose cosines cannot be compared, are ordered by how
        many standard deviations they lie above the windows of their own: `scores["standard"]`.

        Raises QueryError where the query cannot be answered as asked, StaleIndex where a model is not the one that
        built the index. An archive without recordings answers with no moments.
        """
        clock = Clock()
        if k < 1:
            raise QueryError(f"k must be at least 1, not {k}")
        if target not in MODALITIES:
            raise QueryError(f"target {target!r} is not known; use one of: {', '.join(MODALITIES)}")
        if through not in (None, *MODALITIES):
            raise QueryError(f"through {through!r} is not known; use one of: {', '.join(MODALITIES)}")
        if rerank not in (None, "none", "local", "token"):
            raise QueryError(f"rerank {rerank!r} is not known; use none, local or token")
        if offset < 0 or not 0 <= min_confidence <= 1:
            raise QueryError(
                f"offset must not be negative, nor min_confidence outside 0 to 1: {offset}, {min_confidence}"
            )
        with clock("query"):
            asked = Query.of(query, placement=placement)
        if not self.sources:
            return SearchResult(asked.said, target, (), clock.done(), {"kind": "exact", "recall": 1.0}, offset)
        with clock("index"):
            ways = plans(self._loaded, asked, target, where, through)
        wanted = offset + k + 1
        if ways[0].level == "token":
            found = [by_motion(self._loaded, asked, ways[0], rerank or "token", wanted, clock)]
        else:
            if rerank in ("local", "token"):
                raise QueryError(
                    f"rerank={rerank!r} compares streams of motion tokens, which a {asked.senses} query and the target "
                    f"{target!r} do not share in this archive: use rerank='none'"
                )
            found = [
                by_window(self._loaded, asked, way, wanted, clock)
                if way.space == "motion" and asked.modality in ("imu", "pose")
                else by_vector(self._loaded, asked, way, wanted, clock)
                for way in ways
            ]
        with clock("group"):
            chosen, more = choose(
                self._loaded, found, target, k=k, offset=offset, group=group, min_confidence=min_confidence
            )
        index = ways[0].opened.index
        about = {"kind": index.kind, "recall": index.recall}
        return SearchResult(asked.said, target, chosen, clock.done(), about, offset, more)

    def explain(self, query: object, moment: Moment, *, placement: str | None = None) -> Explanation:
        """What made a hit: per part and token for motion, per instant, term and rival sentence for vectors.

        query, placement: what was searched with.   moment: one of the answer's. Raises QueryError where the two have
        nothing in common that can be compared.
        """
        return explain(self._loaded, Query.of(query, placement=placement), moment)

    def score_along(
        self, query: object, recording_id: str, *, through: Modality | None = None, placement: str | None = None
    ) -> tuple[Float64, Float32]:
        """The score of a query along one recording: times (N,), the middle of what was compared, and scores (N,).

        For a sentence or vector the cosine of each window of `through` (default: the first of IMU, pose and video that
        is indexed); for an IMU or pose the token score at each place, against pose where there is any.
        Raises QueryError for a recording that the archive does not have, or that has nothing to compare.
        """
        return score_along(self._loaded, Query.of(query, placement=placement), recording_id, through)

    def find(
        self,
        imu: Imu | str | Path | Sequence[Imu],
        *,
        placement: str | None = None,
        where: Filter | None = None,
        max_offset_s: float | None = None,
        min_confidence: float | None = None,
        units: Mapping[str, str] | None = None,
    ) -> Belongs:
        """Which recordings the sensors of one wearer belong to, and at what offset, or none: see
        `motionseek.search.find.find`. No file is read again.

        Raises QueryError where the sensors' placement is not known, they are too short, or the archive has no motion
        tokens; StaleIndex where another model built them.
        """
        return find(
            self._loaded,
            imu,
            placement=placement,
            where=where,
            max_offset_s=max_offset_s,
            min_confidence=min_confidence,
            units=units,
        )

    def locate(
        self,
        imu: Imu | str | Path | Sequence[Imu],
        media: PoseTrack | Sequence[PoseTrack] | str | Path,
        *,
        offset_s: float = 0.0,
        max_offset_s: float = 0.0,
        min_score: float | None = None,
        units: Mapping[str, str] | None = None,
    ) -> Located:
        """Which person of `media` wears each sensor, and where: `motionseek.locate` with the archive's motion model,
        or by the traces alone where it has none.

        media: as for `locate`, or the recording_id of a recording of the archive, which is read again.
        units: of plain sensor files, as for `Imu.load`.
        """
        if isinstance(media, str) and media in self.sources:
            media = poses_of(self.read_again(media))
        model = None
        if self._loaded.streams("imu") and self._loaded.streams("pose"):
            self._loaded.stream_encoder("imu")
            self._loaded.stream_encoder("pose")
            model = self._loaded.model("motion")
        return locate(
            imu,
            media,
            model=model,
            offset_s=offset_s,
            max_offset_s=max_offset_s,
            min_score=min_score,
            units=units,
        )

    def timeline(
        self,
        recording: str,
        classes: Sequence[str] | Classes | None = None,
        *,
        through: Modality | None = None,
        person: str | None = None,
        level: float = LEVEL,
        switch: float = SWITCH,
    ) -> Timeline:
        """What somebody did when, in one recording: its windows compared with sentences, smoothed into segments.

        recording: as for `recording_id`.   classes: names, or name → the sentence or sentences it is compared by;
        a list of everyday activities by default.   through: the windows to compare (default: the first of pose, IMU and
        video that is indexed).   person: whose, where there are several.   level: cosine below which nothing fits.
        switch: price of a change, in log-likelihood; higher means fewer, longer segments.
        Raises QueryError where there is no such recording, person or window.
        """
        return timeline(
            self._loaded,
            self.recording_id(recording),
            sentences_of(classes),
            through=through,
            person=person,
            level=level,
            switch=switch,
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


def open(path: str | Path, *, models: Sequence[str | Path | ModelLike] = ()) -> Archive:
    """Open an archive for reading. Raises ArchiveError where there is none; models: see Archive."""
    return Archive(Store.open(path), models)
