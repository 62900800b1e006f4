"""The gate: may a model trade yet? It is read before every window, and whoever looks often sees luck."""

from __future__ import annotations

from math import sqrt

from numpy.typing import ArrayLike

from backtester_model_core.evaluation.long_run import estimate_mean
from backtester_model_core.evaluation.verdict import skill_series


def gate_statistic(
    decision_time: ArrayLike,
    *,
    outcome: ArrayLike,
    forecast: ArrayLike,
    baseline: ArrayLike,
    horizon: int,
) -> float:
    """Return z_k = t(g) over all earlier out-of-sample rows; arguments as for :func:`judge_skill`."""
    series = skill_series(decision_time, outcome=outcome, forecast=forecast, baseline=baseline)
    return estimate_mean(series.g, horizon=horizon).t


def gate_threshold(windows_done: float, *, planned_windows: int) -> float:
    """Return 1.96·√max(1, K/k), the boundary of O'Brien & Fleming (1979); infinite before the first window.

    By the reflection principle noise crosses it in at most 2·2.5 % of runs over the K planned windows. Beyond them
    the threshold stays at 1.96, and nothing is promised: whoever goes on looking crosses it in more.
    """
    return 1.96 * sqrt(max(1.0, planned_windows / windows_done)) if windows_done > 0 else float("inf")


def gate_opens(z: float, *, windows_done: float, planned_windows: int) -> bool:
    """Return whether z reaches the threshold; an undefined z (NaN) never does."""
    return z >= gate_threshold(windows_done, planned_windows=planned_windows)
