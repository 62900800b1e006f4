"""Linear models of a series: autoregression, ARMA, Ornstein-Uhlenbeck; local level and trend build on the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import numpy as np
import pydantic
from scipy import linalg, special

from backtester_model_core.exceptions import TrainingError
from backtester_model_core.typing import FloatArray, IntArray
from backtester_model_scipy.catalogs import register_model
from backtester_model_scipy.models.model import Fitted, Optimised, estimates_note
from backtester_model_scipy.models.series import FilteredSeriesModel, Outlook, SeriesModel, pooled_deviation
from backtester_model_scipy.optimization import Problem, standard_errors

MIN_PAIRS = 10
"""Pairs of consecutive rows from which mean reversion may be told."""


class LinearSeriesModel(SeriesModel):
    """A series whose best forecast is an intercept plus a weighted sum of its last values.

    What was learned holds ``weights``, the latest value's first, ``intercept`` and ``deviation``, that of the
    error of the forecast.
    """

    foresees: Literal["value", "change"] = pydantic.Field(
        default="value",
        description="Whether what is foreseen is the next value, as of a return, or the change to it, as of a price.",
    )

    def outlook(self, arrays: Mapping[str, FloatArray], series: FloatArray, ends: IntArray) -> Outlook:
        """Weigh the last values, one lag after another, so that no row depends on another of the call."""
        if len(arrays["weights"]) > self.context_rows + 1:
            raise ValueError(
                f"{len(arrays['weights'])} weights look back further than {self.context_rows} rows"
            )
        mean = np.full(len(ends), float(arrays["intercept"][0]))
        for lag, weight in enumerate(arrays["weights"].tolist()):
            mean += weight * series[ends - lag]
        if self.foresees == "change":
            mean -= series[ends]
        rise = special.ndtr(mean / arrays["deviation"][0])
        return Outlook(mean, rise, mean[:, None], mean[:, None])


def lagged(stretches: Sequence[FloatArray], order: int) -> tuple[FloatArray, FloatArray]:
    """Return each value with the ``order`` values before it, the latest first, within stretches."""
    windows = [
        np.lib.stride_tricks.sliding_window_view(one, order + 1) for one in stretches if len(one) > order
    ]
    together = np.concatenate(windows) if windows else np.empty((0, order + 1))
    return together[:, -1], together[:, -2::-1]


@register_model("ar")
class Autoregression(LinearSeriesModel):
    """Autoregression: ``x_t = c + phi_1 x_{t-1} + … + phi_p x_{t-p} + e_t`` with normal e.

    Its likelihood given the first p values is largest at the least-squares estimates: Hamilton (1994), Time Series
    Analysis, equations 5.3.3 to 5.3.8. Standard errors are those of least squares with divisor n, as there.
    """

    name: ClassVar = "ar"
    order: int = pydantic.Field(default=1, ge=1, le=100, description="The p above.")

    @property
    def context_rows(self) -> int:
        """Number of values before the next one but one: enough to learn from consecutive rows."""
        return self.order

    def estimate(self, segments: Sequence[FloatArray], seed: int | None) -> Fitted:
        """Regress each value on those before it."""
        pooled_deviation(segments, name=self.name)
        value, before = lagged(segments, self.order)
        design = np.column_stack([np.ones(len(value)), before])
        if len(value) <= design.shape[1]:
            raise TrainingError(f"ar: {len(value)} rows are too few for order {self.order}.")
        found = linalg.lstsq(design, value)[0]
        variance = float(np.mean((value - design @ found) ** 2))
        errors = np.sqrt(variance * np.diag(linalg.pinvh(design.T @ design)))
        names = ("c", *(f"phi_{lag}" for lag in range(1, self.order + 1)))
        arrays = {
            "intercept": found[:1],
            "weights": found[1:],
            "deviation": np.array([max(np.sqrt(variance), 1e-300)]),
        }
        return Fitted(arrays, (estimates_note(names, found, errors),))


@register_model("ornstein_uhlenbeck")
class OrnsteinUhlenbeck(LinearSeriesModel):
    """Mean reversion: ``dx = kappa (theta - x) dt + sigma dW``, a bar being the unit of time.

    Its values at bars are an autoregression with ``phi = exp(-kappa)`` and error variance
    ``sigma**2 (1 - phi**2) / (2 kappa)``, so the likelihood given the first value is largest where least squares
    puts it: Phillips (1972), Econometrica 40(6), 1021-1041, section 2. A series whose phi is not between 0 and 1
    does not revert to a mean, and is refused.
    """

    name: ClassVar = "ornstein_uhlenbeck"
    foresees: Literal["value", "change"] = pydantic.Field(
        default="change", description="Whether what is foreseen is the next value or the change to it."
    )

    @property
    def context_rows(self) -> int:
        """One row, so that consecutive ones are known."""
        return 1

    def estimate(self, segments: Sequence[FloatArray], seed: int | None) -> Fitted:
        """Regress each value on the one before, and read the process off it."""
        pooled_deviation(segments, name=self.name)
        value, before = lagged(segments, 1)
        if len(value) < MIN_PAIRS:
            raise TrainingError(f"ornstein_uhlenbeck: {len(value)} pairs of rows are too few.")
        design = np.column_stack([np.ones(len(value)), before])
        (c, phi), *_ = linalg.lstsq(design, value)
        if not 0 < phi < 1:
            raise TrainingError(
                f"ornstein_uhlenbeck: the series does not revert to a mean (phi {phi:.4f} is not between 0 and 1). "
                "Use a longer window, or a series such as the distance of log(close) from its average."
            )
        variance = float(np.mean((value - c - phi * before[:, 0]) ** 2))
        spread = np.sqrt(variance * np.diag(linalg.inv(design.T @ design)))
        kappa, theta = -np.log(phi), c / (1 - phi)
        sigma = np.sqrt(variance * 2 * kappa / (1 - phi**2))
        note = (
            f"kappa {kappa:.4g} ({spread[1] / phi:.2g}), theta {theta:.4g}, sigma {sigma:.4g}: half of a distance "
            f"is gone after {np.log(2) / kappa:.3g} bars."
        )
        arrays = {
            "intercept": np.array([c]),
            "weights": np.array([phi]),
            "deviation": np.array([max(np.sqrt(variance), 1e-300)]),
            "process": np.array([kappa, theta, sigma]),
        }
        return Fitted(arrays, (note,))


# -- ARMA ----------------------------------------------------------------------------------------------------------


def banded_terms(bands: FloatArray, values: FloatArray) -> tuple[float, float]:
    """Return ``v' S**-1 v`` and ``log det S`` of a banded covariance, its lower diagonals given as rows."""
    factor = linalg.cholesky_banded(bands, lower=True, check_finite=False)
    solved = linalg.cho_solve_banded((factor, True), values, check_finite=False)
    return float(values @ solved), 2.0 * float(np.log(factor[0]).sum())


