"""Writers of the layouts in which the public archives come, with contents of which the truth is known."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import av
import numpy as np
from scipy.spatial.transform import Rotation

G = 9.80665


def uid(n: int) -> str:
    return f"0000000{n}-aaaa-4bbb-8ccc-000000000000"


def shaken(t_s: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(L, 3) m/s² with gravity, (L, 3) rad/s: smooth, never at rest."""
    rng = np.random.default_rng(seed)
    phase, rate = rng.uniform(0, 6, (2, 3)), rng.uniform(3, 9, (2, 3))
    wave = np.sin(rate[:, None] * t_s[:, None] + phase[:, None])
    return np.array([0, 0, G]) + 2 * wave[0], 3 * wave[1]


def turning(t_s: np.ndarray) -> tuple[Rotation, np.ndarray]:
    """Orientations (sensor → world, z up) of a tumbling sensor, and its turn rate (L, 3) in its own axes, rad/s."""
    a, b = 2.0 * np.sin(1.3 * t_s), 0.7 * t_s
    da, db = 2.6 * np.cos(1.3 * t_s), np.full(len(t_s), 0.7)
    orientation = Rotation.from_rotvec(np.outer(b, [0, 0, 1])) * Rotation.from_rotvec(np.outer(a, [1, 0, 0]))
    # ω = ȧ x + R(a)ᵀ ḃ z, the second turn first
    return orientation, np.stack([da, db * np.sin(a), db * np.cos(a)], axis=1)


def wxyz(orientation: Rotation) -> np.ndarray:
    return orientation.as_quat(scalar_first=True)


def write_csv(path: Path, header: str, rows: Iterable[Iterable[Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *(",".join(str(v) for v in row) for row in rows)]) + "\n")
    return path


def film(path: Path, seconds: float = 2.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format={".mkv": "matroska"}.get(path.suffix, "mp4")) as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height = 64, 48
        for i in range(round(seconds * 10)):
            picture = np.full((48, 64, 3), i % 250, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def ego4d_csv(root: Path, video: str, t_ms: Iterable[Any], acc: np.ndarray, gyro: np.ndarray) -> Path:
    header = "component_idx,component_timestamp_ms,canonical_timestamp_ms,gyro_x,gyro_y,gyro_z,accl_x,accl_y,accl_z"
    rows = ((0, i * 5, t, *g, *a) for i, (t, g, a) in enumerate(zip(t_ms, gyro.tolist(), acc.tolist(), strict=True)))
    return write_csv(root / "v1" / "imu" / f"{video}.csv", header, rows)


def ego4d_narrations(root: Path, told: Mapping[str, tuple[list[tuple[float, str]], list[tuple[float, str]]]]) -> Path:
    def told_in(one: list[tuple[float, str]]) -> dict[str, Any]:
        return {
            "narrations": [
                {"timestamp_sec": t, "timestamp_frame": int(t * 30), "narration_text": s, "annotation_uid": uid(9)}
                for t, s in one
            ],
            "summaries": [{"start_sec": 0, "end_sec": 300, "summary_text": "#summary C was in a room"}],
        }

    videos = {
        video: {"narration_pass_1": told_in(one), "narration_pass_2": told_in(two), "status": "complete"}
        for video, (one, two) in told.items()
    }
    path = root / "v1" / "annotations" / "narration.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"version": "v1", "videos": videos}, indent=1))
    return path


def epic_csvs(
    root: Path, video: str, acc_ms: np.ndarray, acc: np.ndarray, gyro_ms: np.ndarray, gyro: np.ndarray
) -> Path:
    folder = root / video[:3] / "meta_data"
    write_csv(folder / f"{video}-gyro.csv", "Milliseconds,GyroX,GyroY,GyroZ", np.c_[gyro_ms, gyro].tolist())
    return write_csv(folder / f"{video}-accl.csv", "Milliseconds,AcclX,AcclY,AcclZ", np.c_[acc_ms, acc].tolist())


def mri_csv(path: Path, acc_g: np.ndarray, quaternion: np.ndarray) -> Path:
    rows = ((i, *row) for i, row in enumerate(np.c_[acc_g, quaternion].tolist()))
    return write_csv(path, "frame,axg,ayg,azg,q0,q1,q2,q3", rows)


def total_capture(
    path: Path, frames: Iterable[int], quaternions: Mapping[str, np.ndarray], others: Mapping[str, np.ndarray]
) -> Path:
    """others: acceleration (F, 3), or with gyroscope and magnetometer (F, 9)."""
    lines = []
    for i, frame in enumerate(frames):
        lines.append(str(frame))
        for name, q in quaternions.items():
            lines.append("\t".join([name, *(f"{v:.9f}" for v in (*q[i], *others[name][i]))]))
    count = sum("\t" not in line for line in lines)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([f"{len(quaternions)}\t{count}", *lines]) + "\n")
    return path


