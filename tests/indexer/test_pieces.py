"""A long recording in pieces has the rows of one that was taken whole; messages survive the way between processes."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from synthetic import Linear, LinearTokens, imu, pose, recording
from test_index_files import Colours

from motionseek.indexer import prepare
from motionseek.indexer.encode import Encoding
from motionseek.indexer.middles import Middles
from motionseek.indexer.pipeline import index
from motionseek.indexer.prepare import KINDS, Frames, Head, Needs, as_dict, needs_from
from motionseek.indexer.store import Store, StreamKey
from motionseek.indexer.wire import receive, send
from motionseek.types import Imu, Recording


def with_a_gap(one: Imu, from_s: float, to_s: float) -> Imu:
    keep = (one.acc_t_s < from_s) | (one.acc_t_s >= to_s)
    return replace(
        one,
        acc_t_s=one.acc_t_s[keep],
        acc_mps2=one.acc_mps2[keep],
        gyro_t_s=one.gyro_t_s[keep],
        gyro_rps=one.gyro_rps[keep],
    )


def tables(archive: Path) -> dict[str, Any]:
    store = Store.open(archive)
    names = [n for n in store.table_names() if n not in ("runs", "files", "models")]
    return {n: store.need(n).to_arrow().sort_by(store.need(n).schema.names[0]) for n in names}


@pytest.mark.parametrize("gap", [(50.0, 55.0), (40.0, 170.0)])
def test_pieces_have_the_rows_of_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gap: tuple[float, float]
) -> None:
    worn = (with_a_gap(imu(1, 300.0), *gap), with_a_gap(imu(2, 290.0, "head"), *gap))
    take = recording(1, 300.0, imus=worn, poses=(pose(1, 280.0),))
    index(take, tmp_path / "whole", models=[Linear()])
    monkeypatch.setattr(prepare, "PIECE_S", 51.2)
    assert len(prepare._cuts(0.0, 300.0)) == 6
    index(take, tmp_path / "pieces", models=[Linear()])
    whole, pieces = tables(tmp_path / "whole"), tables(tmp_path / "pieces")
    assert set(whole) == set(pieces)
    for name, rows in whole.items():
        other = pieces[name]
        key = rows.schema.names[0]
        if not name.endswith("_token"):
            assert rows[key].to_pylist() == other[key].to_pylist(), name
        if "vector" in rows.column_names:
            one, two = (np.array(r["vector"].to_pylist(), np.float64) for r in (rows, other))
            assert np.abs(one - two).max() < 2e-3, name
    stores = [Store.open(tmp_path / n) for n in ("whole", "pieces")]
    for space in ("motion", "clip"):
        for modality in ("imu", "pose") if space == "motion" else ("imu",):
            key = StreamKey(take.recording_id, modality, "0" if modality == "pose" else "")
            one, two = (s.tokens(space, [key])[key] for s in stores)
            assert (one.start_s, one.token_s, one.parts) == (two.start_s, two.token_s, two.parts)
            assert one.token.shape == two.token.shape
            assert (one.mask == two.mask).mean() > 0.999
            both = one.mask & two.mask
            assert np.abs(one.token - two.token)[both].max() < 0.03


def test_a_long_film_in_pieces_has_the_vectors_of_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "film.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"g": "20"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i in range(600):
            colour = [30 + i % 200, 200 - i % 150, 90]
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), colour, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    found = []
    for piece_s in (1024.0, 12.8):
        monkeypatch.setattr(prepare, "PIECE_S", piece_s)
        film = prepare.of.Recording("v" * 64, str(path), video=video_of(path))
        model, encoder = Linear(), Colours()
        model.encoders = {("clip", "video"): encoder}
        index(film, tmp_path / f"{piece_s}", models=[model])
        found.append((tables(tmp_path / f"{piece_s}"), encoder.frames))
    (whole, frames), (pieces, again) = found
    assert frames == again
    for name in ("windows", "clip_global"):
        assert whole[name].to_pylist() == pieces[name].to_pylist()
    assert whole["clip_token"].to_pylist() == pieces["clip_token"].to_pylist()


def video_of(path: Path) -> Any:
    from motionseek.indexer.video import probe

    return probe(path)


def test_messages_come_out_of_the_pipe_as_they_went_in() -> None:
    take = recording(3, 7.0)
    model = Linear()
    needs = Needs.of(model.encoders, 5.0, 1.0)
    assert needs_from(as_dict(needs)) == needs
    sent = list(prepare.prepare(take, needs))
    pipe = io.BytesIO()
    for message in sent:
        send(pipe, message)
    pipe.seek(0)
    got = [receive(pipe, KINDS) for _ in sent]
    with pytest.raises(EOFError):
        receive(pipe, KINDS)
    one, two = (Encoding(model.encoders, 5.0, {take.recording_id: ["walk"]}) for _ in range(2))
    for a, b in zip(sent, got, strict=True):
        assert type(a) is type(b)
        if not isinstance(a, Head | prepare.End):
            rows = [[(n, r.to_pylist()) for n, r in e.take(m)] for e, m in ((one, a), (two, b))]
            assert rows[0] == rows[1]
    assert one.windows == two.windows
    assert one.windows[take.recording_id] > 0
    frames = Frames(prepare.Sampling(2.0, 5.0, 8), np.arange(3), np.zeros((3, 2, 2, 3), np.uint8))
    pipe = io.BytesIO()
    send(pipe, frames)
    pipe.seek(0)
    assert receive(pipe, KINDS).frames.shape == (3, 2, 2, 3)


@pytest.mark.parametrize("junk", [b"", b"\xff" * 8, b"\x02\x00\x00\x00\x00\x00\x00\x00{}", b"\x10\x00\x00\x00"])
def test_junk_on_the_pipe_is_an_error(junk: bytes) -> None:
    with pytest.raises((EOFError, ValueError)):
        receive(io.BytesIO(junk), KINDS)


def test_tokens_of_windows_in_turns_are_those_of_all_at_once() -> None:
    rng = np.random.default_rng(0)
    start_s = np.concatenate([np.arange(0, 20, 1.0), np.arange(40, 60, 1.0)])
    token, mask = rng.normal(size=(40, 2, 5, 3)).astype(np.float32), rng.random((40, 2, 5)) > 0.1
    whole = Middles(5.0)
    whole.take(start_s, token, mask)
    want = whole.give(None)
    turns, got = Middles(5.0), []
    for first in range(0, 40, 8):
        at = slice(first, first + 8)
        turns.take(start_s[at], token[at], mask[at])
        got.append(turns.give(None if first == 32 else float(start_s[at][-1])))
    assert want is not None
    for i in (0, 1):
        assert (np.concatenate([g[i] for g in got if g is not None], axis=1) == want[i]).all()


def test_an_encoder_of_tokens_says_how_far_it_looks() -> None:
    far = LinearTokens("imu")
    far.context_s = 7.3
    assert Needs.of({("motion", "imu"): far}, 5.0, 1.0).margin_s == 8.0
    assert isinstance(recording(1), Recording)
