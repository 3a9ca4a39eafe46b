"""A query's own tokens, computed with whatever surrounds it."""

from __future__ import annotations

from motionseek.encoders.base import StreamEncoder
from motionseek.encoders.preprocess import Grid
from motionseek.errors import ModelError
from motionseek.types import PARTS, Bool, Float32


def tokens_of(encoder: StreamEncoder, grid: Grid, hop_s: float) -> tuple[Float32, Bool]:
    """Tokens of PARTS every hop_s: (6, T, D) float32 unit-normalised and mask (6, T); token i starts at
    grid.start_s + i * hop_s. A sensor worn nobody knows where has none."""
    found = encoder.encode(grid.x[None], grid.mask[None], hop_s=hop_s)
    if found.token is None or found.mask is None:
        raise ModelError(f"the encoder of {encoder.modality} in the space {encoder.space} gives no tokens")
    parts = len(PARTS)
    return found.token[0, :parts], found.mask[0, :parts]
