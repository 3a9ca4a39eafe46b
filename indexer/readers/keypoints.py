"""Body pose tracks from keypoint files (our JSON, COCO results, MMPose, OpenPose, npy), in COCO-17 order, in pixels."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from motionseek.errors import DamagedFile, UnknownFormat, UsageError
from motionseek.indexer.readers.packed import load_npy
from motionseek.types import Float64, PoseTrack

JOINTS = 17

OPENPOSE = re.compile(r"(.+)_(\d{12})_keypoints\.json")
"""What OpenPose's --write_json calls the file of each frame: the video's name and the frame's number from 0."""

COCO_OF_OPENPOSE = {
    25: (0, 16, 15, 18, 17, 5, 2, 6, 3, 7, 4, 12, 9, 13, 10, 14, 11),
    18: (0, 15, 14, 17, 16, 5, 2, 6, 3, 7, 4, 11, 8, 12, 9, 13, 10),
}
"""BODY_25 and COCO-18: where each joint of COCO-17 is."""


HALF = re.compile(r"\\u[dD][89a-fA-F]")
"""Where a text of JSON may name half a character."""


def read_poses(
    path: str | Path,
    *,
    image_size: tuple[int, int] | None = None,
    rate_hz: float | None = None,
    frame_times_s: Float64 | None = None,
    start_s: float = 0.0,
    person: str = "",
) -> tuple[tuple[PoseTrack, ...], tuple[str, ...]]:
    """One track for every person in the file, and what had to be left out.

    Five layouts:
    - JSON `{"image_size": [w, h], "frames": [{"t_s": 0.0, "persons": [{"id": "0", "keypoints": [[x, y, c] * 17]}]}]}`
    - JSON, COCO results: `[{"image_id": frame number from 0, "keypoints": [x, y, c, …], "score": …, "track_id": …}]`;
      without `track_id` the best score of a frame is taken as the one person
    - JSON, MMPose: `{"instance_info": [{"frame_id": 1, "instances": [{"keypoints": [[x, y] * 17], "keypoint_scores":
      [c * 17]}]}]}`, frames from the first one's number; without `track_id` the best instance of a frame
    - JSON, OpenPose: any of the files `NAME_000000000000_keypoints.json` that it writes for the frames of a video, for
      all of them; BODY_25 or COCO-18, in pixels or from 0 to 1; the most confident body of a frame
    - npy of shape (N, 17, 3) or (N, 17, 2), one row a frame

    Frame numbers become seconds by `rate_hz`, else `frame_times_s` of the video; `start_s` is the time of frame 0.
    `person` names the only person in the file, or picks one of several. A joint with confidence 0 is unseen: NaN.
    Raises DamagedFile, UnknownFormat, UsageError, naming the file.
    """
    path = Path(path)
    if rate_hz is not None and not 0 < rate_hz < np.inf:
        raise UsageError(f"{path}: rate_hz must be positive, not {rate_hz}")
    problems: list[str] = []
    suffix = path.suffix.lower()
    if suffix == ".npy":
        frame, key, xyc = _npy(path)
        t_s = _times_of(path, frame, rate_hz, frame_times_s, start_s)
    elif OPENPOSE.fullmatch(path.name):
        frame, key, xyc = _openpose(path, image_size, problems)
        t_s = _times_of(path, frame, rate_hz, frame_times_s, start_s)
    elif suffix == ".json":
        held = load_json(path)
        if isinstance(held, dict) and "instance_info" in held:
            frame, key, xyc = _coco(path, _mmpose(path, held))
            t_s = _times_of(path, frame, rate_hz, frame_times_s, start_s)
        elif isinstance(held, dict):
            t_s, key, xyc = _timed(path, held)
            image_size = image_size or _size(path, held.get("image_size"))
        elif isinstance(held, list):
            frame, key, xyc = _coco(path, held)
            t_s = _times_of(path, frame, rate_hz, frame_times_s, start_s)
        else:
            raise DamagedFile(path, 'is neither {"frames": …} nor a list of COCO results')
    else:
        raise UnknownFormat(path, f"a keypoint file is .json or .npy, not {suffix or 'without suffix'!r}")
    if image_size is None:
        raise DamagedFile(path, 'the size of the picture is not known: give "image_size": [width, height]')
    finite = np.isfinite(t_s)
    if not finite.all():
        problems.append(f"{path.name}: {int((~finite).sum())} poses without a time were dropped")
        t_s, key, xyc = t_s[finite], key[finite], xyc[finite]
    people = sorted(set(key.tolist()))
    if not people:
        raise DamagedFile(path, "holds no pose")
    if person and len(people) > 1:
        if person not in people:
            raise DamagedFile(path, f"holds no person {person!r}; it has {', '.join(people)}")
        people = [person]
    tracks = [_track(path, t_s[key == p], xyc[key == p], image_size, person or p, problems) for p in people]
    return tuple(tracks), tuple(problems)


