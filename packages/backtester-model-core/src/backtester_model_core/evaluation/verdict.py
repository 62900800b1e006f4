"""The verdict: do the forecasts know anything that the training window's mean does not?

With b the training window's mean (or class prior), f the forecast and y the outcome, each decision time s has::

    g_s = mean over symbols of (y - b)(f - b)             the adjusted difference of Clark & West (2007), halved
    d_s = mean over symbols of (y - b)² - (y - f)²        the plain difference of squared errors

Rows of one decision time are averaged first and never pooled as if they were independent: symbols move together,
and outcomes over several bars overlap. Classes are judged by their expectation: f = Σ pₖ·classₖ.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import isnan
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from backtester_model_core.evaluation.bootstrap import N_RESAMPLES, bootstrap_mean
from backtester_model_core.evaluation.holm import holm_adjusted
from backtester_model_core.evaluation.long_run import LEVEL, MeanEstimate, estimate_mean
from backtester_model_core.evaluation.rows import check_lengths, float_columns, instants, known_rows
from backtester_model_core.exceptions import EvaluationError
from backtester_model_core.typing import FloatArray, IntArray

MIN_HORIZONS = 100
"""Non-overlapping horizons (n/h) below which no skill is ever found."""

RESAMPLES_PER_CLAIM = 40
"""Resamples for each of several claims, so that a p-value can be half of what the first step of Holm asks for."""

SkillTest: TypeAlias = Literal["newey_west", "bootstrap"]
"""How the error of a mean is found: by its long-run variance, or by drawing blocks of time anew."""


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
        critical: One-sided 5 % critical value that t_g is to exceed.
        critical_d: One-sided 5 % critical value that t_d is to fall short of, negated; of Newey-West the same.
        p_g: Probability of a t_g at least as high without any skill, adjusted where it is one of several claims.
        p_d: Probability of a t_d at least as low when both forecast equally well, adjusted likewise.
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
    critical_d: float
    p_g: float
    p_d: float
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


@dataclass(frozen=True)
class _Evidence:
    """What both differences say, before it is known how many claims are made."""

    g: MeanEstimate
    d: MeanEstimate
    horizons: float
    idle: bool

    @property
    def is_testable(self) -> bool:
        return self.horizons >= MIN_HORIZONS and not isnan(self.g.t)


def judge_skill(
    decision_time: ArrayLike,
    *,
    outcome: ArrayLike,
    forecast: ArrayLike,
    baseline: ArrayLike,
    horizon: int,
    cross_sectional: bool = False,
    method: SkillTest = "newey_west",
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
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
        method: ``"newey_west"`` with fixed-b critical values, or the stationary ``"bootstrap"``.
        n_resamples: How often the bootstrap draws.
        seed: What the bootstrap draws by: the same seed, the same verdict.

    Raises:
        EvaluationError: When the columns differ in length, the horizon is below one or the method is unknown.
    """
    series = skill_series(
        decision_time,
        outcome=outcome,
        forecast=forecast,
        baseline=baseline,
        cross_sectional=cross_sectional,
    )
    evidence = _weigh(series, horizon=horizon, method=method, n_resamples=n_resamples, seed=seed)
    return _rule(evidence, p_g=evidence.g.p_above, p_d=evidence.d.p_below)


