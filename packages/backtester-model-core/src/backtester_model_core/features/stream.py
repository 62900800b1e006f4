"""Expressions over live bars, one at a time, by the same step functions as over a whole panel."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from backtester_model_core.exceptions import ExpressionError
from backtester_model_core.features.expression import Expression
from backtester_model_core.features.plan import Plan
from backtester_model_core.features.stream_engines import Memory, StreamEngine, memory_maker, state_sizes


class FeatureStream:
    """Features of one bar at a time, with a memory for each symbol.

    Fed a symbol's bars from the first on, it gives the same bits as :func:`evaluate`, by either engine.

    Args:
        expressions: Column name to expression.
        engine: Whether step functions are run as they are, compiled together by numba (the extra ``fast``), or
            compiled where numba is installed and every operator can be. Compiling takes seconds, once for each
            set of expressions on a machine; later processes load it.

    Raises:
        ExpressionError: When ``compiled`` is asked for and an operator cannot be.
        MissingExtraError: When ``compiled`` is asked for without numba.
    """

    def __init__(self, expressions: Mapping[str, Expression], *, engine: StreamEngine = "python") -> None:
        self.names = tuple(expressions)
        self._texts = [[name, str(expression)] for name, expression in expressions.items()]
        self._plan = plan = Plan.of(expressions.values())
        self._sizes = state_sizes(plan)
        self._pick = _picker(plan.columns)
        self._new_memory = memory_maker(plan, engine)
        self._symbols: dict[str, Memory] = {}

    def update(self, symbol: str, bar: Mapping[str, float]) -> list[float]:
        """Take a symbol's next bar and return its features, in the order of :attr:`names`.

        Raises:
            ExpressionError: When the bar lacks a column that is needed; the memory is then as it was.
        """
        try:
            picked = self._pick(bar)
        except KeyError as error:
            raise ExpressionError.unknown("column", str(error.args[0]), bar) from error
        values = [*map(float, picked)]
        memory = self._symbols.get(symbol)
        if memory is None:
            memory = self._symbols[symbol] = self._fresh()
        return memory.update(*values)

    def snapshot(self) -> dict[str, Any]:
        """Return the memory of every symbol as plain data: strings, lists and floats, whatever the engine."""
        return {
            "expressions": [list(pair) for pair in self._texts],
            "symbols": {symbol: memory.states() for symbol, memory in self._symbols.items()},
        }

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Go on from a snapshot, of either engine, in place of what this stream remembers.

        Raises:
            ExpressionError: When the snapshot is of other expressions, or its states have other sizes.
        """
        if [list(pair) for pair in snapshot.get("expressions", ())] != self._texts:
            raise ExpressionError(
                "The snapshot is of other expressions than this stream's. Build the stream from the same ones."
            )
        for symbol, states in snapshot["symbols"].items():
            if [len(state) for state in states] != self._sizes:
                raise ExpressionError(
                    f"The snapshot's states of {symbol!r} do not have the sizes {self._sizes}."
                )
        self._symbols = {
            symbol: self._new_memory([[float(value) for value in state] for state in states])
            for symbol, states in snapshot["symbols"].items()
        }

    def _fresh(self) -> Memory:
        states = (planned.operator.new_state(planned.parameters) for planned in self._plan.calls)
        return self._new_memory([state for state in states if state is not None])


def _picker(columns: Sequence[str]) -> Callable[[Mapping[str, float]], Sequence[float]]:
    """Return what takes columns out of a bar."""
    if len(columns) > 1:
        return itemgetter(*columns)
    return lambda bar: [bar[name] for name in columns]  # itemgetter of one name gives a bare value
