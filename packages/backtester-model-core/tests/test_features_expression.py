"""Expressions as values: building, comparing, printing, bounding."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest

from backtester_model_core import features
from backtester_model_core.exceptions import ExpressionError
from backtester_model_core.features import (
    OPERATORS,
    Call,
    Column,
    Constant,
    Expression,
    col,
    parse_expression,
    ref,
    rolling_mean,
)
from backtester_model_core.features.expression import INFIX, MAX_DEPTH

CLOSE, OPEN = col("close"), col("open")


def test_python_operators_build_the_tree_that_the_text_reads_to() -> None:
    built = 2 - (CLOSE / rolling_mean(CLOSE, 20) + 1.5) * 3 - 4 / -CLOSE + (1 + abs(CLOSE))

    text = "2 - (close / rolling_mean(close, 20) + 1.5) * 3 - 4 / -close + (1 + abs(close))"
    assert built == parse_expression(text)


def test_equal_trees_are_equal_and_hash_alike() -> None:
    assert CLOSE - ref(CLOSE, 1) == col("close") - ref(col("close"), 1)
    assert len({ref(CLOSE, 1), ref(CLOSE, 1), ref(CLOSE, 2)}) == 2


def test_an_expression_is_frozen() -> None:
    with pytest.raises(AttributeError):
        CLOSE.name = "open"  # type: ignore[misc]


def test_an_expression_travels_to_a_worker_and_back() -> None:
    expression = parse_expression("zscore(log(close / open), 20) * 2")

    assert pickle.loads(pickle.dumps(expression)) == expression


def test_a_numpy_number_on_the_left_makes_an_expression() -> None:
    assert np.float64(2) * CLOSE == Constant(2.0) * CLOSE
    assert np.arange(1, 4)[2] - CLOSE == 3 - CLOSE


def test_an_array_on_the_left_is_refused() -> None:
    with pytest.raises(ExpressionError, match="A constant is a number"):
        np.ones(3) * CLOSE


def test_zero_has_one_sign_so_that_equal_trees_compute_alike() -> None:
    assert math.copysign(1.0, Constant(-0.0).value) == 1.0


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        (CLOSE / ref(CLOSE, 1) - 1, "close / ref(close, 1) - 1"),
        (CLOSE - (CLOSE - 1), "close - (close - 1)"),
        ((CLOSE + 1) * (CLOSE / (CLOSE * 2)), "(close + 1) * (close / (close * 2))"),
        (-CLOSE, "-1 * close"),
        (CLOSE - -1.5, "close - -1.5"),
        (-Constant(3), "-3"),
        (Constant(1e300), "1e+300"),
        (Constant(0.1), "0.1"),
        (Constant(-0.0), "0"),
        (col("adj close"), "col('adj close')"),
        (col("class"), "col('class')"),
        (col("ﬁ"), "col('ﬁ')"),  # Python would read the bare ligature as the name "fi"
    ],
)
def test_the_canonical_text_is_what_one_would_write(expression: Expression, text: str) -> None:
    assert str(expression) == text
    assert parse_expression(text) == expression


@pytest.mark.parametrize(
    ("text", "warm_up"),
    [
        ("close", 0),
        ("1", 0),
        ("ref(close, 5)", 5),
        ("rolling_mean(close, 20)", 19),
        ("rolling_std(close / ref(close, 1) - 1, 20)", 20),
        ("ref(close, 3) + ref(rolling_max(open, 4), 2)", 5),
        ("ema(ema(close, 12) - ema(close, 26), 9)", 33),
    ],
)
def test_warm_up_adds_along_a_branch_and_takes_the_longest_branch(text: str, warm_up: int) -> None:
    assert parse_expression(text).warm_up_bars == warm_up


def test_a_window_remembers_its_warm_up_and_an_exponential_average_much_longer() -> None:
    assert parse_expression("rolling_std(ref(close, 1), 20)").memory_bars == 20
    # weight 2/15 a bar: 0.8667 ** 97 = 9.4e-7, after the 13 bars before the first average
    assert parse_expression("ema(close, 14)").memory_bars == 13 + 97
    assert parse_expression("ema(close, 1)").memory_bars == 0


def test_columns_depth_and_size_describe_the_tree() -> None:
    expression = parse_expression("close / ref(open, 1) - 1")

    assert expression.columns() == {"close", "open"}
    assert (expression.depth, expression.size) == (4, 6)


SIGNS = {
    "greater": CLOSE > OPEN,
    "greater_equal": CLOSE >= OPEN,
    "logical_and": CLOSE & OPEN,
    "logical_or": CLOSE | OPEN,
    "logical_not": ~CLOSE,
    "abs": abs(CLOSE),
}


def test_every_operator_of_ours_can_be_written_in_python() -> None:
    python_names = {name for name in OPERATORS if name.islower()} - set(INFIX) - set(SIGNS)

    for name in python_names:
        operator = OPERATORS[name]
        inputs = [col(part) for part in operator.inputs]
        parameters = [7 if one.whole else 0.5 for one in operator.parameters]
        built = getattr(features, name)(*inputs, *parameters)
        assert built == Call(name, tuple(inputs), tuple(parameters))


@pytest.mark.parametrize("name", SIGNS)
def test_signs_of_python_are_calls(name: str) -> None:
    inputs = (CLOSE, OPEN)[: len(OPERATORS[name].inputs)]

    assert SIGNS[name] == Call(name, inputs)


def test_smaller_is_larger_the_other_way_round() -> None:
    assert (CLOSE < OPEN) == (OPEN > CLOSE)
    assert (CLOSE <= 1) == Call("greater_equal", (Constant(1), CLOSE))


def test_what_depends_on_the_first_bar_for_ever_is_anchored() -> None:
    anchored = parse_expression("rolling_mean(cumulative_sum(volume), 5) / volume")

    assert anchored.anchored
    assert anchored.memory_bars is None
    assert not parse_expression("ema(close, 5)").anchored


def test_a_comparison_of_qlib_answers_before_its_inputs_are_known() -> None:
    assert parse_expression("Gt(ref(close, 5), close)").warm_up_bars == 0
    assert parse_expression("Gt(ref(close, 5), close)").memory_bars == 5
    assert parse_expression("greater(ref(close, 5), close)").warm_up_bars == 5


def test_a_tree_that_doubles_at_each_step_is_refused_before_it_fills_the_memory() -> None:
    expression: Expression = CLOSE
    for _ in range(7):
        expression = expression + expression

    assert expression.size == 2**8 - 1
    with pytest.raises(ExpressionError, match="at most 32 levels and 500 parts; this one has 9 and 511"):
        expression + expression


def test_a_tree_deeper_than_the_bound_is_refused() -> None:
    expression: Expression = CLOSE
    for _ in range(MAX_DEPTH - 1):
        expression = abs(expression)

    assert parse_expression(str(expression)) == expression
    with pytest.raises(ExpressionError, match="at most 32 levels"):
        abs(expression)


def test_a_tree_whose_text_would_be_too_long_to_read_back_is_refused() -> None:
    with pytest.raises(ExpressionError, match="at most 2,000 characters"):
        col("x" * 1500) + col("y" * 600)


@pytest.mark.parametrize("name", ["", None, 3])
def test_a_column_has_a_name(name: object) -> None:
    with pytest.raises(ExpressionError, match="a text of at least one character"):
        Column(name)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 10**400])
def test_a_constant_is_finite(value: float) -> None:
    with pytest.raises(ExpressionError, match="finite"):
        Constant(value)


@pytest.mark.parametrize("value", [True, "1", None, 1j])
def test_a_constant_is_a_number(value: object) -> None:
    with pytest.raises(ExpressionError, match="A constant is a number"):
        CLOSE + value  # type: ignore[operator]


@pytest.mark.parametrize(
    ("operator", "inputs", "parameters", "message"),
    [
        ("rolling_men", (CLOSE,), (5,), "Did you mean 'rolling_mean'"),
        ("rolling_mean", (CLOSE,), (), r"called as rolling_mean\(x, window\), not with 1 values"),
        ("rolling_mean", (CLOSE, CLOSE), (5,), "not with 3 values"),
        ("rolling_mean", ("close",), (5,), "'close' is not an expression"),
        ("rolling_mean", (CLOSE,), (2.5,), "window is a whole number of bars, not 2.5"),
        ("rolling_mean", (CLOSE,), (True,), "window is a whole number of bars, not True"),
        ("rolling_std", (CLOSE,), (1,), "window is 1, but goes from 2 to 10,000 bars"),
        ("rolling_mean", (CLOSE,), (10_001,), "goes from 1 to 10,000 bars"),
        ("ref", (CLOSE,), (0,), "zero or less would look ahead"),
        ("ref", (CLOSE,), (-1,), "zero or less would look ahead"),
    ],
)
def test_a_call_that_makes_no_sense_is_refused(
    operator: str, inputs: tuple[Expression, ...], parameters: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ExpressionError, match=message):
        Call(operator, inputs, parameters)


def test_a_numpy_window_becomes_a_plain_number() -> None:
    expression = rolling_mean(CLOSE, np.int64(5))  # type: ignore[arg-type]

    assert isinstance(expression, Call)
    assert type(expression.parameters[0]) is int
