"""Files of Python objects, read as data: against what the standard library makes of them, and what it must not do."""

from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from motionseek.errors import DamagedFile
from motionseek.indexer.readers.objects import load_objects

HELD: dict[str, Any] = {
    "plain": [1, -5, 10**30, 2.5, None, True, False, "Läufe", b"bytes", b"", (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)],
    "sets": [{5, 6}, set()],
    "nested": OrderedDict(a={"b": [{"c": [0] * 3000}]}),
    "scalars": [np.float64(3.5), np.int32(7), np.bool_(True)],
    "arrays": [
        np.arange(12, dtype=">f4").reshape(3, 4),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.array(["a", "bc"]),
        np.empty((0, 3)),
        np.arange(5, dtype=np.int16)[::2],
    ],
    "objects": np.array([{"a": 1}, None, [np.ones(2)]], dtype=object),
}
SHARED = [1, 2]


class Explosive:
    def __reduce__(self) -> Any:
        return os.mkdir, ("exploded",)


class Silent:
    """A class with a state, which would run its __setstate__."""


def same(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and same(a.tolist(), b.tolist())
    return bool(a == b)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_data_is_read_as_it_was_written(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "labels.cpl"
    path.write_bytes(pickle.dumps({**HELD, "one": SHARED, "two": SHARED}, protocol=protocol))
    held = load_objects(path)
    assert same(dict(HELD), {name: held[name] for name in HELD})
    assert held["one"] is held["two"]


def test_arrays_of_objects_and_of_numbers(tmp_path: Path) -> None:
    for name, array in (("objects", HELD["objects"]), ("numbers", np.ones((2, 3)))):
        np.save(tmp_path / f"{name}.npy", array, allow_pickle=True)
        assert same(array, load_objects(tmp_path / f"{name}.npy"))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("held", [Explosive(), Silent(), os.system, print, range(3), np.datetime64("2026-01-01")])
def test_what_is_not_data_is_refused_and_never_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: Any, protocol: int
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.cpl").write_bytes(pickle.dumps([1, held], protocol=protocol))
    with pytest.raises(DamagedFile, match=r"is not data|are not read"):
        load_objects(Path("x.cpl"))
    assert not Path("exploded").exists()


def test_garbled_files_are_damaged_or_data(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    held = pickle.dumps({"a": np.arange(40.0), "b": [{"c": (1, "x", None)}] * 5, "d": {1, 2}})
    path = tmp_path / "x.cpl"
    for i in range(1500):
        data = bytearray(held)
        for at in rng.integers(len(data), size=rng.integers(1, 6)):
            data[at] = rng.integers(256)
        path.write_bytes(bytes(data[: rng.integers(len(data))] if i % 3 == 0 else data))
        with suppress(DamagedFile):
            load_objects(path)
