"""The tables of the page on monitoring are those that the benchmark makes."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/monitoring.md").read_text().splitlines()


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("drift_benchmark", ROOT / "benchmarks/drift.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


@pytest.mark.parametrize(("table", "n_lead"), [("feature_table", 2), ("error_table", 2)])
def test_a_table_has_the_benchmarks_columns_and_lines(benchmark: ModuleType, table: str, n_lead: int) -> None:
    header, rule, *made = getattr(benchmark, table)(1)
    start = PAGE.index(header)

    on_page = PAGE[start + 2 : start + 2 + len(made)]

    assert PAGE[start + 1] == rule
    assert [cells(line)[:n_lead] for line in on_page] == [cells(line)[:n_lead] for line in made]
    assert not PAGE[start + 2 + len(made)].startswith("|")


def test_false_alarms_with_the_defaults_are_as_rare_as_the_page_says(benchmark: ModuleType) -> None:
    start = next(n for n, line in enumerate(PAGE) if line.startswith("| psi, ks |"))

    rates = [float(cells(line)[2].rstrip("%")) for line in PAGE[start : start + len(benchmark.SERIES)]]

    assert max(rates) <= 6.0
