"""The page on features lists what there is."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from backtester_model_core.catalog import CORE
from backtester_model_core.features import OPERATORS, feature_set

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/features.md").read_text()


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("features_benchmark", ROOT / "benchmarks/features.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def lines_below(header: str) -> list[str]:
    """Return the lines of the table on the page that has a header."""
    below = PAGE.partition(f"{header}\n")[2].splitlines()
    return below[: next(at for at, line in enumerate(below) if not line.startswith("|"))]


def test_the_table_of_times_is_the_benchmarks(benchmark: ModuleType) -> None:
    measured = re.compile(r"- \||[\d,.]+ (?:ms|x)")

    lines = lines_below(benchmark.HEADER)

    assert [line.split(" | ")[:2] for line in lines] == [
        [f"| `{name}`", str(n_symbols)] for name in ("basic", "alpha158") for n_symbols in (1, 100, 500)
    ]
    assert all(len(line.split(" | ")) == 2 + len(benchmark.WAYS) for line in lines)
    assert all(measured.match(f"{cell} |") for line in lines for cell in line.strip("| ").split(" | ")[2:])


def test_the_table_of_first_times_is_the_benchmarks(benchmark: ModuleType) -> None:
    assert [line.split(" | ")[0] for line in lines_below(benchmark.SINGLE_HEADER)] == [
        "| `basic`",
        "| `alpha158`",
    ]


def test_the_benchmarks_pandas_computes_the_same_columns(benchmark: ModuleType) -> None:
    bars = benchmark.sample_bars(3, 90)
    panel = benchmark.Panel.of(bars)
    expressions = feature_set("basic")

    by_pandas = benchmark.pandas_basic(bars)[list(expressions)].to_numpy()
    ours = benchmark.evaluate(expressions, panel)
    unseeded = [name not in {"rsi_14", "atr_14", "macd_histogram", "bollinger_b_20"} for name in expressions]

    np.testing.assert_allclose(by_pandas[30:, unseeded], ours[30:, unseeded], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", [name for name in OPERATORS if OPERATORS.source(name) == CORE])
def test_every_operator_is_listed_with_what_it_returns(name: str) -> None:
    operator = OPERATORS[name]
    returns = operator.summary.removeprefix("Return ").removesuffix(".")

    assert f"| `{name}{operator.signature}` | {returns} |\n" in PAGE


@pytest.mark.parametrize("name", feature_set("basic"))
def test_every_column_of_the_basic_set_is_listed_with_its_warm_up_and_memory(name: str) -> None:
    expression = feature_set("basic")[name]
    rows = [line for line in PAGE.splitlines() if line.startswith(f"| `{name}` |")]

    assert [row.split(" | ")[2:] for row in rows] == [
        [str(expression.warm_up_bars), f"{expression.memory_bars} |"]
    ]
