"""The shared types refuse what they cannot be, and say so."""

from __future__ import annotations

import numpy as np
import pytest

from motionseek.errors import MediaError, MotionseekError, UsageError
from motionseek.types import Alignment, Imu, Moment, Narration, PoseTrack, Recording, Span, VideoRef, Window

T = np.arange(5.0)
ACC = np.zeros((5, 3))


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda: Imu([0, 1, 1], ACC[:3], T[:0], ACC[:0]), "strictly"),
        (lambda: Imu([0, np.nan], ACC[:2], T[:0], ACC[:0]), "NaN"),
        (lambda: Imu(T, ACC[:4], T, ACC), r"shape \(5, 3\)"),
        (lambda: Imu(T, ACC, T, ACC, "left_ankel"), "placement"),
        (lambda: PoseTrack(T, np.zeros((5, 16, 2)), np.zeros((5, 17)), (4, 3)), r"\(5, 17, 2\)"),
        (lambda: PoseTrack(T, np.zeros((5, 17, 2)), np.zeros((5, 17)), (4, 0)), "image_size"),
        (lambda: Span(2, 2), "before it ends"),
        (lambda: Narration(3, 1, "x"), "before it ends"),
        (lambda: VideoRef("v.mp4", 0, -1, 30, (4, 3)), r"v\.mp4"),
        (lambda: Recording("id", "nowhere"), "at least one stream"),
        (lambda: Window("w", "r", "smell", "", (), 0, 5), "smell"),
        (lambda: Window("w", "r", "imu", "", (), 0, 5, quality=1.5), "quality"),
        (lambda: Moment(1, "r", "u", "imu", 3, 2, 0.5, {}, "imu"), "start before its end"),
        (lambda: Moment(0, "r", "u", "imu", 1, 2, 0.5, {}, "imu"), "rank"),
        (lambda: Alignment(None, None, 0.1, (), "m"), "why it was refused"),
        (lambda: Alignment(float("nan"), None, 0.1, (), "m"), "finite"),
    ],
)
def test_what_cannot_be_is_refused(build, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        build()


def test_arrays_of_a_sensor_cannot_be_changed() -> None:
    imu = Imu(T, ACC, T, ACC, "left_wrist")
    with pytest.raises(ValueError, match="read-only"):
        imu.acc_mps2[0] = 1


def test_a_crop_keeps_the_clock() -> None:
    imu = Imu(T, np.arange(15.0).reshape(5, 3), T + 0.5, ACC, "right_pocket").crop(Span(1, 3))
    assert imu.acc_t_s.tolist() == [1, 2]
    assert imu.gyro_t_s.tolist() == [1.5, 2.5]
    assert imu.acc_mps2[0].tolist() == [3, 4, 5]
    assert imu.part == "right_knee"
    with pytest.raises(UsageError, match="outside"):
        imu.crop(Span(10, 11))


def test_media_errors_name_the_file_and_survive_a_process_boundary() -> None:
    import pickle

    error = pickle.loads(pickle.dumps(MediaError("clip.mp4", "is empty")))
    assert isinstance(error, MotionseekError)
    assert (error.path, error.reason, str(error)) == ("clip.mp4", "is empty", "clip.mp4: is empty")
