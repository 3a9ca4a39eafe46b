"""What people's folders hold besides recordings: one run over all of it.

Each row below makes one thing that is wrong (or looks wrong and is not) in a folder of its own, beside the same good
recording, and says what must become of it: indexed ("ok"), indexed with a reason ("partial"), refused with a reason
("failed"), or passed over ("absent"). Whatever it is, the good recordings are indexed.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import scipy.io
from synthetic import Linear

import motionseek.demo
from motionseek.cli import main
from motionseek.errors import UnitError
from motionseek.indexer.catalog import read_again
from motionseek.indexer.pipeline import index
from motionseek.indexer.store import Store
from motionseek.types import Imu

sys.path.append(str(Path(__file__).parent / "readers"))
from archives import (
    ego4d_csv,
    ego4d_narrations,
    epic_csvs,
    film,
    gcsv,
    imu_cdr,
    insta360,
    mcap,
    mobifall_log,
    openpose,
    shaken,
    total_capture,
    uid,
    write_csv,
)

G = 9.80665
HEADER = "t_s,ax_mps2,ay_mps2,az_mps2,gx_rps,gy_rps,gz_rps"
T_S = np.arange(600) / 50
SIX = np.concatenate(shaken(T_S), axis=1)
ROOT = os.geteuid() == 0
"""Root reads everything: for root, files without permission are just files."""


@dataclass(frozen=True)
class Bad:
    name: str
    make: Callable[[Path], Path]
    """Makes it in an empty folder; the path by which the archive must know it."""
    status: str
    said: str = ""


def table(folder: Path, x: Any = SIX, t_s: Any = T_S, name: str = "watch.csv") -> Path:
    return write_csv(folder / name, HEADER, np.c_[t_s, x].tolist())


def raw(name: str, content: bytes | str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return make


def changed(change: Callable[[np.ndarray, np.ndarray], None]) -> Callable[[Path], Path]:
    """A table whose times and samples `change` changes in place."""

    def make(folder: Path) -> Path:
        t_s, x = T_S.copy(), SIX.copy()
        change(t_s, x)
        return table(folder, x, t_s)

    return make


def scaled(acc: float = 1.0, gyro: float = 1.0, time: float = 1.0) -> Callable[[Path], Path]:
    return lambda folder: table(folder, SIX * np.repeat([acc, gyro], 3), T_S * time)


def put(where: Any, value: float, column: int | None = None) -> Callable[[np.ndarray, np.ndarray], None]:
    """Of the samples `where`: a value in a column, or as the time."""

    def change(t_s: np.ndarray, x: np.ndarray) -> None:
        if column is None:
            t_s[where] = value
        else:
            x[where, column] = value

    return change


def manifest(**held: Any) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        table(folder)
        (folder / "recording.json").write_text(json.dumps(held))
        return folder

    return make


def worn(**more: Any) -> dict[str, Any]:
    return {"path": "watch.csv", "placement": "left_wrist", **more}


def cut(make: Callable[[Path], Path], share: float, name: str = "") -> Callable[[Path], Path]:
    """The first `share` of the bytes of what `make` makes."""

    def make_cut(folder: Path) -> Path:
        made = make(folder)
        path = made / name if name else made
        held = path.read_bytes()
        path.write_bytes(held[: int(len(held) * share)])
        return made

    return make_cut


def packed(folder: Path) -> Path:
    path = folder / "trials.npz"
    np.savez_compressed(
        path,
        trial=np.array([[1, 1, 1]], np.int16),
        imu=SIX.astype(np.float32) / [G, G, G, 1, 1, 1],
        imu_len=[len(SIX)],
        skel_xyz_m=np.ones((200, 20, 3), np.float32) * [0, 0, 3],
        skel_len=[200],
    )
    return path


def log(folder: Path) -> Path:
    ns = (1_700_000_000 * 10**9 + T_S * 1e9).astype(np.int64).tolist()
    messages = [(t, imu_cdr(t, row[:3], row[3:])) for t, row in zip(ns, SIX, strict=True)]
    return mcap(folder / "run.mcap", {"/imu": ("sensor_msgs/msg/Imu", "cdr", messages)}, chunk_size=8192)


def parquet(folder: Path) -> Path:
    path = folder / "watch.parquet"
    pa.parquet.write_table(pa.table(dict(zip(HEADER.split(","), np.c_[T_S, SIX].T, strict=True))), path)
    return path


def npy(folder: Path) -> Path:
    np.save(folder / "watch.npy", np.c_[T_S, SIX])
    return folder / "watch.npy"


class _Explosive:
    def __reduce__(self) -> Any:
        return os.mkdir, ("exploded",)


def pickled(folder: Path) -> Path:
    np.save(folder / "watch.npy", np.array([_Explosive()], dtype=object), allow_pickle=True)
    return folder / "watch.npy"


def claims(folder: Path) -> Path:
    """An array that says it has 10¹⁵ rows."""
    head = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000000, 7), }".ljust(117) + b"\n"
    (folder / "watch.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + bytes(64))
    return folder / "watch.npy"


def huge(folder: Path) -> Path:
    """A table of a gigabyte, most of which is a hole."""
    path = table(folder)
    with path.open("r+b") as file:
        file.truncate(1100 << 20)
    return path


def mat(folder: Path) -> Path:
    path = folder / "Inertial" / "a1_s1_t1_inertial.mat"
    path.parent.mkdir()
    scipy.io.savemat(path, {"d_iner": SIX / [G, G, G, 1, 1, 1]})
    return path


def linked(folder: Path) -> Path:
    """A folder that holds itself, and a way round through another."""
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "a" / "self").symlink_to(folder / "a")
    (folder / "a" / "b" / "up").symlink_to("..")
    return table(folder / "a" / "b")


def without_permission(folder: Path) -> Path:
    path = table(folder)
    path.chmod(0)
    return path


def closed_folder(folder: Path) -> Path:
    table(folder / "closed")
    (folder / "closed").chmod(0)
    return folder / "closed" / "watch.csv" if ROOT else folder / "closed"


def undecodable(folder: Path) -> Path:
    raw_path = os.fsencode(folder) + b"/w\xffatch.csv"
    with open(raw_path, "wb") as file:
        file.write(table(folder, name="other.csv").read_bytes())
    (folder / "other.csv").unlink()
    return Path(raw_path.decode("utf-8", "backslashreplace"))


def another(name: str, n: int) -> Callable[[Path], Path]:
    """A good table, of which there is no copy."""
    return lambda folder: table(folder, SIX + 0.017 * n, name=name)


def named(name: str) -> Callable[[Path], Path]:
    return lambda folder: table(folder, name=name)


def special(kind: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / ("x.mp4" if kind == "folder" else "watch.csv")
        if kind == "folder":
            path.mkdir()
        elif kind == "fifo":
            os.mkfifo(path)
        elif kind == "dangling":
            path.symlink_to("nowhere.csv")
        elif kind == "socket":
            here = os.getcwd()
            os.chdir(folder)  # the name of a socket is at most 108 bytes long
            with socket.socket(socket.AF_UNIX) as held:
                held.bind(path.name)
            os.chdir(here)
        return path

    return make


def ego4d(narrations: str | None) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = ego4d_csv(folder, uid(1), T_S * 1000, SIX[:, :3], SIX[:, 3:])
        if narrations is not None:
            told = ego4d_narrations(folder, {uid(1): ([(3.0, "#C C walks")], [])})
            told.write_text(told.read_text()[:200] if narrations == "cut" else narrations)
        return path

    return make


def without_gyro_file(folder: Path) -> Path:
    path = epic_csvs(folder, "P01_101", T_S * 1000, SIX[:, :3], T_S * 1000, SIX[:, 3:])
    (path.parent / "P01_101-gyro.csv").unlink()
    return path


def phone(folder: Path) -> Path:
    mobifall_log(folder, "JOG_gyro_2_1", (T_S * 1e9).astype(np.int64), SIX[:, 3:])
    path = mobifall_log(folder, "JOG_acc_2_1", (T_S * 1e9).astype(np.int64), SIX[:, :3])
    path.write_text(path.read_text().partition("@DATA")[0])
    return path


def total_capture_without_frames(folder: Path) -> Path:
    one = {"Head": np.array([[1.0, 0, 0, 0]] * 5)}
    path = total_capture(folder / "s1_acting1_Xsens.sensors", range(1, 6), one, {"Head": np.ones((5, 3))})
    path.write_text(path.read_text().partition("\n")[0] + "\n")
    return path


def egohumans(folder: Path) -> Path:
    (folder / "processed_data" / "poses2d").mkdir(parents=True)
    return folder / "processed_data"


def gopro(share: float) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        held = (Path(next(iter(motionseek.demo.__path__))) / "samples" / "max-heromode.mp4").read_bytes()
        (folder / "GX01.mp4").write_bytes(held[: int(len(held) * share)])
        return folder / "GX01.mp4"

    return make


def twisted(t_s: np.ndarray, x: np.ndarray) -> None:
    """A slow tumble, whose gyroscope has x and y exchanged."""
    from test_checks import T_S as LONG_S
    from test_checks import tumbling

    acc, gyro = tumbling()
    at = slice(0, len(t_s))
    t_s[:] = LONG_S[at]
    x[:, :3], x[:, 3:] = acc[at], gyro[at][:, [1, 0, 2]]


NAN, INF = float("nan"), float("inf")
LINES = ["0.00,0,0,9.8,0,0,0", "0.02,0,0,9.8,0,0,0"]

KINDS = [
    # nothing, or not what its name says
    Bad("empty csv", raw("a.csv", b""), "failed", "is empty"),
    Bad("empty npy", raw("a.npy", b""), "failed", "is empty"),
    Bad("empty parquet", raw("a.parquet", b""), "failed", "is empty"),
    Bad("empty video", raw("a.mp4", b""), "failed", "is empty"),
    Bad("empty mcap", raw("a.mcap", b""), "failed", "is empty"),
    Bad("empty vrs", raw("a.vrs", b""), "failed", "is empty"),
    Bad("empty npz", raw("a.npz", b""), "failed", "is empty"),
    Bad("junk csv", raw("a.csv", bytes(range(256)) * 40), "failed", "not a text file"),
    Bad("junk video", raw("a.mp4", bytes(range(256)) * 41), "failed", "video"),
    Bad("junk vrs", raw("a.vrs", b"junk"), "failed", "not a VRS file"),
    Bad("junk mcap", raw("a.mcap", b"junk junk junk"), "failed", "not an MCAP file"),
    Bad("junk insv", raw("a.insv", b"junk insv"), "failed", "video"),
    Bad("junk gcsv", raw("a.gcsv", b"junk gcsv"), "failed", "telemetry"),
    Bad("csv called mp4", another("a.mp4", 1), "failed", "video"),
    Bad("csv called npy", another("a.npy", 2), "failed", "not an npy"),
    Bad("csv called parquet", another("a.parquet", 3), "failed", "not a parquet"),
    Bad("csv called mcap", another("a.mcap", 4), "failed", "not an MCAP"),
    Bad("video called csv", lambda f: film(f / "a.mp4").rename(f / "a.csv"), "failed", "not a text file"),
    Bad("text file", raw("notes.txt", "she jumps"), "absent"),
    Bad("no suffix", raw("watch", HEADER), "absent"),
    Bad("hidden", named(".watch.csv"), "absent"),
    # a table that is none
    Bad("header only", raw("a.csv", HEADER + "\n"), "failed", "holds no samples"),
    Bad("one sample", raw("a.csv", "\n".join([HEADER, LINES[0]])), "failed", "a single accelerometer sample"),
    Bad("no header", raw("a.csv", "\n".join(LINES * 9)), "failed", "has no column t_s"),
    Bad("other columns", raw("a.csv", "time,x,y,z\n0,0,0,9.8\n"), "failed", "has no column t_s"),
    Bad("column twice", raw("a.csv", HEADER + ",t_s\n0,0,0,9.8,0,0,0,0\n"), "failed", "names a column twice"),
    Bad("column twice, no gyro", raw("a.csv", f"{HEADER[:27]},t_s\n0,0,0,9.8,0\n"), "failed", "names a column twice"),
    Bad("words", raw("a.csv", HEADER + "\n0,zero,0,9.8,0,0,0\n"), "failed", "not a table of numbers"),
    Bad("too few columns", raw("a.csv", HEADER + "\n" + "0,0,0\n" * 9), "failed", "do not have the 7 columns"),
    Bad("a cut line", raw("a.csv", "\n".join([HEADER, *map(",".join, np.c_[T_S, SIX].astype(str)), "1,2"])), "partial"),
    Bad("three dimensions", lambda f: (np.save(f / "a.npy", np.ones((2, 3, 4))), f / "a.npy")[1], "failed", "shape"),
    Bad("letters in npy", lambda f: (np.save(f / "a.npy", np.full((9, 7), "x")), f / "a.npy")[1], "failed", "numbers"),
    Bad("pickled npy", pickled, "failed", "Object arrays"),
    Bad("npy that claims 10^15 rows", claims, "failed", "do not hold"),
    Bad("1 GB csv", huge, "failed", "larger than 1000 MB"),
    # numbers that cannot be
    Bad("all NaN", changed(put(slice(None), NAN, 0)), "failed", "no accelerometer sample"),
    Bad("some NaN", changed(put(slice(50, 90), NAN, 1)), "partial", "40 accelerometer samples that are not finite"),
    Bad("infinite", changed(put(7, INF, 2)), "partial", "1 accelerometer samples that are not finite"),
    Bad("gyroscope NaN", changed(put(slice(9), NAN, 4)), "partial", "gyroscope samples that are not finite"),
    Bad("beyond float", changed(put(slice(None), 1e300, 0)), "failed", "on average"),
    Bad("g for m/s²", scaled(acc=1 / G), "failed", "it looks like g"),
    Bad("m/s² taken for g", scaled(acc=G), "failed", "it looks like m/s² taken for g"),
    Bad("milli-g", scaled(acc=1000 / G), "failed", "it looks like milli-g"),
    Bad("degrees for radians", scaled(gyro=180 / np.pi), "failed", "it looks like deg/s"),
    Bad(
        "gravity taken out",
        lambda f: table(f, SIX - [0, 0, G, 0, 0, 0]),
        "failed",
        "gravity seems to have been taken out",
    ),
    Bad("sensors exchanged", lambda f: table(f, SIX[:, [3, 4, 5, 0, 1, 2]]), "failed", "seem to be exchanged"),
    Bad("swapped axes", changed(twisted), "failed", 'with "axes": {"gyro": "y,x,z"}'),
    # clocks
    Bad("milliseconds", scaled(time=1e3), "failed", "it looks like ms"),
    Bad("nanoseconds", scaled(time=1e9), "failed", "it looks like ns"),
    Bad("a sample a second", scaled(time=50), "failed", "no rate of a sensor"),
    Bad("10-hour gap", changed(lambda t, x: put(slice(300, None), 0)(t * 0, x) or t[300:].__iadd__(36_000)), "ok"),
    Bad("a gap of years", changed(lambda t, x: t[300:].__iadd__(1e9)), "failed", "broken clock"),
    Bad("no times", changed(put(slice(None), NAN)), "failed", "no accelerometer sample"),
    Bad("some times missing", changed(put(slice(5, 9), NAN)), "partial", "4 rows without a time"),
    Bad("infinite time", changed(put(5, INF)), "partial", "1 rows without a time"),
    Bad("time stands still", changed(put(slice(None), 1.0)), "failed", "a single accelerometer sample"),
    Bad("a time twice", changed(put(100, T_S[99])), "partial", "at a repeated time"),
    Bad("a step back", changed(put(100, T_S[98] + 0.001)), "partial", "were sorted"),
    Bad("a stray time", changed(put(100, 9e9)), "partial", "a stamp far from all others"),
    Bad("clock set back", changed(lambda t, x: t[400:].__isub__(5.003)), "partial", "was set back by up to"),
    Bad("times backwards", changed(lambda t, x: t.__imul__(-1)), "partial", "were sorted"),
    # names and places
    Bad("unicode", named("Läufe 走る 🏃.csv"), "ok"),
    Bad("newline", named("a\nb.csv"), "ok"),
    Bad("quotes", named('it\'s "a"; DROP TABLE.csv'), "ok"),
    Bad("hash", named("a#b.csv"), "ok"),
    Bad("very long", named("a" * 240 + ".csv"), "ok"),
    Bad("upper case", named("WATCH.CSV"), "ok"),
    Bad("not UTF-8", undecodable, "failed", "its name is not UTF-8"),
    Bad("symlink loop", linked, "ok"),
    Bad("dangling link", special("dangling"), "absent"),
    Bad("folder called mp4", special("folder"), "absent"),
    Bad("FIFO", special("fifo"), "absent"),
    Bad("socket", special("socket"), "absent"),
    Bad("no permission", without_permission, "ok" if ROOT else "failed", "" if ROOT else "Permission denied"),
    Bad("closed folder", closed_folder, "ok" if ROOT else "failed", "" if ROOT else "Permission denied"),
    # manifests
    Bad("manifest of nothing", manifest(), "failed", "names no stream"),
    Bad("manifest is a list", lambda f: (raw("recording.json", "[]")(f), f)[1], "failed", "must hold an object"),
    Bad("manifest is deep", lambda f: (raw("recording.json", "[" * 99_999)(f), f)[1], "failed", "not JSON"),
    Bad("manifest without file", manifest(imu={"path": "gone.csv"}), "failed", "'gone.csv' is not there"),
    Bad("manifest leaves folder", manifest(imu={"path": "../good.csv"}), "failed", "outside the recording's folder"),
    Bad("path is a number", manifest(imu={"path": 7}), "failed", "must be the name of a file"),
    Bad("unknown placement", manifest(imu=worn(placement="left_ear")), "failed", "'left_ear' is not known"),
    Bad("unknown unit", manifest(imu=worn(units={"acc": "stone"})), "failed", "acc='stone' is not known"),
    Bad("unknown column", manifest(imu=worn(columns={"t_s": "when"})), "failed", "has no column when"),
    Bad("one column for two", manifest(imu=worn(columns={"ax_mps2": "ay_mps2"})), "failed", "are the same column"),
    Bad("no such axes", manifest(imu=worn(axes={"gyro": "x,y"})), "failed", "axes must name x, y and z"),
    Bad("half characters", manifest(imu=worn(person="\ud83d"), title="\ud83d", labels=["\udc00 jump"]), "ok"),
    Bad("half a character named", manifest(imu=worn(), video={"path": "\udce9.mp4"}), "partial", "is not there"),
    Bad("duplicate placements", manifest(imu=[worn(), worn()]), "ok"),
    Bad("one of two missing", manifest(imu=[worn(), {"path": "gone.csv"}]), "partial", "'gone.csv' is not there"),
    Bad("narration backwards", manifest(imu=worn(), narrations=[{"start_s": 5, "end_s": 1, "text": "x"}]), "partial"),
    Bad("labels no list", manifest(imu=worn(), labels="walk"), "partial", "labels must be a list"),
    Bad("pose without size", manifest(imu=worn(), pose={"path": "watch.csv"}), "partial", "keypoint file"),
    # archives
    Bad("missing narrations", ego4d(None), "ok"),
    Bad("empty narrations", ego4d(""), "ok"),
    Bad("cut narrations", ego4d("cut"), "partial", "narrations cannot be read"),
    Bad("gyroscope file missing", without_gyro_file, "partial", "No such file"),
    Bad("phone log without data", phone, "failed", "holds no samples"),
    Bad("no frames", total_capture_without_frames, "failed", "does not begin with"),
    Bad("poses of no camera", egohumans, "failed", "no folder of a camera"),
    Bad("poses without video", lambda f: openpose(f, "a", [np.ones((25, 3))]), "failed", "put the video beside them"),
    Bad("mat of another kind", raw("a1_s1_t1_inertial.mat", b"junk"), "failed", "not a MAT-file"),
    Bad("trial without skeleton", mat, "partial", "no skeleton file"),
    Bad("log without sensors", lambda f: mcap(f / "a.mcap", {"/tf": ("tf", "cdr", [(1, b"x")])}), "failed", "no IMU"),
    Bad("no gravity in camera", lambda f: insta360(f / "a.mp4", T_S * 1e3, SIX[:, 3:] / 90, SIX[:, 3:]), "partial"),
    Bad("GoPro cut in half", gopro(0.5), "failed", "video"),
    # cut off at ten places each
    *(
        Bad(f"{what} cut at {share:.0%}", cut(make, share, name), status, said)
        for what, make, name, status, said in (
            ("mp4", lambda f: film(f / "a.mp4"), "", "failed", "video"),
            ("mkv", lambda f: film(f / "a.mkv"), "", "failed partial", "video"),
            ("json", manifest(imu=worn()), "recording.json", "failed", "not JSON"),
            ("npz", packed, "", "failed", "cut off or damaged"),
            ("npy", npy, "", "failed", "npy"),
            ("parquet", parquet, "", "failed", "parquet"),
            ("csv", table, "", "ok partial", ""),
            ("mcap", log, "", "partial", "cut off"),
            ("gcsv", lambda f: gcsv(f / "a.gcsv", T_S, SIX[:, :3], SIX[:, 3:]), "", "ok partial", ""),
        )
        for share in np.linspace(0.05, 0.92, 10)
    ),
]


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """All of them in one run: the report, and by kind the folder, its path and its row."""
    root = tmp_path_factory.mktemp("bad")
    known: dict[str, tuple[Path, str]] = {}
    for i, kind in enumerate(KINDS):
        folder = root / "take" / f"{i:03d}"
        folder.mkdir(parents=True)
        known[kind.name] = folder, str(kind.make(folder))
    for i in range(3):
        table(root / "take", SIX + 0.01 * i, name=f"good-{i}.csv")
    here = os.getcwd()
    os.chdir(root)
    try:
        report = index(root / "take", root / "archive", models=[Linear()], stride_s=5.0)
    finally:
        os.chdir(here)
    store = Store.open(root / "archive")
    rows = store.recordings().to_pylist()
    by_uri = {uri: row for row in rows for uri in row["uris"]}
    return {"root": root, "report": report, "known": known, "rows": by_uri, "store": store}


def test_there_are_enough_kinds() -> None:
    assert len({kind.name for kind in KINDS}) == len(KINDS)
    assert len([kind for kind in KINDS if " cut at " not in kind.name]) >= 80


def test_the_good_ones_are_indexed(indexed: dict[str, Any]) -> None:
    good = [row for uri, row in indexed["rows"].items() if Path(uri).name.startswith("good-")]
    assert [row["status"] for row in good] == ["ok"] * 3
    windows = indexed["store"].windows(columns=["recording_id"])["recording_id"].to_pylist()
    assert all(windows.count(row["recording_id"]) == 3 for row in good)
    assert not (indexed["root"] / "exploded").exists()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_what_becomes_of_it(indexed: dict[str, Any], kind: Bad) -> None:
    folder, path = indexed["known"][kind.name]
    inside = {uri: row for uri, row in indexed["rows"].items() if uri.startswith(str(folder))}
    if kind.status == "absent":
        assert inside == {}
        return
    found = [row for uri, row in inside.items() if uri == path or uri.startswith(f"{path}#")]
    assert len(found) == 1, list(inside)
    (row,) = found
    assert row["status"] in kind.status.split(), row["reason"]
    assert kind.said in row["reason"]
    assert bool(row["reason"]) == (row["status"] != "ok")
    assert "Traceback" not in row["reason"]
    assert not row["reason"].startswith(("ValueError", "KeyError", "TypeError", "IndexError"))


def test_what_is_no_film_may_be_a_table(tmp_path: Path) -> None:
    film_, table_ = another("a.mp4", 9)(tmp_path), another("b.csv", 9)(tmp_path)
    archive = tmp_path / "archive"
    assert [uri for uri, _ in index(film_, archive, models=[Linear()]).failed] == [str(film_)]
    assert index(table_, archive, models=[Linear()]).indexed == 1
    (row,) = Store.open(archive).recordings().to_pylist()
    assert (row["status"], row["source_format"]) == ("ok", "imu")


def test_units_that_are_given_are_believed(tmp_path: Path) -> None:
    path = table(tmp_path / "take", SIX * np.repeat([1 / G, 180 / np.pi], 3))
    archive = tmp_path / "a"
    for units, code in (("acc=g", 1), ("acc=g,gyro=dps", 0), ("acc=stone", 2)):
        with pytest.raises(SystemExit) as exit_:
            main(["index", str(path), "--archive", str(archive), "--units", units])
        assert (exit_.value.code or 0) == code
    rows = {row["status"]: row for row in Store.open(archive).recordings().to_pylist()}
    again = read_again(rows["ok"], str(path))
    assert again.recording_id == rows["ok"]["recording_id"]
    np.testing.assert_allclose(again.imus[0].acc_mps2, SIX[:, :3], atol=1e-4)
    np.testing.assert_allclose(Imu.load(path, units={"acc": "g", "gyro": "deg/s"}).gyro_rps, SIX[:, 3:], atol=1e-4)
    with pytest.raises(UnitError, match="--units acc=g"):
        Imu.load(path)
