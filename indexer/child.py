"""A child process that reads recordings, as its parent sees it: asked, answering, timed out, dead."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import IO, Any

from motionseek.errors import MotionseekError
from motionseek.indexer.wire import receive
from motionseek.indexer.worker import BUFFER_BYTES, KINDS, Failure, Packed

LAST = ("Identity", "End", "Failure", "Packed")


class ChildDied(MotionseekError):
    """A child ended in the middle of a job. lasting: it would again."""

    def __init__(self, reason: str, lasting: bool) -> None:
        super().__init__(reason)
        self.lasting = lasting


class Child:
    """Started when first asked, or before, and again after it died."""

    def __init__(self, timeout_s: float, memory_gb: float) -> None:
        self._timeout_s, self._memory_gb = timeout_s, memory_gb
        self._process: subprocess.Popen[bytes] | None = None
        self._said: IO[bytes] | None = None
        self._timed_out = False
        self._asked_s = float("inf")
        """When the answer that is waited for was asked for."""
        self._ended = threading.Event()

    def start(self) -> None:
        """So that it is ready when it is asked."""
        with suppress(OSError):  # a child that dies at once is met by whoever asks it
            self._started()

    def ask(self, job: Mapping[str, Any]) -> Iterator[Any]:
        """What it says to a job, last an Identity, an End, a Failure or a Packed. Raises ChildDied."""
        process, message = self._started(), None
        try:
            self._tell(process, job)
            while type(message).__name__ not in LAST:
                message = self._answer(process)
                if isinstance(message, Failure | Packed) and message.memory:
                    self.close()  # what is left of its memory may be in pieces
                yield message
        except (EOFError, OSError) as error:
            raise self._death(process) from error

    def close(self) -> None:
        """End it, whatever it does."""
        process, self._process = self._process, None
        self._ended.set()
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout, self._said):
                if pipe is not None:
                    pipe.close()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            # What decoders print is kept, for the reason of a death.
            self._said = tempfile.TemporaryFile()  # noqa: SIM115
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
            # -P: no module comes from the folder that we happen to be in.
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "motionseek.indexer.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=BUFFER_BYTES,
                stderr=self._said,
                env={**environment, "OMP_NUM_THREADS": "1"},
            )
            self._ended = threading.Event()
            threading.Thread(target=self._watch, args=(self._process, self._ended), daemon=True).start()
            self._tell(self._process, {"do": "limit", "memory_bytes": int(self._memory_gb * (1 << 30))})
        return self._process

    @staticmethod
    def _tell(process: subprocess.Popen[bytes], job: Mapping[str, Any]) -> None:
        if process.stdin is None:
            raise EOFError
        process.stdin.write(json.dumps(job).encode() + b"\n")
        process.stdin.flush()

    def _answer(self, process: subprocess.Popen[bytes]) -> Any:
        self._asked_s = time.monotonic()
        try:
            if process.stdout is None:
                raise EOFError
            return receive(process.stdout, KINDS)
        finally:
            self._asked_s = float("inf")

    def _watch(self, process: subprocess.Popen[bytes], ended: threading.Event) -> None:
        while not ended.wait(min(1.0, self._timeout_s / 4)):
            if time.monotonic() - self._asked_s > self._timeout_s:
                self._timed_out = True
                process.kill()
                return

    def _death(self, process: subprocess.Popen[bytes]) -> ChildDied:
        code, timed_out, self._timed_out = process.wait(), self._timed_out, False
        last = self._last_words()
        self.close()
        if timed_out:
            return ChildDied(
                f"reading gave no sign of life for {self._timeout_s:g} s and was ended: give it a longer --timeout",
                False,
            )
        if code == -signal.SIGKILL:
            return ChildDied("its reader was killed, perhaps for want of memory", False)
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return ChildDied(f"its reader crashed ({how})" + (f": {last}" if last else ""), code < 0)

    def _last_words(self) -> str:
        if self._said is None:
            return ""
        self._said.seek(max(0, self._said.seek(0, os.SEEK_END) - 400))
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        return lines[-1][:200] if lines else ""
