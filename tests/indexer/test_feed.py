from __future__ import annotations

import threading

import pytest

from motionseek.errors import DamagedFile
from motionseek.indexer.feed import _Ahead, _Stopped
from motionseek.indexer.vrs import pictures_of


def test_what_is_read_ahead_is_bounded_by_its_bytes() -> None:
    ahead, third = _Ahead(100), threading.Event()

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
    ahead, said = _Ahead(10), list[str]()
    ahead.put("first", 10)

    def fill() -> None:
        try:
            ahead.put("second", 10)
        except _Stopped:
            said.append("stopped")

    waiting = threading.Thread(target=fill, daemon=True)
    waiting.start()
    ahead.close()
    waiting.join(10)
    assert said == ["stopped"]


def test_pictures_of_a_file_that_vanished_are_an_error_of_ours(tmp_path) -> None:
    with pytest.raises(DamagedFile, match="No such file"):
        pictures_of(tmp_path / "gone.vrs")
