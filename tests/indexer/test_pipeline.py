import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from synthetic import HashedWords, Linear, LinearTokens, LinearWindows, imu, pose, recording
from test_store import contents

from motionseek.encoders.preprocess import imu_grid
from motionseek.errors import ArchiveError, ArchiveLocked, ModelError, StaleIndex, UsageError
from motionseek.indexer.pipeline import index
from motionseek.indexer.store import Filter, Store, StreamKey
from motionseek.indexer.writer import Writer
from motionseek.types import Recording


def versions(archive):
    store = Store.open(archive)
    return {name: store.table(name).version for name in store.table_names() if name != "runs"}


def test_a_window_of_a_token_stream_holds_the_vectors_of_its_own_tokens(tmp_path):
    take, model = recording(1, 23.0), Linear()
    index(take, tmp_path / "a", models=[model])
    store = Store.open(tmp_path / "a")
    grid = imu_grid(take.imus, 50.0)
    encoder = model.encoders["motion", "imu"]
    for level, width in (("global", 16), ("token", 32)):
        windows, vectors = store.vectors("motion", level, Filter(modality="imu"))
        assert vectors.shape == (19, width)
        for row, vector in zip(windows.to_pylist(), vectors, strict=True):
            first = round(row["start_s"] * 50)
            at = slice(first, first + 250)
            alone = encoder.encode(grid.x[None, :, :, at], grid.mask[None, :, at])
            if level == "token":
                want = encoder.project(alone.token, alone.mask)
            else:
                want = encoder.pool(alone.token, alone.mask).global_
            assert vector == pytest.approx(want[0], abs=1e-5)
    stream = store.tokens("motion", [StreamKey(take.recording_id, "imu")])[StreamKey(take.recording_id, "imu")]
    whole = encoder.encode(grid.x[None], grid.mask[None])
    assert (stream.mask == whole.mask[0]).all()
    assert stream.token == pytest.approx(whole.token[0], abs=0.01)


def test_an_encoder_of_windows_sees_each_window_and_its_tokens_come_from_the_middles(tmp_path):
    take, model = recording(2, 11.4), Linear()
    index(take, tmp_path / "a", models=[model])
    store = Store.open(tmp_path / "a")
    grid = imu_grid(take.imus, 50.0)
    encoder = model.encoders["clip", "imu"]
    windows, vectors = store.vectors("clip", "global", Filter(modality="imu"))
    assert windows["start_s"].to_pylist() == pytest.approx([0, 1, 2, 3, 4, 5, 6, 6.4])
    for row, vector in zip(windows.to_pylist(), vectors, strict=True):
        at = slice(round(row["start_s"] * 50), round(row["start_s"] * 50) + 250)
        alone = encoder.encode(grid.x[None, :, :, at], grid.mask[None, :, at])
        assert vector == pytest.approx(alone.global_[0], abs=1e-5)
    key = StreamKey(take.recording_id, "imu")
    stream = store.tokens("clip", [key])[key]
    assert stream.token.shape == (7, 11, 16)
    for i in range(7):
        want = encoder.encode(grid.x[None, :, :, i * 50 : i * 50 + 250], grid.mask[None, :, i * 50 : i * 50 + 250])
        if 2 <= i + 2 <= 8:
            assert stream.token[:, i + 2] == pytest.approx(want.token[0, :, 2], abs=0.01), i


def test_short_recordings_have_one_window_and_padding_counts_for_nothing(tmp_path):
    model = Linear()
    takes = [recording(i, s, narrations=()) for i, s in enumerate((0.3, 1.0, 4.9, 5.0))]
    report = index(takes, tmp_path / "a", models=[model])
    assert report.windows == 8
    store = Store.open(tmp_path / "a")
    windows, vectors = store.vectors("motion", "global", Filter(modality="imu", recording_id=takes[1].recording_id))
    grid = imu_grid(takes[1].imus, 50.0)
    alone = model.encoders["motion", "imu"].encode(grid.x[None], grid.mask[None])
    assert vectors[0] == pytest.approx(
        model.encoders["motion", "imu"].pool(alone.token, alone.mask).global_[0], abs=1e-5
    )
    assert windows["end_s"].to_pylist() == pytest.approx([1.0])


