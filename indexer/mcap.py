"""MCAP, the container of robots' logs: its records, and the pictures of one of its cameras as a video.

Needs mcap, the extra of that name.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import av
import numpy as np

from motionseek.errors import DamagedFile, MissingExtra
from motionseek.indexer.begins import begins
from motionseek.indexer.mcap_pictures import Picture, codec_of, is_key, parser
from motionseek.indexer.vrs import Int64
from motionseek.types import Float64

MAGIC = b"\x89MCAP0\r\n"
PICTURES = re.compile(r".*[./](\w*Image|CompressedVideo|\w*Video)")
OTHER_CLOCK_S = 5.0
"""Whoever stamps this far from the log's clock, at the median, has a clock of its own."""
LAST_NS = (1 << 62) - 1
"""A later stamp, in the year 2116, is none."""
MAX_CHUNK_BYTES = 1 << 30
FIRST_TRIED = 32
"""Pictures at the start that may be damaged before all are taken to be."""
HELD_BACK = 16
"""How many pictures a decoder may hold before it gives the first."""

Place = tuple[int, int]
"""Where a record lies: at which byte it begins, or its chunk, and as which record of the chunk; -1 without one."""


def is_mcap(path: Path) -> bool:
    return begins(path, ".mcap", MAGIC)


def records(path: str, file: BinaryIO, problems: list[str]) -> Iterator[tuple[Any, Place]]:
    """Every record, from the front: a file that was cut off has no summary to look anything up in. A damaged chunk is
    left out. Raises DamagedFile, MissingExtra."""
    try:
        from mcap.exceptions import InvalidMagic, McapError, UnsupportedCompressionError
        from mcap.records import Chunk
        from mcap.stream_reader import StreamReader, breakup_chunk
        from zstandard import ZstdError
    except ImportError as error:
        raise MissingExtra("mcap, which reads MCAP files,", "mcap") from error

    lost = 0
    size = Path(path).stat().st_size
    try:
        reader, at = StreamReader(file, emit_chunks=True, record_size_limit=size).records, len(MAGIC)
        for record in reader:
            here, at = at, file.tell()
            if not isinstance(record, Chunk):
                yield record, (here, -1)
                continue
            try:
                if record.uncompressed_size > MAX_CHUNK_BYTES:
                    raise ValueError("a chunk of more than a gigabyte")
                inside = breakup_chunk(record, validate_crc=True)
            except UnsupportedCompressionError as error:
                raise DamagedFile(path, f"is compressed in a way that is not known: {error}") from error
            except (McapError, ZstdError, RuntimeError, ValueError, struct.error, MemoryError):
                lost += 1
                continue
            yield from ((one, (here, number)) for number, one in enumerate(inside))
    except InvalidMagic as error:
        at = file.tell()
        if at <= len(MAGIC):
            raise DamagedFile(path, "is not an MCAP file" if at else "is empty") from error
        problems.append("the file does not end as an MCAP file does")
    except (McapError, struct.error, ValueError, MemoryError) as error:
        if file.tell() <= len(MAGIC):
            raise DamagedFile(path, "is not an MCAP file" if size else "is empty") from error
        problems.append("the file is cut off or damaged: what comes before that was read")
    if lost:
        problems.append(f"{lost} damaged chunks were left out")


def on_log_clock(name: str, stamp_ns: Int64, log_ns: Int64, problems: list[str]) -> Int64:
    """Stamps (L,), 0 where there is none, as the log's clock has them. What is shifted or missing is the log's own."""
    stamped = stamp_ns > 0
    if stamped.any():
        ahead_ns = int(np.median(stamp_ns[stamped] - log_ns[stamped]))
        if abs(ahead_ns) > OTHER_CLOCK_S * 1e9:
            problems.append(f"{name}: its stamps were shifted by {-ahead_ns * 1e-9:.3f} s onto the log's clock")
            stamp_ns = stamp_ns - ahead_ns
    return np.where(stamped, stamp_ns, log_ns)


@dataclass
class _Camera:
    """One topic of pictures, as it is met."""

    topic: str
    parse: Callable[[bytes], Picture]
    codec: str = ""
    unread: int = 0
    stamp_ns: list[int] = field(default_factory=list)
    log_ns: list[int] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    keys: list[bool] = field(default_factory=list)

    def take(self, message: Any, place: Place) -> None:
        try:
            stamp_ns, said, data = self.parse(message.data)
            codec = codec_of(said, data)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, struct.error):
            codec = ""
        if not codec or (self.codec and codec != self.codec):
            self.unread += 1
            return
        self.codec = codec
        self.stamp_ns.append(stamp_ns if 0 < stamp_ns <= LAST_NS else 0)
        self.log_ns.append(message.log_time)
        self.places.append(place)
        self.keys.append(is_key(codec, data))


