"""RTMPose through rtmlib and onnxruntime, on models made by hand: the joints lie at the brightest spot."""

import sys

import av
import numpy as np
import pytest
from onnx_files import always_there, bright_spot

from motionseek.errors import MissingExtra, ModelError
from motionseek.indexer.pose import estimate_pose

SHIFTS = [round(186 / 16 * joint) for joint in range(17)]
"""In pixels of the cut-out, from its brightest spot down: as large as a body fills it, so that it stays as large."""


@pytest.fixture
def models(tmp_path):
    pytest.importorskip("rtmlib")
    pytest.importorskip("onnxruntime")
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "rtmpose-spot.onnx").write_bytes(bright_spot(SHIFTS))
    # The detector's square of 416 holds a picture of 320 x 240 enlarged by 1.3.
    box = 1.3 * np.array([20, 21, 160, 215])
    (folder / "yolox-there.onnx").write_bytes(always_there([box]))
    return folder


@pytest.fixture
def video(tmp_path):
    """A white spot that moves to the right by 2 pixels a picture, over 25 pictures."""
    path = tmp_path / "spot.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("h264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for i in range(25):
            picture = np.zeros((240, 320, 3), np.uint8)
            picture[27:33, 87 + 2 * i : 93 + 2 * i] = 255
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    return path


def test_joints_are_found_where_the_model_puts_them(models, video, capsys):
    (track,) = estimate_pose(video, estimator=f"rtmpose:{models}", most=1)
    assert track.estimator == "rtmpose-spot"
    assert len(track.t_s) == 25
    np.testing.assert_allclose(track.t_s, np.arange(25) / 25, atol=1e-6)
    np.testing.assert_allclose(track.xy_px[0, 0], (90, 30), atol=4)
    # The detector's box, 194 high, times 1.25 becomes 256 pixels.
    np.testing.assert_allclose(track.xy_px[0, 16] - track.xy_px[0, 0], (0, 186 * 1.25 * 194 / 256), atol=2)
    moved = track.xy_px[-1, 0] - track.xy_px[0, 0]
    np.testing.assert_allclose(moved, (48, 0), atol=4)
    assert (track.confidence[:, :] > 0.7).all()
    assert capsys.readouterr().out == ""


def test_a_folder_without_the_models_is_refused(tmp_path, video):
    pytest.importorskip("rtmlib")
    with pytest.raises(ModelError, match=r"one yolox\*\.onnx"):
        estimate_pose(video, estimator=f"rtmpose:{tmp_path}")
    (tmp_path / "yolox.onnx").write_bytes(b"junk")
    (tmp_path / "rtmpose.onnx").write_bytes(b"junk")
    with pytest.raises(ModelError, match="rtmpose:FOLDER"):
        estimate_pose(video, estimator=f"rtmpose:{tmp_path}")


@pytest.mark.parametrize(
    ("module", "estimator", "extra"),
    [("ai_edge_litert", "auto", "pose"), ("cv2", "auto", "pose"), ("rtmlib", "rtmpose", "rtmpose")],
)
def test_a_missing_extra_is_named(monkeypatch, video, module, estimator, extra):
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, f"{module}.interpreter", None)
    with pytest.raises(MissingExtra, match=rf"motionseek\[{extra}\]"):
        estimate_pose(video, estimator=estimator)
