"""Expressions over a whole panel of bars, symbol by symbol."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from typing import Literal, TypeAlias

import numpy as np

from backtester_model_core.bars.panel import Panel
from backtester_model_core.exceptions import ExpressionError, MissingExtraError
from backtester_model_core.features.expression import Expression
from backtester_model_core.features.kernels import Kernel, load_kernel, numba_is_here
from backtester_model_core.features.plan import Plan, PlannedCall
from backtester_model_core.typing import FloatArray

logger = logging.getLogger(__name__)

Engine: TypeAlias = Literal["auto", "python", "compiled"]

COMPILE_FROM = 5_000_000
"""Steps (bars times calls) from which ``auto`` compiles.

Plain Python takes about 0.4 microseconds a step, so this many take two seconds. Importing numba and loading
kernels takes about 0.6 seconds, and compiling the ``basic`` set for the first time on a machine about four.
"""

CHUNK_BARS = 4096
"""Bars of a symbol computed at a time: enough to outweigh a call's cost, few enough to stay in a cache."""


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
    batch = _Batch(
        plan, panel, _kernels(plan, panel.n_rows, engine), np.empty((panel.n_rows, len(plan.outputs)))
    )
    segments = panel.segments()
    if n_threads == 1 or len(segments) == 1:
        batch.run(segments)
    else:
        with ThreadPoolExecutor(n_threads) as pool:
            for _ in pool.map(batch.run, [segments[first::n_threads] for first in range(n_threads)]):
                pass  # taking the result raises what its thread raised
    return batch.features


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
            kernels.append(load_kernel(operator) if is_looped else None)
        except (ExpressionError, MissingExtraError) as error:
            if engine == "compiled":
                raise
            logger.warning("A step is run as it is: %s", error)
            kernels.append(None)
    return kernels


@dataclass(frozen=True)
class _Batch:
    """A plan over a panel, some chunks of whose symbols are computed by each thread."""

    plan: Plan
    panel: Panel
    kernels: Sequence[Kernel | None]
    features: FloatArray

    def run(self, segments: Sequence[slice]) -> None:
        """Compute the symbols of some segments, one after another."""
        plan = self.plan
        n_places = len(plan.columns) + len(plan.constants) + len(plan.calls)
        longest = max((rows.stop - rows.start for rows in segments), default=0)
        registers = np.empty((n_places, min(longest, CHUNK_BARS)))
        constants = slice(len(plan.columns), len(plan.columns) + len(plan.constants))
        registers[constants] = np.array(plan.constants)[:, np.newaxis]
        with np.errstate(all="ignore"):
            for rows in segments:
                states = [self._new_state(call) for call in range(len(plan.calls))]
                for start in range(rows.start, rows.stop, CHUNK_BARS):
                    self._run_chunk(slice(start, min(start + CHUNK_BARS, rows.stop)), registers, states)

    def _new_state(self, call: int) -> list[float] | FloatArray | None:
        planned = self.plan.calls[call]
        state = planned.operator.new_state(planned.parameters)
        return state if state is None or self.kernels[call] is None else np.array(state)

    def _run_chunk(
        self, rows: slice, registers: FloatArray, states: Sequence[list[float] | FloatArray | None]
    ) -> None:
        """Compute consecutive bars of one symbol, going on from what the states remember."""
        plan = self.plan
        values = list(registers[:, : rows.stop - rows.start])
        for place, name in enumerate(plan.columns):
            values[place][:] = self.panel.columns[name][rows]
        calls = zip(plan.calls, self.kernels, states, values[-len(plan.calls) :], strict=False)
        for planned, kernel, state, out in calls:
            _call_over(planned, kernel, state, [values[place] for place in planned.inputs], out)
        block = registers[list(plan.outputs), : rows.stop - rows.start]
        block[~np.isfinite(block)] = np.nan
        self.features[self.panel.order[rows]] = block.T


def _call_over(
    planned: PlannedCall,
    kernel: Kernel | None,
    state: list[float] | FloatArray | None,
    inputs: list[FloatArray],
    out: FloatArray,
) -> None:
    """Hand consecutive bars to an operator, one after another."""
    operator = planned.operator
    before = () if state is None else (state,)
    if operator.ufunc is not None:
        operator.ufunc(*inputs, out=out)
    elif kernel is not None:
        kernel(*before, *inputs, out, *planned.parameters)
    else:
        bars = [
            values.tolist() for values in inputs
        ]  # a step is twice as quick on Python's floats as on NumPy's
        outputs = map(operator.step, *map(repeat, before), *bars, *map(repeat, planned.parameters))
        out[:] = np.fromiter(outputs, dtype=np.float64, count=len(out))
