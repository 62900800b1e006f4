"""What is asked of any columns: with the bars cut, going on differently, and beside the outcome."""

from __future__ import annotations

import time
from math import ceil

import numpy as np
import pandas as pd

from backtester_model_core.exceptions import EvaluationError
from backtester_model_core.testing.checks.target import find_target_leaks
from backtester_model_core.testing.leak import Compute, Leak, sessions_of, until
from backtester_model_core.testing.lookahead import find_future_leaks, find_truncation_leaks
from backtester_model_core.testing.verdict.answer import Check

SECONDS = 40.0
"""What cutting may take: where every session would take longer, as many as fit are cut, evenly spaced."""
MIN_CUTS = 60
N_FUTURES = 8
HORIZONS = (1, 5)
PLANTED = "planted"


def of_columns(compute: Compute, bars: pd.DataFrame) -> list[Check]:
    """Return the checks of anything that turns bars into columns; the controls plant a column of later closes."""

    def planted(given: pd.DataFrame) -> pd.DataFrame:
        later = given["close"][::-1].rolling(2, min_periods=1).mean()[::-1]
        return compute(given).assign(**{PLANTED: later})

    n_sessions = len(sessions_of(bars))
    few = evenly(n_sessions // 3, n_sessions - 2, N_FUTURES)

    def outcome() -> list[Leak]:
        numbers = compute(bars).select_dtypes("number")
        targets = [_forward_return(bars, horizon) for horizon in HORIZONS]
        return [leak for target in targets for leak in find_target_leaks(numbers, target)]

    return [
        Check(
            "T1",
            "Are the rows so far the same when the bars end here?",
            lambda: find_truncation_leaks(compute, bars, cuts=_affordable_cuts(compute, bars)),
            lambda: find_truncation_leaks(planted, bars, cuts=few[:1]),
        ),
        Check(
            "T2",
            "Are they the same when the bars go on differently?",
            lambda: find_future_leaks(compute, bars, cuts=few),
            lambda: find_future_leaks(planted, bars, cuts=few[:1]),
        ),
        Check("T9", "Is the outcome among the columns?", outcome),
    ]


def evenly(first: int, last: int, n: int) -> list[int]:
    """Return at most ``n`` whole numbers from the first to the last, evenly spaced."""
    return [int(number) for number in np.unique(np.linspace(first, last, n).astype(int))]


def _forward_return(bars: pd.DataFrame, horizon: int) -> pd.Series[float]:
    """Return what each row is to foresee: from the next open to the open ``horizon`` bars after it."""
    opens = bars["open"]
    if isinstance(bars.index, pd.MultiIndex):
        by_symbol = opens.groupby(level="symbol")
        return by_symbol.shift(-1 - horizon) / by_symbol.shift(-1) - 1
    return opens.shift(-1 - horizon) / opens.shift(-1) - 1


def _affordable_cuts(compute: Compute, bars: pd.DataFrame) -> list[int]:
    """Return at how many sessions to cut: at each, or evenly spaced where that would take too long.

    The first is the shortest, found by doubling, for which there is an answer: a function may need some bars.
    """
    sessions = sessions_of(bars)
    started = time.perf_counter()
    compute(bars)
    seconds = max(time.perf_counter() - started, 1e-6)
    first = 1
    while first < len(sessions) and not _answers(compute, until(bars, sessions[first - 1])):
        first *= 2
    if first >= len(sessions):
        raise EvaluationError(
            f"It answers for all {len(sessions)} sessions of the bars, and for no part of them that was tried."
        )
    n_cuts = min(len(sessions) - first, max(MIN_CUTS, ceil(SECONDS / seconds)))
    return evenly(first, len(sessions) - 1, n_cuts)


def _answers(compute: Compute, bars: pd.DataFrame) -> bool:
    """Say whether a function has an answer for so few bars; whatever it raises means that it has none."""
    try:
        compute(bars)
    except Exception:  # noqa: BLE001 - a user's function may refuse short bars in any way
        return False
    return True
