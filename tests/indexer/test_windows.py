import numpy as np
import pytest

from motionseek.errors import DamagedFile, UsageError
from motionseek.indexer import windows
from motionseek.types import ANY_PART, PARTS, Imu, Narration, PoseTrack, Recording, VideoRef

SIZE = {"window_s": 5.0, "stride_s": 1.0}


def sensor(t_s, placement="left_wrist", **more):
    x = np.random.default_rng(0).normal(size=(len(t_s), 3)) + np.array([0, 0, 9.8])
    return Imu(t_s, x, t_s, x, placement, **more)


def held(*imus, **more):
    return Recording("id", "take", imus=imus, **more)


@pytest.mark.parametrize(
    ("duration_s", "starts_s"),
    [
        (0.5, [0]),
        (4.98, [0]),
        (5.0, [0]),
        (6.0, [0, 1]),
        (7.5, [0, 1, 2, 2.4]),
        (10.0, [0, 1, 2, 3, 4, 5]),
    ],
)
def test_grid_steps_by_the_stride_and_ends_with_the_stream(duration_s, starts_s):
    assert windows.grid(duration_s) * windows.TICK_S == pytest.approx(starts_s)


@pytest.mark.parametrize(
    "size",
    [
        *({"window_s": 5.1}, {"window_s": np.inf}, {"window_s": np.nan}),
        *({"stride_s": 0.0}, {"stride_s": 0.33}, {"stride_s": -1.0}, {"stride_s": np.nan}),
    ],
)
def test_lengths_that_are_no_whole_ticks_are_refused(size):
    with pytest.raises(UsageError, match=next(iter(size))):
        windows.grid(20.0, **size)


def test_a_window_of_sensors_lies_on_their_own_clock():
    recording = held(sensor(100 + np.arange(500) / 50))
    found = windows.of_imus(recording, "", recording.imus, **SIZE)
    assert found.start_s == pytest.approx(100 + np.arange(6))
    assert found.end_s == pytest.approx(105 + np.arange(6))
    assert found.quality == pytest.approx(np.ones(6))


def test_a_short_recording_has_one_window_that_ends_where_it_ends():
    recording = held(sensor(np.arange(100) / 50))
    found = windows.of_imus(recording, "", recording.imus, **SIZE)
    assert (found.start_s, found.end_s) == (pytest.approx([0]), pytest.approx([2.0], abs=0.001))


def test_coverage_equals_the_share_of_time_outside_gaps():
    t_s = np.concatenate([np.arange(0, 4, 0.01), np.arange(7, 20, 0.01)])
    start_s = np.arange(0, 15.0)
    got = windows.coverage(t_s, start_s, start_s + 5)
    fine_s = np.arange(0, 20, 0.001) + 0.0005
    there = (fine_s < 4) | (fine_s > 7)
    want = [there[(fine_s >= s) & (fine_s < s + 5)].mean() for s in start_s]
    assert got == pytest.approx(want, abs=0.004)


def test_coverage_is_the_same_however_irregular_the_clock():
    rng = np.random.default_rng(0)
    t_s = np.cumsum(rng.uniform(0.004, 0.03, size=2000))
    assert windows.coverage(t_s, np.array([3.0]), np.array([8.0])) == pytest.approx([1.0])
    assert windows.coverage(t_s[:1], np.array([0.0]), np.array([5.0])) == pytest.approx([0.0])


def test_windows_in_which_nothing_was_recorded_do_not_exist():
    t_s = np.concatenate([np.arange(0, 10, 0.02), np.arange(60, 70, 0.02)])
    recording = held(sensor(t_s))
    found = windows.of_imus(recording, "", recording.imus, **SIZE)
    assert found.start_s.min() == 0
    assert not ((found.start_s > 9.5) & (found.end_s < 60.5)).any()
    assert (found.quality >= windows.MIN_COVERAGE).all()


