"""OpenPose: the bodies that it found in a video, a JSON file a frame.

`NAME_000000000000_keypoints.json`, `…000000000001…` and so on, as `--write_json FOLDER` writes them, with BODY_25 or
COCO-18 joints. They say neither when a frame was shown nor how large it was: that says the video `NAME.mp4`, in the
same folder or in the one above, and it is part of the recording. Without it, name the first of the files in a
recording.json, with `rate_hz` and `image_size`.

Cao et al.: OpenPose, TPAMI 2021.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from motionseek.errors import DamagedFile
from motionseek.indexer.readers.base import Reader, file_id, joint_id
from motionseek.indexer.readers.cameras import CAMERA
from motionseek.indexer.readers.gopro import GOPRO
from motionseek.indexer.readers.keypoints import OPENPOSE as FILE
from motionseek.indexer.readers.keypoints import openpose_files, read_poses
from motionseek.indexer.readers.media import VIDEO, VIDEO_SUFFIXES
from motionseek.indexer.video import frame_times
from motionseek.types import Recording


def read(path: str) -> Recording:
    """The first frame's file → the poses, with their video. Raises DamagedFile."""
    first = Path(path)
    video = _video_of(first)
    if video is None:
        raise DamagedFile(
            path,
            "OpenPose's files say neither time nor size of the picture: put the video beside them, or name this file "
            'as "pose" in a recording.json with "rate_hz" and "image_size"',
        )
    film = next(reader for reader in (GOPRO, CAMERA, VIDEO) if reader.matches(video)).read(str(video))
    if film.video is None:
        raise DamagedFile(path, f"{video.name}: {'; '.join(film.problems)}")
    tracks, left_out = read_poses(
        first, image_size=film.video.size, frame_times_s=frame_times(video), start_s=film.video.start_s
    )
    return replace(
        film,
        recording_id=content_id(path),
        uri=path,
        poses=tracks,
        source_format=OPENPOSE.name,
        problems=(*film.problems, *left_out),
    )


def content_id(path: str) -> str:
    """sha256 over the files of all frames and the video. Raises DamagedFile."""
    video = _video_of(Path(path))
    named = [(file.name, file_id(file)) for file in openpose_files(Path(path))]
    return joint_id([*named, ("video", file_id(video) if video else "absent")])


def _video_of(frame: Path) -> Path | None:
    found = FILE.fullmatch(frame.name)
    folders = (frame.parent, frame.parent.parent)
    files = (folder / f"{found[1]}{s}" for folder in folders for s in _SUFFIXES) if found else ()
    return next((file for file in files if file.is_file()), None)


def _frames_of(video: Path) -> Path | None:
    """The file of the first frame, beside the video or one folder further down."""
    name = f"{video.stem}_{0:012d}_keypoints.json"
    try:
        folders = [video.parent, *(child for child in sorted(video.parent.iterdir()) if child.is_dir())]
        return next((folder / name for folder in folders if (folder / name).is_file()), None)
    except OSError:
        return None


def _is_openpose(path: Path) -> bool:
    if FILE.fullmatch(path.name):
        return path.is_file()
    return path.suffix.lower() in VIDEO_SUFFIXES and path.is_file() and _frames_of(path) is not None


def _expand(path: Path) -> list[str]:
    """A recording goes by the file of its first frame, whichever of its files is met."""
    if FILE.fullmatch(path.name):
        return [str(openpose_files(path)[0])]
    first = _frames_of(path)
    return [str(openpose_files(first)[0])] if first else []


_SUFFIXES = (*VIDEO_SUFFIXES, *(suffix.upper() for suffix in VIDEO_SUFFIXES))
OPENPOSE = Reader("openpose", _is_openpose, read, content_id, _expand)
