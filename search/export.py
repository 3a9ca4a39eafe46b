"""Moments → files: the clip, the sensors' slices, and tables of the hits.

    OUT/hits.json  hits.csv  hits.parquet
    OUT/0001_3f2a9c…/clip.mp4  imu_0_left_wrist.csv …

Recordings are looked up in the archive by their id, and folders are named by rank and id: neither a path in a saved
answer nor a name in a recording decides what is read or written. The folder appears whole, or not at all.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import av
import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet

from motionseek.errors import DamagedFile, MediaError, UsageError
from motionseek.indexer.video import frame_times, frames_at
from motionseek.types import LEVELS, MODALITIES, Imu, Moment, Recording, Span, VideoRef

if TYPE_CHECKING:
    from motionseek.search.archive import Archive

TableFormat = Literal["json", "csv", "parquet"]
TABLE_FORMATS: tuple[TableFormat, ...] = get_args(TableFormat)
IMU_COLUMNS = ("t_s", "ax_mps2", "ay_mps2", "az_mps2", "gx_rps", "gy_rps", "gz_rps")
CHUNK_BYTES = 128 * 2**20
CLIP_TIME_BASE = Fraction(1, 90_000)
CLIP_OPTIONS = {"crf": "18", "preset": "fast", "bf": "0"}
_ID = re.compile(r"[0-9a-f]{8,128}")


@dataclass(frozen=True)
class Exported:
    """What was written. folder: where.   moments: how many.   files: paths below it, of clips and sensors.
    failed: (rank, reason) of moments whose streams could not be read; the tables hold them too."""

    folder: Path
    moments: int
    files: tuple[str, ...]
    failed: tuple[tuple[int, str], ...]

    def __post_init__(self) -> None:
        if any(Path(file).is_absolute() or ".." in Path(file).parts for file in self.files):
            raise UsageError("exported files are named relative to their folder")

    def to_json(self) -> dict[str, Any]:
        return {
            "folder": str(self.folder),
            "moments": self.moments,
            "files": list(self.files),
            "failed": [{"rank": rank, "reason": reason} for rank, reason in self.failed],
        }


def export(
    archive: Archive,
    moments: Sequence[Moment],
    folder: str | Path,
    *,
    clips: bool = True,
    sensors: bool = True,
    around_s: float = 0.0,
    formats: Sequence[TableFormat] = TABLE_FORMATS,
    progress: Callable[[int, int], None] | None = None,
) -> Exported:
    """Write moments of an archive into a new folder.

    moments: of `Archive.search`, or `read_hits`.   clips: cut the film where there is one, encoded anew so that it
    begins and ends with the moment; it has no sound.   sensors: cut every worn sensor, on its own clock.   around_s:
    seconds kept before and after each moment.   progress: called with (done, total).

    All streams are cut at the moment's times: sensors whose clock is not the film's are cut wrongly until `sync` has
    said by how much. A recording that cannot be read, or was changed since it was indexed, is reported, not raised.
    Raises UsageError where the folder exists and is not empty or cannot be made, or a moment's recording is not in the
    archive.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} exists already: name a new folder, so that nothing is overwritten")
    unknown_formats = sorted(set(formats) - set(TABLE_FORMATS))
    if unknown_formats or not formats:
        raise UsageError(f"formats must be some of {', '.join(TABLE_FORMATS)}, not {', '.join(unknown_formats)}")
    if not (np.isfinite(around_s) and around_s >= 0):
        raise UsageError(f"around_s must be finite and not negative, not {around_s}")
    unknown = sorted({m.recording_id for m in moments} - set(archive.sources))
    if unknown:
        raise UsageError(f"the archive {archive.store.uri} has no recording {unknown[0]}")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise UsageError(f"{folder}: cannot be made: {error.strerror}") from error
    try:
        files, failed = _fill(archive, moments, scratch, clips, sensors, around_s, formats, progress)
        scratch.chmod(0o755)
        # Over an empty folder a rename puts the new one in its place.
        scratch.replace(folder)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    return Exported(folder, len(moments), tuple(files), tuple(failed))


