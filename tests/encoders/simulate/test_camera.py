"""The camera against projections worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from motionseek.encoders.simulate.camera import Camera, coco_points, view
from motionseek.encoders.simulate.motion import JOINTS, Motion
from motionseek.errors import UsageError
from motionseek.types import COCO17

STANDING_M = {
    "pelvis": (0, 0.9, 0),
    "chest": (0, 1.15, 0),
    "neck": (0, 1.4, 0),
    "head": (0, 1.5, 0),
    **{f"{side}_shoulder": (s * 0.2, 1.4, 0) for side, s in (("left", 1), ("right", -1))},
    **{f"{side}_elbow": (s * 0.2, 1.12, 0) for side, s in (("left", 1), ("right", -1))},
    **{f"{side}_wrist": (s * 0.2, 0.86, 0) for side, s in (("left", 1), ("right", -1))},
    **{f"{side}_hip": (s * 0.1, 0.9, 0) for side, s in (("left", 1), ("right", -1))},
    **{f"{side}_knee": (s * 0.1, 0.48, 0) for side, s in (("left", 1), ("right", -1))},
    **{f"{side}_ankle": (s * 0.1, 0.08, 0) for side, s in (("left", 1), ("right", -1))},
}


def standing(n: int = 30) -> Motion:
    position = np.tile(np.array([STANDING_M[j] for j in JOINTS], dtype=np.float64), (n, 1, 1))
    return Motion("standing", 30.0, position, np.tile(np.eye(3), (n, len(JOINTS), 1, 1)))


def test_projection_matches_the_pinhole_equation() -> None:
    # 5 m in front, looking back along -z: x to the left of the person is to the right of the picture.
    camera = Camera((0.0, 1.0, 5.0), (0.0, 1.0, 0.0), focal_px=400.0, image_size=(320, 240))
    assert camera.project(np.array([0.5, 1.0, 0.0])) == pytest.approx([160 + 400 * 0.5 / 5, 120])
    assert camera.project(np.array([0.0, 1.5, 1.0])) == pytest.approx([160, 120 - 400 * 0.5 / 4])
    assert np.isnan(camera.project(np.array([0.0, 1.0, 6.0]))).all()


def test_from_the_front_the_left_hand_is_on_the_right_of_the_picture_and_from_behind_on_the_left() -> None:
    left, right = COCO17.index("left_wrist"), COCO17.index("right_wrist")
    front, back = (view(standing(), Camera.around(standing(), azimuth_deg=a)).xy_px[0] for a in (0, 180))
    assert front[left, 0] > front[right, 0]
    assert back[left, 0] < back[right, 0]
    assert front[COCO17.index("nose"), 1] < front[left, 1] < front[COCO17.index("left_ankle"), 1]


def test_the_face_lies_on_the_head_and_looks_forward() -> None:
    points = dict(zip(COCO17, coco_points(standing())[0], strict=True))
    assert points["nose"][2] > points["left_eye"][2] > points["left_ear"][2]
    assert points["left_eye"][0] > 0 > points["right_eye"][0]
    assert points["left_knee"] == pytest.approx(STANDING_M["left_knee"])


@pytest.mark.parametrize("azimuth_deg", [0, 50, 135, 270])
@pytest.mark.parametrize("image_size", [(320, 240), (240, 426)])
def test_a_camera_around_a_motion_sees_all_of_it_and_no_more_than_needed(
    azimuth_deg: float, image_size: tuple[int, int]
) -> None:
    walk = standing(60)
    position = walk.position_m + np.linspace(0, 4, 60)[:, None, None] * [0, 0, 1]
    walk = Motion("walk", 30.0, position, walk.rotation)
    camera = Camera.around(walk, azimuth_deg, 15, image_size=image_size, margin=0.1)
    track = view(walk, camera)
    assert np.isfinite(track.xy_px).all()
    assert (track.confidence == 1).all()
    reach = np.abs(track.xy_px / (np.array(image_size) / 2) - 1).max()
    assert reach == pytest.approx(0.9, abs=1e-3)


def test_what_lies_outside_the_picture_is_unseen() -> None:
    camera = Camera((0.0, 1.4, 1.5), (0.0, 1.4, 0.0), focal_px=300.0, image_size=(320, 240))
    track = view(standing(), camera)
    ankle, nose = COCO17.index("left_ankle"), COCO17.index("nose")
    assert np.isnan(track.xy_px[:, ankle]).all()
    assert (track.confidence[:, ankle] == 0).all()
    assert np.isfinite(track.xy_px[:, nose]).all()


def test_noise_and_losses_are_as_asked() -> None:
    motion = standing(600)
    camera = Camera.around(motion)
    clean = view(motion, camera, start_s=3.0)
    track = view(motion, camera, rng=np.random.default_rng(0), noise_px=2.0, drop=0.1)
    assert clean.start_s == 3.0
    assert np.nanstd(track.xy_px - clean.xy_px) == pytest.approx(2.0, rel=0.05)
    assert np.isnan(track.xy_px[..., 0]).mean() == pytest.approx(0.1, abs=0.03)
    assert (track.confidence[np.isnan(track.xy_px[..., 0])] == 0).all()


def test_wrong_use_is_said() -> None:
    with pytest.raises(UsageError, match="rng"):
        view(standing(), Camera.around(standing()), noise_px=1.0)
    with pytest.raises(UsageError, match="elevation_deg"):
        Camera.around(standing(), elevation_deg=90)
    with pytest.raises(UsageError, match="straight"):
        Camera((0.0, 2.0, 0.0), (0.0, 0.0, 0.0), 100.0, (320, 240))
