"""Linear regressions: least squares, with a penalty, with a robust loss, and by the median of slopes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal, Self

import numpy as np
import pydantic
from scipy import linalg, optimize, stats

from backtester_model_core.exceptions import ConfigError, TrainingError
from backtester_model_core.row_steps import value_link
from backtester_model_core.typing import FloatArray, IntArray
from backtester_model_scipy.catalogs import register_model
from backtester_model_scipy.models.model import (
    Fitted,
    Model,
    Optimised,
    Rows,
    Scores,
    design_of,
    estimates_note,
)
from backtester_model_scipy.optimization import Problem

MAD_OF_NORMAL = 0.6744897501960817
"""Median absolute deviation of a standard normal variable."""

MAX_SLOPE_ROWS = 3000
"""Rows whose pairs Theil and Sen's estimator looks at: their number grows with the square."""


class LinearModel(Model):
    """A forecast that is an intercept plus a weighted sum of the features."""

    tasks: ClassVar = frozenset({"regression"})

    def forecast(self, fitted: Fitted, features: FloatArray, ends: IntArray | None = None) -> FloatArray:
        """Return the linear forecast."""
        coefficients = fitted["coefficients"]
        return np.asarray(coefficients[0] + features @ coefficients[1:])

    def scores(self, fitted: Fitted) -> Scores:
        """Return the weighted sum that the forecast is."""
        coefficients = fitted["coefficients"]
        return Scores(coefficients[np.newaxis, 1:], coefficients[:1], value_link)

    def importance(self, fitted: Fitted, deviation: FloatArray) -> FloatArray | None:
        """Return absolute coefficients times the features' deviations."""
        return np.asarray(np.abs(fitted["coefficients"][1:]) * deviation)


@register_model("ols")
class OrdinaryLeastSquares(LinearModel):
    """Weighted least squares: minimise ``sum w (y - a - x b)**2``.

    Standard errors are ``s**2 (X' W X)**-1`` with ``s**2 = sum w e**2 / (n - p - 1)``: Greene (2012), Econometric
    Analysis, 7th edition, equation 4-17. A single feature without weights goes through
    :func:`scipy.stats.linregress`, whose p-value is noted.
    """

    name: ClassVar = "ols"

    def fit(self, rows: Rows) -> Fitted:
        """Solve the normal equations by a singular value decomposition."""
        if rows.features.shape[1] == 1 and not rows.is_weighted:
            return self._fit_line(rows)
        design, root = design_of(rows.features), np.sqrt(rows.weight)
        values, _, rank, _ = linalg.lstsq(design * root[:, None], rows.target * root)
        residual = rows.target - design @ values
        n, k = design.shape
        notes = []
        if rank < k:
            notes.append(
                f"{k - rank} of {k - 1} features are combinations of others: of all solutions the shortest was "
                "taken, and standard errors do not exist."
            )
        elif n > k:
            variance = (rows.weight * residual**2).sum() / (n - k)
            inverse = linalg.inv(design.T @ (design * rows.weight[:, None]))
            errors = np.sqrt(variance * np.diag(inverse))
            notes.append(estimates_note(("intercept", *rows.names), values, errors))
        return Fitted({"coefficients": values}, tuple(notes))

    def _fit_line(self, rows: Rows) -> Fitted:
        if np.ptp(rows.features) == 0:
            raise TrainingError("ols: the only feature has the same value in every training row.")
        line = stats.linregress(rows.features[:, 0], rows.target)
        values = np.array([line.intercept, line.slope])
        errors = np.array([line.intercept_stderr, line.stderr])
        note = estimates_note(("intercept", *rows.names), values, errors)
        return Fitted({"coefficients": values}, (f"{note} p-value of the slope {line.pvalue:.3g}.",))


@register_model("ridge")
class Ridge(LinearModel):
    """Least squares with a quadratic penalty: minimise ``sum w (y - a - x b)**2 + alpha sum b**2``.

    Hoerl and Kennard (1970), Technometrics 12(1), 55-67, equation 2.3. The intercept is not penalised. Solved
    exactly, by a Cholesky decomposition of centred normal equations.
    """

    name: ClassVar = "ridge"
    alpha: float = pydantic.Field(default=1.0, gt=0, description="Weight of the penalty.")

    def fit(self, rows: Rows) -> Fitted:
        """Solve the penalised normal equations."""
        center = np.average(rows.features, axis=0, weights=rows.weight)
        middle = np.average(rows.target, weights=rows.weight)
        away = rows.features - center
        weighted = away * rows.weight[:, None]
        penalised = weighted.T @ away + self.alpha * np.eye(away.shape[1])
        slopes = linalg.solve(penalised, weighted.T @ (rows.target - middle), assume_a="pos")
        return Fitted({"coefficients": np.concatenate([[middle - center @ slopes], slopes])})


