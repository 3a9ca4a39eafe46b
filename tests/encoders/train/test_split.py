"""Splits keep people and recordings on one side, or say who would be on two."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from motionseek.encoders.train.split import Split, divide
from motionseek.errors import UsageError


class Files(SimpleNamespace):
    def __len__(self) -> int:
        return len(self.persons)


def files(*rows: tuple[str, str, str]) -> Any:
    """(recording, person, label) of each window."""
    recordings, persons, labels = (np.array(column, np.str_) for column in zip(*rows, strict=True))
    uris = [f"/data/{r}.csv" for r in recordings.tolist()]
    return Files(recordings=recordings, persons=persons, labels=labels, windows=pa.table({"uri": uris}))


PEOPLE = files(*((f"r{person}{take}", person, label) for person in "abcdefgh" for take in "12" for label in ("x", "y")))


def sides(held: Any, split: Split) -> dict[str, set[str]]:
    return {side: set(held.persons[rows].tolist()) for side, rows in divide(held, split).items()}


def test_people_by_name_and_the_rest() -> None:
    found = sides(PEOPLE, Split("person", train=("*",), validation=("c",), test=("a", "b")))
    assert found == {"train": set("defgh"), "validation": {"c"}, "test": {"a", "b"}}


def test_people_by_lot_are_all_used_once_and_the_same_again() -> None:
    split = Split("person", fractions=(0.5, 0.25, 0.25), seed=4)
    rows = divide(PEOPLE, split)
    assert sorted(np.concatenate(list(rows.values())).tolist()) == list(range(len(PEOPLE)))
    people = sides(PEOPLE, split)
    assert [len(people[s]) for s in ("train", "validation", "test")] == [4, 2, 2]
    assert not people["train"] & people["test"]
    assert sides(PEOPLE, split) == people
    assert any(sides(PEOPLE, Split("person", fractions=(0.5, 0.25, 0.25), seed=s)) != people for s in range(5))


def test_recordings_by_any_of_their_names() -> None:
    repeat = {"people_may_repeat": True}
    for name in ("ra1", "/data/ra1.csv", "ra1.csv"):
        rows = divide(PEOPLE, Split("recording", train=("*",), test=(name,), **repeat))
        assert set(PEOPLE.recordings[rows["test"]].tolist()) == {"ra1"}
    with pytest.raises(UsageError, match="'r' fits 16 recordings"):
        divide(PEOPLE, Split("recording", train=("*",), test=("r",), **repeat))


def test_labels_apart() -> None:
    held = files(("r1", "a", "x"), ("r2", "a", "y"), ("r3", "b", "x"))
    rows = divide(held, Split("label", train=("x",), test=("y",), people_may_repeat=True))
    assert {s: r.tolist() for s, r in rows.items()} == {"train": [0, 2], "test": [1]}


@pytest.mark.parametrize(
    ("held", "split", "says"),
    [
        (PEOPLE, {"by": "recording", "fractions": (0.5, 0.5), "seed": 1}, r"leaks: person '\w' is in train \(/data/r"),
        (
            PEOPLE,
            {"by": "label", "train": ("x",), "test": ("y",)},
            "leaks: /data/ra1.csv has windows in test and train",
        ),
        (
            PEOPLE,
            {"by": "label", "train": ("x",), "test": ("y",), "people_may_repeat": True},
            "leaks: /data/ra1.csv has windows in",
        ),
        (
            files(("r1", "a", ""), ("r1", "b", "")),
            {"by": "person", "train": ("a",), "test": ("b",)},
            "leaks: /data/r1.csv has windows in test and train",
        ),
        (
            files(("r1", "", ""), ("r2", "b", "")),
            {"by": "recording", "train": ("r1",), "test": ("r2",)},
            r"nobody knows who wears the sensors of /data/r1.csv \(1 windows\)",
        ),
        (PEOPLE, {"train": ("a",), "test": ("z",)}, "split.test: person 'z' is not in the archive; there are: a, b"),
        (PEOPLE, {"train": ("a", "b"), "test": ("b",)}, "person 'b' is on two sides, train and test"),
        (PEOPLE, {"train": ("*",), "test": ("*",)}, "only one side has it, not train and test"),
        (PEOPLE, {"train": ("a",), "fractions": (1.0,)}, "either names"),
        (PEOPLE, {}, "either names"),
        (PEOPLE, {"fractions": (0.9, 0.3)}, "shares of train"),
        (PEOPLE, {"fractions": (0.97, 0.01, 0.02)}, "8 persons, too few for a share of 0.01 in validation"),
        (files(("r1", "", ""), ("r2", "", "")), {"fractions": (0.9, 0.1)}, "too few|nothing to train on"),
        (PEOPLE, {"by": "weekday", "fractions": (1.0,)}, "split.by must be"),
    ],
)
def test_what_leaks_or_is_not_there_is_named(held: Any, split: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        divide(held, Split(**split))
