"""Probabilities of classes as a function of a linear score, by maximum likelihood."""

from __future__ import annotations

from operator import sub
from typing import ClassVar

import numpy as np
import pydantic
from scipy import special

from backtester_model_core.row_steps import expit, logistic_link, reference_link
from backtester_model_core.typing import FloatArray, IntArray
from backtester_model_scipy.catalogs import register_model
from backtester_model_scipy.models.model import Fitted, Optimised, Rows, Scores, design_of, estimates_note
from backtester_model_scipy.optimization import Problem


def softmax_problem(
    features: FloatArray,
    target: IntArray,
    weight: FloatArray,
    *,
    n_classes: int,
    alpha: float,
    names: tuple[str, ...],
) -> Problem:
    """Return the negative log-likelihood of a multinomial logistic regression, the first class as reference."""
    design = design_of(features)
    n, k = design.shape
    chosen = np.eye(n_classes)[target][:, 1:]
    penalised = np.ones(k)
    penalised[0] = 0.0

    def scores(values: FloatArray) -> FloatArray:
        return np.column_stack([np.zeros(n), design @ values.reshape(n_classes - 1, k).T])

    def loss(values: FloatArray) -> float:
        score = scores(values)
        likelihood = weight @ (special.logsumexp(score, axis=1) - score[np.arange(n), target])
        return float(likelihood + alpha / 2 * (penalised * values.reshape(-1, k) ** 2).sum())

    def gradient(values: FloatArray) -> FloatArray:
        away = special.softmax(scores(values), axis=1)[:, 1:] - chosen
        slope = (away * weight[:, None]).T @ design + alpha * penalised * values.reshape(-1, k)
        return np.asarray(slope.ravel())

    of = [""] if n_classes == 2 else [f"[{number}]" for number in range(1, n_classes)]
    labels = tuple(f"{name}{suffix}" for suffix in of for name in ("intercept", *names))
    return Problem.free(labels, loss, gradient, n)


def softmax_of(score: FloatArray) -> FloatArray:
    """Return (n, n_classes) probabilities from the (n, n_classes - 1) scores of all classes but the first."""
    return np.asarray(special.softmax(np.column_stack([np.zeros(len(score)), score]), axis=1))


@register_model("logistic")
class LogisticRegression(Optimised):
    """Logistic regression, of two classes or (multinomial) of more.

    With scores ``s_0 = 0`` and ``s_k = a_k + x b_k`` the probability of class k is ``exp(s_k) / sum exp(s_j)``.
    Minimise ``-sum w log P(y) + alpha / 2 sum b**2``: McFadden (1974), in Zarembka (ed.), Frontiers in
    Econometrics, equation 12, with the penalty of le Cessie and van Houwelingen (1992), JRSS C 41(1), 191-201. The
    gradient is exact. ``alpha = 0`` is plain maximum likelihood, which does not exist where a line separates the
    classes: that is refused as not converged.
    """

    name: ClassVar = "logistic"
    tasks: ClassVar = frozenset({"classification"})
    alpha: float = pydantic.Field(default=1.0, ge=0, description="Weight of the quadratic penalty.")

    def fit(self, rows: Rows) -> Fitted:
        """Maximise the penalised likelihood."""
        n_classes = rows.n_classes or 2
        problem = softmax_problem(
            rows.features,
            np.asarray(rows.target, dtype=np.int64),
            rows.weight,
            n_classes=n_classes,
            alpha=self.alpha,
            names=rows.names,
        )
        optimum = self.minimise(problem, rows.seed)
        estimates = estimates_note(problem.names, optimum.values, optimum.errors)
        return Fitted({"coefficients": optimum.values.reshape(n_classes - 1, -1)}, (optimum.note, estimates))

    def forecast(self, fitted: Fitted, features: FloatArray, ends: IntArray | None = None) -> FloatArray:
        """Return probabilities."""
        return softmax_of(design_of(features) @ fitted["coefficients"].T)

    def scores(self, fitted: Fitted) -> Scores:
        """Return the scores of all classes but the first."""
        coefficients = fitted["coefficients"]
        link = logistic_link if len(coefficients) == 1 else reference_link
        return Scores(coefficients[:, 1:], coefficients[:, 0], link)

    def importance(self, fitted: Fitted, deviation: FloatArray) -> FloatArray | None:
        """Return absolute coefficients, their mean over classes, times the features' deviations."""
        return np.asarray(np.abs(fitted["coefficients"][:, 1:]).mean(axis=0) * deviation)


