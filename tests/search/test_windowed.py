"""Motion models that see one window at a time, as the published ones: found by whole windows, beside brute force."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from stand_ins import a_recording, an_imu

import motionseek as ms
from motionseek.encoders.mobind import KINDS, MobindConfig
from motionseek.encoders.model import load_model, save_model
from motionseek.encoders.preprocess import imu_grid
from motionseek.types import Span

SMALL = {"imu_channels": 6, "width": 16, "layers": 1, "heads": 2, "feed_forward": 16, "masked_layers": 1}
CUT_S = (3.0, 9.5)


def folder_of(kind, folder):
    torch.manual_seed(3)
    network = KINDS[kind][1](MobindConfig(**SMALL)).eval()
    save_model(folder, {"name": kind}, {("motion", m): network for m in ("imu", "pose")}, half=False)
    return folder


@pytest.fixture(scope="module")
def takes():
    return [a_recording(seed, 14.0, video=seed != 3, imu=seed != 2) for seed in range(5)]


@pytest.fixture(scope="module")
def archive(takes, tmp_path_factory):
    root = tmp_path_factory.mktemp("windowed")
    model = folder_of("mobind_stage2", root / "model")
    assert not ms.index(takes, root / "archive", models=[model]).failed
    return ms.open(root / "archive")


def brute(archive, sensors, modality):
    """recording_id → the best cosine of a window of the archive with any window of the query, 0.2 s apart."""
    model = load_model(archive.spaces["motion"].name)
    grid = imu_grid(sensors, 50.0, Span(*CUT_S))
    first = np.unique(np.clip(np.rint((np.linspace(0, 1.5, 5)[:, None] + np.arange(5) * 0.2) * 50), 0, 75).astype(int))
    x = np.stack([grid.x[:, :, at : at + 250] for at in first])
    mask = np.stack([grid.mask[:, at : at + 250] for at in first])
    asked = model.encode_imu(x, mask).global_
    windows, vectors = archive.store.vectors("motion", "global", ms.Filter(modality=modality))
    cosine = (vectors @ asked.T).max(axis=1)
    of = np.array(windows["recording_id"].to_pylist())
    return {r: cosine[of == r].max() for r in np.unique(of).tolist()}


@pytest.mark.parametrize(("target", "through"), [("imu", "imu"), ("pose", "pose"), ("video", "pose")])
def test_a_sensor_finds_what_brute_force_finds(archive, takes, target, through):
    sensors = takes[1].imus
    query = ms.Query.of(list(sensors)).within(Span(*CUT_S))
    found = archive.search(query, target=target, k=10)
    wanted = brute(archive, sensors, through)
    if target == "video":
        wanted = {r: score for r, score in wanted.items() if r != takes[3].recording_id}
    assert {m.recording_id: m.score for m in found} == pytest.approx(wanted, abs=2e-3)
    assert {m.through for m in found} == {through}
    assert [m.score for m in found] == sorted((m.score for m in found), reverse=True)
    if target == "imu":
        assert found[0].recording_id == takes[1].recording_id
        assert found[0].offset_s == pytest.approx(0.0, abs=0.11)
        assert (found[0].start_s, found[0].end_s) == pytest.approx(CUT_S, abs=0.11)
        why = archive.explain(query, found[0])
        assert why.space == "motion"
        assert why.rows == ("windows",)
        assert why.mean[0] > 0.9


def test_bodies_find_sensors_and_moments_find_moments(archive, takes):
    found = archive.search(takes[2].poses[0], target="imu", k=10)
    assert {m.recording_id for m in found} == {t.recording_id for t in takes if t.imus}
    like = archive.search(found[0], target="imu", k=10)
    assert {m.path[0] for m in like} == {"moment"}
    times_s, scores = archive.score_along(list(takes[4].imus), takes[4].recording_id, through="imu")
    assert len(times_s) == len(scores) == 10
    assert scores.max() > 0.99


def test_what_such_a_model_cannot_do_is_said(archive, takes, tmp_path):
    sensor = takes[1].imus[0]
    for rerank in ("local", "token"):
        with pytest.raises(ms.QueryError, match="use rerank='none'"):
            archive.search(sensor, target="pose", rerank=rerank)
    with pytest.raises(ms.QueryError, match="--placement"):
        archive.search(an_imu(1, np.arange(0, 6, 0.02), "unknown"), target="pose")
    with pytest.raises(ms.QueryError, match="no usable motion"):
        archive.search(an_imu(1, np.arange(0, 6, 0.02), "head"), target="pose")
    with pytest.raises(ms.QueryError, match="no model of this archive understands a text query"):
        archive.search("jumping", target="pose")
    parts_only = folder_of("mobind_stage1", tmp_path / "model")
    assert not ms.index(takes[:2], tmp_path / "archive", models=[parts_only]).failed
    with pytest.raises(ms.QueryError, match="of parts only, none of whole windows"):
        ms.open(tmp_path / "archive").search(sensor, target="pose")
