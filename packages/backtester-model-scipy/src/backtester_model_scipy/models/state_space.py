"""Local level and local trend: a hidden level seen through noise, by the Kalman filter."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
import pydantic
from scipy import linalg

from backtester_model_core.exceptions import TrainingError
from backtester_model_core.typing import FloatArray
from backtester_model_scipy.catalogs import register_model
from backtester_model_scipy.models.autoregressive import LinearSeriesModel, banded_terms
from backtester_model_scipy.models.model import Fitted, Optimised, estimates_note
from backtester_model_scipy.models.series import FilteredSeriesModel
from backtester_model_scipy.optimization import Problem


def kalman_weights(
    transition: FloatArray,
    state_noise: FloatArray,
    noise: float,
    *,
    start: FloatArray,
    covariance: FloatArray,
    n: int,
) -> tuple[FloatArray, float]:
    """Return the weight of each of n values, the latest first, in the filter's next forecast, and its variance.

    The filter's gains do not depend on the values, so its forecast is a fixed weighted sum of them: the recursions
    of Harvey (1989), Forecasting, Structural Time Series Models and the Kalman Filter, equations 3.2.3, run forwards
    for the gains and then backwards for the weights. The first state component is what is seen, with noise.

    Args:
        transition: (d, d) from one bar's state to the next's.
        state_noise: (d, d) covariance of what is added to it.
        noise: Variance of what is added to the value that is seen.
        start: (d, d) the state foreseen for value d + 1 as weights of the first d values, in their order.
        covariance: (d, d) its covariance.
        n: Number of values, at least d.
    """
    d = len(transition)
    gains = []
    for _ in range(n - d):
        gain = transition @ covariance[:, 0] / (covariance[0, 0] + noise)
        gains.append(gain)
        forget = transition - np.outer(gain, np.eye(d)[0])
        covariance = transition @ covariance @ forget.T + state_noise
    pull, weights = np.eye(d)[0], []
    for gain in reversed(gains):
        weights.append(pull @ gain)
        pull = transition.T @ pull - np.eye(d)[0] * (gain @ pull)
    return np.concatenate([weights, (pull @ start)[::-1]]), float(covariance[0, 0] + noise)


class StructuralModel(LinearSeriesModel, FilteredSeriesModel, Optimised):
    """A hidden level that wanders, seen through noise.

    The likelihood from a diffuse start is that of the differences that leave no trace of it, a moving average
    whose covariance has d + 1 diagonals: Harvey (1989), section 4.1.3. ``sum (log det S + v' S**-1 v) / 2`` is
    minimised over the deviations of what moves the series, and equals the prediction-error decomposition of the
    filter.
    """

    has_bounds: ClassVar = True
    deviations: ClassVar[tuple[str, ...]]

    @abstractmethod
    def bands(self, variances: FloatArray) -> FloatArray:
        """Return the autocovariances of the differenced series, from lag 0 to the number of differences."""

    @abstractmethod
    def weights(self, variances: FloatArray) -> tuple[FloatArray, float]:
        """Return the weights of the last ``memory`` + 1 values in the forecast, and its variance."""

    def estimate(self, segments: Sequence[FloatArray], seed: int | None) -> Fitted:
        """Maximise the diffuse likelihood over the deviations."""
        d = len(self.deviations) - 1
        changes = [np.diff(one, n=d) for one in segments if len(one) > 2 * d + 2]
        n = sum(map(len, changes))
        unit = float(np.concatenate(changes).std()) if n > 3 * len(self.deviations) else 0.0
        if not unit > 0:
            raise TrainingError(f"{self.name}: {n} changes of the series are too few, or all the same.")

        def loss(values: FloatArray) -> float:
            bands = self.bands(values**2)
            try:
                parts = [banded_terms(np.repeat(bands[:, None], len(one), axis=1), one) for one in changes]
            except linalg.LinAlgError:  # all deviations so small that rounding wins
                return np.inf
            return 0.5 * sum(squares + log_det for squares, log_det in parts)

        k = len(self.deviations)
        lower = np.zeros(k)
        lower[0] = (
            1e-6 * unit
        )  # without noise the differences of the level alone would be left, but never singular
        start = np.full(k, 0.3 * unit)
        problem = Problem(self.deviations, start, loss, lower, np.full(k, np.inf), np.full(k, unit), n)
        optimum = self.minimise(problem, seed)
        weights, variance = self.weights(optimum.values**2)
        arrays = {
            "intercept": np.zeros(1),
            "weights": weights,
            "deviation": np.array([np.sqrt(variance)]),
            "variances": optimum.values**2,
        }
        estimates = estimates_note(self.deviations, optimum.values, optimum.errors)
        return Fitted(arrays, (optimum.note, estimates))


@register_model("local_level")
class LocalLevel(StructuralModel):
    """A random walk seen through noise: ``x_t = level_t + e_t``, ``level_{t+1} = level_t + u_t``.

    Harvey (1989), equations 2.3.1; deviations ``noise`` of e and ``level`` of u. The filter's forecast is an
    exponential average whose weight follows from their variances' ratio: Muth (1960), JASA 55(290), 299-306.
    """

    name: ClassVar = "local_level"
    deviations: ClassVar = ("noise", "level")

    def bands(self, variances: FloatArray) -> FloatArray:
        """Return those of ``u_{t-1} + e_t - e_{t-1}``."""
        noise, level = variances
        return np.array([2 * noise + level, -noise])

    def weights(self, variances: FloatArray) -> tuple[FloatArray, float]:
        """Return the filter's weights from a diffuse start: the first value is the first level, but for noise."""
        noise, level = variances
        one = np.ones((1, 1))
        return kalman_weights(
            one, level * one, noise, start=one, covariance=(noise + level) * one, n=self.memory + 1
        )


@register_model("local_trend")
class LocalTrend(StructuralModel):
    """A level that moves by a slope that wanders too, seen through noise.

    ``x_t = level_t + e_t``, ``level_{t+1} = level_t + slope_t + u_t``, ``slope_{t+1} = slope_t + z_t``: Harvey
    (1989), equations 2.3.2; deviations ``noise`` of e, ``level`` of u and ``slope`` of z.
    """

    name: ClassVar = "local_trend"
    deviations: ClassVar = ("noise", "level", "slope")
    foresees: Literal["value", "change"] = pydantic.Field(
        default="change", description="Whether what is foreseen is the next value or the change to it."
    )

    def bands(self, variances: FloatArray) -> FloatArray:
        """Return those of ``z_{t-2} + u_{t-1} - u_{t-2} + e_t - 2 e_{t-1} + e_{t-2}``."""
        noise, level, slope = variances
        return np.array([6 * noise + 2 * level + slope, -4 * noise - level, noise])

    def weights(self, variances: FloatArray) -> tuple[FloatArray, float]:
        """Return the filter's weights from a diffuse start: two values give the first level and slope."""
        noise, level, slope = variances
        transition = np.array([[1.0, 1.0], [0.0, 1.0]])
        added = np.diag([level, slope])
        known = np.array([[noise, noise], [noise, 2 * noise + level + slope]])
        return kalman_weights(
            transition,
            added,
            noise,
            start=transition @ np.array([[0.0, 1.0], [-1.0, 1.0]]),
            covariance=transition @ known @ transition.T + added,
            n=self.memory + 1,
        )
