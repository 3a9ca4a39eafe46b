"""One sensor from a plain table: csv, parquet or npy."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from motionseek.errors import DamagedFile, UnitError, UnknownFormat, UsageError
from motionseek.types import ANY_PART, STANDARD_GRAVITY_MPS2, Bool, Float64, Imu

COLUMNS = ("t_s", "ax_mps2", "ay_mps2", "az_mps2", "gx_rps", "gy_rps", "gz_rps")
SUFFIXES = (".csv", ".parquet", ".npy")
UNITS: Mapping[str, Mapping[str, float]] = {
    "time": {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9},
    "acc": {"m/s2": 1.0, "g": STANDARD_GRAVITY_MPS2},
    "gyro": {"rad/s": 1.0, "deg/s": float(np.pi / 180)},
}
"""What a file may be in, and the factor to s, m/s² and rad/s."""

NO_VALUE = ("", "NULL", "null", "None", "NA", "N/A")
"""What stands in a csv where there is no value; NaN is a number."""

MAX_RATE_HZ = 20_000.0
MIN_RATE_HZ = 2.0
MIN_MEAN_ACC_MPS2 = 5.0
MAX_MEAN_ACC_MPS2 = 90.0
REST_TOLERANCE = 0.2
REST_SWAY = 0.02
MAX_GYRO_RPS = 75.0
MAX_MEDIAN_GYRO_RPS = 30.0


def read_imu(
    path: str | Path,
    *,
    placement: str = ANY_PART,
    person: str = "",
    columns: Mapping[str, str] | None = None,
    units: Mapping[str, str] | None = None,
) -> Imu:
    """`read_imu_checked` without the list of what had to be repaired."""
    return read_imu_checked(path, placement=placement, person=person, columns=columns, units=units)[0]


def read_imu_checked(
    path: str | Path,
    *,
    placement: str = ANY_PART,
    person: str = "",
    columns: Mapping[str, str] | None = None,
    units: Mapping[str, str] | None = None,
) -> tuple[Imu, tuple[str, ...]]:
    """Read one sensor and say what had to be repaired.

    csv and parquet have the columns `t_s, ax_mps2, ay_mps2, az_mps2, gx_rps, gy_rps, gz_rps`, the last three or none
    of them; npy has shape (L, 7) or (L, 4) in that order. `columns` maps these names to the file's own
    (`{"t_s": "time"}`), `units` says what it is in (`{"time": "ms", "acc": "g", "gyro": "deg/s"}`). A cell left empty
    is no sample: a table may hold accelerometer and gyroscope at different rates. Rows that are NaN, infinite, cut
    off, repeated or out of order are dropped or sorted, and said.

    Raises UnknownFormat (suffix), DamagedFile, UnitError (see `check_units`), all naming the file; UsageError for a
    wrong `columns` or `units`.
    """
    path = Path(path)
    problems: list[str] = []
    scale = _scales(units or {})
    values = _load(path, columns or {}, problems)
    t_s = values[:, 0] * scale["time"]
    acc = cleaned(t_s, values[:, 1:4] * scale["acc"], "accelerometer", problems)
    gyro = cleaned(t_s, values[:, 4:7] * scale["gyro"], "gyroscope", problems)
    imu = checked_imu(path, acc, gyro, placement=placement, person=person, name=path.stem)
    return imu, tuple(dict.fromkeys(f"{path.name}: {problem}" for problem in problems))


def read_triple(
    path: str | Path,
    names: tuple[str, str, str, str],
    *,
    time: str,
    what: str,
    problems: list[str],
    header: Sequence[str] = (),
    skip_rows: int = 0,
) -> tuple[Float64, Float64]:
    """One sensor's three axes from a csv: times (L,) in s, samples (L, 3) as they are, repaired.

    names: the columns of the time and of x, y, z.   time: the unit of the time, as in `UNITS`.   header: the columns'
    names where the file does not name them in its first line, below which `skip_rows` lines are passed over.
    What was repaired goes to `problems`. Raises DamagedFile.
    """
    values = read_table(path, names, problems, header=header, skip_rows=skip_rows)
    return cleaned(values[:, 0] * UNITS["time"][time], values[:, 1:], what, problems)


def read_table(
    path: str | Path, names: Sequence[str], problems: list[str], *, header: Sequence[str] = (), skip_rows: int = 0
) -> Float64:
    """The columns `names` of a csv (see `read_triple`), (L, C), NaN where a cell is empty. Raises DamagedFile."""
    path = Path(path)
    try:
        found, delimiter = (list(header), ",") if header else _header(path)
        absent = [name for name in names if name not in found]
        if absent:
            raise DamagedFile(path, f"has no column {', '.join(absent)}; it has {', '.join(found)[:200]}")
        table = _parse_csv(path, found, skip_rows if header else 1, delimiter, list(names), problems)
    except OSError as error:
        raise DamagedFile(path, f"cannot be read: {error.strerror or error}") from error
    values: Float64 = np.stack([table.column(name).to_numpy() for name in names], axis=1)
    return values


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
    check_units(path, *acc, *gyro)
    return Imu(acc[0], acc[1].astype(np.float32), gyro[0], gyro[1].astype(np.float32), placement, person, name)


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
    norm = np.linalg.norm(acc_mps2, axis=1)
    mean = float(norm.mean())
    rest = _rest(acc_mps2, acc_t_s)
    if not MIN_MEAN_ACC_MPS2 <= mean <= MAX_MEAN_ACC_MPS2:
        raise UnitError(path, f"|acc| is {mean:.3g} on average where gravity alone is 9.81 m/s²: {_guess(mean, rest)}")
    if rest is not None and abs(rest - STANDARD_GRAVITY_MPS2) > REST_TOLERANCE * STANDARD_GRAVITY_MPS2:
        raise UnitError(path, f"|acc| at rest is {rest:.3g} where gravity is 9.81 m/s²: {_guess(rest, rest)}")
    if len(gyro_t_s):
        turn = np.linalg.norm(gyro_rps, axis=1)
        if turn.max() > MAX_GYRO_RPS or np.median(turn) > MAX_MEDIAN_GYRO_RPS:
            raise UnitError(
                path,
                f"the gyroscope reads up to {turn.max():.3g} and {np.median(turn):.3g} at the median, too fast for "
                'rad/s: it looks like deg/s; give units={"gyro": "deg/s"}',
            )


def _check_clock(path: object, t_s: Float64) -> None:
    if len(t_s) < 2:
        return
    step_s = float(np.median(np.diff(t_s)))
    if MIN_RATE_HZ <= 1 / step_s <= MAX_RATE_HZ:
        return
    fits = [u for u, factor in UNITS["time"].items() if 10 <= 1 / (step_s * factor) <= 2000]
    hint = f'it looks like {fits[0]}; give units={{"time": "{fits[0]}"}}' if fits else "check the time column"
    raise UnitError(path, f"time advances by {step_s:.3g} a sample, which is no rate of a sensor in seconds: {hint}")


def _rest(acc_mps2: Float64, t_s: Float64) -> float | None:
    """|acc| of the quietest half second, None where nothing rests."""
    if len(t_s) < 2:
        return None
    size = max(5, round(0.5 / float(np.median(np.diff(t_s)))))
    if len(acc_mps2) < size:
        return None
    blocks = acc_mps2[: len(acc_mps2) // size * size].reshape(-1, size, 3)
    sway = np.linalg.norm(blocks.std(axis=1), axis=1)
    quietest = np.argmin(sway)
    value = float(np.linalg.norm(blocks[quietest].mean(axis=0)))
    return value if sway[quietest] < REST_SWAY * value else None


def _guess(value: float, rest: float | None) -> str:
    if rest is not None and rest < 0.5:
        return "gravity seems to have been taken out; the raw accelerometer is needed"
    if 0.5 <= value < MIN_MEAN_ACC_MPS2:
        return 'it looks like g; give units={"acc": "g"}'
    if MAX_MEAN_ACC_MPS2 < value < 300:
        return "it looks like m/s² taken for g"
    if 800 <= value <= 5000:
        return "it looks like milli-g or raw counts; convert it to m/s²"
    return "convert it to m/s² with gravity in it"


def _scales(units: Mapping[str, str]) -> dict[str, float]:
    for what, unit in units.items():
        if unit not in UNITS.get(what, {}):
            known = "; ".join(f"{name}: {', '.join(factors)}" for name, factors in UNITS.items())
            raise UsageError(f"units: {what}={unit!r} is not known; use {known}")
    return {what: factors[units.get(what, next(iter(factors)))] for what, factors in UNITS.items()}


def _load(path: Path, columns: Mapping[str, str], problems: list[str]) -> Float64:
    """(L, 7) float64, NaN where there is no gyroscope or a cell is empty."""
    unknown = set(columns) - set(COLUMNS)
    if unknown:
        raise UsageError(f"columns: {', '.join(sorted(unknown))} is not one of {', '.join(COLUMNS)}")
    loaders = {".csv": _load_csv, ".parquet": _load_parquet, ".npy": _load_npy}
    if path.suffix.lower() not in loaders:
        raise UnknownFormat(path, f"an IMU file is {', '.join(loaders)}, not {path.suffix or 'without suffix'!r}")
    try:
        values = loaders[path.suffix.lower()](path, columns, problems)
    except OSError as error:
        raise DamagedFile(path, f"cannot be read: {error.strerror or error}") from error
    if not len(values):
        raise DamagedFile(path, "holds no samples")
    return values


def _load_csv(path: Path, columns: Mapping[str, str], problems: list[str]) -> Float64:
    header, delimiter = _header(path)
    wanted = _choose(path, header, columns)
    return _stack(_parse_csv(path, header, 1, delimiter, list(wanted.values()), problems), wanted)


def _header(path: Path) -> tuple[list[str], str]:
    """The names in the first line, and what separates them. Raises DamagedFile, OSError."""
    with path.open("rb") as file:
        first = file.readline(1 << 16)
    try:
        header_line = first.decode("utf-8-sig").strip("\r\n")
    except UnicodeDecodeError as error:
        raise DamagedFile(path, "is not a text file") from error
    if not all(c == "\t" or c.isprintable() for c in header_line):
        raise DamagedFile(path, "is not a text file")
    if not header_line.strip():
        raise DamagedFile(path, "is empty" if not first else "has no header line")
    delimiter = max(",;\t", key=header_line.count)
    return [name.strip() for name in next(csv.reader([header_line], delimiter=delimiter))], delimiter


def _parse_csv(
    path: Path, header: list[str], skip_rows: int, delimiter: str, wanted: list[str], problems: list[str]
) -> pa.Table:
    """The columns `wanted` as float64, without the rows that are cut off. Raises DamagedFile, OSError."""
    skipped: list[int] = []

    def skip(row: Any) -> str:
        skipped.append(row.actual_columns)
        return "skip"

    try:
        table = pa.csv.read_csv(
            path,
            # Any byte is a letter in Latin-1, and the numbers are the same: rows that are no UTF-8 are dropped, too.
            read_options=pa.csv.ReadOptions(column_names=header, skip_rows=skip_rows, encoding="latin1"),
            parse_options=pa.csv.ParseOptions(delimiter=delimiter, invalid_row_handler=skip),
            convert_options=pa.csv.ConvertOptions(
                column_types=dict.fromkeys(wanted, pa.float64()),
                include_columns=wanted,
                null_values=list(NO_VALUE),
            ),
        )
    except pa.ArrowInvalid as error:
        raise DamagedFile(path, f"is not a table of numbers: {_one_line(error)}") from error
    if skipped:
        if len(skipped) > table.num_rows:
            raise DamagedFile(path, f"{len(skipped)} rows do not have the {len(header)} columns of the header")
        problems.append(f"{len(skipped)} rows without all {len(header)} columns were dropped")
    return table


def _load_parquet(path: Path, columns: Mapping[str, str], problems: list[str]) -> Float64:
    try:
        with pa.parquet.ParquetFile(path) as file:
            wanted = _choose(path, file.schema_arrow.names, columns)
            table = file.read(columns=list(wanted.values()))
            return _stack(table.cast(pa.schema([(name, pa.float64()) for name in table.column_names])), wanted)
    except pa.ArrowException as error:
        raise DamagedFile(path, f"is not a parquet table of numbers: {_one_line(error)}") from error


def _load_npy(path: Path, columns: Mapping[str, str], problems: list[str]) -> Float64:
    if columns:
        raise UsageError(f"{path}: columns cannot be named in an npy file; its order is {', '.join(COLUMNS)}")
    with path.open("rb") as file:
        if file.read(6) != b"\x93NUMPY":
            raise DamagedFile(path, "is empty" if not path.stat().st_size else "is not an npy file")
    try:
        values = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise DamagedFile(path, f"is not an npy file of numbers: {_one_line(error)}") from error
    if values.ndim != 2 or values.shape[1] not in (4, 7):
        raise DamagedFile(path, f"must have shape (L, 7) or (L, 4), not {values.shape}")
    if values.dtype.kind not in "fiu":
        raise DamagedFile(path, f"must hold numbers, not {values.dtype}")
    full = np.full((len(values), 7), np.nan)
    full[:, : values.shape[1]] = values
    return full


def _choose(path: Path, header: list[str], columns: Mapping[str, str]) -> dict[str, str]:
    """Our name → the file's name, for all seven columns or for the four without gyroscope."""
    names = {name: columns.get(name, name) for name in COLUMNS}
    absent = [name for name, own in names.items() if own not in header]
    if absent == list(COLUMNS[4:]) and not set(absent) & set(columns):
        return {name: own for name, own in names.items() if name not in absent}
    if absent:
        raise DamagedFile(
            path,
            f"has no column {', '.join(names[name] for name in absent)}; it has {', '.join(header)[:200]}: "
            'name its own columns with columns={"t_s": …, "ax_mps2": …}',
        )
    if len(set(header)) < len(header):
        raise DamagedFile(path, "names a column twice in its header")
    return names


