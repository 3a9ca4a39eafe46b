"""Which windows train, which validate and which test; a split that leaks is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal

import numpy as np
import numpy.typing as npt

from motionseek.encoders.train.files import Int, TrainingFiles
from motionseek.errors import UsageError
from motionseek.types import Bool

SIDES = ("train", "validation", "test")
REST = "*"
Names = npt.NDArray[np.str_]


@dataclass(frozen=True)
class Split:
    """Names of people, recordings or labels for each side, or the share of them that each side gets.

    by: what is divided.     train, validation, test: names; "*" is all that no other side names. A recording is named
    by its id (or its beginning), its path, or the path's last part.     fractions: of train, validation and test, by
    lot; what is left over is not used.
    people_may_repeat: the same person, or an unknown one, may be on several sides, as in IMU2CLIP's split by video.
    """

    by: Literal["person", "recording", "label"] = "person"
    train: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    fractions: tuple[float, ...] = ()
    people_may_repeat: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.by not in ("person", "recording", "label"):
            raise UsageError(f"split.by must be person, recording or label, not {self.by!r}")
        named = bool(self.train or self.validation or self.test)
        if named == bool(self.fractions):
            raise UsageError("a split has either names for train (and validation, test) or fractions")
        if self.fractions:
            wrong = any(not 0 <= f <= 1 for f in self.fractions) or sum(self.fractions) > 1 + 1e-9
            if wrong or len(self.fractions) > 3 or not self.fractions[0]:
                raise UsageError(f"split.fractions are shares of train, validation, test, not {list(self.fractions)}")
        elif not self.train:
            raise UsageError("split.train names nobody to train on")
        rests = [side for side in SIDES if REST in getattr(self, side)]
        if len(rests) > 1:
            raise UsageError(f'"*" is what no other side names, so only one side has it, not {" and ".join(rests)}')
        seen: dict[str, str] = {}
        for side in SIDES:
            for name in getattr(self, side):
                if name in seen:
                    raise UsageError(
                        f"split: {self.by} {name!r} is on two sides, {seen[name]} and {side}: keep it on one"
                    )
                seen[name] = side


def divide(files: TrainingFiles, split: Split, among: Int | None = None) -> dict[str, Int]:
    """The windows of each side, of all or of those `among`. Raises UsageError where a name is not there, where the
    split leaks, or where nothing is left to train on."""
    rows = np.arange(len(files)) if among is None else among
    keys = {"person": files.persons, "recording": files.recordings, "label": files.labels}[split.by][rows]
    uris = np.array(files.windows["uri"].to_pylist(), np.str_)[rows]
    known = sorted(set(keys.tolist()) - {""})
    if split.fractions:
        side_of = _by_lot(known, split)
    else:
        aliases = _aliases(files.recordings[rows], uris) if split.by == "recording" else {k: {k} for k in known}
        side_of = _by_name(known, aliases, split)
    sides = np.array([side_of.get(key, "") for key in keys.tolist()])
    if not (sides == "train").any():
        raise UsageError(f"the split leaves nothing to train on: of {len(known)} {split.by}s none is in train")
    _refuse_leaks(split, sides, files.persons[rows], files.recordings[rows], uris)
    return {side: rows[sides == side] for side in SIDES if (sides == side).any()}


def _by_lot(known: Sequence[str], split: Split) -> dict[str, str]:
    order = np.random.default_rng(split.seed).permutation(len(known))
    ends = np.rint(np.cumsum(split.fractions) * len(known)).astype(int)
    side_of: dict[str, str] = {}
    start = 0
    for side, end, share in zip(SIDES, ends, split.fractions, strict=False):
        if share and end <= start:
            raise UsageError(
                f"there are {len(known)} {split.by}s, too few for a share of {share:g} in {side}: name them instead"
            )
        side_of |= {known[i]: side for i in order[start:end]}
        start = end
    return side_of


def _aliases(recordings: Names, uris: Names) -> dict[str, set[str]]:
    """What each recording may be called → its id."""
    found: dict[str, set[str]] = {}
    for recording, uri in set(zip(recordings.tolist(), uris.tolist(), strict=True)):
        path = PurePath(uri)
        for name in {recording, uri, path.name, path.stem, *([uri.rpartition("#")[2]] if "#" in uri else [])}:
            found.setdefault(name, set()).add(recording)
    return found


def _by_name(known: Sequence[str], aliases: Mapping[str, set[str]], split: Split) -> dict[str, str]:
    side_of: dict[str, str] = {}
    rest = next((side for side in SIDES if REST in getattr(split, side)), None)
    for side in SIDES:
        for name in getattr(split, side):
            if name == REST:
                continue
            meant = aliases.get(name) or {k for k in known if split.by == "recording" and k.startswith(name)}
            if len(meant) != 1:
                some = ", ".join(sorted(meant) or known[:12]) + (" …" if len(known) > 12 else "")
                what = f"fits {len(meant)} recordings" if meant else "is not in the archive"
                raise UsageError(
                    f"split.{side}: {split.by} {name!r} {what}; there are: {some or 'none that are known'}"
                )
            key = next(iter(meant))
            if side_of.setdefault(key, side) != side:
                raise UsageError(f"split: {split.by} {name!r} is on two sides, {side_of[key]} and {side}")
    if rest:
        side_of |= {key: rest for key in known if key not in side_of}
    return side_of


def _refuse_leaks(split: Split, sides: Names, persons: Names, recordings: Names, uris: Names) -> None:
    used: Bool = np.asarray(sides != "")
    for recording in _on_several(recordings[used], sides[used]):
        mine = used & (recordings == recording)
        raise UsageError(
            f"the split leaks: {uris[mine][0]} has windows in {' and '.join(sorted(set(sides[mine].tolist())))}; "
            f"leave it out or split by recording"
        )
    if split.people_may_repeat or len(set(sides[used].tolist())) == 1:
        return
    unknown = used & (persons == "")
    if unknown.any():
        raise UsageError(
            f"nobody knows who wears the sensors of {uris[unknown][0]} ({int(unknown.sum())} windows), so the split "
            f"may leak: name the person when you index, or set people_may_repeat = true in the recipe's split"
        )
    for person in _on_several(persons[used], sides[used]):
        where = {
            side: uris[used & (persons == person) & (sides == side)][0]
            for side in SIDES
            if _has(side, person, sides, persons)
        }
        said = " and ".join(f"{side} ({uri})" for side, uri in where.items())
        raise UsageError(
            f"the split leaks: person {person!r} is in {said}; split by person, or set people_may_repeat = true in the "
            f"recipe's split"
        )


def _has(side: str, person: str, sides: Names, persons: Names) -> bool:
    return bool(((sides == side) & (persons == person)).any())


def _on_several(keys: Names, sides: Names) -> list[str]:
    """Keys that stand on more than one side."""
    pairs = set(zip(keys.tolist(), sides.tolist(), strict=True))
    seen: set[str] = set()
    return sorted({key for key, _ in pairs if key in seen or seen.add(key)})  # type: ignore[func-returns-value]
