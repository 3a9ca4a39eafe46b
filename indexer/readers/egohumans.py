"""EgoHumans: recognised, so that it is refused once and with the reason.

All of `processed_data` (poses2d, smpl, …) is npy files of pickled objects, one a frame: numpy reads them only by
running what they hold. They are not opened. The pictures are single images, not videos. docs/archives.md says how
keypoints get from there into a recording.json.

Khirodkar et al.: EgoHumans, ICCV 2023.
"""

from __future__ import annotations

from pathlib import Path

from motionseek.errors import DamagedFile
from motionseek.indexer.readers.base import Reader, file_id
from motionseek.types import Recording

REASON = (
    "EgoHumans keeps its poses as pickled objects, which run code when they are opened: they are not read. Write the "
    "keypoints as JSON and name them in a recording.json (see docs/archives.md)"
)


def read(path: str) -> Recording:
    """Raises DamagedFile."""
    raise DamagedFile(path, REASON)


def _is_egohumans(path: Path) -> bool:
    return path.name == "processed_data" and (path / "poses2d").is_dir()


def _expand(path: Path) -> list[str]:
    raise DamagedFile(path, REASON)


EGOHUMANS = Reader("egohumans", _is_egohumans, read, file_id, _expand)
