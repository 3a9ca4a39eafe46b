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

from motionseek.errors import DamagedFile, UnknownFormat, UsageError
from motionseek.indexer.readers.checks import UNITS, check_axes, checked_imu, scales, turned
from motionseek.indexer.readers.packed import load_npy
from motionseek.indexer.readers.stamps import cleaned
from motionseek.types import ANY_PART, Float64, Imu

COLUMNS = ("t_s", "ax_mps2", "ay_mps2", "az_mps2", "gx_rps", "gy_rps", "gz_rps")
SUFFIXES = (".csv", ".parquet", ".npy")
MAX_BYTES = 1000 << 20
"""A table is read as a whole."""
THREADS_FROM_BYTES = 1 << 20

NO_VALUE = ("", "NULL", "null", "None", "NA", "N/A")
"""What stands in a csv where there is no value; NaN is a number."""


def read_imu(
    path: str | Path,
    *,
    placement: str = ANY_PART,
    person: str = "",
    columns: Mapping[str, str] | None = None,
    units: Mapping[str, str] | None = None,
    axes: Mapping[str, str] | None = None,
) -> Imu:
    """`read_imu_checked` without the list of what had to be repaired."""
    return read_imu_checked(path, placement=placement, person=person, columns=columns, units=units, axes=axes)[0]


def read_imu_checked(
    path: str | Path,
    *,
    gyro: Path | None = None,
    placement: str = ANY_PART,
    person: str = "",
    columns: Mapping[str, str] | None = None,
    units: Mapping[str, str] | None = None,
    axes: Mapping[str, str] | None = None,
) -> tuple[Imu, tuple[str, ...]]:
    """Read one sensor and say what had to be repaired.

    csv and parquet have the columns `t_s, ax_mps2, ay_mps2, az_mps2, gx_rps, gy_rps, gz_rps`, the last three or none
    of them; npy has shape (L, 7) or (L, 4) in that order. `columns` maps these names to the file's own
    (`{"t_s": "time"}`), `units` says what it is in (`{"time": "ms", "acc": "g", "gyro": "deg/s"}`), `axes` which of
    its axes are x, y and z (`{"gyro": "y,-x,z"}`). A cell left empty is no sample: a table may hold accelerometer and
    gyroscope at different rates; or they lie in two tables, `gyro` being that of the gyroscope, on the same clock. Rows
    that are NaN, infinite, cut off, repeated or out of order are dropped or sorted, and said.

    Raises UnknownFormat (suffix), DamagedFile, UnitError (see `check_units`, `check_axes`), all naming the file;
    UsageError for a wrong `columns`, `units` or `axes`.
    """
    path = Path(path)
    problems: list[str] = []
    scale = scales(units or {})
    values = _load(path, columns or {}, problems, COLUMNS[:4] if gyro else COLUMNS)
    turning = _load(gyro, columns or {}, problems, (COLUMNS[0], *COLUMNS[4:])) if gyro else values
    if unknown := set(axes or {}) - {"acc", "gyro"}:
        raise UsageError(f"axes: {', '.join(sorted(unknown))} is not one of acc, gyro")
    ours = {"acc": "x,y,z", "gyro": "x,y,z", **(axes or {})}
    acc, rate = (
        cleaned(table[:, 0] * scale["time"], turned(table[:, at] * scale[kind], ours[kind]), what, problems)
        for table, at, kind, what in (
            (values, slice(1, 4), "acc", "accelerometer"),
            (turning, slice(4, 7), "gyro", "gyroscope"),
        )
    )
    imu = checked_imu(path, acc, rate, placement=placement, person=person, name=path.stem)
    check_axes(path, *acc, *rate)
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


def _load(path: Path, columns: Mapping[str, str], problems: list[str], needed: Sequence[str]) -> Float64:
    """(L, 7) float64, NaN where there is no gyroscope, a cell is empty or a column is not `needed`."""
    unknown = set(columns) - set(COLUMNS)
    if unknown:
        raise UsageError(f"columns: {', '.join(sorted(unknown))} is not one of {', '.join(COLUMNS)}")
    loaders = {".csv": _load_csv, ".parquet": _load_parquet, ".npy": _load_npy}
    if path.suffix.lower() not in loaders:
        raise UnknownFormat(path, f"an IMU file is {', '.join(loaders)}, not {path.suffix or 'without suffix'!r}")
    try:
        check_size(path)
        values = loaders[path.suffix.lower()](path, columns, problems, needed)
    except OSError as error:
        raise DamagedFile(path, f"cannot be read: {error.strerror or error}") from error
    if not len(values):
        raise DamagedFile(path, "holds no samples")
    return values