def judge_symbols(
    decision_time: ArrayLike,
    *,
    symbol: ArrayLike,
    outcome: ArrayLike,
    forecast: ArrayLike,
    baseline: ArrayLike,
    horizon: int,
    method: SkillTest = "newey_west",
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> dict[str | int, Verdict]:
    """Judge each symbol by itself, with p-values adjusted for their number.

    With a chance of 5 % at most is *skill* said of any symbol that has none (Holm 1979). Symbols with too few
    horizons make no claim and cost the others nothing.

    Args:
        decision_time: (n,) instant of each row, ``datetime64`` or integers, in any order.
        symbol: (n,) name or code of each row's symbol.
        outcome: (n,) what happened; for classes their values. NaN rows are left out.
        forecast: (n,) what was foreseen; for classes Σ pₖ·classₖ. NaN rows are left out.
        baseline: (n,) or a number, the mean outcome of the training window that each row's model had.
        horizon: Bars from entry to exit.
        method: As for :func:`judge_skill`.
        n_resamples: How often the bootstrap draws; at least 40 times for each symbol, as fewer could not tell so
            small a p-value.
        seed: What the bootstrap draws by.

    Returns:
        The verdicts by symbol, in sorted order.

    Raises:
        EvaluationError: As :func:`judge_skill` does.
    """
    y, f, b = float_columns(outcome=outcome, forecast=forecast, baseline=baseline)
    times, names = instants(decision_time), np.asarray(symbol)
    check_lengths(decision_time=times, symbol=names, outcome=y)
    distinct, code = np.unique(names, return_inverse=True)
    enough = max(n_resamples, RESAMPLES_PER_CLAIM * len(distinct) - 1)
    evidence = []
    for rows in (code == k for k in range(len(distinct))):
        series = skill_series(times[rows], outcome=y[rows], forecast=f[rows], baseline=b[rows])
        evidence.append(_weigh(series, horizon=horizon, method=method, n_resamples=enough, seed=seed))
    tested = [each.is_testable for each in evidence]
    p_g = holm_adjusted(np.where(tested, [each.g.p_above for each in evidence], np.nan))
    p_d = holm_adjusted(np.where(tested, [each.d.p_below for each in evidence], np.nan))
    n_claims = sum(tested)
    return {
        name: _rule(each, p_g=float(adjusted_g), p_d=float(adjusted_d), n_claims=n_claims)
        for name, each, adjusted_g, adjusted_d in zip(distinct.tolist(), evidence, p_g, p_d, strict=True)
    }


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


def _weigh(series: SkillSeries, *, horizon: int, method: SkillTest, n_resamples: int, seed: int) -> _Evidence:
    """Estimate both means by the chosen method."""
    if horizon < 1:
        raise EvaluationError(f"A horizon is at least one bar; given {horizon}.")
    if method == "newey_west":
        g, d = (estimate_mean(values, horizon=horizon) for values in (series.g, series.d))
    elif method == "bootstrap":
        g, d = (
            bootstrap_mean(values, horizon=horizon, n_resamples=n_resamples, seed=seed)
            for values in (series.g, series.d)
        )
    else:
        raise EvaluationError(f"No method {method!r} to judge by. Valid: 'newey_west', 'bootstrap'.")
    return _Evidence(g, d, g.n / horizon, idle=not (series.g.any() or series.d.any()))


def _rule(evidence: _Evidence, *, p_g: float, p_d: float, n_claims: int = 1) -> Verdict:
    """Say what the evidence shows at p-values that allow for the number of claims."""
    g, d = evidence.g, evidence.d
    outcome, detail, reason = _decide(evidence, p_g=p_g, p_d=p_d, n_claims=n_claims)
    return Verdict(
        outcome=outcome,
        detail=detail,
        t_g=g.t,
        t_d=d.t,
        critical=g.critical_above,
        critical_d=d.critical_below,
        p_g=p_g,
        p_d=p_d,
        n=g.n,
        n_over_h=evidence.horizons,
        mean_g=g.mean,
        reason=reason,
    )


def _decide(evidence: _Evidence, *, p_g: float, p_d: float, n_claims: int) -> tuple[SkillOutcome, str, str]:
    """Return the outcome, its detail and the reason."""
    g, d = evidence.g, evidence.d
    if evidence.horizons < MIN_HORIZONS:
        reason = f"only {int(evidence.horizons)} non-overlapping horizons, and {MIN_HORIZONS} are needed"
        return SkillOutcome.NONE_SHOWN, "", reason
    if evidence.idle:
        return SkillOutcome.NONE_SHOWN, "", "the forecasts never differ from the training mean"
    if isnan(g.t):
        return SkillOutcome.NONE_SHOWN, "", "the products of forecast and outcome do not vary"
    above = f"t(g) = {g.t:.2f} is above {g.critical_above:.2f}"
    below = f"t(d) = {d.t:.2f} is below -{d.critical_below:.2f}"
    is_worse = p_d <= LEVEL
    if p_g <= LEVEL:
        reason = f"{above}{_adjusted(', and', p_g, n_claims)}"
        if is_worse:
            return SkillOutcome.SKILL, "raw forecasts miscalibrated", f"{reason}, {below}"
        return SkillOutcome.SKILL, "", reason
    if is_worse and g.t <= 0:
        reason = f"{below}{_adjusted(',', p_d, n_claims)} and t(g) = {g.t:.2f} is not positive"
        return SkillOutcome.WORSE, "", reason
    if g.p_above <= LEVEL:
        return SkillOutcome.NONE_SHOWN, "", f"{above}{_adjusted(', but', p_g, n_claims)}"
    return SkillOutcome.NONE_SHOWN, "", f"t(g) = {g.t:.2f} is not above {g.critical_above:.2f}"


def _adjusted(joint: str, p_value: float, n_claims: int) -> str:
    """Return what to add about a p-value that was adjusted for several claims."""
    return f"{joint} p = {p_value:.2g} when adjusted for {n_claims} symbols" if n_claims > 1 else ""
