from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
from synthetic import write_imu

from motionseek.errors import DamagedFile
from motionseek.indexer import feed
from motionseek.indexer.ahead import Ahead, Stopped
from motionseek.indexer.child import Child
from motionseek.indexer.feed import Claim, Feed, Item, Limits, _answers, _to_identify
from motionseek.indexer.prepare import Needs
from motionseek.indexer.readers import Source
from motionseek.indexer.stills import stills_of


def test_what_is_read_ahead_is_bounded_by_its_bytes() -> None:
    ahead, third = Ahead(100), threading.Event()

    def fill() -> None:
        ahead.put("larger than all", 500)
        ahead.put("small", 60)
        ahead.put("as small", 60)
        third.set()

    threading.Thread(target=fill, daemon=True).start()
    assert ahead.take() == "larger than all"
    assert not third.wait(0.2)
    assert ahead.take() == "small"
    assert third.wait(10)
    assert ahead.take() == "as small"


def test_who_waits_to_put_something_is_told_that_nobody_takes_it() -> None:
    ahead, said = Ahead(10), list[str]()
    ahead.put("first", 10)

    def fill() -> None:
        try:
            ahead.put("second", 10)
        except Stopped:
            said.append("stopped")

    waiting = threading.Thread(target=fill, daemon=True)
    waiting.start()
    ahead.close()
    waiting.join(10)
    assert said == ["stopped"]


def test_who_waits_to_be_taken_from_does_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "AHEAD_BYTES", 1)  # one entry at a time
    write_imu(tmp_path / "one.csv", 0)
    item = Item(Source(str(tmp_path / "one.csv"), "imu"))
    asked = []

    def claim(item: Item, name: str) -> Claim:
        asked.append(fed.reading)
        return Claim("read", Needs(5.0, 1.0))

    with Feed(Limits(1)) as fed:
        told = fed.messages([item], claim, {})
        assert fed.reading == 0
        kinds = []
        for said in told:
            kinds += [type(message).__name__ for _, message in said]
            until = time.monotonic() + 30
            while fed.reading and time.monotonic() < until:
                time.sleep(0.01)
            assert fed.reading == 0
    assert asked == [1]
    assert (kinds[0], kinds[-1]) == ("Identity", "End")
    assert fed.read_s > 0


def test_pictures_of_a_file_that_vanished_are_an_error_of_ours(tmp_path) -> None:
    with pytest.raises(DamagedFile, match="No such file"):
        stills_of(tmp_path / "gone.vrs")


@pytest.mark.slow
def test_of_several_read_together_only_the_one_that_hangs_has_failed(tmp_path: Path) -> None:
    for i, name in enumerate(("one", "two")):
        write_imu(tmp_path / f"{name}.csv", i)
    os.mkfifo(tmp_path / "hanging.csv")
    items = [Item(Source(str(tmp_path / f"{name}.csv"), "imu")) for name in ("one", "hanging", "nothing", "two")]
    child = Child(6.0, 4.0)
    try:
        said = [list(messages)[-1] for messages, _ in _answers(child, [_to_identify(item) for item in items])]
    finally:
        child.close()
    assert [type(one).__name__ for one in said] == ["Identity", "Failure", "Failure", "Identity"]
    assert "no sign of life" in said[1].reason
    assert "No such file" in said[2].reason
