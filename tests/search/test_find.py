"""Sensors that belong to a recording of an archive, at a known offset, and sensors that belong to none."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from stand_ins import an_imu

from motionseek.cli import cli
from motionseek.demo.recordings import make_recordings, write_imu
from motionseek.encoders.model import load_model
from motionseek.errors import QueryError
from motionseek.indexer.filters import Filter
from motionseek.indexer.pipeline import index
from motionseek.indexer.readers import read
from motionseek.indexer.store import Store
from motionseek.indexer.tokens import TokenStream
from motionseek.search.archive import open as open_archive
from motionseek.search.find import needed_confidence
from motionseek.search.find_lags import MIN_SHARE, halves, lag_curve
from motionseek.search.query import sensors_of
from motionseek.search.rerank import QueryTokens
from motionseek.types import PARTS, Imu, Span

LATE_S = 3.0


@pytest.fixture(scope="module")
def archive(archive_dir, model):
    return open_archive(archive_dir, models=[model])


def a_copy(takes, number, start_s=2.0, end_s=10.0):
    """A stretch of a take's sensors, on a clock that is LATE_S late."""

    def late(imu: Imu) -> Imu:
        cut = imu.crop(Span(start_s, end_s))
        return replace(cut, acc_t_s=cut.acc_t_s + LATE_S, gyro_t_s=cut.gyro_t_s + LATE_S)

    return [late(imu) for imu in takes[number].imus]


@pytest.mark.parametrize("number", [0, 3, 7])
@pytest.mark.parametrize("sensors", [1, 2])
def test_a_sensor_finds_its_recording_at_its_offset(archive, takes, number, sensors):
    found = archive.find(a_copy(takes, number)[:sensors])
    assert found
    assert [m.uri for m in found.matches] == [f"take {number}"]
    assert found.matches[0].offset_s == pytest.approx(-LATE_S, abs=0.03)
    assert found.reason == ""
    assert {m.uri for m in found.nearest} & {f"take {number}"} == set()


def test_a_strangers_sensor_belongs_to_none(archive):
    t_s = np.arange(0, 8, 0.02)
    for seed in range(100, 106):
        found = archive.find([an_imu(seed, t_s), an_imu(seed + 50, t_s, "left_knee")])
        assert not found
        assert found.matches == ()
        assert "none" in found.reason
        assert found.nearest
        assert found.looked > 0


def test_a_sensor_that_does_not_move_belongs_to_none(archive):
    t_s = np.arange(0, 8, 0.02)
    noise = np.random.default_rng(0).normal(scale=0.01, size=(len(t_s), 3))
    found = archive.find(Imu(t_s, noise + np.array([0, 9.8, 0]), t_s, noise, "right_wrist"))
    assert not found
    assert "hardly turn" in found.reason


def test_filters_and_bounds_leave_recordings_out(archive, takes):
    sensors = a_copy(takes, 3)
    assert archive.find(sensors, max_offset_s=3.5).matches[0].uri == "take 3"
    assert not archive.find(sensors, max_offset_s=1.0)
    own, other = takes[3].labels[0], takes[4].labels[0]
    assert archive.find(sensors, where=Filter(label=own)).matches[0].uri == "take 3"
    assert not archive.find(sensors, where=Filter(label=other))


def test_recordings_come_in_any_number(archive, takes, tmp_path, model):
    """Nothing to compare with, and nothing but the right one."""
    Store.open(tmp_path / "empty", create=True)
    none = open_archive(tmp_path / "empty", models=[model]).find(a_copy(takes, 0))
    assert not none
    assert "no recording" in none.reason
    index([takes[5]], tmp_path / "one", models=[model])
    one = open_archive(tmp_path / "one", models=[model])
    assert one.find(a_copy(takes, 5)).matches[0].uri == "take 5"
    assert not one.find(a_copy(takes, 2))


def test_two_recordings_may_hold_the_same_sensor(takes, tmp_path, model):
    """Kept twice, for instance, in two cuts."""
    other = replace(takes[3], recording_id="f" * 64, uri="other camera")
    index([replace(take, poses=(), video=None) for take in (*takes[:6], other)], tmp_path / "archive", models=[model])
    found = open_archive(tmp_path / "archive", models=[model]).find(a_copy(takes, 3))
    assert {m.uri for m in found.matches} == {"take 3", "other camera"}


def test_what_cannot_be_asked(archive, takes):
    sensor = a_copy(takes, 0)[0]
    with pytest.raises(QueryError, match="placement"):
        archive.find(replace(sensor, placement="unknown"))
    with pytest.raises(QueryError, match="at least"):
        archive.find(sensor.crop(Span(6.0, 6.06)))
    with pytest.raises(QueryError, match="max_offset_s"):
        archive.find(sensor, max_offset_s=-1)
    with pytest.raises(QueryError, match="min_confidence"):
        archive.find(sensor, min_confidence=float("nan"))


