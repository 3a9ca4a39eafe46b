"""Recorded streams → the regular grids that encoders read. The one resampler of the project.

Timestamps decide, never a nominal rate: gaps become masked samples, not closed-up time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
import numpy.typing as npt
import scipy

from motionseek.errors import UsageError
from motionseek.types import ANY_PART, PARTS, Bool, Float32, Float64, Imu, PoseTrack, Span, median_step_s

PREPROCESSING = "1"
"""Changes whenever a grid's numbers change; part of every model's fingerprint."""

LONG_GAP_S = 60.0
"""What lies beyond such a gap is resampled by itself, so that a gap of hours costs nothing."""

SAME_S = 1e-6
"""Two times no further apart are one: sums of sample steps round differently."""

IMU_SLOTS = (*PARTS, ANY_PART)
POSE_CHANNELS = 12
_JOINTS_OF_PART = np.array(
    [
        [5, 7, 9],  # left_wrist: shoulder, elbow, wrist
        [6, 8, 10],  # right_wrist
        [11, 13, 15],  # left_knee: hip, knee, ankle
        [12, 14, 16],  # right_knee
        [0, 1, 2],  # head: nose, eyes
        [5, 6, 17],  # torso: shoulders, middle of the hips
    ]
)
_SHOULDERS, _HIPS = [5, 6], [11, 12]


@dataclass(frozen=True, eq=False)
class Grid:
    """Streams of several parts on one regular clock; sample i stands at start_s + i / rate_hz.

    x: (P, C, L) float32, zero where masked.     mask: (P, L) bool, True where a sample was there.
    """

    start_s: float
    rate_hz: float
    x: Float32
    mask: Bool

    @property
    def duration_s(self) -> float:
        return float(self.x.shape[2] / self.rate_hz)


def resample(
    t_s: Float64, x: npt.NDArray[np.float32 | np.float64], grid_t_s: Float64, *, max_gap_s: float | None = None
) -> tuple[Float32, Bool]:
    """Samples x (L, C) at times t_s (L,) → values (L', C) float32 and mask (L',) at the regular times grid_t_s (L',).

    Coming from a higher rate, a zero-phase low-pass below the grid's Nyquist frequency goes first; coming from a lower
    one, a cubic spline runs through the samples. Rows with NaN count as missing. A grid time is masked where the
    samples around it lie further apart than max_gap_s (default: 0.1 s or four sample steps, whichever is more).
    """
    present = np.isfinite(x).all(axis=1)
    t_s, samples = t_s[present], np.asarray(x[present], np.float64)
    if len(t_s) < 2 or len(grid_t_s) < 2:
        return np.zeros((len(grid_t_s), samples.shape[1]), np.float32), np.zeros(len(grid_t_s), np.bool_)
    step_s, grid_step_s = median_step_s(t_s), float(grid_t_s[1] - grid_t_s[0])
    gap_s = max(0.1, 4 * step_s) if max_gap_s is None else max_gap_s
    after = np.clip(np.searchsorted(t_s, grid_t_s), 1, len(t_s) - 1)
    # A sample at the very time is there, whatever gap lies beside it and however the time was rounded.
    met = np.minimum(np.abs(t_s[after] - grid_t_s), np.abs(t_s[after - 1] - grid_t_s)) < SAME_S
    mask = (t_s[after] - t_s[after - 1] <= gap_s) | met
    mask &= (grid_t_s >= t_s[0] - max(step_s, grid_step_s)) & (grid_t_s <= t_s[-1] + max(step_s, grid_step_s))
    inside_t_s = np.clip(grid_t_s, t_s[0], t_s[-1])
    if step_s < 0.8 * grid_step_s:
        values = np.zeros((len(grid_t_s), samples.shape[1]))
        edges = np.concatenate([[0], np.flatnonzero(np.diff(t_s) > LONG_GAP_S) + 1, [len(t_s)]])
        for held in (slice(a, b) for a, b in pairwise(edges) if b - a > 1):
            first, last = t_s[held][0] - grid_step_s - 1e-9, t_s[held][-1] + grid_step_s + 1e-9
            at = slice(*np.searchsorted(grid_t_s, [first, last]))
            if at.start < at.stop:
                values[at] = _low_passed(t_s[held], samples[held], step_s, gap_s, inside_t_s[at], grid_step_s)
    else:
        values = scipy.interpolate.CubicSpline(t_s, samples)(inside_t_s)
    return np.where(mask[:, None], values, 0.0).astype(np.float32), mask


def _low_passed(
    t_s: Float64, x: Float64, step_s: float, gap_s: float, grid_t_s: Float64, grid_step_s: float
) -> Float64:
    """Normalised convolution on a uniform clock at the stream's own rate, so that gaps weigh nothing."""
    start_s = max(t_s[0], grid_t_s[0] - 32 * grid_step_s)
    stop_s = min(t_s[-1], grid_t_s[-1] + 32 * grid_step_s)
    uniform_t_s = start_s + step_s * np.arange(int((stop_s - start_s) / step_s) + 1)
    after = np.clip(np.searchsorted(t_s, uniform_t_s), 1, len(t_s) - 1)
    weight = (t_s[after] - t_s[after - 1] <= gap_s).astype(np.float64)[:, None]
    uniform = np.stack([np.interp(uniform_t_s, t_s, column) for column in x.T], axis=1)
    taps = 2 * int(np.ceil(3 * grid_step_s / step_s)) + 1
    kernel = _low_pass(taps, 0.9 * step_s / grid_step_s)
    smooth = _convolved(uniform * weight, kernel)
    total = _convolved(weight, kernel)
    smooth = np.where(np.abs(total) > 0.2, smooth / np.where(np.abs(total) > 0.2, total, 1.0), uniform)
    return np.stack([np.interp(grid_t_s, uniform_t_s, column) for column in smooth.T], axis=1)


# What follows is what scipy.signal has too, whose import alone takes as long as many searches.


def _low_pass(taps: int, cutoff: float) -> Float64:
    """A windowed sinc (Hamming), odd, of unit sum; cutoff as a share of the Nyquist frequency."""
    kernel: Float64 = np.hamming(taps) * np.sinc(cutoff * (np.arange(taps) - (taps - 1) / 2))
    kernel /= kernel.sum()
    return kernel


def _convolved(x: Float64, kernel: Float64) -> Float64:
    """x (L, C) with an odd kernel (K,) along time, zeros beyond the ends → (L, C), by overlapping blocks."""
    length, taps = len(x), len(kernel)
    size = 1 << max(10, (8 * taps).bit_length())
    step = size - taps + 1
    blocks = -(-(length + taps) // step)
    cut = np.pad(x, ((0, blocks * step - length), (0, 0))).reshape(blocks, step, -1)
    made = np.fft.irfft(np.fft.rfft(cut, size, axis=1) * np.fft.rfft(kernel, size)[:, None], size, axis=1)
    made[1:, : taps - 1] += made[:-1, step:]
    whole: Float64 = made[:, :step].reshape(blocks * step, -1)
    return whole[taps // 2 : taps // 2 + length]


def _slope(x: Float32, window: int, rate_hz: float) -> Float32:
    """x (B, L, …) → its derivative along time: of the line, or parabola, fitted to `window` samples around each, an odd
    number (Savitzky and Golay); the ends are held."""
    ahead = np.arange(window) - window // 2
    slope: Float32 = scipy.ndimage.correlate1d(x, ahead * rate_hz / (ahead**2).sum(), axis=1, mode="nearest")
    return slope


def _grid_times(start_s: float, end_s: float, rate_hz: float) -> Float64:
    return start_s + np.arange(max(2, int(np.floor((end_s - start_s) * rate_hz + 1e-6)) + 1)) / rate_hz


def imu_grid(imus: Sequence[Imu], rate_hz: float, span: Span | None = None) -> Grid:
    """The sensors of one wearer → Grid with P = 7 (PARTS, then "unknown") and C = 6 (acc m/s², gyro rad/s).

    Raises UsageError where two sensors share a slot or none is given. A sensor without gyroscope has zeros there.
    """
    if not imus:
        raise UsageError("imu_grid needs at least one sensor")
    slots = [IMU_SLOTS.index(imu.part) for imu in imus]
    if len(set(slots)) < len(slots):
        raise UsageError(f"two sensors on the same part: {', '.join(imu.placement for imu in imus)}")
    span = span or Span(min(i.start_s for i in imus), max(i.end_s for i in imus) + 1e-6)
    times = _grid_times(span.start_s, span.end_s, rate_hz)
    x = np.zeros((len(IMU_SLOTS), 6, len(times)), np.float32)
    mask = np.zeros((len(IMU_SLOTS), len(times)), np.bool_)
    for slot, imu in zip(slots, imus, strict=True):
        if imu.one_clock:
            both, mask[slot] = resample(imu.acc_t_s, np.concatenate([imu.acc_mps2, imu.gyro_rps], axis=1), times)
            x[slot] = both.T
            continue
        acc, mask[slot] = resample(imu.acc_t_s, imu.acc_mps2, times)
        x[slot, :3] = acc.T
        if len(imu.gyro_t_s):
            gyro, gyro_there = resample(imu.gyro_t_s, imu.gyro_rps, times)
            x[slot, 3:] = gyro.T
            mask[slot] &= gyro_there
            x[slot] *= mask[slot]
    return Grid(float(times[0]), rate_hz, x, mask)


def keypoint_grid(track: PoseTrack, rate_hz: float, span: Span | None = None) -> tuple[Float64, Float32, Bool]:
    """One person's joints on a regular clock: times (L,), pixels (L, 17, 2), zero where unseen, and seen (L, 17)."""
    span = span or Span(track.start_s, track.end_s + 1e-6)
    times = _grid_times(span.start_s, span.end_s, rate_hz)
    xy = np.zeros((len(times), 17, 2), np.float32)
    seen = np.zeros((len(times), 17), np.bool_)
    # Joints that come and go together are resampled in one call; mostly that is all of them.
    patterns, pattern_of = np.unique(np.isfinite(track.xy_px).all(axis=2), axis=1, return_inverse=True)
    for pattern in range(patterns.shape[1]):
        joints = np.flatnonzero(pattern_of == pattern)
        together = track.xy_px[:, joints].reshape(len(track.t_s), -1)
        values, there = resample(track.t_s, together, times, max_gap_s=0.25)
        xy[:, joints], seen[:, joints] = values.reshape(len(times), -1, 2), there[:, None]
    return times, xy, seen


def pose_grid(track: PoseTrack, rate_hz: float, span: Span | None = None) -> Grid:
    """One person's pose → Grid with P = 6 (PARTS) and C = 12 (see `normalise_pose`)."""
    times, xy, seen = keypoint_grid(track, rate_hz, span)
    x, mask = normalise_pose(xy[None], seen[None], rate_hz)
    return Grid(float(times[0]), rate_hz, x[0], mask[0])


def picture_grid(track: PoseTrack, rate_hz: float, span: Span | None = None) -> Grid:
    """One person's pose as MoBind's published encoder takes it → Grid with P = 6 (PARTS) and C = 6, x0 x1 x2 y0 y1 y2.

    x is divided by the picture's width and y by its height, and nothing else is done: no centring, no scaling to the
    body, no velocity. A part is masked where one of its joints is unseen.
    """
    times, xy, seen = keypoint_grid(track, rate_hz, span)
    x, mask = normalise_picture(xy[None], seen[None], np.array([track.image_size], np.float32))
    return Grid(float(times[0]), rate_hz, x[0], mask[0])


def normalise_picture(xy_px: Float32, seen: Bool, size_px: Float32) -> tuple[Float32, Bool]:
    """Keypoints (B, L, 17, 2), seen (B, L, 17), pictures' sizes (B, 2) → x (B, 6, 6, L), mask (B, 6, L); see
    `picture_grid`."""
    joints = np.concatenate([xy_px, xy_px[:, :, _HIPS].mean(2, keepdims=True)], axis=2) / size_px[:, None, None]
    joints_seen = np.concatenate([seen, seen[:, :, _HIPS].all(2, keepdims=True)], axis=2)
    mask: Bool = np.ascontiguousarray(np.all(joints_seen[:, :, _JOINTS_OF_PART], axis=3).transpose(0, 2, 1))
    x = joints[:, :, _JOINTS_OF_PART].transpose(0, 2, 4, 3, 1).reshape(len(xy_px), len(PARTS), 6, -1)
    return np.where(mask[:, :, None], x, 0).astype(np.float32), mask


class Sampled(Protocol):
    """An encoder, or what else says how many samples a second it wants, and in its `pose_form` how a pose is given."""

    @property
    def rate_hz(self) -> float: ...


def signal_grid(encoder: Sampled, signals: Sequence[Imu] | PoseTrack, span: Span | None = None) -> Grid:
    """The sensors of one wearer, or one person's pose, as `encoder` wants them. Raises UsageError as imu_grid does."""
    if not isinstance(signals, PoseTrack):
        return imu_grid(signals, encoder.rate_hz, span)
    form = picture_grid if getattr(encoder, "pose_form", "person") == "picture" else pose_grid
    return form(signals, encoder.rate_hz, span)


def normalise_pose(xy_px: Float32, seen: Bool, rate_hz: float) -> tuple[Float32, Bool]:
    """Keypoints (B, L, 17, 2) in pixels, y down, and seen (B, L, 17) → x (B, 6, 12, L), mask (B, 6, L).

    Per part three joints: x and y from the middle of the trunk in units of the trunk's length, y up (6 channels), and
    their velocities in the picture in trunk lengths a second (6 channels); a velocity is known from the fourth sample
    after a gap on. The trunk's length is the 80th percentile over 3 s, so that bending over does not blow the body up
    and a person who comes nearer keeps their size.
    """
    b, length = xy_px.shape[:2]
    hip = xy_px[:, :, _HIPS].mean(2)
    shoulder = xy_px[:, :, _SHOULDERS].mean(2)
    trunk_seen = np.asarray(seen[:, :, _HIPS + _SHOULDERS].all(2))
    trunk = np.where(trunk_seen, np.linalg.norm(shoulder - hip, axis=-1), 0.0)
    size = scipy.ndimage.percentile_filter(trunk, 80, size=(1, min(length, int(3 * rate_hz) | 1)), mode="nearest")
    fallback = np.maximum(trunk.max(axis=1, keepdims=True), 1.0)
    size = np.where(size > 0.05 * fallback, size, fallback)
    joints = np.concatenate([xy_px, hip[:, :, None]], axis=2)
    joints_seen = np.concatenate([seen, seen[:, :, _HIPS].all(2, keepdims=True)], axis=2)
    centre = np.where(trunk_seen[..., None], (hip + shoulder) / 2, 0.0)
    window = min(7, length if length % 2 else length - 1)
    velocity = _slope(joints, window, rate_hz) if window >= 3 else np.zeros_like(joints)
    flip = np.array([1, -1], np.float32)
    scale = size[..., None, None]
    position = (joints - centre[:, :, None]) / scale * flip
    velocity = velocity / scale * flip
    # (B, 4, 18, L) before joints become parts: runs of samples are copied, not single numbers
    features = np.ascontiguousarray(np.concatenate([position, velocity], axis=-1).transpose(0, 3, 2, 1))
    known = scipy.ndimage.minimum_filter1d(joints_seen, window, axis=1, mode="nearest")
    mask = np.asarray(known[:, :, _JOINTS_OF_PART].all(-1)) & trunk_seen[:, :, None]
    x = features[:, :, _JOINTS_OF_PART].swapaxes(1, 2).reshape(b, len(PARTS), POSE_CHANNELS, length)
    mask = np.ascontiguousarray(mask.transpose(0, 2, 1))
    return np.where(mask[:, :, None], np.clip(x, -20, 20), 0.0).astype(np.float32), mask
