"""How windows are varied while training: other mountings, noise, speeds, views and clocks of the same movement.

Everything is drawn for a whole batch at once. N counts sensors (windows times the parts that they have), B windows.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from motionseek.encoders.simulate.curves import GRAVITY_MPS2
from motionseek.errors import UsageError
from motionseek.types import Bool, Float32, Float64

_TRUNK = [5, 6, 11, 12]
_HEIGHT_IN_TRUNKS = 3.3


@dataclass(frozen=True)
class Augment:
    """What varies, and by how much. Everything is off unless it is asked for; shares are from 0 to 1."""

    time_warp: float = 0.0
    """Movement is played up to this share faster or slower, changing within a window; angular rates grow with speed,
    accelerations about their mean with its square."""
    mounting_deg: float = 0.0
    """How far a sensor may sit turned from how it was worn."""
    free_mounting: float = 0.0
    """Share of sensors turned any way; one worn nobody knows where always is, where mountings vary at all."""
    acc_noise_mps2: float = 0.0
    gyro_noise_rps: float = 0.0
    acc_bias_mps2: float = 0.0
    gyro_bias_rps: float = 0.0
    scale: float = 0.0
    """Standard deviation of a sensor's factor around 1."""
    damp: float = 0.0
    """Share of windows whose movement is weakened or strengthened (0.35 to 1.15 times) about its mean: people move more
    gently than motion capture actors, and straps and pockets give."""
    cross_axis: float = 0.0
    """Standard deviation of the share of turning about one axis that shows about another: limbs twist as they swing,
    more than simulated ones, and sensors sit askew."""
    shake: float = 0.0
    """By how much, at most, impacts shake a sensor in its strap: rad/s for each m/s² that it feels beside gravity."""
    gravity_drop: float = 0.0
    """Share of sensors whose mean acceleration is taken away, as phones do that report linear acceleration."""
    gyro_drop: float = 0.0
    """Share of sensors without gyroscope."""
    sensor_drop: float = 0.0
    """Share of windows that lose some of their sensors: any number of them, but never the last."""
    view_deg: float = 0.0
    """How far the camera may be rolled."""
    squeeze: float = 0.0
    """By up to which share the body is narrowed in the picture, as when it is seen more from the side."""
    pixel_noise: float = 0.0
    """Largest noise of a keypoint, in heights of the body."""
    joint_drop: float = 0.0
    """Share of joints unseen, in half of the windows; never those of the trunk."""
    jitter_s: float = 0.0
    """By how much the pose may start before or after the sensors, because clocks are never on a grid."""
    cut_s: float = 0.0
    """By how much either side may be cut at either end, each in half of the windows, so that ends tell nothing."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            share = field.name.endswith("_drop") or field.name in ("time_warp", "free_mounting", "damp", "squeeze")
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
                raise UsageError(f"augment.{field.name} must be a number from 0, not {value!r}")
            if share and value > (0.5 if field.name == "time_warp" else 1):
                raise UsageError(f"augment.{field.name} is a share, so it ends at 1 (time_warp at 0.5), not {value!r}")

    @property
    def moves_time(self) -> bool:
        return bool(self.time_warp or self.jitter_s)

    @property
    def turns(self) -> bool:
        return bool(self.mounting_deg or self.free_mounting)


def time_maps(
    n: int, length: int, rate_hz: float, rng: np.random.Generator, augment: Augment
) -> tuple[Float64, Float64, Float64]:
    """Where the samples of n windows are read, in samples from the window's start: for sensors (B, L) and pose (B, L),
    and how fast the movement is played (B, L)."""
    t = (np.arange(length) - (length - 1) / 2) / max(length - 1, 1)  # -0.5 to 0.5
    even, swing = rng.uniform(-0.5, 0.5, (2, n, 1)) * augment.time_warp
    turn, phase = rng.uniform(0.5, 1.5, (n, 1)), rng.uniform(0, 2 * np.pi, (n, 1))
    angle = 2 * np.pi * turn * t + phase
    speed = 1 + even + swing * np.sin(angle)
    at = (1 + even) * t - swing * (np.cos(angle) - np.cos(phase)) / (2 * np.pi * turn)
    sensors = at * max(length - 1, 1) + (length - 1) / 2
    shift = rng.uniform(-1, 1, (n, 1)) * augment.jitter_s * rate_hz
    return sensors, sensors + shift, np.broadcast_to(speed, (n, length))


def margin(length: int, rate_hz: float, augment: Augment) -> int:
    """Samples that `time_maps` and `read_at` may need before and after a window."""
    if not augment.moves_time:
        return 0
    return int(np.ceil(0.6 * augment.time_warp * length + augment.jitter_s * rate_hz)) + 3


def read_at(x: Float32, mask: Bool, at: Float64) -> tuple[Float32, Bool]:
    """x (N, C, L'), mask (N, L'), at (N, L) in samples of x → (N, C, L) through a cubic (Catmull-Rom), mask (N, L)."""
    first = np.floor(at).astype(np.int64)
    f = (at - first).astype(np.float32)[:, None]
    weights = (
        *((-0.5 * f + f**2 - 0.5 * f**3), (1 - 2.5 * f**2 + 1.5 * f**3)),
        *((0.5 * f + 2 * f**2 - 1.5 * f**3), (-0.5 * f**2 + 0.5 * f**3)),
    )
    last = x.shape[2] - 1
    around = [np.clip(first + step, 0, last) for step in (-1, 0, 1, 2)]
    there: Bool = np.take_along_axis(mask, around[1], 1) & np.take_along_axis(mask, around[2], 1)
    there &= (at >= 0) & (at <= last)
    out = np.zeros((*x.shape[:2], at.shape[1]), np.float32)
    middle = np.take_along_axis(x, around[1][:, None], 2)
    for index, weight in zip(around, weights, strict=True):
        # beside a gap, the neighbour that is missing holds the value next to it
        known = np.take_along_axis(mask, index, 1)[:, None]
        out += weight * np.where(known, np.take_along_axis(x, index[:, None], 2), middle)
    return out * there[:, None], there


def mountings(n: int, rng: np.random.Generator, augment: Augment, anywhere: Bool | None = None) -> Float32:
    """Rotations (N, 3, 3); anywhere: (N,) True for sensors that are turned any way."""
    axis = rng.normal(size=(n, 3))
    axis *= (np.radians(rng.uniform(0, augment.mounting_deg, n)) / np.linalg.norm(axis, axis=1))[:, None]
    turn = Rotation.from_rotvec(axis).as_matrix()
    free = rng.random(n) < augment.free_mounting
    if anywhere is not None:
        free |= anywhere
    if free.any():
        turn[free] = Rotation.random(int(free.sum()), rng=rng).as_matrix()
    return np.asarray(turn, np.float32)


def vary_imu(x: Float32, rng: np.random.Generator, augment: Augment, *, anywhere: Bool | None = None) -> Float32:
    """Sensors x (N, 6, L) → (N, 6, L), as another sensor would have measured the same; anywhere: see `mountings`."""
    n, _, length = x.shape
    signal = np.ascontiguousarray(x).reshape(n, 2, 3, length)
    if augment.turns:
        signal = mountings(n, rng, augment, anywhere)[:, None] @ signal
    if augment.damp:
        gentle = np.where(rng.random((n, 1)) < augment.damp, rng.uniform(0.35, 1.15, (n, 2)), 1.0)
        middle = signal.mean(axis=3, keepdims=True) * np.array([1, 0], np.float32)[:, None, None]
        signal = middle + (signal - middle) * gentle.astype(np.float32)[:, :, None, None]
    if augment.cross_axis:
        mixed = np.eye(3, dtype=np.float32) + augment.cross_axis * rng.standard_normal((n, 3, 3), np.float32)
        signal = np.stack([signal[:, 0], mixed @ signal[:, 1]], axis=1)
    if augment.shake:
        felt = np.abs(np.linalg.norm(signal[:, :1], axis=2, keepdims=True) - np.float32(GRAVITY_MPS2))
        shaken = rng.random((n, 1, 1), dtype=np.float32) * augment.shake * felt[:, 0]
        signal = np.stack(
            [signal[:, 0], signal[:, 1] + shaken * rng.standard_normal((n, 3, length), np.float32)], axis=1
        )
    if augment.gravity_drop:
        without = np.asarray(rng.random(n) < augment.gravity_drop, np.float32)[:, None, None]
        signal = signal.copy()
        signal[:, 0] -= without * signal[:, 0].mean(axis=2, keepdims=True)
    if augment.scale:
        signal = signal * (1 + augment.scale * rng.standard_normal((n, 2, 1, 1), np.float32))
    if augment.acc_bias_mps2 or augment.gyro_bias_rps:
        bias = np.array([augment.acc_bias_mps2, augment.gyro_bias_rps], np.float32)[:, None, None]
        signal = signal + bias * rng.standard_normal((n, 2, 3, 1), np.float32)
    if augment.acc_noise_mps2 or augment.gyro_noise_rps:
        most = np.array([augment.acc_noise_mps2, augment.gyro_noise_rps], np.float32)[:, None, None]
        sigma = rng.random((n, 1, 1, 1), dtype=np.float32) * most
        signal = signal + sigma * rng.standard_normal(signal.shape, np.float32)
    if augment.gyro_drop:
        kept = np.asarray(rng.random(n) >= augment.gyro_drop, np.float32)
        signal = signal * np.stack([np.ones_like(kept), kept], axis=1)[:, :, None, None]
    return np.asarray(signal.reshape(n, 6, length), np.float32)


def drop_sensors(there: Bool, rng: np.random.Generator, augment: Augment) -> Bool:
    """there (B, P), the sensors of each window → those that stay; MoBind's option, with a number drawn per window."""
    if not augment.sensor_drop:
        return there
    count = there.sum(1)
    lost = np.where(rng.random(len(there)) < augment.sensor_drop, rng.integers(0, np.maximum(count, 1)), 0)
    order = np.where(there, rng.random(there.shape), np.inf).argsort(1).argsort(1)
    return np.asarray(there & (order >= lost[:, None]), np.bool_)