def check_size(path: Path) -> None:
    """Raises DamagedFile where a table is too large to be read as a whole, OSError."""
    if path.stat().st_size > MAX_BYTES:
        raise DamagedFile(path, f"is larger than {MAX_BYTES >> 20} MB, more than a day of a sensor: split it")


def _load_csv(path: Path, columns: Mapping[str, str], problems: list[str], needed: Sequence[str]) -> Float64:
    header, delimiter = _header(path)
    wanted = _choose(path, header, columns, needed)
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

    large = path.stat().st_size > THREADS_FROM_BYTES
    data = b"" if large else path.read_bytes()
    options = {
        # Any byte is a letter in Latin-1, and the numbers are the same: rows that are no UTF-8 are dropped, too.
        # Where all are ASCII nothing has to be translated.
        "read_options": pa.csv.ReadOptions(
            column_names=header,
            skip_rows=skip_rows,
            encoding="utf8" if data and data.isascii() else "latin1",
            use_threads=large,
        ),
        "parse_options": pa.csv.ParseOptions(delimiter=delimiter, invalid_row_handler=skip),
        "convert_options": pa.csv.ConvertOptions(
            column_types=dict.fromkeys(wanted, pa.float64()), include_columns=wanted, null_values=list(NO_VALUE)
        ),
    }
    try:
        # read_csv hands even little data from thread to thread, and waits for each where all cores are busy.
        small = None if large else pa.csv.open_csv(pa.py_buffer(data), **options)
        table = pa.csv.read_csv(path, **options) if small is None else small.read_all()
    except pa.ArrowInvalid as error:
        raise DamagedFile(path, f"is not a table of numbers: {_one_line(error)}") from error
    if skipped:
        if len(skipped) > table.num_rows:
            raise DamagedFile(path, f"{len(skipped)} rows do not have the {len(header)} columns of the header")
        problems.append(f"{len(skipped)} rows without all {len(header)} columns were dropped")
    return table


def _load_parquet(path: Path, columns: Mapping[str, str], problems: list[str], needed: Sequence[str]) -> Float64:
    try:
        with pa.parquet.ParquetFile(path) as file:
            wanted = _choose(path, file.schema_arrow.names, columns, needed)
            table = file.read(columns=list(wanted.values()))
            return _stack(table.cast(pa.schema([(name, pa.float64()) for name in table.column_names])), wanted)
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise DamagedFile(path, f"is not a parquet table of numbers: {_one_line(error)}") from error


def _load_npy(path: Path, columns: Mapping[str, str], problems: list[str], needed: Sequence[str]) -> Float64:
    if columns or tuple(needed) != COLUMNS:
        raise UsageError(
            f"{path}: an npy file holds {', '.join(COLUMNS)} in this order: neither columns nor another table can "
            f"be named"
        )
    values = load_npy(path)
    if values.ndim != 2 or values.shape[1] not in (4, 7):
        raise DamagedFile(path, f"must have shape (L, 7) or (L, 4), not {values.shape}")
    if values.dtype.kind not in "fiu":
        raise DamagedFile(path, f"must hold numbers, not {values.dtype}")
    full = np.full((len(values), 7), np.nan)
    full[:, : values.shape[1]] = values
    return full


def _choose(path: Path, header: list[str], columns: Mapping[str, str], needed: Sequence[str]) -> dict[str, str]:
    """Our name → the file's name, for all that is needed; of all seven the gyroscope's three may be absent."""
    names = {name: columns.get(name, name) for name in needed}
    absent = [name for name, own in names.items() if own not in header]
    if tuple(needed) == COLUMNS and absent == list(COLUMNS[4:]) and not set(absent) & set(columns):
        names = {name: own for name, own in names.items() if name not in absent}
    elif absent:
        raise DamagedFile(
            path,
            f"has no column {', '.join(names[name] for name in absent)}; it has {', '.join(header)[:200]}: "
            'name its own as "columns": {"t_s": …, "ax_mps2": …} in a recording.json or, for many, recordings.json',
        )
    if len(set(names.values())) < len(names):
        raise UsageError(f"columns: two of {', '.join(names)} are the same column of {path}")
    if any(header.count(own) > 1 for own in names.values()):
        raise DamagedFile(path, "names a column twice in its header")
    return names


def _stack(table: pa.Table, wanted: Mapping[str, str]) -> Float64:
    values = np.full((table.num_rows, 7), np.nan)
    for i, name in enumerate(COLUMNS):
        if name in wanted:
            values[:, i] = table.column(wanted[name]).to_numpy()
    return values


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
