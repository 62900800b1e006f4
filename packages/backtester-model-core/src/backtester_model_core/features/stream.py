"""Expressions over live bars, one at a time, by the same step functions as over a whole panel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any

from backtester_model_core.exceptions import ExpressionError
from backtester_model_core.features.expression import Expression
from backtester_model_core.features.plan import Plan
from backtester_model_core.features.primitives import INF, NAN


class FeatureStream:
    """Features of one bar at a time, with a memory for each symbol.

    Fed a symbol's bars from the first on, it gives the same bits as :func:`evaluate`.

    Args:
        expressions: Column name to expression.
    """

    def __init__(self, expressions: Mapping[str, Expression]) -> None:
        self.names = tuple(expressions)
        self._texts = [[name, str(expression)] for name, expression in expressions.items()]
        self._plan = plan = Plan.of(expressions.values())
        self._stateful = [planned for planned in plan.calls if planned.operator.state is not None]
        # A symbol's registers: the plan's columns, constants and calls, then the states, then the parameters.
        self._first_state = len(plan.columns) + len(plan.constants) + len(plan.calls)
        self._steps = self._bind_steps()
        self._symbols: dict[str, list[Any]] = {}

    def update(self, symbol: str, bar: Mapping[str, float]) -> list[float]:
        """Take a symbol's next bar and return its features, in the order of :attr:`names`.

        Raises:
            ExpressionError: When the bar lacks a column that is needed; the memory is then as it was.
        """
        try:
            row = [float(bar[name]) for name in self._plan.columns]
        except KeyError as error:
            raise ExpressionError.unknown("column", str(error.args[0]), bar) from error
        if symbol not in self._symbols:
            fresh = [planned.operator.new_state(planned.parameters) for planned in self._stateful]
            self._symbols[symbol] = self._registers(fresh)
        registers = self._symbols[symbol]
        registers[: len(row)] = row
        for place, step, arguments in self._steps:
            registers[place] = step(*arguments(registers))
        outputs = [registers[place] for place in self._plan.outputs]
        return [value if -INF < value < INF else NAN for value in outputs]

    def snapshot(self) -> dict[str, Any]:
        """Return the memory of every symbol as plain data: strings, lists and floats."""
        states = slice(self._first_state, self._first_state + len(self._stateful))
        return {
            "expressions": [list(pair) for pair in self._texts],
            "symbols": {
                symbol: [list(state) for state in registers[states]]
                for symbol, registers in self._symbols.items()
            },
        }

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Go on from a snapshot, in place of what this stream remembers.

        Raises:
            ExpressionError: When the snapshot is of other expressions, or its states have other sizes.
        """
        if [list(pair) for pair in snapshot.get("expressions", ())] != self._texts:
            raise ExpressionError(
                "The snapshot is of other expressions than this stream's. Build the stream from the same ones."
            )
        sizes = [len(planned.operator.new_state(planned.parameters) or ()) for planned in self._stateful]
        for symbol, states in snapshot["symbols"].items():
            if [len(state) for state in states] != sizes:
                raise ExpressionError(f"The snapshot's states of {symbol!r} do not have the sizes {sizes}.")
        self._symbols = {
            symbol: self._registers([[float(value) for value in state] for state in states])
            for symbol, states in snapshot["symbols"].items()
        }

    def _registers(self, states: list[Any]) -> list[Any]:
        parameters = [number for planned in self._stateful for number in planned.parameters]
        plan = self._plan
        columns, calls = [NAN] * len(plan.columns), [NAN] * len(plan.calls)
        return [*columns, *plan.constants, *calls, *states, *parameters]

    def _bind_steps(self) -> list[tuple[int, Callable[..., float], Callable[[list[Any]], Any]]]:
        """Return for each call the register of its value, its step, and what picks the step's arguments."""
        steps: list[tuple[int, Callable[..., float], Callable[[list[Any]], Any]]] = []
        state, parameter = self._first_state, self._first_state + len(self._stateful)
        first_call = self._first_state - len(self._plan.calls)
        for place, planned in enumerate(self._plan.calls, start=first_call):
            places = [*planned.inputs]
            if planned.operator.state is not None:
                n = len(planned.parameters)
                places = [state, *places, *range(parameter, parameter + n)]
                state, parameter = state + 1, parameter + n
            # itemgetter of a single place would give the bare value, of a slice it gives a list of one
            single = slice(places[0], places[0] + 1)
            pick = itemgetter(*places) if len(places) > 1 else itemgetter(single)
            steps.append((place, planned.operator.step, pick))
        return steps
