"""What an archive knows of its recordings, and what a source means for it: new, known, moved, changed."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from motionseek.indexer.filters import Filter
from motionseek.types import Recording, Status, median_step_s

if TYPE_CHECKING:
    from motionseek.indexer.store import Store

Row = dict[str, Any]
RELEASE = version("motionseek")


KEPT = ("recording_id", "uris", "source_format", "status", "reason", "quality", "fingerprints")


class Catalog:
    """What the table `recordings` says, kept in step with what is being written: of each row only KEPT, so that
    memory stays small, and of failed ones what was noted when they failed."""

    def __init__(self, store: Store | None, *, without: Collection[str] = ()) -> None:
        """store: None for an archive that is not there yet.   without: fingerprints that are not to count."""
        rows = store.recordings(columns=KEPT).to_pylist() if store else []
        self.rows: dict[str, Row] = {row["recording_id"]: row for row in rows}
        for row in rows:
            row["fingerprints"] = [f for f in row["fingerprints"] if f not in without]
        failed = (
            store.recordings(Filter(status="failed"), columns=["recording_id", "extra"]).to_pylist() if store else []
        )
        self._noted: dict[str, Row] = {row["recording_id"]: json.loads(row["extra"]) for row in failed}
        self._at: dict[str, set[str]] = {}
        for row in self.rows.values():
            self._remember(row)

    def _remember(self, row: Row) -> None:
        for uri in row["uris"]:
            self._at.setdefault(uri, set()).add(row["recording_id"])

    def put(self, row: Row) -> None:
        kept = {name: row[name] for name in KEPT}
        self.rows[kept["recording_id"]] = kept
        self._noted[kept["recording_id"]] = json.loads(row["extra"]) if kept["status"] == "failed" else {}
        self._remember(kept)

    def readable(self, recording_id: str) -> Row | None:
        """The row of a recording whose windows are in the archive."""
        row = self.rows.get(recording_id)
        return row if row is not None and row["status"] in ("ok", "partial") else None

    def known_failure(self, recording_id: str, source_format: str) -> str:
        """Why this content cannot be read, where this version of motionseek has tried it in this format; else "".
        What is no video may still be the table that another name says it is."""
        row = self.rows.get(recording_id)
        return self._reasons(recording_id).get(source_format, "") if row and row["status"] == "failed" else ""

    def _reasons(self, recording_id: str) -> dict[str, str]:
        """Why, by format, what this version has tried will fail again."""
        noted = self._noted.get(recording_id, {})
        return dict(noted.get("reasons", {})) if noted.get("lasting") == RELEASE else {}

    def failure(
        self, recording_id: str, uris: Sequence[str], reason: str, source_format: str, *, lasting: bool
    ) -> Row | None:
        """The row of content that could not be read in a format, beside what is known of others; None where the archive
        has it already. lasting: this version need not try it again."""
        others = {name: why for name, why in self._reasons(recording_id).items() if name != source_format}
        every = {**others, source_format: reason}
        told = reason if len(every) == 1 else "; ".join(f"as {name}: {every[name]}" for name in sorted(every))
        row = failed_row(recording_id, uris, told, min(every), every if lasting else others)
        known, noted = self.rows.get(recording_id), self._noted.get(recording_id, {})
        same = known and (known["reason"], known["uris"], noted) == (told, list(uris), json.loads(row["extra"]))
        return None if same else row

    def uris(self, recording_id: str, uri: str) -> list[str]:
        """Where the content lies, now that it was met at `uri`: copies that are still there stay listed."""
        row = self.rows.get(recording_id)
        others = [u for u in row["uris"] if u != uri and _exists(u)] if row else []
        return sorted({uri, *others})

    def displaced(self, recording_id: str, uri: str) -> tuple[list[str], dict[str, list[str]]]:
        """What else was once met at `uri`: ids to remove, and of content that lies elsewhere too where it does."""
        gone: list[str] = []
        elsewhere: dict[str, list[str]] = {}
        for other in sorted(self._at.get(uri, set()) - {recording_id}):
            left = [u for u in self.rows[other]["uris"] if u != uri]
            if left:
                elsewhere[other] = left
            else:
                gone.append(other)
        return gone, elsewhere

    def forget(self, recording_id: str, uri: str) -> None:
        """The content is no longer at `uri`."""
        self._at.get(uri, set()).discard(recording_id)
        row = self.rows[recording_id]
        self.rows[recording_id] = {**row, "uris": [u for u in row["uris"] if u != uri]}

    def lies_nowhere(self, recording_id: str) -> bool:
        return not self.rows[recording_id]["uris"]


def _exists(uri: str) -> bool:
    """A path, or "path#part" where a file holds many recordings."""
    return os.path.exists(uri) or os.path.exists(uri.rpartition("#")[0] or uri)


def read_again(row: Row, uri: str) -> Recording:
    """The recording of a row with source_format and extra, from where it lies, as it was read when it was indexed.

    Raises MediaError, UsageError.
    """
    # What opens each format takes a while to import; a search needs none of it.
    from motionseek.indexer.readers import UNITS_GIVEN, read

    units = json.loads(row["extra"] or "{}").get(UNITS_GIVEN)
    return read(uri, format=row["source_format"] or "auto", units=units)


def recording_row(recording: Recording, uris: Sequence[str], fingerprints: Iterable[str], quality: float) -> Row:
    """A row of RECORDINGS."""
    problems = "; ".join(recording.problems)
    return {
        "recording_id": recording.recording_id,
        "uris": list(uris),
        "source_format": recording.source_format,
        "streams": _streams(recording),
        "start_s": recording.span.start_s,
        "duration_s": recording.duration_s,
        "labels": list(recording.labels),
        "narrations": [{"start_s": n.start_s, "end_s": n.end_s, "text": n.text} for n in recording.narrations],
        "status": "partial" if problems else "ok",
        "reason": problems,
        "quality": quality,
        "fingerprints": sorted(set(fingerprints)),
        "extra": json.dumps(dict(recording.extra), ensure_ascii=False, sort_keys=True),
    }


def failed_row(
    recording_id: str,
    uris: Sequence[str],
    reason: str,
    source_format: str = "",
    lasting: Mapping[str, str] | None = None,
) -> Row:
    """The row of something that could not be read. lasting: by format, why this version need not try it again."""
    status: Status = "failed"
    return {
        "recording_id": recording_id,
        "uris": list(uris),
        "source_format": source_format,
        "streams": [],
        "start_s": 0.0,
        "duration_s": 0.0,
        "labels": [],
        "narrations": [],
        "status": status,
        "reason": reason,
        "quality": 0.0,
        "fingerprints": [],
        "extra": json.dumps({"lasting": RELEASE, "reasons": dict(sorted(lasting.items()))} if lasting else {}),
    }


def _streams(recording: Recording) -> list[Row]:
    def stream(modality: str, start_s: float, end_s: float, rate_hz: float, **more: str | float) -> Row:
        blank = {"placement": "", "part": "", "person": "", "name": "", "path": "", "gyro_rate_hz": 0.0}
        return {"modality": modality, **blank, **more, "rate_hz": rate_hz, "start_s": start_s, "end_s": end_s}

    rows = [
        stream(
            "imu",
            i.start_s,
            i.end_s,
            i.rate_hz,
            placement=i.placement,
            part=i.part,
            person=i.person,
            name=i.name,
            gyro_rate_hz=1 / median_step_s(i.gyro_t_s) if len(i.gyro_t_s) > 1 else 0.0,
        )
        for i in recording.imus
    ]
    if video := recording.video:
        rows.append(stream("video", video.start_s, video.end_s, video.rate_hz, name=video.camera, path=video.path))
    for pose in recording.poses:
        rate_hz = 1 / median_step_s(pose.t_s) if len(pose.t_s) > 1 else 0.0
        rows.append(stream("pose", pose.start_s, pose.end_s, rate_hz, person=pose.person, name=pose.estimator))
    return rows