class Pictures:
    """Those of one topic; a `Stills`. Where one is predicted from others, they are decoded in their order."""

    rotation = 0

    def __init__(self, path: str, camera: _Camera) -> None:
        problems: list[str] = []
        ns = on_log_clock(camera.topic, np.array(camera.stamp_ns, np.int64), np.array(camera.log_ns), problems)
        if (np.diff(ns) <= 0).any() and not all(camera.keys):
            ns = np.array(camera.log_ns)  # in the order in which they were predicted
        self.stamps_ns, self._number = np.unique(ns, return_index=True)
        if camera.unread:
            problems.append(f"{camera.topic}: {camera.unread} messages hold no picture that can be read")
        self.path, self.codec, self.camera, self.problems = path, camera.codec, camera.topic, tuple(problems)
        self._parse, self._places = camera.parse, camera.places
        self._keys = np.flatnonzero(np.array(camera.keys)[self._number])
        self._chunk: tuple[int, Any] = (-1, ())
        self._reset()
        self.size = self._first_size()

    @property
    def t_s(self) -> Float64:
        return np.asarray((self.stamps_ns - self.stamps_ns[0]) * 1e-9, np.float64)

    def frame(self, number: int) -> av.VideoFrame:
        """Raises DamagedFile."""
        try:
            frame = self._decoded(number)
        except (av.FFmpegError, ValueError, KeyError, TypeError, IndexError, struct.error) as error:
            self._reset()
            raise DamagedFile(self.path, f"picture {number} of {self.camera} cannot be decoded: {error}") from error
        frame.pts = number
        return frame

    def _first_size(self) -> tuple[int, int]:
        """Raises DamagedFile where no picture can be decoded."""
        tried = min(FIRST_TRIED, len(self.stamps_ns))
        for number in range(tried):
            try:
                frame = self.frame(number)
            except DamagedFile:
                continue
            return frame.width, frame.height
        raise DamagedFile(self.path, f"{self.camera}: none of the first {tried} pictures can be decoded")

    def _reset(self) -> None:
        self._decoder: Any = None
        self._next = -1
        self._came: dict[int, av.VideoFrame] = {}

    def _decoded(self, number: int) -> av.VideoFrame:
        if (frame := self._came.pop(number, None)) is not None:
            return frame
        before = int(np.searchsorted(self._keys, number, side="right")) - 1
        if before < 0:
            raise ValueError("no picture before it stands for itself")
        key = int(self._keys[before])
        alone = len(self._keys) == len(self.stamps_ns)  # one PNG after another comes out wrong of the same decoder
        if alone or self._decoder is None or not key <= self._next <= number:
            self._reset()
            self._decoder, self._next = av.CodecContext.create(self.codec, "r"), key
            self._decoder.thread_count = 1
        last = number if alone else min(number + HELD_BACK, len(self.stamps_ns) - 1)
        while self._next <= last and number not in self._came:
            packet = av.Packet(self._data(self._next))
            packet.pts = self._next
            self._next += 1
            self._keep(self._decoder.decode(packet))
        if number not in self._came:
            self._keep(self._decoder.decode(None))
            self._decoder = None  # which takes nothing more
        self._came = {n: frame for n, frame in self._came.items() if n >= number}
        return self._came.pop(number)

    def _keep(self, frames: list[av.VideoFrame]) -> None:
        self._came |= {frame.pts: frame for frame in frames if frame.pts is not None and not frame.is_corrupt}

    def _data(self, number: int) -> bytes:
        at, place = self._places[int(self._number[number])]
        if self._chunk[0] != at:
            self._chunk = at, _read_at(self.path, at)
        message = self._chunk[1] if place < 0 else self._chunk[1][place]
        return self._parse(message.data)[2]


def _read_at(path: str, at: int) -> Any:
    """The record that begins there, or those of the chunk that does. Raises DamagedFile."""
    from mcap.exceptions import McapError
    from mcap.records import Chunk
    from mcap.stream_reader import StreamReader, breakup_chunk

    try:
        with open(path, "rb") as file:
            file.seek(at)
            record = next(iter(StreamReader(file, skip_magic=True, emit_chunks=True).records))
        return breakup_chunk(record) if isinstance(record, Chunk) else record
    except (OSError, McapError, StopIteration) as error:
        raise DamagedFile(path, f"changed while it was read: {error}") from error


def pictures_of(path: str) -> Pictures | None:
    """Those of the topic that has most, None where none can be read. Raises DamagedFile, MissingExtra."""
    schemas: dict[int, str] = {}
    cameras: dict[int, _Camera] = {}
    try:
        with open(path, "rb") as file:
            for record, place in records(path, file, []):
                kind = type(record).__name__
                if kind == "Schema":
                    schemas[record.id] = record.name
                elif kind == "Channel" and (
                    parse := parser(schemas.get(record.schema_id, ""), record.message_encoding)
                ):
                    cameras.setdefault(record.id, _Camera(record.topic, parse))
                elif kind == "Message" and record.channel_id in cameras:
                    cameras[record.channel_id].take(record, place)
    except OSError as error:
        raise DamagedFile(path, f"cannot be read: {error.strerror or error}") from error
    for camera in sorted(cameras.values(), key=lambda c: (-len(c.places), c.topic)):
        if camera.places:
            return Pictures(path, camera)
    return None
