"""The order in which expressions are computed: every shared part once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from backtester_model_core.exceptions import ExpressionError
from backtester_model_core.features.definition import Operator
from backtester_model_core.features.expression import Call, Column, Constant, Expression
from backtester_model_core.features.operators import OPERATORS


@dataclass(frozen=True)
class PlannedCall:
    """One call of an operator: the places its inputs are read from, and its parameters."""

    operator: Operator
    inputs: tuple[int, ...]
    parameters: tuple[float, ...]


@dataclass(frozen=True)
class Plan:
    """What to compute for one bar, or for one symbol's columns of bars.

    Every distinct part of the expressions has a place: first the columns, then the constants, then the calls
    in an order in which inputs come before what needs them.

    Attributes:
        columns: The bar columns that are needed.
        constants: Numbers, written in the expressions or following from such numbers alone.
        calls: The calls.
        outputs: Place of each expression, in the order given.
    """

    columns: tuple[str, ...]
    constants: tuple[float, ...]
    calls: tuple[PlannedCall, ...]
    outputs: tuple[int, ...]

    @classmethod
    def of(cls, expressions: Iterable[Expression]) -> Plan:
        """Plan expressions together, so that what they share is computed once."""
        wanted = tuple(expressions)
        parts: dict[Expression, None] = {}
        for expression in wanted:
            _collect(expression, parts)
        columns = [part for part in parts if isinstance(part, Column)]
        constants = _constants(parts)
        calls = [part for part in parts if isinstance(part, Call) and part not in constants]
        places = {part: place for place, part in enumerate([*columns, *constants, *calls])}
        return cls(
            columns=tuple(part.name for part in columns),
            constants=tuple(constants.values()),
            calls=tuple(
                PlannedCall(
                    OPERATORS[part.operator], tuple(places[value] for value in part.inputs), part.parameters
                )
                for part in calls
            ),
            outputs=tuple(places[expression] for expression in wanted),
        )

    def registers(self) -> list[int]:
        """Return the register of every place, where its values are kept while they are needed.

        Columns and constants have one of their own, and so have outputs. Any other call takes one whose values
        nothing later needs, but never that of its own inputs: a loop that writes where it reads is not vectorised.
        """
        n_given = len(self.columns) + len(self.constants)
        last_needed = {place: call for call, planned in enumerate(self.calls) for place in planned.inputs}
        registers = list(range(n_given))
        n_registers = n_given
        free: list[int] = []
        for call, planned in enumerate(self.calls):
            if free:
                registers.append(free.pop())
            else:
                registers.append(n_registers)
                n_registers += 1
            free += [
                registers[place]
                for place in set(planned.inputs)
                if place >= n_given and last_needed[place] == call and place not in self.outputs
            ]
        return registers

    def check_columns(self, available: Iterable[str]) -> None:
        """Refuse bars that lack a column.

        Raises:
            ExpressionError: For the first column that is missing, with the nearest there is.
        """
        names = set(available)
        for name in self.columns:
            if name not in names:
                raise ExpressionError.unknown("column", name, names)


def _collect(expression: Expression, parts: dict[Expression, None]) -> None:
    """Add each distinct part, inputs first."""
    if expression not in parts:
        for part in expression.inputs:
            _collect(part, parts)
        parts[expression] = None


def _constants(parts: Iterable[Expression]) -> dict[Expression, float]:
    """Return the value of every part that no bar can change."""
    values: dict[Expression, float] = {}
    for part in parts:
        if isinstance(part, Constant):
            values[part] = part.value
        elif isinstance(part, Call) and all(value in values for value in part.inputs):
            operator = OPERATORS[part.operator]
            if operator.state is None:
                values[part] = operator.step(*(values[value] for value in part.inputs))
    return values
