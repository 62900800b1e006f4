"""Expressions over a whole panel of bars, symbol by symbol."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeAlias

import numpy as np

from backtester_model_core.bars.panel import Panel
from backtester_model_core.compiled import numba_is_here
from backtester_model_core.exceptions import ExpressionError, MissingExtraError
from backtester_model_core.features.expression import Expression
from backtester_model_core.features.kernels import StepLoop, load_loop, load_loops
from backtester_model_core.features.pieces import (
    CallStep,
    CallUfunc,
    TakeColumn,
    Work,
    WriteRows,
)
from backtester_model_core.features.plan import Plan
from backtester_model_core.typing import FloatArray, IntArray

logger = logging.getLogger(__name__)

Engine: TypeAlias = Literal["auto", "python", "compiled"]

COMPILE_FROM = 5_000_000
"""Steps (bars times calls) from which ``auto`` compiles.

Plain Python takes about 0.36 microseconds a step, so this many take 1.8 seconds. Loading compiled code takes a tenth
of a second, but compiling the ``basic`` set for the first time on a machine about three.
"""

CHUNK_ROWS = 2000
"""Rows computed at a time: enough to outweigh a call's cost, few enough to stay in a cache. No power of two, which
would have neighbouring registers share the same few places of it."""


SYMBOLS_AT_ONCE = 500
"""Symbols whose states are kept at a time: enough to overlap, few enough to stay in a cache."""


def evaluate(
    expressions: Mapping[str, Expression], panel: Panel, *, engine: Engine = "auto", n_threads: int = 1
) -> FloatArray:
    """Compute expressions over all bars.

    Each symbol is computed by itself, from its first bar to its last. A feature is a finite number or NaN:
    what is infinite or undefined becomes NaN, *unknown*. Neither the engine nor the threads change a bit of it.

    Args:
        expressions: Column name to expression.
        panel: The bars.
        engine: Whether step functions are run as they are, compiled by numba (the extra ``fast``), or compiled
            where numba is installed and the panel is large enough to repay it.
        n_threads: Symbols computed at the same time; more than one helps compiled steps only.

    Returns:
        (n_rows, n_expressions), C-contiguous, in the row order of ``panel.index``.

    Raises:
        ExpressionError: When an expression needs a column that the bars do not have, or a step that is to be
            compiled cannot be.
        MissingExtraError: When ``compiled`` is asked for without numba.
    """
    if n_threads < 1:
        raise ExpressionError(f"n_threads is {n_threads}; at least one thread computes.")
    plan = Plan.of(expressions.values())
    plan.check_columns(panel.columns)
    features = np.empty((panel.n_rows, len(plan.outputs)))
    batch = _Batch.of(plan, panel, _loops(plan, panel.n_rows, engine), features)
    shares = batch.shares(n_threads)
    if n_threads == 1:
        for share in shares:
            batch.run(share)
    else:
        with ThreadPoolExecutor(n_threads) as pool:
            for _ in pool.map(batch.run, shares):
                pass  # taking the result raises what its thread raised
    return features


def _loops(plan: Plan, n_rows: int, engine: Engine) -> list[StepLoop | None]:
    """Return the compiled loop of each call; ``None`` for one whose step, or NumPy function, is run as it is."""
    calls = [planned.operator for planned in plan.calls]
    n_steps = sum(operator.compiled and operator.ufunc is None for operator in calls)
    if engine == "auto" and not (n_rows * n_steps >= COMPILE_FROM and numba_is_here()):
        engine = "python"
    if engine == "python":
        return [None] * len(calls)
    loops: list[StepLoop | None] = []
    for operator in calls:
        try:
            loops.append(load_loop(operator) if operator.compiled else None)
        except (ExpressionError, MissingExtraError) as error:
            if engine == "compiled":
                raise
            logger.warning("A step is run as it is: %s", error)
            loops.append(None)
    return loops


@dataclass(frozen=True)
class _Batch:
    """A plan over a panel, whose rows are computed in the caller's order, each from its symbol's states.

    So neighbouring rows are of different symbols, and a processor need not wait for one before it begins the next.

    Attributes:
        loops: The compiled loop of each call that has one.
        symbols: (n,) the symbol of each of the caller's rows, as a number.
        places: (n,) where the panel's columns have it.
    """

    plan: Plan
    panel: Panel
    loops: Sequence[StepLoop | None]
    features: FloatArray
    symbols: IntArray
    places: IntArray

    @classmethod
    def of(cls, plan: Plan, panel: Panel, loops: Sequence[StepLoop | None], features: FloatArray) -> _Batch:
        """Lay out a panel's rows in the caller's order."""
        places = np.empty_like(panel.order)
        places[panel.order] = np.arange(panel.n_rows)
        symbols = np.repeat(np.arange(len(panel.symbols)), np.diff(panel.offsets))
        return cls(plan, panel, loops, features, symbols[places], places)

    def shares(self, n_threads: int) -> list[range]:
        """Return the symbols in shares to be computed one after another, or each by a thread."""
        n_symbols = len(self.panel.symbols)
        n_shares = max(min(n_threads, n_symbols), -(-n_symbols // SYMBOLS_AT_ONCE), 1)
        bounds = [n_symbols * share // n_shares for share in range(n_shares + 1)]
        return [range(*pair) for pair in pairwise(bounds)]

    def run(self, share: range) -> None:
        """Compute all rows of some symbols."""
        if len(share) == len(self.panel.symbols):
            rows, symbols, places = np.arange(self.panel.n_rows), self.symbols, self.places
        else:
            rows = np.flatnonzero((self.symbols >= share.start) & (self.symbols < share.stop))
            symbols, places = self.symbols[rows] - share.start, self.places[rows]
        plan, values, work = self.plan, self._registers(len(rows)), Work(CHUNK_ROWS)
        outputs = [values[place] for place in plan.outputs]
        compiled = any(self.loops)
        for name, out in zip(plan.columns, values, strict=False):
            column = self.panel.columns[name]
            if compiled:
                work.add_loop(name, load_loops().gather, [column, places, out])
            else:
                work.add(TakeColumn(column, places, out))
        self._add_calls(work, values, len(share), symbols)
        if compiled:
            work.add_loop("write", load_loops().write, [self.features, rows, len(outputs), *outputs])
        else:
            work.add(WriteRows(outputs, rows, self.features))
        work.run(len(rows))

    def _add_calls(self, work: Work, values: Sequence[FloatArray], n_symbols: int, symbols: IntArray) -> None:
        """Add the plan's calls, each with a state of its own for every symbol where it has one."""
        kept: dict[Hashable, list[FloatArray]] = {}
        outs = values[len(values) - len(self.plan.calls) :]
        for planned, loop, out in zip(self.plan.calls, self.loops, outs, strict=True):
            operator, parameters = planned.operator, planned.parameters
            inputs = [values[place] for place in planned.inputs]
            state = operator.new_state(parameters)
            if loop is None and operator.ufunc is not None:
                work.add(CallUfunc(operator.ufunc, inputs, out))
                continue
            if loop is None:
                states = None if state is None else [[*state] for _ in range(n_symbols)]
                work.add(CallStep(operator, parameters, inputs, out, symbols, states))
                continue
            name = operator.step.__name__
            memory = () if state is None else (np.tile(state, (n_symbols, 1)), len(state), symbols)
            if loop.take is None:
                work.add_loop(name, loop.answer, [*inputs, out, *parameters, *memory])
                continue
            taken = (loop.take, operator.state, planned.inputs, parameters)
            if taken not in kept:
                kept[taken] = [np.empty_like(out) for _ in range(loop.n_kept)]
                work.add_loop(name, loop.take, [*inputs, *kept[taken], *parameters, *memory])
            work.add_loop(name, loop.answer, [*inputs, out, *parameters, *kept[taken]])

    def _registers(self, n_rows: int) -> list[FloatArray]:
        """Return where the values of each place are kept; the constants are there already."""
        plan, places = self.plan, self.plan.registers()
        registers = np.empty((max(places, default=-1) + 1, min(n_rows, CHUNK_ROWS)))
        constants = slice(len(plan.columns), len(plan.columns) + len(plan.constants))
        registers[constants] = np.array(plan.constants)[:, np.newaxis]
        held = list(registers)
        return [held[place] for place in places]
