"""Recognising activities from a trained encoder's vectors, in four ways."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from motionseek.encoders import imu2clip, mobind
from motionseek.encoders.base import Encoder
from motionseek.encoders.motion import ActionConfig, ActionEncoder, MotionConfig, MotionEncoder
from motionseek.encoders.towers import ActionTower, MobindTower, MotionTower, SensorTower
from motionseek.encoders.train.downstream import Recogniser, accuracy, macro_f1, mixed, recognise
from motionseek.encoders.train.loop import FitSettings
from motionseek.encoders.train.windows import TrainBatch
from motionseek.errors import UsageError

CPU = torch.device("cpu")
SMALL = {"width": 16, "layers": 1, "heads": 2, "feed_forward": 16, "masked_layers": 1}
TOWERS = {
    "action": lambda: ActionTower(ActionEncoder(ActionConfig("imu", width=16, output_dim=8)), "imu", "clip", "", CPU),
    "motion": lambda: MotionTower(MotionEncoder(MotionConfig("imu", width=16)), "imu", "motion", "", CPU),
    "imu2clip": lambda: SensorTower(imu2clip.Stack(imu2clip.StackConfig(width=16)), "imu", "clip", "", CPU),
    "mobind": lambda: MobindTower(
        mobind.Stage2(mobind.MobindConfig(imu_channels=6, **SMALL)), "imu", "motion", "", CPU
    ),
}


class Shaking:
    """Windows of three ways of shaking: 1, 2 or 4 times a second, two sensors worn."""

    steps = 8

    def batch(self, step: int, *, rank: int = 0, world: int = 1, size: int = 24) -> TrainBatch:
        rng = np.random.default_rng(step)
        label = rng.integers(0, 3, size)
        t_s = np.arange(250) / 50
        phase = rng.uniform(0, 2 * np.pi, (size, 1))
        wave = np.sin(2 * np.pi * (2.0**label)[:, None] * t_s + phase)
        x = np.zeros((size, 7, 6, 250), np.float32)
        x[:, :2] = (wave[:, None, None] * 4 + rng.normal(size=(size, 2, 6, 250))).astype(np.float32)
        mask = np.zeros((size, 7, 250), np.bool_)
        mask[:, :2] = True
        nothing = torch.zeros(size, 6, 12, 250)
        return TrainBatch(
            imu=torch.from_numpy(x),
            imu_mask=torch.from_numpy(mask),
            pose=nothing,
            pose_mask=nothing[:, :, 0].bool(),
            text=None,
            text_mask=None,
            video=None,
            video_mask=None,
            label=torch.from_numpy(label),
            window_ids=tuple(map(str, range(size))),
        )


def held_out(recogniser: nn.Module) -> float:
    batch = Shaking().batch(10_000, size=90)
    with torch.no_grad():
        guess = recogniser.scores(batch.imu, batch.imu_mask).argmax(1)
    return accuracy(batch.label.numpy(), guess.numpy())


@pytest.mark.parametrize("kind", TOWERS)
def test_a_network_learns_what_is_shaken_how(kind: str) -> None:
    torch.manual_seed(0)
    tower: Encoder = TOWERS[kind]()
    before = {n: w.clone() for n, w in tower.net.state_dict().items()}
    learned = recognise(tower, Shaking(), 3, "fine-tune", FitSettings(steps=30, lr=3e-3), say=lambda _: None)
    assert held_out(learned) > 0.8
    assert all(torch.equal(w, before[n]) for n, w in tower.net.state_dict().items())


def test_a_probe_leaves_the_encoder_and_scratch_forgets_it() -> None:
    torch.manual_seed(0)
    settings = FitSettings(steps=30, lr=1e-2)
    trained = recognise(TOWERS["action"](), Shaking(), 3, "fine-tune", settings, say=lambda _: None)
    tower = ActionTower(trained.net, "imu", "clip", "", CPU)
    probe = recognise(tower, Shaking(), 3, "probe", settings, say=lambda _: None)
    assert all(torch.equal(w, tower.net.state_dict()[n]) for n, w in probe.net.state_dict().items())
    assert held_out(probe) > 0.8
    scratch = recognise(tower, Shaking(), 3, "scratch", FitSettings(steps=1, lr=1e-9), say=lambda _: None)
    assert not torch.equal(scratch.net.state_dict()["trunk.conv2.weight"], tower.net.state_dict()["trunk.conv2.weight"])
    with pytest.raises(UsageError, match="way"):
        recognise(tower, Shaking(), 3, "magic", settings)  # type: ignore[arg-type]


def test_words_pull_each_class_to_theirs() -> None:
    torch.manual_seed(0)
    words = np.linalg.qr(np.random.default_rng(0).normal(size=(8, 8)))[0][:3].astype(np.float32)
    settings = FitSettings(steps=45, lr=3e-3)
    learned = recognise(TOWERS["action"](), Shaking(), 3, "fine-tune", settings, words=words, say=lambda _: None)
    assert held_out(learned) > 0.8
    batch = Shaking().batch(10_000, size=90)
    with torch.no_grad():
        vector = learned.encode(batch)["vector"].numpy()
    assert accuracy(batch.label.numpy(), (vector @ words.T).argmax(1)) > 0.8
    for way, wrong in (("probe", words), ("fine-tune", words[:, :4])):
        with pytest.raises(UsageError, match="words"):
            recognise(TOWERS["action"](), Shaking(), 3, way, settings, words=wrong)  # type: ignore[arg-type]


def test_windows_are_mixed_with_others_of_the_same_sensors() -> None:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    there = rng.random((400, 7, 1)) < 0.3
    there[:, 0] = True
    there[0], there[1:, 6] = True, False  # the first window's sensors are like no other's
    mask = torch.from_numpy(there & (rng.random((400, 7, 20)) < 0.9))
    mask[:, :, 3] = torch.from_numpy(there[..., 0])
    imu = torch.from_numpy(rng.normal(size=(400, 7, 6, 20)).astype(np.float32)) * mask[:, :, None]
    sums, seen, partner, share = mixed(imu, mask, 1.0)
    for i, k in enumerate(partner.tolist()):
        assert np.array_equal(there[i], there[k])
        torch.testing.assert_close(sums[i], share[i] * imu[i] + (1 - share[i]) * imu[k])
        assert torch.equal(seen[i], mask[i] | mask[k])
    alone = np.array([i == k for i, k in enumerate(partner.tolist())])
    kind = np.unique(there[..., 0], axis=0, return_inverse=True)[1]
    assert alone[0]
    assert np.bincount(kind[alone]).max() == 1
    # Beta(1, 1) is uniform, so the larger share is uniform from 1/2 to 1
    assert ((share >= 0.5) & (share <= 1)).all()
    assert share.mean().item() == pytest.approx(0.75, abs=0.03)


def test_missing_sensors_change_nothing_of_a_vector() -> None:
    torch.manual_seed(0)
    tower = TOWERS["action"]()
    batch = Shaking().batch(0)
    mask = batch.imu_mask.clone()
    mask[:12, 0], mask[12:20, 1] = False, False
    learner = Recogniser(tower, 3, "fine-tune").eval()
    with torch.no_grad():
        torch.testing.assert_close(learner.encode(replace(batch, imu_mask=mask))["vector"], tower.net(batch.imu, mask))


def test_a_mixed_window_is_of_both_classes() -> None:
    torch.manual_seed(0)
    words = np.linalg.qr(np.random.default_rng(0).normal(size=(8, 8)))[0][:3].astype(np.float32)
    learner = Recogniser(TOWERS["action"](), 3, "fine-tune", words, mixup=0.4)
    batch = Shaking().batch(0)
    label = torch.where(torch.arange(24) < 20, batch.label, -1)
    found = learner.train().encode(replace(batch, label=label))
    share, whose = found["share"], (found["label"], found["other"])
    target = sum(s[:, None] * F.one_hot(w + 1, 4)[:, 1:] for s, w in zip((share, 1 - share), whose, strict=True))
    near = F.cosine_similarity(found["vector"][:, None], torch.from_numpy(words)[None], dim=-1)
    terms = learner.loss(found)
    for name, logits in (("classes", found["scores"]), ("words", near * learner.log_scale.exp())):
        expected = F.cross_entropy(logits, target, reduction="sum") / target.sum()
        torch.testing.assert_close(terms[name], expected)
    assert (learner.eval().encode(batch)["share"] == 1).all()


def test_a_network_learns_from_mixed_windows() -> None:
    torch.manual_seed(0)
    settings = FitSettings(steps=60, lr=3e-3)
    learned = recognise(TOWERS["action"](), Shaking(), 3, "fine-tune", settings, mixup=0.4, say=lambda _: None)
    assert held_out(learned) > 0.8
    with pytest.raises(UsageError, match="mixup"):
        recognise(TOWERS["action"](), Shaking(), 3, "fine-tune", settings, mixup=-1.0)


def test_scores_by_hand() -> None:
    label, guess = np.array([0, 0, 0, 1, 2]), np.array([0, 0, 1, 1, 1])
    assert accuracy(label, guess) == pytest.approx(0.6)
    # class 0: 2·2/(3+2), class 1: 2·1/(1+3), class 2: 0
    assert macro_f1(label, guess) == pytest.approx((0.8 + 0.5 + 0) / 3)
