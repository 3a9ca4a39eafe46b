"""The page of the command line says what the command line says."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType


def _maker() -> ModuleType:
    path = Path(__file__).parents[2] / "docs" / "make_cli.py"
    spec = importlib.util.spec_from_file_location("make_cli", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_that_of_the_live_command_line() -> None:
    maker = _maker()
    assert maker.PAGE.read_text(encoding="utf-8") == maker.page(), "run: python docs/make_cli.py"
