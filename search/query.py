"""What can be asked: a sentence, a sensor, a body, a video, a moment of the archive, a vector, or a signed sum of such.

A file may name the stretch that is meant: `watch.csv@12.5-15`. The rest of the file is kept as the query's
surroundings, because a token of motion is only what it is beside its neighbours.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from motionseek.errors import QueryError, UsageError
from motionseek.types import Float32, FloatArray, Imu, Moment, PoseTrack, Recording, Span

_SPAN = re.compile(r"^(?P<path>.+)@(?P<start>-?\d+(?:\.\d+)?)-(?P<end>-?\d+(?:\.\d+)?)$")
TABLE_SUFFIXES = (".csv", ".parquet", ".npy")

QueryLike = "str | Path | Imu | Sequence[Imu] | PoseTrack | Moment | FloatArray | Query"


@dataclass(frozen=True, eq=False)
class Query:
    """One term, or a sum of terms. Exactly one of the fields text, imus, pose, video, vector, like and terms is set.

    Queries add up: `Query.of("jumping") + moment - "cycling"`, `0.5 * Query.of("walking")`. A sum is answered in the
    spaces of vectors that understand every term: unit vectors are added with their weights.

    imus: sensors of one wearer on one clock.   video: a file; video_start_s: when its first frame is shown on the clock
    of its recording, None where that is the file's.   vector: (D,) of the space `clip`.
    like: what a recording of the archive is called, as for `Archive.recording_id`.   terms: (weight, query) of a sum.
    span: the stretch that is meant, on the stream's clock; None means all of it.   said: the query as it was written.
    """

    modality: Literal["text", "imu", "pose", "video", "vector", "moment", "terms"]
    said: str
    text: str = ""
    imus: tuple[Imu, ...] = ()
    pose: PoseTrack | None = None
    video: Path | None = None
    vector: Float32 | None = None
    span: Span | None = None
    like: str = ""
    terms: tuple[tuple[float, Query], ...] = ()
    video_start_s: float | None = None

    @classmethod
    def of(cls, value: object, *, placement: str | None = None) -> Query:
        """Any query: a str is a sentence, a Path a file (`F` or `F@a-b`, see `from_file`).

        placement: where the sensors are worn, in place of what they say. Raises QueryError, or MediaError for a file.
        """
        match value:
            case Query():
                query = value
            case str():
                return cls.of_text(value)
            case Path():
                return cls.from_file(value, placement=placement)
            case Imu():
                query = cls("imu", repr(value), imus=(value,))
            case PoseTrack():
                return cls("pose", repr(value), pose=value)
            case np.ndarray():
                return cls.of_vector(value)
            case Moment():
                return cls.of_moment(f"{value.recording_id}@{value.start_s:.6f}-{value.end_s:.6f}")
            case [Imu(), *_] if all(isinstance(v, Imu) for v in value):
                query = cls("imu", " + ".join(map(repr, value)), imus=tuple(v for v in value if isinstance(v, Imu)))
            case _:
                raise QueryError(
                    f"cannot search for a {type(value).__name__}: give a sentence, a Path, an Imu or several, "
                    "a PoseTrack, a Moment, or a vector"
                )
        return query if placement is None else replace(query, imus=worn_at(query.imus, placement))

    @classmethod
    def parse(cls, written: str, *, units: Mapping[str, str] | None = None) -> Query:
        """One line, such as `"jumping" + clip.mp4@12-15 - 0.5 * "cycling"`: see `motionseek.search.expression`.

        units: of its plain sensor files, as for `Imu.load`."""
        from motionseek.search.expression import parse

        return parse(written, units=units)

    @classmethod
    def of_text(cls, text: str) -> Query:
        if not text.strip():
            raise QueryError("the sentence to search for is empty")
        return cls("text", text, text=text.strip())

    @classmethod
    def of_vector(cls, vector: FloatArray) -> Query:
        values = np.asarray(vector, np.float32)
        if values.ndim != 1 or not len(values) or not np.isfinite(values).all() or not values.any():
            raise QueryError(f"a query vector must be one row of finite numbers, not all 0, not {values.shape}")
        return cls("vector", f"vector of {len(values)}", vector=values)

    @classmethod
    def of_moment(cls, written: str) -> Query:
        """`RECORDING@a-b`: seconds a to b of a recording of the archive, called as for `Archive.recording_id`."""
        found = _SPAN.match(written)
        if not found:
            raise QueryError(f"{written}: a moment is written RECORDING@a-b, for instance 3f2a9c41@12-15")
        start_s, end_s = float(found["start"]), float(found["end"])
        if start_s >= end_s:
            raise QueryError(f"{written}: the moment must start before it ends")
        return cls("moment", written, like=found["path"], span=Span(start_s, end_s))

    @classmethod
    def sum_of(cls, terms: Sequence[tuple[float, Query]]) -> Query:
        """The weighted sum of queries; sums in it are taken apart. Raises QueryError for a weight that is not finite,
        or 0, and where there is no term."""
        flat: list[tuple[float, Query]] = []
        for weight, term in terms:
            if not np.isfinite(weight) or weight == 0:
                raise QueryError(f"the weight of {term.said} must be a finite number other than 0, not {weight}")
            flat += [(weight * w, t) for w, t in term.terms] if term.terms else [(float(weight), term)]
        if not flat:
            raise QueryError("a sum needs at least one term")
        if len(flat) == 1 and flat[0][0] == 1:
            return flat[0][1]
        said = " ".join(f"{'-' if w < 0 else '+'} {'' if abs(w) == 1 else f'{abs(w):g} * '}{t.said}" for w, t in flat)
        return cls("terms", said.removeprefix("+ "), terms=tuple(flat))

    def __add__(self, other: object) -> Query:
        return Query.sum_of([(1.0, self), (1.0, Query.of(other))])

    def __radd__(self, other: object) -> Query:
        return Query.sum_of([(1.0, Query.of(other)), (1.0, self)])

    def __sub__(self, other: object) -> Query:
        return Query.sum_of([(1.0, self), (-1.0, Query.of(other))])

    def __rsub__(self, other: object) -> Query:
        return Query.sum_of([(1.0, Query.of(other)), (-1.0, self)])

    def __mul__(self, weight: float) -> Query:
        return Query.sum_of([(weight, self)])

    __rmul__ = __mul__

    def __neg__(self) -> Query:
        return self * -1.0

    def worn_with(self, other: Query) -> Query:
        """The sensors of both as those of one wearer, on one clock. Raises QueryError where they mean different
        stretches, or either is no sensor."""
        if self.modality != "imu" or other.modality != "imu":
            raise QueryError(f"only sensors are worn together: {self.said} & {other.said} are not both sensors")
        if self.span != other.span:
            raise QueryError(
                f"{self.said} and {other.said} must mean the same stretch of one clock: write the same @a-b"
            )
        return replace(self, said=f"{self.said} & {other.said}", imus=self.imus + other.imus)

    @property
    def senses(self) -> str:
        """What is asked with: `text`, `imu+text` …"""
        return "+".join(sorted({term.modality for term in self.parts}))

    @property
    def parts(self) -> tuple[Query, ...]:
        """The terms of a sum, or the query itself."""
        return tuple(term for _, term in self.terms) or (self,)

    @classmethod
    def from_file(
        cls,
        path: str | Path,
        *,
        modality: Literal["imu", "pose", "video"] | None = None,
        placement: str | None = None,
        units: Mapping[str, str] | None = None,
    ) -> Query:
        """`F` or `F@a-b`: an IMU table, a video, or a recording, of which `modality` is taken (default: its IMU, then
        its pose, then its video). units: of a plain sensor file, as for `Imu.load`.

        Raises QueryError where F holds no such stream or the span lies outside it, MediaError where F cannot be read.
        """
        file, span = split_span(path)
        said = str(path)
        if not is_there(file):
            raise QueryError(f"{file}: there is no such file to search with")
        if file.suffix.lower() in TABLE_SUFFIXES and modality in (None, "imu"):
            query = cls("imu", said, imus=(Imu.load(file, placement=placement, units=units),))
        else:
            query = cls._from_recording(file, said, modality, placement, units)
        return query if span is None else query.within(span)

    @classmethod
    def _from_recording(
        cls, file: Path, said: str, modality: str | None, placement: str | None, units: Mapping[str, str] | None
    ) -> Query:
        from motionseek.indexer.readers import read

        if modality == "video" and file.is_file() and file.suffix.lower() != ".json":
            return cls("video", said, video=file)
        recording = read(file, units=units)
        if recording.imus and modality in (None, "imu"):
            return cls("imu", said, imus=worn_at(_one_wearer(recording.imus, file), placement))
        if recording.poses and modality in (None, "pose"):
            if len(recording.poses) > 1:
                people = ", ".join(p.person for p in recording.poses)
                raise QueryError(f"{file} shows several people ({people}): give the PoseTrack of one")
            return cls("pose", said, pose=recording.poses[0])
        if recording.video and modality in (None, "video"):
            return cls("video", said, video=Path(recording.video.path), video_start_s=recording.video.start_s)
        raise QueryError(
            f"{file} holds no {modality or 'IMU, pose or video'}; it has: {', '.join(recording.modalities)}"
        )

    def within(self, span: Span) -> Query:
        """The same query, only `span` of it meant. Raises QueryError where the stream does not reach into it."""
        if self.modality in ("text", "vector", "moment", "terms"):
            raise QueryError(f"a {self.modality} has no time to take {span.start_s:g}-{span.end_s:g} s of")
        if self.modality != "video" and not (self.start_s < span.end_s and span.start_s < self.end_s):
            raise QueryError(
                f"{span.start_s:g}-{span.end_s:g} s lies outside {self.said}, "
                f"which spans {self.start_s:.2f}-{self.end_s:.2f} s"
            )
        return replace(self, span=span)

    @property
    def start_s(self) -> float:
        """Where the stream begins."""
        return self.pose.start_s if self.pose else min((i.start_s for i in self.imus), default=0.0)

    @property
    def end_s(self) -> float:
        return self.pose.end_s if self.pose else max((i.end_s for i in self.imus), default=0.0)

    @property
    def meant(self) -> tuple[float, float]:
        """Start and end of the stretch that is meant, inside the stream."""
        if self.span is None:
            return self.start_s, self.end_s
        return max(self.start_s, self.span.start_s), min(self.end_s, self.span.end_s)

    def __repr__(self) -> str:
        return f"Query({self.modality}: {self.said})"


def split_span(path: str | Path) -> tuple[Path, Span | None]:
    """`F@a-b` → F and its span; a file whose own name looks like that is taken as a file."""
    text = str(path)
    found = _SPAN.match(text)
    if not found or os.path.exists(text):
        return Path(text), None
    start_s, end_s = float(found["start"]), float(found["end"])
    if start_s >= end_s:
        raise QueryError(f"{text}: the span {found['start']}-{found['end']} must start before it ends")
    return Path(found["path"]), Span(start_s, end_s)


def is_there(file: Path) -> bool:
    """Whether a file or folder is there, or what one of many recordings in it is named by: "file#part"."""
    holder, hash_, _ = str(file).rpartition("#")
    return os.path.exists(file) or (bool(hash_) and os.path.exists(holder))


def worn_at(imus: Sequence[Imu], placement: str | None) -> tuple[Imu, ...]:
    """The sensors with another placement, which only one sensor can be given."""
    if placement is None:
        return tuple(imus)
    if len(imus) != 1:
        raise QueryError(f"one placement cannot be meant for {len(imus)} sensors: leave it away")
    try:
        return (replace(imus[0], placement=placement),)
    except UsageError as error:
        raise QueryError(str(error)) from error


def sensors_of(
    source: Imu | str | Path | Sequence[Imu],
    *,
    placement: str | None = None,
    units: Mapping[str, str] | None = None,
) -> tuple[Imu, ...]:
    """The sensors of one wearer: as given, or read from a table or a recording; cropped where the path says `@a-b`.

    units: of a plain sensor file, as for `Imu.load`.
    """
    if isinstance(source, str | Path):
        query = Query.from_file(source, modality="imu", placement=placement, units=units)
        return query.imus if query.span is None else tuple(imu.crop(query.span) for imu in query.imus)
    imus = (source,) if isinstance(source, Imu) else tuple(source)
    if not imus:
        raise QueryError("no sensor is given")
    return worn_at(imus, placement)


def poses_of(
    media: PoseTrack | Recording | str | Path, *, units: Mapping[str, str] | None = None
) -> tuple[PoseTrack, ...]:
    """The people seen: as given, or of a recording; where the path says `@a-b` those seen then, cropped. Raises
    QueryError for none."""
    if isinstance(media, PoseTrack):
        return (media,)
    recording, span = (media, None) if isinstance(media, Recording) else recording_of(media, units=units)
    if not recording.poses:
        raise QueryError(
            f"{recording.uri} holds no body pose ({'+'.join(recording.modalities)} only), and a worn sensor is aligned "
            "with the body: run a pose estimator over the video and name its keypoints in a recording.json beside it"
        )
    if span is None:
        return recording.poses
    seen = [track for track in recording.poses if ((track.t_s >= span.start_s) & (track.t_s < span.end_s)).any()]
    return tuple(track.crop(span) for track in seen or recording.poses[:1])


def recording_of(media: str | Path, *, units: Mapping[str, str] | None = None) -> tuple[Recording, Span | None]:
    """The recording at a path, and the stretch of it that is meant. Raises QueryError, MediaError."""
    from motionseek.indexer.readers import read

    file, span = split_span(media)
    if not is_there(file):
        raise QueryError(f"{file}: there is no such file to align with")
    return read(file, units=units), span


def _one_wearer(imus: Sequence[Imu], file: Path) -> tuple[Imu, ...]:
    people = sorted({imu.person for imu in imus})
    if len(people) > 1:
        raise QueryError(f"{file} holds sensors of several people ({', '.join(people)}): give those of one")
    return tuple(imus)
