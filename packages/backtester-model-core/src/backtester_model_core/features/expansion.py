"""One line for many columns: ``ma_{n in 5, 10, 20}`` and ``lag_{n in 1..59}`` in a column's name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import product

from backtester_model_core.exceptions import ExpressionError

MAX_COLUMNS = 2_000
"""The most columns that one set, or one configuration's expressions, may expand to."""

PLACEHOLDER = re.compile(r"\{(\w+) in ([^{}]*)\}")
RANGE = re.compile(r"(\d{1,5})\.\.(\d{1,5})")


def expand(texts: Mapping[str, str]) -> dict[str, str]:
    """Return each column's text, with one column for every value that a name's placeholders list.

    A name may hold placeholders such as ``{n in 5, 10, 20}``, ``{n in 1..5}`` or ``{field in open, high}``; where
    there are several, every combination is a column, the last changing fastest. The value takes the placeholder's
    place in the name, and that of ``{n}`` in the expression.

    Raises:
        ExpressionError: When two columns get one name, a placeholder cannot be read, or there are too many columns.

    Example:
        >>> expand({"ma_{n in 5, 10}": "rolling_mean(close, {n})"})
        {'ma_5': 'rolling_mean(close, 5)', 'ma_10': 'rolling_mean(close, 10)'}
    """
    columns: dict[str, str] = {}
    for pattern, text in texts.items():
        placeholders = PLACEHOLDER.findall(pattern)
        names = [name for name, _ in placeholders]
        if len(set(names)) < len(names):
            raise ExpressionError(f"The feature {pattern!r} has two placeholders of one name. Rename one.")
        for values in product(*(_values(pattern, listed) for _, listed in placeholders)):
            column, expression = pattern, text
            for name, value in zip(names, values, strict=True):
                column = PLACEHOLDER.sub(value, column, count=1)
                expression = expression.replace(f"{{{name}}}", value)
            if "{" in column or "}" in column:
                raise ExpressionError(
                    f"The feature {pattern!r} has braces that are no placeholder. Write for example "
                    "'ma_{n in 5, 10, 20}' or 'lag_{n in 1..5}'."
                )
            if column in columns:
                raise ExpressionError(
                    f"The feature {column!r} is defined twice, again by {pattern!r}. Rename one."
                )
            columns[column] = expression
            if len(columns) > MAX_COLUMNS:
                raise ExpressionError(
                    f"{pattern!r} makes more than {MAX_COLUMNS:,} columns; list fewer values."
                )
    return columns


def _values(pattern: str, listed: str) -> list[str]:
    """Return the values of a list such as ``5, 10`` or a range such as ``1..5`` or ``5..1``."""
    bounds = RANGE.fullmatch(listed.strip())
    if bounds:
        first, last = map(int, bounds.groups())
        if abs(last - first) >= MAX_COLUMNS:
            raise ExpressionError(f"{pattern!r} makes more than {MAX_COLUMNS:,} columns; list fewer values.")
        return [str(value) for value in range(first, last + 1)] or [
            str(value) for value in range(first, last - 1, -1)
        ]
    values = [value.strip() for value in listed.split(",")]
    if not all(re.fullmatch(r"\w+", value) for value in values):
        raise ExpressionError(
            f"The feature {pattern!r} lists {listed!r}; list words or numbers, or a range 1..5."
        )
    return values
