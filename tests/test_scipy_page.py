"""The page on SciPy models lists what there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from backtester_model_scipy import models
from backtester_model_scipy.catalogs import DISTRIBUTIONS, MODELS, OBJECTIVES
from backtester_model_scipy.models import Optimised
from backtester_model_scipy.operators import OPERATORS
from backtester_model_scipy.optimization import METHODS

PAGE = (Path(__file__).parents[1] / "docs/scipy.md").read_text()
ROWS = [line for line in PAGE.splitlines() if line.startswith("|")]
COMMON = {*Optimised.model_fields, "series", "link", "memory"}

each_model = pytest.mark.parametrize("name", MODELS)


@each_model
def test_a_model_is_listed_with_its_tasks_and_parameters(name: str) -> None:
    model = MODELS[name]
    answers = " ".join(
        letter for letter, task in (("C", "classification"), ("R", "regression")) if task in model.tasks
    )

    cells = next(cells for row in ROWS if f"`{name}`" in (cells := row.split("|")[1:-1])[0])

    assert cells[1].strip() == answers
    assert {part.strip("` ") for part in cells[-1].split(",") if "`" in part} == set(
        model.model_fields
    ) - COMMON


@each_model
def test_a_model_says_what_it_is_and_where_it_comes_from(name: str) -> None:
    text = f"{MODELS[name].__doc__} {MODELS[name].__mro__[1].__doc__}"

    assert MODELS[name].name == name
    assert models.__name__ in MODELS[name].__module__
    assert "(1" in text or "(2" in text or "registered loss" in text or "Cauchy errors" in text


@pytest.mark.parametrize("name", OPERATORS)
def test_an_operator_is_listed_with_what_it_returns(name: str) -> None:
    operator = OPERATORS[name]

    assert (
        f"| `{name}{operator.signature}` | {operator.summary.removeprefix('Return ').removesuffix('.')} |"
        in ROWS
    )


@pytest.mark.parametrize("name", [*METHODS, *OBJECTIVES, *DISTRIBUTIONS])
def test_what_may_be_named_is_named(name: str) -> None:
    assert f"`{name}`" in PAGE
