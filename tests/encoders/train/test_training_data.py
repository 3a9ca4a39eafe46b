"""Simulated training windows: sensors and pose of one batch must show the same movement at the same time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from motionseek.encoders.simulate.procedural import GENERATORS
from motionseek.encoders.train.action_objective import ActionObjective
from motionseek.encoders.train.augment import Augment
from motionseek.encoders.train.data import PLACEMENTS, Corpus, Simulated, build_corpus, draw_batch
from motionseek.encoders.train.evaluate import average_precision, recall_at
from motionseek.encoders.train.loop import FitSettings, fit
from motionseek.encoders.train.motion_objective import MotionObjective

STILL = Augment()


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    rng = np.random.default_rng(0)
    jobs = [(GENERATORS[name](rng, 7.0), 1.0) for name in ("walk", "jump", "stand") for _ in range(4)]
    return build_corpus(jobs, workers=1)


def test_the_corpus_holds_every_clip_once(corpus: Corpus) -> None:
    assert corpus.imu.shape == (corpus.length.sum(), len(PLACEMENTS), 6)
    assert corpus.points_m.shape == (corpus.length.sum(), 17, 3)
    assert [len(corpus.clips_of(label)) for label in corpus.labels] == [4, 4, 4]
    still = corpus.clips_of("stand")[0]
    rest = corpus.imu[corpus.start[still] : corpus.start[still] + corpus.length[still], 5, :3]
    assert np.linalg.norm(rest.mean(0)) == pytest.approx(9.81, abs=0.1)


def test_windows_are_those_of_the_corpus(corpus: Corpus) -> None:
    clips = np.arange(len(corpus.length))
    batch = draw_batch(corpus, clips, np.random.default_rng(0), STILL, slots=np.array([0]))
    left_wrist = PLACEMENTS.index("left_wrist")
    for i, clip in enumerate(clips):
        rows = slice(corpus.start[clip], corpus.start[clip] + corpus.length[clip])
        window = batch.imu[i, 0].T
        found = [
            np.abs(corpus.imu[rows][s : s + 250, left_wrist] - window).max() for s in range(corpus.length[clip] - 249)
        ]
        assert min(found) < 1e-4
    assert not batch.imu_mask[:, 1:].any()


def test_sensor_and_pose_move_together(corpus: Corpus) -> None:
    """Acceleration of the hips and pose of the same window: jumps go up in both at the same time."""
    jumps = np.repeat(corpus.clips_of("jump"), 8)
    batch = draw_batch(corpus, jumps, np.random.default_rng(1), STILL, slots=np.array([5]))
    force = np.linalg.norm(batch.imu[:, 5, :3], axis=1) - 9.81
    hips_up = np.gradient(batch.pose[:, 5, 11], axis=1) * 50  # vertical acceleration of the hips in the picture
    centred = [a - a.mean(1, keepdims=True) for a in (force, hips_up)]
    r = [np.corrcoef(f, h)[0, 1] for f, h in zip(*centred, strict=True)]
    assert np.median(r) > 0.5


@pytest.mark.slow
def test_a_short_fit_learns(corpus: Corpus) -> None:
    clips = np.arange(len(corpus.length))
    motion = MotionObjective()
    fit(motion, Simulated(corpus, clips, 8, STILL), None, FitSettings(steps=3), say=lambda _: None)
    axes = motion.imu.projection
    assert torch.allclose(axes.mT @ axes, torch.eye(axes.shape[-1]).expand(len(axes), -1, -1), atol=1e-3)
    words = {label: torch.eye(256)[i : i + 1] for i, label in enumerate(corpus.labels)}
    data = Simulated(corpus, clips, 12, STILL, captions=words)
    actions = ActionObjective(others=torch.eye(256)[3:4])
    settings = FitSettings(steps=80, lr=1.5e-3, weight_decay=0.02, betas=(0.9, 0.98), warmup=100)
    fit(actions, data, None, settings, say=lambda _: None)
    batch = draw_batch(corpus, clips, np.random.default_rng(2), STILL)
    with torch.no_grad():
        z = actions.imu(torch.from_numpy(batch.imu), torch.from_numpy(batch.imu_mask))
    cosine = torch.nn.functional.normalize(z, dim=-1) @ torch.cat(list(words.values())).T
    assert (cosine.argmax(1).numpy() == corpus.label).mean() > 0.8


def test_metrics_against_hand_counts() -> None:
    score = np.array([0.9, 0.8, 0.7, 0.6])
    assert average_precision(score, np.array([True, False, True, False])) == pytest.approx((1 + 2 / 3) / 2)
    scores = np.array([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.9, 0.8, 0.1]])
    assert recall_at(scores, 1) == pytest.approx(1 / 3)  # the tie in row 1 counts against it
    assert recall_at(scores, 2) == pytest.approx(2 / 3)
