"""Activities by words alone."""

from __future__ import annotations

import numpy as np
import pytest

from motionseek.encoders.zero_shot import FEW, class_vectors, zero_shot


def test_classes_by_words_alone() -> None:
    said = {"a run": [1.0, 0], "a jog": [0, 1.0], "a nap": [-1.0, 0]}
    vectors = class_vectors(
        lambda texts: np.array([said[t] for t in texts]), {"run": ("run", "jog"), "nap": ("nap",)}, ("a {}",)
    )
    np.testing.assert_allclose(vectors, [[0.5**0.5, 0.5**0.5], [-1, 0]], atol=1e-6)
    window = np.array([[0.0, 1.0], [-1.0, 0.0]], np.float32)
    assert zero_shot(window, vectors).argmax(1).tolist() == [0, 1]


def test_a_class_that_lies_near_everything_is_set_back() -> None:
    rng = np.random.default_rng(0)
    classes = np.eye(3, dtype=np.float32)
    # Every window lies nearest to class 0, and beside that to its own.
    label = rng.integers(1, 3, 400)
    x = 0.8 * classes[0] + 0.5 * classes[label] + rng.normal(size=(400, 3)).astype(np.float32) * 0.02
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    assert (zero_shot(x, classes).argmax(1) == 0).all()
    assert (zero_shot(x[:200], classes, x[200:]).argmax(1) == 0).mean() < 0.1
    many = np.concatenate([x[200:]] * 20)
    assert (zero_shot(x[:200], classes, many).argmax(1) == label[:200]).all()


@pytest.mark.parametrize("count", [0, 50, FEW])
def test_how_far(count: int) -> None:
    others = np.tile(np.array([[0.6, 0.8]], np.float32), (count, 1))
    set_back = zero_shot(np.zeros((1, 2), np.float32), np.eye(2, dtype=np.float32), others)
    np.testing.assert_allclose(set_back[0], np.array([0.1, -0.1]) * count / (count + FEW), atol=1e-6)