def _fill(
    archive: Archive,
    moments: Sequence[Moment],
    folder: Path,
    clips: bool,
    sensors: bool,
    around_s: float,
    formats: Sequence[TableFormat],
    progress: Callable[[int, int], None] | None,
) -> tuple[list[str], list[tuple[int, str]]]:
    rows: list[dict[str, Any]] = []
    failed: list[tuple[int, str]] = []
    recordings: dict[str, Recording | str] = {}
    left = Counter(moment.recording_id for moment in moments)
    for i, moment in enumerate(moments):
        row: dict[str, Any] = {**moment.to_json(), "clip": None, "sensors": []}
        del row["uri"]
        rows.append(row)
        if clips or sensors:
            if moment.recording_id not in recordings:
                recordings[moment.recording_id] = _again(archive, moment.recording_id)
            held = recordings[moment.recording_id]
            # Recordings of hours are large: none stays longer than its last moment.
            left[moment.recording_id] -= 1
            if not left[moment.recording_id]:
                del recordings[moment.recording_id]
            home = folder / f"{i + 1:04d}_{re.sub('[^0-9A-Za-z]', '_', moment.recording_id)[:12]}"
            span = Span(moment.start_s - around_s, moment.end_s + around_s)
            if isinstance(held, str):
                failed.append((moment.rank, held))
            else:
                try:
                    if sensors:
                        row["sensors"] = _write_sensors(held.imus, span, home)
                    if clips and held.video is not None and _meets(held.video, span):
                        home.mkdir(exist_ok=True)
                        row["clip"] = f"{home.name}/clip.mp4"
                        write_clip(held.video, span, home / "clip.mp4")
                except MediaError as error:
                    # What was written before a picture could not be read is no clip.
                    (home / "clip.mp4").unlink(missing_ok=True)
                    row["clip"] = None
                    failed.append((moment.rank, error.reason))
        if progress:
            progress(i + 1, len(moments))
    for name in dict.fromkeys(formats):
        _WRITERS[name](folder / f"hits.{name}", rows)
    return [file for row in rows for file in (row["clip"], *row["sensors"]) if file], failed


def _again(archive: Archive, recording_id: str) -> Recording | str:
    """The recording as its files are now, or why it cannot be had."""
    try:
        recording = archive.read_again(recording_id)
    except (MediaError, UsageError) as error:
        return f"its recording cannot be read again: {error}"
    if recording.recording_id != recording_id:
        return f"{recording.uri} was changed since it was indexed: index it again"
    return recording


def _meets(stream: VideoRef | Imu, span: Span) -> bool:
    return stream.start_s < span.end_s and span.start_s < stream.end_s


# -- clips and slices


