"""Every recording of an archive, its own streams held against each other: are its clocks really one?

Body sensors are held against the body pose, a camera's IMU against its picture. What cannot be read, or does not tell,
is listed with its reason like all others: an audit names every recording once per check, worst first.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from motionseek.errors import MissingExtra, MotionseekError, UsageError
from motionseek.indexer.catalog import read_again
from motionseek.indexer.filters import Filter
from motionseek.indexer.store import Store
from motionseek.search.sync import aligning, sync
from motionseek.types import ANY_PART, Alignment, Imu, PoseTrack, Recording

if TYPE_CHECKING:
    from motionseek.encoders.model import Model

Check = Literal["body", "camera", ""]
Verdict = Literal["failed", "off", "refused", "unchecked", "ok"]
"""Worst first. failed: it cannot be read.   off: by more than the tolerance, at its middle or, drifting, at its ends.
refused: nothing can be said.   unchecked: it has no two streams that tell each other's time, or opencv is missing."""
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)

MAX_OFFSET_S = 8.0
TOLERANCE_S = 0.1
CAMERA_PARTS = ("head", "torso", ANY_PART)
"""Where a sensor may move as a worn camera does, in a recording that shows no body."""

Progress = Callable[[int, int, str], None]
"""Called with (recordings done, of how many, address)."""


@dataclass(frozen=True)
class Finding:
    """One check of one recording. check: "body", "camera", or "" where there was none.   person: who wears the sensors.

    camera: name of the camera, for the check of that name.   alignment: None where none was tried.   off_s: how far the
    clocks are apart at worst within the recording, None where that is not known.
    """

    recording_id: str
    uri: str
    check: Check
    verdict: Verdict
    reason: str = ""
    person: str = ""
    camera: str = ""
    alignment: Alignment | None = None
    off_s: float | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "recording_id": self.recording_id,
            "uri": self.uri,
            "check": self.check,
            "person": self.person,
            "camera": self.camera,
            "verdict": self.verdict,
            "off_s": None if self.off_s is None else round(self.off_s, 4),
            "alignment": None if self.alignment is None else self.alignment.to_json(),
            "reason": self.reason,
        }


