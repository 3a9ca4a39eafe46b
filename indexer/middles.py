"""The token stream of an encoder that sees one window at a time."""

from __future__ import annotations

import numpy as np

from motionseek.types import Bool, Float32, Float64


class Middles:
    """For each instant the token of the window whose middle is nearest, so that tokens have as much context on both
    sides as there is. Windows come in the order of time; tokens are given as soon as no later window can be nearer."""

    def __init__(self, window_s: float) -> None:
        self.window_s = window_s
        self.token_s = window_s
        self._held: tuple[Float64, Float32, Bool] | None = None
        self._given = 0

    def take(self, start_s: Float64, token: Float32, mask: Bool) -> None:
        """Windows that start at start_s (N,) since the stream's start, with token (N, P, T, D) and mask (N, P, T)."""
        self.token_s = self.window_s / token.shape[2]
        if self._held is not None:
            token, mask = np.concatenate([self._held[1], token]), np.concatenate([self._held[2], mask])
            start_s = np.concatenate([self._held[0], start_s])
        self._held = start_s, token, mask

    def give(self, until_s: float | None) -> tuple[Float32, Bool] | None:
        """The next tokens (P, T', D) and mask (P, T'), up to until_s or to the end; None where no window has come."""
        if self._held is None:
            return None
        start_s, token, mask = self._held
        count = token.shape[2]
        total = int(np.floor((start_s[-1] + self.window_s) / self.token_s + 1e-6))
        stop = total if until_s is None else min(total, int(np.floor(until_s / self.token_s + 1e-6)))
        stop = max(stop, self._given)
        middle_s = (np.arange(self._given, stop) + 0.5) * self.token_s
        centre_s = start_s + self.window_s / 2
        after = np.clip(np.searchsorted(centre_s, middle_s), 0, len(centre_s) - 1)
        before = np.maximum(after - 1, 0)
        nearest = np.where(middle_s - centre_s[before] <= np.abs(centre_s[after] - middle_s), before, after)
        at = np.floor((middle_s - start_s[nearest]) / self.token_s + 1e-6).astype(np.int64)
        inside = (at >= 0) & (at < count)
        at = np.clip(at, 0, count - 1)
        out_mask = (mask[nearest, :, at] & inside[:, None]).T
        out = token[nearest, :, at].swapaxes(0, 1) * out_mask[..., None]
        self._given = stop
        keep = start_s + self.window_s > stop * self.token_s
        keep[-1] = True
        self._held = start_s[keep], token[keep], mask[keep]
        return out, out_mask
