"""What is wrong with a worn sensor's samples, window by window: at the rail, stuck, in the wrong unit, without gravity.

Each check counts samples once for the whole stream and reads every window off the running sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from motionseek.types import STANDARD_GRAVITY_MPS2, Bool, Float64, Imu, median_step_s

FLAGS = ("gaps", "clipped", "stuck", "units", "gravity")
"""What a window may be flagged with, and what `Filter.without` takes.

gaps: less than 0.8 of it is there.   clipped: more than 1 % of its samples are at the end of the sensor's range.
stuck: an axis says the same for more than half of it.   units: |acc| below 0.5 g or above 9 g on average, or more than
30 rad/s: another unit.   gravity: |acc| below 0.8 g on average, or more than 0.1 g off g at rest.
"""

MIN_COVERAGE = 0.8
MAX_CLIPPED = 0.01
MAX_STUCK = 0.5
ACC_G = (0.5, 9.0)
"""Over five seconds nobody gains more than about 20 m/s, so that the mean of |acc| cannot fall below 0.6 g; strokes
kept up reach 4 g."""
MAX_TURN_RPS = 30.0
MIN_GRAVITY_G = 0.8
REST_OFF_G = 0.1
REST_SWAY = 0.02

RAIL_RUN = 3
RAIL_ACC_MPS2 = 1.9 * STANDARD_GRAVITY_MPS2
RAIL_GYRO_RPS = 2.0
"""An axis is at its rail where its extreme is held for three samples in a row, and lies where ranges may end: they
begin at ±2 g and ±125 deg/s."""

STUCK_S = 2.0
STUCK_SAMPLES = 20
"""A value held so long and so often is none, unless all axes of a gyroscope hold theirs: some write 0 at rest."""


@dataclass(frozen=True, eq=False)
class Checks:
    """Of N windows. clipped, stuck: (N,) share of samples, 0 to 1. acc_g: (N,) mean of |acc| in g. All three NaN where
    there is no sensor. units, gravity: (N,) whether they are suspect."""

    clipped: Float64
    stuck: Float64
    acc_g: Float64
    units: Bool
    gravity: Bool

    @classmethod
    def none(cls, n: int) -> Checks:
        """For windows of other modalities."""
        nan, no = np.full(n, np.nan), np.zeros(n, np.bool_)
        return cls(nan, nan, nan, no, no)

    @classmethod
    def of(cls, several: Sequence[Checks]) -> Checks:
        """Those of several streams, one after another."""
        return cls(*(np.concatenate([getattr(one, f.name) for one in several]) for f in fields(cls)))

    def take(self, keep: Bool) -> Checks:
        return Checks(self.clipped[keep], self.stuck[keep], self.acc_g[keep], self.units[keep], self.gravity[keep])

    @property
    def good(self) -> Float64:
        """(N,) share of the samples that are neither clipped nor stuck."""
        bad: Float64 = np.maximum(np.nan_to_num(self.clipped), np.nan_to_num(self.stuck))
        return np.asarray(1 - bad)

    def flags(self, coverage: Float64) -> list[list[str]]:
        """The FLAGS of each window, coverage (N,) being the share of it that is there."""
        found = {
            "gaps": coverage < MIN_COVERAGE,
            "clipped": np.nan_to_num(self.clipped) > MAX_CLIPPED,
            "stuck": np.nan_to_num(self.stuck) > MAX_STUCK,
            "units": self.units,
            "gravity": self.gravity,
        }
        table = np.stack([found[name] for name in FLAGS], axis=1)
        return [[name for name, on in zip(FLAGS, row, strict=True) if on] for row in table.tolist()]


def of_sensors(imus: Sequence[Imu], there: Bool, start_s: Float64, end_s: Float64) -> Checks:
    """The worst that any sensor says of each window, there (N, len(imus)): which windows each belongs to."""
    n = len(start_s)
    clipped, stuck, acc_g = np.zeros(n), np.zeros(n), np.ones(n)
    units, gravity = np.zeros(n, np.bool_), np.zeros(n, np.bool_)
    for imu, held in zip(imus, there.T, strict=True):
        own = _of_sensor(imu, start_s, end_s)
        clipped = np.where(held, np.maximum(clipped, own.clipped), clipped)
        stuck = np.where(held, np.maximum(stuck, own.stuck), stuck)
        worse = held & (np.abs(own.acc_g - 1) >= np.abs(acc_g - 1))
        acc_g = np.where(worse, own.acc_g, acc_g)
        units |= held & own.units
        gravity |= held & own.gravity
    return Checks(clipped, stuck, acc_g, units, gravity)


def _of_sensor(imu: Imu, start_s: Float64, end_s: Float64) -> Checks:
    acc, gyro = imu.acc_mps2.astype(np.float64), imu.gyro_rps.astype(np.float64)
    acc_runs, gyro_runs = _runs(acc), _runs(gyro)
    frozen: Bool = np.any(_held(imu.acc_t_s, acc_runs), axis=1)
    gyro_held = _held(imu.gyro_t_s, gyro_runs)
    unplugged: Bool = np.any(gyro_held, axis=1) & ~np.all(gyro_held, axis=1)
    norm_g = np.linalg.norm(acc, axis=1) / STANDARD_GRAVITY_MPS2
    told = [norm_g, _at_rail(acc, acc_runs, RAIL_ACC_MPS2), frozen, *acc.T, *(acc**2).T]
    of_acc = _share(np.stack(told, axis=1), _edges(imu.acc_t_s, start_s, end_s))
    told = [np.linalg.norm(gyro, axis=1), _at_rail(gyro, gyro_runs, RAIL_GYRO_RPS), unplugged]
    turn, gyro_clipped, gyro_stuck = _share(np.stack(told, axis=1), _edges(imu.gyro_t_s, start_s, end_s)).T
    mean_g, acc_clipped, acc_stuck = of_acc[:, :3].T
    sway = np.sqrt(np.maximum(of_acc[:, 6:] - of_acc[:, 3:6] ** 2, 0).sum(axis=1))
    rests = sway < REST_SWAY * mean_g * STANDARD_GRAVITY_MPS2
    return Checks(
        np.maximum(acc_clipped, gyro_clipped),
        np.maximum(acc_stuck, gyro_stuck),
        mean_g,
        np.asarray((mean_g < ACC_G[0]) | (mean_g > ACC_G[1]) | (turn > MAX_TURN_RPS)),
        np.asarray((mean_g < MIN_GRAVITY_G) | (rests & (np.abs(mean_g - 1) > REST_OFF_G))),
    )


def _edges(t_s: Float64, start_s: Float64, end_s: Float64) -> npt.NDArray[np.int64]:
    """(2, N): the samples of each window are those from the first number up to the second."""
    return np.stack([np.searchsorted(t_s, start_s - 1e-9), np.searchsorted(t_s, end_s - 1e-9)])


def _share(x: Float64, at: npt.NDArray[np.int64]) -> Float64:
    """Means of x (L, C) over each window, (N, C), 0 where it has no sample. NaN counts as 0."""
    total = np.zeros((len(x) + 1, x.shape[1]))
    np.cumsum(np.nan_to_num(x), axis=0, out=total[1:])
    mean: Float64 = (total[at[1]] - total[at[0]]) / np.maximum(at[1] - at[0], 1)[:, None]
    return mean


def _runs(x: Float64) -> npt.NDArray[np.int64]:
    """(L, C) for each sample of each axis of x (L, C), how many equal ones stand in a row with it."""
    new = np.ones((x.shape[1], len(x)), np.bool_)
    new[:, 1:] = (x[1:] != x[:-1]).T
    run = np.cumsum(new) - 1  # each axis begins a new run
    counted: npt.NDArray[np.int64] = np.bincount(run, minlength=1)[run].reshape(new.shape).T
    return counted


def _at_rail(x: Float64, runs: npt.NDArray[np.int64], floor: float) -> Bool:
    """(L,) whether any axis of x (L, 3), with `runs` of equal samples, is at an end of its range."""
    at = np.zeros(len(x), np.bool_)
    for end in (x, -x):
        top = end.max(axis=0, initial=-np.inf)
        if not (top >= floor).any():
            continue
        there: Bool = end == top
        held = np.where(there, runs, 0).max(axis=0, initial=0) >= RAIL_RUN
        at |= (there & held & (top >= floor) & ~np.all(there, axis=0)).any(axis=1)
    return at


def _held(t_s: Float64, runs: npt.NDArray[np.int64]) -> Bool:
    """(L, 3) whether an axis holds its value for STUCK_S, of `runs` (L, 3) of equal samples."""
    if len(t_s) < 2:
        return np.zeros(runs.shape, np.bool_)
    return np.asarray(runs >= max(STUCK_SAMPLES, round(STUCK_S / median_step_s(t_s))))
