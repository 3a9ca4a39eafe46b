"""A page that shows what was asked and what was found: one HTML file that needs nothing beside it."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from motionseek.errors import MediaError
from motionseek.indexer.video import frames_at
from motionseek.search.limbs import RATE_HZ, Trace, limb_trace, sensor_trace
from motionseek.search.segments import clock
from motionseek.types import Alignment, FloatArray, Imu, Moment, PoseTrack, Recording, Span

_TEMPLATE = "report.html"
_POINTS = 320
"""Points of a drawn line: more than the page has pixels for it."""


@dataclass(frozen=True, eq=False)
class Line:
    """A signal over time: t_s (N,) and value (N,)."""

    t_s: FloatArray
    value: FloatArray


@dataclass(frozen=True, eq=False)
class Hit:
    """A moment with what can be shown of it.

    span: the whole recording.   frames: (K, H, W, 3) uint8 out of the moment.   lines: sensor signals by name.
    score: the query's score along the recording.   simulated: which of its streams are.
    """

    moment: Moment
    title: str
    span: Span
    frames: npt.NDArray[np.uint8]
    sensor: str = ""
    lines: Mapping[str, Line] = field(default_factory=dict)
    score: Line | None = None
    simulated: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Question:
    """What was asked and the best hits. timings_ms: milliseconds per stage, and "total"."""

    asked: str
    kind: str
    """Such as "text → video"."""
    hits: Sequence[Hit]
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True, eq=False)
class SyncAnswer:
    """An alignment with the two signals that it laid over each other, each on its own clock.

    true_offset_s: where it is known.
    """

    title: str
    sensor: str
    alignment: Alignment
    sensor_line: Line
    media_line: Line
    true_offset_s: float | None = None


def hit_of(moment: Moment, recording: Recording, *, score: Line | None = None, frames: int = 3) -> Hit:
    """Collect what a card shows: pictures out of the moment and the sensor that moves most in it."""
    times_s = np.linspace(moment.start_s, moment.end_s, frames + 2)[1:-1]
    pictures = np.zeros((0, 1, 1, 3), np.uint8)
    if recording.video:
        inside = np.clip(times_s, recording.video.start_s, recording.video.end_s - 1e-3)
        pictures = frames_at(recording.video.path, inside, size=160)
    sensor, lines = "", {}
    if recording.imus:
        imu = max(recording.imus, key=lambda imu: _liveliness(imu, moment))
        sensor = imu.placement
        lines["acceleration"] = Line(imu.acc_t_s, np.linalg.norm(imu.acc_mps2, axis=1))
        if len(imu.gyro_t_s):
            lines["turning"] = Line(imu.gyro_t_s, np.linalg.norm(imu.gyro_rps, axis=1))
    title = str(recording.extra.get("title") or Path(recording.uri).stem)
    simulated = tuple(str(s) for s in recording.extra.get("simulated") or ())
    return Hit(moment, title, recording.span, pictures, sensor, lines, score, simulated)


def _liveliness(imu: Imu, moment: Moment) -> float:
    inside = (imu.acc_t_s >= moment.start_s) & (imu.acc_t_s < moment.end_s)
    return float(np.linalg.norm(imu.acc_mps2[inside], axis=1).std()) if inside.any() else -1.0


def sync_answer(
    title: str, imu: Imu, track: PoseTrack, alignment: Alignment, *, true_offset_s: float | None = None
) -> SyncAnswer:
    """The turning speeds of a sensor and of the limb that wears it, as `sync` compares them."""

    def line(trace: Trace) -> Line:
        return Line(trace.start_s + np.arange(len(trace.speed)) / RATE_HZ, np.where(trace.mask, trace.speed, np.nan))

    return SyncAnswer(
        title, imu.placement, alignment, line(sensor_trace(imu)), line(limb_trace(track, imu.placement)), true_offset_s
    )


def write_report(
    path: str | Path,
    archive_info: Mapping[str, object],
    questions: Sequence[Question],
    syncs: Sequence[SyncAnswer] = (),
) -> Path:
    """Write the page. archive_info: what its head shows, in order, such as {"recordings": 33, "windows": 812}.

    Pictures and drawings are part of the file. Raises MediaError where `path` cannot be written.
    """
    env = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    env.filters |= {"clock": clock, "words": lambda name: str(name).replace("_", " "), "signed": "{:+.3f}".format}
    page = env.get_template(_TEMPLATE).render(
        info=archive_info,
        questions=[(question, [_card(hit) for hit in question.hits]) for question in questions],
        syncs=[(answer, _overlays(answer)) for answer in syncs],
    )
    path = Path(path)
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise MediaError(path, f"the report cannot be written ({error.strerror})") from error
    return path


@dataclass(frozen=True)
class _Drawn:
    """A line as the template puts it into an SVG of 1000 × 100: `points`, and its highest value."""

    name: str
    points: str
    top: float


@dataclass(frozen=True)
class _Card:
    hit: Hit
    pictures: tuple[str, ...]
    drawn: tuple[_Drawn, ...]
    score: _Drawn | None
    left: float
    width: float
    """The moment's place in the recording, in SVG units of 0 to 1000."""


