"""Messages that carry one picture each, taken apart: ROS's CompressedImage, Foxglove's CompressedImage and
CompressedVideo, as ROS 1, ROS 2, protobuf and JSON write them."""

from __future__ import annotations

import base64
import json
import re
import struct
from collections.abc import Callable, Sequence
from functools import partial

Picture = tuple[int, str, bytes]
"""Stamp in ns, 0 where there is none; what the message says of its format; the picture's bytes."""

SENSOR_MSGS = re.compile(r"sensor_msgs[./](msg[./])?CompressedImage")
FOXGLOVE = re.compile(r"foxglove(_msgs)?[./](msg[./])?(CompressedImage|CompressedVideo)")
PROTOBUF_FIELDS = {"CompressedImage": (2, 3), "CompressedVideo": (3, 4)}
"""Numbers of `data` and `format`; 1 is the stamp."""

BEGINNINGS = {b"\xff\xd8\xff": "mjpeg", b"\x89PNG": "png"}
ANNEX_B = (b"\0\0\1", b"\0\0\0\1")


def parser(schema: str, encoding: str) -> Callable[[bytes], Picture] | None:
    """What takes the messages of a channel apart, None where they are no pictures that can be read.

    It raises ValueError, KeyError, TypeError, AttributeError, IndexError or struct.error for a damaged message."""
    if encoding in ("cdr", "ros1"):
        if SENSOR_MSGS.fullmatch(schema):
            return partial(_ros, fields=("frame_id", "format", "data"), aligned=encoding == "cdr", header=True)
        if FOXGLOVE.fullmatch(schema):
            return partial(_ros, fields=("frame_id", "data", "format"), aligned=encoding == "cdr", header=False)
    if FOXGLOVE.fullmatch(schema):
        if encoding == "protobuf":
            return partial(_protobuf, numbers=PROTOBUF_FIELDS[re.split("[./]", schema)[-1]])
        if encoding == "json":
            return _json
    return None


def codec_of(said: str, data: bytes) -> str:
    """libav's name of the picture's codec, "" where it is none that is read. The bytes decide: what messages say of
    their format is written in many ways."""
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "webp"
    if data.startswith(ANNEX_B):
        return "hevc" if re.search("265|hevc", said.lower()) else "h264"
    return next((codec for start, codec in BEGINNINGS.items() if data.startswith(start)), "")


def is_key(codec: str, data: bytes) -> bool:
    """Whether decoding can start from it: from every still; of H.264 and H.265 from an instantaneous refresh."""
    if codec not in ("h264", "hevc"):
        return True
    at = data.find(ANNEX_B[0])
    while 0 <= at < len(data) - 3:
        unit = data[at + 3] & 31 if codec == "h264" else (data[at + 3] >> 1) & 63
        if codec == "h264" and unit in (1, 5):
            return unit == 5
        if codec == "hevc" and unit < 32:
            return 16 <= unit <= 21
        at = data.find(ANNEX_B[0], at + 3)
    return False


def _ros(message: bytes, *, fields: Sequence[str], aligned: bool, header: bool) -> Picture:
    """Stamp, then texts and bytes, each after its length. aligned: as CDR has it, lengths lie on four bytes, after four
    that say the byte order. header: in ROS 1 a std_msgs/Header begins with a running number."""
    order = ("<" if message[1] & 1 else ">") if aligned else "<"
    at = 4 if aligned or header else 0
    seconds, rest = struct.unpack_from(order + "iI", message, at)
    at += 8
    held: dict[str, bytes] = {}
    for name in fields:
        at += -at % 4 if aligned else 0
        (length,) = struct.unpack_from(order + "I", message, at)
        held[name] = message[at + 4 : at + 4 + length]
        if len(held[name]) < length:
            raise ValueError(f"{name} is cut off")
        at += 4 + length
    return seconds * 1_000_000_000 + rest, held["format"].rstrip(b"\0").decode(errors="replace"), held["data"]


def _protobuf(message: bytes, *, numbers: tuple[int, int]) -> Picture:
    held = _fields(message)
    stamp = held.get(1, b"")
    its = _fields(stamp) if isinstance(stamp, bytes) else {}
    data, said = held.get(numbers[0], b""), held.get(numbers[1], b"")
    if not isinstance(data, bytes) or not isinstance(said, bytes):
        raise ValueError("its picture is a number")
    seconds, rest = (value if isinstance(value := its.get(n, 0), int) else 0 for n in (1, 2))
    return seconds * 1_000_000_000 + rest, said.decode(errors="replace"), data


def _fields(message: bytes) -> dict[int, int | bytes]:
    """The fields of a protobuf message by number: numbers, and what has a length."""
    held: dict[int, int | bytes] = {}
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        if tag & 7 == 0:
            held[tag >> 3], at = _varint(message, at)
            continue
        if tag & 7 == 2:
            size, at = _varint(message, at)
        elif tag & 7 in (1, 5):
            size = 8 if tag & 7 == 1 else 4
        else:
            raise ValueError("it is no protobuf message")
        if at + size > len(message):
            raise ValueError("it is cut off")
        held[tag >> 3] = message[at : at + size]
        at += size
    return held


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("it is no protobuf message")


def _json(message: bytes) -> Picture:
    held = json.loads(message)
    stamp = held.get("timestamp") or {}
    ns = int(stamp.get("sec", 0)) * 1_000_000_000 + int(stamp.get("nsec", stamp.get("nanosec", 0)))
    return ns, str(held.get("format", "")), base64.b64decode(held["data"], validate=True)
