"""Recordings from the formats they come in, one file a format."""

from motionseek.indexer.readers.base import Reader, Source
from motionseek.indexer.readers.discover import READERS, content_id, discover, load_imu, read

__all__ = ["READERS", "Reader", "Source", "content_id", "discover", "load_imu", "read"]
