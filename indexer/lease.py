"""One writer an archive on an object store, where no operating system holds a lock.

The table `writer` has one row, taken by an atomic update where nobody holds it: who, and until when. The holder renews
it; a killed one's runs out.
"""

from __future__ import annotations

import os
import platform
import threading
import time
import uuid
from contextlib import suppress
from types import TracebackType
from typing import Any

import pyarrow as pa

from motionseek.errors import ArchiveError, ArchiveLocked
from motionseek.indexer.filters import quote
from motionseek.indexer.schema import LEASE
from motionseek.indexer.store import Store

LEASE_S = 90.0
"""How long an archive stays locked after its writer was killed; also how far two machines' clocks may differ."""
TABLE = "writer"
FAILS = (OSError, RuntimeError, ValueError, ArchiveError)
"""What comes of a store that does not answer."""


class WriterLease:
    """Held while inside. `check` says whether it still is."""

    def __init__(self, store: Store, *, lease_s: float = LEASE_S) -> None:
        self._store, self._lease_s = store, lease_s
        self._holder = f"{uuid.uuid4().hex[:12]}: process {os.getpid()} on {platform.node()}"
        self._until = 0.0
        self._ended = threading.Event()
        self._renewing = threading.Thread(target=self._renew, daemon=True)

    def __enter__(self) -> WriterLease:
        try:
            self._ask()
        except (OSError, RuntimeError, ValueError) as error:
            said = " ".join(str(error).split())[:300]
            raise ArchiveError(f"{self._store.uri} cannot be written to; the store said: {said}") from error
        self._renewing.start()
        return self

    def _ask(self) -> None:
        """Raises ArchiveLocked where somebody else holds it."""
        table: Any = self._store.table(TABLE, create=LEASE)
        free = pa.Table.from_pylist([{"name": TABLE, "holder": "", "until": 0.0}], schema=LEASE)
        table.merge_insert("name").when_not_matched_insert_all().execute(free)
        if not self._take(f"until < {time.time()!r}"):
            table.checkout_latest()
            (held,) = table.search().to_list() or [{"holder": "another process", "until": 0.0}]
            who, left_s = held["holder"].rpartition(": ")[2], max(1.0, held["until"] - time.time())
            raise ArchiveLocked(
                f"{self._store.uri} is being written by {who}: wait until it is done, or index into another archive. "
                f"If it was killed, the archive is free in {left_s:.0f} s"
            )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._renewing.join()
        with suppress(*FAILS):  # a lease that cannot be given back runs out
            table: Any = self._store.need(TABLE)
            table.update(where=f"holder = {quote(self._holder)}", values={"holder": "", "until": 0.0})

    def check(self) -> None:
        """Raises ArchiveError where the lease ran out: another process may be writing."""
        if time.time() > self._until:
            raise ArchiveError(
                f"{self._store.uri} could not be reached for {self._lease_s:g} s, and another process may write it "
                f"by now: run again; what was committed is kept"
            )

    def _take(self, where: str) -> bool:
        table: Any = self._store.need(TABLE)
        until = time.time() + self._lease_s
        taken = bool(table.update(where=where, values={"holder": self._holder, "until": until}).rows_updated)
        self._until = until if taken else 0.0
        return taken

    def _renew(self) -> None:
        while not self._ended.wait(self._lease_s / 4):
            try:
                if not self._take(f"holder = {quote(self._holder)}"):
                    return
            except FAILS:
                continue  # until it runs out, the next try may get through
