import shutil

import av
import numpy as np
import pytest
from synthetic import Linear, unit, write_imu
from test_store import contents

from motionseek.encoders.base import Embeddings
from motionseek.indexer.pipeline import index
from motionseek.indexer.store import Filter, Store, StreamKey


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "sources"
    (root / "sub").mkdir(parents=True)
    write_imu(root / "one.csv", 1)
    write_imu(root / "sub" / "it's two.csv", 2)
    (root / "broken.csv").write_text("t_s,ax_mps2,ay_mps2,az_mps2,gx_rps,gy_rps,gz_rps\n0,1,2,nonsense,4,5,6\n")
    return root


def by_name(archive):
    rows = Store.open(archive).recordings().to_pylist()
    return {row["uris"][0].rpartition("/")[2]: row for row in rows}


def test_a_folder_with_a_broken_file_is_indexed_but_for_that_file(folder, tmp_path):
    report = index(folder, tmp_path / "a", models=[Linear()])
    assert report.indexed == 2
    [(uri, reason)] = report.failed
    assert uri == str(folder / "broken.csv")
    assert reason
    rows = by_name(tmp_path / "a")
    assert {name: row["status"] for name, row in rows.items()} == {
        "one.csv": "ok",
        "it's two.csv": "ok",
        "broken.csv": "failed",
    }
    assert rows["broken.csv"]["reason"] == reason
    again = index(folder, tmp_path / "a", models=[Linear()])
    assert (again.indexed, again.skipped, len(again.failed)) == (0, 2, 1)


def test_renamed_changed_and_mended_files_end_as_if_they_had_always_been_so(folder, tmp_path):
    index(folder, tmp_path / "a", models=[Linear()])
    (folder / "one.csv").rename(folder / "renamed.csv")
    write_imu(folder / "sub" / "it's two.csv", 22)
    write_imu(folder / "broken.csv", 3)
    report = index(folder, tmp_path / "a", models=[Linear()])
    assert (report.indexed, report.skipped, report.failed) == (2, 1, ())
    index(folder, tmp_path / "b", models=[Linear()])
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert set(by_name(tmp_path / "a")) == {"renamed.csv", "it's two.csv", "broken.csv"}


def test_a_file_that_breaks_later_is_failed_and_its_old_rows_are_gone(folder, tmp_path):
    index(folder, tmp_path / "a", models=[Linear()])
    shutil.copy(folder / "broken.csv", folder / "one.csv")
    report = index(folder, tmp_path / "a", models=[Linear()])
    assert len(report.failed) == 2
    store = Store.open(tmp_path / "a")
    statuses = {tuple(r["uris"]): r["status"] for r in store.recordings().to_pylist()}
    assert sorted(statuses.values()) == ["failed", "ok"]
    assert store.windows()["recording_id"].unique().to_pylist() == [
        by_name(tmp_path / "a")["it's two.csv"]["recording_id"]
    ]


class Colours:
    """A frame's vector is its mean colour, centred."""

    space, modality, levels = "clip", "video", ("global", "token")
    rate_hz, window_s, fingerprint = 2.0, 5.0, "colours"

    def __init__(self):
        self.frames = 0

    def encode(self, batch, mask=None, *, raw=False):
        self.frames += batch.shape[0] * batch.shape[1]
        token = batch.mean((2, 3)).astype(np.float32)
        pooled = token.mean(1)
        return Embeddings(
            global_=pooled if raw else unit(pooled),
            token=(token if raw else unit(token))[:, None],
            mask=np.ones((len(batch), 1, batch.shape[1]), bool),
        )


def test_frames_are_taken_at_their_time_and_looked_at_once(tmp_path):
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i in range(85):
            colour = [30 + 2 * i, 200 - 2 * i, 90]
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), colour, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    encoder = Colours()
    model = Linear()
    model.encoders = {("clip", "video"): encoder}
    report = index(path, tmp_path / "a", models=[model])
    assert report.windows == 5
    store = Store.open(tmp_path / "a")
    windows, vectors = store.vectors("clip", "global", Filter(modality="video"))
    assert windows["start_s"].to_pylist() == pytest.approx([0, 1, 2, 3, 3.4])
    for start_s, vector in zip(windows["start_s"].to_pylist(), vectors, strict=True):
        shown = np.floor((start_s + (np.arange(10) + 0.5) / 2) * 10 + 1e-6)
        colours = np.stack([30 + 2 * shown, 200 - 2 * shown, np.full(10, 90)], axis=1)
        assert vector == pytest.approx(unit(colours.mean(0)), abs=0.02)
    assert encoder.frames == 16 + 10
    key = StreamKey(windows["recording_id"][0].as_py(), "video")
    stream = store.tokens("clip", [key])[key]
    assert (stream.token_s, stream.parts, stream.token.shape[0]) == (0.5, ("frame",), 1)
    shown = np.floor((np.arange(16) + 0.5) / 2 * 10 + 1e-6)
    colours = np.stack([30 + 2 * shown, 200 - 2 * shown, np.full(16, 90)], axis=1)
    assert stream.token[0, :14] == pytest.approx(unit(colours)[:14], abs=0.03)