def _stack(table: pa.Table, wanted: Mapping[str, str]) -> Float64:
    values = np.full((table.num_rows, 7), np.nan)
    for i, name in enumerate(COLUMNS):
        if name in wanted:
            values[:, i] = table.column(wanted[name]).to_numpy()
    return values


def cleaned(t_s: Float64, x: Float64, what: str, problems: list[str]) -> tuple[Float64, Float64]:
    """Times (L,) and samples (L, 3) → those that are all there, on a strictly increasing clock.

    NaN in all three axes is no sample; what else is dropped or sorted is said in `problems`.
    """
    absent = np.isnan(x).all(axis=1)
    if absent.all():
        return np.empty(0), np.empty((0, 3))
    good: Bool = np.isfinite(x).all(axis=1) & np.isfinite(t_s)
    _say(int((~good & ~absent).sum()), f"{what} samples that are not finite were dropped", problems)
    _say(int((~np.isfinite(t_s)).sum()), "rows without a time were dropped", problems)
    t_s, x = t_s[good], x[good]
    if (np.diff(t_s) < 0).any():
        _say(int((np.diff(t_s) < 0).sum()), f"steps back in time of the {what} were sorted", problems)
        order = np.argsort(t_s, kind="stable")
        t_s, x = t_s[order], x[order]
    first = np.diff(t_s, prepend=-np.inf) > 0
    _say(int((~first).sum()), f"{what} samples at a repeated time were dropped", problems)
    return t_s[first], x[first]


def _say(count: int, what: str, problems: list[str]) -> None:
    if count:
        problems.append(f"{count} {what}")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
