"""The child process that reads recordings: `python -m motionseek.indexer.worker`, one job at a time from its stdin.

What a damaged file does to a decoder, it does here: the parent outlives a crash, a hang and all memory used up.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from motionseek.errors import DamagedFile, MediaError, MissingExtra, MotionseekError
from motionseek.indexer.prepare import KINDS as PREPARED
from motionseek.indexer.prepare import End, Head, Signals, needs_from, prepare
from motionseek.indexer.readers import Source, content_id, read
from motionseek.indexer.readers.hashes import Stamp, noting
from motionseek.indexer.wire import packed, send

try:
    import resource
except ImportError:  # not on Windows: there a file may take all the memory there is
    resource = None  # type: ignore[assignment]


@dataclass(frozen=True)
class Identity:
    """What a source is, by its bytes, and the files that say so."""

    recording_id: str
    files: tuple[Stamp, ...]


@dataclass(frozen=True)
class Failure:
    """Why a job failed. lasting: it lies in the bytes of the file, so that another try would fail as well.
    memory: all that a reader may have was used up."""

    reason: str
    lasting: bool
    memory: bool = False


@dataclass(frozen=True, eq=False)
class Packed:
    """All that was said to each of several jobs, see `wire.packed`. memory: all of it was used up in the last of them,
    and those after it were not done."""

    answers: tuple[npt.NDArray[np.uint8], ...]
    memory: bool


BUFFER_BYTES = 1 << 16
KINDS = {**PREPARED, **{kind.__name__: kind for kind in (Identity, Stamp, Failure, Packed)}}
"""What a child may say."""


def main() -> None:
    """Serve jobs until stdin is closed, which it is as soon as the parent is gone."""
    # What most recordings take, while the parent still looks for them.
    import scipy.interpolate  # noqa: F401

    out = os.fdopen(os.dup(1), "wb", BUFFER_BYTES)
    os.dup2(2, 1)  # what libraries print must not get between the messages
    jobs: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_take_in, args=(jobs,), daemon=True).start()
    while True:
        job = jobs.get()
        try:
            for message in _done(job):
                send(out, message)
                if not isinstance(message, Head | Signals):  # what is short goes in one
                    out.flush()
        except BrokenPipeError:
            return
        except Exception as error:
            send(out, failure_of(error))
            out.flush()


def _take_in(jobs: queue.SimpleQueue[dict[str, Any]]) -> None:
    for line in sys.stdin.buffer:
        jobs.put(json.loads(line))
    os._exit(0)


def _done(job: dict[str, Any]) -> Iterator[Any]:
    if job["do"] == "limit":
        _limit(job["memory_bytes"])
        return
    if job["do"] == "together":
        yield _together(job["jobs"])
        return
    source = Source(**job["source"])
    if job["do"] == "identify":
        with noting() as files:
            recording_id = content_id(source)
        yield Identity(recording_id, tuple(files.values()))
        return
    with noting() as files:
        recording = read(source)
    if recording.recording_id != job["recording_id"]:
        raise Changed(source.path)
    for message in prepare(recording, needs_from(job["needs"])):
        if isinstance(message, End) and not all(stamp.still() for stamp in files.values()):
            raise Changed(source.path)
        yield message


def _together(jobs: Sequence[dict[str, Any]]) -> Packed:
    answers: list[npt.NDArray[np.uint8]] = []
    for job in jobs:
        try:
            answers.append(packed(_done(job)))
        except Exception as error:
            failure = failure_of(error)
            answers.append(packed([failure]))
            if failure.memory:
                return Packed(tuple(answers), memory=True)
    return Packed(tuple(answers), memory=False)


class Changed(DamagedFile):
    """A file that is being written."""

    def __init__(self, path: object) -> None:
        super().__init__(path, "it changed while it was read: index it again")


def failure_of(error: Exception) -> Failure:
    """What goes into the archive about a source that could not be read."""
    if isinstance(error, MemoryError) or isinstance(error.__cause__, MemoryError):
        return Failure(
            "needs more memory than the limit of a reader: raise --memory, or cut the recording", False, True
        )
    if isinstance(error, MediaError):
        return Failure(error.reason, not isinstance(error, Changed) and not isinstance(error.__cause__, OSError))
    if isinstance(error, MotionseekError):
        return Failure(str(error), not isinstance(error, MissingExtra))
    if isinstance(error, OSError):
        return Failure(error.strerror or str(error), False)
    return Failure(f"{type(error).__name__}: {error}", False)


def _limit(memory_bytes: int) -> None:
    """Where a file asks for more, the allocation fails, and with it the job."""
    if resource is not None and memory_bytes:
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        most = memory_bytes if hard == resource.RLIM_INFINITY else min(memory_bytes, hard)
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))


if __name__ == "__main__":
    main()
