"""Expressions over bars: frozen trees of columns, numbers and calls, each with a text that reads back to it."""

from __future__ import annotations

import keyword
import math
import numbers
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TypeAlias

from backtester_model_core.exceptions import ExpressionError
from backtester_model_core.features.operators import OPERATORS

MAX_LENGTH = 2_000
"""The longest text of an expression, in characters."""

MAX_DEPTH = 32
"""The deepest nesting of an expression."""

MAX_SIZE = 500
"""The most columns, numbers and calls in one expression."""

INFIX = {"add": ("+", 1), "subtract": ("-", 1), "multiply": ("*", 2), "divide": ("/", 2)}
"""Operators written between their inputs: the sign and how tightly it binds."""

ATOM = 3

Operand: TypeAlias = "Expression | float"


class Expression(ABC):
    """A feature's definition. It holds no data; ``evaluate`` and ``FeatureStream`` give it bars.

    They combine by ``+ - * /``, ``> >= < <=``, ``& | ~``, ``abs`` and the operators' functions. ``==`` and ``!=``
    compare trees, as for other values; :func:`equal` compares what they give.
    """

    __array_ufunc__ = None  # so that a NumPy number on the left leaves the operation to the expression

    inputs: tuple[Expression, ...] = ()

    @abstractmethod
    def __str__(self) -> str:
        """Return the canonical text, which ``parse_expression`` reads back to an equal tree."""

    @property
    def depth(self) -> int:
        """Levels of nesting; 1 for a column or a number."""
        return 1 + max((part.depth for part in self.inputs), default=0)

    @property
    def size(self) -> int:
        """Number of columns, numbers and calls, repeated ones counted each time."""
        return 1 + sum(part.size for part in self.inputs)

    @property
    def warm_up_bars(self) -> int:
        """Number of a symbol's leading rows that are NaN for want of history."""
        return max((part.warm_up_bars for part in self.inputs), default=0)

    @property
    def memory_bars(self) -> int | None:
        """Number of earlier rows that matter to a value; ``None`` for an anchored one, to which all do.

        With this much history a value equals that of the full history: up to rounding for windows, and up to
        a weight of one in a million on the oldest bars for exponential averages.
        """
        memories = [part.memory_bars for part in self.inputs]
        return None if None in memories else max((bars for bars in memories if bars is not None), default=0)

    @property
    def anchored(self) -> bool:
        """Whether a value depends on where the bars begin, however long ago that was."""
        return self.memory_bars is None

    def columns(self) -> frozenset[str]:
        """Return the names of the bar columns that are needed."""
        return frozenset().union(*(part.columns() for part in self.inputs))

    def __add__(self, other: Operand) -> Expression:
        return call("add", self, other)

    def __radd__(self, other: Operand) -> Expression:
        return call("add", other, self)

    def __sub__(self, other: Operand) -> Expression:
        return call("subtract", self, other)

    def __rsub__(self, other: Operand) -> Expression:
        return call("subtract", other, self)

    def __mul__(self, other: Operand) -> Expression:
        return call("multiply", self, other)

    def __rmul__(self, other: Operand) -> Expression:
        return call("multiply", other, self)

    def __truediv__(self, other: Operand) -> Expression:
        return call("divide", self, other)

    def __rtruediv__(self, other: Operand) -> Expression:
        return call("divide", other, self)

    def __neg__(self) -> Expression:
        return call("multiply", -1.0, self)

    def __abs__(self) -> Expression:
        return call("abs", self)

    def __gt__(self, other: Operand) -> Expression:
        return call("greater", self, other)

    def __ge__(self, other: Operand) -> Expression:
        return call("greater_equal", self, other)

    def __lt__(self, other: Operand) -> Expression:
        return call("greater", other, self)

    def __le__(self, other: Operand) -> Expression:
        return call("greater_equal", other, self)

    def __and__(self, other: Operand) -> Expression:
        return call("logical_and", self, other)

    def __or__(self, other: Operand) -> Expression:
        return call("logical_or", self, other)

    def __invert__(self) -> Expression:
        return call("logical_not", self)


@dataclass(frozen=True)
class Column(Expression):
    """A column of the bars.

    A name that is not a plain identifier is written ``col('adj close')``.
    """

    name: str

    def __post_init__(self) -> None:
        if not self.name or not isinstance(self.name, str):
            raise ExpressionError(f"A column's name is a text of at least one character, not {self.name!r}.")
        _check_length(self)

    def __str__(self) -> str:
        if self.name.isascii() and self.name.isidentifier() and not keyword.iskeyword(self.name):
            return self.name
        return f"col({self.name!r})"

    def columns(self) -> frozenset[str]:
        """Return the column's own name."""
        return frozenset({self.name})


