"""Where an archive lies: a folder, or an address on an object store such as s3://bucket/archive.

The tables of an archive on an object store are there; what is derived from them lies on this machine, in
$MOTIONSEEK_CACHE, by default ~/.cache/motionseek, and is made again where it is missing.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from motionseek.errors import ArchiveError
from motionseek.indexer.lance import import_lancedb

SCHEMES = ("s3",)


@dataclass(frozen=True)
class Place:
    """uri: as the user gave it.   folder: on this machine, with all of the archive or with what is derived from it.
    remote: whether the tables lie on an object store."""

    uri: str
    folder: Path
    remote: bool

    @classmethod
    def of(cls, uri: str | Path) -> Place:
        """Raises ArchiveError for a kind of address that is not known."""
        scheme, there, rest = str(uri).partition("://")
        if not there:
            return cls(str(uri), Path(uri), False)
        if scheme not in SCHEMES:
            raise ArchiveError(f"{uri}: archives cannot lie on {scheme}://; give a folder or s3://BUCKET/ARCHIVE")
        bucket, _, key = rest.strip("/").partition("/")
        if not bucket or not key:
            raise ArchiveError(f"{uri} names no archive: give s3://BUCKET/ARCHIVE")
        address = f"{scheme}://{bucket}/{key}"
        endpoint = os.environ.get("AWS_ENDPOINT") or os.environ.get("AWS_ENDPOINT_URL", "")
        name = hashlib.sha256(f"{endpoint} {address}".encode()).hexdigest()[:16]
        return cls(address, _cache() / "archives" / name, True)

    def connect(self) -> Any:
        """The LanceDB connection. Raises ArchiveError where the object store does not answer or refuses, or the folder
        cannot be made."""
        try:
            db = import_lancedb().connect(f"{self.uri}/lance" if self.remote else self.folder / "lance")
            if self.remote:
                db.list_tables()
        except (OSError, RuntimeError, ValueError) as error:
            raise ArchiveError(f"{self.uri} cannot be {self._why(error)}") from error
        return db

    def _why(self, error: Exception) -> str:
        if not self.remote:
            return f"opened: {getattr(error, 'strerror', None) or error}: give another folder"
        said = " ".join(str(error).split())
        names = (
            "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT (AWS_ALLOW_HTTP=true for one without "
            "TLS)"
        )
        return f"reached: check the bucket's name and {names}; the store said: {said[:300]}"


def _cache() -> Path:
    given = os.environ.get("MOTIONSEEK_CACHE")
    return Path(given) if given else Path.home() / ".cache" / "motionseek"
