"""Volatility that comes in clusters: GARCH and its asymmetric form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from scipy import signal, special

from backtester_model_core.exceptions import TrainingError
from backtester_model_core.typing import FloatArray, IntArray
from backtester_model_scipy.catalogs import register_model
from backtester_model_scipy.models.model import Fitted, Optimised, estimates_note
from backtester_model_scipy.models.series import FilteredSeriesModel, Outlook, pooled_deviation
from backtester_model_scipy.optimization import Constraint, Problem, remembered

MIN_ROWS = 50
MAX_PERSISTENCE = 0.9999


def decay(values: FloatArray, beta: float) -> FloatArray:
    """Return ``h_t = v_t + beta h_{t-1}`` from ``h_{-1} = 0``."""
    return np.asarray(signal.lfilter([1.0], [1.0, -beta], values))


@register_model("garch")
class Garch(FilteredSeriesModel, Optimised):
    """GARCH(1,1): ``x_t = mu + e_t``, ``e_t ~ N(0, h_t)``, ``h_t = omega + alpha e_{t-1}**2 + beta h_{t-1}``.

    Bollerslev (1986), Journal of Econometrics 31(3), 307-327. Minimises ``sum (log h_t + e_t**2 / h_t) / 2`` with
    the exact gradient, within omega > 0, alpha >= 0, beta >= 0 and ``alpha + beta < 1``. Before the first row
    ``h`` and ``e**2`` are the mean squared deviation of the stretch, and in a forecast that of the window.

    The outlook is the volatility: the label is regressed on 1 / deviation for classes, since the probability of a
    positive return is that of ``z > -mu / deviation``, and on the deviation for values. With
    ``link = "distribution"`` the probability is just that of the normal distribution.
    """

    name: ClassVar = "garch"
    default_method: ClassVar = "SLSQP"
    has_bounds: ClassVar = True
    has_constraints: ClassVar = True
    parameters: ClassVar[tuple[str, ...]] = ("mu", "omega", "alpha", "beta")
    persistence: ClassVar[dict[str, float]] = {"alpha": 1.0, "beta": 1.0}

    def estimate(self, segments: Sequence[FloatArray], seed: int | None) -> Fitted:
        """Maximise the likelihood, from the best of a few starts."""
        unit = pooled_deviation(segments, name=self.name)
        n = sum(map(len, segments))
        if n < MIN_ROWS:
            raise TrainingError(f"{self.name}: {n} rows are too few; it takes at least {MIN_ROWS}.")
        before = [float(np.var(one)) or unit**2 for one in segments]

        @remembered
        def both(values: FloatArray) -> tuple[float, FloatArray]:
            parts = [self.loss_of(values, one, first) for one, first in zip(segments, before, strict=True)]
            return sum(loss for loss, _ in parts), np.sum([slope for _, slope in parts], axis=0)

        def loss(values: FloatArray) -> float:
            return both(values)[0]

        def gradient(values: FloatArray) -> FloatArray:
            return both(values)[1]

        k = len(self.parameters)
        lower, upper = np.zeros(k), np.ones(k)
        lower[:2], upper[:2] = (-10 * unit, 1e-6 * unit**2), (10 * unit, 10 * unit**2)
        middle = float(np.concatenate(segments).mean())
        starts = [
            self._start(middle, unit, news, total) for news in (0.03, 0.1) for total in (0.8, 0.95, 0.99)
        ]
        scale = np.ones(k)
        scale[:2] = unit, unit**2
        stationary = Constraint(terms=self.persistence, upper=MAX_PERSISTENCE)
        problem = Problem(
            self.parameters,
            min(starts, key=loss),
            loss,
            lower,
            upper,
            scale,
            n,
            gradient,
            (stationary,),
        )
        optimum = self.minimise(problem, seed)
        estimates = estimates_note(self.parameters, optimum.values, optimum.errors)
        return Fitted({"parameters": optimum.values}, (optimum.note, estimates))

    def _start(self, middle: float, unit: float, news: float, total: float) -> FloatArray:
        """Return parameters whose stationary variance is that of the series."""
        return np.array([middle, unit**2 * (1 - total), news, total - news])

    def loss_of(self, values: FloatArray, x: FloatArray, before: float) -> tuple[float, FloatArray]:
        """Return a stretch's negative log-likelihood and its gradient, the latter by the adjoint recursion."""
        mu, omega, alpha, beta, gamma = (*values, 0.0)[:5]
        e = x - mu
        squares = np.concatenate([[before], e[:-1] ** 2])
        bad = np.concatenate([[0.5], e[:-1] < 0])
        inputs = omega + (alpha + gamma * bad) * squares
        inputs[0] += beta * before
        h = decay(inputs, beta)
        if not (h > 0).all():
            return np.inf, np.full(len(values), np.nan)
        value = 0.5 * float((np.log(2 * np.pi * h) + e**2 / h).sum())
        pull = decay((0.5 / h - 0.5 * e**2 / h**2)[::-1], beta)[::-1]
        shift = -2 * (alpha + gamma * bad[1:]) * e[:-1]
        slopes = [
            pull[1:] @ shift - (e / h).sum(),
            pull.sum(),
            pull @ squares,
            pull[0] * before + pull[1:] @ h[:-1],
            pull @ (bad * squares),
        ]
        return value, np.array(slopes[: len(values)])

    def outlook(self, arrays: Mapping[str, FloatArray], series: FloatArray, ends: IntArray) -> Outlook:
        """Run the recursion over each window, all ends at once."""
        mu, omega, alpha, beta, gamma = (*arrays["parameters"].tolist(), 0.0)[:5]
        before = np.zeros(len(ends))
        for lag in range(self.memory, -1, -1):
            before += (series[ends - lag] - mu) ** 2
        before /= self.memory + 1
        h = omega + (alpha + gamma / 2 + beta) * before
        for lag in range(self.memory, -1, -1):
            e = series[ends - lag] - mu
            h = omega + (alpha + gamma * (e < 0)) * e**2 + beta * h
        deviation = np.sqrt(h)
        mean, rise = np.full(len(ends), mu), special.ndtr(mu / deviation)
        return Outlook(mean, rise, deviation[:, None], 1 / deviation[:, None])


@register_model("gjr_garch")
class AsymmetricGarch(Garch):
    """GARCH in which falls raise volatility more: ``h_t = omega + (alpha + gamma [e < 0]) e**2 + beta h``.

    Glosten, Jagannathan and Runkle (1993), Journal of Finance 48(5), 1779-1801; within alpha >= 0, gamma >= 0 and
    ``alpha + gamma / 2 + beta < 1``. Everything else is as for ``garch``.
    """

    name: ClassVar = "gjr_garch"
    parameters: ClassVar = ("mu", "omega", "alpha", "beta", "gamma")
    persistence: ClassVar = {"alpha": 1.0, "beta": 1.0, "gamma": 0.5}

    def _start(self, middle: float, unit: float, news: float, total: float) -> FloatArray:
        return np.array([middle, unit**2 * (1 - total), news / 2, total - news, news])
