"""Ego4D: what a head-worn camera's IMU measured, what it filmed, and what annotators said about it.

Files, in the layout of the official download (all but one of the sensors and the pictures are optional):

- `v1/imu/{video_uid}.csv`: `canonical_timestamp_ms, gyro_x…z, accl_x…z`; rows without a time, out of order, repeated
  or with NULL values are known damages and are repaired. Its time 0 is taken for the video's.
- `v1/full_scale/{video_uid}.mp4`, or `v1/clips/{clip_uid}.mp4`: a clip is a recording of its own on the clock of the
  video that it was cut from, with that part of the sensors and narrations; which video that was says `v1/ego4d.json`.
- `v1/annotations/narration.json` (or `v1/narration.json`): both passes. Narrations of the camera wearer become
  sentences ("#C C opens a drawer" → "a person opens a drawer") over the five seconds around their instant; those of
  others ("#O …") say nothing about the sensors and are only counted.

Grauman et al.: Ego4D, CVPR 2022.
"""

from __future__ import annotations

import json
import mmap
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from motionseek.errors import DamagedFile, MediaError, UsageError
from motionseek.indexer.readers.base import Reader, columns_of, file_id, joint_id
from motionseek.indexer.readers.keypoints import load_json, whole_text
from motionseek.indexer.readers.tables import read_imu_checked
from motionseek.indexer.video import probe_checked
from motionseek.types import Imu, Narration, Recording, Span, VideoRef

COLUMNS = {
    "t_s": "canonical_timestamp_ms",
    **{f"a{axis}_mps2": f"accl_{axis}" for axis in "xyz"},
    **{f"g{axis}_rps": f"gyro_{axis}" for axis in "xyz"},
}
NARRATION_FILES = ("annotations/narration.json", "narration.json")
NARRATED_S = 2.5
"""Before and after the instant of a narration, the window that IMU2CLIP trained on."""

UID = r"(?:grp-)?[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
FILE = re.compile(rf"({UID})\.(csv|mp4)")
NARRATED = re.compile(rb'"(' + UID.encode() + rb')"\s*:\s*(?=\{)')
WEARER = re.compile(r"[^#]{0,3}#\s*c+\b[\s.:,]*(?:c\b)?\s*", re.IGNORECASE)
UNSURE = re.compile(r"#\s*unsure\b", re.IGNORECASE)
TAG = re.compile(r"#\s*\w+")


@dataclass(frozen=True)
class _Files:
    """What is there of one recording."""

    root: Path
    video_uid: str
    span: Span | None
    """The clip on the clock of its video; None for a whole video."""
    imu: Path | None
    video: Path | None


@dataclass(frozen=True)
class _Catalog:
    """What ego4d.json says."""

    clips: Mapping[str, tuple[str, float, float]]
    """Clip → its video, start and end there in seconds."""
    videos: Mapping[str, Mapping[str, Any]]
    problem: str = ""


def read(path: str) -> Recording:
    """`v1/imu/UID.csv`, `v1/full_scale/UID.mp4` or `v1/clips/UID.mp4` → a recording with all that belongs to it.

    Raises DamagedFile where neither sensors nor pictures can be read, UnitError.
    """
    files = _files(path)
    problems: list[str] = []
    imu = _imu(files, problems)
    video = _video(files, problems)
    if imu is None and video is None:
        raise DamagedFile(path, "; ".join(problems) or "is not there")
    narrations, others = _narrations(files, problems)
    catalog = _catalog(files.root)
    if catalog.problem:
        problems.append(catalog.problem)
    return Recording(
        content_id(path),
        path,
        imus=(imu,) if imu else (),
        video=video,
        narrations=narrations,
        source_format=EGO4D.name,
        problems=tuple(problems),
        extra={
            "video_uid": files.video_uid,
            **({"clip_uid": Path(path).stem} if files.span else {}),
            **catalog.videos.get(files.video_uid, {}),
            "narrations_of_others": others,
        },
    )


def content_id(path: str) -> str:
    """sha256 over sensors, pictures, the clip's place, and the narrations of the video. Raises DamagedFile."""
    files = _files(path)
    named = [(kind, file_id(file)) for kind, file in (("imu", files.imu), ("video", files.video)) if file]
    if not named:
        raise DamagedFile(path, "is not there")
    told: list[str] = []
    narrations, others = _narrations(files, told)
    named.append(("narrations", sha256(repr((narrations, others, told)).encode()).hexdigest()))
    described = json.dumps(_catalog(files.root).videos.get(files.video_uid, {}), sort_keys=True)
    return joint_id([*named, ("place", f"{files.span} {described}")])


def sentence(narration: str) -> str:
    """What the camera wearer does, as a sentence; "" where the narration is about somebody else or says nothing."""
    tag = WEARER.match(narration)
    if not tag:
        return ""
    rest = TAG.sub(" ", UNSURE.sub("something", narration[tag.end() :]))
    rest = " ".join(rest.split()).strip(" .,;:!?").lower()
    return f"a person {rest}".replace("person 's", "person's", 1) if rest else ""


def _files(path: str) -> _Files:
    file = Path(path)
    found = FILE.fullmatch(file.name)
    if not found:
        raise UsageError(f"{path}: an Ego4D recording is named by its file, as in v1/imu/UID.csv")
    uid, root = found[1], file.parent.parent
    span = None
    if file.parent.name == "clips":
        clip = _catalog(root).clips.get(uid)
        if clip is None:
            return _Files(root, "", None, None, file)
        uid, span = clip[0], Span(clip[1], clip[2])
    imu = file if file.suffix == ".csv" else root / "imu" / f"{uid}.csv"
    video = file if file.suffix == ".mp4" else root / "full_scale" / f"{uid}.mp4"
    return _Files(root, uid, span, imu if imu.is_file() else None, video if video.is_file() else None)


