"""Fixtures that all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "2")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Real data that the repository may not carry; tests that need it skip where it is absent."""
    root = Path(os.environ.get("MOTIONSEEK_DATA") or Path(__file__).parents[2] / "shared" / "data")
    if not root.is_dir():
        pytest.skip("the real data is not here: set MOTIONSEEK_DATA")
    return root


@pytest.fixture(scope="session")
def parity_dir(data_dir: Path) -> Path:
    """Inputs and outputs of the published encoders under random weights."""
    root = data_dir.parent / "reference" / "parity"
    if not root.is_dir():
        pytest.skip("the parity files are not here")
    return root
