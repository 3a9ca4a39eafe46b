"""The page of results holds the numbers that the benchmarks left."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    path = Path(__file__).parents[2] / "docs" / "make_results.py"
    spec = importlib.util.spec_from_file_location("make_results", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_are_those_of_the_results_files(maker: ModuleType) -> None:
    text = maker.PAGE.read_text(encoding="utf-8")
    assert text == maker.page(text), "run: python docs/make_results.py"
    assert all(f"<!-- table: {name} -->" in text for name in maker.TABLES)


def test_how_numbers_are_written(maker: ModuleType) -> None:
    assert maker.number([0.5234, 0.0221]) == ".523 ± .022"
    assert maker.number([0.4, 0.0]) == ".400"
    assert maker.number(1.0, 1) == "1.0"
    assert maker.number([-0.0031, 0.05]) == "−.003 ± .050"
    assert maker.number(-0.0001) == ".000"
    assert maker.number([0.4, 0], 0) == "0"
    assert maker.number([1234.4, 0], 0) == "1234"
