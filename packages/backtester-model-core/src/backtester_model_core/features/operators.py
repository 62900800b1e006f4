"""The operators that an expression may call, each a step function with what is known about it beforehand."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from backtester_model_core.catalog import Catalog
from backtester_model_core.features import (
    primitives,
    qlib_pairs,
    qlib_steps,
    qlib_windows,
    recursive_steps,
    steps,
    window_steps,
)
from backtester_model_core.features.definition import Halves, Level, Operator, Parameter

NEGLIGIBLE_WEIGHT = 1e-6
"""The weight that the first bars keep in an exponential average once it counts as settled."""


def _settles_after(n: int, keep: float) -> int:
    """Return the warm-up plus the bars until ``keep ** bars`` is negligible."""
    return n - 1 + (0 if keep <= 0.0 else math.ceil(math.log(NEGLIGIBLE_WEIGHT) / math.log(keep)))


def _ema_memory(n: int) -> int:
    return _settles_after(n, 1.0 - 2.0 / (n + 1.0))


def _wilder_memory(n: int) -> int:
    return _settles_after(n, 1.0 - 1.0 / n)


def _kama_memory(n: int) -> int:
    """Return the memory of the slowest that the adaptive average may get."""
    return _settles_after(n, 1.0 - recursive_steps.SLOW * recursive_steps.SLOW)


def _qlib_ema_memory(n: int) -> int:
    return _settles_after(1, 1.0 - 2.0 / (n + 1.0))


def _until_full(n: int, *_level: float) -> int:
    return n - 1


def _lagged(n: int) -> int:
    return n


LAG = (Parameter("lag"),)

_ELEMENTWISE = {
    "add": Operator(primitives.add, ("a", "b"), ufunc=np.add),
    "subtract": Operator(primitives.subtract, ("a", "b"), ufunc=np.subtract),
    "multiply": Operator(primitives.multiply, ("a", "b"), ufunc=np.multiply),
    "divide": Operator(primitives.divide, ("a", "b"), ufunc=np.divide),
    "ratio": Operator(primitives.ratio, ("a", "b")),
    "abs": Operator(primitives.absolute, ufunc=np.absolute),
    "sign": Operator(primitives.sign, ufunc=np.sign),
    "sqrt": Operator(primitives.sqrt, ufunc=np.sqrt),
    "log": Operator(primitives.log),
    "exp": Operator(primitives.exp),
    "power": Operator(primitives.power, ("x", "y")),
    "maximum": Operator(primitives.maximum, ("a", "b")),
    "minimum": Operator(primitives.minimum, ("a", "b")),
    "greater": Operator(primitives.greater, ("a", "b")),
    "greater_equal": Operator(primitives.greater_equal, ("a", "b")),
    "equal": Operator(primitives.equal, ("a", "b")),
    "logical_and": Operator(primitives.logical_and, ("a", "b")),
    "logical_or": Operator(primitives.logical_or, ("a", "b")),
    "logical_not": Operator(primitives.logical_not),
    "where": Operator(primitives.where, ("condition", "a", "b")),
}


def _lagging(step: Callable[..., float]) -> Operator:
    return Operator(step, parameters=LAG, state=steps.lag_state, warm_up=_lagged)


def _windowed(
    step: Callable[..., float],
    state: Callable[..., steps.State],
    *,
    minimum: int = 1,
    inputs: tuple[str, ...] = ("x",),
    level: bool = False,
    memory: Callable[..., int] | None = None,
) -> Operator:
    """Return an operator that is unknown until its window is full."""
    window: tuple[Parameter, ...] = (Parameter("window", minimum), *((Level("level"),) if level else ()))
    return Operator(step, inputs, window, state=state, warm_up=_until_full, memory=memory)


def _moment(step: Callable[..., float], answer: Callable[..., float], *, minimum: int = 1) -> Operator:
    """Return an operator that answers from the moments of a window."""
    halves = Halves(steps.push, steps.ANSWERED_FROM, answer)
    return replace(_windowed(step, steps.moments_state, minimum=minimum), halves=halves)


_REMEMBERING = {
    "ref": _lagging(steps.ref),
    "delta": _lagging(steps.delta),
    "rolling_mean": _moment(steps.rolling_mean, steps.window_mean),
    "rolling_sum": _moment(steps.rolling_sum, steps.window_sum),
    "rolling_var": _moment(steps.rolling_var, steps.window_var, minimum=2),
    "rolling_std": _moment(steps.rolling_std, steps.window_std, minimum=2),
    "zscore": _moment(steps.zscore, steps.window_zscore, minimum=2),
    "rolling_max": _windowed(steps.rolling_max, steps.extreme_state),
    "rolling_min": _windowed(steps.rolling_min, steps.extreme_state),
    "ema": _windowed(steps.ema, steps.average_state, memory=_ema_memory),
    "wilder": _windowed(steps.wilder, steps.average_state, memory=_wilder_memory),
    "rolling_count": _windowed(window_steps.rolling_count, window_steps.count_state),
    "rolling_median": _windowed(window_steps.rolling_median, window_steps.sorted_state),
    "rolling_quantile": _windowed(window_steps.rolling_quantile, window_steps.sorted_state, level=True),
    "rolling_rank": _windowed(window_steps.rolling_rank, window_steps.window_state),
    "bars_since_max": _windowed(window_steps.bars_since_max, window_steps.window_state),
    "bars_since_min": _windowed(window_steps.bars_since_min, window_steps.window_state),
    "rolling_mad": _windowed(window_steps.rolling_mad, window_steps.window_state),
    "rolling_skew": _windowed(window_steps.rolling_skew, window_steps.window_state, minimum=3),
    "rolling_kurt": _windowed(window_steps.rolling_kurt, window_steps.window_state, minimum=4),
    "rolling_wma": _windowed(window_steps.rolling_wma, window_steps.window_state),
    "rolling_slope": _windowed(window_steps.rolling_slope, window_steps.window_state, minimum=2),
    "rolling_rsquare": _windowed(window_steps.rolling_rsquare, window_steps.window_state, minimum=2),
    "rolling_residual": _windowed(window_steps.rolling_residual, window_steps.window_state, minimum=2),
    "rolling_cov": _windowed(window_steps.rolling_cov, window_steps.pair_state, minimum=2, inputs=("x", "y")),
    "rolling_corr": _windowed(
        window_steps.rolling_corr, window_steps.pair_state, minimum=2, inputs=("x", "y")
    ),
    "kama": Operator(
        recursive_steps.kama,
        parameters=(Parameter("window"),),
        state=recursive_steps.adaptive_state,
        warm_up=_lagged,
        memory=_kama_memory,
    ),
}


def _cumulative(step: Callable[..., float]) -> Operator:
    return Operator(step, state=recursive_steps.cumulative_state, anchored=True)


def _one_bar() -> int:
    return 1


_ANCHORED = {
    "cumulative_sum": _cumulative(recursive_steps.cumulative_sum),
    "cumulative_max": _cumulative(recursive_steps.cumulative_max),
    "cumulative_min": _cumulative(recursive_steps.cumulative_min),
    "parabolic_sar": Operator(
        recursive_steps.parabolic_sar,
        ("high", "low"),
        state=recursive_steps.parabolic_state,
        warm_up=_one_bar,
        anchored=True,
    ),
}


def _partial(
    step: Callable[..., float],
    state: Callable[..., steps.State],
    *,
    needs: int = 1,
    minimum: int | None = None,
    inputs: tuple[str, ...] = ("x",),
    level: bool = False,
) -> Operator:
    """Return an operator of Qlib, known as soon as its window holds what it needs."""
    window: tuple[Parameter, ...] = (
        Parameter("window", minimum or needs),
        *((Level("level"),) if level else ()),
    )
    return Operator(
        step, inputs, window, state=state, warm_up=lambda _n, *_level: needs - 1, memory=_window_memory
    )


def _window_memory(n: int, *_level: float) -> int:
    return n - 1


def _answering(step: Callable[..., float], inputs: tuple[str, ...] = ("a", "b")) -> Operator:
    return Operator(step, inputs, answers_unknown=True)


_QLIB = {
    "Mean": _partial(qlib_steps.qlib_mean, qlib_steps.sums_state),
    "Sum": _partial(qlib_steps.qlib_sum, qlib_steps.sums_state),
    "Var": _partial(qlib_steps.qlib_var, qlib_steps.sums_state, needs=2),
    "Std": _partial(qlib_steps.qlib_std, qlib_steps.sums_state, needs=2),
    "Count": Operator(
        qlib_steps.qlib_count,
        parameters=(Parameter("window"),),
        state=qlib_steps.sums_state,
        memory=_window_memory,
        answers_unknown=True,
    ),
    "Max": _partial(qlib_windows.qlib_max, qlib_windows.reached_state),
    "Min": _partial(qlib_windows.qlib_min, qlib_windows.reached_state),
    "IdxMax": _partial(qlib_windows.qlib_idxmax, qlib_windows.kept_state),
    "IdxMin": _partial(qlib_windows.qlib_idxmin, qlib_windows.kept_state),
    "Quantile": _partial(qlib_windows.qlib_quantile, qlib_windows.ordered_state, level=True),
    "Med": _partial(qlib_windows.qlib_med, qlib_windows.ordered_state),
    "Rank": _partial(qlib_windows.qlib_rank, qlib_windows.kept_state),
    "Mad": _partial(qlib_windows.qlib_mad, qlib_windows.kept_state),
    "Skew": _partial(qlib_windows.qlib_skew, qlib_windows.kept_state, needs=3),
    "Kurt": _partial(qlib_windows.qlib_kurt, qlib_windows.kept_state, needs=4),
    "WMA": _partial(qlib_windows.qlib_wma, qlib_windows.kept_state),
    "Slope": _partial(qlib_windows.qlib_slope, qlib_windows.line_state, needs=2),
    "Rsquare": _partial(qlib_windows.qlib_rsquare, qlib_windows.line_state, needs=2),
    "Resi": _partial(qlib_windows.qlib_resi, qlib_windows.line_state, needs=2),
    "Cov": _partial(qlib_pairs.qlib_cov, qlib_pairs.pairs_state, needs=2, inputs=("x", "y")),
    "Corr": _partial(qlib_pairs.qlib_corr, qlib_pairs.pairs_state, needs=2, inputs=("x", "y")),
    "EMA": Operator(
        qlib_steps.qlib_ema,
        parameters=(Parameter("window"),),
        state=qlib_steps.qlib_ema_state,
        memory=_qlib_ema_memory,
    ),
    "Gt": _answering(qlib_steps.qlib_gt),
    "Ge": _answering(qlib_steps.qlib_ge),
    "Lt": _answering(qlib_steps.qlib_lt),
    "Le": _answering(qlib_steps.qlib_le),
    "Eq": _answering(qlib_steps.qlib_eq),
    "Ne": _answering(qlib_steps.qlib_ne),
    "And": _answering(qlib_steps.qlib_and),
    "Or": _answering(qlib_steps.qlib_or),
    "Not": _answering(qlib_steps.qlib_not, ("x",)),
    "If": _answering(qlib_steps.qlib_if, ("condition", "a", "b")),
}
"""Qlib's operators whose definitions are not ours. Those that are the same go by :data:`QLIB_NAMES`."""

QLIB_NAMES = {
    "Ref": "ref",
    "Delta": "delta",
    "Abs": "abs",
    "Log": "log",
    "Sign": "sign",
    "Power": "power",
    "Greater": "maximum",
    "Less": "minimum",
    "Add": "add",
    "Sub": "subtract",
    "Mul": "multiply",
    "Div": "divide",
}
"""Qlib's names of operators that are ours as well."""

OPERATORS: Catalog[Operator] = Catalog("operator")
"""Every operator by its name; extensions may add theirs."""

for _name, _operator in (_ELEMENTWISE | _REMEMBERING | _ANCHORED | _QLIB).items():
    OPERATORS.add(_name, _operator)
