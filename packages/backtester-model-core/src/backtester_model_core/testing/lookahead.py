"""Proofs against look-ahead: what was said at a time may not change when the future does.

Each function compares, bit for bit, what is computed from the bars up to some time with what is computed from
bars that go on, or go on differently. What it returns is empty for anything causal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd

from backtester_model_core.bars import Panel
from backtester_model_core.config import ModelConfig
from backtester_model_core.testing.leak import (
    Compute,
    Leak,
    differences,
    rewritten,
    sessions_of,
    until,
)
from backtester_model_core.walkforward import WalkForwardResult, walk_forward


def find_truncation_leaks(
    compute: Compute, bars: pd.DataFrame, *, cuts: Iterable[int] | None = None, tolerance: float = 0.0
) -> list[Leak]:
    """Cut the bars after each session and compare what is computed with what the full bars gave there (T1).

    Finds every dependence of a row on later bars that changes a bit of it at one of the cuts. Cannot find what
    the bars themselves bring along, such as a column of theirs that is stamped too early. Takes one
    computation for each cut.

    Args:
        compute: What is to be checked.
        bars: Checked bars of one symbol or a panel.
        cuts: Numbers of sessions to keep; every one for which ``compute`` can be asked when not given.
        tolerance: Relative difference that is none, for models that compute in single precision.
    """
    sessions = sessions_of(bars)
    whole = compute(bars)
    leaks: list[Leak] = []
    for n_kept in cuts if cuts is not None else range(1, len(sessions)):
        last = sessions[n_kept - 1]
        leaks += differences("truncation", whole, compute(until(bars, last)), last, tolerance=tolerance)
    return leaks


def find_future_leaks(
    compute: Compute, bars: pd.DataFrame, *, cuts: Iterable[int], seed: int = 0, tolerance: float = 0.0
) -> list[Leak]:
    """Rewrite all bars after each session, four ways, and compare what was computed up to it (T2).

    The future becomes another random walk, ten times its prices, its own reverse, or loses every other row.
    Finds what truncation finds, and code that behaves well only when the bars end. Cannot find a dependence
    that none of the four futures touches. Takes four computations for each cut.
    """
    sessions = sessions_of(bars)
    whole = compute(bars)
    leaks: list[Leak] = []
    for n_kept in cuts:
        last = sessions[n_kept - 1]
        for name, other in rewritten(bars, last, seed=seed).items():
            before, after = until(whole, last), until(compute(other), last)
            leaks += differences(f"future {name}", before, after, last, tolerance=tolerance)
    return leaks


def find_walk_forward_leaks(
    config: ModelConfig,
    bars: pd.DataFrame,
    *,
    run: Callable[[ModelConfig, pd.DataFrame], WalkForwardResult] = walk_forward,
    tolerance: float = 0.0,
) -> list[Leak]:
    """Cut the bars one session after each window's fit, run the whole walk-forward again, and compare signals (T7).

    Finds a missing purge, which only this cut shows: the first row that a window serves must not depend on
    anything after it, though the labels that overlap the fit do. Scaling, selection, thresholds, residuals and
    the gate are covered by the same comparison. Cannot find a leak that changes no signal near a boundary, such
    as a threshold taken from the rows of one call (T1 on a fitted model finds it), or one through a column of
    the bars. Takes one walk-forward for each window.

    Args:
        config: What to run.
        bars: Checked bars.
        run: The walk-forward to check; another one may be given to see a planted leak found.
        tolerance: Relative difference that is none: a served block that ends earlier is a smaller batch, and on
            some processors a matrix product of fewer rows differs in its last digits.
    """
    whole = run(config, bars)
    sessions, stamps = sessions_of(bars), whole.config.data_config
    known_at = np.unique(Panel.of(bars, bar_stamp=stamps.bar_stamp, frequency=stamps.frequency).known_at)
    leaks: list[Leak] = []
    for fit_at in pd.DatetimeIndex(whole.windows["serves_from"]):
        position = int(np.searchsorted(known_at, fit_at.to_datetime64(), side="right"))
        if position >= len(sessions):
            continue
        last = sessions[position - 1]
        part = run(whole.config, until(bars, last))
        leaks += differences("walk-forward", whole.signals, part.signals, last, tolerance=tolerance)
    return leaks
