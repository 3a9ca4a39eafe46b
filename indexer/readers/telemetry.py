"""telemetry-parser, with its errors as ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from motionseek.errors import DamagedFile, UnknownFormat

UNSUPPORTED = "Unsupported file format"


@contextmanager
def parsing(path: object) -> Iterator[None]:
    """Around any call of the parser. Raises UnknownFormat where it knows no such camera, DamagedFile."""
    try:
        yield
    except Exception as error:
        if UNSUPPORTED in str(error):
            raise UnknownFormat(path, "holds no telemetry that is known") from error
        raise DamagedFile(path, f"its telemetry cannot be read: {error}") from error
    except BaseException as error:
        # On some damaged files the parser panics in Rust, which arrives as a BaseException without a public name.
        if type(error).__name__ != "PanicException":
            raise
        raise DamagedFile(path, f"its telemetry cannot be read: {error}") from error
