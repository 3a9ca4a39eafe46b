"""Recordings from the formats they come in, one file a format."""

from motionseek.indexer.readers.base import Reader, Source
from motionseek.indexer.readers.discover import READERS, UNITS_GIVEN, content_id, discover, load_imu, read

__all__ = ["READERS", "UNITS_GIVEN", "Reader", "Source", "content_id", "discover", "load_imu", "read"]
