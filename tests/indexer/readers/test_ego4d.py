from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from archives import ego4d_csv, ego4d_narrations, film, shaken, uid

from motionseek.errors import DamagedFile, UnitError
from motionseek.indexer.readers import content_id, discover, read
from motionseek.indexer.readers.ego4d import sentence
from motionseek.types import Imu

WALK, CUT, CLIP, SILENT = uid(1), uid(2), uid(3), uid(4)


def clock_ms(seconds: float = 12.0) -> np.ndarray:
    """201 Hz, as the cameras have it, with a second missing."""
    t_ms = np.round(np.arange(int(seconds * 201)) * 1000 / 201, 3)
    return t_ms[(t_ms < 6000) | (t_ms > 7000)]


def sensors(root: Path, video: str, t_ms: list[Any] | None = None) -> Path:
    clock = clock_ms()
    acc, gyro = shaken(clock / 1000)
    return ego4d_csv(root, video, clock.tolist() if t_ms is None else t_ms, acc, gyro)


@pytest.fixture
def download(tmp_path: Path) -> Path:
    """A whole video, one of which only a clip is there, and one without sensors."""
    for video in (WALK, CUT):
        sensors(tmp_path, video)
    film(tmp_path / "v1" / "full_scale" / f"{WALK}.mp4")
    film(tmp_path / "v1" / "full_scale" / f"{SILENT}.mp4")
    film(tmp_path / "v1" / "clips" / f"{CLIP}.mp4")
    told: list[tuple[float, str]] = [
        (1.0, "#C C opens the drawer."),
        (5.0, "#O A man X waves"),
        (9.5, "#c c's hand drops"),
    ]
    ego4d_narrations(tmp_path, {WALK: (told, [(1.0, "#C C opens the drawer."), (8.0, "#C C looks around #unsure")]),
                                CUT: ([(2.0, "#C C sits down"), (9.0, "#C C stands up")], [])})  # fmt: skip
    catalog = {
        "videos": [{"video_uid": WALK, "duration_sec": 12.0, "scenarios": ["Walking"], "s3_path": "s3://x"}],
        "clips": [{"clip_uid": CLIP, "video_uid": CUT, "video_start_sec": 8.0, "video_end_sec": 10.0}],
    }
    (tmp_path / "v1" / "ego4d.json").write_text(json.dumps(catalog))
    return tmp_path


def test_what_is_found(download: Path) -> None:
    found = {str(Path(s.path).relative_to(download / "v1")): s.format for s in discover([download])}
    assert found == {
        f"clips/{CLIP}.mp4": "ego4d",
        f"full_scale/{SILENT}.mp4": "ego4d",
        f"imu/{WALK}.csv": "ego4d",
        f"imu/{CUT}.csv": "ego4d",
    }
    for source in discover([download]):
        assert read(source).recording_id == content_id(source)


def test_a_whole_video(download: Path) -> None:
    recording = read(download / "v1" / "full_scale" / f"{WALK}.mp4")
    assert recording.modalities == ("imu", "video", "text")
    assert recording.problems == ()
    (imu,) = recording.imus
    np.testing.assert_allclose(imu.acc_t_s, clock_ms() / 1000)
    np.testing.assert_allclose(imu.acc_mps2, shaken(clock_ms() / 1000)[0], rtol=1e-5)
    np.testing.assert_allclose(imu.gyro_rps, shaken(clock_ms() / 1000)[1], rtol=1e-5, atol=1e-6)
    assert (imu.part, imu.rate_hz) == ("head", pytest.approx(201, abs=0.1))
    assert [(n.start_s, n.end_s, n.text) for n in recording.narrations] == [
        (0.0, 3.5, "a person opens the drawer"),
        (5.5, 10.5, "a person looks around something"),
        (7.0, 12.0, "a person's hand drops"),
    ]
    assert recording.extra == {
        "video_uid": WALK,
        "duration_sec": 12.0,
        "scenarios": ["Walking"],
        "narrations_of_others": 1,
    }


def test_a_clip_lies_on_the_clock_of_its_video(download: Path) -> None:
    recording = read(download / "v1" / "clips" / f"{CLIP}.mp4")
    assert recording.video is not None
    assert (recording.video.start_s, recording.video.end_s) == (8.0, pytest.approx(10.0, abs=0.01))
    assert (recording.imus[0].start_s, recording.imus[0].end_s) == (
        pytest.approx(8, abs=0.01),
        pytest.approx(10, abs=0.01),
    )
    assert [(n.start_s, n.text) for n in recording.narrations] == [(8.0, "a person stands up")]
    film(download / "v1" / "full_scale" / f"{CUT}.mp4")
    assert not [s for s in discover([download]) if "clips" in s.path]
    (download / "v1" / "ego4d.json").unlink()
    recording = read(download / "v1" / "clips" / f"{CLIP}.mp4")
    assert recording.modalities == ("video",)
    assert "ego4d.json does not say" in recording.problems[0]