def cut_ends(there: Bool, rate_hz: float, rng: np.random.Generator, augment: Augment) -> Bool:
    """there (B, L) → the same with something missing at the ends."""
    most = round(augment.cut_s * rate_hz)
    if not most:
        return there
    cut = rng.integers(0, most + 1, (2, len(there), 1)) * (rng.random((2, len(there), 1)) < 0.5)
    i = np.arange(there.shape[1])
    first, last = there.argmax(1)[:, None], there.shape[1] - there[:, ::-1].argmax(1)[:, None]
    return np.asarray(there & (i >= first + cut[0]) & (i < last - cut[1]), np.bool_)


def vary_view(xy_px: Float32, seen: Bool, rng: np.random.Generator, augment: Augment) -> Float32:
    """Keypoints (B, L, 17, 2), seen (B, L, 17), as a camera that is rolled or stands more to the side shows them."""
    if not (augment.view_deg or augment.squeeze):
        return xy_px
    b = len(xy_px)
    weight = seen[..., None].astype(np.float32)
    middle = (xy_px * weight).sum((1, 2), keepdims=True) / weight.sum((1, 2), keepdims=True).clip(1)
    roll = np.radians(rng.uniform(-1, 1, b) * augment.view_deg)
    narrow = 1 - rng.uniform(0, 1, b) * augment.squeeze
    cos, sin = np.cos(roll), np.sin(roll)
    turn = np.stack([np.stack([cos * narrow, -sin], 1), np.stack([sin * narrow, cos], 1)], 1).astype(np.float32)
    return np.asarray((xy_px - middle) @ turn.transpose(0, 2, 1)[:, None] + middle, np.float32)