def write_clip(video: VideoRef, span: Span, path: Path) -> None:
    """The pictures shown within `span`, on the recording's clock, as H.264 in an mp4 that begins at 0.

    The first is the one on show when the span begins, the last ends with it: their times are cut, so that the clip
    lasts as long as the span, or as far as the film reaches. Raises DamagedFile where frames cannot be decoded or the
    clip cannot be written.
    """
    shown_s = frame_times(video.path)
    shown_s = shown_s + (video.start_s - shown_s[0])
    until_s = np.append(shown_s[1:], max(video.end_s, shown_s[-1] + 1e-3))
    at = np.flatnonzero((until_s > span.start_s) & (shown_s < span.end_s))
    if not len(at):
        raise DamagedFile(video.path, f"shows nothing between {span.start_s:g} and {span.end_s:g} s")
    from_s = max(span.start_s, float(shown_s[at[0]]))
    pts = np.rint((np.maximum(shown_s[at], from_s) - from_s) / float(CLIP_TIME_BASE)).astype(np.int64)
    end_pts = round((min(span.end_s, float(until_s[at[-1]])) - from_s) / float(CLIP_TIME_BASE))
    kept = np.flatnonzero(np.diff(np.append(pts, end_pts)) > 0)
    at, pts = at[kept], pts[kept]
    lasts = dict(zip(pts.tolist(), np.diff(np.append(pts, end_pts)).tolist(), strict=True))
    container_s = frame_times(video.path)[at]
    width, height = video.size
    chunk = max(1, CHUNK_BYTES // (3 * width * height))
    try:
        with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
            stream = container.add_stream("libx264", rate=max(1, round(video.rate_hz)), options=CLIP_OPTIONS)
            # Pictures of 4:2:0 have even sides.
            stream.width, stream.height, stream.pix_fmt = width - width % 2, height - height % 2, "yuv420p"
            stream.codec_context.time_base = CLIP_TIME_BASE
            stream.time_base = CLIP_TIME_BASE
            for first in range(0, len(at), chunk):
                some = slice(first, first + chunk)
                for picture, when in zip(frames_at(video.path, container_s[some]), pts[some].tolist(), strict=True):
                    even = np.ascontiguousarray(picture[: stream.height, : stream.width])
                    frame = av.VideoFrame.from_ndarray(even, format="rgb24")
                    frame.pts, frame.time_base = when, CLIP_TIME_BASE
                    _mux(container, stream.encode(frame), lasts)
            _mux(container, stream.encode(None), lasts)
    except (av.FFmpegError, OSError) as error:
        raise DamagedFile(path, f"the clip of {video.path} cannot be written: {error}") from error


def _mux(container: Any, packets: Sequence[Any], lasts: Mapping[int, int]) -> None:
    for packet in packets:
        packet.duration = lasts[packet.pts]
        container.mux(packet)


def _write_sensors(imus: Sequence[Imu], span: Span, home: Path) -> list[str]:
    files = []
    for i, imu in enumerate(imus):
        if ((imu.acc_t_s >= span.start_s) & (imu.acc_t_s < span.end_s)).any():
            home.mkdir(exist_ok=True)
            name = f"imu_{i}_{imu.placement}.csv"
            write_imu(imu.crop(span), home / name)
            files.append(f"{home.name}/{name}")
    return files


def write_imu(imu: Imu, path: Path) -> None:
    """A sensor in our plain columns, sample by sample; where accelerometer and gyroscope come at different times, the
    cells of the one that has none are empty."""
    times = np.union1d(imu.acc_t_s, imu.gyro_t_s)
    columns: dict[str, pa.Array] = {"t_s": pa.array(times)}
    for clock, values, names in (
        (imu.acc_t_s, imu.acc_mps2, IMU_COLUMNS[1:4]),
        (imu.gyro_t_s, imu.gyro_rps, IMU_COLUMNS[4:]),
    ):
        if not len(clock):
            continue
        full = np.full((len(times), 3), np.nan)
        full[np.searchsorted(times, clock)] = values
        columns |= {name: pa.array(column, from_pandas=True) for name, column in zip(names, full.T, strict=True)}
    with path.open("wb") as file:
        file.write((",".join(columns) + "\n").encode())
        pa_csv.write_csv(pa.table(columns), file, pa_csv.WriteOptions(include_header=False))


# -- tables


def _write_json(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    path.write_text(json.dumps({"hits": list(rows)}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _flat(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    levels = list(dict.fromkeys([*LEVELS, *(level for row in rows for level in row["scores"])]))
    strings = ("recording_id", "modality", "caption", "through", "person", "clip")
    schema = pa.schema(
        [
            ("rank", pa.int64()),
            ("recording_id", pa.string()),
            ("modality", pa.string()),
            *((name, pa.float64()) for name in ("start_s", "end_s", "score")),
            *((f"score_{level}", pa.float64()) for level in levels),
            ("offset_s", pa.float64()),
            ("confidence", pa.float64()),
            *((name, pa.string()) for name in strings[2:]),
            *((name, pa.list_(pa.string())) for name in ("path", "labels", "sensors")),
        ]
    )
    flat = [{**row, **{f"score_{level}": row["scores"].get(level) for level in levels}} for row in rows]
    return pa.Table.from_pylist([{name: row[name] for name in schema.names} for row in flat], schema=schema)


def _write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    table = _flat(rows)
    for name in ("path", "labels", "sensors"):
        joined = [";".join(values) for values in table[name].to_pylist()]
        table = table.set_column(table.schema.get_field_index(name), name, pa.array(joined, pa.string()))
    pa_csv.write_csv(table, path)


def _write_parquet(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    pa_parquet.write_table(_flat(rows), path)


_WRITERS: Mapping[TableFormat, Callable[[Path, Sequence[Mapping[str, Any]]], None]] = {
    "json": _write_json,
    "csv": _write_csv,
    "parquet": _write_parquet,
}


# -- saved answers


def read_hits(path: str | Path) -> tuple[Moment, ...]:
    """The moments of a file that `search --json` printed. Paths in it are not used. Raises DamagedFile."""
    path = Path(path)
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DamagedFile(path, f"is not an answer of search --json: {error}") from error
    if not isinstance(said, dict) or not isinstance(said.get("hits"), list):
        raise DamagedFile(path, 'is not an answer of search --json: it has no list "hits"')
    return tuple(replace(_moment(path, i, hit), rank=i + 1) for i, hit in enumerate(said["hits"]))


def _moment(path: Path, i: int, hit: Any) -> Moment:
    try:
        offset_s, confidence = hit.get("offset_s"), hit.get("confidence")
        moment = Moment(
            rank=i + 1,
            recording_id=hit["recording_id"],
            uri="",
            modality=hit["modality"],
            start_s=float(hit["start_s"]),
            end_s=float(hit["end_s"]),
            score=float(hit["score"]),
            scores={str(level): float(score) for level, score in hit.get("scores", {}).items()},
            through=hit.get("through", hit["modality"]),
            person=str(hit.get("person", "")),
            path=tuple(str(step) for step in hit.get("path", [])),
            offset_s=None if offset_s is None else float(offset_s),
            confidence=None if confidence is None else float(confidence),
            caption=str(hit.get("caption", "")),
            labels=tuple(str(label) for label in hit.get("labels", [])),
        )
        Span(moment.start_s, moment.end_s)
        numbers = moment.score, *moment.scores.values(), moment.offset_s or 0.0, moment.confidence or 0.0
        if not np.isfinite(numbers).all():
            raise ValueError("a score, offset or confidence is not finite")
    except (AttributeError, KeyError, TypeError, ValueError, UsageError) as error:
        raise DamagedFile(path, f"hit {i + 1} is not a moment: {error!r}") from error
    if not isinstance(moment.recording_id, str) or not _ID.fullmatch(moment.recording_id):
        raise DamagedFile(path, f"hit {i + 1} names no recording_id: it must be a hexadecimal number")
    if moment.modality not in MODALITIES or moment.through not in MODALITIES:
        raise DamagedFile(path, f"hit {i + 1} has no known modality; use one of: {', '.join(MODALITIES)}")
    return moment