def test_sensors_alone_are_enough(tmp_path: Path) -> None:
    path = sensors(tmp_path, WALK)
    recording = read(path)
    assert (recording.source_format, recording.modalities, recording.problems) == ("ego4d", ("imu",), ())


def test_a_query_takes_the_one_sensor_of_such_a_file(tmp_path: Path) -> None:
    path = sensors(tmp_path, WALK)
    assert Imu.load(path).placement == "head"
    assert Imu.load(path, placement="chest").placement == "chest"
    np.testing.assert_array_equal(Imu.load(path).acc_mps2, read(path).imus[0].acc_mps2)


def test_the_known_damages_are_repaired(tmp_path: Path) -> None:
    t_ms: list[Any] = clock_ms().tolist()
    t_ms[10], t_ms[20], t_ms[30] = "NULL", "", "NaN"
    t_ms[100], t_ms[101] = t_ms[101], t_ms[100]
    t_ms[200] = t_ms[199]
    recording = read(sensors(tmp_path, WALK, t_ms))
    assert sorted(recording.problems) == sorted(
        f"imu: {WALK}.csv: {problem}"
        for problem in (
            *("3 accelerometer samples that are not finite were dropped", "3 rows without a time were dropped"),
            *(
                "1 steps back in time of the accelerometer were sorted",
                "1 steps back in time of the gyroscope were sorted",
            ),
            *(
                "1 accelerometer samples at a repeated time were dropped",
                "1 gyroscope samples at a repeated time were dropped",
            ),
            "3 gyroscope samples that are not finite were dropped",
        )
    )
    assert len(recording.imus[0].acc_t_s) == len(t_ms) - 4
    assert np.diff(recording.imus[0].acc_t_s).max() > 1.0


def test_missing_acceleration_leaves_the_gyroscope(tmp_path: Path) -> None:
    path = sensors(tmp_path, WALK)
    lines = path.read_text().splitlines()
    lines[50:60] = [",".join([*line.split(",")[:6], "NULL", "NULL", "NULL"]) for line in lines[50:60]]
    path.write_text("\n".join(lines))
    imu = read(path).imus[0]
    assert len(imu.gyro_t_s) - len(imu.acc_t_s) == 10


def test_what_else_is_damaged(download: Path) -> None:
    imu = download / "v1" / "imu" / f"{WALK}.csv"
    narrations = download / "v1" / "annotations" / "narration.json"
    told = narrations.read_text()
    narrations.write_text(told[: told.index("stands up")])  # cut off within the second video
    assert len(read(imu).narrations) == 3
    cut = read(download / "v1" / "imu" / f"{CUT}.csv")
    assert cut.narrations == ()
    assert "narrations cannot be read" in cut.problems[0]
    assert content_id(imu) == read(imu).recording_id

    for nothing in (b"", b"{}", b"junk", bytes(range(256))):
        narrations.write_bytes(nothing)
        assert (read(imu).narrations, read(imu).problems) == ((), ())

    (download / "v1" / "ego4d.json").write_text("[1, ")
    assert "ego4d.json: is not JSON" in read(imu).problems[0]
    whole = imu.read_text()
    imu.write_text(whole[:200])
    recording = read(imu)
    assert recording.modalities == ("video",)
    assert recording.problems[0].startswith("imu: ")
    (download / "v1" / "full_scale" / f"{WALK}.mp4").write_bytes(b"junk")
    with pytest.raises(DamagedFile, match=r"imu: .*; video: "):
        read(imu)
    imu.write_text(whole)
    assert "video: " in read(imu).problems[0]


def test_wrong_units_are_refused_with_the_reason(tmp_path: Path) -> None:
    clock = clock_ms()
    acc, gyro = shaken(clock / 1000)
    with pytest.raises(DamagedFile, match="looks like g"):
        read(ego4d_csv(tmp_path, WALK, clock, acc / 9.80665, gyro))
    with pytest.raises((DamagedFile, UnitError), match="looks like deg/s"):
        read(ego4d_csv(tmp_path, CUT, clock, acc, np.degrees(gyro)))


@pytest.mark.parametrize(
    ("said", "clean"),
    [
        ("#C C picks a cup", "a person picks a cup"),
        ("#C  C Picks a cup. ", "a person picks a cup"),
        ("#c walks", "a person walks"),
        ("#C C's left hand holds #unsure.", "a person's left hand holds something"),
        ("# C C turns to #O man X", "a person turns to man x"),
        ("#O a lady A walks", ""),
        ("#unsure", ""),
        ("#C C", ""),
        ("", ""),
    ],
)
def test_sentences(said: str, clean: str) -> None:
    assert sentence(said) == clean