@dataclass(frozen=True)
class AuditReport:
    """All findings, worst first."""

    findings: tuple[Finding, ...]
    tolerance_s: float

    @property
    def counts(self) -> Mapping[Verdict, int]:
        return {verdict: sum(f.verdict == verdict for f in self.findings) for verdict in VERDICTS}

    @property
    def usual_s(self) -> Mapping[str, float]:
        """Camera → the median offset of its accepted checks: what its readout and stamps always add."""
        known = [(f.camera, f.alignment.offset_s) for f in self.findings if f.alignment and f.camera]
        cameras = sorted({camera for camera, offset_s in known if offset_s is not None})
        return {c: float(np.median([o for camera, o in known if camera == c and o is not None])) for c in cameras}

    def to_json(self) -> dict[str, Any]:
        return {
            "tolerance_s": self.tolerance_s,
            "counts": dict(self.counts),
            "usual_s": {camera: round(offset_s, 4) for camera, offset_s in self.usual_s.items()},
            "findings": [finding.to_json() for finding in self.findings],
        }

    def write_csv(self, path: str | Path) -> None:
        """One row a finding, in the same order. Raises UsageError where the file cannot be written."""
        plain = ("verdict", "uri", "check", "person", "camera", "off_s")
        aligned = ("offset_s", "drift_ppm", "confidence", "method")
        rows = []
        for said in (finding.to_json() for finding in self.findings):
            alignment = said["alignment"] or {}
            row = [said[name] for name in plain] + [alignment.get(name) for name in aligned]
            rows.append([*row, said["reason"], said["recording_id"]])
        try:
            with open(path, "w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file)
                writer.writerow([*plain, *aligned, "reason", "recording_id"])
                writer.writerows(rows)
        except OSError as error:
            raise UsageError(f"{path}: cannot be written: {error.strerror}") from error


def audit(
    store: Store,
    *,
    where: Filter | None = None,
    model: Model | None = None,
    max_offset_s: float = MAX_OFFSET_S,
    tolerance_s: float = TOLERANCE_S,
    progress: Progress | None = None,
) -> AuditReport:
    """Check the recordings of an archive, at most `max_offset_s` either way, reading their files again.

    where: which recordings.   model: one with a "motion" space, for the body; without it no training is used.
    tolerance_s: clocks further apart than this are "off". What is wrong with a recording is a finding, never raised.
    """
    if not (max_offset_s > 0 and tolerance_s >= 0):
        raise UsageError("max_offset_s must be above 0 and tolerance_s not below 0")
    if model is not None:
        aligning(model)
    rows = store.recordings(where, ["recording_id", "uris", "source_format", "extra", "status", "reason"]).to_pylist()
    findings: list[Finding] = []
    for done, row in enumerate(rows):
        uri = row["uris"][0] if row["uris"] else ""
        if progress is not None:
            progress(done, len(rows), uri)
        findings += _findings(row, uri, model, max_offset_s, tolerance_s)
    if progress is not None:
        progress(len(rows), len(rows), "")
    return AuditReport(tuple(sorted(findings, key=_badness)), tolerance_s)


def _badness(finding: Finding) -> tuple[int, float, str]:
    return VERDICTS.index(finding.verdict), -(finding.off_s or 0.0), finding.uri


def _findings(
    row: Mapping[str, Any], uri: str, model: Model | None, max_offset_s: float, tolerance_s: float
) -> list[Finding]:
    """At least one for each recording."""
    recording_id = row["recording_id"]
    if row["status"] == "failed":
        return [Finding(recording_id, uri, "", "failed", row["reason"])]
    try:
        recording = read_again(dict(row), uri)
    except MotionseekError as error:
        return [Finding(recording_id, uri, "", "failed", str(error))]
    found = []
    for check, person, camera, align in _checks(recording, model, max_offset_s):
        try:
            alignment = align()
        except MissingExtra as error:
            found.append(Finding(recording_id, uri, check, "unchecked", str(error), person, camera))
        except MotionseekError as error:
            found.append(Finding(recording_id, uri, check, "failed", str(error), person, camera))
        else:
            off_s = _off_s(alignment, recording)
            verdict: Verdict = "refused" if off_s is None else "off" if off_s > tolerance_s else "ok"
            found.append(Finding(recording_id, uri, check, verdict, alignment.reason, person, camera, alignment, off_s))
    if not found:
        held = "+".join(recording.modalities)
        reason = f"it holds {held} only: body sensors with body pose, or a camera's IMU with its video, can be checked"
        found.append(Finding(recording_id, uri, "", "unchecked", reason))
    return found


def _off_s(alignment: Alignment, recording: Recording) -> float | None:
    """How far the clocks are apart at worst: offset_s holds in the middle, and drift adds towards both ends."""
    if alignment.offset_s is None:
        return None
    return abs(alignment.offset_s) + abs(alignment.drift_ppm or 0.0) * 1e-6 * recording.duration_s / 2


_Planned = tuple[Check, str, str, Callable[[], Alignment]]


def _checks(recording: Recording, model: Model | None, max_offset_s: float) -> Iterator[_Planned]:
    """What can be checked: each wearer's sensors against the poses, the camera's own IMU against the picture."""
    video = recording.video
    own = [i for i in recording.imus if video and (i.name == video.camera != "" or _may_be_camera(i, recording))]
    worn = [imu for imu in recording.imus if imu not in own]
    if recording.poses:
        for person in sorted({imu.person for imu in worn}):
            sensors = [imu for imu in worn if imu.person == person]
            known = [imu for imu in sensors if imu.part != ANY_PART] or sensors[:1]
            poses = [pose for pose in recording.poses if pose.person == person] or recording.poses
            yield "body", person, "", partial(_best_pose, known, poses, model, max_offset_s)
    if own and video is not None:
        camera = video.camera or own[0].name
        # With it come the readers of films, which an archive opened for searching does not need.
        from motionseek.search.filmed import align_film

        yield "camera", own[0].person, camera, partial(align_film, own, video, max_offset_s=max_offset_s)


def _may_be_camera(imu: Imu, recording: Recording) -> bool:
    return not recording.poses and imu.part in CAMERA_PARTS


def _best_pose(
    sensors: Sequence[Imu], poses: Sequence[PoseTrack], model: Model | None, max_offset_s: float
) -> Alignment:
    found = [sync(sensors, pose, model=model, max_offset_s=max_offset_s) for pose in poses]
    return max(found, key=lambda alignment: (alignment.accepted, alignment.confidence))
