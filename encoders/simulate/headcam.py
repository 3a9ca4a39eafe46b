"""A worn camera with its own IMU: how it turns, what its gyroscope says and what its picture shows.

The picture is a random texture at infinity, turned by exactly the rotation that the gyroscope feels, with the parallax
of a near scene, sensor noise and the coding of a real file on top. The camera's axes are x right, y down, z ahead.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.spatial.transform import Rotation

from motionseek.encoders.simulate.sensors import NoiseModel
from motionseek.types import STANDARD_GRAVITY_MPS2, Float64, Imu

UInt8 = npt.NDArray[np.uint8]

STEP_HZ = 1000.0
"""The rotation is integrated at this rate."""
BANDS = (("looking around", 0.1, 0.6, 0.35), ("steps", 1.5, 2.2, 0.22), ("jolts", 3.0, 7.0, 0.08))
"""Name, from and to in Hz, and standard deviation of the turning speed in rad/s: a head that walks."""


@dataclass(frozen=True, eq=False)
class HeadMotion:
    """How a camera turns. t_s: (L,) at STEP_HZ.   rate_rps: (L, 3), camera axes.   rotation: camera to world, (L,)."""

    t_s: Float64
    rate_rps: Float64
    rotation: Rotation = field(repr=False)

    @classmethod
    def random(cls, rng: np.random.Generator, duration_s: float, *, vigour: float = 1.0) -> HeadMotion:
        """Band-limited noise about all axes; the seed in `rng` decides. vigour: factor on all turning speeds."""
        length = int(duration_s * STEP_HZ) + 1
        frequency = np.fft.rfftfreq(length, 1 / STEP_HZ)
        rate = np.zeros((length, 3))
        for _, low_hz, high_hz, sigma_rps in BANDS:
            inside = (frequency >= low_hz) & (frequency <= high_hz)
            spectrum = inside[:, None] * (
                rng.normal(size=(len(frequency), 3)) + 1j * rng.normal(size=(len(frequency), 3))
            )
            band = np.fft.irfft(spectrum, length, axis=0)
            rate += sigma_rps * vigour * band / max(float(band.std()), 1e-12)
        rate *= (0.8, 1.2, 0.6)
        t_s = np.arange(length) / STEP_HZ
        return cls(t_s, rate, _integrated(rate))

    def imu(
        self,
        *,
        rng: np.random.Generator,
        offset_s: float = 0.0,
        drift_ppm: float = 0.0,
        rate_hz: float = 200.0,
        noise: NoiseModel | None = None,
    ) -> Imu:
        """Its IMU, mounted at random, on a clock of its own: sample time = (true time - offset_s) / (1 + drift).

        So offset_s is what to add to the IMU's time to get the picture's, where it reads 0.
        """
        t_s = np.arange(self.t_s[0], self.t_s[-1], 1 / rate_hz)
        rate = np.stack([np.interp(t_s, self.t_s, channel) for channel in self.rate_rps.T], axis=1)
        # Down is +y of the world's axes as the picture sees them, and a sensor at rest feels up.
        at = np.clip(np.rint(t_s * STEP_HZ).astype(int), 0, len(self.t_s) - 1)
        up = self.rotation[at].inv().apply([0.0, -STANDARD_GRAVITY_MPS2, 0.0])
        mounting = Rotation.random(rng=rng)
        signals = np.concatenate([mounting.apply(up), mounting.apply(rate)], axis=1).astype(np.float32)
        signals = (noise or NoiseModel()).apply(signals, rng)
        clock_s = (t_s - offset_s) / (1 + drift_ppm * 1e-6)
        return Imu(clock_s, signals[:, :3], clock_s, signals[:, 3:], "head")


def _integrated(rate_rps: Float64) -> Rotation:
    """Body-frame rates (L, 3) at STEP_HZ → orientation at each sample, by doubling: O(log L) products."""
    steps = Rotation.from_rotvec((rate_rps[:-1] + rate_rps[1:]) / 2 / STEP_HZ).as_quat()
    total = np.concatenate([[[0.0, 0.0, 0.0, 1.0]], steps])
    hop = 1
    while hop < len(total):
        total[hop:] = (Rotation.from_quat(total[:-hop]) * Rotation.from_quat(total[hop:])).as_quat()
        hop *= 2
    return Rotation.from_quat(total)


@dataclass(frozen=True)
class HeadCamera:
    """How the picture is taken."""

    size: tuple[int, int] = (320, 180)
    rate_hz: float = 30.0
    view_deg: float = 80.0
    parallax: float = 0.004
    """Standard deviation, in widths, of the picture's shaking by translation, slower than about 3 Hz."""
    noise: float = 4.0
    """Of a pixel, of 255."""
    stabilised: bool = False
    """The picture stays as it was at first, as a perfect stabiliser would have it."""
    crf: int = 23


def draw_frames(motion: HeadMotion, camera: HeadCamera, rng: np.random.Generator) -> Iterator[UInt8]:
    """Grey pictures (H, W) uint8 at camera.rate_hz, the first at 0 s."""
    width, height = camera.size
    focal = width / 2 / np.tan(np.radians(camera.view_deg) / 2)
    x, y = np.meshgrid(np.arange(width) - (width - 1) / 2, np.arange(height) - (height - 1) / 2)
    pixels = np.stack([x, y, np.full_like(x, focal)], axis=-1).reshape(-1, 3)
    texture = _texture(rng)
    count = int(motion.t_s[-1] * camera.rate_hz)
    shift = gaussian_filter(rng.normal(size=(count, 2)), (camera.rate_hz / 10, 0), mode="wrap")
    shift *= camera.parallax * width / max(float(shift.std()), 1e-12)
    for i in range(count):
        at = 0 if camera.stabilised else round(i / camera.rate_hz * STEP_HZ)
        rays = motion.rotation[at].apply(pixels + np.append(shift[i], 0.0))
        longitude = np.arctan2(rays[:, 0], rays[:, 2]) / (2 * np.pi) % 1.0
        latitude = np.arctan2(rays[:, 1], np.hypot(rays[:, 0], rays[:, 2])) / np.pi + 0.5
        where = np.stack([latitude * texture.shape[0], longitude * texture.shape[1]])
        picture = map_coordinates(texture, where, order=1, mode="grid-wrap").reshape(height, width)
        yield np.clip(picture + rng.normal(size=picture.shape) * camera.noise, 0, 255).astype(np.uint8)


def _texture(rng: np.random.Generator) -> Float64:
    """(600, 1200) grey values with detail at all scales that wraps around."""
    layers = (gaussian_filter(rng.normal(size=(600, 1200)), sigma, mode="wrap") for sigma in (1.5, 4, 12, 40))
    total: Float64 = np.sum([layer / layer.std() for layer in layers], axis=0)
    return 128 + 28 * total


def write_film(path: Path, motion: HeadMotion, camera: HeadCamera, rng: np.random.Generator) -> None:
    """Write what the camera sees as an mp4 (H.264), the first picture at 0 s."""
    rate = Fraction(camera.rate_hz).limit_denominator(1001)
    with av.open(str(path), "w") as container:
        options = {"preset": "veryfast", "crf": str(camera.crf), "bf": "0"}
        stream = container.add_stream("libx264", rate=rate, options=options)
        stream.width, stream.height, stream.pix_fmt = *camera.size, "yuv420p"
        stream.codec_context.thread_count = 1
        for picture in draw_frames(motion, camera, rng):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="gray")))
        container.mux(stream.encode())
