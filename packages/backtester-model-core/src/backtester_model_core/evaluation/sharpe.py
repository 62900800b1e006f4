"""How surely a Sharpe ratio is above another, and what remains of the best of many.

All ratios are of one bar and not of a year: SR = mean / deviation of the returns, whose number, skewness and
kurtosis decide how well it is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import e, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from backtester_model_core.evaluation.rows import float_columns, known_rows
from backtester_model_core.exceptions import EvaluationError
from backtester_model_core.typing import FloatArray

EULER = 0.5772156649015329
"""The constant of Euler and Mascheroni."""

SAME_RETURN = 1e-14
"""Returns closer than this differ by the rounding of a price ratio only."""

SMALLEST_VARIANCE = 1e-9
"""Of a normal distribution it is at least one."""


@dataclass(frozen=True)
class SharpeEstimate:
    """The Sharpe ratio of one bar and the moments that say how well it is known.

    Attributes:
        ratio: Mean over deviation.
        n: Number of returns.
        skewness: Third standardised moment; 0 for a normal distribution.
        kurtosis: Fourth standardised moment; 3 for a normal distribution.
    """

    ratio: float
    n: int
    skewness: float = 0.0
    kurtosis: float = 3.0

    @classmethod
    def of(cls, returns: ArrayLike) -> SharpeEstimate | None:
        """Estimate it from returns above the risk-free rate; ``None`` where they do not vary."""
        (series,) = float_columns(returns=returns)
        known: FloatArray = series[known_rows(series)]
        if len(known) < 2 or np.ptp(known) <= SAME_RETURN:
            return None
        z = (known - known.mean()) / known.std()
        ratio = float(known.mean() / known.std(ddof=1))
        estimate = cls(ratio, len(known), float(np.mean(z**3)), float(np.mean(z**4)))
        # Two values alone can have moments that leave no error at all; they say nothing.
        return estimate if estimate.unit_variance > SMALLEST_VARIANCE else None

    @property
    def unit_variance(self) -> float:
        """Variance of the estimate times n - 1: 1 - γ₃ SR + (γ₄ - 1)/4 SR² (Mertens 2002)."""
        return 1 - self.skewness * self.ratio + (self.kurtosis - 1) / 4 * self.ratio**2

    def probability_above(self, benchmark: float = 0.0) -> float:
        """Return the probability that the true ratio is above a benchmark ratio of one bar.

        PSR(SR*) = Φ((SR - SR*) √(n - 1) / √(1 - γ₃ SR + (γ₄ - 1)/4 SR²)) (Bailey & López de Prado 2012).
        """
        return NormalDist().cdf((self.ratio - benchmark) * sqrt((self.n - 1) / self.unit_variance))

    def min_track_record(self, benchmark: float = 0.0, *, confidence: float = 0.95) -> float:
        """Return how many such returns are needed for that probability to reach ``confidence``.

        MinTRL = 1 + (1 - γ₃ SR + (γ₄ - 1)/4 SR²) (z / (SR - SR*))² (Bailey & López de Prado 2012); infinite
        when the ratio is not above the benchmark.
        """
        if self.ratio <= benchmark:
            return float("inf")
        z = NormalDist().inv_cdf(confidence)
        return 1 + self.unit_variance * (z / (self.ratio - benchmark)) ** 2


def probabilistic_sharpe_ratio(returns: ArrayLike, *, benchmark: float = 0.0) -> float:
    """Return the probability that the true Sharpe ratio is above a benchmark (Bailey & López de Prado 2012).

    Args:
        returns: (n,) returns of one bar above the risk-free rate, taken as independent; NaN is left out.
        benchmark: A Sharpe ratio of one bar: a yearly one over the root of the bars in a year.

    Returns:
        A probability; NaN where the returns do not vary.
    """
    estimate = SharpeEstimate.of(returns)
    return estimate.probability_above(benchmark) if estimate else float("nan")


def minimum_track_record_length(
    returns: ArrayLike, *, benchmark: float = 0.0, confidence: float = 0.95
) -> float:
    """Return how many such returns it takes to be sure of a ratio above the benchmark (Bailey & López de Prado 2012).

    Args:
        returns: (n,) returns of one bar above the risk-free rate; NaN is left out.
        benchmark: A Sharpe ratio of one bar.
        confidence: How sure to be.

    Returns:
        A number of returns; infinite when their ratio is not above the benchmark, NaN where they do not vary.
    """
    estimate = SharpeEstimate.of(returns)
    return estimate.min_track_record(benchmark, confidence=confidence) if estimate else float("nan")


def expected_maximum_sharpe(n_trials: int, *, variance: float) -> float:
    """Return the Sharpe ratio that the best of several trials without skill is expected to show.

    SR₀ = √V ((1 - c) Φ⁻¹(1 - 1/N) + c Φ⁻¹(1 - 1/(N e))) with Euler's constant c (Bailey & López de Prado 2014,
    eq. 1); zero for a single trial.

    Args:
        n_trials: N, the number of independent trials.
        variance: V, the variance of their Sharpe ratios.

    Raises:
        EvaluationError: When there is no trial, or the variance is negative.
    """
    if n_trials < 1 or not variance >= 0:
        raise EvaluationError(
            f"{n_trials} trials whose Sharpe ratios have a variance of {variance:g} cannot be. "
            "Count every variant that was tried, this one among them."
        )
    if n_trials == 1:
        return 0.0
    quantile = NormalDist().inv_cdf
    return sqrt(variance) * (
        (1 - EULER) * quantile(1 - 1 / n_trials) + EULER * quantile(1 - 1 / (n_trials * e))
    )


def deflated_sharpe_ratio(returns: ArrayLike, *, n_trials: int, trial_variance: float | None = None) -> float:
    """Return the probability that the best of several trials has a Sharpe ratio above what luck would give it.

    It is the probabilistic Sharpe ratio against :func:`expected_maximum_sharpe` (Bailey & López de Prado 2014,
    eq. 2).

    Args:
        returns: (n,) returns of one bar of the trial that was chosen, above the risk-free rate; NaN is left out.
        n_trials: How many variants were tried, this one among them. Variants that resemble each other count for less
            than their number, so that the number itself is on the side of doubt.
        trial_variance: Variance over the trials of their Sharpe ratios of one bar. Without it 1/(n - 1) is taken,
            what it would be by chance alone if none had any skill.

    Returns:
        A probability; NaN where the returns do not vary.
    """
    estimate = SharpeEstimate.of(returns)
    if estimate is None:
        return float("nan")
    variance = 1 / (estimate.n - 1) if trial_variance is None else trial_variance
    return estimate.probability_above(expected_maximum_sharpe(n_trials, variance=variance))