def from_partials(partials: FloatArray) -> FloatArray:
    """Return the stationary autoregression with these partial autocorrelations, each between -1 and 1.

    The recursion of Levinson and Durbin: Monahan (1984), Biometrika 71(2), 403-404, equation 1.
    """
    phi = np.empty(0)
    for partial in partials:
        phi = np.append(phi - partial * phi[::-1], partial)
    return phi


def impulse_response(phi: FloatArray, theta: FloatArray, n: int) -> FloatArray:
    """Return the first n weights psi of past errors in the value of an ARMA."""
    psi = np.zeros(n)
    moving = np.concatenate([[1.0], theta])
    for at in range(n):
        past = psi[max(0, at - len(phi)) : at][::-1]
        psi[at] = (moving[at] if at < len(moving) else 0.0) + phi[: len(past)] @ past
    return psi


def autocovariances(phi: FloatArray, theta: FloatArray, n: int) -> FloatArray:
    """Return gamma_0 … gamma_{n-1} of an ARMA with unit errors: Brockwell and Davis (1991), section 3.3, method 3."""
    p, q = len(phi), len(theta)
    psi, moving = impulse_response(phi, theta, q + 1), np.concatenate([[1.0], theta])
    right = np.array([moving[k:] @ psi[: q + 1 - k] if k <= q else 0.0 for k in range(max(p + 1, n))])
    system = np.eye(p + 1)
    for row in range(p + 1):
        for lag in range(1, p + 1):
            system[row, abs(row - lag)] -= phi[lag - 1]
    gamma = np.zeros(max(p + 1, n))
    gamma[: p + 1] = np.linalg.solve(system, right[: p + 1])
    for at in range(p + 1, n):
        gamma[at] = right[at] + phi @ gamma[at - p : at][::-1]
    return gamma[:n]


def arma_terms(x: FloatArray, phi: FloatArray, theta: FloatArray) -> tuple[float, float]:
    """Return the sum of squares and the log determinant of the exact likelihood of an ARMA with unit errors.

    Ansley (1979), Biometrika 66(1), 59-65: after the first m = max(p, q) values, ``x_t - phi_1 x_{t-1} - …`` is a
    moving average, so the covariance has m + 1 diagonals only.
    """
    p, q = len(phi), len(theta)
    m = max(p, q)
    z = x.copy()
    for lag in range(1, p + 1):
        z[m:] -= phi[lag - 1] * x[m - lag : len(x) - lag]
    psi, moving = impulse_response(phi, theta, m + 1), np.concatenate([[1.0], theta])
    bands = np.zeros((m + 1, len(x)))
    for k in range(q + 1):
        bands[k] = moving[k:] @ moving[: q + 1 - k]
        bands[k, :m] = moving[k:] @ psi[: q + 1 - k]
    bands[q + 1 :, :m] = 0.0
    gamma = autocovariances(phi, theta, m + 1)
    for at in range(m):
        bands[: m - at, at] = gamma[: m - at]
    return banded_terms(bands, z)