@register_model("elastic_net")
class ElasticNet(LinearModel, Optimised):
    """Least squares with an absolute and a quadratic penalty.

    Minimise ``sum w (y - a - x b)**2 / (2 sum w) + alpha (r sum |b| + (1 - r) / 2 sum b**2)`` with r the
    ``l1_ratio``: Zou and Hastie (2005), JRSS B 67(2), 301-320, in the units of Friedman, Hastie and Tibshirani
    (2010), equation 1. To be smooth the problem is written in the positive and negative parts of b, each at
    least 0.
    """

    name: ClassVar = "elastic_net"
    has_bounds: ClassVar = True
    alpha: float = pydantic.Field(default=0.01, gt=0, description="Weight of the penalties.")
    l1_ratio: float = pydantic.Field(default=0.5, ge=0, le=1, description="Share of the absolute penalty.")
    relative: bool = pydantic.Field(
        default=True, description="Whether alpha is in units of the target's deviation, as returns are small."
    )

    def fit(self, rows: Rows) -> Fitted:
        """Minimise over the positive and negative parts of the coefficients."""
        p = rows.features.shape[1]
        share = rows.weight / rows.weight.sum()
        center, middle = share @ rows.features, float(share @ rows.target)
        unit = float(np.sqrt(share @ (rows.target - middle) ** 2)) if self.relative else 1.0
        if not unit > 1e-12 * abs(middle):
            raise TrainingError("elastic_net: the target has the same value in every training row.")
        away, outcome = rows.features - center, (rows.target - middle) / unit
        gram, moment = away.T @ (away * share[:, None]), away.T @ (share * outcome)
        size = float(share @ outcome**2)
        absolute, quadratic = self.alpha * self.l1_ratio, self.alpha * (1 - self.l1_ratio)

        def loss(parts: FloatArray) -> float:
            slopes = parts[:p] - parts[p:]
            square = size - 2 * moment @ slopes + slopes @ gram @ slopes + quadratic * slopes @ slopes
            return float(square / 2 + absolute * parts.sum())

        def gradient(parts: FloatArray) -> FloatArray:
            slopes = parts[:p] - parts[p:]
            pull = gram @ slopes - moment + quadratic * slopes
            return np.concatenate([pull, -pull]) + absolute

        names = (*(f"{name}+" for name in rows.names), *(f"{name}-" for name in rows.names))
        wide = np.full(2 * p, np.inf)
        zero = np.zeros(2 * p)
        problem = Problem(names, zero, loss, zero, wide, np.ones(2 * p), 1, gradient)
        optimum = self.minimise(problem, rows.seed)
        slopes = unit * (optimum.values[:p] - optimum.values[p:])
        kept = int((np.abs(slopes) > 1e-9 * unit).sum())
        coefficients = np.concatenate([[middle - center @ slopes], slopes])
        return Fitted(
            {"coefficients": coefficients}, (optimum.note, f"{kept} of {p} coefficients are not zero.")
        )


