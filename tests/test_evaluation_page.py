"""The tables of the page on evaluation are those that the benchmark makes."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/evaluation.md").read_text().splitlines()


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("verdict_size", ROOT / "benchmarks/verdict_size.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["verdict_size"] = module  # its dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_table_has_the_benchmarks_columns_and_lines_and_dashes(benchmark: ModuleType, number: int) -> None:
    table = benchmark.tables()[number]
    quick: dict[str, dict[str, float]] = {}
    made = [
        cells(table.row(case, quick[key]))
        for case, key in benchmark.measure(table, benchmark.Size(1, 360, 0), done=quick)
    ]
    header = table.header.splitlines()
    start = PAGE.index(header[0])

    on_page = [cells(line) for line in PAGE[start + 2 : start + 2 + len(made)]]

    n_lead = len(table.lead)
    assert PAGE[start + 1] == header[1]
    assert [row[:n_lead] for row in on_page] == [row[:n_lead] for row in made]
    assert [[cell == "-" for cell in row] for row in on_page] == [
        [cell == "-" for cell in row] for row in made
    ]
    assert not PAGE[start + 2 + len(made)].startswith("|")
    assert all(0 <= float(cell) <= 100 for row in on_page for cell in row[n_lead:] if cell != "-")


def test_a_finished_line_is_not_measured_again(benchmark: ModuleType) -> None:
    table, size = benchmark.tables()[2], benchmark.Size(1, 100, 0)
    one_line = replace(table, cases=table.cases[:1])
    done: dict[str, dict[str, float]] = {}
    list(benchmark.measure(one_line, size, done=done))

    again = list(benchmark.measure(replace(one_line, runs_of=None), size, done=done))
    other_size = benchmark.measure(replace(one_line, runs_of=None), replace(size, seed=1), done=done)

    assert [key for _, key in again] == list(done)
    with pytest.raises(TypeError):
        next(other_size)
