"""motionseek: the search engine for motion.

    import motionseek as ms
    ms.index(["recordings/"], "archive")
    for moment in ms.open("archive").search("jumping", target="video"): ...
    ms.sync("watch.csv", "recordings/walk", placement="left_wrist")

Names are loaded when they are first used: importing motionseek is instant.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from motionseek.imports import without_collecting

if TYPE_CHECKING:
    from motionseek.encoders.model import Model, load_model
    from motionseek.errors import (
        ArchiveError,
        ArchiveLocked,
        DamagedFile,
        MediaError,
        MissingExtra,
        ModelError,
        MotionseekError,
        QueryError,
        StaleIndex,
        UnitError,
        UnknownFormat,
        UsageError,
    )
    from motionseek.indexer.filters import Filter
    from motionseek.indexer.pipeline import IndexReport, index
    from motionseek.indexer.pose import estimate_pose
    from motionseek.indexer.readers import read
    from motionseek.indexer.remove import remove
    from motionseek.indexer.repair import repair
    from motionseek.indexer.train import train
    from motionseek.indexer.verify import verify
    from motionseek.search.archive import Archive, open
    from motionseek.search.locate import Located, Worn, locate
    from motionseek.search.query import Query
    from motionseek.search.results import SearchResult
    from motionseek.search.sync import sync
    from motionseek.search.tune import Tuned, tune
    from motionseek.types import Alignment, Imu, Moment, Narration, PoseTrack, Recording, Span, VideoRef, Window

__all__ = [
    "Alignment",
    "Archive",
    "ArchiveError",
    "ArchiveLocked",
    "DamagedFile",
    "Filter",
    "Imu",
    "IndexReport",
    "Located",
    "MediaError",
    "MissingExtra",
    "Model",
    "ModelError",
    "Moment",
    "MotionseekError",
    "Narration",
    "PoseTrack",
    "Query",
    "QueryError",
    "Recording",
    "SearchResult",
    "Span",
    "StaleIndex",
    "Tuned",
    "UnitError",
    "UnknownFormat",
    "UsageError",
    "VideoRef",
    "Window",
    "Worn",
    "estimate_pose",
    "index",
    "load_model",
    "locate",
    "open",
    "read",
    "remove",
    "repair",
    "sync",
    "train",
    "tune",
    "verify",
]

_HOMES = {
    "motionseek.encoders.model": "Model load_model",
    "motionseek.errors": "ArchiveError ArchiveLocked DamagedFile MediaError MissingExtra ModelError MotionseekError "
    "QueryError StaleIndex UnitError UnknownFormat UsageError",
    "motionseek.indexer.filters": "Filter",
    "motionseek.indexer.pipeline": "IndexReport index",
    "motionseek.indexer.pose": "estimate_pose",
    "motionseek.indexer.readers": "read",
    "motionseek.indexer.remove": "remove",
    "motionseek.indexer.repair": "repair",
    "motionseek.indexer.train": "train",
    "motionseek.indexer.verify": "verify",
    "motionseek.search.archive": "Archive open",
    "motionseek.search.locate": "Located Worn locate",
    "motionseek.search.query": "Query",
    "motionseek.search.results": "SearchResult",
    "motionseek.search.sync": "sync",
    "motionseek.search.tune": "Tuned tune",
    "motionseek.types": "Alignment Imu Moment Narration PoseTrack Recording Span VideoRef Window",
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with without_collecting():
        value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
