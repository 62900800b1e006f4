"""Expressions over a whole panel of bars, symbol by symbol."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise, repeat
from typing import Literal, TypeAlias

import numpy as np

from backtester_model_core.bars.panel import Panel
from backtester_model_core.compiled import Kernel, numba_is_here
from backtester_model_core.exceptions import ExpressionError, MissingExtraError
from backtester_model_core.features.expression import Expression
from backtester_model_core.features.kernels import load_loop, load_writer
from backtester_model_core.features.plan import Plan, PlannedCall
from backtester_model_core.typing import FloatArray, IntArray

logger = logging.getLogger(__name__)

Engine: TypeAlias = Literal["auto", "python", "compiled"]

COMPILE_FROM = 5_000_000
"""Steps (bars times calls) from which ``auto`` compiles.

Plain Python takes about 0.36 microseconds a step, so this many take 1.8 seconds. Importing numba and loading kernels
takes about 0.6 seconds, and compiling the ``basic`` set for the first time on a machine about three and a half.
"""

CHUNK_ROWS = 6000
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
    batch = _Batch.of(plan, panel, _kernels(plan, panel.n_rows, engine), features)
    shares = batch.shares(n_threads)
    if n_threads == 1:
        for share in shares:
            batch.run(share)
    else:
        with ThreadPoolExecutor(n_threads) as pool:
            for _ in pool.map(batch.run, shares):
                pass  # taking the result raises what its thread raised
    return features


def _kernels(plan: Plan, n_rows: int, engine: Engine) -> list[Kernel | None]:
    """Return the compiled loop of each call; ``None`` for one whose step is run as it is."""
    calls = [planned.operator for planned in plan.calls]
    looped = [operator.compiled and operator.ufunc is None for operator in calls]
    if engine == "auto" and not (n_rows * sum(looped) >= COMPILE_FROM and numba_is_here()):
        engine = "python"
    if engine == "python":
        return [None] * len(calls)
    kernels: list[Kernel | None] = []
    for operator, is_looped in zip(calls, looped, strict=True):
        try:
            kernels.append(load_loop(operator) if is_looped else None)
        except (ExpressionError, MissingExtraError) as error:
            if engine == "compiled":
                raise
            logger.warning("A step is run as it is: %s", error)
            kernels.append(None)
    return kernels


@dataclass(frozen=True)
class _Batch:
    """A plan over a panel, whose rows are computed in the caller's order, each from its symbol's states.

    So neighbouring rows are of different symbols, and a processor need not wait for one before it begins the next.

    Attributes:
        symbols: (n,) the symbol of each of the caller's rows, as a number.
        places: (n,) where the panel's columns have it.
    """

    plan: Plan
    panel: Panel
    kernels: Sequence[Kernel | None]
    write: Callable[[FloatArray, IntArray, IntArray, FloatArray], None]
    features: FloatArray
    symbols: IntArray
    places: IntArray

    @classmethod
    def of(cls, plan: Plan, panel: Panel, kernels: Sequence[Kernel | None], features: FloatArray) -> _Batch:
        """Lay out a panel's rows in the caller's order."""
        places = np.empty_like(panel.order)
        places[panel.order] = np.arange(panel.n_rows)
        symbols = np.repeat(np.arange(len(panel.symbols)), np.diff(panel.offsets))
        write = _write_rows if all(kernel is None for kernel in kernels) else load_writer()
        return cls(plan, panel, kernels, write, features, symbols[places], places)

    def shares(self, n_threads: int) -> list[range]:
        """Return the symbols in shares to be computed one after another, or each by a thread."""
        n_symbols = len(self.panel.symbols)
        n_shares = max(min(n_threads, n_symbols), -(-n_symbols // SYMBOLS_AT_ONCE), 1)
        bounds = [n_symbols * share // n_shares for share in range(n_shares + 1)]
        return [range(*pair) for pair in pairwise(bounds)]

    def run(self, share: range) -> None:
        """Compute all rows of some symbols."""
        plan, places = self.plan, self.plan.registers()
        rows = np.flatnonzero((self.symbols >= share.start) & (self.symbols < share.stop))
        registers = np.empty((max(places, default=-1) + 1, min(len(rows), CHUNK_ROWS)))
        constants = slice(len(plan.columns), len(plan.columns) + len(plan.constants))
        registers[constants] = np.array(plan.constants)[:, np.newaxis]
        states = [self._new_states(call, len(share)) for call in range(len(plan.calls))]
        outputs = np.array([places[output] for output in plan.outputs], dtype=np.int64)
        with np.errstate(all="ignore"):
            for start in range(0, len(rows), CHUNK_ROWS):
                chunk = rows[start : start + CHUNK_ROWS]
                held = registers[:, : len(chunk)]
                kept = list(held)
                symbols = self.symbols[chunk] - share.start
                self._run_chunk(chunk, symbols, [kept[place] for place in places], states)
                self.write(held, outputs, chunk, self.features)

    def _new_states(self, call: int, n_symbols: int) -> list[list[float]] | FloatArray | None:
        """Return a fresh state for each of some symbols, as a call's kernel or step wants them."""
        planned = self.plan.calls[call]
        state = planned.operator.new_state(planned.parameters)
        if state is None:
            return None
        return (
            [[*state] for _ in range(n_symbols)]
            if self.kernels[call] is None
            else np.tile(state, (n_symbols, 1))
        )

    def _run_chunk(
        self,
        rows: IntArray,
        symbols: IntArray,
        values: list[FloatArray],
        states: Sequence[list[list[float]] | FloatArray | None],
    ) -> None:
        """Compute rows that follow each other, going on from what the states remember."""
        plan = self.plan
        places = self.places[rows]
        for register, name in zip(values, plan.columns, strict=False):
            np.take(self.panel.columns[name], places, out=register, mode="clip")  # "raise" would copy
        calls = zip(plan.calls, self.kernels, states, values[-len(plan.calls) :], strict=False)
        for planned, kernel, state, out in calls:
            _call_over(planned, kernel, state, symbols, [values[place] for place in planned.inputs], out)


def _write_rows(values: FloatArray, outputs: IntArray, rows: IntArray, features: FloatArray) -> None:
    """Write some registers into columns of rows; NaN for what is infinite."""
    block = values[outputs]
    block[~np.isfinite(block)] = np.nan
    features[rows] = block.T


def _call_over(
    planned: PlannedCall,
    kernel: Kernel | None,
    states: list[list[float]] | FloatArray | None,
    symbols: IntArray,
    inputs: list[FloatArray],
    out: FloatArray,
) -> None:
    """Hand consecutive rows to an operator, one after another."""
    operator = planned.operator
    if operator.ufunc is not None:
        operator.ufunc(*inputs, out=out)
    elif kernel is not None:
        kernel(*(() if states is None else (states, symbols)), *inputs, out, *planned.parameters)
    else:
        before = () if states is None else (map(states.__getitem__, symbols.tolist()),)
        # a step is twice as quick on Python's floats as on NumPy's
        rows = [values.tolist() for values in inputs]
        outputs = map(operator.step, *before, *rows, *map(repeat, planned.parameters))
        out[:] = np.fromiter(outputs, dtype=np.float64, count=len(out))
