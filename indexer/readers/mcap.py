"""MCAP: every IMU topic of a robot's or a logger's recording.

Read are `sensor_msgs/Imu` as ROS 2 (`cdr`) and ROS 1 (`ros1`) write it, and JSON messages with `linear_acceleration`
and `angular_velocity` (`{"x", "y", "z"}` or a list), Foxglove's or ROS's, whatever their schema is called: m/s² with
gravity and rad/s, as REP 145 has it. One sensor a topic, named after it; a word of the topic that is a placement
("/imu/left_wrist") says where it is worn. A message without its own stamp is stamped by the log; where a sensor stamps
by another clock than the log's (seconds since its start, say) its stamps are shifted by the median difference.

The pictures of one camera are the recording's video, read from the same file: of the topic that has most of them, as
`sensor_msgs/CompressedImage` or Foxglove's `CompressedImage` and `CompressedVideo` carry them (JPEG, PNG, WebP, H.264,
H.265). Other pictures are named among the problems; what else there is, is told in `extra`.

Needs mcap, the extra of that name.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from motionseek.errors import DamagedFile, MissingExtra, UnitError
from motionseek.indexer.mcap import PICTURES, is_mcap, on_log_clock, records
from motionseek.indexer.readers.base import Reader, file_id
from motionseek.indexer.readers.checks import check_axes, checked_imu, scales
from motionseek.indexer.readers.stamps import cleaned
from motionseek.indexer.stills import stills_of
from motionseek.indexer.video import probe_checked
from motionseek.types import ANY_PART, PART_OF_PLACEMENT, Float64, Imu, Recording, VideoRef

Int64 = npt.NDArray[np.int64]
Samples = tuple[Int64, Float64, Float64]
"""Stamps (L,) in ns, 0 where there is none; acceleration (L, 3); turn rate (L, 3); NaN where absent."""

IMU = re.compile(r"sensor_msgs[./](msg[./])?Imu")
FIELDS = ("linear_acceleration", "angular_velocity")
DOUBLES = 37
"""Of a sensor_msgs/Imu: orientation 4, its covariance 9, angular velocity 3 and 9, linear acceleration 3 and 9."""


@dataclass
class _Topic:
    """One channel: what it carries, and the messages of those that are sensors."""

    name: str
    schema: str
    encoding: str
    decode: Callable[[list[bytes]], Samples] | None
    count: int = 0
    log_ns: list[int] = field(default_factory=list)
    messages: list[bytes] = field(default_factory=list)


def read(path: str, *, units: Mapping[str, str] | None = None) -> Recording:
    """A `.mcap` file → a sensor for each IMU topic. `units`: where they are not m/s² and rad/s.

    Raises DamagedFile where no topic is a sensor that can be read, UnitError, MissingExtra.
    """
    problems: list[str] = []
    topics = [topic for topic in _topics(path, problems) if topic.count]
    pictures = [topic for topic in topics if PICTURES.fullmatch(topic.schema)]
    video, first_ns = _video(path, problems) if pictures else (None, [])
    shown = video.camera if video else ""
    problems += [
        f"{t.name}: {t.count} messages of {t.schema}, encoded as {t.encoding!r}, are not read"
        f"{f': the recording has the video of {shown}' if shown else ''}; export them as a video file and name it in a "
        "recording.json"
        for t in pictures
        if t.name != shown
    ]
    found, reasons = [], []
    for topic in topics:
        if topic.decode is not None:
            try:
                found.append((topic, _samples(path, topic, problems)))
            except DamagedFile as error:
                reasons.append(f"{topic.name}: {error.reason}")
    unread = [t for t in topics if IMU.fullmatch(t.schema) and t.decode is None]
    reasons += [f"{t.name}: {t.schema} encoded as {t.encoding!r} is not read; use cdr, ros1 or json" for t in unread]
    zero_ns = min([*(int(ns.min()) for _, (ns, _, _) in found), *first_ns], default=0)
    imus = []
    for topic, (ns, acc, gyro) in found:
        try:
            t_s = (ns - zero_ns).astype(np.float64) * 1e-9
            imus.append(_imu(path, topic.name, np.asarray(t_s), acc, gyro, scales(units or {}), problems))
        except (DamagedFile, UnitError) as error:
            reasons.append(f"{topic.name}: {error.reason}")
    if not imus and video is None:
        held = ", ".join(f"{t.name} ({t.schema or t.encoding})" for t in topics[:10])
        raise DamagedFile(path, "; ".join([*reasons, *problems]) or f"has no IMU topic; it has {held or 'no message'}")
    if video is not None:
        video = replace(video, start_s=(first_ns[0] - zero_ns) * 1e-9)
    others = {
        t.name: f"{t.schema or t.encoding}, {t.count} messages" for t in topics if t.decode is None and t.name != shown
    }
    return Recording(
        file_id(path),
        path,
        imus=tuple(imus),
        video=video,
        source_format=MCAP.name,
        problems=(*problems, *reasons),
        extra={"log_time_zero_ns": zero_ns, "not_read": others},
    )


def _video(path: str, problems: list[str]) -> tuple[VideoRef | None, list[int]]:
    """The pictures of the camera that has most, and the stamp of the first; none where none can be read."""
    try:
        pictures = stills_of(path)
        if pictures is None:
            return None, []
        video, its = probe_checked(path)
    except DamagedFile as error:
        problems.append(error.reason)
        return None, []
    problems.extend(its)
    return video, [int(pictures.stamps_ns[0])]


def _imu(
    path: str, name: str, t_s: Float64, acc: Float64, gyro: Float64, scale: Mapping[str, float], problems: list[str]
) -> Imu:
    """Raises DamagedFile, UnitError."""
    own: list[str] = []
    there = (
        cleaned(t_s, acc * scale["acc"], "accelerometer", own),
        cleaned(t_s, gyro * scale["gyro"], "gyroscope", own),
    )
    problems.extend(f"{name}: {problem}" for problem in own)
    placement = next((word for word in reversed(name.lower().split("/")) if word in PART_OF_PLACEMENT), ANY_PART)
    imu = checked_imu(path, *there, placement=placement, name=name)
    check_axes(path, *there[0], *there[1])
    return imu


def _topics(path: str, problems: list[str]) -> list[_Topic]:
    """All that is in the file, as far as it can be read. Raises DamagedFile, MissingExtra."""
    try:
        with open(path, "rb") as file:
            topics = _read_topics(path, file, problems)
    except OSError as error:
        raise DamagedFile(path, f"cannot be read: {error.strerror or error}") from error
    return list(topics.values())


def _read_topics(path: str, file: BinaryIO, problems: list[str]) -> dict[int, _Topic]:
    try:
        from mcap.records import Channel, Message, Schema
    except ImportError as error:
        raise MissingExtra("mcap, which reads MCAP files,", "mcap") from error
    schemas: dict[int, str] = {}
    topics: dict[int, _Topic] = {}
    for record, _ in records(path, file, problems):
        if isinstance(record, Schema):
            schemas[record.id] = record.name
        elif isinstance(record, Channel):
            schema, encoding = schemas.get(record.schema_id, ""), record.message_encoding
            topics.setdefault(record.id, _Topic(record.topic, schema, encoding, _decoder(schema, encoding)))
        elif isinstance(record, Message) and (topic := topics.get(record.channel_id)):
            topic.count += 1
            if topic.decode is not None:
                topic.log_ns.append(record.log_time)
                topic.messages.append(record.data)
                if topic.count == 1 and topic.encoding == "json" and not _tells(record.data):
                    topic.decode = None
    return topics


def _decoder(schema: str, encoding: str) -> Callable[[list[bytes]], Samples] | None:
    """What turns the messages of a channel into samples, None where it is no sensor."""
    if encoding == "json" and not PICTURES.fullmatch(schema):
        return _json
    if IMU.fullmatch(schema) and encoding in ("cdr", "ros1"):
        return partial(_binary, header=_cdr_header if encoding == "cdr" else _ros1_header)
    return None


def _samples(path: str, topic: _Topic, problems: list[str]) -> Samples:
    """Raises DamagedFile."""
    if topic.decode is None:
        raise DamagedFile(path, "is no sensor")
    try:
        stamp_ns, acc, gyro = topic.decode(topic.messages)
    except (ValueError, KeyError, TypeError, AttributeError, struct.error, IndexError, OverflowError) as error:
        raise DamagedFile(path, f"its messages are not as {topic.schema or 'they'} must be: {error}") from error
    return on_log_clock(topic.name, stamp_ns, np.array(topic.log_ns, np.int64), problems), acc, gyro


def _binary(messages: list[bytes], *, header: Callable[[bytes], tuple[str, int, int]]) -> Samples:
    """sensor_msgs/Imu, all messages of one shape at once. header: byte order, where the stamp is, where the doubles."""
    shapes: dict[tuple[str, int, int, int], list[int]] = {}
    for i, message in enumerate(messages):
        shapes.setdefault((*header(message), len(message)), []).append(i)
    stamp_ns = np.zeros(len(messages), np.int64)
    held = np.full((len(messages), DOUBLES), np.nan)
    for (order, stamp_at, at, size), which in shapes.items():
        if size < at + DOUBLES * 8:
            raise ValueError(f"{len(which)} messages of {size} bytes")
        table = np.frombuffer(b"".join(messages[i] for i in which), np.uint8).reshape(len(which), size)
        stamp = np.ascontiguousarray(table[:, stamp_at : stamp_at + 8]).view(order + "u4").astype(np.int64)
        stamp_ns[which] = stamp[:, 0] * 1_000_000_000 + stamp[:, 1]
        held[which] = np.ascontiguousarray(table[:, at : at + DOUBLES * 8]).view(order + "f8")
    gyro, acc = held[:, 13:16].copy(), held[:, 25:28].copy()
    gyro[held[:, 16] == -1] = np.nan  # the first covariance is -1 where the quantity is not measured
    acc[held[:, 28] == -1] = np.nan
    return stamp_ns, acc, gyro


def _cdr_header(message: bytes) -> tuple[str, int, int]:
    """After four bytes that say the byte order: stamp (int32 s, uint32 ns), frame_id, then doubles, aligned."""
    order = "<" if message[1] & 1 else ">"
    widest = 8 if message[1] < 6 else 4  # XCDR2 aligns doubles to four bytes
    (length,) = struct.unpack_from(order + "I", message, 12)
    end = 12 + length  # counted from after the four bytes, as the alignment is
    return order, 4, 4 + end + -end % widest


def _ros1_header(message: bytes) -> tuple[str, int, int]:
    """seq, stamp (uint32 s, uint32 ns), frame_id, then doubles, unaligned."""
    (length,) = struct.unpack_from("<I", message, 12)
    return "<", 4, 16 + length


def _tells(message: bytes) -> bool:
    """Whether a JSON message is one of a sensor."""
    try:
        held = json.loads(message)
    except (ValueError, RecursionError):
        return False
    return isinstance(held, dict) and FIELDS[0] in held


def _json(messages: list[bytes]) -> Samples:
    rows = [json.loads(message) for message in messages]
    acc, gyro = (np.array([_vector(row.get(name)) for row in rows], np.float64).reshape(-1, 3) for name in FIELDS)
    return np.array([_stamp_ns(row) for row in rows], np.int64), acc, gyro


def _vector(value: Any) -> list[float]:
    if value is None:
        return [np.nan] * 3
    listed = [value[axis] for axis in "xyz"] if isinstance(value, dict) else list(value)
    if len(listed) != 3:
        raise ValueError(f"a vector of {len(listed)} numbers")
    return [np.nan if v is None else float(v) for v in listed]


def _stamp_ns(row: Mapping[str, Any]) -> int:
    stamp = (row.get("header") or {}).get("stamp") or row.get("timestamp") or {}
    if not isinstance(stamp, dict):
        return 0
    seconds, rest = (
        next((int(stamp[n]) for n in names if n in stamp), 0)
        for names in (("sec", "secs"), ("nanosec", "nsec", "nsecs"))
    )
    return seconds * 1_000_000_000 + rest


MCAP = Reader("mcap", is_mcap, read, file_id, takes_units=True)