def test_a_second_run_adds_nothing_and_an_added_recording_only_its_rows(tmp_path):
    archive = tmp_path / "a"
    first = index([recording(i) for i in range(3)], archive, models=[Linear()])
    before, at = contents(archive), versions(archive)
    again = index([recording(i) for i in range(3)], archive, models=[Linear()])
    assert (first.indexed, again.indexed, again.skipped, again.windows) == (3, 0, 3, 0)
    assert versions(archive) == at
    index([recording(i) for i in range(4)], archive, models=[Linear()])
    after = contents(archive)
    for name, rows in before.items():
        assert [r for r in after[name] if r in rows] == rows, name
    added = [r for r in after["windows"] if r not in before["windows"]]
    assert {r["recording_id"] for r in added} == {recording(3).recording_id}
    assert Store.open(archive).runs().num_rows == 3


def test_the_order_of_sources_and_the_number_of_runs_leave_no_trace(tmp_path):
    index([recording(i) for i in range(4)], tmp_path / "a", models=[Linear()])
    for i in (2, 0, 3, 1):
        index(recording(i), tmp_path / "b", models=[Linear()])
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_what_is_known_under_another_name_only_gets_the_name(tmp_path):
    archive = tmp_path / "a"
    index(recording(0), archive, models=[Linear()])
    at = versions(archive)
    moved = index(replace(recording(0), uri="moved"), archive, models=[Linear()])
    assert (moved.indexed, moved.skipped) == (0, 1)
    store = Store.open(archive)
    assert store.recordings()["uris"].to_pylist() == [["moved"]]
    now = versions(archive)
    assert {name for name in at if now[name] != at[name]} == {"recordings"}


def test_a_copy_that_is_still_there_stays_listed(tmp_path):
    (tmp_path / "one").touch()
    index(replace(recording(0), uri=str(tmp_path / "one")), tmp_path / "a", models=[Linear()])
    index(replace(recording(0), uri=str(tmp_path / "two")), tmp_path / "a", models=[Linear()])
    uris = Store.open(tmp_path / "a").recordings()["uris"].to_pylist()
    assert uris == [[str(tmp_path / "one"), str(tmp_path / "two")]]


def test_a_place_that_cannot_even_be_looked_for_is_no_copy(tmp_path):
    index(replace(recording(0), uri="x" * 5000), tmp_path / "a", models=[Linear()])
    report = index(recording(0), tmp_path / "a", models=[Linear()])
    assert (report.skipped, report.failed) == (1, ())
    assert Store.open(tmp_path / "a").recordings()["uris"].to_pylist() == [[recording(0).uri]]


def test_changed_content_replaces_what_lay_there(tmp_path):
    index([recording(0), recording(1)], tmp_path / "a", models=[Linear()])
    index(replace(recording(2), uri="take-0"), tmp_path / "a", models=[Linear()])
    index([recording(1), replace(recording(2), uri="take-0")], tmp_path / "b", models=[Linear()])
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_two_recordings_that_swap_names_both_stay(tmp_path):
    index([recording(0), recording(1)], tmp_path / "a", models=[Linear()])
    index([replace(recording(0), uri="take-1"), replace(recording(1), uri="take-0")], tmp_path / "a", models=[Linear()])
    rows = {r["recording_id"]: r["uris"] for r in Store.open(tmp_path / "a").recordings().to_pylist()}
    assert rows == {recording(0).recording_id: ["take-1"], recording(1).recording_id: ["take-0"]}


