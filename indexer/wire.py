"""Messages between the indexer and its child processes: JSON, with arrays as raw bytes after it.

What a child says comes from files that nobody has checked, so nothing in a message can run code.
"""

from __future__ import annotations

import io
import json
import math
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from itertools import accumulate
from typing import IO, Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
_LENGTHS = struct.Struct("<II")
MOST_BYTES = 1 << 31
ALIGNED = 8
_AS_THEY_ARE = (str, int, float, bool, type(None))


def send(file: IO[bytes], message: Any) -> None:
    """A dataclass, of JSON values, arrays and dataclasses, onto a pipe, which is for the caller to flush."""
    arrays: list[Array] = []
    tree = _plain(message, arrays)
    head = json.dumps([tree, [[a.dtype.str, a.shape] for a in arrays]]).encode()
    file.write(_LENGTHS.pack(len(head), len(arrays)))
    file.write(head)
    for array in arrays:
        file.write(array.reshape(-1).view(np.uint8).data)
        file.write(bytes(-array.nbytes % ALIGNED))


def receive(file: IO[bytes], kinds: Mapping[str, type]) -> Any:
    """The next message. kinds: the dataclasses that may come, by name. Raises EOFError where the other end is gone."""
    length, _ = _LENGTHS.unpack(_read(file, _LENGTHS.size))
    tree, shapes = json.loads(bytes(_read(file, length)))
    kept = [(np.dtype(kind), tuple(shape), math.prod(shape)) for kind, shape in shapes]
    if any(n < 0 for _, _, n in kept):
        raise EOFError
    starts = list(accumulate((-(-dtype.itemsize * n // ALIGNED) * ALIGNED for dtype, _, n in kept), initial=0))
    held = _read(file, starts[-1])
    arrays = [np.frombuffer(held, d, n, at).reshape(shape) for (d, shape, n), at in zip(kept, starts, strict=False)]
    return _whole(tree, arrays, kinds)


def packed(messages: Iterable[Any]) -> Array:
    """Messages as bytes, to be sent within another: who passes them on need not look into them."""
    held = io.BytesIO()
    for message in messages:
        send(held, message)
    return np.frombuffer(held.getbuffer(), np.uint8)


def unpacked(held: Array, kinds: Mapping[str, type]) -> Iterator[Any]:
    """The messages of `packed`, one by one."""
    file = io.BytesIO(held.data)
    while file.tell() < len(held):
        yield receive(file, kinds)


def _read(file: IO[bytes], count: int) -> bytearray:
    if not 0 <= count < MOST_BYTES:
        raise EOFError
    held = bytearray(count)
    view, done = memoryview(held), 0
    while done < count:
        more = file.readinto(view[done:])  # type: ignore[attr-defined]
        if not more:
            raise EOFError
        done += more
    return held


def _plain(value: Any, arrays: list[Array]) -> Any:
    if type(value) in _AS_THEY_ARE:
        return value
    if isinstance(value, np.ndarray):
        arrays.append(np.ascontiguousarray(value))
        return {"#": len(arrays) - 1}
    if is_dataclass(value):
        return {"@": type(value).__name__, **{f.name: _plain(getattr(value, f.name), arrays) for f in fields(value)}}
    if isinstance(value, Mapping):
        return {"=": {name: _plain(held, arrays) for name, held in value.items()}}
    if isinstance(value, list | tuple):
        return [_plain(held, arrays) for held in value]
    return value.item() if isinstance(value, np.generic) else value


def _whole(value: Any, arrays: list[Array], kinds: Mapping[str, type]) -> Any:
    if isinstance(value, list):
        return tuple(_whole(held, arrays, kinds) for held in value)
    if not isinstance(value, dict):
        return value
    if "#" in value:
        return arrays[value["#"]]
    if "=" in value:
        return {name: _whole(held, arrays, kinds) for name, held in value["="].items()}
    kind = kinds[value.pop("@")]
    return kind(**{name: _whole(held, arrays, kinds) for name, held in value.items()})
