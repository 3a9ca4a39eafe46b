"""MoBind's networks against the published outputs, and what becomes of missing parts and samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scipy.spatial.transform import Rotation

from motionseek.encoders.mobind import (
    KINDS,
    PAPER_WEIGHTS,
    STAGE1_WEIGHTS,
    LossWeights,
    MobindConfig,
    Stage1,
    Stage2,
    from_published,
)
from motionseek.encoders.preprocess import picture_grid
from motionseek.encoders.towers import MobindTower, imu_channels
from motionseek.errors import ModelError, UsageError
from motionseek.types import COCO17, PARTS, PoseTrack

PARITY_HEADS = 4
SMALL = {"width": 16, "layers": 1, "heads": 2, "feed_forward": 16, "masked_layers": 1}


def seeded(kind: str = "mobind_stage2", **config: object) -> Stage1:
    torch.manual_seed(0)
    config_type, module = KINDS[kind]
    return module(config_type(**{**SMALL, **config})).eval()


def signal(batch: int = 3, parts: int = 4, channels: int = 7, length: int = 250, seed: int = 0) -> torch.Tensor:
    return torch.randn(batch, parts, channels, length, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def test_stage1_is_the_published_one(parity_dir: Path) -> None:
    z = np.load(parity_dir / "mobind_stage1_seed1.npz", allow_pickle=False)
    model = from_published(load_file(parity_dir / "mobind_stage1_seed1.safetensors"), heads=PARITY_HEADS)
    # One item is one limb of one window.
    imu, pose = (torch.from_numpy(z[name])[:, None] for name in ("in_imu", "in_motion"))
    imu, pose = model.encode_imu(imu), model.encode_pose(pose)
    for encoded, letter in ((imu, "i"), (pose, "m")):
        np.testing.assert_allclose(encoded.token[:, 0], z[f"out_token_{letter}"], atol=1e-5)
        np.testing.assert_allclose(encoded.local[:, 0], z[f"out_cls_{letter}"], atol=1e-5)
    terms = model.loss(imu, pose, STAGE1_WEIGHTS)
    assert terms["local"].item() == pytest.approx(float(z["out_loss_g"]), abs=1e-5)
    assert terms["token"].item() == pytest.approx(float(z["out_loss_l"]), abs=1e-5)
    assert terms["total"].item() == pytest.approx(float(z["out_total_loss"]), abs=1e-5)


@torch.no_grad()
def test_stage2_is_the_published_one(parity_dir: Path) -> None:
    z = np.load(parity_dir / "mobind_stage2_seed1.npz", allow_pickle=False)
    model = from_published(load_file(parity_dir / "mobind_stage2_seed1.safetensors"), heads=PARITY_HEADS)
    imu, pose = model.encode_imu(torch.from_numpy(z["in_imu"])), model.encode_pose(torch.from_numpy(z["in_motion"]))
    for encoded, letter in ((imu, "i"), (pose, "m")):
        np.testing.assert_allclose(encoded.token, z[f"out_token_{letter}"], atol=1e-5)
        np.testing.assert_allclose(encoded.local, z[f"out_local_{letter}"], atol=1e-5)
        np.testing.assert_allclose(encoded.global_, z[f"out_cls_{letter}"], atol=1e-5)
    # The recorded total was taken while evaluating, where the published code hides no tokens.
    terms = model.loss(imu, pose, LossWeights(global_=1.0, multi=0.1))
    assert terms["global_"].item() == pytest.approx(float(z["out_loss_g"]), abs=1e-5)
    assert terms["total"].item() == pytest.approx(float(z["out_total_loss"]), abs=1e-5)


def test_published_sizes() -> None:
    # Counted without the cls_token of each encoder, 256 numbers, which the networks do not use.
    def millions(module: torch.nn.Module) -> float:
        return round((sum(p.numel() for p in module.parameters()) + 2 * 256) / 1e6, 3)

    assert millions(Stage1()) == 3.449
    assert millions(Stage2()) == 8.061
    egohumans = MobindConfig(parts=PARTS[:5], imu_patch=4, pose_patch=4)
    assert (millions(Stage1(egohumans)), millions(Stage2(egohumans))) == (3.318, 8.192)


def test_checkpoints_of_other_networks_are_refused_by_name(parity_dir: Path) -> None:
    state = load_file(parity_dir / "mobind_stage2_seed1.safetensors")
    with pytest.raises(ModelError, match=r"pre_transformer\.weight"):
        from_published({"net.0.weight": torch.zeros(6)})
    with pytest.raises(ModelError, match=r"missing imu_pred\.bias"):
        from_published({name: w for name, w in state.items() if name != "imu_pred.bias"})
    with pytest.raises(ModelError, match=r"imu_agg_proj\.0\.weight is \(128, 256\), not \(128, 320\)"):
        from_published(state, parts=PARTS[:5])
    with pytest.raises(ModelError, match="heads"):
        from_published(state, heads=7)


@torch.no_grad()
def test_what_is_missing_does_not_matter() -> None:
    model, x = seeded(), signal()
    mask = torch.ones(3, 4, 250, dtype=torch.bool)
    mask[0, 1] = False
    mask[1, 2, 100:150] = False
    spoilt = x.masked_fill(~mask[:, :, None], torch.nan)
    out, same = model.encode_imu(spoilt, mask), model.encode_imu(x, mask)
    for name in ("global_", "local", "token"):
        torch.testing.assert_close(getattr(out, name), getattr(same, name), atol=1e-5, rtol=1e-5)
    assert not out.mask[0, 1].any()
    assert out.mask[1, 2].sum() == 20
    assert out.parts.sum() == 11
    assert not out.local[0, 1].any()
    assert not out.token[~out.mask].any()
    # Parts are encoded apart, so that those that are there do not notice.
    torch.testing.assert_close(out.local[0, 2:], model.encode_imu(x).local[0, 2:], atol=1e-5, rtol=1e-5)


def test_missing_parts_leave_no_trace_in_training() -> None:
    x, mask = signal(), torch.ones(3, 4, 250, dtype=torch.bool)
    mask[:, 1:] = False
    whole, alone = seeded("mobind_stage1").train(), seeded("mobind_stage1").train()
    for model, args in ((whole, (x, mask)), (alone, (x[:, :1],))):
        torch.manual_seed(0)
        model.encode_imu(*args)
    for name, buffer in whole.named_buffers():
        torch.testing.assert_close(buffer, alone.get_buffer(name))
    nothing = whole.encode_imu(x, torch.zeros_like(mask))
    assert not nothing.token.any()
    assert not nothing.parts.any()


@torch.no_grad()
def test_a_shorter_window_is_a_window_whose_end_is_missing() -> None:
    model, x = seeded(), signal()
    mask = torch.arange(250).expand(3, 4, 250) < 130
    short = model.encode_imu(x[..., :130])
    assert short.token.shape == (3, 4, 13, 16)
    torch.testing.assert_close(model.encode_imu(x, mask).token[:, :, :13], short.token, atol=1e-5, rtol=1e-5)
    with pytest.raises(UsageError, match="L up to 250"):
        model.encode_imu(signal(length=251))
    with pytest.raises(UsageError, match="mask"):
        model.encode_imu(x, mask[:, 0])
    with pytest.raises(UsageError, match="left_wrist"):
        model.encode_imu(x[:, :3])


@torch.no_grad()
def test_embeddings_are_unit_vectors_or_raw() -> None:
    model, x = seeded(), signal()
    out = model.encode_imu(x)
    unit, raw = out.numpy(), out.numpy(raw=True)
    for name in ("global_", "local", "token"):
        np.testing.assert_allclose(np.linalg.norm(getattr(unit, name), axis=-1), 1, atol=1e-5)
        np.testing.assert_array_equal(getattr(raw, name), getattr(out, name))
    assert unit.mask.all()
    assert seeded("mobind_stage1").encode_imu(x).numpy().global_ is None


@torch.no_grad()
def test_the_loss_compares_only_what_both_have() -> None:
    model, weights = seeded(), LossWeights(global_=1.0, local=1.0, token=0.5, multi=0.1)
    imu_mask, pose_mask = torch.ones(3, 4, 250, dtype=torch.bool), torch.ones(3, 4, 50, dtype=torch.bool)
    imu_mask[:, 3], pose_mask[:, 0], imu_mask[2] = False, False, False
    pose = model.encode_pose(signal(channels=6, length=50, seed=1), pose_mask)
    imu = model.encode_imu(signal(), imu_mask)
    terms = model.loss(imu, pose, weights)
    # Windows 0 and 1 with parts 1 and 2 are all that both have.
    cut = model.loss(
        *(type(e)(e.local[:2, 1:3], e.token[:2, 1:3], e.mask[:2, 1:3], e.global_[:2]) for e in (imu, pose)), weights
    )
    for name in ("global_", "local", "token"):
        assert terms[name].item() == pytest.approx(cut[name].item(), abs=1e-5)
    assert terms["total"].item() == pytest.approx(
        sum(getattr(weights, n) * terms[n].item() for n in terms if n != "total")
    )


def test_an_encoder_passes_any_number_of_windows() -> None:
    encoder = MobindTower(seeded(imu_channels=6), "imu", "motion", "", torch.device("cpu"))
    assert (encoder.rate_hz, encoder.window_s) == (50.0, 5.0)
    pose = MobindTower(seeded("mobind_stage1"), "pose", "motion", "", torch.device("cpu"))
    assert (pose.rate_hz, pose.pose_form, pose.levels) == (10.0, "picture", ("local", "token"))
    x, mask = signal(batch=130, parts=7, channels=6).numpy(), np.ones((130, 7, 250), bool)
    mask[129, 2] = False
    out, last = encoder.encode(x, mask), encoder.encode(x[129:], mask[129:], raw=True)
    assert [out.global_.shape, out.local.shape, out.token.shape] == [(130, 16), (130, 6, 16), (130, 6, 25, 16)]
    unit = last.global_ / np.linalg.norm(last.global_, axis=-1, keepdims=True)
    np.testing.assert_allclose(out.global_[129:], unit, atol=1e-5)
    assert out.mask.any(2)[[0, 129]].tolist() == [[True] * 4 + [False] * 2, [True, True, False, True, False, False]]
    assert pose.encode(signal(parts=6, channels=6, length=50).numpy()).global_ is None
    with pytest.raises(UsageError):
        encoder.encode(x, mask[:3])


def test_published_channels_are_acceleration_and_orientation() -> None:
    x = torch.zeros(1, 1, 6, 200)
    x[0, 0, 1] = 9.80665  # the sensor's y points up
    x[0, 0, 4] = np.pi / 2  # and it turns about it, a quarter of a turn a second
    out = imu_channels(x, MobindConfig(acc_unit_mps2=9.80665), 50.0)[0, 0].numpy()
    assert out.shape == (7, 200)
    np.testing.assert_allclose(out[:3, 10], [0, 1, 0], atol=1e-6)
    turn = Rotation.from_quat(out[3:].T, scalar_first=True)
    np.testing.assert_allclose(turn.apply([0, 1, 0]), np.tile([0, 0, 1], (200, 1)), atol=1e-6)
    about = (turn[0].inv() * turn[50]).as_rotvec()
    np.testing.assert_allclose(about, [0, np.pi / 2, 0], atol=1e-3)


def test_hiding_keeps_six_of_twenty_five() -> None:
    model = seeded()
    generator = torch.Generator().manual_seed(3)
    hidden = model.hide(torch.ones(5, 4, 25, dtype=torch.bool), generator)
    assert (hidden.sum(-1) == 19).all()
    assert len(torch.unique(hidden.flatten(0, 1), dim=0)) > 1
    half = torch.arange(25).expand(5, 4, 25) < 12
    assert not (model.hide(half, generator) & ~half).any()


@torch.no_grad()
def test_hidden_tokens_are_not_seen() -> None:
    model = seeded()
    imu = model.encode_imu(signal())
    hidden = model.hide(imu.mask, torch.Generator().manual_seed(3))
    other = type(imu)(imu.local, imu.token + 5 * hidden[..., None], imu.mask)
    torch.testing.assert_close(model.predict(imu, hidden), model.predict(other, hidden))


@torch.no_grad()
@pytest.mark.parametrize("compat", [False, True])
def test_sensor_ids_are_those_of_the_sensors_unless_compat(compat: bool) -> None:
    model = seeded(compat=compat)
    imu = model.encode_imu(signal(batch=4))
    hidden = model.hide(imu.mask, torch.Generator().manual_seed(3))
    before = model.predict(imu, hidden)
    model.sensor_id_emb.weight[1] += torch.randn(16)
    changed = (model.predict(imu, hidden) - before).abs().amax((-1, -2)) > 1e-4
    expected = torch.zeros(4, 4, dtype=torch.bool)
    # The published order gives a whole window the id of one sensor.
    expected[(1, slice(None)) if compat else (slice(None), 1)] = True
    assert torch.equal(changed, expected)


def test_the_loss_of_the_paper_can_be_trained() -> None:
    model = seeded().train()
    imu_x, pose_x = signal(batch=6), signal(batch=6, channels=6, length=50, seed=1)
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    totals = []
    for _ in range(25):
        optimiser.zero_grad()
        terms = model.loss(model.encode_imu(imu_x), model.encode_pose(pose_x), PAPER_WEIGHTS)
        terms["total"].backward()
        optimiser.step()
        model.clamp_scale()
        totals.append(terms["total"].item())
    assert set(terms) == {"global_", "local", "token", "masked", "total"}
    assert totals[-1] < 0.8 * totals[0]
    assert 0 <= model.logit_scale.item() <= np.log(100)


def test_published_pose() -> None:
    rng = np.random.default_rng(0)
    xy = rng.uniform(0, 400, (5, 17, 2)).astype(np.float32)
    xy[:, COCO17.index("right_ear")] = np.nan
    grid = picture_grid(PoseTrack(np.arange(5) / 10, xy, np.ones((5, 17)), (640, 480)), 10.0)
    assert grid.x.shape == (6, 6, 5)
    elbow, ankle = COCO17.index("left_elbow"), COCO17.index("right_ankle")
    np.testing.assert_allclose(grid.x[PARTS.index("left_wrist"), 1, 0], xy[0, elbow, 0] / 640, rtol=1e-4)
    np.testing.assert_allclose(grid.x[PARTS.index("right_knee"), 5, 4], xy[4, ankle, 1] / 480, rtol=1e-4)
    assert grid.mask.all()
    xy = xy.copy()
    xy[:, elbow] = np.nan
    unseen = picture_grid(PoseTrack(np.arange(5) / 10, xy, np.ones((5, 17)), (640, 480)), 10.0)
    assert unseen.mask.any(1).tolist() == [part != "left_wrist" for part in PARTS]
    assert not unseen.x[0].any()
