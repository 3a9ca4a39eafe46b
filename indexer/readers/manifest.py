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
camera was worn; `"gyro": "gyroscope.csv"` names a second table, of the gyroscope on the same clock. What is not named
above is kept in `Recording.extra`, with title, source, simulated and truth.
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
WITH_FILES = STREAMS[:3]


def read(path: str | Path) -> Recording:
    """A folder (or its recording.json) → the recording, with `problems` for the streams that could not be read.

    Raises DamagedFile where the manifest is not readable or none of its streams is.
    """
    file = _folder(path) / NAME
    held = load_manifest(file)
    return recorded(file, held, content_of(file, held, file_id(file)), uri=str(file.parent), format=MANIFEST.name)


def recorded(file: Path, held: Mapping[str, Any], recording_id: str, *, uri: str, format: str) -> Recording:
    """What a manifest's object says was recorded together; `file` held it, and its paths lie beside that."""
    problems: list[str] = []
    video = _video(file, held, problems)
    imus = [imu for entry in entries(held, "imu", problems) if (imu := _imu(file, *entry, problems))]
    poses: list[PoseTrack] = []
    for where, entry in entries(held, "pose", problems):
        for track in _poses(file, where, entry, video, problems):
            if track.person in {p.person for p in poses}:
                problems.append(f"{where}: person {track.person} is in an earlier file already")
            else:
                poses.append(track)
    narrations = _narrations(held, problems)
    if not (video or imus or poses or narrations):
        reasons = "; ".join(problems) or f"names no stream: give one of {', '.join(STREAMS[:4])}"
        raise DamagedFile(file, reasons)
    return Recording(
        recording_id,
        uri,
        imus=tuple(imus),
        video=video,
        poses=tuple(poses),
        narrations=narrations,
        labels=_labels(held, problems),
        source_format=format,
        problems=tuple(problems),
        extra={key: value for key, value in held.items() if key not in STREAMS},
    )


def content_id(path: str | Path) -> str:
    """sha256 over the manifest and the files it names, under the names it gives them; the folder's name is not in it.

    Raises DamagedFile where the manifest is not readable; a file that is not there counts as absent.
    """
    file = _folder(path) / NAME
    return content_of(file, load_manifest(file), file_id(file))


def content_of(file: Path, held: Mapping[str, Any], said: str) -> str:
    """The recording_id of what a manifest's object names. said: sha256 of the object."""
    named = [(NAME, said)]
    for _, entry in (pair for key in WITH_FILES for pair in entries(held, key, [])):
        for name in (entry.get(key) for key in ("path", "gyro") if key in entry or key == "path"):
            try:
                named.append((str(name), file_id(_inside(file, name))))
            except DamagedFile:
                named.append((str(name), "absent"))
    return joint_id(named)


def _folder(path: str | Path) -> Path:
    path = Path(path)
    return path.parent if path.name == NAME and path.is_file() else path


def load_manifest(file: Path) -> dict[str, Any]:
    """Raises DamagedFile."""
    held = load_json(file)
    if not isinstance(held, dict):
        raise DamagedFile(file, "must hold an object")
    return held


def entries(held: Mapping[str, Any], key: str, problems: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """("imu[0]", the object) for each object under `key`, which holds one or a list of them."""
    value = held.get(key) or []
    for i, entry in enumerate(value if isinstance(value, list) else [value]):
        where = f"{key}[{i}]" if isinstance(value, list) else key
        if isinstance(entry, dict):
            yield where, entry
        else:
            problems.append(f"{where} must be an object, not {entry!r:.60}")


def _inside(manifest: Path, name: object) -> Path:
    """The file of that name beside a manifest. Raises DamagedFile where it lies elsewhere or is not there."""
    if not isinstance(name, str) or not name or "\0" in name:
        raise DamagedFile(manifest, f'"path" must be the name of a file, not {name!r:.60}')
    file = manifest.parent / name
    if Path(name).is_absolute() or not file.resolve().is_relative_to(manifest.parent.resolve()):
        raise DamagedFile(manifest, f"{name!r} lies outside the recording's folder")
    if not file.is_file():
        raise DamagedFile(manifest, f"{name!r} is not there")
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


def _video(manifest: Path, held: Mapping[str, Any], problems: list[str]) -> VideoRef | None:
    for where, entry in entries(held, "video", problems):
        with _noting(where, entry, problems):
            video, cut = probe_checked(_inside(manifest, entry.get("path")))
            problems.extend(f"{where}: {problem}" for problem in cut)
            return replace(video, start_s=float(_of_type(entry, "start_s", (int, float), video.start_s)))
    return None


def _imu(manifest: Path, where: str, entry: Mapping[str, Any], problems: list[str]) -> Imu | None:
    with _noting(where, entry, problems):
        file = _inside(manifest, entry.get("path"))
        placement = _of_type(entry, "placement", str, ANY_PART)
        person = str(_of_type(entry, "person", (str, int), ""))
        if file.suffix.lower() in gopro.SUFFIXES:
            imu, repaired, _ = gopro.read_imu_checked(file, placement=placement, person=person)
        else:
            said = {key: _text_map(entry, key) for key in ("columns", "units", "axes")}
            gyro = _inside(manifest, entry["gyro"]) if "gyro" in entry else None
            imu, repaired = read_imu_checked(file, gyro=gyro, placement=placement, person=person, **said)
        problems.extend(f"{where}: {problem}" for problem in repaired)
        return imu
    return None


def _poses(
    manifest: Path, where: str, entry: Mapping[str, Any], video: VideoRef | None, problems: list[str]
) -> tuple[PoseTrack, ...]:
    with _noting(where, entry, problems):
        file = _inside(manifest, entry.get("path"))
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
    for where, entry in entries(held, "narrations", problems):
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
