"""What IMU2CLIP and MoBind are trained for: who counts, against what, and that they learn it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from motionseek.encoders import imu2clip
from motionseek.encoders.mobind import LossWeights, MobindConfig
from motionseek.encoders.train import losses
from motionseek.encoders.train.objectives import Imu2ClipObjective, MobindObjective
from motionseek.encoders.train.windows import Objective, TrainBatch
from motionseek.errors import UsageError

PARTS = ("left_wrist", "right_knee")
SMALL = MobindConfig(
    parts=PARTS,
    imu_channels=6,
    pose_channels=12,
    pose_patch=10,
    width=16,
    layers=1,
    heads=2,
    feed_forward=16,
    masked_layers=1,
)


def windows(b: int = 8, length: int = 100, seed: int = 0, width: int = 12) -> TrainBatch:
    """Sensors and pose that share a slow random course; vectors that are a fixed map of it."""
    g = torch.Generator().manual_seed(seed)
    course = F.interpolate(torch.randn(b, 6, length // 10, generator=g), length, mode="linear")
    text = F.normalize(course[:, :, ::10].flatten(1) @ torch.randn(6 * (length // 10), width, generator=g), dim=-1)
    return TrainBatch(
        imu=course[:, None].repeat(1, 7, 1, 1),
        imu_mask=torch.ones(b, 7, length, dtype=torch.bool),
        pose=course.repeat(1, 2, 1)[:, None].repeat(1, 6, 1, 1),
        pose_mask=torch.ones(b, 6, length, dtype=torch.bool),
        text=text,
        text_mask=torch.ones(b, dtype=torch.bool),
        video=None,
        video_mask=None,
        label=torch.full((b,), -1),
        window_ids=tuple(f"w{i}" for i in range(b)),
    )


def losses_falling(objective: Objective, batch: TrainBatch, steps: int = 60) -> tuple[float, float]:
    torch.manual_seed(0)
    optimiser = torch.optim.Adam([p for p in objective.parameters() if p.requires_grad], lr=3e-3)
    seen = []
    for _ in range(steps):
        terms = objective(batch)
        optimiser.zero_grad()
        terms["loss"].backward()
        optimiser.step()
        objective.after_step()
        seen.append(terms["loss"].item())
    return seen[0], seen[-1]


@pytest.mark.parametrize("kind", imu2clip.KINDS)
@pytest.mark.parametrize("loss", ["infonce", "triplet", "mse"])
def test_every_encoder_learns_from_every_loss(kind: str, loss: str) -> None:
    torch.manual_seed(0)
    objective = Imu2ClipObjective(kind, {"width": 12}, loss=loss)
    first, last = losses_falling(objective, windows(), steps=25)
    assert last < first


def test_a_window_counts_for_what_it_has() -> None:
    torch.manual_seed(0)
    batch = windows()
    video = F.normalize(torch.randn(8, 12), dim=-1)
    has_text, has_video = torch.arange(8) < 5, torch.arange(8) >= 3
    batch = replace(batch, text_mask=has_text, video=video, video_mask=has_video)
    batch.imu_mask[4] = False  # no sensor at all
    objective = Imu2ClipObjective(config={"width": 12}, targets=("text", "video"), temperature=0.1)
    terms = objective(batch)
    imu = objective.encode(batch)["imu"]
    for name, vectors, rows in (("text", batch.text, [0, 1, 2, 3]), ("video", video, [3, 5, 6, 7])):
        assert vectors is not None
        alone = losses.info_nce(imu[rows], vectors[rows], 10.0)
        assert terms[name].item() == pytest.approx(alone.item(), abs=1e-5)
    assert terms["loss"].item() == pytest.approx(terms["text"].item() + terms["video"].item(), abs=1e-5)
    assert not objective.log_scale.requires_grad
    a, b = objective.sides(batch)
    assert a.shape == b.shape == (4, 12)
    # Without the other's vectors nothing is to be learned, and nothing breaks.
    assert Imu2ClipObjective(config={"width": 12}, targets=("video",))(windows())["loss"].item() == 0


def test_twins_are_not_each_others_negatives() -> None:
    batch = windows()
    assert batch.text is not None
    batch.text[1] = batch.text[0]
    torch.manual_seed(0)
    spared = Imu2ClipObjective(config={"width": 12})
    torch.manual_seed(0)
    published = Imu2ClipObjective(config={"width": 12}, spare_twins=False)
    assert spared(batch)["loss"] < published(batch)["loss"]


def test_a_window_vector_is_the_mean_of_its_sensors() -> None:
    torch.manual_seed(0)
    objective = Imu2ClipObjective(config={"width": 12}).eval()
    batch = windows(3)
    batch.imu_mask[:, 2:] = False
    batch.imu[:, 1] *= -1
    one, two = (F.normalize(objective.net(batch.imu[:, i], batch.imu_mask[:, i]), dim=-1) for i in (0, 1))
    assert torch.allclose(objective.encode(batch)["imu"], (one + two) / 2, atol=1e-6)


@pytest.mark.parametrize("stage", [1, 2])
def test_mobind_learns(stage: int) -> None:
    torch.manual_seed(0)
    objective = MobindObjective(SMALL, stage=stage, window=0.5, items=0.5, drop=1)
    first, last = losses_falling(objective, windows(), steps=40)
    assert last < 0.8 * first
    a, b = objective.eval().sides(windows())
    assert a.shape == b.shape
    if stage == 1:  # tokens are quick to tell windows apart, the whole body's vector is not
        assert np.array_equal((a @ b.T).argmax(1), np.arange(8))


def test_mobind_terms_are_its_losses() -> None:
    torch.manual_seed(0)
    objective = MobindObjective(SMALL, stage=2, weights=LossWeights(local=1, token=0.5), window=2.0, items=3.0).eval()
    batch = windows()
    batch.imu_mask[0, 3] = False  # the knee's sensor of one window
    terms = objective(batch)
    assert set(terms) == {"local", "token", "window", "items", "loss"}
    total = terms["local"] + 0.5 * terms["token"] + 2 * terms["window"] + 3 * terms["items"]
    assert terms["loss"].item() == pytest.approx(total.item(), abs=1e-5)
    encoded = objective.encode(batch)
    a, b = (F.normalize(encoded[f"{s}.token"], dim=-1) for s in ("imu", "pose"))
    scale = objective.net.logit_scale.exp()
    there = (encoded["imu.mask"] & encoded["pose.mask"])[:, 1]
    assert not there[0].any()
    rows = {0: slice(None), 1: slice(1, None)}
    each = [losses.info_nce(a[rows[p], p, t], b[rows[p], p, t], scale) for p in (0, 1) for t in range(10)]
    counts = torch.tensor([8.0] * 10 + [7.0] * 10)
    expected = (torch.stack(each) * counts).sum() / counts.sum()
    assert terms["items"].item() == pytest.approx(expected.item(), abs=1e-4)


def test_the_second_stage_goes_on_from_the_first() -> None:
    torch.manual_seed(0)
    first = MobindObjective(SMALL, stage=1)
    second = MobindObjective(SMALL, stage=2, start=first.net.state_dict())
    assert torch.equal(second.net.imu_encoder.conv1.weight, first.net.imu_encoder.conv1.weight)
    with pytest.raises(UsageError, match="cls"):
        MobindObjective(SMALL, start={"cls": torch.zeros(1)})


def test_what_cannot_be_trained_is_said() -> None:
    with pytest.raises(UsageError, match="width = 12"):
        Imu2ClipObjective(config={"width": 16})(windows())
    with pytest.raises(UsageError, match="imu3clip"):
        Imu2ClipObjective("imu3clip")
    with pytest.raises(UsageError, match="audio"):
        Imu2ClipObjective(targets=("audio",))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="pose_channels = 6"):
        MobindObjective(replace(SMALL, pose_channels=6))(windows())
    with pytest.raises(UsageError, match="drop = 2"):
        MobindObjective(SMALL, drop=2)