def mobifall_log(folder: Path, name: str, t_ns: np.ndarray, x: np.ndarray) -> Path:
    header = [
        "#Acceleration force along the x y z axes (including gravity).",
        "#timestamp(ns),x,y,z(m/s^2)",
        "#Datetime: 05/07/2013 11:27:39",
        "##########################################",
        "#Activity: 3 - JOG - Jogging - 30s",
        "#Subject ID: 2",
        "##########################################",
        "",
        "",
        "@DATA",
    ]
    rows = (f"{t}, {a!r}, {b!r}, {c!r}" for t, (a, b, c) in zip(t_ns.tolist(), x.tolist(), strict=True))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.txt"
    path.write_text("\n".join([*header, *rows]) + "\n")
    return path


def mmpose(path: Path, keypoints: np.ndarray, *, first: int = 1) -> Path:
    """keypoints: (N, 17, 3)."""
    frames = [
        {"frame_id": i + first, "instances": [{"keypoints": k[:, :2].tolist(), "keypoint_scores": k[:, 2].tolist()}]}
        for i, k in enumerate(keypoints)
    ]
    path.write_text(json.dumps({"meta_info": {"dataset_name": "coco"}, "instance_info": frames}))
    return path


def openpose(folder: Path, name: str, bodies: Iterable[np.ndarray | None]) -> Path:
    """A file a frame as --write_json makes them; bodies: (25 or 18, 3), None: nobody. Returns the first."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for i, body in enumerate(bodies):
        blank: dict[str, Any] = {"person_id": [-1], "face_keypoints_2d": [], "pose_keypoints_3d": []}
        people = [] if body is None else [blank | {"pose_keypoints_2d": body.reshape(-1).tolist()}]
        files.append(folder / f"{name}_{i:012d}_keypoints.json")
        files[-1].write_text(json.dumps({"version": 1.3, "people": people}))
    return files[0]


def imu_cdr(
    stamp_ns: int, acc: np.ndarray, gyro: np.ndarray | None, frame: str = "imu_link", *, order: str = "<"
) -> bytes:
    """sensor_msgs/Imu as ROS 2 serialises it; without gyro its first covariance is -1."""
    head = struct.pack(order + "iI", *divmod(stamp_ns, 10**9))
    head += struct.pack(order + "I", len(frame) + 1) + frame.encode() + b"\0"
    head += b"\0" * (-len(head) % 8)
    turn, known = ((0, 0, 0), -1.0) if gyro is None else (tuple(gyro), 0.0)
    doubles = (*(0, 0, 0, 1), *[0] * 9, *turn, known, *[0] * 8, *acc, *[0] * 9)
    return bytes([0, 1 if order == "<" else 0, 0, 0]) + head + struct.pack(order + "37d", *doubles)


def imu_ros1(stamp_ns: int, acc: np.ndarray, gyro: np.ndarray, frame: str = "imu_link") -> bytes:
    head = struct.pack("<III", 7, *divmod(stamp_ns, 10**9)) + struct.pack("<I", len(frame)) + frame.encode()
    return head + struct.pack("<37d", *(0, 0, 0, 1), *[0] * 9, *gyro, *[0] * 9, *acc, *[0] * 9)


def imu_json(stamp_ns: int, acc: np.ndarray, gyro: np.ndarray) -> bytes:
    sec, nsec = divmod(stamp_ns, 10**9)
    vectors = {
        name: dict(zip("xyz", v.tolist(), strict=True))
        for name, v in (("linear_acceleration", acc), ("angular_velocity", gyro))
    }
    return json.dumps({"timestamp": {"sec": sec, "nsec": nsec}, **vectors}).encode()


def mcap(path: Path, topics: Mapping[str, tuple[str, str, Iterable[tuple[int, bytes]]]], **options: Any) -> Path:
    """topics: name → schema's name, encoding, messages as (log time in ns, bytes). options: of mcap's Writer."""
    from mcap.writer import Writer

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        writer = Writer(file, **options)
        writer.start()
        for name, (schema, encoding, messages) in topics.items():
            kind = {"cdr": "ros2msg", "ros1": "ros1msg", "json": "jsonschema"}.get(encoding, encoding)
            channel = writer.register_channel(name, encoding, writer.register_schema(schema, kind, b""))
            for at_ns, data in messages:
                writer.add_message(channel, at_ns, data, at_ns)
        writer.finish()
    return path


def picture_cdr(stamp_ns: int, data: bytes, said: str, *, foxglove: bool = False) -> bytes:
    """A CompressedImage as ROS 2 serialises it: sensor_msgs', or foxglove_msgs', whose format comes last."""

    def put(message: bytes, held: bytes) -> bytes:
        return message + b"\0" * (-len(message) % 4) + struct.pack("<I", len(held)) + held

    message = put(struct.pack("<iI", *divmod(stamp_ns, 10**9)), b"camera\0")
    text = said.encode() + b"\0"
    for held in (data, text) if foxglove else (text, data):
        message = put(message, held)
    return b"\0\1\0\0" + message


def picture_ros1(stamp_ns: int, data: bytes, said: str) -> bytes:
    head = struct.pack("<III", 7, *divmod(stamp_ns, 10**9))
    return head + b"".join(struct.pack("<I", len(held)) + held for held in (b"cam", said.encode(), data))


def picture_protobuf(stamp_ns: int, data: bytes, said: str, *, numbers: tuple[int, int, int]) -> bytes:
    """foxglove's; numbers: of the fields frame_id, data and format."""

    def varint(value: int) -> bytes:
        low = bytes([value & 127 | (128 if value > 127 else 0)])
        return low + (varint(value >> 7) if value > 127 else b"")

    def put(number: int, held: bytes) -> bytes:
        return varint(number << 3 | 2) + varint(len(held)) + held

    seconds, rest = divmod(stamp_ns, 10**9)
    stamp = varint(1 << 3) + varint(seconds) + varint(2 << 3) + varint(rest)
    parts = sorted(zip(numbers, (b"camera", data, said.encode()), strict=True))
    return put(1, stamp) + b"".join(put(number, held) for number, held in parts)


