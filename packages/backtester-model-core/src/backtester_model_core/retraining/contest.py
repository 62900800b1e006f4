"""Champion and challenger: which of two models foresaw the same rows better, and by more than chance explains.

Both answer the same rows, so at each decision time s their squared errors can be set against each other
(Diebold & Mariano 1995, eq. 1)::

    d_s = mean over symbols of (y - champion)² - (y - challenger)²
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from backtester_model_core.evaluation import gate_threshold, mean_with_bound
from backtester_model_core.evaluation.long_run import estimate_mean
from backtester_model_core.retraining.policies import MIN_HORIZONS
from backtester_model_core.typing import FloatArray, TimeArray


@dataclass(frozen=True)
class Contest:
    """By how much a challenger's squared error is smaller than the champion's.

    Attributes:
        difference: Mean of d; NaN without a row that both foresaw.
        lower: Its lower 95 % bound, one-sided; minus infinity where too little is known.
        upper: Its upper 95 % bound, one-sided; infinity where too little is known.
        t: The difference in standard errors; NaN where it is undefined.
        n: Decision times on which both were scored.
    """

    difference: float
    lower: float
    upper: float
    t: float
    n: int

    @property
    def figures(self) -> Mapping[str, float]:
        """Its numbers, by name, as an event carries them."""
        return {name: float(getattr(self, name)) for name in self.__dataclass_fields__}


def compare_forecasts(
    decision_time: TimeArray,
    *,
    outcome: FloatArray,
    champion: FloatArray,
    challenger: FloatArray,
    horizon: int,
) -> Contest:
    """Compare two models on rows that both foresaw; rows that lack a forecast or an outcome are left out.

    Args:
        decision_time: (n,) when each row was decided on.
        outcome: (n,) what happened.
        champion: (n,) what the model in force foresaw.
        challenger: (n,) what its successor foresaw.
        horizon: Bars from entry to exit, over which outcomes overlap.
    """
    d = (outcome - champion) ** 2 - (outcome - challenger) ** 2
    known = ~np.isnan(d)
    times, place = np.unique(decision_time[known], return_inverse=True)
    series = np.bincount(place, weights=d[known], minlength=len(times)) / np.bincount(
        place, minlength=len(times)
    )
    mean, upper, n = mean_with_bound(series, horizon=horizon)
    below = mean_with_bound(-series, horizon=horizon)[1]
    return Contest(mean, -below, upper, estimate_mean(series, horizon=horizon).t, n)


def is_promoted(contest: Contest, rule: Literal["off", "unless_worse", "if_better"]) -> bool:
    """Say whether the challenger takes the champion's place; what is unknown speaks against neither."""
    if rule == "if_better":
        return contest.lower > 0
    return rule == "off" or contest.upper >= 0


def is_rolled_back(contest: Contest, *, planned: int, horizon: int) -> bool:
    """Say whether a promoted model has done worse than the one before it, asked anew as outcomes become known.

    Whoever looks often sees luck, so t must fall short of the boundary of :func:`gate_threshold`: over ``planned``
    decision times chance takes back at most one promotion in forty.

    Args:
        contest: The promoted model, as challenger, against the one before it.
        planned: Decision times over which they are compared.
        horizon: Bars from entry to exit.
    """
    if not MIN_HORIZONS * horizon <= contest.n <= planned:
        return False
    return contest.t <= -gate_threshold(contest.n, planned_windows=planned)
