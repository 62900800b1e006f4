"""Evidence of skill that may be looked at after every outcome: what a live gate goes by.

A bettor who stakes a share of his capital on each forecast cannot expect to win when the model knows nothing, so
the probability that his capital ever reaches 20 times what he began with is then at most 1/20 (Ville 1939). That
holds however often one looks (Shafer 2021; Waudby-Smith & Ramdas 2024, section 4).
"""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from backtester_model_core.evaluation.rows import check_lengths, float_columns, instants, known_rows
from backtester_model_core.exceptions import EvaluationError
from backtester_model_core.typing import FloatArray

EVIDENCE_WANTED = 20.0
"""Capital at which skill counts as shown: noise reaches it in at most one stream of twenty."""

STAKES = (0.1, 0.2, 0.4, 0.8)
"""Shares of the capital that are staked side by side, since nobody knows the edge."""

LARGEST = 3.0
"""Outcomes and forecasts count at most so many of their earlier root mean squares."""

PRIOR_WEIGHT = 250
"""Decision times for which the baseline counts, beside those whose outcomes are known."""

WATCHED_FIRST = 30
"""Decision times that only set the scale, before the first stake."""


class SkillEvidence:
    """The capital of a bettor who trusts the model: an e-process for "the forecasts know nothing".

    With y the outcome, b the baseline and f the forecast, a decision time pays
    ``x = mean over symbols of clip((y - m)/3s_y) clip((f - b)/3s_f)`` on each share staked, where ``s_y`` and
    ``s_f`` are root mean squares of earlier decision times. Under the null the mean of ``y - m`` is zero given the
    past, and so is that of ``x``, exactly where nothing is clipped (classes) and by symmetry where something is.

    The centre m is b moved towards the outcomes known so far, as if b were the mean of 250 of them: b itself is off
    by its own training's luck, to the same side for the model's whole life, which a forecast that leans to one side
    for long would be paid for.

    For horizons above one bar, every h-th decision time makes a process of its own, since the outcomes between
    them overlap; the capital is their average.

    Args:
        horizon: Bars from entry to exit.
    """

    def __init__(self, horizon: int) -> None:
        if horizon < 1:
            raise EvaluationError(f"A horizon is at least one bar; given {horizon}.")
        self.horizon = horizon
        self.n = 0
        self._outcome_sum = 0.0
        self._outcome_squares = 0.0
        self._forecast_squares = 0.0
        self._capital = [[1.0] * len(STAKES) for _ in range(horizon)]

    @classmethod
    def of(
        cls,
        decision_time: ArrayLike,
        *,
        outcome: ArrayLike,
        forecast: ArrayLike,
        baseline: ArrayLike,
        horizon: int,
    ) -> Self:
        """Gather evidence from out-of-sample rows, such as a walk-forward's; arguments as for :func:`judge_skill`."""
        y, f, b = float_columns(outcome=outcome, forecast=forecast, baseline=baseline)
        times = instants(decision_time)
        check_lengths(decision_time=times, outcome=y)
        known = known_rows(y, f, b)
        evidence = cls(horizon)
        evidence.gather(times[known], excess=(y - b)[known], lean=(f - b)[known])
        return evidence

    @property
    def value(self) -> float:
        """The capital, which began at one."""
        return sum(map(sum, self._capital)) / (self.horizon * len(STAKES))

    @property
    def shows_skill(self) -> bool:
        """Whether the capital has reached what noise reaches in at most one stream of twenty."""
        return self.value >= EVIDENCE_WANTED

    def update(self, excess: ArrayLike, lean: ArrayLike) -> None:
        """Take the next decision time, in order, once its outcomes are known.

        Args:
            excess: (n_symbols,) outcomes less baselines, y - b.
            lean: (n_symbols,) forecasts less baselines, f - b.
        """
        y, f = np.asarray(excess, dtype=np.float64), np.asarray(lean, dtype=np.float64)
        mean = float(np.mean(y))
        y = y - self._outcome_sum / (self.n + PRIOR_WEIGHT)
        if self.n >= WATCHED_FIRST and self._outcome_squares > 0 and self._forecast_squares > 0:
            s_y, s_f = sqrt(self._outcome_squares / self.n), sqrt(self._forecast_squares / self.n)
            outcomes, forecasts = np.clip(y / (LARGEST * s_y), -1, 1), np.clip(f / (LARGEST * s_f), -1, 1)
            payoff = float(np.mean(outcomes * forecasts))
            turn = self._capital[self.n % self.horizon]
            for place, stake in enumerate(STAKES):
                turn[place] *= 1 + stake * payoff
        self.n += 1
        self._outcome_sum += mean
        self._outcome_squares += float(np.mean(y**2))
        self._forecast_squares += float(np.mean(f**2))

    def gather(self, decision_time: ArrayLike, *, excess: FloatArray, lean: FloatArray) -> None:
        """Take rows whose outcomes are known, decision time by decision time.

        Args:
            decision_time: (n,) decision times; those of one time are one piece of evidence.
            excess: (n,) outcomes less baselines, y - b.
            lean: (n,) forecasts less baselines, f - b.
        """
        times = np.asarray(decision_time)
        order = np.argsort(times, kind="stable")
        _, starts = np.unique(times[order], return_index=True)
        for rows in np.split(order, starts[1:]) if len(order) else ():
            self.update(excess[rows], lean[rows])

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain data."""
        return {
            "horizon": self.horizon,
            "n": self.n,
            "sums": [self._outcome_sum, self._outcome_squares, self._forecast_squares],
            "capital": [list(turn) for turn in self._capital],
        }

    @classmethod
    def restored(cls, snapshot: Mapping[str, Any]) -> Self:
        """Go on from a snapshot.

        Raises:
            EvaluationError: When it is not one of these.
        """
        try:
            evidence = cls(int(snapshot["horizon"]))
            evidence.n = int(snapshot["n"])
            sums = [float(value) for value in snapshot["sums"]]
            evidence._outcome_sum, evidence._outcome_squares, evidence._forecast_squares = sums
            capital = [[float(value) for value in turn] for turn in snapshot["capital"]]
        except (KeyError, TypeError, ValueError) as error:
            raise EvaluationError(f"This is not a snapshot of skill evidence: {error!r}.") from error
        if [len(turn) for turn in capital] != [len(STAKES)] * evidence.horizon:
            raise EvaluationError(
                f"The snapshot's capital does not have {evidence.horizon} rows of {len(STAKES)} stakes."
            )
        evidence._capital = capital
        return evidence