def _imu(files: _Files, problems: list[str]) -> Imu | None:
    if files.imu is None:
        return None
    try:
        imu, repaired = read_imu_checked(files.imu, placement="head", columns=COLUMNS, units={"time": "ms"})
        imu = imu.crop(files.span) if files.span else imu
    except (MediaError, UsageError) as error:
        problems.append(f"imu: {error.reason if isinstance(error, MediaError) else error}")
        return None
    problems.extend(f"imu: {problem}" for problem in repaired)
    return imu


def _video(files: _Files, problems: list[str]) -> VideoRef | None:
    if files.video is None:
        return None
    try:
        video, cut = probe_checked(files.video)
    except DamagedFile as error:
        problems.append(f"video: {error.reason}")
        return None
    problems.extend(f"video: {problem}" for problem in cut)
    if not files.video_uid:
        problems.append("ego4d.json does not say which video this clip was cut from: its sensors are not known")
    return replace(video, start_s=video.start_s + (files.span.start_s if files.span else 0.0))


def _narrations(files: _Files, problems: list[str]) -> tuple[tuple[Narration, ...], int]:
    """The wearer's narrations, and the number of the others."""
    try:
        text = _narrated(files.root, files.video_uid)
    except DamagedFile as error:
        problems.append(f"narrations: {error.reason}")
        return (), 0
    if not text:
        return (), 0
    try:
        held = whole_text(json.JSONDecoder().raw_decode(text)[0])
        passes = [held.get(name) or {} for name in ("narration_pass_1", "narration_pass_2")]
        told = [(n["timestamp_sec"], n["narration_text"]) for p in passes for n in p.get("narrations") or ()]
        told = [(float(t), str(said)) for t, said in told if t is not None and said]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        problems.append(f"its narrations cannot be read: {error!r:.80}")
        return (), 0
    span = files.span
    told = [(t, said) for t, said in told if abs(t) < 1e6 and (span is None or span.start_s <= t < span.end_s)]
    own = sorted({(t, clean) for t, said in told if (clean := sentence(said))})
    earliest = span.start_s if span else 0.0
    narrations = (Narration(max(earliest, t - NARRATED_S), t + NARRATED_S, clean) for t, clean in own if t >= 0)
    return tuple(narrations), sum(not sentence(said) for _, said in told)


def _narrated(root: Path, video_uid: str) -> str:
    """The JSON of one video's narrations, "" where there is none; the file as a whole is far too large to parse."""
    file = next((root / name for name in NARRATION_FILES if (root / name).is_file()), None)
    if file is None or not video_uid:
        return ""
    try:
        stat = file.stat()
        places = _narrated_places(file, stat.st_mtime_ns, stat.st_size)
        start, end = places.get(video_uid, (0, 0))
        with file.open("rb") as opened:
            opened.seek(start)
            return opened.read(end - start).decode(errors="replace")
    except OSError as error:
        raise DamagedFile(file, f"cannot be read: {error.strerror}") from error


@lru_cache(maxsize=4)
def _narrated_places(path: Path, mtime_ns: int, size: int) -> Mapping[str, tuple[int, int]]:
    """Video → where its narrations start and end in the file."""
    if not size:
        return {}
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        found = [(match[1].decode(), match.start(), match.end()) for match in NARRATED.finditer(text)]
    ends = [*(start for _, start, _ in found), size][1:]
    return {uid: (at, end) for (uid, _, at), end in zip(found, ends, strict=True)}


def _catalog(root: Path) -> _Catalog:
    file = root / "ego4d.json"
    if not file.is_file():
        return _Catalog({}, {})
    stat = file.stat()
    return _catalog_at(file, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=4)
def _catalog_at(path: Path, mtime_ns: int, size: int) -> _Catalog:
    try:
        held = load_json(path)
        clips = {
            clip["clip_uid"]: (clip["video_uid"], float(clip["video_start_sec"]), float(clip["video_end_sec"]))
            for clip in held.get("clips") or ()
            if float(clip["video_start_sec"]) < float(clip["video_end_sec"])
        }
        kept = ("duration_sec", "scenarios", "device", "has_imu")
        videos = {v["video_uid"]: {key: v[key] for key in kept if key in v} for v in held.get("videos") or ()}
    except DamagedFile as error:
        return _Catalog({}, {}, f"{path.name}: {error.reason}")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return _Catalog({}, {}, f"{path.name} is not as it must be: {error!r:.80}")
    return _Catalog(clips, videos)


def _is_sensors(path: Path) -> bool:
    return path.suffix == ".csv" and set(COLUMNS.values()) <= columns_of(path)


def _is_ego4d(path: Path) -> bool:
    if not FILE.fullmatch(path.name) or not path.is_file():
        return False
    if path.suffix == ".csv":
        return _is_sensors(path)
    return path.parent.name in ("full_scale", "clips") and (
        (path.parent.parent / "ego4d.json").is_file() or (path.parent.parent / "imu").is_dir()
    )


def _expand(path: Path) -> list[str]:
    """A recording goes by its sensors, else by its video; the clips of a video that is there whole are not repeated."""
    uid, root = path.stem, path.parent.parent
    if path.parent.name == "clips":
        clip = _catalog(root).clips.get(uid)
        return [] if clip and (root / "full_scale" / f"{clip[0]}.mp4").is_file() else [str(path)]
    imu = root / "imu" / f"{uid}.csv"
    return [str(imu if path.suffix == ".mp4" and imu.is_file() else path)]


EGO4D = Reader("ego4d", _is_ego4d, read, content_id, _expand)
