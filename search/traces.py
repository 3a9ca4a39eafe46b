"""Several sensors of one wearer and the limbs that they are worn on, side by side as speeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy

from motionseek.errors import QueryError
from motionseek.search.limbs import RATE_HZ, Trace, limb_trace, parts_seen, sensor_trace
from motionseek.types import ANY_PART, Bool, Float64, Imu, PoseTrack

MIN_SPEED_RPS = 0.12
"""A stream whose turning speed varies less than this (standard deviation) does not move."""
CHANCE_S = 3.0
"""Length of overlap at which half of a correlation is taken for chance."""
EVENED, EVENED_OVER_HZ, EVENED_UP_TO_HZ = 0.75, 0.25, 4.0
"""How far frequencies are made equally strong, from 0 to 1; the band over which strength is taken; the highest one."""
SLOW_S = 20.0
"""What varies slower than this is left out: whether somebody walks or sits at all is alike at lags of minutes."""


@dataclass(frozen=True, eq=False)
class Traces:
    """S sensors and the limbs that they are worn on, as speeds on two clocks of rate_hz.

    names: (S,) placements.   sensor: (S, L), sensor_mask; first sample at sensor_start_s.   limb: (S, L'), likewise.
    """

    names: tuple[str, ...]
    sensor_start_s: float
    sensor: Float64
    sensor_mask: Bool
    limb_start_s: float
    limb: Float64
    limb_mask: Bool
    rate_hz: float = RATE_HZ

    @property
    def moves(self) -> tuple[Bool, Bool]:
        """Which sensors move, which limbs do, (S,) each."""
        sides = ((self.sensor, self.sensor_mask), (self.limb, self.limb_mask))
        sensor, limb = (
            np.array([s[m].std() > MIN_SPEED_RPS if m.any() else False for s, m in zip(*side, strict=True)])
            for side in sides
        )
        return sensor, limb

    def only(self, keep: Bool) -> Traces:
        return replace(
            self,
            names=tuple(name for name, kept in zip(self.names, keep, strict=True) if kept),
            sensor=self.sensor[keep],
            sensor_mask=self.sensor_mask[keep],
            limb=self.limb[keep],
            limb_mask=self.limb_mask[keep],
        )

    def detail(self) -> Traces:
        """What is compared: roots, so that a few violent moments do not decide alone, without what varies slowly."""
        return replace(
            self,
            sensor=_detail(np.sqrt(self.sensor), self.sensor_mask, self.rate_hz),
            limb=_detail(np.sqrt(self.limb), self.limb_mask, self.rate_hz),
        )

    def evened(self) -> Traces:
        """Traces of `detail` with their frequencies about equally strong: a rhythm alone fits at many lags, what
        happens beside it at one. Their peak is higher above all others, though no better placed."""
        sides = ((self.sensor, self.sensor_mask), (self.limb, self.limb_mask))
        sensor, limb = (_evened(x, mask, self.rate_hz) for x, mask in sides)
        return replace(self, sensor=sensor, limb=limb)

    def slower(self, factor: int) -> Traces:
        """Every `factor`-th sample: what the traces' low-pass leaves lies far below a quarter of RATE_HZ."""
        return replace(
            self,
            sensor=self.sensor[:, ::factor],
            sensor_mask=self.sensor_mask[:, ::factor],
            limb=self.limb[:, ::factor],
            limb_mask=self.limb_mask[:, ::factor],
            rate_hz=self.rate_hz / factor,
        )


def _detail(x: Float64, mask: Bool, rate_hz: float) -> Float64:
    size = max(1, min(round(SLOW_S * rate_hz), x.shape[-1]))
    weight, slow = mask.astype(np.float64), np.where(mask, x, 0.0)
    for _ in range(2):
        weight, slow = (scipy.ndimage.uniform_filter1d(v, size, axis=-1, mode="constant") for v in (weight, slow))
    return np.where(mask, x - slow / np.maximum(weight, 1e-3), 0.0)


def _evened(x: Float64, mask: Bool, rate_hz: float) -> Float64:
    waves = scipy.fft.rfft(np.where(mask, x, 0.0), axis=-1)
    power = scipy.ndimage.uniform_filter1d(
        np.abs(waves) ** 2, max(3, round(EVENED_OVER_HZ * x.shape[-1] / rate_hz)), axis=-1
    )
    factor = (power + 1e-3 * power.max(axis=-1, keepdims=True) + 1e-18) ** (-EVENED / 2)
    kept = scipy.fft.rfftfreq(x.shape[-1], 1 / rate_hz) <= EVENED_UP_TO_HZ
    return np.where(mask, scipy.fft.irfft(waves * factor * kept, x.shape[-1], axis=-1), 0.0)


def traces_of(sensors: Sequence[Imu], track: PoseTrack) -> list[Traces]:
    """The sensors against the limbs they are worn on; a single one of unknown placement against every limb."""
    seen = parts_seen(track)
    if any(imu.part == ANY_PART for imu in sensors):
        if len(sensors) > 1:
            raise QueryError("several sensors need their placements: only a single one can be tried on every part")
        worn = [[(sensors[0], part)] for part in seen]
    else:
        worn = [[(imu, imu.placement) for imu in sensors if imu.part in seen]]
    return [_stacked([(name, sensor_trace(imu), limb_trace(track, name)) for imu, name in w]) for w in worn if w]


def _stacked(rows: Sequence[tuple[str, Trace, Trace]]) -> Traces:
    first_s = min(sensor.start_s for _, sensor, _ in rows)
    begins = [round((sensor.start_s - first_s) * RATE_HZ) for _, sensor, _ in rows]
    length = max(b + len(sensor.speed) for b, (_, sensor, _) in zip(begins, rows, strict=True))
    speed, mask = np.zeros((len(rows), length)), np.zeros((len(rows), length), np.bool_)
    for row, (begin, (_, sensor, _)) in enumerate(zip(begins, rows, strict=True)):
        speed[row, begin : begin + len(sensor.speed)] = sensor.speed
        mask[row, begin : begin + len(sensor.speed)] = sensor.mask
    limbs = [limb for _, _, limb in rows]
    return Traces(
        tuple(name for name, _, _ in rows),
        first_s,
        speed,
        mask,
        limbs[0].start_s,
        np.stack([limb.speed for limb in limbs]),
        np.stack([limb.mask for limb in limbs]),
    )


def pooled(r: Float64, count: Float64, rate_hz: float) -> Float64:
    """Mean over the first axis (sensors), each weighing as much as its overlap, drawn to 0 where that is short: any
    two short stretches correlate by chance."""
    mean: Float64 = (r * count).sum(axis=0) / np.maximum(count.sum(axis=0), 1)
    overlap_s = count.max(axis=0) / rate_hz
    drawn: Float64 = mean * overlap_s / (overlap_s + CHANCE_S)
    return drawn
