"""What every encoder gives, and what it says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, TypeGuard

import numpy as np

from motionseek.errors import UsageError
from motionseek.types import Bool, Float32, Level, Modality


@dataclass(frozen=True, eq=False)
class Embeddings:
    """Vectors of one batch; a level that the encoder does not have is None.

    global_: (B, D) float32, one vector per window.
    local: (B, P, D') float32, one vector per part.
    token: (B, P, T, D'') float32, one vector per part and token; video frames are the tokens of one part.
    mask: (B, P, T) bool, or (B, P) where there are no tokens; True where a part (and token) was really there.
    """

    global_: Float32 | None = None
    local: Float32 | None = None
    token: Float32 | None = None
    mask: Bool | None = None

    def __post_init__(self) -> None:
        for name, dims in (("global_", 2), ("local", 3), ("token", 4)):
            x = getattr(self, name)
            if x is not None and (x.ndim != dims or x.dtype != np.float32):
                raise UsageError(f"Embeddings.{name} must be float32 with {dims} axes, not {x.dtype} {x.shape}")
        if self.token is not None and (self.mask is None or self.mask.shape != self.token.shape[:3]):
            raise UsageError("Embeddings.token needs a mask of shape (B, P, T)")

    def __repr__(self) -> str:
        shapes = {n: getattr(self, n).shape for n in ("global_", "local", "token") if getattr(self, n) is not None}
        return f"Embeddings({', '.join(f'{n} {s}' for n, s in shapes.items())})"


class Encoder(Protocol):
    """Signals of one modality → vectors of one space.

    One that has `independent = True` gives each row of a batch the same vectors, to the last bit, whatever other rows
    there are: windows of several recordings may share a batch.
    """

    modality: Modality
    space: str
    levels: tuple[Level, ...]
    rate_hz: float
    """Samples per second that `encode` expects; 0 for text."""
    window_s: float
    fingerprint: str
    """sha256 of the weights and of the preprocessing."""

    def encode(self, batch: Any, mask: Bool | None = None, *, raw: bool = False) -> Embeddings:
        """Vectors of a batch: unit-normalised, or the network's own output where `raw`."""
        ...


class StreamEncoder(Protocol):
    """An encoder whose tokens depend on a known, limited context: it tokenises a whole recording in one pass.

    `encode` takes any length; token i covers samples [i * token_s, (i + 1) * token_s) of the batch's clock.
    """

    modality: Modality
    space: str
    levels: tuple[Level, ...]
    rate_hz: float
    window_s: float
    fingerprint: str
    token_s: float
    context_s: float
    """How far beyond its own span a token looks, on each side."""

    def encode(
        self, batch: Any, mask: Bool | None = None, *, raw: bool = False, hop_s: float | None = None
    ) -> Embeddings:
        """Tokens every `hop_s` (default token_s; a divisor of it gives the same tokens at finer phases). A token is
        masked where less than half of its own span is there; one whose context is cut is kept."""
        ...

    def tokens(self, batch: Any, mask: Bool | None = None, *, hop_s: float | None = None) -> tuple[Float32, Bool]:
        """As `encode`: tokens (B, P, T, D) and their mask (B, P, T) alone."""
        ...

    blocks: int
    """`project` gives so many equal blocks of numbers, each of other parts: what a query lacks is zero in its block."""

    def pool(self, token: Float32, mask: Bool) -> Embeddings:
        """Windows of tokens (B, P, T, D), mask (B, P, T) → Embeddings with `global_` and `local`."""
        ...

    def project(self, token: Float32, mask: Bool) -> Float32:
        """Windows of exactly window_s / token_s tokens → (B, blocks * K) float32, un-normalised; inner products of two
        such vectors approximate the sum of token cosines: the vector that candidates are searched by."""
        ...


def tokenises(encoder: Encoder | StreamEncoder | None) -> TypeGuard[StreamEncoder]:
    """Whether it is a StreamEncoder."""
    return hasattr(encoder, "token_s")