class RobustModel(LinearModel):
    """Least squares whose large residuals count less: minimise ``sum w c**2 rho((e / c)**2) / 2``.

    By :func:`scipy.optimize.least_squares`; c is ``tuning`` times the scale of the residuals of ordinary least
    squares, the median absolute residual over 0.6745, as in Huber and Ronchetti (2009), Robust Statistics, section 7.8.
    """

    loss: ClassVar[Literal["huber", "soft_l1", "cauchy"]]
    tuning: float = pydantic.Field(
        default=1.345,
        gt=0,
        description="Residuals beyond this many scales count less; at 1.345 Huber's loss is 95 % efficient.",
    )
    max_iterations: int = pydantic.Field(
        default=1000, ge=1, le=1_000_000, description="Evaluations after which the search is given up."
    )

    def with_method(self, method: str | None) -> Self:
        """Return the model with its trust-region method chosen."""
        valid = ("trf", "dogbox")
        if method is not None and method not in valid:
            raise ConfigError(
                f"optimization_method {method!r} does not go with {self.name!r}, which scipy.optimize.least_squares "
                f"fits. Valid: {', '.join(valid)}."
            )
        return self.model_copy(update={"method": method or "trf"})

    def fit(self, rows: Rows) -> Fitted:
        """Start from ordinary least squares, and let outliers go."""
        design, root = design_of(rows.features), np.sqrt(rows.weight)
        start = linalg.lstsq(design * root[:, None], rows.target * root)[0]
        scale = self.tuning * float(np.median(np.abs(rows.target - design @ start))) / MAD_OF_NORMAL
        if not scale > 0:
            return Fitted({"coefficients": start}, ("Least squares left no residuals to be robust against.",))

        def rho(squares: FloatArray) -> FloatArray:
            return rows.weight * RHO[self.loss](squares)

        found = optimize.least_squares(
            lambda values: (design @ values - rows.target) / scale,
            start,
            jac=lambda _: design / scale,
            method=self.method,
            loss=rho,
            x_scale="jac",
            xtol=1e-12,
            ftol=1e-12,
            gtol=1e-12,
            max_nfev=self.max_iterations,
        )
        if not found.success:
            raise TrainingError(
                f"{self.name} did not converge: {found.message} after {found.nfev} evaluations. Raise max_iterations."
            )
        note = (
            f"least_squares converged in {found.nfev} evaluations; residuals beyond {scale:.3g} count less."
        )
        return Fitted({"coefficients": found.x}, (note,))


def _huber(z: FloatArray) -> FloatArray:
    """Return Huber's loss of squared residuals with its two derivatives, as least_squares takes them."""
    inner = z <= 1
    root = np.sqrt(np.where(inner, 1.0, z))
    return np.array(
        [
            np.where(inner, z, 2 * root - 1),
            np.where(inner, 1.0, 1 / root),
            np.where(inner, 0.0, -0.5 / root**3),
        ]
    )


def _soft_l1(z: FloatArray) -> FloatArray:
    """Return ``2 (sqrt(1 + z) - 1)``, a smooth absolute value."""
    root = np.sqrt(1 + z)
    return np.array([2 * (root - 1), 1 / root, -0.5 / root**3])


def _cauchy(z: FloatArray) -> FloatArray:
    """Return ``log(1 + z)``, under which an outlier counts hardly at all."""
    return np.array([np.log1p(z), 1 / (1 + z), -1 / (1 + z) ** 2])


RHO = {"huber": _huber, "soft_l1": _soft_l1, "cauchy": _cauchy}


@register_model("huber")
class HuberRegression(RobustModel):
    """Huber (1964), Annals of Mathematical Statistics 35(1), 73-101: quadratic, then linear beyond the tuning."""

    name: ClassVar = "huber"
    loss: ClassVar = "huber"


@register_model("soft_l1")
class SoftAbsoluteRegression(RobustModel):
    """A smooth absolute loss: Charbonnier et al. (1997), IEEE Transactions on Image Processing 6(2), 298-311."""

    name: ClassVar = "soft_l1"
    loss: ClassVar = "soft_l1"


@register_model("cauchy")
class CauchyRegression(RobustModel):
    """The negative log-likelihood of Cauchy errors but for a constant; an outlier counts hardly at all."""

    name: ClassVar = "cauchy"
    loss: ClassVar = "cauchy"
    tuning: float = pydantic.Field(
        default=2.385, gt=0, description="As for huber; at 2.385 this loss is 95 % efficient."
    )


