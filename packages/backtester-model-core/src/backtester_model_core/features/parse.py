"""Texts to expressions, through a list of what is allowed. Nothing in a text is ever run."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from backtester_model_core.exceptions import ExpressionError
from backtester_model_core.features.expression import (
    MAX_DEPTH,
    MAX_LENGTH,
    Call,
    Column,
    Constant,
    Expression,
)
from backtester_model_core.features.functions import equal
from backtester_model_core.features.operators import OPERATORS, QLIB_NAMES

SIGNS: dict[type[ast.AST], str] = {
    ast.Add: "add",
    ast.Sub: "subtract",
    ast.Mult: "multiply",
    ast.Div: "divide",
    ast.BitAnd: "logical_and",
    ast.BitOr: "logical_or",
    ast.Invert: "logical_not",
}
COMPARISONS: dict[type[ast.AST], Callable[[Expression, Expression], Expression]] = {
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Eq: equal,
    ast.NotEq: lambda a, b: ~equal(a, b),
}
QLIB_SIGNS: dict[type[ast.AST], str] = {
    **SIGNS,
    ast.BitAnd: "And",
    ast.BitOr: "Or",
    ast.Invert: "Not",
}
QLIB_COMPARISONS: dict[type[ast.AST], str] = {
    ast.Gt: "Gt",
    ast.GtE: "Ge",
    ast.Lt: "Lt",
    ast.LtE: "Le",
    ast.Eq: "Eq",
    ast.NotEq: "Ne",
}
LANGUAGE = (
    "column names, numbers, + - * /, & | ~, one comparison at a time, and calls of operators; a power is written "
    "power(x, y)"
)

DOLLAR = "\N{LATIN LETTER BILABIAL CLICK}"
"""What the dollar sign of a column in Qlib's spelling is read as: a letter, as Python's names have no such sign."""

QUOTED_OR_DOLLAR = re.compile(r"""'[^'\n]*'|"[^"\n]*"|\$(?=[A-Za-z_])""")


def parse_expression(text: str, *, columns: Iterable[str] | None = None) -> Expression:
    """Read an expression such as ``close / rolling_mean(close, 20) - 1``.

    In a text that writes a column as Qlib does, ``$close``, comparisons and ``& | ~`` mean Qlib's as well.

    Args:
        text: The expression.
        columns: The columns that the bars have; any name will do when not given.

    Raises:
        ExpressionError: When it cannot be read, with the place and what is allowed there.

    Example:
        >>> parse_expression("close / ref(close, 5) - 1").warm_up_bars
        5
    """
    if not isinstance(text, str):
        raise ExpressionError(f"An expression is read from a text, not from {text!r}.")
    if len(text) > MAX_LENGTH:
        raise ExpressionError(
            f"An expression's text has at most {MAX_LENGTH:,} characters, not {len(text):,}."
        )
    source = re.sub("\r\n?", "\n", text.strip())
    try:
        marked = QUOTED_OR_DOLLAR.sub(lambda found: DOLLAR if found[0] == "$" else found[0], source)
        tree = ast.parse(marked, mode="eval")
    except SyntaxError as error:
        raise ExpressionError.at(
            source, error.lineno or 1, error.offset or len(source) + 1, error.msg
        ) from error
    except (ValueError, RecursionError, MemoryError) as error:
        reason = str(error) or "nested too deeply"
        raise ExpressionError.at(source, 1, 1, reason) from error
    known = None if columns is None else frozenset(columns)
    return _Reader(source, marked, known).read(tree.body, MAX_DEPTH)


@dataclass(frozen=True)
class _Reader:
    """Turns Python's syntax tree into an expression, node by node, and refuses what is not in the language."""

    source: str
    marked: str
    columns: frozenset[str] | None

    @property
    def is_qlib(self) -> bool:
        """Whether a column is in Qlib's spelling, so that signs have Qlib's meaning."""
        return self.marked != self.source

    def read(self, node: ast.expr, levels: int) -> Expression:
        """Read one node, whose parts nest at most ``levels`` deep."""
        if levels == 0:
            raise self._error(node, f"nested deeper than {MAX_DEPTH} levels; make two columns of it")
        match node:
            case ast.Name(id=name):
                return self._column(node, name.removeprefix(DOLLAR))
            case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
                return self._build(node, Constant, value)
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant() as number):
                return -self.read(number, levels)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return self._build(node, operator.neg, self.read(operand, levels - 1))
            case ast.UnaryOp(op=ast.Invert() as sign, operand=operand):
                return self._build(node, Call, self._sign(sign), (self.read(operand, levels - 1),))
            case ast.BinOp(left=left, op=sign, right=right) if type(sign) in SIGNS:
                inputs = (self.read(left, levels - 1), self.read(right, levels - 1))
                return self._build(node, Call, self._sign(sign), inputs)
            case ast.Compare(left=left, ops=[sign], comparators=[right]) if type(sign) in COMPARISONS:
                inputs = (self.read(left, levels - 1), self.read(right, levels - 1))
                if self.is_qlib:
                    return self._build(node, Call, QLIB_COMPARISONS[type(sign)], inputs)
                return self._build(node, COMPARISONS[type(sign)], *inputs)
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
                return self._call(node, name, arguments, levels)
            case ast.Call(func=ast.Name(id=name)):
                raise self._error(node, f"{name} takes its values by position, without names")
        segment = ast.get_source_segment(self.marked, node) or type(node).__name__
        raise self._error(
            node, f"{segment[:60].replace(DOLLAR, '$')!r} is not part of the language: {LANGUAGE}"
        )

    def _sign(self, sign: ast.AST) -> str:
        return (QLIB_SIGNS if self.is_qlib else SIGNS)[type(sign)]

    def _call(self, node: ast.expr, name: str, arguments: list[ast.expr], levels: int) -> Expression:
        if name == "col":
            match arguments:
                case [ast.Constant(value=str() as column)]:
                    return self._column(node, column)
            raise self._error(node, "col takes one quoted column name, such as col('adj close')")
        name = QLIB_NAMES.get(name, name)
        if name not in OPERATORS:
            unknown = ExpressionError.unknown("operator", name.replace(DOLLAR, "$"), OPERATORS)
            raise self._error(node, str(unknown)) from unknown
        values = [self.read(argument, levels - 1) for argument in arguments]
        n_inputs = len(OPERATORS[name].inputs)
        parameters = tuple(_number(value) for value in values[n_inputs:])
        return self._build(node, Call, name, tuple(values[:n_inputs]), parameters)

    def _column(self, node: ast.expr, name: str) -> Expression:
        if self.columns is not None and name not in self.columns:
            unknown = ExpressionError.unknown("column", name, self.columns)
            raise self._error(node, str(unknown)) from unknown
        return self._build(node, Column, name)

    def _build(self, node: ast.expr, build: Callable[..., Expression], *parts: Any) -> Expression:
        try:
            return build(*parts)
        except ExpressionError as error:
            raise self._error(node, str(error)) from error

    def _error(self, node: ast.expr, problem: str) -> ExpressionError:
        line = self.marked.split("\n")[node.lineno - 1].encode()
        column = len(line[: node.col_offset].decode()) + 1  # ast counts bytes
        return ExpressionError.at(self.source, node.lineno, column, problem)


def _number(value: Expression) -> float | Expression:
    """Return a constant's number, whole where it is; anything else as it is, for the call to refuse."""
    if isinstance(value, Constant):
        return int(value.value) if value.value.is_integer() else value.value
    return value