@register_model("ordinal_logistic")
class OrdinalLogisticRegression(Optimised):
    """Proportional odds: classes in their order are the intervals of one latent score.

    ``P(y <= k) = 1 / (1 + exp(x b - t_k))`` with thresholds ``t_0 < t_1 < …``: McCullagh (1980), JRSS B 42(2),
    109-142, equation 2.1. Minimise ``-sum w log (P(y <= k) - P(y <= k - 1)) + alpha / 2 sum b**2`` over the first
    threshold, the positive gaps between thresholds, and b. The gradient is exact.
    """

    name: ClassVar = "ordinal_logistic"
    tasks: ClassVar = frozenset({"classification"})
    has_bounds: ClassVar = True
    alpha: float = pydantic.Field(default=1.0, ge=0, description="Weight of the quadratic penalty.")

    def fit(self, rows: Rows) -> Fitted:
        """Maximise the penalised likelihood."""
        problem = self._problem(rows)
        optimum = self.minimise(problem, rows.seed)
        n_thresholds = (rows.n_classes or 2) - 1
        arrays = {
            "thresholds": np.cumsum(optimum.values[:n_thresholds]),
            "coefficients": optimum.values[n_thresholds:],
        }
        return Fitted(arrays, (optimum.note, estimates_note(problem.names, optimum.values, optimum.errors)))

    def _problem(self, rows: Rows) -> Problem:
        target = np.asarray(rows.target, dtype=np.int64)
        n, p = rows.features.shape
        q = (rows.n_classes or 2) - 1
        upper_of, lower_of = np.eye(q + 1)[target][:, :q], np.eye(q + 1)[target][:, 1:]

        def edges(values: FloatArray) -> tuple[FloatArray, FloatArray]:
            """Return each row's upper and lower threshold less its score."""
            thresholds = np.concatenate([[-np.inf], np.cumsum(values[:q]), [np.inf]])
            score = rows.features @ values[q:]
            return thresholds[target + 1] - score, thresholds[target] - score

        def loss(values: FloatArray) -> float:
            above, below = edges(values)
            log_p = special.log_expit(above) + special.log_expit(-below) + np.log1p(-np.exp(below - above))
            return float(-rows.weight @ log_p + self.alpha / 2 * values[q:] @ values[q:])

        def gradient(values: FloatArray) -> FloatArray:
            above, below = edges(values)
            inside = 1 / np.expm1(above - below)
            up = rows.weight * (special.expit(-above) + inside)
            down = -rows.weight * (special.expit(below) + inside)
            thresholds = upper_of.T @ up + lower_of.T @ down
            slopes = rows.features.T @ (up + down) + self.alpha * values[q:]
            return np.concatenate([-np.cumsum(thresholds[::-1])[::-1], slopes])

        names = ("threshold", *(f"gap_{number}" for number in range(1, q)), *rows.names)
        share = np.cumsum(np.bincount(target, weights=rows.weight, minlength=q + 1))[:-1] / rows.weight.sum()
        start = np.concatenate([np.diff(special.logit(share), prepend=0.0), np.zeros(p)])
        lower = np.concatenate([[-np.inf], np.full(q - 1, 1e-6), np.full(p, -np.inf)])
        return Problem(names, start, loss, lower, np.full(q + p, np.inf), np.ones(q + p), n, gradient)

    def forecast(self, fitted: Fitted, features: FloatArray, ends: IntArray | None = None) -> FloatArray:
        """Return probabilities."""
        below = special.expit(fitted["thresholds"] - (features @ fitted["coefficients"])[:, None])
        edges = np.column_stack([np.zeros(len(below)), below, np.ones(len(below))])
        return np.diff(edges, axis=1)

    def scores(self, fitted: Fitted) -> Scores:
        """Return the latent score; a class is the interval between two thresholds."""
        thresholds: list[float] = fitted["thresholds"].tolist()

        def link(scores: list[float]) -> list[float]:
            edges = [0.0, *(expit(threshold - scores[0]) for threshold in thresholds), 1.0]
            return list(map(sub, edges[1:], edges))

        return Scores(fitted["coefficients"][np.newaxis], np.zeros(1), link)

    def importance(self, fitted: Fitted, deviation: FloatArray) -> FloatArray | None:
        """Return absolute coefficients times the features' deviations."""
        return np.asarray(np.abs(fitted["coefficients"]) * deviation)