@register_model("theil_sen")
class TheilSen(LinearModel):
    """A line on one feature whose slope is the median of the slopes between all pairs of rows.

    Sen (1968), JASA 63(324), 1379-1389; the interval of the slope is Sen's, section 4. Half the rows but a third
    may be wrong before it breaks. Above 3,000 rows a seeded draw of that many is used. With sample weights the
    median is weighted by the product of the pair's: Jaeckel (1972), Annals of Mathematical Statistics 43(5),
    1449-1458.
    """

    name: ClassVar = "theil_sen"
    feature: str | None = pydantic.Field(
        default=None, description="Name of the feature; the first when not given.", max_length=100
    )

    def check(self, columns: Sequence[str], horizon: int, n_classes: int | None) -> None:
        """Refuse a feature that there is not."""
        if self.feature is not None and self.feature not in columns:
            raise ConfigError.unknown("feature", self.feature, columns)

    def fit(self, rows: Rows) -> Fitted:
        """Take the median slope."""
        at = 0 if self.feature is None else rows.names.index(self.feature)
        x, y, w = rows.features[:, at], np.asarray(rows.target, dtype=np.float64), rows.weight
        notes = []
        if len(x) > MAX_SLOPE_ROWS:
            drawn = np.random.default_rng(rows.seed).choice(len(x), MAX_SLOPE_ROWS, replace=False)
            x, y, w = x[drawn], y[drawn], w[drawn]
            notes.append(f"{MAX_SLOPE_ROWS:,} of {len(rows.target):,} rows were drawn.")
        if np.ptp(x) == 0:
            raise TrainingError(f"theil_sen: {rows.names[at]} has the same value in every training row.")
        if rows.is_weighted:
            slope, intercept = _weighted_line(x, y, w)
        else:
            line = stats.theilslopes(y, x, method="joint")
            slope, intercept = float(line.slope), float(line.intercept)
            interval = f"95 % interval {line.low_slope:.4g} to {line.high_slope:.4g}"
            notes.append(f"Slope of {rows.names[at]} {slope:.4g}, {interval}.")
        coefficients = np.zeros(1 + rows.features.shape[1])
        coefficients[0], coefficients[1 + at] = intercept, slope
        return Fitted({"coefficients": coefficients}, tuple(notes))


def _weighted_line(x: FloatArray, y: FloatArray, weight: FloatArray) -> tuple[float, float]:
    """Return the slope and the intercept by weighted medians."""
    first, second = np.triu_indices(len(x), 1)
    run = x[second] - x[first]
    pair = run != 0
    slopes = (y[second] - y[first])[pair] / run[pair]
    slope = weighted_median(slopes, (weight[first] * weight[second])[pair])
    return slope, weighted_median(y - slope * x, weight)


def weighted_median(values: FloatArray, weight: FloatArray) -> float:
    """Return the value below and above which half the weight lies."""
    order = np.argsort(values)
    reached = np.cumsum(weight[order])
    return float(values[order][np.searchsorted(reached, reached[-1] / 2)])


@register_model("quantile")
class QuantileRegression(LinearModel):
    """A linear quantile of the target: minimise ``sum w e (q - 1[e < 0])`` over ``e = y - a - x b``.

    Koenker and Bassett (1978), Econometrica 46(1), 33-50, equation 2.2, as the linear programme of their section
    3 in its dual form, which has a row for each coefficient only: maximise ``y d`` with ``X' d = 0`` and
    ``w (q - 1) <= d <= w q``. The coefficients are its multipliers. By HiGHS.
    """

    name: ClassVar = "quantile"
    quantile: float = pydantic.Field(default=0.5, gt=0, lt=1, description="The quantile; 0.5 is the median.")

    def with_method(self, method: str | None) -> Self:
        """Return the model with its linear-programming method chosen."""
        valid = ("highs", "highs-ds", "highs-ipm")
        if method is not None and method not in valid:
            raise ConfigError(
                f"optimization_method {method!r} does not go with 'quantile', which scipy.optimize.linprog fits. "
                f"Valid: {', '.join(valid)}."
            )
        return self.model_copy(update={"method": method or "highs"})

    def fit(self, rows: Rows) -> Fitted:
        """Solve the linear programme."""
        design = design_of(rows.features)
        unit = float(np.mean(np.abs(rows.target))) or 1.0
        weight = rows.weight / rows.weight.mean()
        found = optimize.linprog(
            -np.asarray(rows.target) / unit,
            A_eq=design.T,
            b_eq=np.zeros(design.shape[1]),
            bounds=np.column_stack([weight * (self.quantile - 1), weight * self.quantile]),
            method=self.method,
        )
        if not found.success:
            raise TrainingError(f"quantile did not converge: {found.message}")
        coefficients = -unit * np.asarray(found.eqlin.marginals, dtype=np.float64)
        residual = rows.target - design @ coefficients
        below = float(np.average(residual < 0, weights=weight))
        note = (
            f"HiGHS found the optimum in {found.nit} iterations; {below:.1%} of the training rows lie below."
        )
        return Fitted({"coefficients": coefficients}, (note,))
