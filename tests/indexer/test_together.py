"""Small recordings are encoded together: the rows are those of each alone, to the last bit."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from synthetic import Linear, imu, recording, write_imu
from test_store import contents

from motionseek.encoders.model import load_model
from motionseek.indexer import encode
from motionseek.indexer.encode import Encoding, beside
from motionseek.indexer.feed import Limits
from motionseek.indexer.pipeline import index
from motionseek.indexer.prepare import Needs, Signals, prepare

ROOT = Path(__file__).parents[2]


def rows_of(tables: Any) -> dict[str, list[dict[str, Any]]]:
    """By table, sorted by key."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for name, rows in tables:
        found[name] += rows.to_pylist()
    return {name: sorted(rows, key=lambda row: next(iter(row.values()))) for name, rows in found.items()}


def torn(seed: int, duration_s: float) -> Any:
    """A sensor that says nothing for a while, beside one that begins late."""
    one, late = imu(seed, duration_s), imu(seed + 1, duration_s / 2, "right_knee", start_s=duration_s / 2)
    kept = (one.acc_t_s < duration_s * 0.4) | (one.acc_t_s > duration_s * 0.7)
    cut = {name: getattr(one, name)[kept] for name in ("acc_t_s", "acc_mps2", "gyro_t_s", "gyro_rps")}
    return recording(seed, duration_s, imus=(replace(one, **cut), late))


@pytest.mark.parametrize("together", [5, 512])
def test_recordings_encoded_together_have_the_rows_of_each_alone(
    together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encode, "WINDOWS_TOGETHER", together)
    model = load_model("starter", device="cpu")
    encoders = {key: model.encoders[key] for key in model.encoders if key[1] != "text"}
    takes = [recording(i, s) for i, s in enumerate((8.0, 2.3, 30.0, 5.0, 0.7))]
    takes += [recording(10, 8.0, imus=(imu(10, 8.0, "unknown"),)), torn(11, 12.0), torn(12, 31.0)]
    needs = Needs.of(encoders, 5.0, 1.0)
    pieces = [m for take in takes for m in prepare(take, needs) if isinstance(m, Signals)]
    labels = {take.recording_id: take.labels for take in takes}
    ahead, back = Encoding(encoders, 5.0, labels), Encoding(encoders, 5.0, labels)
    found, turned = rows_of(ahead.together(pieces)), rows_of(back.together(pieces[::-1]))
    alone = {take.recording_id: Encoding(encoders, 5.0, {take.recording_id: take.labels}) for take in takes}
    want = rows_of(rows for piece in pieces for rows in alone[piece.windows.recording_id].take(piece))
    assert set(found) == {"windows", *(f"motion_{x}" for x in ("global", "local", "projected", "token")), "clip_global"}
    assert found == want
    assert turned == want
    assert ahead.windows == {name: one.windows[name] for name, one in alone.items()}
    assert [ahead.quality(name) for name in labels] == [alone[name].quality(name) for name in labels]


def test_rows_are_the_same_whatever_cores_readers_leave() -> None:
    model = load_model("starter", device="cpu")
    encoders = {key: model.encoders[key] for key in model.encoders if key[1] != "text"}
    take = recording(3, 30.0)
    pieces = [m for m in prepare(take, Needs.of(encoders, 5.0, 1.0)) if isinstance(m, Signals)]
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        found = []
        for readers, threads in ((0, 4), (2, 2), (9, 1)):
            with beside(readers):
                assert torch.get_num_threads() == threads
                found.append(rows_of(Encoding(encoders, 5.0, {take.recording_id: ()}).together(pieces)))
            assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(before)
    assert found[0] == found[1] == found[2]


def test_what_is_indexed_in_turns_has_the_rows_of_what_is_indexed_at_once(tmp_path: Path) -> None:
    sources = tmp_path / "sources"
    sources.mkdir()
    for i in range(6, 12):
        write_imu(sources / f"{i}.csv", i, 5.0 + i % 4)
    (sources / "junk.csv").write_text("no sensor at all\n1\n")
    report = index(sources, tmp_path / "whole", limits=Limits(1))
    assert (report.indexed, len(report.failed)) == (6, 1)
    for limit in (1, 2, 6):
        index(sources, tmp_path / "turns", limit=limit, limits=Limits(1))
    assert contents(tmp_path / "turns") == contents(tmp_path / "whole")


class Picky(Linear):
    """Fails where a window is not whole."""

    def __post_init__(self) -> None:
        super().__post_init__()
        encoder = self.encoders["clip", "imu"]
        encode_all = encoder.encode

        def encode(batch: Any, mask: Any = None, *, raw: bool = False) -> Any:
            if not mask[:, mask.any((0, 2))].all():
                raise FloatingPointError("too short")
            return encode_all(batch, mask, raw=raw)

        encoder.encode = encode  # type: ignore[method-assign]
        encoder.independent = True  # type: ignore[attr-defined]


def test_of_several_encoded_together_only_the_one_that_cannot_be_has_failed(tmp_path: Path) -> None:
    for i in range(8):
        write_imu(tmp_path / f"{i}.csv", i, 4.0 if i == 5 else 8.0)
    report = index(tmp_path, tmp_path / "archive", models=[Picky()], limits=Limits(1))
    assert report.indexed == 7
    assert report.failed == ((str(tmp_path / "5.csv"), "FloatingPointError: too short"),)
    assert report.windows == 7 * 4
