"""Virtual IMUs: what an accelerometer with gyroscope would read if it were worn during a motion.

The sensor is fixed to one segment of the body. Its acceleration is the second derivative of its path less gravity
(specific force: at rest it reads +9.81 m/s² upwards), turned into the sensor's frame; its angular rate is the rotation
from one frame to the next. Motion capture at 30 frames/s jitters by about a millimetre, which two derivatives would
make louder than the movement: paths and rates are low-passed at `CUTOFF_HZ` by a zero-phase Butterworth filter first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
from scipy.interpolate import BSpline, make_interp_spline
from scipy.signal import butter, sosfiltfilt
from scipy.spatial.transform import Rotation, Slerp

from motionseek.encoders.simulate.motion import JOINTS, Motion
from motionseek.errors import UsageError
from motionseek.types import STANDARD_GRAVITY_MPS2, Float32, Float64, Imu

CUTOFF_HZ = 10.0
"""Half-power frequency of the low-pass. Voluntary movement lies below; harder impacts than this are lost."""

_X, _Y, _Z = np.eye(3)


@dataclass(frozen=True, eq=False)
class PlacementFrame:
    """Where a sensor is worn. Vectors in the segment's frame: x to the person's left, y up, z forward, at rest."""

    joint: str
    """The joint it is measured from."""
    segment: str
    """The joint whose rotation it follows."""
    offset_m: Float64
    """From the joint to the sensor, (3,)."""
    axes: Float64
    """The sensor's nominal x, y, z axes as columns, (3, 3)."""


def _worn(joint: str, segment: str, offset_m: tuple[float, float, float], out: Float64, up: Float64) -> PlacementFrame:
    """A sensor whose z axis points out of the body and whose y axis points up, or to 12 o'clock."""
    return PlacementFrame(joint, segment, np.array(offset_m), np.stack([np.cross(up, out), up, out], axis=1))


def _placements() -> dict[str, PlacementFrame]:
    frames: dict[str, PlacementFrame] = {}
    for side, s in (("left", 1.0), ("right", -1.0)):
        outside = s * _X
        elbow, wrist, hip, knee, ankle = (f"{side}_{j}" for j in ("elbow", "wrist", "hip", "knee", "ankle"))
        # A watch's 12 o'clock points away from the thumb, backwards when the arm hangs.
        frames |= {
            wrist: _worn(wrist, elbow, (s * 0.03, 0.03, 0.0), outside, -_Z),
            f"{side}_hand": _worn(wrist, wrist, (s * 0.02, -0.08, 0.0), outside, -_Z),
            f"{side}_forearm": _worn(elbow, elbow, (s * 0.04, -0.10, 0.0), outside, -_Z),
            f"{side}_upper_arm": _worn(elbow, f"{side}_shoulder", (s * 0.05, 0.12, 0.0), outside, _Y),
            knee: _worn(knee, knee, (s * 0.06, -0.08, 0.02), outside, _Y),
            f"{side}_shank": _worn(knee, knee, (s * 0.05, -0.20, 0.0), outside, _Y),
            ankle: _worn(ankle, knee, (s * 0.04, 0.06, 0.0), outside, _Y),
            f"{side}_foot": _worn(ankle, ankle, (0.0, -0.02, 0.10), _Y, _Z),
            f"{side}_thigh": _worn(knee, hip, (0.0, 0.20, 0.08), _Z, _Y),
            f"{side}_pocket": _worn(hip, hip, (s * 0.07, -0.15, 0.07), _Z, _Y),
        }
    chest = _worn("neck", "chest", (0.0, -0.12, 0.12), _Z, _Y)
    frames |= {
        "head": _worn("head", "head", (0.0, 0.10, 0.09), _Z, _Y),
        "glasses": _worn("head", "head", (0.07, 0.08, 0.08), _X, _Y),
        "ear": _worn("head", "head", (0.08, 0.06, 0.0), _X, _Y),
        "chest": chest,
        "torso": chest,
        "back": _worn("neck", "chest", (0.0, -0.12, -0.10), -_Z, _Y),
        "waist": _worn("pelvis", "pelvis", (0.0, 0.12, 0.12), _Z, _Y),
        "pelvis": _worn("pelvis", "pelvis", (0.0, 0.08, -0.12), -_Z, _Y),
    }
    return frames


PLACEMENT_FRAMES: Mapping[str, PlacementFrame] = _placements()
"""Every placement of `motionseek.types.PART_OF_PLACEMENT` that says where the sensor is."""


def _smooth_spline(x: Float64, start_s: float, rate_hz: float, degree: int, cutoff_hz: float) -> BSpline:
    """Low-passed spline through x (N, C), whose first sample lies at start_s.

    It runs on past both ends, mirrored through the end points, so that derivatives stay bounded there. Where the rate
    cannot carry more than the cutoff, nothing is filtered.
    """
    n = min(len(x) - 1, max(degree, int(rate_hz / 2)))
    x = np.concatenate([2 * x[:1] - x[n:0:-1], x, 2 * x[-1:] - x[-2 : -n - 2 : -1]])
    if 0.45 * rate_hz > cutoff_hz:
        x = sosfiltfilt(butter(2, cutoff_hz, fs=rate_hz, output="sos"), x, axis=0, padtype=None)
    return make_interp_spline(start_s + (np.arange(len(x)) - n) / rate_hz, x, k=degree)


