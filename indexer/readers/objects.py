"""Files of Python objects (`.npy` with objects, `.cpl`), read as data: nothing that they hold is imported or called.

Such a file is a program for a small stack machine. Its steps are taken apart with the standard library's disassembler;
only those that build numbers, texts, lists, dictionaries and numpy's arrays are followed, by this module's own hands.
A file with any other step (a class, a call) is refused, so that reading one can do no harm.
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from motionseek.errors import DamagedFile
from motionseek.indexer.readers.packed import npy_header

MAX_BYTES = 1 << 30
NUMPY = ("numpy.core.multiarray", "numpy._core.multiarray", "numpy.core.numeric", "numpy._core.numeric")
KINDS = "biufcSU"
"""Of numpy's types: numbers, bytes and texts."""


def load_objects(path: Path) -> Any:
    """What a file of objects holds: None, bool, int, float, str, bytes, list, tuple, dict, set, numpy arrays.

    Raises DamagedFile, also where it holds anything else.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DamagedFile(path, f"is larger than {MAX_BYTES >> 20} MB")
        data = path.read_bytes()
    except OSError as error:
        raise DamagedFile(path, f"cannot be read: {error.strerror or error}") from error
    if not data:
        raise DamagedFile(path, "is empty")
    try:
        if data.startswith(b"\x93NUMPY"):
            file = io.BytesIO(data)
            _, dtype = npy_header(file)
            if not dtype.hasobject:
                return np.load(io.BytesIO(data), allow_pickle=False)
            data = data[file.tell() :]
        return _built(data)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, EOFError, OverflowError, MemoryError) as error:
        raise DamagedFile(path, f"holds no data that can be read: {' '.join(str(error).split())[:200]}") from error


class _Blank:
    """An array before it is told its shape and contents."""

    value: Any = None


class _Mark:
    """Where a list begins on the stack."""


class _Stack(list[Any]):
    def since_mark(self) -> list[Any]:
        at = max(i for i, held in enumerate(self) if isinstance(held, _Mark))
        items = self[at + 1 :]
        del self[at:]
        return items


def _built(data: bytes) -> Any:
    """Raises ValueError for steps that are not data, and whatever damaged ones lead to."""
    stack, memo = _Stack(), dict[int, Any]()
    argument: Any
    for step, argument, _ in pickletools.genops(data):
        name = step.name
        if name == "STOP":
            return _value(stack.pop())
        if name in ("PROTO", "FRAME"):
            continue
        if name in ("MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT"):
            memo[len(memo) if argument is None else argument] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name]())
        elif name in _STEPS:
            _STEPS[name](stack)
        elif name == "GLOBAL":
            stack.append(_function(*argument.split(" ")))
        elif name in _LITERALS:
            stack.append(argument)
        else:
            raise ValueError(f"{name} is not data")
    raise EOFError("it ends too early")


def _value(held: Any) -> Any:
    return held.value if isinstance(held, _Blank) else held


def _function(module: str, name: str) -> Callable[..., Any]:
    """What stands for a name: one of the few that numpy's arrays are written with. Raises ValueError."""
    known: Mapping[tuple[str, str], Callable[..., Any]] = {
        ("numpy", "dtype"): _dtype,
        ("numpy", "ndarray"): _Blank,
        ("_codecs", "encode"): lambda text, coding: text.encode("latin1"),
        ("collections", "OrderedDict"): dict,
        **{(builtins, "set"): set for builtins in ("builtins", "__builtin__")},
        **{(builtins, "bytes"): bytes for builtins in ("builtins", "__builtin__")},
    }
    if (module, name) in known:
        return known[module, name]
    makers: Mapping[str, Callable[..., Any]] = {
        "_reconstruct": lambda *_: _Blank(),
        "scalar": _scalar,
        "_frombuffer": _array,
    }
    if module in NUMPY and name in makers:
        return makers[name]
    raise ValueError(f"{module}.{name} is not data")