def load_json(path: Path) -> Any:
    """The parsed file, see `whole_text`. Raises DamagedFile."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
        return whole_text(json.loads(text)) if HALF.search(text) else json.loads(text)
    except OSError as error:
        raise DamagedFile(path, f"cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise DamagedFile(path, f"is not JSON: {error}") from error


def whole_text(held: Any) -> Any:
    """A JSON value whose texts can be kept: half a character, as of an emoji that was cut in two, can be escaped but
    not stored, and becomes U+FFFD."""
    if isinstance(held, str):
        return held.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(held, list):
        return [whole_text(one) for one in held]
    if isinstance(held, dict):
        return {whole_text(key): whole_text(one) for key, one in held.items()}
    return held


def _track(
    path: Path, t_s: Float64, xyc: Float64, image_size: tuple[int, int], person: str, problems: list[str]
) -> PoseTrack:
    order = np.argsort(t_s, kind="stable")
    t_s, xyc = t_s[order], xyc[order]
    later = np.diff(t_s, prepend=-np.inf) > 0
    if not later.all():
        problems.append(f"{path.name}: {int((~later).sum())} poses of person {person} at a repeated time were dropped")
    xy, confidence = xyc[later, :, :2], np.nan_to_num(np.clip(xyc[later, :, 2], 0, 1))
    unseen = (confidence <= 0) | ~np.isfinite(xy).all(axis=2)
    xy, confidence = np.where(unseen[..., None], np.nan, xy), np.where(unseen, 0, confidence)
    return PoseTrack(t_s[later], xy.astype(np.float32), confidence.astype(np.float32), image_size, person)


def _npy(path: Path) -> tuple[Float64, Any, Float64]:
    """Frame numbers (N,), persons (N,), (N, 17, 3)."""
    values = load_npy(path)
    if values.ndim != 3 or values.shape[1] != JOINTS or values.shape[2] not in (2, 3) or values.dtype.kind not in "fiu":
        raise DamagedFile(
            path, f"must hold numbers of shape (N, 17, 3) or (N, 17, 2), not {values.dtype} {values.shape}"
        )
    xyc = np.ones((len(values), JOINTS, 3))
    xyc[..., : values.shape[2]] = values
    return np.arange(len(values), dtype=np.float64), np.full(len(values), "0"), xyc


def _timed(path: Path, held: dict[str, Any]) -> tuple[Float64, Any, Float64]:
    """Seconds (N,), persons (N,), (N, 17, 3)."""
    rows = []
    try:
        for frame in held["frames"]:
            rows += [(float(frame["t_s"]), str(p.get("id", "0")), _points(p["keypoints"])) for p in frame["persons"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DamagedFile(path, f"frame {len(rows)} is not as it must be: {_said(error)}") from error
    return _columns(rows)


def _coco(path: Path, held: list[Any]) -> tuple[Float64, Any, Float64]:
    """Frame numbers (N,), persons (N,), (N, 17, 3)."""
    best: dict[tuple[float, str], tuple[float, list[list[float]]]] = {}
    try:
        for result in held:
            key = (float(result["image_id"]), str(result.get("track_id", "0")))
            score = float(result.get("score", 1.0))
            if key not in best or score > best[key][0]:
                best[key] = (score, _points(result["keypoints"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DamagedFile(path, f"result {len(best)} is not as it must be: {_said(error)}") from error
    return _columns([(frame, person, points) for (frame, person), (_, points) in best.items()])


def _mmpose(path: Path, held: dict[str, Any]) -> list[Any]:
    """As COCO results. MMPose's tools count frames from 0 or from 1, but never leave out the first."""
    results = []
    try:
        frames = held["instance_info"]
        first = min((int(frame["frame_id"]) for frame in frames), default=0)
        if first not in (0, 1):
            raise ValueError(f"its first frame is number {first}")
        for frame in frames:
            for body in frame["instances"]:
                points, scores = body["keypoints"], body["keypoint_scores"]
                result = {
                    "image_id": int(frame["frame_id"]) - first,
                    "keypoints": [[*point[:2], c] for point, c in zip(points, scores, strict=True)],
                    "score": sum(scores) / max(1, len(scores)),
                }
                results.append(result | ({"track_id": body["track_id"]} if "track_id" in body else {}))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DamagedFile(path, f"instance {len(results)} is not as MMPose writes it: {_said(error)}") from error
    return results