def imu_signals(
    motion: Motion,
    placement: str,
    *,
    offset_m: npt.ArrayLike | None = None,
    rate_hz: float | None = None,
    cutoff_hz: float = CUTOFF_HZ,
) -> Float32:
    """What a perfect sensor reads: (N, 6) float32, acceleration with gravity in m/s² and angular rate in rad/s.

    offset_m: another place than the placement's own, from its joint in its segment's frame.   rate_hz: the motion's
    own by default; the first sample lies on the motion's first frame.   cutoff_hz: of the low-pass; motion that was
    not captured but computed has no jitter, and needs none below the rate's own limit. Raises UsageError for an
    unknown placement and for a motion of fewer than 6 frames.
    """
    if placement not in PLACEMENT_FRAMES:
        raise UsageError(f"no sensor is worn at {placement!r}; use one of: {', '.join(PLACEMENT_FRAMES)}")
    n = len(motion.position_m)
    if n < 6:
        raise UsageError(f"motion {motion.name} has {n} frames; at least 6 are needed")
    worn = PLACEMENT_FRAMES[placement]
    offset = worn.offset_m if offset_m is None else np.asarray(offset_m, dtype=np.float64)
    segment = motion.rotation[:, JOINTS.index(worn.segment)]
    path_m = motion.position_m[:, JOINTS.index(worn.joint)] + segment @ offset
    turned = Rotation.from_matrix(segment @ worn.axes)
    rate_rps = (turned[:-1].inv() * turned[1:]).as_rotvec() * motion.rate_hz

    frame_s = np.arange(n) / motion.rate_hz
    rate_hz = rate_hz or motion.rate_hz
    time_s = np.minimum(np.arange(int(frame_s[-1] * rate_hz + 1e-6) + 1) / rate_hz, frame_s[-1])
    force = _smooth_spline(path_m, 0.0, motion.rate_hz, 5, cutoff_hz)(time_s, 2) + STANDARD_GRAVITY_MPS2 * _Y
    # A difference between two frames is the rate halfway between them.
    gyro = _smooth_spline(rate_rps, 0.5 / motion.rate_hz, motion.rate_hz, 3, cutoff_hz)(time_s)
    acc = Slerp(frame_s, turned)(time_s).inv().apply(force)
    return np.concatenate([acc, gyro], axis=1).astype(np.float32)


@dataclass(frozen=True)
class NoiseModel:
    """Errors of a wearable's sensor, by default those of a good watch. Standard deviations, except for the limits."""

    acc_noise_mps2: float = 0.05
    """White noise of a sample."""
    gyro_noise_rps: float = 0.005
    acc_bias_mps2: float = 0.1
    """Constant per axis and sensor."""
    gyro_bias_rps: float = 0.01
    scale_error: float = 0.01
    """Relative, constant per axis and sensor."""
    acc_limit_mps2: float = 16 * STANDARD_GRAVITY_MPS2
    """Where the accelerometer saturates."""
    gyro_limit_rps: float = float(np.radians(2000))

    def __post_init__(self) -> None:
        for f in fields(self):
            if getattr(self, f.name) < 0:
                raise UsageError(f"{f.name} must not be negative")

    def apply(self, signals: Float32, rng: np.random.Generator) -> Float32:
        """signals: (N, 6), as imu_signals gives them. Returns them with errors drawn from `rng`."""
        white = np.repeat([self.acc_noise_mps2, self.gyro_noise_rps], 3)
        bias = rng.normal(size=6) * np.repeat([self.acc_bias_mps2, self.gyro_bias_rps], 3)
        scale = 1 + rng.normal(size=6) * self.scale_error
        limit = np.repeat([self.acc_limit_mps2, self.gyro_limit_rps], 3)
        noisy = signals * scale + bias + rng.normal(size=signals.shape) * white
        read: Float32 = np.clip(noisy, -limit, limit).astype(np.float32)
        return read


def virtual_imu(
    motion: Motion,
    placement: str,
    *,
    rng: np.random.Generator,
    mounting_deg: float = 0.0,
    noise: NoiseModel | None = None,
    start_s: float = 0.0,
    rate_hz: float | None = None,
    person: str = "",
    offset_m: npt.ArrayLike | None = None,
) -> Imu:
    """A worn sensor with its errors (`NoiseModel()` by default).

    mounting_deg: it sits turned by up to this angle about a random axis.   start_s: what its clock shows at the
    motion's first frame.   rate_hz, offset_m: as for imu_signals.
    """
    signals = imu_signals(motion, placement, offset_m=offset_m, rate_hz=rate_hz)
    axis = rng.normal(size=3)
    angle = np.radians(rng.uniform(0.0, mounting_deg)) if mounting_deg else 0.0
    mounted = Rotation.from_rotvec(axis / np.linalg.norm(axis) * angle).as_matrix()
    signals = (signals.reshape(-1, 2, 3) @ mounted).reshape(-1, 6)
    signals = (noise or NoiseModel()).apply(signals, rng)
    t_s = start_s + np.arange(len(signals)) / (rate_hz or motion.rate_hz)
    return Imu(t_s, signals[:, :3], t_s, signals[:, 3:], placement, person, motion.name)