def picture_json(stamp_ns: int, data: bytes, said: str) -> bytes:
    sec, nsec = divmod(stamp_ns, 10**9)
    held = base64.b64encode(data).decode()
    return json.dumps({"timestamp": {"sec": sec, "nsec": nsec}, "frame_id": "", "data": held, "format": said}).encode()


def insta360(path: Path, t_ms: np.ndarray, acc_g: np.ndarray, gyro_rps: np.ndarray, seconds: float = 2.0) -> Path:
    """A video with Insta360's trailer: records, each with its size behind it, the last bytes the magic."""
    film(path, seconds)
    rows = zip(t_ms.tolist(), acc_g, gyro_rps, strict=True)
    motion = b"".join(struct.pack("<Q6d", round(t), *a, *g) for t, a, g in rows)
    records = b"".join(
        data + struct.pack("<BBI", kind, name, len(data)) for name, kind, data in ((3, 0, motion), (1, 1, b""))
    )
    end = bytes(32) + struct.pack("<II", len(records) + 72, 3) + b"8db42d694ccc418790edff439fe026bf"
    with path.open("ab") as file:
        file.write(records + end)
    return path


def gcsv(path: Path, t_s: np.ndarray, acc_mps2: np.ndarray, gyro_rps: np.ndarray) -> Path:
    """Gyroflow's log: whole numbers and their scales, acceleration in g."""
    head = [
        "GYROFLOW IMU LOG",
        "version,1.3",
        "id,logger",
        "orientation,XYZ",
        "vendor,potatocam",
        "tscale,0.0001",
        "gscale,0.001",
        "ascale,0.0005",
        "t,gx,gy,gz,ax,ay,az",
    ]
    table = np.c_[t_s / 1e-4, gyro_rps / 1e-3, acc_mps2 / G / 5e-4].round().astype(int)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*head, *(",".join(map(str, row)) for row in table.tolist())]) + "\n")
    return path


def egohumans(
    root: Path,
    take: str,
    cameras: Mapping[str, Mapping[str, np.ndarray]],
    there: Mapping[str, Iterable[int]] | None = None,
) -> Path:
    """cameras: name → person → (F, 17 or more, 3).   there: frames, from 1, in which a person is. → processed_data"""
    held = root / take / f"001_{take.partition('_')[2]}" / "processed_data"
    for camera, people in cameras.items():
        folder = held / "poses2d" / camera / "rgb"
        folder.mkdir(parents=True)
        frames = len(next(iter(people.values())))
        seen = {name: set((there or {}).get(name, range(1, frames + 1))) for name in people}
        for i in range(1, frames + 1):
            found = [{"human_name": name, "keypoints": body[i - 1]} for name, body in people.items() if i in seen[name]]
            frame = np.empty(len(found), object)
            frame[:] = found
            np.save(folder / f"{i:05d}.npy", frame, allow_pickle=True)
    return held