def test_every_lag_scores_the_mean_cosine_of_what_meets():
    rng = np.random.default_rng(0)
    phases, held, steps, width = 3, 7, 12, 4
    token = rng.normal(size=(phases, len(PARTS), held, width)).astype(np.float32)
    token /= np.linalg.norm(token, axis=-1, keepdims=True)
    mask = rng.random((phases, len(PARTS), held)) < 0.8
    mask[:, 4:] = False
    stream_token = rng.normal(size=(len(PARTS), steps, width)).astype(np.float32)
    stream_token /= np.linalg.norm(stream_token, axis=-1, keepdims=True)
    stream_mask = rng.random((len(PARTS), steps)) < 0.8
    tokens = QueryTokens(5.0, 0.2, token * mask[..., None], mask)
    stream = TokenStream(11.0, 0.2, stream_token * stream_mask[..., None], stream_mask, PARTS)
    offset_s, score, allowed = lag_curve(tokens, stream)
    wanted = {}
    for f in range(phases):
        for lag in range(-(held - 1), steps):
            pairs = [
                (p, i)
                for p in range(len(PARTS))
                for i in range(held)
                if 0 <= i + lag < steps and mask[f, p, i] and stream_mask[p, i + lag]
            ]
            if pairs:
                mean = np.mean([token[f, p, i] @ stream_token[p, i + lag] for p, i in pairs])
                longest = max(sum(p == q for q, _ in pairs) for p in range(len(PARTS))) * 0.2
                wanted[round(11.0 + 0.2 * lag - 5.0 - f * 0.2 / phases, 6)] = mean * longest / (longest + 3.0), longest
    at = {round(float(t), 6): i for i, t in enumerate(offset_s)}
    assert set(wanted) <= set(at)
    for t, (value, _) in wanted.items():
        assert score[at[t]] == pytest.approx(value, abs=1e-5)
    most = max(longest for _, longest in wanted.values())
    assert all(wanted[t][1] >= MIN_SHARE * most * 0.5 for t, i in at.items() if allowed[i])
    assert np.allclose(np.diff(offset_s), 0.2 / phases)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("find")
    names = ["jump_forward", "punch_and_strike", "scoop_up", "sword_a", "sword_b", "hang_and_swing"]
    make_recordings(folder / "in", names=names)
    bodies = []
    for name in names:
        recording = read(folder / "in" / name)
        bodies.append(replace(recording, imus=(), video=None, narrations=()))
    index(bodies[:-1], folder / "archive", models=[load_model("starter")])
    return folder


def test_the_starter_finds_the_body_that_wore_the_sensors(demo):
    opened = open_archive(demo / "archive")
    for name in ("jump_forward", "sword_a", "sword_b"):
        path = demo / "in" / name
        truth = read(path).extra["truth"]["imu_offset_s"]
        best = opened.find(sensors_of(path)).matches[0]
        assert name in best.uri
        assert best.modality == "pose"
        assert best.offset_s == pytest.approx(truth, abs=0.05)
    assert not opened.find(sensors_of(demo / "in" / "hang_and_swing"))


def test_on_the_command_line(demo):
    take, archive = demo / "in" / "sword_b", str(demo / "archive")
    done = CliRunner().invoke(cli, ["find", str(take), "--archive", archive, "--json"])
    assert done.exit_code == 0
    said = json.loads(done.stdout)
    assert "sword_b" in said["matches"][0]["uri"]
    assert said["reason"] == ""
    write_imu(demo / "still.csv", an_imu(1, np.arange(0, 4, 0.02)))
    none = CliRunner().invoke(cli, ["find", str(demo / "still.csv"), "-p", "head", "--archive", archive])
    assert none.exit_code == 1
    assert "refused" in none.stdout
    assert "belongs to none" in none.stdout
    wrong = CliRunner().invoke(cli, ["find", str(take), "-p", "head", "-p", "head", "--archive", archive])
    assert wrong.exit_code != 0


def _unit(rng, *shape):
    token = rng.normal(size=shape).astype(np.float32)
    return token / np.linalg.norm(token, axis=-1, keepdims=True)


def test_each_half_must_fit_where_the_whole_does():
    rng = np.random.default_rng(1)
    parts, steps, width, hop_s = len(PARTS), 60, 16, 0.2
    stream = TokenStream(0.0, hop_s, _unit(rng, parts, steps, width), np.ones((parts, steps), np.bool_), PARTS)
    held = stream.token[None, :, 20:40]
    mask = np.ones(held.shape[:3], np.bool_)
    # The sensor's clock starts at 0 with what the recording has at 4 s.
    margin, seconds = halves(QueryTokens(0.0, hop_s, held, mask), stream, 4.0, None)
    assert seconds == pytest.approx(4.0)
    assert margin > 0.15  # of a cosine of 1, drawn to 2 / (2 + 3) with two seconds
    mixed = held.copy()
    mixed[:, :, 10:] = _unit(rng, 1, parts, 10, width)
    assert halves(QueryTokens(0.0, hop_s, mixed, mask), stream, 4.0, None)[0] < 0.05
    # A sensor that goes on beyond the recording: halves are those of what meets.
    beyond = np.concatenate([stream.token[None, :, 40:], _unit(rng, 1, parts, 30, width)], axis=2)
    margin, seconds = halves(QueryTokens(0.0, hop_s, beyond, np.ones((1, parts, 50), np.bool_)), stream, 8.0, None)
    assert seconds == pytest.approx(4.0)
    assert margin > 0.15


def test_less_that_meets_needs_more_confidence():
    needed = [needed_confidence(seconds, few=True) for seconds in (1, 3, 9, 11, 15, 25, 600)]
    assert needed == sorted(needed, reverse=True)
    assert needed[-1] == needed[-2]
    assert all(needed_confidence(s, few=False) < needed_confidence(s, few=True) for s in (2, 10, 30))