@dataclass(frozen=True)
class Constant(Expression):
    """A finite number."""

    value: float

    def __post_init__(self) -> None:
        if isinstance(self.value, bool) or not isinstance(self.value, numbers.Real):
            raise ExpressionError(f"A constant is a number, not {self.value!r}.")
        try:
            value = float(self.value)
        except OverflowError:
            value = math.inf
        if not math.isfinite(value):
            raise ExpressionError("A constant is a finite number within the range of a double.")
        object.__setattr__(self, "value", value + 0.0)  # -0.0 becomes 0.0: equal trees give equal bits

    def __str__(self) -> str:
        if self.value.is_integer() and abs(self.value) < 1e15:
            return str(int(self.value))
        return repr(self.value)

    def __neg__(self) -> Constant:
        return Constant(-self.value)


@dataclass(frozen=True)
class Call(Expression):
    """An operator on its inputs, with the whole numbers of bars, and shares, that it takes.

    Raises:
        ExpressionError: When there is no such operator, when its inputs or parameters are not what it takes,
            or when the expression grows beyond its bounds.
    """

    operator: str
    inputs: tuple[Expression, ...]
    parameters: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.operator not in OPERATORS:
            raise ExpressionError.unknown("operator", self.operator, OPERATORS)
        definition = OPERATORS[self.operator]
        if (len(self.inputs), len(self.parameters)) != (len(definition.inputs), len(definition.parameters)):
            given = len(self.inputs) + len(self.parameters)
            raise ExpressionError(
                f"{self.operator} is called as {self.operator}{definition.signature}, not with {given} values."
            )
        for value in self.inputs:
            if not isinstance(value, Expression):
                raise ExpressionError(f"{self.operator}: {value!r} is not an expression.")
        accepted = (
            parameter.accept(self.operator, number)
            for parameter, number in zip(definition.parameters, self.parameters, strict=True)
        )
        object.__setattr__(self, "parameters", tuple(accepted))
        if self.depth > MAX_DEPTH or self.size > MAX_SIZE:
            raise ExpressionError(
                f"An expression has at most {MAX_DEPTH} levels and {MAX_SIZE} parts; this one has {self.depth} "
                f"and {self.size}. Make two columns of it."
            )
        _check_length(self)

    @property
    def warm_up_bars(self) -> int:
        """Number of a symbol's leading rows that are NaN for want of history."""
        operator = OPERATORS[self.operator]
        before = 0 if operator.answers_unknown else super().warm_up_bars
        return before + operator.warm_up_bars(self.parameters)

    @property
    def memory_bars(self) -> int | None:
        """Number of earlier rows that matter to a value; ``None`` for an anchored one, to which all do."""
        operator, before = OPERATORS[self.operator], super().memory_bars
        if operator.anchored or before is None:
            return None
        return before + operator.memory_bars(self.parameters)

    def __str__(self) -> str:
        if self.operator not in INFIX:
            return f"{self.operator}({', '.join(str(part) for part in (*self.inputs, *self.parameters))})"
        sign, binding = INFIX[self.operator]
        left, right = self.inputs
        left_text = f"({left})" if _binding(left) < binding else str(left)
        right_text = f"({right})" if _binding(right) <= binding else str(right)
        return f"{left_text} {sign} {right_text}"


def col(name: str) -> Column:
    """Return the expression that is one column of the bars."""
    return Column(name)


def call(operator: str, *values: Operand, parameters: tuple[float, ...] = ()) -> Call:
    """Return a call of an operator on expressions or plain numbers.

    Raises:
        ExpressionError: When it cannot be built.
    """
    inputs = (value if isinstance(value, Expression) else Constant(value) for value in values)
    return Call(operator, tuple(inputs), parameters)


def _binding(expression: Expression) -> int:
    if isinstance(expression, Call) and expression.operator in INFIX:
        return INFIX[expression.operator][1]
    return ATOM


def _check_length(expression: Expression) -> None:
    length = len(str(expression))
    if length > MAX_LENGTH:
        raise ExpressionError(f"An expression's text has at most {MAX_LENGTH:,} characters, not {length:,}.")
