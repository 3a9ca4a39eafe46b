"""Single frames out of a video, decoding as little as gives them exactly.

Frames that no other frame needs and nobody asked for are not decoded, which halves the work where there are B-frames;
where nothing is asked for over more than a few frames, decoding starts again at the next key frame that is needed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from motionseek.indexer.container import Int64, VideoIndex, decoded, opened, stills, unbroken

SEEK_FRAMES = 24
"""A seek costs about as much as decoding so many frames: what the decoder holds in its threads is lost."""
MOST_RETRIES = 16
"""Frames that are looked for again from further back, in one call: in a file damaged all over, they would be many."""


def picked(path: str | Path, index: VideoIndex, wanted: Int64) -> Iterator[tuple[int, Any]]:
    """(pts, av.VideoFrame) for each of `wanted` (K,) increasing pts, mostly in order; one that is damaged is left out.

    Raises DamagedFile where the file cannot be opened.
    """
    if index.stills:
        yield from stills(path, wanted.tolist())
        return
    with opened(path) as (container, stream):
        if index.ordinal:
            asked = set(wanted.tolist())
            yield from ((n, f) for n, f in enumerate(unbroken(container.demux(stream))) if n in asked)
            return
        missed: list[int] = []
        for run in _runs(index, wanted):
            yield from _straight(container, stream, index, run, missed)
        for pts in missed[:MOST_RETRIES]:
            if (frame := _from_further_back(container, stream, index, pts)) is not None:
                yield pts, frame


def _runs(index: VideoIndex, wanted: Int64) -> list[Int64]:
    """`wanted` cut where seeking is cheaper than decoding on."""
    if not len(wanted):
        return []
    key = index.key_pts[np.maximum(np.searchsorted(index.key_pts, wanted, side="right") - 1, 0)]
    skipped = np.searchsorted(index.pts, key[1:]) - np.searchsorted(index.pts, wanted[:-1])
    return np.split(wanted, np.flatnonzero(skipped > SEEK_FRAMES) + 1)


def _straight(
    container: Any, stream: Any, index: VideoIndex, wanted: Int64, missed: list[int]
) -> Iterator[tuple[int, Any]]:
    """Frames of one run, from the key frame before its first. What did not come goes to `missed`."""
    codec, asked, due = stream.codec_context, set(wanted.tolist()), deque(wanted.tolist())
    key = max(int(np.searchsorted(index.key_pts, wanted[0], side="right")) - 1, 0)
    container.seek(int(index.key_pts[key]), stream=stream, backward=True)
    try:
        for frame in decoded(_sparing(container.demux(stream), codec, asked)):
            while due and frame.pts is not None and due[0] < frame.pts:
                missed.append(due.popleft())
            if due and due[0] == frame.pts:
                yield due.popleft(), frame
            if not due:
                break
    finally:
        codec.skip_frame = "DEFAULT"
    missed += due


def _sparing(packets: Iterator[Any], codec: Any, asked: set[int]) -> Iterator[Any]:
    """Packets, and to the decoder the word that pictures nobody asked for need decoding only where others need them."""
    for packet in packets:
        needed = packet.is_keyframe or packet.pts is None or packet.pts in asked
        codec.skip_frame = "DEFAULT" if needed else "NONREF"
        yield packet


def _from_further_back(container: Any, stream: Any, index: VideoIndex, pts: int) -> Any | None:
    """A seek may land late (transport streams, odd decoding times): from earlier key frames, at last from the start."""
    key = max(int(np.searchsorted(index.key_pts, pts, side="right")) - 1, 0)
    for earlier in (0, 1, 3, key + 1):
        if earlier <= key:
            container.seek(int(index.key_pts[key - earlier]), stream=stream, backward=True)
        else:
            container.seek(0, backward=True)
        for frame in decoded(container.demux(stream)):
            if frame.pts is None or frame.pts < pts:
                continue
            if frame.pts == pts:
                return frame
            break
    return None
