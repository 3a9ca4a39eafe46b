"""A folder with a `recordings.json`: one manifest for many recordings whose files are named alike.

```json
{"video": {"path": "{subject}/{activity}_{trial}.mp4"},
 "imu": [{"path": "{subject}/{activity}_{trial}_left.csv", "placement": "left_wrist", "person": "{subject}"},
         {"path": "{subject}/{activity}_{trial}_right.csv", "placement": "right_wrist", "person": "{subject}"}],
 "labels": ["{activity}"]}
```
It is a `recording.json` (see `manifest`) with names in braces. The files below the folder say what they stand for: each
set of values for which a file is there is a recording, and the same values stand wherever else the names occur. A
value is never empty and has neither / nor # in it. A path may leave names out: many recordings then share its file.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from motionseek.errors import DamagedFile
from motionseek.indexer.readers.base import Reader
from motionseek.indexer.readers.manifest import WITH_FILES, content_of, entries, load_manifest, recorded
from motionseek.types import Recording

NAME = "recordings.json"
NAMED = re.compile(r"\{([^\W\d]\w*)\}")


def read(path: str) -> Recording:
    """`…/recordings.json#VALUE/VALUE` → one recording. Raises DamagedFile as `manifest.read` does."""
    file, held = _one(path)
    return recorded(file, {"title": path.partition("#")[2], **held}, _id_of(file, held), uri=path, format=LAYOUT.name)


def content_id(path: str) -> str:
    """sha256 of what the manifest says of one recording, and of its files; where the folder lies is not in it."""
    return _id_of(*_one(path))


def _id_of(file: Path, held: dict[str, Any]) -> str:
    return content_of(file, held, hashlib.sha256(json.dumps(held, sort_keys=True).encode()).hexdigest())


def _one(path: str) -> tuple[Path, dict[str, Any]]:
    """The file, and the object with the values of one recording in it. Raises DamagedFile."""
    name, _, part = path.partition(f"{NAME}#")
    file = Path(name) / NAME
    held = load_manifest(file)
    names, values = _names(file, held), part.split("/")
    if len(values) != len(names):
        raise DamagedFile(path, f"a recording is named by its {', '.join(names)}, as {'/'.join(names)}")
    with_values: dict[str, Any] = _filled(held, dict(zip(names, values, strict=True)))
    return file, with_values


def _filled(value: Any, values: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return NAMED.sub(lambda found: values.get(found[1], found[0]), value)
    if isinstance(value, list):
        return [_filled(one, values) for one in value]
    if isinstance(value, dict):
        return {key: _filled(one, values) for key, one in value.items()}
    return value


def _paths(held: Mapping[str, Any]) -> Iterator[str]:
    for key in WITH_FILES:
        for _, entry in entries(held, key, []):
            yield from (value for key in ("path", "gyro") if isinstance(value := entry.get(key), str))


def _names(file: Path, held: Mapping[str, Any]) -> list[str]:
    """All names that paths have, in the order in which they first occur. Raises DamagedFile for none."""
    names = list(dict.fromkeys(name for path in _paths(held) for name in NAMED.findall(path)))
    if not names:
        raise DamagedFile(file, 'says by no name in braces what its recordings differ in, as "{trial}/watch.csv" does')
    return names


def _expand(path: Path) -> list[str]:
    """Each recording once, sorted. Raises DamagedFile where there is none."""
    file = path / NAME if path.is_dir() else path
    held = load_manifest(file)
    names = _names(file, held)
    whole = [path for path in _paths(held) if set(NAMED.findall(path)) == set(names)]
    if not whole:
        raise DamagedFile(file, f"no path has all of its names: {', '.join(names)}")
    patterns = [_pattern(path) for path in whole]
    found: set[tuple[str, ...]] = set()
    for below in _files(file.parent):
        matches = (match for pattern in patterns if (match := pattern.fullmatch(below)))
        found.update(tuple(match[name] for name in names) for match in matches)
    if not found:
        raise DamagedFile(file, f"no file below its folder fits {' or '.join(whole)}")
    return [f"{file}#{'/'.join(values)}" for values in sorted(found)]


def _pattern(path: str) -> re.Pattern[str]:
    """A name stands for the same value wherever it occurs."""
    pieces, seen = [], set[str]()
    for i, piece in enumerate(NAMED.split(path)):
        if i % 2 == 0:
            pieces.append(re.escape(piece))
        else:
            pieces.append(f"(?P={piece})" if piece in seen else f"(?P<{piece}>[^/#]+?)")
            seen.add(piece)
    return re.compile("".join(pieces))


def _files(folder: Path) -> Iterator[str]:
    """Below the folder, as manifests write them. Hidden ones and what links lead to are left out."""
    for where, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        below = Path(where).relative_to(folder)
        yield from ((below / name).as_posix() for name in names if not name.startswith("."))


def _holds(file: Path, part: str) -> bool:
    """Whether some file of the recording is there."""
    try:
        _, held = _one(f"{file}#{part}")
    except DamagedFile:
        return False
    return any((file.parent / path).is_file() for path in _paths(held))


def _is_layout(path: Path) -> bool:
    return (path / NAME).is_file() or (path.name == NAME and path.is_file())


LAYOUT = Reader("layout", _is_layout, read, content_id, _expand, holds=_holds)
