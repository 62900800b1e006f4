"""Local level and local trend: a hidden level seen through noise, by the Kalman filter.

Both are ``x_t = level_t + e_t``, ``level_{t+1} = level_t + slope_t + u_t``, ``slope_{t+1} = slope_t + z_t``: Harvey
(1989), Forecasting, Structural Time Series Models and the Kalman Filter, equations 2.3.2. A local level is one
whose slope is 0. The filter's equations, 3.2.3 there, are written out for this state of two numbers.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal, NamedTuple, TypeAlias

import numpy as np
import pydantic

from backtester_model_core.exceptions import TrainingError
from backtester_model_core.typing import FloatArray
from backtester_model_scipy.catalogs import register_model
from backtester_model_scipy.models.autoregressive import LinearSeriesModel
from backtester_model_scipy.models.model import Fitted, Optimised, estimates_note
from backtester_model_scipy.models.series import FilteredSeriesModel
from backtester_model_scipy.optimization import Problem

Covariance: TypeAlias = tuple[float, float, float]
"""Variance of the level, covariance of level and slope, variance of the slope, as foreseen for the next value."""


class Variances(NamedTuple):
    """Variances of what moves a series: the noise it is seen through, its level and its slope."""

    noise: float
    level: float
    slope: float = 0.0


class Gain(NamedTuple):
    """What one bar's error of the forecast adds to level and slope, and that error's variance."""

    level: float
    slope: float
    variance: float


def kalman_gains(variances: Variances, covariance: Covariance, n: int) -> list[Gain]:
    """Return the filter's gains for n bars; they do not depend on the values."""
    noise, level, slope = variances
    p, c, s = covariance
    gains = []
    for _ in range(n):
        variance = p + noise
        to_level, to_slope = (p + c) / variance, c / variance
        gains.append(Gain(to_level, to_slope, variance))
        p, c, s = (
            p + 2.0 * c + s - (p + c) * to_level + level,
            c + s - (p + c) * to_slope,
            s - c * to_slope + slope,
        )
    return gains


def forecast_errors(values: list[float], level: float, slope: float, gains: list[Gain]) -> list[float]:
    """Return the error of each forecast, from the level and slope foreseen for the first value."""
    errors = []
    for value, (to_level, to_slope, _) in zip(values, gains, strict=False):
        error = value - level
        errors.append(error)
        level += slope + to_level * error
        slope += to_slope * error
    return errors


class StructuralModel(LinearSeriesModel, FilteredSeriesModel, Optimised):
    """A hidden level that wanders, seen through noise.

    The filter starts diffuse: the first value, or with a slope the first two, say where it stands. The
    prediction-error decomposition ``sum (log(2 pi f_t) + v_t**2 / f_t) / 2`` of the values after them, Harvey (1989),
    equation 3.4.5, is minimised over the deviations of what moves the series. The forecast is a weighted sum of
    the values, since gains do not depend on them.
    """

    has_bounds: ClassVar = True
    deviations: ClassVar[tuple[str, ...]]

    @property
    def n_start(self) -> int:
        """Number of values that the filter starts from."""
        return len(self.deviations) - 1

    @abstractmethod
    def started(self, variances: Variances) -> tuple[FloatArray, Covariance]:
        """Return level and slope after the start as (2, n_start) weights of its values, and their covariance."""

    def estimate(self, segments: Sequence[FloatArray], seed: int | None) -> Fitted:
        """Maximise the likelihood over the deviations."""
        d, k = self.n_start, len(self.deviations)
        long = [one for one in segments if len(one) > 2 * d + 2]
        n = sum(len(one) - d for one in long)
        unit = float(np.concatenate([np.diff(one) for one in long]).std()) if n > 3 * k else 0.0
        if not unit > 0:
            raise TrainingError(f"{self.name}: {n} changes of the series are too few, or all the same.")
        stretches = [(one[:d], one[d:].tolist()) for one in long]
        longest = max(len(values) for _, values in stretches)

        def loss(deviations: FloatArray) -> float:
            variances = Variances(*(deviations**2).tolist())
            start, covariance = self.started(variances)
            gains = kalman_gains(variances, covariance, longest)
            f = np.array([gain.variance for gain in gains])
            total = 0.0
            for first, values in stretches:
                level, slope = (start @ first).tolist()
                v = np.array(forecast_errors(values, level, slope, gains))
                total += 0.5 * float((np.log(2 * np.pi * f[: len(v)]) + v**2 / f[: len(v)]).sum())
            return total

        lower, wide = np.zeros(k), np.full(k, np.inf)
        lower[0] = 1e-4 * unit  # without any noise the first forecast would be certain
        problem = Problem(self.deviations, np.full(k, 0.3 * unit), loss, lower, wide, np.full(k, unit), n)
        optimum = self.minimise(problem, seed)
        weights, variance = self.weights(Variances(*(optimum.values**2).tolist()))
        arrays = {
            "intercept": np.zeros(1),
            "weights": weights,
            "deviation": np.array([np.sqrt(variance)]),
            "variances": optimum.values**2,
        }
        estimates = estimates_note(self.deviations, optimum.values, optimum.errors)
        return Fitted(arrays, (optimum.note, estimates))

    def weights(self, variances: Variances) -> tuple[FloatArray, float]:
        """Return the weights of the last ``memory`` + 1 values in the forecast, the latest first, and its variance."""
        start, covariance = self.started(variances)
        *gains, ahead = kalman_gains(variances, covariance, self.memory + 2 - self.n_start)
        level, slope, weights = 1.0, 0.0, []
        for gain in reversed(gains):
            weight = level * gain.level + slope * gain.slope
            weights.append(weight)
            level, slope = level - weight, level + slope
        first = np.array([level, slope]) @ start
        return np.concatenate([weights, first[::-1]]), ahead.variance


@register_model("local_level")
class LocalLevel(StructuralModel):
    """A random walk seen through noise; deviations ``noise`` of e and ``level`` of u.

    The filter's forecast is an exponential average whose weight follows from the ratio of the two: Muth (1960), JASA
    55(290), 299-306.
    """

    name: ClassVar = "local_level"
    deviations: ClassVar = ("noise", "level")

    def started(self, variances: Variances) -> tuple[FloatArray, Covariance]:
        """Return the first value, which is the level but for noise."""
        return np.array([[1.0], [0.0]]), (variances.noise + variances.level, 0.0, 0.0)


@register_model("local_trend")
class LocalTrend(StructuralModel):
    """A level that moves by a slope that wanders too; deviations ``noise`` of e, ``level`` of u and ``slope`` of z."""

    name: ClassVar = "local_trend"
    deviations: ClassVar = ("noise", "level", "slope")
    foresees: Literal["value", "change"] = pydantic.Field(
        default="change", description="Whether what is foreseen is the next value or the change to it."
    )

    def started(self, variances: Variances) -> tuple[FloatArray, Covariance]:
        """Return the second value plus its change from the first, and that change."""
        noise, level, slope = variances
        covariance = (5 * noise + 2 * level + slope, 3 * noise + level + slope, 2 * (noise + slope) + level)
        return np.array([[-1.0, 2.0], [-1.0, 1.0]]), covariance
