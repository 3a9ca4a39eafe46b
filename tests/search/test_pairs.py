"""Every sense asked with, every sense found: which way each answer came, and that it came from the right place."""

from __future__ import annotations

import json

import numpy as np
import pytest
from stand_ins import a_pose, an_imu, random_model
from test_frames import _film, clip_folder  # noqa: F401

import motionseek as ms
from motionseek.demo.recordings import write_imu, write_pose
from motionseek.indexer.filters import Filter
from motionseek.search.encode import video_probes

SENSES = ("text", "imu", "pose", "video")
WAYS = {
    ("text", "text"): "text text",
    ("text", "imu"): "text imu",
    ("text", "pose"): "text pose",
    ("text", "video"): {"text imu video", "text pose video", "text video"},
    ("imu", "text"): "imu text",
    ("imu", "imu"): "imu imu",
    ("imu", "pose"): "imu pose",
    ("imu", "video"): "imu pose video",
    ("pose", "text"): "pose text",
    ("pose", "imu"): "pose imu",
    ("pose", "pose"): "pose pose",
    ("pose", "video"): "pose pose video",
    ("video", "text"): "video text",
    ("video", "imu"): "video video imu",
    ("video", "pose"): "video video pose",
    ("video", "video"): "video video",
}
COMPOSED = {
    ("text", "imu", "video"): "text imu video",
    ("imu", "pose", "text"): "imu pose video text",
    ("imu", "imu", "text"): "imu imu text",
    ("text", "pose", "imu"): "text pose video imu",
    ("video", "video", "text"): "video video text",
    ("pose", "imu", "video"): "pose imu video",
}


@pytest.fixture(scope="module")
def world(tmp_path_factory, clip_folder):  # noqa: F811
    """Four folders with a film, a sensor, keypoints and two sentences each."""
    root = tmp_path_factory.mktemp("pairs")
    for seed in range(4):
        home = root / "takes" / str(seed)
        home.mkdir(parents=True)
        _film(home / "film.mp4", seed, seconds=8.0)
        write_imu(home / "watch.csv", an_imu(seed, np.arange(0, 8, 0.02)))
        write_pose(home / "pose.json", a_pose(seed, np.arange(0, 8, 1 / 30)))
        told = [{"start_s": a, "end_s": a + 4.0, "text": f"take {seed} part {a:g}"} for a in (0.0, 4.0)]
        manifest = {
            "video": {"path": "film.mp4"},
            "imu": [{"path": "watch.csv", "placement": "right_wrist"}],
            "pose": [{"path": "pose.json"}],
            "narrations": told,
        }
        (home / "recording.json").write_text(json.dumps(manifest))
    models = (random_model(), f"open_clip:local-dir:{clip_folder}@frames")
    assert not ms.index([root / "takes"], root / "archive", models=models).failed
    return root / "takes", ms.open(root / "archive", models=models)


def asked(takes, sense):
    home = takes / "2"
    match sense:
        case "text":
            return "take 2 part 4"
        case "imu":
            return ms.Query.from_file(f"{home / 'watch.csv'}@1-7", placement="right_wrist")
        case "pose":
            return ms.Query.from_file(f"{home}@1-7", modality="pose")
    return ms.Query.from_file(f"{home / 'film.mp4'}@1-7", modality="video")


@pytest.mark.parametrize("target", SENSES)
@pytest.mark.parametrize("sense", SENSES)
def test_every_pair(world, sense, target):
    takes, archive = world
    found = archive.search(asked(takes, sense), target=target, k=10)
    ways = WAYS[sense, target]
    assert {" ".join(m.path) for m in found} <= (ways if isinstance(ways, set) else {ways})
    assert len(found) == 4
    for m in found:
        assert (m.modality, m.path[0], m.path[-1]) == (target, sense, target)
        assert m.through in m.path[1:]
        assert 0 <= m.start_s < m.end_s <= 8.05
        assert m.to_json()["path"] == list(m.path)
    # What was asked with is in the archive itself: where like meets like, it is found.
    if m.path[1] == sense:
        assert "/2" in found[0].uri
    if target == "text":
        assert found[0].caption.startswith("take ")
        assert all((m.start_s, m.end_s) in ((0, 4), (4, 8)) for m in found)


@pytest.mark.parametrize(("sense", "through", "target"), COMPOSED)
def test_composed_ways(world, sense, through, target):
    takes, archive = world
    found = archive.search(asked(takes, sense), target=target, through=through, k=10, group=False)
    assert {" ".join(m.path) for m in found} == {COMPOSED[sense, through, target]}
    assert {m.through for m in found} == {through}
    if target == "text" and sense == through:
        assert found[0].caption.startswith("take 2")
        assert found[0].caption.endswith(f"part {found[0].start_s:g}")


def test_a_sum_across_film_and_words(world):
    """Pictures of a random network all lie close together: which of them a word draws nearer, brute force says."""
    takes, archive = world
    film = ms.Query.from_file(f"{takes / '2' / 'film.mp4'}@1-7", modality="video")
    for weight in (0.0, 0.2, -0.2):
        query = film + weight * ms.Query.of("a red square") if weight else film
        found = archive.search(query, target="video", k=4)
        windows, vectors = archive.store.vectors("frames", "global", Filter(modality="video"))
        asked_with = archive.score_along(query, found[0].recording_id, through="video")[1]
        mine = np.array(windows["recording_id"].to_pylist()) == found[0].recording_id
        total = summed(archive, film, weight)
        assert asked_with == pytest.approx(vectors[mine] @ total, abs=1e-4)
        best = {r: max(vectors[np.array(windows["recording_id"].to_pylist()) == r] @ total) for r in archive.sources}
        assert {m.recording_id: m.score for m in found} == pytest.approx(best, abs=1e-4)
        assert all(m.path == ("text+video" if weight else "video", "video") for m in found)
        if not weight:
            assert "/2" in found[0].uri
    like = archive.search(found[0], target="video", through="video", k=10)
    assert found[0].recording_id not in {m.recording_id for m in like if m.start_s < found[0].end_s}
    assert {m.path[0] for m in like} == {"moment"}


def summed(archive, film, weight):
    model = archive._loaded.model("frames")
    word = model.encode_text(["a red square"]).global_[0]
    picture = video_probes(film, model.encoders["frames", "video"]).vector.mean(axis=0)
    total = picture / np.linalg.norm(picture) + weight * word
    return total / np.linalg.norm(total)


def test_through_what_is_not_there(world):
    takes, archive = world
    with pytest.raises(ms.QueryError, match=r"vectors of video that imu can be .*no recording with video"):
        archive.search(asked(takes, "imu"), target="video", through="video")
    with pytest.raises(ms.QueryError, match="through 'smell'"):
        archive.search("x", through="smell")
