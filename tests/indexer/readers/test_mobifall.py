from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from archives import mobifall_log, shaken

from motionseek.errors import DamagedFile, UnitError
from motionseek.indexer.readers import content_id, discover, mobifall, read

START_NS = 2_318_482_693_000


def clocks(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Accelerometer at 90 Hz with jitter and a gap, gyroscope at 200 Hz from 0.17 s before; ns of uptime."""
    rng = np.random.default_rng(seed)
    acc = START_NS + np.cumsum(rng.integers(9_000_000, 13_000_000, 300))
    acc[100:] += 700_000_000
    return acc, acc[0] - 170_000_000 + np.arange(900) * 5_000_000


@pytest.fixture
def official(tmp_path: Path) -> Path:
    acc_ns, gyro_ns = clocks()
    folder = tmp_path / "sub2" / "ADL" / "JOG"
    mobifall_log(folder, "JOG_acc_2_1", acc_ns, shaken(acc_ns * 1e-9)[0])
    mobifall_log(folder, "JOG_gyro_2_1", gyro_ns, shaken(gyro_ns * 1e-9)[1])
    mobifall_log(folder, "JOG_ori_2_1", gyro_ns, shaken(gyro_ns * 1e-9)[1])
    return tmp_path


def test_a_trial_is_one_recording_on_the_phones_clock(official: Path) -> None:
    (source,) = discover([official])
    assert (source.format, Path(source.path).name) == ("mobifall", "JOG_acc_2_1.txt")
    recording = read(source)
    assert recording.labels == ("jogging",)
    assert recording.problems == ()
    assert recording.recording_id == content_id(source)
    (imu,) = recording.imus
    acc_ns, gyro_ns = clocks()
    assert (imu.placement, imu.person) == ("unknown", "2")
    np.testing.assert_allclose(imu.acc_t_s, (acc_ns - acc_ns[0]) * 1e-9, atol=1e-8)
    np.testing.assert_allclose(imu.gyro_t_s, (gyro_ns - acc_ns[0]) * 1e-9, atol=1e-8)
    assert imu.gyro_t_s[0] == pytest.approx(-0.17)
    assert np.diff(imu.acc_t_s).max() > 0.7
    np.testing.assert_allclose(imu.acc_mps2, shaken(acc_ns * 1e-9)[0], atol=1e-5)
    np.testing.assert_allclose(imu.gyro_rps, shaken(gyro_ns * 1e-9)[1], atol=1e-5)


def test_each_file_of_a_trial_names_it(official: Path) -> None:
    folder = official / "sub2" / "ADL" / "JOG"
    ids = {read(folder / f"JOG_{kind}_2_1.txt").recording_id for kind in ("acc", "gyro", "ori")}
    assert len(ids) == 1


def test_the_packed_layout_gives_the_same(official: Path, tmp_path: Path) -> None:
    acc_ns, gyro_ns = clocks()
    np.savez(
        tmp_path / "packed.npz",
        activity=np.array(["JOG", "STD"]),
        subject=np.array([2, 3], np.int16),
        trial=np.array([1, 1], np.int16),
        acc_len=[300, 300],
        acc_t_ns=np.tile(acc_ns - acc_ns[0], 2),
        acc_mps2=np.tile(shaken(acc_ns * 1e-9)[0], (2, 1)).astype(np.float32),
        gyro_len=[900, 900],
        gyro_t_ns=np.tile(gyro_ns - acc_ns[0], 2),
        gyro_rps=np.tile(shaken(gyro_ns * 1e-9)[1], (2, 1)).astype(np.float32),
    )
    loose, jog, std = (read(source) for source in discover([official / "sub2", tmp_path / "packed.npz"]))
    assert (jog.labels, std.labels) == (("jogging",), ("standing",))
    assert jog.recording_id != std.recording_id
    np.testing.assert_allclose(jog.imus[0].acc_t_s, loose.imus[0].acc_t_s, atol=1e-7)
    np.testing.assert_allclose(jog.imus[0].gyro_t_s, loose.imus[0].gyro_t_s, atol=1e-7)
    np.testing.assert_allclose(jog.imus[0].acc_mps2, loose.imus[0].acc_mps2, atol=1e-5)
    with pytest.raises(DamagedFile, match="no trial"):
        mobifall.read(f"{tmp_path}/packed.npz#JOG_9_9")
    (tmp_path / "packed.npz").write_bytes((tmp_path / "packed.npz").read_bytes()[:2000])
    with pytest.raises(DamagedFile, match=r"packed\.npz"):
        mobifall.read(f"{tmp_path}/packed.npz#JOG_2_1")


def test_damage(official: Path) -> None:
    acc = official / "sub2" / "ADL" / "JOG" / "JOG_acc_2_1.txt"
    gyro = acc.with_name("JOG_gyro_2_1.txt")
    whole, lines = acc.read_text(), acc.read_text().splitlines()
    gyro.unlink()
    recording = read(acc)
    assert len(recording.imus[0].gyro_t_s) == 0
    assert "JOG_gyro_2_1.txt: cannot be read" in recording.problems[0]

    acc.write_text("\n".join([*lines[:60], lines[60][:9], lines[40], lines[50], *lines[61:]]))
    repaired = read(acc)
    assert len(repaired.imus[0].acc_t_s) == 299
    assert {p.split(" ", 2)[2] for p in repaired.problems[:-1]} == {
        "rows without all 4 columns were dropped",
        "steps back in time of the accelerometer were sorted",
        "accelerometer samples at a repeated time were dropped",
    }
    for text, says in (("", "empty"), ("\n".join(lines[:10]), "no samples"), ("#a\n@DATA\nx, y, z, w\n", "numbers")):
        acc.write_text(text)
        with pytest.raises(DamagedFile, match=says):
            read(acc)
    acc.write_text("\n".join([*lines[:10], *(f"{line.split(',')[0]}, 0.1, 0.9, 0.1" for line in lines[10:])]))
    with pytest.raises(UnitError, match="looks like g"):
        read(acc)
    acc.write_text(whole[: len(whole) // 2])
    assert len(read(acc).imus[0].acc_t_s) > 100
    acc.unlink()
    with pytest.raises(DamagedFile, match="cannot be read"):
        read(acc.with_name("JOG_ori_2_1.txt"))


def test_all_real_trials_are_read(data_dir: Path) -> None:
    sources = discover([data_dir / "mobifall"])
    if not sources:
        pytest.skip("the MobiFall trials are not here")
    recordings = [read(source) for source in sources]
    assert len(recordings) == 211
    assert not any(r.problems for r in recordings)
    still = [r for r in recordings if r.labels == ("standing",)]
    assert all(abs(np.linalg.norm(r.imus[0].acc_mps2, axis=1).mean() - 9.81) < 0.4 for r in still)
    moving = [np.linalg.norm(r.imus[0].gyro_rps, axis=1).mean() for r in recordings if r.labels == ("jogging",)]
    assert min(moving) > 3 * max(np.linalg.norm(r.imus[0].gyro_rps, axis=1).mean() for r in still)
