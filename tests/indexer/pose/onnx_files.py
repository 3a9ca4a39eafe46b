"""ONNX models written by hand, for tests: the official weights of RTMPose are not to be had offline.

The field numbers are those of onnx.proto3.
"""

from __future__ import annotations

import numpy as np

FLOAT, INT64 = 1, 7


def _varint(value):
    out = bytearray()
    while True:
        out.append(value & 127 | (128 if value > 127 else 0))
        value >>= 7
        if not value:
            return bytes(out)


def _field(number, value):
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _tensor(name, values):
    kind = FLOAT if values.dtype == np.float32 else INT64
    dims = b"".join(_field(1, int(n)) for n in values.shape)
    return dims + _field(2, kind) + _field(8, name) + _field(9, values.tobytes())


def _value(name, shape):
    dims = b"".join(_field(1, _field(1, n)) for n in shape)
    return _field(1, name) + _field(2, _field(1, _field(1, FLOAT) + _field(2, dims)))


def _node(kind, inputs, outputs, **attributes):
    said = b"".join(_field(1, i) for i in inputs) + b"".join(_field(2, o) for o in outputs) + _field(4, kind)
    for name, value in attributes.items():
        if isinstance(value, int):
            said += _field(5, _field(1, name) + _field(3, value) + _field(20, 2))
        else:
            said += _field(5, _field(1, name) + b"".join(_field(8, v) for v in value) + _field(20, 7))
    return said


def _model(nodes, constants, inputs, outputs):
    graph = b"".join(_field(1, n) for n in nodes) + _field(2, "made by hand")
    graph += b"".join(_field(5, _tensor(name, values)) for name, values in constants.items())
    graph += b"".join(_field(11, _value(*i)) for i in inputs) + b"".join(_field(12, _value(*o)) for o in outputs)
    return _field(1, 8) + _field(8, _field(2, 13)) + _field(7, graph)


def bright_spot(shifts, *, width=192, height=256):
    """An RTMPose whose joint j lies `shifts[j]` pixels below the brightest place of its cut-out."""

    def doubled(side, shifts):
        matrix = np.zeros((len(shifts), side, 2 * side), np.float32)
        for j, shift in enumerate(shifts):
            at = np.arange(side - shift)
            matrix[j, at, 2 * (at + shift)] = 0.35
        return matrix

    constants = {"to_x": doubled(width, [0] * len(shifts)), "to_y": doubled(height, shifts)}
    nodes = []
    for axis, other in (("x", 2), ("y", 3)):
        nodes += [
            _node("ReduceMax", ["input"], [f"{axis}1"], axes=[1, other], keepdims=0),
            _node("MatMul", [f"{axis}1", f"to_{axis}"], [f"{axis}2"]),
            _node("Transpose", [f"{axis}2"], [f"simcc_{axis}"], perm=[1, 0, 2]),
        ]
    outputs = [("simcc_x", (1, len(shifts), 2 * width)), ("simcc_y", (1, len(shifts), 2 * height))]
    return _model(nodes, constants, [("input", (1, 3, height, width))], outputs)


def always_there(boxes, *, side=416):
    """A YOLOX with its suppression inside, which sees people in `boxes` (N, 4) whatever the picture."""
    found = np.concatenate([np.asarray(boxes, np.float32), np.full((len(boxes), 1), 0.9, np.float32)], axis=1)[None]
    nodes = [
        _node("ReduceMax", ["input"], ["most"], keepdims=0),
        _node("Mul", ["most", "nothing"], ["zero"]),
        _node("Add", ["found", "zero"], ["dets"]),
    ]
    constants = {"found": found, "nothing": np.zeros((), np.float32)}
    return _model(nodes, constants, [("input", (1, 3, side, side))], [("dets", found.shape)])
