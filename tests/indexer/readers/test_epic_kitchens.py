from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from archives import epic_csvs, film, shaken, write_csv

from motionseek.errors import DamagedFile, UnitError
from motionseek.indexer.readers import content_id, discover, read

HEADER = "narration_id,participant_id,video_id,narration_timestamp,start_timestamp,stop_timestamp,narration"
ACC_MS, GYRO_MS = np.arange(1000) * 5.02 + 3, np.arange(990) * 5.04 + 11
"""Neither starts at 0, and they differ in rate."""


@pytest.fixture
def download(tmp_path: Path) -> Path:
    epic_csvs(tmp_path, "P01_101", ACC_MS, shaken(ACC_MS / 1000)[0], GYRO_MS, shaken(GYRO_MS / 1000)[1])
    film(tmp_path / "P01" / "videos" / "P01_101.MP4")
    rows = [
        ("P01_101_0", "P01", "P01_101", "00:00:00.5", "00:00:01.20", "00:00:02.50", '"open door, slowly"'),
        ("P01_101_1", "P01", "P01_101", "00:00:00.5", "00:01:01.20", "00:01:02", "close door"),
        ("P01_101_2", "P01", "P01_101", "00:00:00.5", "00:00:05", "00:00:04", "runs backwards"),
        ("P01_102_0", "P01", "P01_102", "00:00:00.5", "00:00:01", "00:00:02", "another video"),
    ]
    write_csv(tmp_path / "epic-kitchens-100-annotations" / "EPIC_100_train.csv", HEADER, rows)
    write_csv(tmp_path / "epic-kitchens-100-annotations" / "EPIC_100_verb_classes.csv", "id,key", [(0, "open")])
    return tmp_path


def test_a_video_with_its_sensors_and_narrations(download: Path) -> None:
    (source,) = discover([download])
    assert (Path(source.path).name, source.format) == ("P01_101-accl.csv", "epic-kitchens")
    recording = read(source)
    assert recording.recording_id == content_id(source)
    assert recording.modalities == ("imu", "video", "text")
    (imu,) = recording.imus
    assert (imu.placement, imu.person) == ("head", "P01")
    np.testing.assert_allclose(imu.acc_t_s, ACC_MS / 1000)
    np.testing.assert_allclose(imu.gyro_t_s, GYRO_MS / 1000)
    np.testing.assert_allclose(imu.acc_mps2, shaken(ACC_MS / 1000)[0], rtol=1e-5)
    np.testing.assert_allclose(imu.gyro_rps, shaken(GYRO_MS / 1000)[1], rtol=1e-5, atol=1e-6)
    assert [(n.start_s, n.end_s, n.text) for n in recording.narrations] == [
        (1.2, 2.5, "open door, slowly"),
        (61.2, 62.0, "close door"),
    ]
    assert recording.problems == ("EPIC_100_train.csv: 1 narrations without a text or a span were dropped",)


def test_each_file_names_the_recording(download: Path) -> None:
    files = ["meta_data/P01_101-accl.csv", "meta_data/P01_101-gyro.csv", "videos/P01_101.MP4"]
    assert len({read(download / "P01" / file).recording_id for file in files}) == 1


def test_sensors_alone_are_enough(download: Path) -> None:
    alone = download / "alone" / "P01_101-accl.csv"
    alone.parent.mkdir()
    (download / "P01" / "meta_data" / "P01_101-accl.csv").rename(alone)
    (download / "epic-kitchens-100-annotations").rename(download / "elsewhere")
    recording = read(alone)
    assert recording.modalities == ("imu",)
    assert recording.problems == ("P01_101-gyro.csv: cannot be read: No such file or directory",)
    with pytest.raises(DamagedFile, match=r"P01_101-accl\.csv: cannot be read"):
        read(download / "P01" / "meta_data" / "P01_101-gyro.csv")


def test_damage(download: Path) -> None:
    acc = download / "P01" / "meta_data" / "P01_101-accl.csv"
    gyro, video = acc.with_name("P01_101-gyro.csv"), download / "P01" / "videos" / "P01_101.MP4"
    lines = acc.read_text().splitlines()
    gyro.write_text("Milliseconds,X,Y\n1,2,3\n")
    video.write_bytes(b"junk")
    acc.write_text("\n".join([*lines[:20], "NaN,1,2,3", "100,NULL,2,3", lines[5], lines[21][:4], *lines[22:]]))
    recording = read(acc)
    assert recording.modalities == ("imu", "text")
    assert [p for p in recording.problems if "gyro" in p] == [
        "P01_101-gyro.csv: has no column GyroX, GyroY, GyroZ; it has Milliseconds, X, Y"
    ]
    assert any(p.startswith("P01_101.MP4: ") for p in recording.problems)
    assert "1 steps back in time of the accelerometer were sorted" in recording.problems
    (download / "epic-kitchens-100-annotations" / "EPIC_100_train.csv").write_bytes(HEADER.encode() + b"\n\xff\xfe\n")
    assert any("EPIC_100_train.csv: is not a table" in p for p in read(acc).problems)
    acc.write_text("\n".join([lines[0], *("1e9" + line for line in lines[1:])]))
    with pytest.raises((DamagedFile, UnitError), match="P01_101-accl"):
        read(acc)
    acc.write_bytes("\n".join(lines[:100]).encode() + b"\n5000,\xff\xfe\n" + "\n".join(lines[100:]).encode())
    assert "1 rows without all 4 columns were dropped" in read(acc).problems
    for text, says in (("", "empty"), (lines[0], r"P01_101-accl\.csv"), ("a,b\n1,2\n", "no column")):
        acc.write_text(text)
        with pytest.raises(DamagedFile, match=says):
            read(acc)
