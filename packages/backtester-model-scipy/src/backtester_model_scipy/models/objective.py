"""A linear score that minimises an objective registered in code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import pydantic
from scipy import special

from backtester_model_core.exceptions import ConfigError
from backtester_model_core.row_steps import logistic_link, value_link
from backtester_model_core.typing import FloatArray, IntArray
from backtester_model_scipy.catalogs import OBJECTIVES, Objective, register_model
from backtester_model_scipy.models.model import Fitted, Optimised, Rows, Scores, design_of, estimates_note
from backtester_model_scipy.optimization import Problem


@register_model("objective")
class LinearObjective(Optimised):
    """A linear score ``s = a + x b`` that minimises ``loss(s, y, w) + alpha sum b**2 / 2`` for a registered loss.

    In a regression the score is the forecast, and the objective is in units of the target's deviation. In a
    classification of two classes y is 0 or 1 and the probability of the second is ``1 / (1 + exp(-s))``. Standard
    errors by the inverse Hessian hold where the loss is a negative log-likelihood.
    """

    name: ClassVar = "objective"
    tasks: ClassVar = frozenset({"classification", "regression"})
    objective: str = pydantic.Field(
        default="log_cosh", min_length=1, max_length=100, description="Name of a registered objective."
    )
    alpha: float = pydantic.Field(default=1e-3, ge=0, description="Weight of the quadratic penalty.")

    def check(self, columns: Sequence[str], horizon: int, n_classes: int | None) -> None:
        """Refuse an objective that there is not, or that is for the other task."""
        task = "regression" if n_classes is None else "classification"
        registered = OBJECTIVES[self.objective]
        if registered.task != task or n_classes not in {None, 2}:
            able = ", ".join(name for name in OBJECTIVES if OBJECTIVES[name].task == task)
            raise ConfigError(
                f"The objective {self.objective!r} is for a {registered.task}"
                f"{' of two classes' if registered.task == 'classification' else ''}, not for this {task}"
                f"{'' if n_classes is None else f' of {n_classes}'}. Objectives for a {task}: {able or 'none'}."
            )

    def fit(self, rows: Rows) -> Fitted:
        """Minimise the objective."""
        registered = OBJECTIVES[self.objective]
        target = np.asarray(rows.target, dtype=np.float64)
        unit = 1.0 if rows.n_classes is not None else float(target.std()) or 1.0
        problem = self._problem(registered, design_of(rows.features), target / unit, rows)
        optimum = self.minimise(problem, rows.seed)
        estimates = estimates_note(problem.names, unit * optimum.values, unit * optimum.errors)
        kind = np.array([float(rows.n_classes is not None)])
        arrays = {"coefficients": unit * optimum.values, "is_classifier": kind}
        return Fitted(arrays, (optimum.note, estimates))

    def _problem(self, registered: Objective, design: FloatArray, target: FloatArray, rows: Rows) -> Problem:
        penalised = np.ones(design.shape[1])
        penalised[0] = 0.0
        slope = registered.slope

        def loss(values: FloatArray) -> float:
            penalty = self.alpha / 2 * (penalised * values**2).sum()
            return float(registered.loss(design @ values, target, rows.weight) + penalty)

        def gradient(values: FloatArray) -> FloatArray:
            return np.asarray(
                design.T @ slope(design @ values, target, rows.weight) + self.alpha * penalised * values  # type: ignore[misc]
            )

        names = ("intercept", *rows.names)
        return Problem.free(names, loss, None if slope is None else gradient, len(target))

    def forecast(self, fitted: Fitted, features: FloatArray, ends: IntArray | None = None) -> FloatArray:
        """Return the score, or the probabilities that it means."""
        coefficients = fitted["coefficients"]
        score = coefficients[0] + features @ coefficients[1:]
        if not fitted["is_classifier"][0]:
            return np.asarray(score)
        return np.column_stack([special.expit(-score), special.expit(score)])

    def scores(self, fitted: Fitted) -> Scores:
        """Return the score."""
        coefficients = fitted["coefficients"]
        link = logistic_link if fitted["is_classifier"][0] else value_link
        return Scores(coefficients[np.newaxis, 1:], coefficients[:1], link)

    def importance(self, fitted: Fitted, deviation: FloatArray) -> FloatArray | None:
        """Return absolute coefficients times the features' deviations."""
        return np.asarray(np.abs(fitted["coefficients"][1:]) * deviation)


def _log_cosh(score: FloatArray, target: FloatArray, weight: FloatArray) -> float:
    """Return the sum of ``log cosh(y - s)``, quadratic near 0 and absolute far from it."""
    away = np.abs(target - score)
    return float(weight @ (away + np.log1p(np.exp(-2 * away)) - np.log(2)))


def _log_cosh_slope(score: FloatArray, target: FloatArray, weight: FloatArray) -> FloatArray:
    return -weight * np.tanh(target - score)


def _brier(score: FloatArray, target: FloatArray, weight: FloatArray) -> float:
    """Return the sum of squared errors of the probability: Brier (1950), Monthly Weather Review 78(1), 1-3."""
    return float(weight @ (special.expit(score) - target) ** 2)


def _brier_slope(score: FloatArray, target: FloatArray, weight: FloatArray) -> FloatArray:
    rise = special.expit(score)
    return np.asarray(2 * weight * (rise - target) * rise * (1 - rise))


OBJECTIVES.add("log_cosh", Objective(_log_cosh, _log_cosh_slope, "regression"))
OBJECTIVES.add("brier", Objective(_brier, _brier_slope, "classification"))
