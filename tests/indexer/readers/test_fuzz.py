"""Files garbled at random: whatever comes of it is a recording or an error of the tree that names a file."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import scipy.io
from archives import (
    G,
    ego4d_csv,
    ego4d_narrations,
    egohumans,
    epic_csvs,
    film,
    gcsv,
    imu_cdr,
    imu_json,
    imu_ros1,
    insta360,
    mcap,
    mmpose,
    mobifall_log,
    mri_csv,
    openpose,
    shaken,
    total_capture,
    turning,
    uid,
    wxyz,
)

from motionseek.errors import MotionseekError
from motionseek.indexer.readers import content_id, discover, read

HEADER = "t_s,ax_mps2,ay_mps2,az_mps2,gx_rps,gy_rps,gz_rps"
T_S = np.arange(300) / 50
ACC, GYRO = shaken(T_S)
ROWS = np.c_[T_S, ACC, GYRO]
NS = (1_700_000_000 * 10**9 + T_S * 1e9).astype(np.int64)


def _csv(folder: Path) -> Path:
    np.savetxt(folder / "watch.csv", ROWS, delimiter=",", header=HEADER, comments="", fmt="%.5f")
    return folder / "watch.csv"


def _npy(folder: Path) -> Path:
    np.save(folder / "watch.npy", ROWS)
    return folder / "watch.npy"


def _parquet(folder: Path) -> Path:
    pa.parquet.write_table(pa.table(dict(zip(HEADER.split(","), ROWS.T, strict=True))), folder / "watch.parquet")
    return folder / "watch.parquet"


def _manifest(folder: Path) -> Path:
    _csv(folder)
    mmpose(folder / "pose.json", np.ones((20, 17, 3)))
    held = {
        "imu": [{"path": "watch.csv", "placement": "left_wrist", "units": {"acc": "m/s2"}}],
        "pose": [{"path": "pose.json", "person": "a", "image_size": [64, 48], "rate_hz": 30}],
        "narrations": [{"start_s": 1, "end_s": 2, "text": "walks"}],
        "labels": ["walk"],
    }
    (folder / "recording.json").write_text(json.dumps(held))
    return folder / "recording.json"


def _ego4d(folder: Path) -> Path:
    ego4d_narrations(folder, {uid(1): ([(3.0, "#C C walks")], [])})
    return ego4d_csv(folder, uid(1), T_S * 1000, ACC, GYRO)


def _narrations(folder: Path) -> Path:
    _ego4d(folder)
    return folder / "v1" / "annotations" / "narration.json"


def _ego4d_json(folder: Path) -> Path:
    film(folder / "v1" / "clips" / f"{uid(5)}.mp4")
    _ego4d(folder)
    clip = {"clip_uid": uid(5), "video_uid": uid(1), "video_start_sec": 1.0, "video_end_sec": 3.0}
    catalog = {"videos": [{"video_uid": uid(1), "duration_sec": 6.0}], "clips": [clip]}
    (folder / "v1" / "ego4d.json").write_text(json.dumps(catalog))
    return folder / "v1" / "ego4d.json"


def _epic(folder: Path) -> Path:
    return epic_csvs(folder, "P01_101", T_S * 1000, ACC, T_S * 1000, GYRO)


def _epic_narrations(folder: Path) -> Path:
    _epic(folder)
    path = folder / "EPIC_100_train.csv"
    path.write_text(
        "narration_id,participant_id,video_id,narration,start_timestamp,stop_timestamp\n"
        + "".join(f'P01_101_{i},P01,P01_101,"open, door",00:00:0{i}.5,00:00:0{i}.9\n' for i in range(5))
    )
    return path


def _total_capture(folder: Path) -> Path:
    turned, gyro = turning(T_S)
    acc = turned.inv().apply([0, 0, G])
    names = ("Head", "L_LowArm", "Pelvis")
    held = dict.fromkeys(names, wxyz(turned)), dict.fromkeys(names, np.c_[acc, gyro, gyro])
    return total_capture(folder / "s1_acting1_Xsens_AuxFields.sensors", range(1, 301), *held)


def _mri(folder: Path) -> Path:
    turned, _ = turning(T_S)
    root = folder / "subject1"
    root.mkdir(parents=True)
    for n in (1, 2, 4, 5):
        mri_csv(root / f"IMU{n}.csv", turned.inv().apply([0, 0, 1.0]), wxyz(turned))
    return root / "IMU2.csv"


def _mobifall(folder: Path) -> Path:
    mobifall_log(folder, "JOG_gyro_2_1", NS, GYRO)
    return mobifall_log(folder, "JOG_acc_2_1", NS, ACC)


def _mobifall_npz(folder: Path) -> Path:
    path = folder / "mobifall.npz"
    one = {"activity": np.array(["JOG"]), "subject": [1], "trial": [1], "acc_len": [300], "gyro_len": [300]}
    np.savez(path, **one, acc_t_ns=NS, gyro_t_ns=NS, acc_mps2=ACC, gyro_rps=GYRO)
    return path


def _utd_npz(folder: Path) -> Path:
    path = folder / "utd.npz"
    skeleton = np.ones((180, 20, 3), np.float32) * [0, 0, 3]
    imu = np.c_[ACC / G, GYRO].astype(np.float32)
    np.savez(path, trial=np.array([[1, 1, 1]]), imu=imu, imu_len=[300], skel_xyz_m=skeleton, skel_len=[180])
    return path


def _utd_mat(folder: Path) -> Path:
    for name in ("Inertial", "Skeleton"):
        (folder / name).mkdir()
    scipy.io.savemat(folder / "Skeleton" / "a1_s1_t1_skeleton.mat", {"d_skel": np.ones((20, 3, 180))})
    path = folder / "Inertial" / "a1_s1_t1_inertial.mat"
    scipy.io.savemat(path, {"d_iner": np.c_[ACC / G, GYRO]}, do_compression=True)
    return path


def _mcap(encode: Callable[..., bytes], schema: str, encoding: str, **options: object) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        messages = [(t, encode(t, a, g)) for t, a, g in zip(NS.tolist(), ACC, GYRO, strict=True)]
        return mcap(folder / "run.mcap", {"/imu": (schema, encoding, messages)}, chunk_size=4096, **options)

    return make


def _openpose(folder: Path) -> Path:
    film(folder / "a.mp4")
    return openpose(folder, "a", [np.ones((25, 3))] * 5)


def _camera(folder: Path) -> Path:
    return insta360(folder / "a.mp4", T_S * 1e3, ACC / G, GYRO)


def _egohumans(folder: Path) -> Path:
    held = egohumans(folder, "01_tagging", {"cam01": {"aria01": np.ones((5, 17, 3))}})
    return held / "poses2d" / "cam01" / "rgb" / "00003.npy"


def _mri_labels(folder: Path) -> Path:
    _mri(folder / "imu")
    path = folder / "pose_labels" / "subject1_all_labels.cpl"
    path.parent.mkdir()
    held = {"imu_avail_frames": [3, 302], "video_label": {"walk": np.array([1, 9])}, "pose_2d_l": np.ones((300, 2, 17))}
    path.write_bytes(pickle.dumps(held))
    return path


KINDS: dict[str, Callable[[Path], Path]] = {
    "csv": _csv,
    "npy": _npy,
    "parquet": _parquet,
    "manifest": _manifest,
    "ego4d": _ego4d,
    "ego4d narrations": _narrations,
    "ego4d catalog": _ego4d_json,
    "epic": _epic,
    "epic narrations": _epic_narrations,
    "total capture": _total_capture,
    "mri": _mri,
    "mri labels": _mri_labels,
    "egohumans": _egohumans,
    "mobifall": _mobifall,
    "mobifall npz": _mobifall_npz,
    "utd npz": _utd_npz,
    "utd mat": _utd_mat,
    "mcap cdr": _mcap(imu_cdr, "sensor_msgs/msg/Imu", "cdr"),
    "mcap ros1": _mcap(imu_ros1, "sensor_msgs/Imu", "ros1"),
    "mcap json": _mcap(imu_json, "foxglove.Imu", "json"),
    "openpose": _openpose,
    "mp4": lambda folder: film(folder / "a.mp4"),
    "mkv": lambda folder: film(folder / "a.mkv"),
    "insta360": _camera,
    "gcsv": lambda folder: gcsv(folder / "a.gcsv", T_S, ACC, GYRO),
}


def garbled(held: bytes, rng: np.random.Generator) -> bytes:
    """Cut off, overwritten, with a stretch doubled or left out."""
    data = bytearray(held)
    how = rng.integers(4)
    if how == 0:
        return bytes(data[: rng.integers(len(data) + 1)])
    if how == 1:
        for at in rng.integers(len(data), size=rng.integers(1, 20)):
            data[at] = rng.integers(256)
        return bytes(data)
    first, stop = sorted(rng.integers(len(data) + 1, size=2).tolist())
    stop = min(stop, first + 500)
    return bytes(data[:first] + data[stop:]) if how == 2 else bytes(data[:stop] + data[first:])


def tried(root: Path) -> str:
    """What becomes of all that is found in a folder. Raises what is not of the tree."""
    said = set()
    for source in discover([root]):
        try:
            content_id(source)
            said.add("partial" if read(source).problems else "ok")
        except MotionseekError:
            said.add("failed")
    return " ".join(sorted(said))


def fuzz(kind: str, folder: Path, times: int, seed: int = 0) -> dict[str, int]:
    """`times` garbled copies of a kind; how often which came out."""
    rng = np.random.default_rng([seed, sum(kind.encode())])
    root = folder / "take"
    root.mkdir(exist_ok=True)
    path = KINDS[kind](root)
    held, counts = path.read_bytes(), dict[str, int]()
    for i in range(times):
        path.write_bytes(garbled(held, rng))
        os.utime(path, ns=(i * 10**9, i * 10**9))
        try:
            outcome = tried(root)
        except BaseException:
            shutil.copy(path, folder / f"culprit-{i}-{path.name}")
            raise
        counts[outcome] = counts.get(outcome, 0) + 1
    return counts


@pytest.mark.parametrize("kind", KINDS)
def test_garbled_files_give_errors_of_the_tree(tmp_path: Path, kind: str) -> None:
    assert sum(fuzz(kind, tmp_path, 4).values()) == 4


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_many_garbled_files_give_errors_of_the_tree(tmp_path: Path, kind: str) -> None:
    assert sum(fuzz(kind, tmp_path, 60, seed=1).values()) == 60


def test_what_is_not_garbled_is_read(tmp_path: Path) -> None:
    for kind, make in KINDS.items():
        root = tmp_path / kind
        root.mkdir()
        make(root)
        assert "ok" in tried(root), kind
    assert zipfile.is_zipfile(tmp_path / "utd npz" / "utd.npz")