@register_model("arma")
class AutoregressiveMovingAverage(LinearSeriesModel, FilteredSeriesModel, Optimised):
    """ARMA(p, q): ``x_t - mu = sum phi_i (x_{t-i} - mu) + e_t + sum theta_j e_{t-j}`` with normal e.

    Maximises the exact likelihood, minimising ``n / 2 log(S / n) + log(det V) / 2`` with V the covariance in units
    of the error's and S the sum of squares in it: Brockwell and Davis (1991), Time Series, equation 8.7.7, by
    banded matrices as Ansley (1979) does. The search is over partial autocorrelations between -1 and 1, within
    which the process is stationary and invertible: Barndorff-Nielsen and Schou (1973); bounds and constraints are on
    ``mean``, ``ar_partial_i`` and ``ma_partial_j``. The forecast is the best linear one from ``memory`` + 1 values.
    """

    name: ClassVar = "arma"
    has_bounds: ClassVar = True
    p: int = pydantic.Field(default=1, ge=0, le=20, description="Number of past values.")
    q: int = pydantic.Field(default=1, ge=0, le=20, description="Number of past errors.")

    @pydantic.model_validator(mode="after")
    def _check_orders(self) -> AutoregressiveMovingAverage:
        if self.p + self.q == 0:
            raise ValueError("p and q are both 0: nothing is left to foresee by")
        return self

    def estimate(self, segments: Sequence[FloatArray], seed: int | None) -> Fitted:
        """Maximise the exact likelihood."""
        unit = pooled_deviation(segments, name=self.name)
        long = [one for one in segments if len(one) > 2 * max(self.p, self.q)]
        n = sum(map(len, long))
        if n <= 3 * (self.p + self.q + 1):
            raise TrainingError(f"arma: {n} rows are too few for orders {self.p} and {self.q}.")
        middle = float(np.concatenate(long).mean())

        def natural(values: FloatArray) -> FloatArray:
            """Return mean, phi and theta from the parameters that are searched."""
            partials = values[1:]
            theta = -from_partials(partials[self.p :])
            return np.concatenate([values[:1], from_partials(partials[: self.p]), theta])

        def terms(values: FloatArray) -> tuple[float, float]:
            phi, theta = values[1 : 1 + self.p], values[1 + self.p :]
            parts = np.array([arma_terms(one - values[0], phi, theta) for one in long])
            return float(parts[:, 0].sum()), float(parts[:, 1].sum())

        def loss(values: FloatArray) -> float:
            try:
                squares, log_det = terms(values)
            except linalg.LinAlgError:  # so close to a unit root that rounding wins
                return np.inf
            return float(n / 2 * np.log(squares / n) + log_det / 2)

        k = self.p + self.q
        lower, upper = np.full(1 + k, -0.999), np.full(1 + k, 0.999)
        lower[0], upper[0] = -np.inf, np.inf
        start = np.concatenate([[middle], np.full(self.p, 0.1), np.full(self.q, -0.1)])
        partials = [
            f"{part}_partial_{at}" for part, m in (("ar", self.p), ("ma", self.q)) for at in range(1, m + 1)
        ]
        scale = np.concatenate([[unit], np.ones(k)])
        problem = Problem(("mean", *partials), start, lambda v: loss(natural(v)), lower, upper, scale, n)
        optimum = self.minimise(problem, seed)
        found = natural(optimum.values)
        phi, theta = found[1 : 1 + self.p], found[1 + self.p :]
        names = (
            "mean",
            *(f"phi_{at}" for at in range(1, self.p + 1)),
            *(f"theta_{at}" for at in range(1, self.q + 1)),
        )
        wide = np.full(1 + k, np.inf)
        errors = standard_errors(Problem(names, found, loss, -wide, wide, scale, n), found)
        gamma = autocovariances(phi, theta, self.memory + 2)
        weights = linalg.solve_toeplitz(gamma[:-1], gamma[1:])
        variance = terms(found)[0] / n
        ahead = variance * max(gamma[0] - weights @ gamma[1:], 1.0)
        arrays = {
            "intercept": found[:1] * (1 - weights.sum()),
            "weights": weights,
            "deviation": np.array([np.sqrt(ahead)]),
        }
        return Fitted(arrays, (optimum.note, estimates_note(names, found, errors)))