def vary_keypoints(
    xy_px: Float32, seen: Bool, rng: np.random.Generator, augment: Augment, *, body_px: Float32 | None = None
) -> tuple[Float32, Bool]:
    """Keypoints (B, L, 17, 2), seen (B, L, 17) → with noise and joints missing; body_px: (B,) how tall the body is."""
    b = len(xy_px)
    if augment.pixel_noise:
        height = body_height(xy_px, seen) if body_px is None else body_px
        noise = augment.pixel_noise * rng.random(b, dtype=np.float32) * height
        xy_px = xy_px + noise[:, None, None, None] * rng.standard_normal(xy_px.shape, np.float32)
    if augment.joint_drop:
        dropped = (rng.random((b, 17)) < augment.joint_drop) & (rng.random(b) < 0.5)[:, None]
        dropped[:, _TRUNK] = False
        seen = seen & ~dropped[:, None]
    return xy_px, seen


def body_height(xy_px: Float32, seen: Bool) -> Float32:
    """Keypoints (B, L, 17, 2), seen (B, L, 17) → (B,) pixels, from the mean length of the trunk; 0 where unseen."""
    trunk = np.linalg.norm(xy_px[:, :, [5, 6]].mean(2) - xy_px[:, :, [11, 12]].mean(2), axis=-1)
    known = seen[:, :, _TRUNK].all(2)
    mean = (trunk * known).sum(1) / known.sum(1).clip(1)
    return np.asarray(_HEIGHT_IN_TRUNKS * mean, np.float32)


def play_faster(x: Float32, speed: npt.NDArray[np.floating]) -> Float32:
    """Sensors x (N, 6, L) of movement played at `speed` (N, L)."""
    speed = speed[:, None].astype(np.float32)
    middle = x[:, :3].mean(axis=2, keepdims=True)
    return np.concatenate([middle + (x[:, :3] - middle) * speed**2, x[:, 3:] * speed], axis=1)
