"""The window grid: which spans of a stream are looked at, what is really there in each, what is said about each.

Windows start on ticks of 0.2 s from the stream's first sample, the length of a token, so that a window is a view on
the token stream whatever the space.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from motionseek.errors import DamagedFile, UsageError
from motionseek.indexer import quality
from motionseek.indexer.schema import WINDOWS, row_id, slots
from motionseek.types import (
    Bool,
    Float64,
    Imu,
    Modality,
    Narration,
    PoseTrack,
    Recording,
    Span,
    VideoRef,
    median_step_s,
)

Int64 = npt.NDArray[np.int64]
TICK_S = 0.2
MIN_COVERAGE = 0.2
"""A part belongs to a window where at least this share of the window has samples of it."""
LONGEST_H = 48.0
_TRUNK = (5, 6, 11, 12)
_SHOWN_BY = ((9, *_TRUNK), (10, *_TRUNK), (13, *_TRUNK), (14, *_TRUNK), (0, *_TRUNK), _TRUNK)
"""COCO-17 joints that must be seen for each of PARTS."""


@dataclass(frozen=True, eq=False)
class Windows:
    """The windows of one stream: row i spans start_s[i] to end_s[i] and starts tick[i] ticks after the stream.

    coverage: (N, P) float64, the share of each window that has samples of each slot of the modality.
    checks: what else the samples say about themselves.
    """

    recording_id: str
    modality: Modality
    person: str
    tick: Int64
    start_s: Float64
    end_s: Float64
    coverage: Float64
    captions: tuple[str, ...]
    checks: quality.Checks

    def __len__(self) -> int:
        return len(self.tick)

    @property
    def there(self) -> Bool:
        """(N, P): the parts that belong to each window."""
        return self.coverage >= MIN_COVERAGE

    @cached_property
    def covered(self) -> Float64:
        """(N,) mean coverage of the parts that the stream has anywhere."""
        has = self.coverage.any(axis=0)
        return self.coverage[:, has].mean(axis=1) if has.any() else np.zeros(len(self))

    @cached_property
    def quality(self) -> Float64:
        """(N,) share of each window that is there, and neither clipped nor stuck."""
        return self.covered * self.checks.good

    @cached_property
    def ids(self) -> list[str]:
        told = self.captions if self.modality == "text" else ("",) * len(self)
        return [
            row_id(self.recording_id, self.modality, self.person, round(start * 1e6), round((end - start) * 1e6), text)
            for start, end, text in zip(self.start_s.tolist(), self.end_s.tolist(), told, strict=True)
        ]

    def take(self, keep: Bool) -> Windows:
        captions = tuple(c for c, k in zip(self.captions, keep, strict=True) if k)
        who = (self.recording_id, self.modality, self.person)
        times = self.tick[keep], self.start_s[keep], self.end_s[keep]
        return Windows(*who, *times, self.coverage[keep], captions, self.checks.take(keep))

    def to_rows(self, labels: Sequence[str]) -> pa.Table:
        """Rows of the table WINDOWS."""
        return window_rows([self], {self.recording_id: labels})


def window_rows(several: Sequence[Windows], labels: Mapping[str, Sequence[str]]) -> pa.Table:
    """Rows of the table WINDOWS, of several recordings' streams of one modality. labels: by recording_id."""
    modality = several[0].modality
    names, body = slots(modality), modality in ("imu", "pose")
    checks = quality.Checks.of([windows.checks for windows in several])
    covered = np.concatenate([windows.covered for windows in several])
    there = np.concatenate([windows.there for windows in several])
    told = {"coverage": covered, **{name: getattr(checks, name) for name in ("clipped", "stuck", "acc_g")}}
    kind = WINDOWS.field("checks").type
    arrays = [pa.array(np.round(told[f.name], 4), pa.float64(), from_pandas=True) for f in kind]
    columns = {
        "window_id": [name for windows in several for name in windows.ids],
        "recording_id": [w.recording_id for w in several for _ in range(len(w))],
        "modality": [modality] * len(there),
        "person": [w.person for w in several for _ in range(len(w))],
        "parts": [[names[p] for p in np.flatnonzero(row)] if body else [] for row in there],
        "start_s": np.concatenate([windows.start_s for windows in several]),
        "end_s": np.concatenate([windows.end_s for windows in several]),
        "caption": [caption for windows in several for caption in windows.captions],
        "labels": [list(labels[w.recording_id]) for w in several for _ in range(len(w))],
        "quality": np.round(covered * checks.good, 4),
        "flags": checks.flags(covered) if body else [[] for _ in there],
        "checks": pa.StructArray.from_arrays(arrays, fields=list(kind)),
    }
    return pa.table(columns, schema=WINDOWS)


