import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")
pytest.importorskip("cv2")

from motionseek.indexer.pose import single
from motionseek.indexer.pose.blazepose import _anchors, _merged, _refined
from motionseek.indexer.pose.region import Region, size_of


def test_anchors_are_two_two_and_six_at_each_place_of_three_grids():
    expected = []
    for stride, count in ((8, 2), (16, 2), (32, 6)):
        for y in range(224 // stride):
            for x in range(224 // stride):
                expected += [((x + 0.5) * stride / 224, (y + 0.5) * stride / 224)] * count
    np.testing.assert_allclose(_anchors(), expected)
    assert len(expected) == 2254


def _merged_by_loops(boxes, points, score):
    left = sorted(range(len(score)), key=lambda i: -score[i])
    people = []
    while left:
        same, rest = [], []
        x0, y0, x1, y1 = boxes[left[0]]
        for i in left:
            a0, b0, a1, b1 = boxes[i]
            shared = max(0, min(x1, a1) - max(x0, a0)) * max(0, min(y1, b1) - max(y0, b0))
            union = (x1 - x0) * (y1 - y0) + (a1 - a0) * (b1 - b0) - shared
            (same if shared / union > 0.3 else rest).append(i)
        people.append(sum(score[i] * points[i] for i in same) / sum(score[i] for i in same))
        left = rest
    return np.array(people)


def test_detections_of_one_person_are_averaged_by_score():
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 0.8, (40, 2))
    boxes = np.concatenate([low, low + rng.uniform(0.1, 0.4, (40, 2))], axis=1)
    points, score = rng.uniform(0, 1, (40, 4, 2)), rng.uniform(0.5, 1, 40)
    np.testing.assert_allclose(_merged(boxes, points, score), _merged_by_loops(boxes, points, score), rtol=1e-6)


def _refined_by_loops(points, heatmap):
    """RefineLandmarksFromHeatmap: kernel 9, refined where the best of the kernel is at least 0.5."""
    height, width, _ = heatmap.shape
    out = points.copy()
    for i, (x, y) in enumerate(points):
        column, row = int(x * width), int(y * height)
        if not (0 <= column < width and 0 <= row < height):
            continue
        total = weighted_x = weighted_y = best = 0.0
        for r in range(max(0, row - 4), min(height, row + 5)):
            for c in range(max(0, column - 4), min(width, column + 5)):
                weight = 1 / (1 + np.exp(-heatmap[r, c, i]))
                total, best = total + weight, max(best, weight)
                weighted_x, weighted_y = weighted_x + c * weight, weighted_y + r * weight
        if best >= 0.5:
            out[i] = weighted_x / width / total, weighted_y / height / total
    return out


def test_landmarks_move_to_the_middle_of_their_heatmap():
    rng = np.random.default_rng(1)
    heatmap = rng.normal(-2, 2, (64, 64, 200)).astype(np.float32)
    points = rng.uniform(-0.1, 1.1, (200, 2)).astype(np.float32)
    np.testing.assert_allclose(_refined(points, heatmap), _refined_by_loops(points, heatmap), atol=1e-5)


def test_a_region_is_cut_out_upright_and_its_points_lie_where_they_were():
    picture = np.zeros((200, 300, 3), np.uint8)
    picture[60:64, 198:202] = 255
    # A body lying on its back, head to the right: the region turns it upright, so that its head is at the top.
    region = Region.around(np.float32([0.5, 0.31]), np.float32([2 / 3, 0.31]), size_of(picture))
    assert region.middle == pytest.approx((150, 62))
    assert region.side == pytest.approx(125)
    assert region.angle_rad == pytest.approx(np.pi / 2)
    square = region.cut(picture, 250, black_outside=True)
    y, x = (np.mean(axis) / 250 for axis in np.nonzero(square[..., 0] > 127))
    assert (x, y) == pytest.approx((0.5, 0.1), abs=0.01)
    np.testing.assert_allclose(region.to_picture(np.float32([[x, y]])) * region.picture, [[200, 62]], atol=1)


def test_outside_of_the_picture_it_is_black_or_as_the_edge_is():
    picture = np.full((50, 50, 3), 200, np.uint8)
    region = Region.at(0.0, 25.0, 50.0, 0.0, size_of(picture))
    assert region.cut(picture, 50, black_outside=True)[25, 5, 0] == 0
    assert region.cut(picture, 50, black_outside=False)[25, 5, 0] == 200


def test_overlap_is_shared_area_over_all_area():
    at_0, at_1, at_9 = (Region.at(x, 0, 2, 0, np.float32([10, 10])) for x in (0, 1, 9))
    assert at_0.overlap(at_1) == pytest.approx(1 / 3)
    assert at_0.overlap(at_9) == 0


def test_a_letterbox_is_taken_off():
    whole = Region.whole(np.zeros((100, 200, 3), np.uint8))
    corners = np.float32([[0, 0.25], [1, 0.75]])
    np.testing.assert_allclose(whole.unboxed(corners), [[0, 0], [1, 1]])
    tall = Region.whole(np.zeros((200, 100, 3), np.uint8))
    np.testing.assert_allclose(tall.unboxed(corners[:, ::-1]), [[0, 0], [1, 1]])


def test_single_precision_is_the_c_librarys_within_its_last_bit():
    rng = np.random.default_rng(0)
    x, y = rng.normal(0, 5, (2, 500)).astype(np.float32)
    np.testing.assert_array_max_ulp(single.exp(x), np.exp(x.astype(np.float64)).astype(np.float32))
    for a, b in zip(x, y, strict=True):
        assert single.atan2(a, b) == pytest.approx(np.arctan2(float(a), float(b)), rel=3e-7)
        assert single.cos_sin(a) == pytest.approx((np.cos(float(a)), np.sin(float(a))), abs=1e-7)
