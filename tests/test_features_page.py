"""The page on features lists what there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from backtester_model_core.catalog import CORE
from backtester_model_core.features import OPERATORS, feature_set

PAGE = (Path(__file__).parents[1] / "docs/features.md").read_text()


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