def test_parts_are_those_with_samples_in_that_window():
    recording = held(sensor(np.arange(1000) / 50), sensor(10 + np.arange(500) / 50, "head"))
    rows = windows.of_imus(recording, "", recording.imus, **SIZE).to_rows(("walk",)).to_pylist()
    assert rows[0]["parts"] == ["left_wrist"]
    assert rows[-1]["parts"] == ["left_wrist", "head"]
    assert rows[0]["quality"] == pytest.approx(0.5)
    assert rows[0]["labels"] == ["walk"]


def test_missing_samples_and_unseen_joints_lower_the_quality():
    x = np.random.default_rng(0).normal(size=(1000, 3)) + np.array([0, 0, 9.8])
    gyro = x.copy()
    x[:500] = np.nan
    t_s = np.arange(1000) / 100
    recording = held(Imu(t_s, x, t_s, gyro, ANY_PART))
    found = windows.of_imus(recording, "", recording.imus, **SIZE)
    assert found.start_s[0] == pytest.approx(1.0)
    assert found.quality[-1] == pytest.approx(1.0, abs=0.01)
    xy = np.ones((300, 17, 2)) * 50
    xy[:, 9] = np.nan
    track = PoseTrack(np.arange(300) / 30, xy, np.ones((300, 17)), (100, 100))
    recording = Recording("id", "take", poses=(track,))
    rows = windows.of_pose(recording, track, **SIZE).to_rows(()).to_pylist()
    assert rows[0]["parts"] == list(PARTS[1:])


def test_ids_depend_on_what_a_window_is_and_on_nothing_else():
    recording = held(sensor(np.arange(1000) / 50))
    one = windows.of_imus(recording, "", recording.imus, **SIZE)
    again = windows.of_imus(held(*recording.imus, labels=("x",)), "", recording.imus, **SIZE)
    assert one.ids == again.ids
    assert len(set(one.ids)) == len(one)
    assert not set(one.ids) & set(windows.of_imus(recording, "other", recording.imus, **SIZE).ids)


def test_the_caption_is_the_narration_that_overlaps_most():
    told = [Narration(0, 3, "sit"), Narration(3, 20, "walk"), Narration(30, 31, "jump")]
    starts = np.array([0.0, 1.0, 27.0, 40.0])
    assert windows.captions(told, starts, starts + 5) == ("sit", "walk", "jump", "")


def test_two_narrations_of_one_span_are_two_windows():
    told = (Narration(0, 3, "sit"), Narration(0, 3, "rest"), Narration(0, 3, "sit"))
    found = windows.of_text(Recording("id", "take", narrations=told))
    assert sorted(found.captions) == ["rest", "sit"]
    assert len(set(found.ids)) == 2


def test_a_second_sensor_on_the_same_part_goes_into_a_set_of_its_own():
    clock = np.arange(100) / 50
    recording = held(
        sensor(clock, "left_wrist", person="A"),
        sensor(clock, "left_forearm", person="A"),
        sensor(clock, "head", person="A"),
        sensor(clock, "left_wrist", person="B"),
    )
    worn = windows.wearers(recording)
    assert {name: [i.placement for i in imus] for name, imus in worn.items()} == {
        "A": ["left_wrist", "head"],
        "A#2": ["left_forearm"],
        "B": ["left_wrist"],
    }


def test_a_clock_that_spans_years_is_a_broken_clock():
    recording = held(sensor(np.array([0.0, 0.02, 1e9])))
    with pytest.raises(DamagedFile, match="broken clock"):
        windows.of_imus(recording, "", recording.imus, **SIZE)


def test_the_picture_has_windows_from_its_first_frame_to_its_end():
    video = VideoRef("clip.mp4", 2.0, 7.0, 30.0, (640, 480))
    found = windows.of_video(Recording("id", "clip.mp4", video=video), video, **SIZE)
    assert found.start_s == pytest.approx([2, 3, 4])
    assert found.end_s[-1] == pytest.approx(9.0)
