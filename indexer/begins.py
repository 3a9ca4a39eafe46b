"""What a file is, by its name or its first bytes."""

from __future__ import annotations

from pathlib import Path


def begins(path: Path, suffix: str, magic: bytes) -> bool:
    """Whether a file is named *`suffix` or begins with `magic`; raises nothing."""
    if not path.is_file():
        return False
    if path.suffix.lower() == suffix:
        return True
    try:
        with path.open("rb") as file:
            return file.read(len(magic)) == magic
    except OSError:
        return False