def _card(hit: Hit) -> _Card:
    span, moment = hit.span, hit.moment
    left, right = (float(np.clip((t - span.start_s) / span.duration_s, 0, 1)) for t in (moment.start_s, moment.end_s))
    return _Card(
        hit,
        tuple(_picture(frame) for frame in hit.frames),
        tuple(_draw(name, line, span, from_zero=True) for name, line in hit.lines.items()),
        _draw("score", hit.score, span, from_zero=False) if hit.score is not None else None,
        left * 1000,
        max(4.0, (right - left) * 1000),
    )


def _overlays(answer: SyncAnswer) -> tuple[tuple[str, _Drawn, _Drawn], ...]:
    """The two signals before and, where there is an answer, after the alignment."""
    sensor, media = answer.sensor_line, answer.media_line
    offset_s = answer.alignment.offset_s
    shifts = [("Each on its own clock", 0.0)]
    if offset_s is not None:
        shifts.append(("After the alignment", offset_s))
    starts = [media.t_s[0], *(sensor.t_s[0] + shift for _, shift in shifts)]
    ends = [media.t_s[-1], *(sensor.t_s[-1] + shift for _, shift in shifts)]
    span = Span(float(min(starts)), float(max(ends)))
    return tuple(
        (
            name,
            _draw("media", media, span, from_zero=True),
            _draw("sensor", Line(sensor.t_s + shift, sensor.value), span, from_zero=True),
        )
        for name, shift in shifts
    )


def _draw(name: str, line: Line, span: Span, *, from_zero: bool) -> _Drawn:
    """Points of a polyline in 1000 × 100, NaN left out, scaled to its own range."""
    there = np.isfinite(line.value)
    t_s, value = np.asarray(line.t_s, np.float64)[there], np.asarray(line.value, np.float64)[there]
    if not len(value):
        return _Drawn(name, "", 0.0)
    if len(value) > _POINTS:
        # Peaks are what one looks for: each pixel shows the highest sample that falls on it.
        starts = np.linspace(0, len(value), _POINTS, endpoint=False).astype(int)
        t_s, value = t_s[starts], np.maximum.reduceat(value, starts)
    low, high = (0.0 if from_zero else float(value.min())), float(value.max())
    x = (t_s - span.start_s) / span.duration_s * 1000
    y = 97 - (value - low) / max(high - low, 1e-9) * 94
    return _Drawn(name, " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True)), high)


def _picture(frame: npt.NDArray[np.uint8]) -> str:
    memory = io.BytesIO()
    Image.fromarray(frame).save(memory, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(memory.getvalue()).decode()