def _dtype(kind: str, *_: Any) -> np.dtype[Any]:
    dtype = np.dtype(str(kind))
    if dtype.kind not in KINDS + "O":
        raise ValueError(f"arrays of {dtype} are not read")
    return dtype


def _scalar(dtype: np.dtype[Any], held: bytes) -> Any:
    return np.frombuffer(held, dtype)[0].item()


def _array(held: Any, dtype: np.dtype[Any], shape: tuple[int, ...], order: str = "C") -> Any:
    if dtype.kind == "O":
        array = np.empty(len(held), object)
        array[:] = [_value(one) for one in held]
        return array.reshape(shape, order="F" if order == "F" else "C")
    return np.frombuffer(held, dtype).reshape(shape, order="F" if order == "F" else "C")


def _call(stack: _Stack) -> None:
    arguments, function = stack.pop(), stack.pop()
    if not callable(function) or not isinstance(arguments, tuple):
        raise ValueError("a call of what is none")
    stack.append(function(*(_value(one) for one in arguments)))


def _tell(stack: _Stack) -> None:
    """The state of what was made: an array's (version, shape, type, Fortran's order, contents), a type's byte order."""
    state, made = stack.pop(), stack[-1]
    if isinstance(made, _Blank):
        _, shape, dtype, fortran, held = state
        made.value = _array(held, dtype, shape, "F" if fortran else "C")
    elif isinstance(made, np.dtype):
        stack[-1] = made.newbyteorder(state[1]) if state[1] in "<>" else made
    else:
        raise ValueError("a state of what has none")


def _append(stack: _Stack) -> None:
    item = stack.pop()
    stack[-1].append(_value(item))


def _extend(stack: _Stack) -> None:
    items = stack.since_mark()
    stack[-1].extend(_value(one) for one in items)


def _set_item(stack: _Stack) -> None:
    item, key = stack.pop(), stack.pop()
    stack[-1][key] = _value(item)


def _set_items(stack: _Stack) -> None:
    items = stack.since_mark()
    stack[-1].update(_pairs(items))


def _add_items(stack: _Stack) -> None:
    items = stack.since_mark()
    stack[-1].update(items)


def _pairs(items: list[Any]) -> dict[Any, Any]:
    return {_value(key): _value(item) for key, item in zip(items[::2], items[1::2], strict=True)}


def _tuple(count: int) -> Callable[[_Stack], None]:
    def make(stack: _Stack) -> None:
        items = stack[-count:]
        if len(items) < count:
            raise IndexError("a tuple of what is not there")
        del stack[-count:]
        stack.append(tuple(_value(one) for one in items))

    return make


def _marked(make: Callable[[list[Any]], Any]) -> Callable[[_Stack], None]:
    return lambda stack: stack.append(make([_value(one) for one in stack.since_mark()]))


_CONSTANTS: Mapping[str, Callable[[], Any]] = {
    "MARK": _Mark,
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_TUPLE": tuple,
    "EMPTY_SET": set,
}
_LITERALS = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
_STEPS: Mapping[str, Callable[[_Stack], None]] = {
    "POP": lambda stack: stack.__delitem__(-1),
    "POP_MARK": lambda stack: stack.since_mark().clear(),
    "DUP": lambda stack: stack.append(stack[-1]),
    "TUPLE": _marked(tuple),
    "TUPLE1": _tuple(1),
    "TUPLE2": _tuple(2),
    "TUPLE3": _tuple(3),
    "LIST": _marked(list),
    "DICT": _marked(_pairs),
    "FROZENSET": _marked(frozenset),
    "APPEND": _append,
    "APPENDS": _extend,
    "SETITEM": _set_item,
    "SETITEMS": _set_items,
    "ADDITEMS": _add_items,
    "REDUCE": _call,
    "BUILD": _tell,
    "STACK_GLOBAL": lambda stack: stack.append(_function(*reversed((stack.pop(), stack.pop())))),
}
