"""Functions of single precision as the platform's C library rounds them.

MediaPipe computes with these. numpy's own for float32 differ in the last bit, but those for complex numbers call the C
library. On close-ups the last bit is seen: from picture to picture it grows, until another square is looked at.
"""

from __future__ import annotations

import numpy as np

from motionseek.types import Float32


def exp(x: Float32) -> Float32:
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(np.exp(x.astype(np.complex64)).real, np.float32)


def sigmoid(x: Float32) -> Float32:
    return np.float32(1) / (np.float32(1) + exp(-x))


def cos_sin(angle_rad: np.float32) -> tuple[np.float32, np.float32]:
    turned = np.exp(np.complex64(1j * angle_rad))
    return turned.real, turned.imag


def atan2(y: np.float32, x: np.float32) -> np.float32:
    return np.float32(np.log(np.complex64(complex(x, y))).imag)


def total(x: Float32) -> Float32:
    """Over the last axis, from the first to the last: numpy's own sum adds in pairs."""
    return np.cumsum(x, axis=-1, dtype=np.float32)[..., -1]
