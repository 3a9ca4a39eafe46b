from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from motionseek.errors import DamagedFile, MediaError, UnitError, UnknownFormat, UsageError
from motionseek.indexer.readers.checks import check_units
from motionseek.indexer.readers.tables import COLUMNS, read_imu, read_imu_checked

G = 9.80665


def samples(length: int = 400, seed: int = 0) -> np.ndarray:
    """(L, 7) of a sensor at 50 Hz that sways a little around rest."""
    rng = np.random.default_rng(seed)
    acc = np.array([0, G, 0]) + rng.normal(0, 0.3, (length, 3))
    return np.c_[np.arange(length) / 50, acc, rng.normal(0, 1, (length, 3))]


def write_csv(path: Path, table: np.ndarray, header: str = ",".join(COLUMNS), delimiter: str = ",") -> Path:
    np.savetxt(path, table, delimiter=delimiter, header=header.replace(",", delimiter), comments="", encoding="utf-8")
    return path


def save(path: Path, table: np.ndarray) -> Path:
    if path.suffix == ".csv":
        return write_csv(path, table)
    if path.suffix == ".npy":
        np.save(path, table)
    else:
        pa.parquet.write_table(pa.table(dict(zip(COLUMNS, table.T, strict=False))), path)
    return path


@pytest.mark.parametrize("suffix", ["csv", "npy", "parquet"])
def test_reads_what_was_written(tmp_path: Path, suffix: str) -> None:
    table = samples()
    imu, problems = read_imu_checked(save(tmp_path / f"watch.{suffix}", table), placement="left_wrist", person="p")
    assert problems == ()
    assert (imu.placement, imu.person, imu.name) == ("left_wrist", "p", "watch")
    np.testing.assert_allclose(imu.acc_t_s, table[:, 0])
    np.testing.assert_allclose(imu.gyro_t_s, table[:, 0])
    np.testing.assert_allclose(imu.acc_mps2, table[:, 1:4], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(imu.gyro_rps, table[:, 4:], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("suffix", ["csv", "npy", "parquet"])
def test_a_gyroscope_may_be_absent(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    if suffix == "csv":
        write_csv(path, samples()[:, :4], ",".join(COLUMNS[:4]))
    else:
        save(path, samples()[:, :4])
    imu = read_imu(path)
    assert len(imu.acc_t_s) == 400
    assert imu.gyro_rps.shape == (0, 3)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_other_names_and_units(tmp_path: Path, delimiter: str) -> None:
    table = samples()
    foreign = table / [1e-3, G, G, G, *[np.pi / 180] * 3]
    path = write_csv(tmp_path / "x.csv", foreign, "time,accX,accY,accZ,gyrX,gyrY,gyrZ", delimiter)
    columns = dict(zip(COLUMNS, ("time", "accX", "accY", "accZ", "gyrX", "gyrY", "gyrZ"), strict=True))
    imu = read_imu(path, columns=columns, units={"time": "ms", "acc": "g", "gyro": "deg/s"})
    np.testing.assert_allclose(imu.acc_t_s, table[:, 0], atol=1e-9)
    np.testing.assert_allclose(imu.acc_mps2, table[:, 1:4], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(imu.gyro_rps, table[:, 4:], rtol=1e-5, atol=1e-5)


def test_two_rates_in_one_table(tmp_path: Path) -> None:
    """Empty cells are no samples, and nothing to complain about."""
    lines = [",".join(COLUMNS)]
    for i in range(200):
        acc = "0.1,9.8,0.2" if i % 2 == 0 else ",,"
        lines.append(f"{i / 100},{acc},0.1,0.2,0.3")
    path = tmp_path / "two.csv"
    path.write_text("\n".join(lines))
    imu, problems = read_imu_checked(path)
    assert problems == ()
    assert (len(imu.acc_t_s), len(imu.gyro_t_s)) == (100, 200)
    assert imu.rate_hz == pytest.approx(50)


def test_repairs_are_made_and_said(tmp_path: Path) -> None:
    table = samples()
    broken = table.copy()
    broken[10, 2] = np.nan
    broken[20, 5] = np.inf
    broken[30, 0] = np.nan
    broken[41, 0] = broken[40, 0]
    broken[[60, 61]] = broken[[61, 60]]
    imu, problems = read_imu_checked(write_csv(tmp_path / "broken.csv", broken))
    np.testing.assert_allclose(imu.acc_t_s, np.delete(table[:, 0], [10, 30, 41]))
    np.testing.assert_allclose(imu.gyro_t_s, np.delete(table[:, 0], [20, 30, 41]))
    np.testing.assert_allclose(imu.acc_mps2, np.delete(table[:, 1:4], [10, 30, 41], axis=0), rtol=1e-6, atol=1e-6)
    said = "\n".join(problems)
    for word in ("broken.csv", "not finite", "without a time", "sorted", "repeated"):
        assert word in said


def test_a_cut_off_row_is_dropped(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "cut.csv", samples())
    path.write_text(path.read_text()[:-60])
    imu, problems = read_imu_checked(path)
    assert len(imu.acc_t_s) == 399
    assert "1 rows without all 7 columns" in problems[0]


@pytest.mark.parametrize(
    ("wrong", "factor", "says"),
    [
        ("g for m/s²", [1, 1 / G, 1 / G, 1 / G, 1, 1, 1], '"acc": "g"'),
        ("m/s² for g", [1, G, G, G, 1, 1, 1], "taken for g"),
        ("milli-g", [1, 1e3 / G, 1e3 / G, 1e3 / G, 1, 1, 1], "milli-g"),
        ("deg/s for rad/s", [1, 1, 1, 1, *[180 / np.pi] * 3], '"gyro": "deg/s"'),
        ("ms for s", [1e3, *[1] * 6], '"time": "ms"'),
        ("ns for s", [1e9, *[1] * 6], '"time": "ns"'),
        ("twice as much", [1, 2, 2, 2, 1, 1, 1], "at rest"),
    ],
)
def test_wrong_units_are_named(tmp_path: Path, wrong: str, factor: list[float], says: str) -> None:
    table = samples()
    table[100:200, 1:4] = [0, G, 0]
    path = save(tmp_path / "units.npy", table * factor)
    with pytest.raises(UnitError, match=r"units\.npy") as caught:
        read_imu(path)
    assert says in str(caught.value)


def test_gravity_taken_out_is_named(tmp_path: Path) -> None:
    table = samples() - [0, 0, G, 0, 0, 0, 0]
    table[100:200, 1:4] = 0.01
    with pytest.raises(UnitError, match="gravity seems to have been taken out"):
        read_imu(save(tmp_path / "linear.npy", table))


def test_vigorous_motion_is_not_refused() -> None:
    """Jumping at 2 Hz with half of the time in flight, and strokes of 35 rad/s."""
    t_s = np.arange(0, 4, 0.01)
    flight = (t_s * 4).astype(int) % 2 == 0
    acc = np.c_[np.where(flight, 0.3, 2 * G) + np.sin(40 * t_s), np.sin(9 * t_s), np.cos(7 * t_s)]
    gyro = np.c_[35 * np.sin(2 * np.pi * 2 * t_s), np.zeros((len(t_s), 2))]
    check_units("jumping", t_s, acc, t_s, gyro)


def test_real_sensors_pass_and_in_other_units_do_not(data_dir: Path) -> None:
    held = np.load(data_dir / "mobifall" / "mobifall_subjects_1-7.npz")
    acc = np.split(held["acc_mps2"], np.cumsum(held["acc_len"])[:-1])
    gyro = np.split(held["gyro_rps"], np.cumsum(held["gyro_len"])[:-1])
    acc_t_s = np.split(held["acc_t_ns"] * 1e-9, np.cumsum(held["acc_len"])[:-1])
    gyro_t_s = np.split(held["gyro_t_ns"] * 1e-9, np.cumsum(held["gyro_len"])[:-1])
    for ta, a, tg, g in zip(acc_t_s, acc, gyro_t_s, gyro, strict=True):
        check_units("phone", ta, a, tg, g)
        with pytest.raises(UnitError, match='"acc": "g"'):
            check_units("phone", ta, a / G, tg, g)
        with pytest.raises(UnitError, match='"gyro": "deg/s"'):
            check_units("phone", ta, a, tg, np.degrees(g))


HEADER = ",".join(COLUMNS)
BAD_FILES: dict[str, bytes] = {
    "empty.csv": b"",
    "empty.npy": b"",
    "empty.parquet": b"",
    "header.csv": HEADER.encode() + b"\n",
    "junk.csv": bytes(range(256)) * 20,
    "junk.npy": bytes(range(256)) * 20,
    "junk.parquet": bytes(range(256)) * 20,
    "words.csv": HEADER.encode() + b"\n0,a,b,c,d,e,f\n",
    "columns.csv": b"a,b,c\n1,2,3\n",
    "some_gyro.csv": b"t_s,ax_mps2,ay_mps2,az_mps2,gx_rps\n0,0,9.8,0,0\n",
    "no_values.csv": HEADER.encode() + b"\n0,,,,,,\n1,,,,,,\n",
    "nan.csv": HEADER.encode() + b"\n" + b"nan,nan,nan,nan,nan,nan,nan\n" * 5,
    "short_rows.csv": HEADER.encode() + b"\n" + b"0,1\n" * 50,
    "is_really_npy.csv": b"\x93NUMPY\x01\x00v\x00",
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files_are_refused_by_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(BAD_FILES[name])
    with pytest.raises(DamagedFile, match=name.replace(".", r"\.")):
        read_imu(tmp_path / name)


@pytest.mark.parametrize("suffix", ["npy", "parquet"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_truncated_files_are_refused(tmp_path: Path, suffix: str, share: float) -> None:
    path = save(tmp_path / f"cut.{suffix}", samples())
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(DamagedFile, match="cut"):
        read_imu(path)


def test_arrays_of_the_wrong_kind_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    for array in (np.zeros(7), np.zeros((5, 6)), np.zeros((0, 7)), np.array([["a"] * 7]), np.zeros((3, 7), complex)):
        np.save(path, array)
        with pytest.raises(DamagedFile, match=r"a\.npy"):
            read_imu(path)
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DamagedFile, match="Object arrays"):
        read_imu(path)


def test_absent_files_folders_and_other_suffixes(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    for path, error in (
        (tmp_path / "none.csv", DamagedFile),
        (tmp_path / "folder.csv", DamagedFile),
        (tmp_path / "a.xlsx", UnknownFormat),
        (tmp_path / "suffixless", UnknownFormat),
    ):
        with pytest.raises(error, match=path.name) as caught:
            read_imu(path)
        assert isinstance(caught.value, MediaError)


def test_wrong_arguments_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npy", samples())
    for arguments, says in (
        ({"units": {"acc": "G"}}, "acc='G'"),
        ({"units": {"speed": "m/s"}}, "speed"),
        ({"columns": {"t": "time"}}, "columns: t"),
        ({"columns": {"t_s": "time"}}, "npy"),
        ({"placement": "nose"}, "placement 'nose'"),
    ):
        with pytest.raises(UsageError, match=says):
            read_imu(path, **arguments)  # type: ignore[arg-type]


def test_unicode_and_newline_names(tmp_path: Path) -> None:
    path = save(tmp_path / "Ünï \n コード #1.csv", samples())
    assert len(read_imu(path).acc_t_s) == 400


def test_a_byte_order_mark_and_windows_lines(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "win.csv", samples(20))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert len(read_imu(path).acc_t_s) == 20
