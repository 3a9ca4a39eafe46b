"""What happens while indexing, as JSON lines for programs that watch."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING

from motionseek.errors import UsageError

if TYPE_CHECKING:
    from motionseek.indexer.pipeline import Event


@contextmanager
def event_lines(path: str) -> Iterator[Callable[[Event], None]]:
    """One JSON object a line, appended to the file `path` or, for "-", printed on stdout, each as it happens.

    Raises UsageError where the file cannot be written to.
    """
    began = time.monotonic()
    stack = ExitStack()
    try:
        file: IO[str] = sys.stdout
        if path != "-":
            file = stack.enter_context(Path(path).open("a", encoding="utf-8"))  # noqa: SIM115
    except OSError as error:
        raise UsageError(f"--events {path}: cannot be written to: {error.strerror}") from error

    def write(event: Event) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = {"time": now, "elapsed_s": round(time.monotonic() - began, 3), **asdict(event)}
        file.write(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")
        file.flush()

    with stack:
        yield write
