"""Checks of skill: what can be learned is learned, and nothing is found where there is nothing."""

from __future__ import annotations

from functools import partial

import numpy as np

from backtester_model_core.testing.checks.statistics import find_skill_on_noise
from backtester_model_core.testing.contract.adapter_checks import AdapterChecks, learned_rows
from backtester_model_core.testing.contract.case import Case, agreement, frame
from backtester_model_core.testing.contract.contract import check

N_NOISE = 120


class SkillChecks(AdapterChecks):
    """Checks of skill."""

    @check
    def test_what_can_be_learned_is_learned(self) -> None:
        """Look at targets, weights or columns in another order than the rows (T11)."""
        self.require_learning()
        for case in self.cases():
            values, target, later, outcome = learned_rows(case)

            assert agreement(case.model(values, target).predict(frame(later)), outcome) > 0.5

    @check
    def test_forecasts_beat_a_constant(self) -> None:
        """Look at the scale and the sign of forecasts: their squared error is below that of the mean."""
        self.require_learning()
        for case in self.cases():
            values, target, later, outcome = learned_rows(case)
            forecast = case.model(values, target).predict(frame(later))
            given = ~np.isnan(forecast)
            error = np.mean((forecast[given] - outcome[given]) ** 2)

            assert error < 0.9 * np.mean((target.mean() - outcome[given]) ** 2)

    @check
    def test_noise_is_not_foreseen(self) -> None:
        """Look at training rows that come back in the forecasts, and at targets found elsewhere (T10)."""
        for case in self.cases():
            assert find_skill_on_noise(partial(_agreement_on_noise, case)) == []


def _agreement_on_noise(case: Case, seed: int) -> float:
    values, target = case.rows(2 * N_NOISE, seed=seed, signal=0.0)
    native = case.native(values[:N_NOISE], target[:N_NOISE])
    return agreement(case.lean(native, values[N_NOISE:]), target[N_NOISE + case.n_context :])
