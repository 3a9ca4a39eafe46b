"""Many windows of simulated motion: pose token streams to search in, and sensor queries cut from the same motion.

Every stream is one clip of motion capture played at a speed of 0.7 to 1.4, mirrored or not, seen from anywhere; no two
clips are joined. A round over all clips follows the other until there are windows enough, so a hundred thousand windows
hold each clip about eighteen times, as other people's repetitions would.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import lancedb
import numpy as np
import numpy.typing as npt
from scipy.interpolate import CubicSpline
from structured_vectors import write_recordings

from motionseek.encoders.base import StreamEncoder
from motionseek.encoders.motion import RATE_HZ
from motionseek.encoders.preprocess import normalise_pose
from motionseek.encoders.simulate.camera import coco_points
from motionseek.encoders.simulate.mocap import read_amc, read_bandai_npz
from motionseek.encoders.simulate.motion import JOINTS, Motion
from motionseek.encoders.simulate.sensors import virtual_imu
from motionseek.indexer.schema import TOKENS, token_table_name
from motionseek.indexer.store import Store
from motionseek.indexer.tokens import Chunks, StreamKey, chunk_table
from motionseek.indexer.windows import TICK_S, grid
from motionseek.types import COCO17, PARTS, Bool, Float32, Float64, Imu

Int64 = npt.NDArray[np.int64]
LEAST_S = 2.0
SPEEDS = 0.7, 1.4
HELD_OUT = "feminine"
"""The style of the Bandai-Namco clips that the starter's training never saw."""
WORN = ("left_wrist", "right_wrist", "left_knee", "right_knee", "head")


@dataclass(frozen=True, eq=False)
class Streams:
    """S token streams one after another. token: (P, T, D) float16.   mask: (P, T).   length: (S,) tokens.
    clip: (S,) into the motions.   speed, mirrored, duration_s: (S,).   window: (N,) the stream of each window, and
    first: (N,) its first token there."""

    token: npt.NDArray[np.float16]
    mask: Bool
    length: Int64
    clip: Int64
    speed: Float64
    mirrored: Bool
    duration_s: Float64
    window: Int64
    first: Int64

    @property
    def start(self) -> Int64:
        return np.asarray(np.cumsum(self.length) - self.length)

    def views(self, stream: Int64, first: Int64, size: int) -> tuple[Float32, Bool]:
        """Tokens (B, P, size, D) and mask (B, P, size) of stretches of streams; what lies outside is masked."""
        at = first[:, None] + np.arange(size)
        inside = (at >= 0) & (at < self.length[stream][:, None])
        at = self.start[stream][:, None] + np.clip(at, 0, self.length[stream][:, None] - 1)
        mask = np.moveaxis(self.mask[:, at], 0, 1) & inside[:, None]
        token = np.moveaxis(self.token[:, at], 0, 1).astype(np.float32) * mask[..., None]
        return np.ascontiguousarray(token), np.ascontiguousarray(mask)


def motions(data: Path) -> list[Motion]:
    found = [m for n in (1, 2) for m in read_bandai_npz(data / "bandai-namco" / f"bnr_dataset{n}.npz")]
    found += [read_amc(next(p.parent.glob("*.asf")), p) for p in sorted((data / "cmu-mocap").glob("*/*.amc"))]
    return [m for m in found if m.duration_s >= LEAST_S * SPEEDS[0]]


def make_streams(clips: list[Motion], encoder: StreamEncoder, windows: int, stride_s: float, seed: int = 0) -> Streams:
    rng = np.random.default_rng(seed)
    points: dict[int, Float64] = {}
    rows: list[tuple[int, float, bool, float]] = []
    tokens, masks, first = [], [], []
    there = 0
    for clip, speed, mirrored in _plays(len(clips), rng):
        if clip not in points:
            points[clip] = coco_points(clips[clip]).astype(np.float64)
        shown = _at_rate(points[clip], clips[clip].rate_hz * speed)
        duration_s = (len(points[clip]) - 1) / (clips[clip].rate_hz * speed)
        if duration_s < LEAST_S:
            continue
        token, mask = _seen(shown[:, _SWAPPED] * [-1, 1, 1] if mirrored else shown, encoder, rng)
        ticks = grid(duration_s, window_s=encoder.window_s, stride_s=stride_s)
        rows.append((clip, speed, mirrored, duration_s))
        tokens.append(token)
        masks.append(mask)
        first.append(np.rint(ticks * TICK_S / encoder.token_s).astype(np.int64))
        there += len(ticks)
        if there >= windows:
            break
    clip_, speed_, mirrored_, duration_ = (np.array(column) for column in zip(*rows, strict=True))
    return Streams(
        np.concatenate(tokens, axis=1),
        np.concatenate(masks, axis=1),
        np.array([t.shape[1] for t in tokens], np.int64),
        clip_.astype(np.int64),
        speed_,
        mirrored_.astype(np.bool_),
        duration_,
        np.repeat(np.arange(len(first)), [len(f) for f in first])[:windows],
        np.concatenate(first)[:windows],
    )


