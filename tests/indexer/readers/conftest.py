from __future__ import annotations

from pathlib import Path

import pytest

import motionseek.demo


@pytest.fixture(scope="session")
def gopro_mp4() -> Path:
    """The GoPro walk that comes with the package."""
    return Path(next(iter(motionseek.demo.__path__))) / "samples" / "max-heromode.mp4"
