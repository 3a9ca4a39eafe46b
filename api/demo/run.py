"""The demo: recordings, an archive, questions, and a page with the answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from motionseek.demo.recordings import GOPRO_CLIP, make_recordings
from motionseek.demo.report import Line, Question, SyncAnswer, hit_of, sync_answer, write_report
from motionseek.encoders.model import load_model
from motionseek.indexer.pipeline import IndexReport, Progress, index
from motionseek.indexer.readers import read
from motionseek.search.archive import Archive
from motionseek.search.archive import open as open_archive
from motionseek.search.results import SearchResult
from motionseek.search.sync import sync
from motionseek.types import Alignment, Imu, Recording, Span

TEXTS = ("jumping", "walking", "running")
SENSOR = ("sword_a", "left_wrist", Span(4.0, 9.0))
"""The recording, sensor and span of the sensor-to-video question."""
SHOWN = 9


@dataclass(frozen=True, eq=False)
class SyncResult:
    """One recording's sensors against its own film. true_offset_s: what its manifest keeps for checking."""

    title: str
    alignment: Alignment
    true_offset_s: float

    def to_json(self) -> dict[str, Any]:
        return {"recording": self.title, **self.alignment.to_json(), "true_offset_s": self.true_offset_s}


@dataclass(frozen=True, eq=False)
class DemoResult:
    """Where everything is and what was answered. answers: (question, result)."""

    archive: Path
    report: Path
    indexed: IndexReport
    answers: tuple[tuple[str, SearchResult], ...]
    syncs: tuple[SyncResult, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "archive": str(self.archive),
            "report": str(self.report),
            "answers": [{"question": q, **r.to_json()} for q, r in self.answers],
            "syncs": [s.to_json() for s in self.syncs],
        }


def run(
    folder: str | Path = "demo",
    *,
    model: str = "starter",
    say: Callable[[str], None] | None = None,
    progress: Progress | None = None,
) -> DemoResult:
    """Make `folder`/recordings and `folder`/archive, ask the questions, write `folder`/report.html.

    Run again, only what is missing is made. say: told what begins.   progress: told how far the indexing is.
    """
    folder = Path(folder)
    tell = say or (lambda _: None)
    tell("making the recordings")
    if not (folder / "recordings" / GOPRO_CLIP).is_file():
        make_recordings(folder / "recordings")
    tell("indexing")
    indexed = index([folder / "recordings"], folder / "archive", models=(model,), progress=progress)
    loaded = load_model(model)
    archive = open_archive(folder / "archive", models=(loaded,))
    sensor = _sensor(folder / "recordings")
    tell("asking")
    answers: list[tuple[str, SearchResult]] = [
        (f"“{text}”", archive.search(text, target="video", k=SHOWN)) for text in TEXTS
    ]
    name, placement, span = SENSOR
    asked = f"{name}/imu_{placement}.csv, {span.start_s:g}-{span.end_s:g} s"
    answers.append((asked, archive.search(sensor, target="video", k=SHOWN)))
    queries: list[object] = [*TEXTS, sensor]
    tell("aligning")
    shifted = [r for r in map(read, sorted((folder / "recordings").glob("*/recording.json"))) if _true_offset_s(r)]
    syncs = [SyncResult(_title(r), sync(r.imus, r.poses[0], model=loaded), _true_offset_s(r)) for r in shifted]
    tell("drawing the report")
    questions = [_question(archive, q, query, result) for (q, result), query in zip(answers, queries, strict=True)]
    drawn = [_drawn(r, s) for r, s in zip(shifted, syncs, strict=True)]
    drawn.sort(key=lambda answer: -answer.alignment.confidence)
    about = {
        "recordings": len(archive.sources),
        "windows": archive.store.windows(columns=["window_id"]).num_rows,
        "model": loaded.name,
    }
    report = write_report(folder / "report.html", about, questions, drawn[:3])
    return DemoResult(folder / "archive", report, indexed, tuple(answers), tuple(syncs))


def _sensor(recordings: Path) -> Imu:
    name, placement, span = SENSOR
    imus = {imu.placement: imu for imu in read(recordings / name).imus}
    return imus[placement].crop(span)


def _true_offset_s(recording: Recording) -> float:
    truth = recording.extra.get("truth") or {}
    return float(truth.get("imu_offset_s", 0.0))


def _title(recording: Recording) -> str:
    return str(recording.extra.get("title") or Path(recording.uri).stem)


def _question(archive: Archive, asked: str, query: object, result: SearchResult) -> Question:
    hits = []
    for moment in result:
        times_s, scores = archive.score_along(query, moment.recording_id, through=moment.through)
        hits.append(hit_of(moment, read(Path(moment.uri)), score=Line(times_s, np.asarray(scores, np.float64))))
    kind = "text → video" if isinstance(query, str) else "sensor → video"
    return Question(asked, kind, hits, result.timings_ms)


def _drawn(recording: Recording, result: SyncResult) -> SyncAnswer:
    imu = next((i for i in recording.imus if i.placement == "right_wrist"), recording.imus[0])
    return sync_answer(result.title, imu, recording.poses[0], result.alignment, true_offset_s=result.true_offset_s)


__all__ = ["DemoResult", "SyncResult", "run"]
