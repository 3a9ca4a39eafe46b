"""From what a user names to recordings: which reader takes what, found without decoding."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from motionseek.errors import DamagedFile, MediaError, UnknownFormat, UsageError
from motionseek.indexer.readers.aria import ARIA
from motionseek.indexer.readers.base import Reader, Source, joint_id
from motionseek.indexer.readers.cameras import CAMERA
from motionseek.indexer.readers.checks import scales
from motionseek.indexer.readers.ego4d import EGO4D
from motionseek.indexer.readers.egohumans import EGOHUMANS
from motionseek.indexer.readers.epic_kitchens import EPIC_KITCHENS
from motionseek.indexer.readers.gopro import GOPRO
from motionseek.indexer.readers.layout import LAYOUT
from motionseek.indexer.readers.manifest import MANIFEST
from motionseek.indexer.readers.mcap import MCAP
from motionseek.indexer.readers.media import IMU, VIDEO
from motionseek.indexer.readers.mobifall import MOBIFALL
from motionseek.indexer.readers.mri import MRI
from motionseek.indexer.readers.openpose import OPENPOSE
from motionseek.indexer.readers.tables import read_imu
from motionseek.indexer.readers.total_capture import TOTAL_CAPTURE
from motionseek.indexer.readers.utd_mhad import UTD_MHAD
from motionseek.types import ANY_PART, Imu, Recording

ARCHIVES = (EGO4D, EPIC_KITCHENS, TOTAL_CAPTURE, MRI, EGOHUMANS, MOBIFALL, UTD_MHAD, ARIA)
READERS: Mapping[str, Reader] = {
    reader.name: reader for reader in (MANIFEST, LAYOUT, *ARCHIVES, MCAP, OPENPOSE, GOPRO, CAMERA, VIDEO, IMU)
}
"""In the order in which `auto` asks them: the particular before the general."""

AUTO = "auto"
UNITS_GIVEN = "units"
"""Under which name a recording's `extra` keeps the units that it was read in, to read it so again."""


def discover(
    sources: Sequence[str | Path], *, format: str = AUTO, units: Mapping[str, str] | None = None
) -> list[Source]:
    """The recordings in files and folders, in a fixed order, each once.

    Folders are walked; one with a recording.json is one recording, one with a recordings.json holds those that it
    describes, and neither is walked into. Hidden files, and files in
    folders that no reader knows, are passed over. What is known to be unreadable (a folder without permission, a named
    file that no reader knows) comes back as a Source with its `problem`, so that one bad file does not stop the rest.
    units: what the numbers of formats that leave it open are in, as in `checks.UNITS`; a manifest says it for itself.
    Raises UsageError where a source is empty or does not exist, or `format` or a unit is unknown.
    """
    if isinstance(sources, str | Path):
        raise UsageError("sources must be a list of paths")
    readers = _readers(format)
    scales(units or {})
    found: dict[tuple[str, str], Source] = {}
    for given in sources:
        for source in _named(str(given), readers):
            source = _storable(_with_units(source, units))
            found.setdefault((source.path, source.format), source)
    return list(found.values())


def _with_units(source: Source, units: Mapping[str, str] | None) -> Source:
    scales(units or {})
    takes = source.format and READERS[source.format].takes_units
    return replace(source, units=units) if units and takes else source


def _storable(source: Source) -> Source:
    """An archive keeps names as UTF-8; a file system takes any bytes."""
    try:
        source.path.encode()
    except UnicodeEncodeError:
        shown = os.fsencode(source.path).decode("utf-8", "backslashreplace")
        return Source(shown, source.format, "its name is not UTF-8: rename it")
    return source


def read(source: Source | str | Path, *, format: str = AUTO, units: Mapping[str, str] | None = None) -> Recording:
    """One recording. units: as for `discover`, of what its format leaves open; a Source has its own.

    Raises MediaError where it cannot be read, UsageError where the path names no single recording.
    """
    source = _single(source, format, units)
    reader = READERS[source.format]
    if not source.units:
        return reader.read(source.path)
    recording = reader.read(source.path, units=source.units)
    kept = {**recording.extra, UNITS_GIVEN: dict(source.units)}
    return replace(recording, recording_id=content_id(source), extra=kept)