def openpose_files(path: Path) -> Sequence[Path]:
    """The files of all frames that belong to the one at `path`, in order. Raises DamagedFile."""
    found = OPENPOSE.fullmatch(path.name)
    try:
        files = _openpose_folder(path.parent, path.parent.stat().st_mtime_ns)
    except OSError as error:
        raise DamagedFile(path.parent, f"cannot be read: {error.strerror}") from error
    return files.get(found[1], ()) if found else ()


@lru_cache(maxsize=4)
def _openpose_folder(folder: Path, mtime_ns: int) -> dict[str, list[Path]]:
    """By the video's name; kept while each of thousands of files is asked what it belongs to."""
    files: dict[str, list[Path]] = {}
    for file in sorted(folder.iterdir()):
        if found := OPENPOSE.fullmatch(file.name):
            files.setdefault(found[1], []).append(file)
    return files


def _openpose(path: Path, image_size: tuple[int, int] | None, problems: list[str]) -> tuple[Float64, Any, Float64]:
    """Frame numbers (N,), persons (N,), (N, 17, 3). A frame that cannot be read is left out. Raises DamagedFile."""
    numbers, bodies, bad = [], [], []
    for file in openpose_files(path):
        try:
            people = load_json(file)["people"]
            body = max(
                (_openpose_body(person["pose_keypoints_2d"]) for person in people), key=_confidence, default=None
            )
        except (DamagedFile, KeyError, TypeError, ValueError) as error:
            bad.append(f"{file.name}: {error.reason if isinstance(error, DamagedFile) else _said(error)}")
            continue
        found = OPENPOSE.fullmatch(file.name)
        if body is not None and found:
            numbers.append(int(found[2]))
            bodies.append(body)
    if bad and not bodies:
        raise DamagedFile(path, f"none of {len(bad)} frames can be read: {bad[0]}")
    if bad:
        problems.append(f"{len(bad)} frames cannot be read, the first: {bad[0]}")
    xyc = np.array(bodies, np.float64).reshape(-1, JOINTS, 3)
    if image_size is not None and len(xyc) and xyc[..., :2].max() <= 1:
        xyc[..., :2] *= image_size
    return np.array(numbers, np.float64), np.full(len(numbers), "0"), xyc


def _openpose_body(flat: Any) -> Float64:
    """(17, 3) of a list of x, y, confidence for each joint. Raises ValueError, TypeError."""
    values = np.array(flat, np.float64)
    order = COCO_OF_OPENPOSE.get(len(values) // 3)
    if order is None or values.ndim != 1 or len(values) % 3:
        raise ValueError(
            f"{values.size} numbers in pose_keypoints_2d where 25 or 18 times x, y, confidence are expected"
        )
    body: Float64 = values.reshape(-1, 3)[list(order)]
    return body


def _confidence(body: Float64) -> float:
    return float(np.nan_to_num(body[:, 2]).mean())


def _columns(rows: list[tuple[float, str, list[list[float]]]]) -> tuple[Float64, Any, Float64]:
    xyc = np.array([row[2] for row in rows], dtype=np.float64).reshape(len(rows), JOINTS, 3)
    return np.array([row[0] for row in rows], dtype=np.float64), np.array([row[1] for row in rows], dtype=object), xyc


def _points(keypoints: Any) -> list[list[float]]:
    """17 of [x, y, c], flat or nested, null where unseen."""
    flat = [v for point in keypoints for v in (point if isinstance(point, list) else [point])]
    if len(flat) != JOINTS * 3:
        raise ValueError(f"{len(flat)} numbers in keypoints where 17 times x, y, confidence are expected")
    numbers = [float("nan") if v is None else float(v) for v in flat]
    return [numbers[i : i + 3] for i in range(0, len(numbers), 3)]


def _times_of(
    path: Path, frame: Float64, rate_hz: float | None, frame_times_s: Float64 | None, start_s: float
) -> Float64:
    if rate_hz is not None:
        return start_s + frame / rate_hz
    if frame_times_s is None:
        raise DamagedFile(path, 'the time of its frames is not known: give "rate_hz", or the video they were found in')
    number = frame.astype(np.int64)
    if len(number) and (number.min() < 0 or number.max() >= len(frame_times_s)):
        raise DamagedFile(path, f"has frame {number.max()} where the video has {len(frame_times_s)}; give its rate_hz")
    times_s: Float64 = frame_times_s[number] - frame_times_s[0] + start_s
    return times_s


def _size(path: Path, value: Any) -> tuple[int, int] | None:
    if value is None:
        return None
    try:
        width, height = (int(v) for v in value)
    except (TypeError, ValueError) as error:
        raise DamagedFile(path, f"image_size must be [width, height], not {value!r:.80}") from error
    return width, height


def _said(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)
