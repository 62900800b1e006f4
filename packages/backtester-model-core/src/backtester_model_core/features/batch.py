"""Expressions over a whole panel of bars, symbol by symbol."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import repeat

import numpy as np

from backtester_model_core.bars.panel import Panel
from backtester_model_core.features.expression import Expression
from backtester_model_core.features.plan import Plan, PlannedCall
from backtester_model_core.typing import FloatArray


def evaluate(expressions: Mapping[str, Expression], panel: Panel) -> FloatArray:
    """Compute expressions over all bars.

    Each symbol is computed by itself, from its first bar to its last. A feature is a finite number or NaN:
    what is infinite or undefined becomes NaN, *unknown*.

    Args:
        expressions: Column name to expression.
        panel: The bars.

    Returns:
        (n_rows, n_expressions), C-contiguous, in the row order of ``panel.index``.

    Raises:
        ExpressionError: When an expression needs a column that the bars do not have.
    """
    plan = Plan.of(expressions.values())
    plan.check_columns(panel.columns)
    features = np.empty((panel.n_rows, len(plan.outputs)))
    with np.errstate(all="ignore"):
        for rows in panel.segments():
            bars = [panel.columns[name][rows] for name in plan.columns]
            features[panel.order[rows]] = _evaluate_symbol(plan, bars, rows.stop - rows.start)
    return features


def _evaluate_symbol(plan: Plan, bars: list[FloatArray], n_rows: int) -> FloatArray:
    """Return one symbol's features, (n_rows, n_expressions)."""
    values = [*bars, *(np.full(n_rows, constant) for constant in plan.constants)]
    for planned in plan.calls:
        values.append(_call_over(planned, [values[place] for place in planned.inputs]))
    features = np.empty((n_rows, len(plan.outputs)))
    for column, place in enumerate(plan.outputs):
        features[:, column] = values[place]
    features[~np.isfinite(features)] = np.nan
    return features


def _call_over(planned: PlannedCall, inputs: list[FloatArray]) -> FloatArray:
    """Hand one symbol's bars to an operator, one after another."""
    operator = planned.operator
    if operator.ufunc is not None:
        column: FloatArray = operator.ufunc(*inputs)
        return column
    bars = [values.tolist() for values in inputs]  # a step is twice as quick on Python's floats as on NumPy's
    state = operator.new_state(planned.parameters)
    before = () if state is None else (repeat(state),)
    outputs = map(operator.step, *before, *bars, *map(repeat, planned.parameters))
    return np.fromiter(outputs, dtype=np.float64, count=len(bars[0]))