def test_a_recording_that_cannot_be_used_is_recorded_and_the_others_go_on(tmp_path):
    clock = np.array([0.0, 0.02, 1e9])
    broken = replace(
        recording(0),
        imus=(replace(imu(0, 1.0), acc_t_s=clock, acc_mps2=np.ones((3, 3)), gyro_t_s=clock, gyro_rps=np.ones((3, 3))),),
    )
    hurt = replace(recording(1), problems=("12 samples were cut off",))
    events = []
    report = index([broken, hurt, recording(2)], tmp_path / "a", models=[Linear()], progress=events.append)
    assert (report.indexed, [uri for uri, _ in report.failed]) == (2, ["take-0"])
    assert report.partial == (("take-1", "12 samples were cut off"),)
    store = Store.open(tmp_path / "a")
    rows = {r["uris"][0]: (r["status"], r["reason"]) for r in store.recordings().to_pylist()}
    assert rows["take-1"] == ("partial", "12 samples were cut off")
    assert rows["take-2"] == ("ok", "")
    assert rows["take-0"][0] == "failed"
    assert "broken clock" in rows["take-0"][1]
    assert store.windows(Filter(status="partial"))["recording_id"].unique().to_pylist() == [hurt.recording_id]
    assert [e.stage for e in events] == ["found", *["recording"] * 3, "writing", "building", "done"]
    assert [e.status for e in events if e.stage == "recording"] == ["failed", "partial", "ok"]
    assert json.loads(json.dumps(report.to_json()))["failed"][0]["uri"] == "take-0"
    at = versions(tmp_path / "a")
    assert len(index([broken, hurt], tmp_path / "a", models=[Linear()]).failed) == 1
    assert versions(tmp_path / "a") == at
    mended = index(recording(0), tmp_path / "a", models=[Linear()])
    assert (mended.indexed, mended.failed) == (1, ())
    assert set(Store.open(tmp_path / "a").recordings()["status"].to_pylist()) == {"ok", "partial"}


def test_a_further_model_adds_its_space_and_leaves_the_rest(tmp_path):
    motion, clip = Linear(), Linear()
    motion.encoders = {k: e for k, e in motion.encoders.items() if k[0] == "motion"}
    clip.encoders = {k: e for k, e in clip.encoders.items() if k[0] == "clip"}
    motion.fingerprint, clip.fingerprint = "m", "c"
    index([recording(0), recording(1)], tmp_path / "a", models=[motion])
    before = contents(tmp_path / "a")
    report = index([recording(0), recording(1)], tmp_path / "a", models=[clip])
    assert report.indexed == 2
    after = contents(tmp_path / "a")
    assert all(after[name] == before[name] for name in before if name.startswith("motion"))
    assert {m: r.fingerprint for m, r in Store.open(tmp_path / "a").models().items()} == {"motion": "m", "clip": "c"}
    index([recording(0), recording(1)], tmp_path / "b", models=[clip, motion])
    assert contents(tmp_path / "b") == after


