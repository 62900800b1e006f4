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


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("close > open", "greater(close, open)"),
        ("close < open", "greater(open, close)"),
        ("close >= open", "greater_equal(close, open)"),
        ("close <= open", "greater_equal(open, close)"),
        ("close == open", "equal(close, open)"),
        ("close != open", "logical_not(equal(close, open))"),
        (
            "(close > 1) & ~(open > 2) | low",
            "logical_or(logical_and(greater(close, 1), logical_not(greater(open, 2))), low)",
        ),
    ],
)
def test_comparisons_and_logic_are_calls(text: str, meaning: str) -> None:
    assert str(parse_expression(text)) == meaning


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("$close/Ref($close, 5)-1", "close / ref(close, 5) - 1"),
        ("Mean($close>Ref($close, 1), 5)", "Mean(Gt(close, ref(close, 1)), 5)"),
        ("~($a<=1)|($b>=2)&($c!=3)", "Or(Not(Le(a, 1)), And(Ge(b, 2), Ne(c, 3)))"),
        ("If($a==$b, Less($a, 0), Greater($b, 0))", "If(Eq(a, b), minimum(a, 0), maximum(b, 0))"),
        ("Quantile($close, 5, 0.8)", "Quantile(close, 5, 0.8)"),
        ("col('a$b') + $close", "col('a$b') + close"),
    ],
)
def test_the_spelling_of_qlib_reads_to_the_same_trees(text: str, meaning: str) -> None:
    expression = parse_expression(text)

    assert str(expression) == meaning
    assert parse_expression(meaning) == expression


def test_a_fault_in_the_spelling_of_qlib_is_shown_as_it_was_written() -> None:
    with pytest.raises(ExpressionError, match=re.escape("column 10 of '$close + Maen($close, 5)'")):
        parse_expression("$close + Maen($close, 5)")
    with pytest.raises(ExpressionError, match=re.escape("Unknown operator '$close'")):
        parse_expression("$close(5)")


@pytest.mark.parametrize("text", ["Ref($close, -1)", "Mean($close, 0)", "Delta($close, -2)"])
def test_qlib_cannot_look_ahead_here_either(text: str) -> None:
    with pytest.raises(ExpressionError, match="would look ahead"):
        parse_expression(text)


@pytest.mark.parametrize("level", ["-0.1", "1.1", "close"])
def test_a_level_is_a_share(level: str) -> None:
    with pytest.raises(ExpressionError, match="the level is a number from 0 to 1"):
        parse_expression(f"rolling_quantile(close, 5, {level})")


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
        "close ** 2",
        "close % 2",
        "close // 2",
        "+close",
        "not close",
        "low < close < high",
        "close > open & high > low",
        "close and open",
        "close in open",
        "close ^ open",
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
