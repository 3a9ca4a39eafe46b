"""Poses from real pixels, against MediaPipe 0.10.21's own (made by benchmarks/make_pose_reference.py)."""

from pathlib import Path

import av
import numpy as np
import pytest

import motionseek as ms
from motionseek.errors import DamagedFile, UsageError
from motionseek.indexer.pose import estimate_pose
from motionseek.indexer.pose.region import Region, size_of
from motionseek.indexer.video import frame_times, frames_at, probe
from motionseek.types import Span

pytest.importorskip("ai_edge_litert")
pytest.importorskip("cv2")

from motionseek.indexer.pose.blazepose import BlazePose
from motionseek.indexer.pose.people import Person

TWO_PEOPLE, CLOSE_UP, CUT_OFF = "mmaction2_demo_skeleton.mp4", "mmaction2_test.avi", "mmaction2_demo.mp4"


@pytest.fixture(scope="module")
def clips(data_dir):
    return data_dir / "video-clips"


@pytest.fixture(scope="module")
def mediapipe():
    return dict(np.load(Path(__file__).parent / "mediapipe.npz"))


@pytest.fixture(scope="module")
def two(clips):
    return estimate_pose(clips / TWO_PEOPLE)


def off(joints, theirs, size):
    """Distance of each joint in the picture from MediaPipe's, over the person's height: what all its joints span."""
    height = np.ptp(theirs[..., :2], axis=1).max(axis=1)
    inside = ((theirs[..., :2] >= 0) & (theirs[..., :2] < size)).all(axis=2)
    return (np.linalg.norm(joints - theirs[..., :2], axis=2) / height[:, None])[inside]


@pytest.mark.parametrize(("name", "first"), [(TWO_PEOPLE, 0), (CLOSE_UP, 0), (CUT_OFF, 104)])
def test_where_mediapipe_looks_it_finds_what_mediapipe_finds_and_looks_there_next(clips, mediapipe, name, first):
    theirs, shares = mediapipe[f"{name} joints"], mediapipe[f"{name} region"]
    times_s = frame_times(clips / name)[first : first + 30]
    pictures = frames_at(clips / name, times_s)
    size = size_of(pictures[0])

    def region(number):
        return Region(shares[number, :2], shares[number, 2:4], shares[number, 4], size)

    blazepose, person = BlazePose(), Person(0, region(first), 0.0)
    assert blazepose.detect(pictures[0])[0].overlap(region(first)) > 0.9999
    for number, (time_s, picture) in enumerate(zip(times_s, pictures, strict=True), first):
        person.update(float(time_s), blazepose.look(picture, region(number)))
        assert person.region.overlap(region(number + 1)) > 0.9999
    assert np.median(off(np.stack(person.joints), theirs[first : first + 30], size)) < 1e-4


@pytest.mark.parametrize("name", [TWO_PEOPLE, CLOSE_UP])
def test_on_its_own_it_stays_within_two_percent_of_the_height(mediapipe, clips, name):
    # Not the third clip: the last bit of another processor's arithmetic leads elsewhere there.
    theirs = mediapipe[f"{name} joints"]
    track = estimate_pose(clips / name, most=1)[0]
    assert len(track.t_s) == len(theirs)
    error = off(track.xy_px, theirs, track.image_size)
    assert np.nanmedian(error) < 0.02
    assert np.isfinite(track.xy_px).mean() > 0.4


def test_both_people_are_followed_and_named_by_how_long(two):
    assert [track.person for track in two] == ["0", "1"]
    assert {track.estimator for track in two} == {"blazepose-full"}
    assert len(two[1].t_s) > 30
    left, right = (np.nanmedian(track.xy_px[:30, :, 0]) for track in (two[1], two[0]))
    assert left < right - 100


def test_times_are_those_of_the_video_on_the_recordings_clock(two, clips):
    np.testing.assert_allclose(two[0].t_s, frame_times(clips / TWO_PEOPLE))
    video = probe(clips / TWO_PEOPLE)
    later = ms.VideoRef(video.path, 100.0, video.duration_s, video.rate_hz, video.size)
    track = estimate_pose(later, span=Span(100.5, 101.19), most=1)[0]
    assert 100.5 <= track.start_s < 100.6
    assert track.end_s < 101.19
    inside = (two[0].t_s >= 0.5) & (two[0].t_s < 1.19)
    assert abs(len(track.t_s) - inside.sum()) <= 1


def test_a_slower_rate_looks_at_fewer_pictures(clips):
    track = estimate_pose(clips / TWO_PEOPLE, rate_hz=10, most=1)[0]
    assert 23 <= len(track.t_s) <= 27  # of 2.57 s


def test_a_picture_with_nobody_gives_nobody(tmp_path):
    path = tmp_path / "empty.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("h264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for i in range(10):
            picture = np.full((240, 320, 3), 100 + i, np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    assert estimate_pose(path) == ()


def test_what_cannot_be_is_refused(tmp_path):
    with pytest.raises(UsageError, match="one of: auto, blazepose, rtmpose"):
        estimate_pose(_video(tmp_path), estimator="openpose")
    with pytest.raises(UsageError, match="most"):
        estimate_pose(_video(tmp_path), most=0)
    (tmp_path / "junk.mp4").write_bytes(b"junk" * 100)
    with pytest.raises(DamagedFile):
        estimate_pose(tmp_path / "junk.mp4")


def _video(folder):
    return ms.VideoRef(str(folder / "none.mp4"), 0.0, 1.0, 25.0, (320, 240))