def test_models_that_would_mix_are_refused(tmp_path):
    index(recording(0), tmp_path / "a", models=[Linear(0)])
    with pytest.raises(StaleIndex, match="new archive"):
        index(recording(0), tmp_path / "a", models=[Linear(1)])
    with pytest.raises(ArchiveError, match="two of the models"):
        index(recording(0), tmp_path / "b", models=[Linear(0), Linear(1)])
    with pytest.raises(ArchiveError, match="every 1 s"):
        index(recording(0), tmp_path / "a", models=[Linear(0)], stride_s=2.0)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"stride_s": 0.5}, "stride_s"),
        ({"window_s": 4.0}, "made for 5 s"),
        ({"models": ()}, "models is empty"),
        ({"sources": []}, "sources is empty"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_before_anything_is_written(tmp_path, change, what):
    arguments = {"sources": recording(0), "archive": tmp_path / "a", "models": [Linear()], **change}
    with pytest.raises(UsageError, match=what):
        index(**arguments)
    assert not (tmp_path / "a").exists()


def test_an_encoder_that_gives_nan_ends_the_run_with_its_name(tmp_path):
    model = Linear()
    model.encoders["clip", "text"] = broken = HashedWords()
    broken.encode = lambda batch, mask=None, **more: type("E", (), {"global_": np.full((len(batch), 16), np.nan)})()
    with pytest.raises(ModelError, match="clip"):
        index(recording(0), tmp_path / "a", models=[model])
    assert Store.open(tmp_path / "a").windows().num_rows == 0


def test_sensors_of_an_unknown_place_and_two_on_one_part_are_all_indexed(tmp_path):
    worn = (
        imu(1, 8.0, "unknown"),
        imu(2, 8.0, "left_wrist"),
        imu(3, 8.0, "left_hand"),
        imu(4, 8.0, "head", person="B"),
    )
    take = Recording("r" * 64, "take", imus=worn, poses=(pose(1, 8.0, "0"), pose(2, 6.0, "1")))
    index(take, tmp_path / "a", models=[Linear()])
    store = Store.open(tmp_path / "a")
    rows = store.windows(Filter(modality="imu")).to_pylist()
    assert {(r["person"], tuple(r["parts"])) for r in rows} == {
        ("", ("left_wrist", "unknown")),
        ("#2", ("left_wrist",)),
        ("B", ("head",)),
    }
    assert {r["person"] for r in store.windows(Filter(modality="pose")).to_pylist()} == {"0", "1"}
    keys = [StreamKey(take.recording_id, "imu", p) for p in ("", "#2", "B")]
    found = store.tokens("motion", [*keys, StreamKey(take.recording_id, "pose", "1")])
    assert len(found) == 4
    assert found[keys[2]].mask.any(axis=1).tolist() == [False] * 4 + [True, False]


def test_a_sensor_that_the_space_cannot_place_has_no_vector_there(tmp_path):
    take = Recording("r" * 64, "take", imus=(imu(1, 8.0, "unknown"),))
    index([take, recording(1)], tmp_path / "a", models=[Linear()])
    store = Store.open(tmp_path / "a")
    assert len(store.vectors("clip", "global", Filter(recording_id=take.recording_id))[0]) == 4
    assert len(store.vectors("motion", "global", Filter(recording_id=take.recording_id))[0]) == 0


def test_another_writer_stops_the_run(tmp_path):
    index(recording(0), tmp_path / "a", models=[Linear()])
    with Writer(tmp_path / "a"), pytest.raises(ArchiveLocked):
        index(recording(1), tmp_path / "a", models=[Linear()])


def test_cut_off_after_any_single_write_it_has_the_rows_of_an_undisturbed_run(tmp_path, monkeypatch):
    takes = [recording(i, 6.0) for i in range(2)]
    index(takes, tmp_path / "whole", models=[Linear()])
    whole, put = contents(tmp_path / "whole"), Writer._put
    for left in range(30):
        budget = [left]

        def put_or_die(self, name, rows, *, new=False, budget=budget):
            if not budget[0]:
                raise KeyboardInterrupt
            budget[0] -= 1
            put(self, name, rows, new=new)

        monkeypatch.setattr(Writer, "_put", put_or_die)
        try:
            index(takes, tmp_path / f"cut{left}", models=[Linear()])
        except KeyboardInterrupt:
            assert Store.open(tmp_path / f"cut{left}").windows().num_rows in (0, len(whole["windows"]))
        else:
            break
        finally:
            monkeypatch.setattr(Writer, "_put", put)
        index(takes, tmp_path / f"cut{left}", models=[Linear()])
        assert contents(tmp_path / f"cut{left}") == whole
    assert left == 12  # the run's own row is written first


def test_killed_at_any_moment_and_run_again_it_has_the_rows_of_an_undisturbed_run(tmp_path):
    index([recording(i) for i in range(8)], tmp_path / "whole", models=[Linear()])
    rng = np.random.default_rng(0)
    command = [sys.executable, str(Path(__file__).with_name("synthetic.py")), str(tmp_path / "cut"), "8"]
    killed = 0
    for _ in range(3):
        run = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert run.stdout.readline() == "ready\n"
        time.sleep(rng.uniform(0.02, 0.5))
        run.kill()
        killed += run.wait() != 0
        run.stdout.close()
        if (tmp_path / "cut" / "lance" / "recordings.lance").is_dir():
            seen = Store.open(tmp_path / "cut")
            whole = seen.windows().group_by("recording_id").aggregate([("window_id", "count")])
            assert set(whole["window_id_count"].to_pylist()) <= {18}
    assert killed
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


def test_the_encoders_of_these_tests_are_what_the_protocols_ask_for():
    from motionseek.encoders.base import tokenises

    assert tokenises(LinearTokens("imu"))
    assert not tokenises(LinearWindows("imu"))
