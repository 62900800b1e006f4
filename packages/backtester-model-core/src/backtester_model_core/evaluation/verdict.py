"""The verdict: do the forecasts know anything that the training window's mean does not?

With b the training window's mean (or class prior), f the forecast and y the outcome, each decision time s has::

    g_s = mean over symbols of (y - b)(f - b)             the adjusted difference of Clark & West (2007), halved
    d_s = mean over symbols of (y - b)² - (y - f)²        the plain difference of squared errors

Rows of one decision time are averaged first and never pooled as if they were independent: symbols move together,
and outcomes over several bars overlap.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import isnan, sqrt

import numpy as np
from numpy.typing import ArrayLike

from backtester_model_core.evaluation.long_run import MeanEstimate, estimate_mean
from backtester_model_core.evaluation.rows import check_lengths, float_columns, instants, known_rows
from backtester_model_core.exceptions import EvaluationError
from backtester_model_core.typing import FloatArray, IntArray

MIN_HORIZONS = 100
"""Non-overlapping horizons (n/h) below which no skill is ever found."""


class SkillOutcome(StrEnum):
    """What a verdict may say."""

    SKILL = "skill"
    NONE_SHOWN = "no skill shown"
    WORSE = "worse than naive"


@dataclass(frozen=True)
class SkillSeries:
    """The two differences of the verdict, one entry for each decision time in time order.

    Attributes:
        decision_time: (n,) distinct instants, as integers.
        g: (n,) mean over symbols of (y - b)(f - b).
        d: (n,) mean over symbols of (y - b)² - (y - f)².
    """

    decision_time: IntArray
    g: FloatArray
    d: FloatArray


@dataclass(frozen=True)
class Verdict:
    """What the out-of-sample forecasts have shown, and the figures that say so.

    Attributes:
        outcome: Skill, no skill shown, or worse than naive.
        detail: ``"raw forecasts miscalibrated"`` when they rank outcomes but miss their size, else empty.
        t_g: t statistic of the mean g; NaN where it is undefined.
        t_d: t statistic of the mean d; NaN where it is undefined.
        critical: One-sided 5 % fixed-b critical value that both are compared with.
        n: Number of distinct decision times.
        n_over_h: Number of non-overlapping horizons among them.
        mean_g: Mean of g.
        reason: Why the outcome is what it is, as part of a sentence.
    """

    outcome: SkillOutcome
    detail: str
    t_g: float
    t_d: float
    critical: float
    n: int
    n_over_h: float
    mean_g: float
    reason: str

    @property
    def sentence(self) -> str:
        """The verdict as a sentence."""
        heading = str(self.outcome).capitalize()
        name = f"{heading}, {self.detail}" if self.detail else heading
        return f"{name}: {self.reason} ({self.n:,} decision times, {int(self.n_over_h):,} horizons)."


def judge_skill(
    decision_time: ArrayLike,
    *,
    outcome: ArrayLike,
    forecast: ArrayLike,
    baseline: ArrayLike,
    horizon: int,
    cross_sectional: bool = False,
) -> Verdict:
    """Judge out-of-sample forecasts against the training window's mean.

    Args:
        decision_time: (n,) instant of each row, ``datetime64`` or integers, in any order.
        outcome: (n,) what happened; for classes their values. NaN rows are left out.
        forecast: (n,) what was foreseen; for classes Σ pₖ·classₖ. NaN rows are left out.
        baseline: (n,) or a number, the mean outcome of the training window that each row's model had.
        horizon: Bars from entry to exit.
        cross_sectional: Judge only the order of the symbols at each time: outcome and forecast are taken
            relative to their means over symbols.

    Raises:
        EvaluationError: When the columns differ in length or the horizon is below one.
    """
    if horizon < 1:
        raise EvaluationError(f"A horizon is at least one bar; given {horizon}.")
    series = skill_series(
        decision_time,
        outcome=outcome,
        forecast=forecast,
        baseline=baseline,
        cross_sectional=cross_sectional,
    )
    g, d = estimate_mean(series.g, horizon=horizon), estimate_mean(series.d, horizon=horizon)
    idle = not (series.g.any() or series.d.any())
    ruling, detail, reason = _decide(g, d, horizons=g.n / horizon, idle=idle)
    return Verdict(ruling, detail, g.t, d.t, g.critical, g.n, g.n / horizon, g.mean, reason)


def skill_series(
    decision_time: ArrayLike,
    *,
    outcome: ArrayLike,
    forecast: ArrayLike,
    baseline: ArrayLike,
    cross_sectional: bool = False,
) -> SkillSeries:
    """Average both differences over the symbols of each decision time; arguments as for :func:`judge_skill`."""
    y, f, b = float_columns(outcome=outcome, forecast=forecast, baseline=baseline)
    times = instants(decision_time)
    check_lengths(decision_time=times, outcome=y)
    kept = known_rows(y, f, b)
    if cross_sectional:
        _, group, size = np.unique(times[kept], return_inverse=True, return_counts=True)
        kept[kept] = size[group] > 1
    distinct, group = np.unique(times[kept], return_inverse=True)
    y, f, b = y[kept], f[kept], b[kept]
    rounding = 1e-12 * np.abs(f)
    if cross_sectional:
        y, f, b = y - _group_mean(y, group)[group], f - _group_mean(f, group)[group], np.zeros_like(b)
    # A forecast that repeats the baseline up to rounding claims nothing; its rounding must not be tested.
    edge = np.where(np.abs(f - b) <= rounding, 0.0, f - b)
    g = (y - b) * edge
    return SkillSeries(distinct, _group_mean(g, group), _group_mean(2 * g - edge**2, group))


def _group_mean(values: FloatArray, group: IntArray) -> FloatArray:
    return np.asarray(np.bincount(group, weights=values) / np.bincount(group), dtype=np.float64)


def _decide(
    g: MeanEstimate, d: MeanEstimate, *, horizons: float, idle: bool
) -> tuple[SkillOutcome, str, str]:
    """Return the outcome, its detail and the reason."""
    critical = g.critical
    if horizons < MIN_HORIZONS:
        reason = f"only {int(horizons)} non-overlapping horizons, and {MIN_HORIZONS} are needed"
        return SkillOutcome.NONE_SHOWN, "", reason
    if idle:
        return SkillOutcome.NONE_SHOWN, "", "the forecasts never differ from the training mean"
    if isnan(g.t):
        return SkillOutcome.NONE_SHOWN, "", "the products of forecast and outcome do not vary"
    if g.t > critical:
        reason = f"t(g) = {g.t:.2f} is above {critical:.2f}"
        if d.t < -critical:
            return (
                SkillOutcome.SKILL,
                "raw forecasts miscalibrated",
                f"{reason}, t(d) = {d.t:.2f} is below -{critical:.2f}",
            )
        return SkillOutcome.SKILL, "", reason
    if d.t < -critical and g.t <= 0:
        reason = f"t(d) = {d.t:.2f} is below -{critical:.2f} and t(g) = {g.t:.2f} is not positive"
        return SkillOutcome.WORSE, "", reason
    return SkillOutcome.NONE_SHOWN, "", f"t(g) = {g.t:.2f} is not above {critical:.2f}"


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

    By the reflection principle noise crosses it in at most 2·2.5 % of runs over the K planned windows.
    """
    return 1.96 * sqrt(max(1.0, planned_windows / windows_done)) if windows_done > 0 else float("inf")


def gate_opens(z: float, *, windows_done: float, planned_windows: int) -> bool:
    """Return whether z reaches the threshold; an undefined z (NaN) never does."""
    return z >= gate_threshold(windows_done, planned_windows=planned_windows)