def load_imu(path: str | Path, *, placement: str | None = None, units: Mapping[str, str] | None = None) -> Imu:
    """The one sensor of a file, of whichever format. `placement`: where it is worn, the file's own word by default.

    units: as for `discover`. Raises MediaError where no sensor can be read, UsageError where there are several.
    """
    path = Path(path)
    reader = _reader_of(path, READERS.values()) or IMU
    if reader is IMU:
        return read_imu(path, placement=placement or ANY_PART, units=units)
    imus = read(path, format=reader.name).imus
    if not imus:
        raise UnknownFormat(path, "holds no sensor")
    if len(imus) > 1:
        raise UsageError(f"{path} belongs to a recording with {len(imus)} sensors: name the recording instead")
    return replace(imus[0], placement=placement) if placement else imus[0]


def content_id(source: Source | str | Path, *, format: str = AUTO) -> str:
    """The recording_id that `read` would give, from the bytes alone. Raises MediaError, UsageError."""
    source = _single(source, format)
    content = READERS[source.format].content_id(source.path)
    # The same bytes are another recording where they are taken for other units.
    return joint_id([("content", content), *sorted(source.units.items())]) if source.units else content


def _single(source: Source | str | Path, format: str, units: Mapping[str, str] | None = None) -> Source:
    if not isinstance(source, Source):
        found = list(_named(str(source), _readers(format)))
        if len(found) != 1:
            raise UsageError(f"{source} holds {len(found)} recordings: name one of them")
        source = _with_units(found[0], units)
    if source.problem:
        raise (DamagedFile if source.format else UnknownFormat)(source.path, source.problem)
    return source


def _readers(format: str) -> list[Reader]:
    if format != AUTO and format not in READERS:
        raise UsageError(f"format {format!r} is not known; use one of: {AUTO}, {', '.join(READERS)}")
    return list(READERS.values()) if format == AUTO else [READERS[format]]


def _named(given: str, readers: list[Reader]) -> Iterator[Source]:
    """The sources of one argument: a file, "file#part", or a folder."""
    if not given:
        raise UsageError("a source is empty: name a file or folder")
    path = Path(os.path.abspath(given))
    if not os.path.lexists(path):
        file, hash_, part = str(path).rpartition("#")
        reader = _reader_of(Path(file), readers) if hash_ else None
        if reader is None or not _has(Path(file), part, reader):
            raise UsageError(f"{given} does not exist")
        yield Source(f"{file}#{part}", reader.name)
    elif path.is_dir() and _reader_of(path, readers) is None:
        yield from _walked(path, readers, frozenset())
    else:
        reader = _reader_of(path, readers)
        if reader is None and len(readers) == 1 and path.is_file():
            reader = readers[0]  # the user says what it is
        if reader is None:
            yield Source(str(path), "", "no reader knows this file; readers: " + ", ".join(r.name for r in readers))
        else:
            yield from _expanded(path, reader)


def _walked(folder: Path, readers: list[Reader], above: frozenset[tuple[int, int]]) -> Iterator[Source]:
    """Everything under `folder`, sorted. `above`: the folders on the way here, to leave the loops that links make."""
    try:
        stat = folder.stat()
        names = sorted(entry.name for entry in os.scandir(folder) if not entry.name.startswith("."))
    except OSError as error:
        yield Source(str(folder), "", f"the folder cannot be read: {error.strerror}")
        return
    identity = (stat.st_dev, stat.st_ino)
    if identity in above:
        return
    for path in (folder / name for name in names):
        reader = _reader_of(path, readers)
        if reader is not None:
            yield from _expanded(path, reader)
        elif os.path.isdir(path):
            yield from _walked(path, readers, above | {identity})


def _reader_of(path: Path, readers: Iterable[Reader]) -> Reader | None:
    """The first that takes it; none where it may not even be looked at."""
    try:
        return next((reader for reader in readers if reader.matches(path)), None)
    except OSError:
        return None


def _has(file: Path, part: str, reader: Reader) -> bool:
    if reader.holds:
        return reader.holds(file, part)
    return f"{file}#{part}" in (source.path for source in _expanded(file, reader))


def _expanded(path: Path, reader: Reader) -> list[Source]:
    try:
        return [Source(name, reader.name) for name in reader.expand(path)]
    except MediaError as error:
        return [Source(str(error.path), reader.name, error.reason)]
