"""A bare video becomes searchable by the movement of the people in it."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

import motionseek as ms
from motionseek.encoders.base import Embeddings
from motionseek.errors import MissingExtra, UsageError
from motionseek.indexer.pipeline import index
from motionseek.indexer.store import Store

pytest.importorskip("ai_edge_litert")
pytest.importorskip("cv2")


@pytest.fixture(scope="module")
def archive(data_dir, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pose") / "a"
    clip = data_dir / "video-clips" / "mmaction2_demo_skeleton.mp4"
    assert index([clip], folder).windows == 0
    report = index([clip], folder, pose="auto")
    assert (report.indexed, report.failed) == (1, ())
    assert report.windows == 2
    return folder, clip


def test_text_finds_the_person_in_the_video(archive):
    hits = ms.open(archive[0]).search("a person waves", target="video", k=5).moments
    assert hits[0].through == "pose"
    assert hits[0].uri == str(archive[1])


def test_the_streams_say_what_found_them_and_are_found_once(archive):
    folder, clip = archive
    row = Store.open(folder).recordings().to_pylist()[0]
    assert {s["name"] for s in row["streams"] if s["modality"] == "pose"} == {"blazepose-full"}
    assert {s["person"] for s in row["streams"] if s["modality"] == "pose"} == {"0", "1"}
    report = index([clip], folder, pose="auto")
    assert (report.indexed, report.skipped) == (0, 1)
    assert ms.verify(folder) == []


def test_a_copy_at_another_place_keeps_them(archive, tmp_path):
    folder, clip = archive
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(clip.read_bytes())
    assert index([copy], folder).skipped == 1
    row = Store.open(folder).recordings().to_pylist()[0]
    assert str(copy) in row["uris"]
    assert json.dumps(row["streams"]).count("blazepose-full") == 2


class Brightness:
    """A frame's vector is how bright it is."""

    space, modality, levels = "brightness", "video", ("global",)
    rate_hz, window_s, fingerprint = 1.0, 0.0, "brightness"

    def encode(self, batch, mask=None, *, raw=False):
        return Embeddings(global_=batch.mean((1, 2, 3)).astype(np.float32))


def test_a_further_model_that_sees_no_pose_keeps_them(archive, tmp_path):
    folder, clip = shutil.copytree(archive[0], tmp_path / "a"), archive[1]
    encoders = {("brightness", "video"): Brightness()}
    further = SimpleNamespace(fingerprint="brightness", card={"name": "brightness"}, encoders=encoders)
    before = Store.open(folder).recordings().to_pylist()[0]["streams"]
    assert index([clip], folder, models=["starter", further]).indexed == 1
    (row,) = Store.open(folder).recordings().to_pylist()
    assert [s["modality"] for s in row["streams"]] == ["video", "pose", "pose"]
    assert row["streams"][1:] == before[1:]


def test_what_cannot_estimate_is_said_before_anything_is_read(tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="one of: auto"):
        index([tmp_path], tmp_path / "a", pose="openpose")
    monkeypatch.setitem(__import__("sys").modules, "ai_edge_litert.interpreter", None)
    monkeypatch.setitem(__import__("sys").modules, "ai_edge_litert", None)
    with pytest.raises(MissingExtra, match=r"motionseek\[pose\]"):
        index([tmp_path], tmp_path / "a", pose="auto")
    assert not (tmp_path / "a").exists()