def grid(duration_s: float, *, window_s: float = 5.0, stride_s: float = 1.0) -> Int64:
    """Ticks at which the windows of a stream start: every stride, and one that ends with the stream.

    A stream shorter than a window has one window. Raises UsageError where the lengths are not whole ticks.
    """
    length, stride = _ticks("window_s", window_s), _ticks("stride_s", stride_s)
    last = int(np.floor(duration_s / TICK_S + 0.1)) - length
    if last <= 0:
        return np.zeros(1, np.int64)
    starts = np.arange(0, last + 1, stride)
    return starts if starts[-1] == last else np.append(starts, last)


def _ticks(name: str, value_s: float) -> int:
    ticks = round(value_s / TICK_S) if np.isfinite(value_s) else 0
    if ticks < 1 or abs(ticks * TICK_S - value_s) > 1e-6:
        raise UsageError(f"{name} must be a multiple of {TICK_S:g} s, not {value_s:g}")
    return ticks


def coverage(t_s: Float64, start_s: Float64, end_s: Float64, *, max_gap_s: float | None = None) -> Float64:
    """Share of each span start_s, end_s (N,) that the samples at t_s (L,) cover, (N,) from 0 to 1.

    A sample covers the time up to the next one, unless that is more than max_gap_s away (default: 0.1 s or four
    steps, whichever is more): then only its own step.
    """
    if len(t_s) < 2:
        return np.zeros(len(start_s))
    step_s = median_step_s(t_s)
    gap_s = max(0.1, 4 * step_s) if max_gap_s is None else max(max_gap_s, 1.5 * step_s)
    dt_s = np.append(np.diff(t_s), step_s)
    held_s = np.where(dt_s <= gap_s, dt_s, step_s)
    # Nodes of the covered time as a function of time: it rises while a sample holds and rests in gaps.
    nodes_s = np.stack([t_s, t_s + held_s], axis=1).reshape(-1)
    total_s = np.cumsum(np.stack([np.zeros(len(t_s)), held_s], axis=1).reshape(-1))
    covered_s = np.interp(end_s, nodes_s, total_s) - np.interp(start_s, nodes_s, total_s)
    share: Float64 = np.clip(np.round(covered_s / (end_s - start_s), 6), 0, 1)
    return share


def captions(narrations: Sequence[Narration], start_s: Float64, end_s: Float64) -> tuple[str, ...]:
    """For each span the narration that overlaps it most, "" where none does; the earlier of equals."""
    if not narrations:
        return ("",) * len(start_s)
    told = sorted(narrations, key=lambda n: (n.start_s, n.end_s, n.text))
    from_s, to_s = np.array([n.start_s for n in told]), np.array([n.end_s for n in told])
    found: list[str] = []
    for at in range(0, len(start_s), 1024):
        ends, starts = end_s[at : at + 1024, None], start_s[at : at + 1024, None]
        overlap = np.round(np.minimum(ends, to_s) - np.maximum(starts, from_s), 6)
        best = overlap.argmax(axis=1)
        found += [told[b].text if overlap[i, b] > 0 else "" for i, b in enumerate(best)]
    return tuple(found)


def wearers(recording: Recording) -> dict[str, tuple[Imu, ...]]:
    """The sensors of each person, at most one a part.

    A second sensor on the same part of a person (a phone beside a watch) goes into a set of its own, "NAME#2".
    """
    sets: dict[str, dict[str, Imu]] = {}
    for imu in recording.imus:
        name, n = imu.person, 1
        while imu.part in sets.get(name, {}):
            n += 1
            name = f"{imu.person}#{n}"
        sets.setdefault(name, {})[imu.part] = imu
    return {name: tuple(worn.values()) for name, worn in sorted(sets.items())}


