"""Film found by its frames: an open_clip model beside another model, in one archive."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from stand_ins import random_model

from motionseek.encoders._torchvision import import_torchvision
from motionseek.encoders.model import load_model
from motionseek.errors import ArchiveError
from motionseek.indexer.pipeline import index
from motionseek.search.archive import open as open_archive

TINY = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tiny-clip")
    (root / "open_clip_config.json").write_text(json.dumps({"model_cfg": TINY, "preprocess_cfg": {}}))
    import_torchvision()
    import open_clip

    torch.manual_seed(0)
    save_file(open_clip.CLIP(**TINY).state_dict(), root / "open_clip_model.safetensors")
    return root


def _film(path: Path, seed: int, seconds: float = 6.0) -> None:
    rng = np.random.default_rng(seed)
    picture = np.kron(rng.integers(0, 255, (6, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"g": "10"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i in range(int(seconds * 10)):
            frame = av.VideoFrame.from_ndarray(np.roll(picture, i // 5, axis=1))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("films")
    for seed in range(4):
        _film(root / f"{seed}.mp4", seed)
    t_s = np.arange(0, 6, 0.02)
    rows = np.column_stack([t_s, np.zeros((300, 2)), np.full(300, 9.81), np.zeros((300, 3))])
    folder = root / "worn"
    folder.mkdir()
    _film(folder / "film.mp4", 9)
    header = "t_s,ax_mps2,ay_mps2,az_mps2,gx_rps,gy_rps,gz_rps"
    np.savetxt(folder / "watch.csv", rows, delimiter=",", header=header, comments="")
    manifest = {"video": {"path": "film.mp4"}, "imu": [{"path": "watch.csv", "placement": "left_wrist"}]}
    (folder / "recording.json").write_text(json.dumps(manifest))
    return root


def test_frames_and_sensors_answer_side_by_side(films: Path, clip_folder: Path, tmp_path: Path) -> None:
    spec = f"open_clip:local-dir:{clip_folder}@frames"
    with_sensors = random_model()
    report = index([films], tmp_path / "a", models=(with_sensors, spec))
    assert not report.failed
    archive = open_archive(tmp_path / "a", models=(with_sensors, spec))
    found = archive.search("a red square", target="video", k=10)
    assert len(found) == 5
    ranks = [m.scores["standard"] for m in found]
    assert ranks == sorted(ranks, reverse=True)
    films_only = [m for m in found if m.uri.endswith(".mp4")]
    assert {m.through for m in films_only} == {"video"}

    clip = load_model(spec)
    text = clip.encode_text(["a red square"]).global_
    assert text is not None
    for moment in films_only:
        times_s, scores = archive.score_along("a red square", moment.recording_id, through="video")
        assert moment.scores["global"] == pytest.approx(scores.max(), abs=2e-3)
        assert len(times_s) == len(scores)

    asked = films / "2.mp4"
    best = archive.search(asked, target="video", k=1)[0]
    assert best.uri == str(asked)
    assert best.scores["global"] == pytest.approx(1, abs=0.02)


def test_two_models_in_one_space_are_refused_with_the_way_out(films: Path, clip_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="@frames"):
        index([films], tmp_path / "a", models=(random_model(), f"open_clip:local-dir:{clip_folder}"))