def write(streams: Streams, token_s: float, folder: Path) -> Store:
    """The streams as an archive's tables under `folder`: recordings and tokens."""
    ids = [f"{i:06d}" for i in range(len(streams.length))]
    db = lancedb.connect(folder / "lance")
    write_recordings(db, ids, streams.duration_s)
    table = db.create_table(token_table_name("motion"), schema=TOKENS)
    for at in range(0, len(ids), 5000):
        rows = []
        for i in range(at, min(len(ids), at + 5000)):
            token, mask = streams.views(np.array([i]), np.zeros(1, np.int64), int(streams.length[i]))
            chunks = Chunks(StreamKey(ids[i], "pose"), 0.0, token_s, len(PARTS), "made")
            rows += chunks.take(token[0], mask[0], worn=range(len(PARTS)), last=True)
        table.add(chunk_table(rows))
    return Store.open(folder)


def _plays(clips: int, rng: np.random.Generator) -> Iterator[tuple[int, float, bool]]:
    """Every clip as it is, then again and again at other speeds."""
    for clip in rng.permutation(clips).tolist():
        yield clip, 1.0, False
    while True:
        for clip in rng.permutation(clips).tolist():
            yield clip, float(rng.uniform(*SPEEDS)), bool(rng.random() < 0.5)


def _at_rate(points: Float64, rate_hz: float) -> Float64:
    n = len(points)
    time_s = np.arange(int((n - 1) / rate_hz * RATE_HZ) + 1) / RATE_HZ
    return np.asarray(CubicSpline(np.arange(n) / rate_hz, points.reshape(n, -1))(time_s)).reshape(-1, 17, 3)


def _seen(points: Float64, encoder: StreamEncoder, rng: np.random.Generator) -> tuple[npt.NDArray[np.float16], Bool]:
    """Keypoints from a camera anywhere around, with a detector's noise, as tokens."""
    centre = (points.reshape(-1, 3).min(0) + points.reshape(-1, 3).max(0)) / 2
    azimuth, elevation = rng.uniform(0, 2 * np.pi), np.radians(rng.uniform(-5, 25))
    ahead = -np.array([np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)])
    right = np.array([np.cos(azimuth), 0.0, -np.sin(azimuth)])
    at = (points - centre) @ np.stack([right, np.cross(ahead, right), ahead]).T
    distance = max(rng.uniform(3, 9), np.abs(points - centre)[..., [0, 2]].max() + 2)
    xy = 1000 * at[..., :2] / (at[..., 2] + distance)[..., None]
    xy += rng.normal(size=xy.shape) * 0.004 * rng.random() * 1700 / distance
    x, mask = normalise_pose(xy[None].astype(np.float32), np.ones((1, len(xy), 17), np.bool_), RATE_HZ)
    rest = -x.shape[-1] % round(encoder.token_s * RATE_HZ)
    x, mask = np.pad(x, ((0, 0), (0, 0), (0, 0), (0, rest))), np.pad(mask, ((0, 0), (0, 0), (0, rest)))
    found = encoder.encode(x, mask)
    if found.token is None or found.mask is None:
        raise SystemExit("the model's motion encoder gives no tokens")
    return found.token[0].astype(np.float16), found.mask[0]


def sensors(clip: Motion, speed: float, mirrored: bool, start_s: float, length_s: float, seed: int) -> list[Imu]:
    """The five sensors of a stretch of a clip and nothing of what is around it, from 0 s on their own clock."""
    rng = np.random.default_rng(seed)
    position, rotation = clip.position_m, clip.rotation
    if mirrored:
        flip = np.diag([-1.0, 1.0, 1.0])
        position, rotation = position[:, _OTHER_SIDE] * [-1, 1, 1], flip @ rotation[:, _OTHER_SIDE] @ flip
    motion = Motion(clip.name, clip.rate_hz * speed, position, rotation, clip.labels, clip.source)
    cut = []
    for placement in WORN:
        imu = virtual_imu(motion, placement, rng=rng, mounting_deg=20, rate_hz=100.0)
        t_s = imu.acc_t_s - start_s
        at = (t_s >= 0) & (t_s < length_s)
        cut.append(Imu(t_s[at], imu.acc_mps2[at], t_s[at], imu.gyro_rps[at], placement))
    return cut


def _mirror(names: tuple[str, ...]) -> list[int]:
    other = [n.replace("left", "@").replace("right", "left").replace("@", "right") for n in names]
    return [names.index(n) for n in other]


_SWAPPED, _OTHER_SIDE = _mirror(COCO17), _mirror(JOINTS)
