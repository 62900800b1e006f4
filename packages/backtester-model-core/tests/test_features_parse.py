"""Reading expressions from text, and refusing what is not one."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtester_model_core.exceptions import ExpressionError
from backtester_model_core.features import Call, Column, Constant, parse_expression


def test_a_call_reads_to_its_inputs_and_parameters() -> None:
    assert parse_expression("rolling_mean(close, 20)") == Call("rolling_mean", (Column("close"),), (20,))


def test_a_sign_may_be_written_by_its_operator_name() -> None:
    assert parse_expression("subtract(close, 1)") == parse_expression("close - 1")


def test_a_minus_before_a_number_is_part_of_the_number() -> None:
    assert parse_expression("-2.5") == Constant(-2.5)
    assert parse_expression("-(-2.5)") == Constant(2.5)
    assert parse_expression("-close") == Call("multiply", (Constant(-1.0), Column("close")))


def test_spaces_around_and_lines_inside_brackets_are_ignored() -> None:
    assert parse_expression("\n  (close\n   - open)  ") == Column("close") - Column("open")


def test_any_name_is_a_column_until_the_bars_say_otherwise() -> None:
    assert parse_expression("sentiment") == Column("sentiment")
    assert parse_expression("col('adj close') / close", columns=["adj close", "close"]).columns() == {
        "adj close",
        "close",
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rolling_men(close, 20)", "Unknown operator 'rolling_men'. Did you mean 'rolling_mean'? At line 1"),
        ("1 + clse", "Unknown column 'clse'. Did you mean 'close'? At line 1, column 5"),
        ("col('clse')", "Unknown column 'clse'"),
    ],
)
def test_an_unknown_name_gets_the_nearest_and_the_place(text: str, message: str) -> None:
    with pytest.raises(ExpressionError, match=re.escape(message)):
        parse_expression(text, columns=["open", "close"])


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("1 + rolling_std(close, 1)", "line 1, column 5"),
        ("(close +\n  ref(open, 0))", "line 2, column 3"),
        ("col('é') + nosuch(1)", "line 1, column 12"),
        ("(close +\r\n'é' + nosuch(1))", "line 2, column 1"),
        ("col('é\u2028') + nosuch(1)", "line 1, column 13"),
        ("close +", "line 1, column 8"),
        ("", "line 1, column 1"),
    ],
)
def test_a_fault_is_named_with_its_place(text: str, place: str) -> None:
    with pytest.raises(ExpressionError, match=place):
        parse_expression(text)


@pytest.mark.parametrize(
    "text", ["ref(close, -1)", "ref(close, 0)", "delta(close, -5)", "rolling_mean(close, -3)"]
)
def test_looking_ahead_cannot_be_written_and_the_reason_is_said(text: str) -> None:
    with pytest.raises(ExpressionError, match="would look ahead"):
        parse_expression(text)


@pytest.mark.parametrize(
    "text",
    [
        "close > open",
        "close ** 2",
        "close % 2",
        "close // 2",
        "+close",
        "not close",
        "~close",
        "close if open else high",
        "close.shift(-1)",
        "close[0]",
        "[close]",
        "(close, open)",
        "{'a': close}",
        "f'{close}'",
        "'close'",
        "-'close'",
        "b'x'",
        "1j",
        "True",
        "-True",
        "None",
        "...",
        "lambda: close",
        "(y := close)",
        "[x for x in close]",
        "rolling_mean(*close)",
        "(rolling_mean)(close, 5)(3)",
        "__import__('os').system('true')",
        "().__class__",
    ],
)
def test_what_is_not_in_the_language_is_refused(text: str) -> None:
    with pytest.raises(ExpressionError, match=r"not part of the language|Unknown operator"):
        parse_expression(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rolling_mean(close, window=20)", "by position"),
        ("rolling_mean(close)", r"called as rolling_mean\(x, window\)"),
        ("rolling_mean(close, 20, 3)", "not with 3 values"),
        ("rolling_mean(close, 2.5)", "whole number of bars"),
        ("rolling_mean(close, open)", "whole number of bars, not open"),
        ("col(close)", "quoted column name"),
        ("col()", "quoted column name"),
        ("col('')", "at least one character"),
        ("1e999", "finite"),
        ("9" * 400, "finite"),
        ("a = 1", "line 1"),
        ("close; open", "line 1"),
        ("import os", "line 1"),
        ("close\x00", "null"),
        ("\ud800", "surrogates"),
    ],
)
def test_a_faulty_text_is_refused_with_its_reason(text: str, message: str) -> None:
    with pytest.raises(ExpressionError, match=message):
        parse_expression(text)


@pytest.mark.parametrize("text", [None, 3, b"close"])
def test_only_a_text_is_read(text: object) -> None:
    with pytest.raises(ExpressionError, match="read from a text"):
        parse_expression(text)  # type: ignore[arg-type]


def test_a_long_text_is_refused_before_it_is_looked_at() -> None:
    with pytest.raises(ExpressionError, match="at most 2,000 characters, not 2,001"):
        parse_expression("(" * 2001)


@pytest.mark.parametrize(
    "text",
    [
        "(" * 900 + "close" + ")" * 900,
        "-" * 1990 + "close",
        "abs(" * 150 + "close" + ")" * 150,
        "abs(" * 390 + "close" + ")" * 390,
        "+".join(["close"] * 300),
        "[" * 1999,
        "not " * 499 + "a",
        "a if " * 300 + "b",
        "lambda:" * 280 + "1",
        "a." * 999 + "a",
        "a" + "()" * 990,
        "1" + "**1" * 600,
    ],
)
def test_deep_nesting_is_an_expression_error_and_nothing_worse(text: str) -> None:
    with pytest.raises(ExpressionError):
        parse_expression(text)


def test_a_wide_sum_within_the_bounds_is_read() -> None:
    text = " + ".join(f"({' + '.join(['close'] * 15)})" for _ in range(15))

    assert parse_expression(text).size == 15 * 15 * 2 - 1


def test_more_parts_than_the_bound_are_refused() -> None:
    text = "+".join(f"({'+'.join(['close'] * 16)})" for _ in range(16))

    with pytest.raises(ExpressionError, match="500 parts"):
        parse_expression(text)


TOKENS = [
    "close",
    "1",
    "-",
    "+",
    "*",
    "/",
    "(",
    ")",
    ",",
    "ref",
    "ema(",
    "col('a')",
    " ",
    "\n",
    ".",
    "#",
    "'",
    "[",
    "=",
    "é",
    "\r",
    "\x0c",
    "\u2028",
]


@given(st.lists(st.sampled_from(TOKENS), max_size=30).map("".join) | st.text(max_size=60))
def test_any_text_is_either_read_or_refused_in_one_way(text: str) -> None:
    try:
        expression = parse_expression(text)
    except ExpressionError:
        return
    assert parse_expression(str(expression)) == expression
