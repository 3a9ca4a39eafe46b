"""A folder with a `recording.json` that names what was recorded together.

```json
{"video": {"path": "video.mp4", "start_s": 0.0},
 "imu": [{"path": "watch.csv", "placement": "left_wrist", "person": "0",
          "columns": {"t_s": "time"}, "units": {"time": "ms", "acc": "g", "gyro": "deg/s"},
          "axes": {"gyro": "y,-x,z"}}],
 "pose": [{"path": "pose.json", "person": "0", "image_size": [640, 480], "rate_hz": 30}],
 "narrations": [{"start_s": 0.0, "end_s": 5.0, "text": "she jumps"}],
 "labels": ["jumping"], "title": "…", "source": "…", "simulated": ["imu"], "truth": {}}
```
Everything is optional, one readable stream is enough. `start_s` is the time of the video's first frame on the
recording's clock; poses that count frames follow it. An IMU may also be the GoPro file itself, which says where the
camera was worn. What is not named above is kept in `Recording.extra`, with title, source, simulated and truth.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from motionseek.errors import DamagedFile, MediaError, UsageError
from motionseek.indexer.readers import gopro
from motionseek.indexer.readers.base import Reader, file_id, joint_id
from motionseek.indexer.readers.keypoints import load_json, read_poses
from motionseek.indexer.readers.tables import read_imu_checked
from motionseek.indexer.video import frame_times, probe_checked
from motionseek.types import ANY_PART, Imu, Narration, PoseTrack, Recording, VideoRef

NAME = "recording.json"
STREAMS = ("video", "imu", "pose", "narrations", "labels")


def read(path: str | Path) -> Recording:
    """A folder (or its recording.json) → the recording, with `problems` for the streams that could not be read.

    Raises DamagedFile where the manifest is not readable or none of its streams is.
    """
    folder = _folder(path)
    held = _manifest(folder)
    problems: list[str] = []
    video = _video(folder, held, problems)
    imus = [imu for entry in _entries(held, "imu", problems) if (imu := _imu(folder, *entry, problems))]
    poses: list[PoseTrack] = []
    for where, entry in _entries(held, "pose", problems):
        for track in _poses(folder, where, entry, video, problems):
            if track.person in {p.person for p in poses}:
                problems.append(f"{where}: person {track.person} is in an earlier file already")
            else:
                poses.append(track)
    narrations = _narrations(held, problems)
    if not (video or imus or poses or narrations):
        reasons = "; ".join(problems) or f"names no stream: give one of {', '.join(STREAMS[:4])}"
        raise DamagedFile(folder / NAME, reasons)
    return Recording(
        _id_of(folder, held),
        str(folder),
        imus=tuple(imus),
        video=video,
        poses=tuple(poses),
        narrations=narrations,
        labels=_labels(held, problems),
        source_format=MANIFEST.name,
        problems=tuple(problems),
        extra={key: value for key, value in held.items() if key not in STREAMS},
    )


def content_id(path: str | Path) -> str:
    """sha256 over the manifest and the files it names, under the names it gives them; the folder's name is not in it.

    Raises DamagedFile where the manifest is not readable; a file that is not there counts as absent.
    """
    folder = _folder(path)
    return _id_of(folder, _manifest(folder))


def _id_of(folder: Path, held: Mapping[str, Any]) -> str:
    named = [(NAME, file_id(folder / NAME))]
    for _, entry in (pair for key in ("video", "imu", "pose") for pair in _entries(held, key, [])):
        try:
            named.append((str(entry.get("path")), file_id(_inside(folder, entry))))
        except DamagedFile:
            named.append((str(entry.get("path")), "absent"))
    return joint_id(named)


def _folder(path: str | Path) -> Path:
    path = Path(path)
    return path.parent if path.name == NAME and path.is_file() else path


def _manifest(folder: Path) -> dict[str, Any]:
    held = load_json(folder / NAME)
    if not isinstance(held, dict):
        raise DamagedFile(folder / NAME, "must hold an object")
    return held


def _entries(held: Mapping[str, Any], key: str, problems: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """("imu[0]", the object) for each object under `key`, which holds one or a list of them."""
    value = held.get(key) or []
    for i, entry in enumerate(value if isinstance(value, list) else [value]):
        where = f"{key}[{i}]" if isinstance(value, list) else key
        if isinstance(entry, dict):
            yield where, entry
        else:
            problems.append(f"{where} must be an object, not {entry!r:.60}")


def _inside(folder: Path, entry: Mapping[str, Any]) -> Path:
    """The file that an entry names. Raises DamagedFile where it lies outside the folder or is not there."""
    name = entry.get("path")
    if not isinstance(name, str) or not name or "\0" in name:
        raise DamagedFile(folder / NAME, f'"path" must be the name of a file, not {name!r:.60}')
    file = folder / name
    if Path(name).is_absolute() or not file.resolve().is_relative_to(folder.resolve()):
        raise DamagedFile(folder / NAME, f"{name!r} lies outside the recording's folder")
    if not file.is_file():
        raise DamagedFile(folder / NAME, f"{name!r} is not there")
    return file


def _of_type(entry: Mapping[str, Any], key: str, kind: type | tuple[type, ...], default: Any) -> Any:
    value = entry.get(key, default)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise UsageError(f"{key} must not be {value!r:.60}")
    return value


def _text_map(entry: Mapping[str, Any], key: str) -> dict[str, str]:
    value: dict[str, str] = _of_type(entry, key, dict, {})
    if not all(isinstance(v, str) for v in value.values()):
        raise UsageError(f"{key} must map names to names, not {value!r:.60}")
    return value


@contextmanager
def _noting(where: str, entry: Mapping[str, Any], problems: list[str]) -> Iterator[None]:
    """One bad stream must not lose the others: its error becomes a problem of the recording."""
    try:
        yield
    except MediaError as error:
        problems.append(f"{where} ({entry.get('path')}): {error.reason}")
    except UsageError as error:
        problems.append(f"{where}: {error}")


def _video(folder: Path, held: Mapping[str, Any], problems: list[str]) -> VideoRef | None:
    for where, entry in _entries(held, "video", problems):
        with _noting(where, entry, problems):
            video, cut = probe_checked(_inside(folder, entry))
            problems.extend(f"{where}: {problem}" for problem in cut)
            return replace(video, start_s=float(_of_type(entry, "start_s", (int, float), video.start_s)))
    return None


def _imu(folder: Path, where: str, entry: Mapping[str, Any], problems: list[str]) -> Imu | None:
    with _noting(where, entry, problems):
        file = _inside(folder, entry)
        placement = _of_type(entry, "placement", str, ANY_PART)
        person = str(_of_type(entry, "person", (str, int), ""))
        if file.suffix.lower() in gopro.SUFFIXES:
            imu, repaired, _ = gopro.read_imu_checked(file, placement=placement, person=person)
        else:
            named = {key: _text_map(entry, key) for key in ("columns", "units", "axes")}
            imu, repaired = read_imu_checked(file, placement=placement, person=person, **named)
        problems.extend(f"{where}: {problem}" for problem in repaired)
        return imu
    return None


def _poses(
    folder: Path, where: str, entry: Mapping[str, Any], video: VideoRef | None, problems: list[str]
) -> tuple[PoseTrack, ...]:
    with _noting(where, entry, problems):
        file = _inside(folder, entry)
        size = _of_type(entry, "image_size", list, list(video.size) if video else [])
        if size and (len(size) != 2 or not all(isinstance(v, int) for v in size)):
            raise UsageError(f"image_size must be [width, height], not {size!r:.60}")
        tracks, left_out = read_poses(
            file,
            image_size=(size[0], size[1]) if size else None,
            rate_hz=float(_of_type(entry, "rate_hz", (int, float), 0)) or None,
            frame_times_s=frame_times(video.path) if video else None,
            start_s=video.start_s if video else 0.0,
            person=str(_of_type(entry, "person", (str, int), "")),
        )
        problems.extend(f"{where}: {problem}" for problem in left_out)
        return tracks
    return ()


def _narrations(held: Mapping[str, Any], problems: list[str]) -> tuple[Narration, ...]:
    narrations = []
    for where, entry in _entries(held, "narrations", problems):
        with _noting(where, entry, problems):
            start_s, end_s = (float(_of_type(entry, key, (int, float), None)) for key in ("start_s", "end_s"))
            narrations.append(Narration(start_s, end_s, _of_type(entry, "text", str, None)))
    return tuple(sorted(narrations, key=lambda n: (n.start_s, n.end_s)))


def _labels(held: Mapping[str, Any], problems: list[str]) -> tuple[str, ...]:
    labels = held.get("labels") or []
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        problems.append(f"labels must be a list of texts, not {labels!r:.60}")
        return ()
    return tuple(labels)


def _is_recording(path: Path) -> bool:
    return (path / NAME).is_file() or (path.name == NAME and path.is_file())


MANIFEST = Reader("manifest", _is_recording, read, content_id, expand=lambda path: [str(_folder(path))])
