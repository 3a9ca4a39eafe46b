"""Whether numbers can be what they are said to be: seconds, m/s² with gravity, rad/s; axes that belong together."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations, product

import numpy as np

from motionseek.errors import DamagedFile, UnitError, UsageError
from motionseek.types import ANY_PART, STANDARD_GRAVITY_MPS2, Float64, Imu, median_step_s

UNITS: Mapping[str, Mapping[str, float]] = {
    "time": {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9},
    "acc": {"m/s2": 1.0, "g": STANDARD_GRAVITY_MPS2, "mg": STANDARD_GRAVITY_MPS2 / 1000},
    "gyro": {"rad/s": 1.0, "deg/s": float(np.pi / 180), "dps": float(np.pi / 180)},
}
"""What a file may be in, and the factor to s, m/s² and rad/s."""

MAX_RATE_HZ = 20_000.0
MIN_RATE_HZ = 2.0
MIN_MEAN_ACC_MPS2 = 5.0
MAX_MEAN_ACC_MPS2 = 90.0
REST_TOLERANCE = 0.2
REST_SWAY = 0.02
STEADY_S, STEADY = 3.0, 0.4
MAX_GYRO_RPS = 75.0
MAX_MEDIAN_GYRO_RPS = 30.0

AXES_RATE_HZ = 50.0
AXES_BELOW_HZ = 1.0
AXES_LEAST_S, AXES_MOST_S = 10.0, 600.0
AXES_FIT, AXES_LEAD = 0.85, 0.1
_ORDERS = np.array(
    [np.diag(signs)[list(order)] for order in permutations(range(3)) for signs in product((1.0, -1.0), repeat=3)]
)
_CROSS = np.zeros((3, 3, 3))
"""(a × b)_i = Σ _CROSS[i, j, k] a_j b_k"""
for _i, _j, _k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
    _CROSS[_i, _j, _k], _CROSS[_i, _k, _j] = 1.0, -1.0


def scales(units: Mapping[str, str]) -> dict[str, float]:
    """`{"acc": "g"}` → the factor of each of time, acc and gyro to s, m/s² and rad/s. Raises UsageError."""
    for what, unit in units.items():
        if unit not in UNITS.get(what, {}):
            known = "; ".join(f"{name}: {', '.join(factors)}" for name, factors in UNITS.items())
            raise UsageError(f"units: {what}={unit!r} is not known; use {known}")
    return {what: factors[units.get(what, next(iter(factors)))] for what, factors in UNITS.items()}


def checked_imu(
    path: object,
    acc: tuple[Float64, Float64],
    gyro: tuple[Float64, Float64],
    *,
    placement: str = ANY_PART,
    person: str = "",
    name: str = "",
) -> Imu:
    """Times (L,) and samples (L, 3) of both sensors, repaired, in s, m/s² and rad/s → one worn sensor.

    Raises DamagedFile without accelerometer samples, UnitError (see `check_units`).
    """
    if not len(acc[0]):
        raise DamagedFile(path, "holds no accelerometer sample with a finite time and value")
    if len(acc[0]) < 2:
        raise DamagedFile(path, "holds a single accelerometer sample: nothing moves in it")
    check_units(path, *acc, *gyro)
    return Imu(acc[0], acc[1].astype(np.float32), gyro[0], gyro[1].astype(np.float32), placement, person, name)


@np.errstate(over="ignore", invalid="ignore")  # damaged numbers may be of any size; their mean is refused
def check_units(path: object, acc_t_s: Float64, acc_mps2: Float64, gyro_t_s: Float64, gyro_rps: Float64) -> None:
    """Refuse numbers that cannot be seconds, m/s² with gravity, and rad/s. Arrays are (L,), (L, 3), (L,), (L, 3).

    - Time: a median rate outside 2 Hz to 20 kHz.
    - Accelerometer: the time-mean of |acc| of anything that does not keep falling is at least g (a mean of vectors is
      no longer than the mean of their lengths, and the mean acceleration is small), so a mean below 5 m/s² is
      refused, and for the same reason one above 90, which m/s² taken for g exceeds. So is a sensor at rest (half a
      second in which it varies by less than 2 % of |acc|) that is more than 20 % off g.
    - Gyroscope: more than 75 rad/s (above 4,000 deg/s, the range of the fastest worn sensors), or a median above
      30 rad/s (five turns a second, kept up). Vigorous strokes peak at 35 rad/s and pass.

    Raises UnitError.
    """
    _check_clock(path, acc_t_s)
    mean = float(np.linalg.norm(acc_mps2, axis=1).mean())
    rest = _rest(acc_mps2, acc_t_s)
    if not MIN_MEAN_ACC_MPS2 <= mean <= MAX_MEAN_ACC_MPS2:
        if len(gyro_t_s) and abs(float(np.median(np.linalg.norm(gyro_rps, axis=1))) - STANDARD_GRAVITY_MPS2) < 2:
            raise UnitError(
                path,
                f"|acc| is {mean:.3g} on average and |gyro| {np.median(np.linalg.norm(gyro_rps, axis=1)):.3g}, as "
                "gravity is: the columns of accelerometer and gyroscope seem to be exchanged",
            )
        raise UnitError(
            path, f"|acc| is {mean:.3g} on average where gravity alone is 9.81 m/s²: {_guess(mean, acc_t_s, acc_mps2)}"
        )
    if rest is not None and abs(rest - STANDARD_GRAVITY_MPS2) > REST_TOLERANCE * STANDARD_GRAVITY_MPS2:
        raise UnitError(
            path, f"|acc| at rest is {rest:.3g} where gravity is 9.81 m/s²: {_guess(rest, acc_t_s, acc_mps2)}"
        )
    if len(gyro_t_s):
        turn = np.linalg.norm(gyro_rps, axis=1)
        if turn.max() > MAX_GYRO_RPS or np.median(turn) > MAX_MEDIAN_GYRO_RPS:
            raise UnitError(
                path,
                f"the gyroscope reads up to {turn.max():.3g} and {np.median(turn):.3g} at the median, too fast for "
                'rad/s: it looks like deg/s; give units={"gyro": "deg/s"} (--units gyro=deg/s)',
            )


def turned(x: Float64, axes: str) -> Float64:
    """x (L, 3) with its axes as `axes` names them: "y,-x,z" takes y for x, and x, negated, for y. Raises UsageError."""
    named = [axis.strip() for axis in axes.split(",")]
    if sorted(axis.removeprefix("-") for axis in named) != ["x", "y", "z"]:
        raise UsageError(f'axes must name x, y and z once each, as in "y,-x,z", not {axes!r}')
    columns = ["xyz".index(axis[-1]) for axis in named]
    values: Float64 = x[:, columns] * [-1.0 if axis.startswith("-") else 1.0 for axis in named]
    return values


def check_axes(path: object, acc_t_s: Float64, acc_mps2: Float64, gyro_t_s: Float64, gyro_rps: Float64) -> None:
    """Refuse a gyroscope whose axes are not the accelerometer's, where the signals leave no doubt.

    While a sensor turns by ω, gravity turns in its axes by −ω × g. Of the 48 ways to order the gyroscope's axes and
    choose their signs that is compared, below 1 Hz, with what the accelerometer shows; the best one must correlate
    above 0.85 and every other by 0.1 less. Body movement is rarely that clear: of 997 real recordings with the right
    axes 17 were, and none of them pointed to a wrong one. Raises UnitError, naming the axes that fit.
    """
    start_s = max(acc_t_s[0], gyro_t_s[0]) if len(gyro_t_s) else 0.0
    end_s = min(acc_t_s[-1], gyro_t_s[-1], start_s + AXES_MOST_S) if len(gyro_t_s) else 0.0
    if end_s - start_s < AXES_LEAST_S:
        return
    t_s = np.arange(start_s, end_s, 1 / AXES_RATE_HZ)
    acc, gyro = (
        np.stack([np.interp(t_s, at_s, axis) for axis in x.T], axis=1)
        for at_s, x in ((acc_t_s, acc_mps2), (gyro_t_s, gyro_rps))
    )
    seen = _slow(np.gradient(acc, 1 / AXES_RATE_HZ, axis=0))
    products = _slow((gyro[:, :, None] * acc[:, None, :]).reshape(-1, 9)).reshape(-1, 3, 3)
    # (48, L, 3): −(M ω) × acc for every signed order M, from the products of each axis of ω with each of acc
    expected = -np.einsum("ijk,pjc,nck->pni", _CROSS, _ORDERS, products)
    power = np.sqrt((expected**2).sum((1, 2)) * (seen**2).sum())
    fit = (expected * seen).sum((1, 2)) / np.maximum(power, 1e-12)
    best = int(fit.argmax())
    if fit[best] < AXES_FIT or np.sort(fit)[-2] > fit[best] - AXES_LEAD or (_ORDERS[best] == np.eye(3)).all():
        return
    name = ",".join(("-" if row.sum() < 0 else "") + "xyz"[int(np.abs(row).argmax())] for row in _ORDERS[best])
    raise UnitError(
        path,
        f"the gyroscope's axes are not the accelerometer's: gravity turns as if they were {name}; name the file in a "
        f'recording.json with "axes": {{"gyro": "{name}"}}',
    )


def _slow(x: Float64) -> Float64:
    """x (L, C) at AXES_RATE_HZ below AXES_BELOW_HZ, in phase: a Butterworth filter of second order run forwards and
    backwards, as one product of spectra. Importing scipy.signal takes longer than reading a file."""
    pad = min(len(x) - 1, round(2 * AXES_RATE_HZ / AXES_BELOW_HZ))
    padded = np.pad(x, ((pad, pad), (0, 0)), mode="reflect", reflect_type="odd")
    turn = np.tan(np.pi * np.fft.rfftfreq(len(padded))) / np.tan(np.pi * AXES_BELOW_HZ / AXES_RATE_HZ)
    slow = np.fft.irfft(np.fft.rfft(padded, axis=0) / (1 + turn[:, None] ** 4), len(padded), axis=0)
    return slow[pad : pad + len(x)]


def _check_clock(path: object, t_s: Float64) -> None:
    if len(t_s) < 2:
        return
    step_s = median_step_s(t_s)
    if MIN_RATE_HZ <= 1 / step_s <= MAX_RATE_HZ:
        return
    fits = [u for u, factor in UNITS["time"].items() if 10 <= 1 / (step_s * factor) <= 2000]
    hint = "check the time column"
    if fits:
        hint = f'it looks like {fits[0]}; give units={{"time": "{fits[0]}"}} (--units time={fits[0]})'
    raise UnitError(path, f"time advances by {step_s:.3g} a sample, which is no rate of a sensor in seconds: {hint}")


def _steadiness(t_s: Float64, acc: Float64) -> float:
    """Length of the mean vector over the mean length, in the middle one of blocks of STEADY_S; nearly 1 with gravity,
    which turns slowly, and nearly 0 without it."""
    block = ((t_s - t_s[0]) // STEADY_S).astype(np.int64)
    block = np.unique(block, return_inverse=True)[1]
    sums = np.stack([np.bincount(block, axis) for axis in acc.T], axis=1)
    lengths = np.bincount(block, np.linalg.norm(acc, axis=1))
    return float(np.median(np.linalg.norm(sums, axis=1) / np.maximum(lengths, 1e-12)))


def _rest(acc_mps2: Float64, t_s: Float64) -> float | None:
    """|acc| of the quietest half second, None where nothing rests."""
    if len(t_s) < 2:
        return None
    size = max(5, round(0.5 / median_step_s(t_s)))
    if len(acc_mps2) < size:
        return None
    blocks = acc_mps2[: len(acc_mps2) // size * size].reshape(-1, size, 3)
    sway = np.linalg.norm(blocks.std(axis=1), axis=1)
    quietest = np.argmin(sway)
    value = float(np.linalg.norm(blocks[quietest].mean(axis=0)))
    return value if sway[quietest] < REST_SWAY * value else None


def _guess(value: float, t_s: Float64, acc: Float64) -> str:
    """What |acc| of `value`, on average or at rest, may be. acc (L, 3) at t_s (L,)."""
    if value < MIN_MEAN_ACC_MPS2 and _steadiness(t_s, acc) < STEADY:
        return "gravity seems to have been taken out; the raw accelerometer is needed"
    if 0.5 <= value < MIN_MEAN_ACC_MPS2:
        return 'it looks like g; give units={"acc": "g"} (--units acc=g)'
    if MAX_MEAN_ACC_MPS2 < value < 300:
        return "it looks like m/s² taken for g"
    if 800 <= value <= 5000:
        return "it looks like milli-g or raw counts; convert it to m/s²"
    return "convert it to m/s² with gravity in it"