def of_imus(recording: Recording, person: str, imus: Sequence[Imu], *, window_s: float, stride_s: float) -> Windows:
    """The windows of one wearer's sensors together; those in which no sensor says anything are left out."""
    step_s = max(1 / max(i.rate_hz, 1e-3) for i in imus)
    span = _span(recording, min(i.start_s for i in imus), max(i.end_s for i in imus) + min(step_s, TICK_S))
    tick, start_s, end_s = _spans(span, window_s, stride_s)
    names = slots("imu")
    share = np.zeros((len(tick), len(names)))
    for imu in imus:
        there = coverage(imu.acc_t_s[np.isfinite(imu.acc_mps2).all(axis=1)], start_s, end_s)
        if len(imu.gyro_t_s) and not imu.one_clock:
            there = np.minimum(there, coverage(imu.gyro_t_s[np.isfinite(imu.gyro_rps).all(axis=1)], start_s, end_s))
        share[:, names.index(imu.part)] = there
    worn: Bool = share[:, [names.index(imu.part) for imu in imus]] >= MIN_COVERAGE
    checks = quality.of_sensors(imus, worn, start_s, end_s)
    return _seen(recording, "imu", person, tick, start_s, end_s, share, checks)


def of_pose(recording: Recording, track: PoseTrack, *, window_s: float, stride_s: float) -> Windows:
    """The windows of one person's pose; those in which no part is seen are left out."""
    step_s = float(np.median(np.diff(track.t_s))) if len(track.t_s) > 1 else TICK_S
    tick, start_s, end_s = _spans(
        _span(recording, track.start_s, track.end_s + min(step_s, TICK_S)), window_s, stride_s
    )
    seen: Bool = np.all(np.isfinite(track.xy_px), axis=2)
    share = np.stack(
        [coverage(track.t_s[seen[:, j].all(axis=1)], start_s, end_s, max_gap_s=0.25) for j in _SHOWN_BY], axis=1
    )
    return _seen(recording, "pose", track.person, tick, start_s, end_s, share)


def of_video(recording: Recording, video: VideoRef, *, window_s: float, stride_s: float) -> Windows:
    """The windows of the picture."""
    tick, start_s, end_s = _spans(_span(recording, video.start_s, video.end_s), window_s, stride_s)
    return _seen(recording, "video", "", tick, start_s, end_s, np.ones((len(tick), 1)))


def of_text(recording: Recording) -> Windows:
    """One window a narration."""
    told = sorted({(n.start_s, n.end_s, n.text) for n in recording.narrations})
    start_s, end_s = (np.array([t[i] for t in told], np.float64) for i in (0, 1))
    share, tick = np.ones((len(told), 1)), np.zeros(len(told), np.int64)
    texts = tuple(t[2] for t in told)
    return Windows(
        recording.recording_id, "text", "", tick, start_s, end_s, share, texts, quality.Checks.none(len(told))
    )


def _span(recording: Recording, start_s: float, end_s: float) -> Span:
    span = Span(start_s, max(end_s, start_s + TICK_S))
    if span.duration_s > LONGEST_H * 3600:
        raise DamagedFile(
            recording.uri,
            f"its clock spans {span.duration_s / 3600:.0f} h; more than {LONGEST_H:g} h is taken for a broken clock: "
            f"cut the recording or repair its times",
        )
    return span


def _spans(span: Span, window_s: float, stride_s: float) -> tuple[Int64, Float64, Float64]:
    tick = grid(span.duration_s, window_s=window_s, stride_s=stride_s)
    start_s = np.asarray(span.start_s + tick * TICK_S, np.float64)
    end_s = np.asarray(start_s + window_s, np.float64)
    if int(np.floor(span.duration_s / TICK_S + 0.1)) * TICK_S < window_s - 1e-6:
        end_s = np.array([span.end_s])
    return tick, start_s, end_s


def _seen(
    recording: Recording,
    modality: Modality,
    person: str,
    tick: Int64,
    start_s: Float64,
    end_s: Float64,
    share: Float64,
    checks: quality.Checks | None = None,
) -> Windows:
    told = captions(recording.narrations, start_s, end_s)
    checks = checks or quality.Checks.none(len(tick))
    all_ = Windows(recording.recording_id, modality, person, tick, start_s, end_s, share, told, checks)
    seen: Bool = np.any(all_.there, axis=1)
    return all_.take(seen)
