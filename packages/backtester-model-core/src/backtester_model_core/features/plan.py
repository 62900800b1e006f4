"""The order in which expressions are computed: every shared part once."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
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
        parts = _Parts()
        wanted = [parts.add(expression) for expression in expressions]
        columns = {n: part.name for n, part in enumerate(parts.parts) if isinstance(part, Column)}
        constants = parts.constants()
        calls = [n for n, part in enumerate(parts.parts) if isinstance(part, Call) and n not in constants]
        places = {n: place for place, n in enumerate([*columns, *constants, *calls])}
        return cls(
            columns=tuple(columns.values()),
            constants=tuple(constants.values()),
            calls=tuple(
                PlannedCall(
                    OPERATORS[call.operator], tuple(places[n] for n in parts.inputs[number]), call.parameters
                )
                for number in calls
                if isinstance(call := parts.parts[number], Call)
            ),
            outputs=tuple(places[n] for n in wanted),
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


class _Parts:
    """The distinct parts of expressions, each with a number, inputs before what needs them.

    A call is known by the numbers of its inputs: its own hash and comparison go through all that is below it.

    Attributes:
        inputs: The numbers of each part's inputs.
    """

    def __init__(self) -> None:
        self.parts: list[Expression] = []
        self.inputs: list[tuple[int, ...]] = []
        self._numbers: dict[Hashable, int] = {}

    def add(self, expression: Expression) -> int:
        """Return the number of a part."""
        inputs = tuple(map(self.add, expression.inputs))
        known_by: Hashable = expression
        if isinstance(expression, Call):
            known_by = (expression.operator, inputs, expression.parameters)
        number = self._numbers.setdefault(known_by, len(self.parts))
        if number == len(self.parts):
            self.parts.append(expression)
            self.inputs.append(inputs)
        return number

    def constants(self) -> dict[int, float]:
        """Return the value of every part that no bar can change."""
        values: dict[int, float] = {}
        for number, (part, inputs) in enumerate(zip(self.parts, self.inputs, strict=True)):
            if isinstance(part, Constant):
                values[number] = part.value
            elif isinstance(part, Call) and all(one in values for one in inputs):
                operator = OPERATORS[part.operator]
                if operator.state is None:
                    values[number] = operator.step(*(values[one] for one in inputs))
        return values
