"""A query's score along one recording."""

from __future__ import annotations

import numpy as np

from motionseek.errors import QueryError
from motionseek.search.by_vector import probes
from motionseek.search.encode import query_tokens
from motionseek.search.loaded import Loaded
from motionseek.search.motion import along
from motionseek.search.plan import vector_spaces
from motionseek.search.query import Query
from motionseek.types import Float32, Float64, Modality


def score_along(
    loaded: Loaded, asked: Query, recording_id: str, through: Modality | None = None
) -> tuple[Float64, Float32]:
    """See `Archive.score_along`."""
    if recording_id not in loaded.sources:
        raise QueryError(f"the archive has no recording {recording_id}")
    if asked.modality in ("imu", "pose") and loaded.streams(asked.modality):
        tokens = query_tokens(asked, loaded.stream_encoder(asked.modality))
        keys = [key for key in loaded.stream_keys(recording_id) if through in (None, key.modality)]
        streams = loaded.store.tokens("motion", keys)
        for key in keys:
            if key in streams:
                return along(tokens, streams[key], (asked.meant[1] - asked.meant[0]) / 2)
        raise QueryError(f"recording {recording_id} has no motion tokens to compare with")
    for space in vector_spaces(loaded, asked):
        opened = loaded.open(space, "global")
        columns = opened.columns
        mine = np.array([recording == recording_id for recording in columns.recordings], np.bool_)
        for modality in (through,) if through else ("imu", "pose", "video", "text"):
            rows = np.flatnonzero(mine[columns.recording] & (columns.modality == modality))
            if len(rows):
                times = (columns.start_s[rows] + columns.end_s[rows]) / 2
                order = np.argsort(times, kind="stable")
                score: Float32 = (opened.index.vectors(rows[order]) @ probes(loaded, asked, space).vector.T).max(axis=1)
                return times[order], score
    raise QueryError(f"recording {recording_id} has no window that the query can be compared with")
