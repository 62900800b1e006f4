"""A distribution fitted to returns, and the probability that the next one is positive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import pydantic
from scipy import stats

from backtester_model_core.exceptions import TrainingError
from backtester_model_core.typing import FloatArray, IntArray
from backtester_model_scipy.catalogs import DISTRIBUTIONS, register_model
from backtester_model_scipy.models.model import Fitted, Optimised, estimates_note
from backtester_model_scipy.models.series import Outlook, SeriesModel
from backtester_model_scipy.optimization import Optimum, Problem

MIN_ROWS = 30


@register_model("distribution")
class FittedDistribution(SeriesModel, Optimised):
    """Returns from one distribution: ``x_t = mu + v_{t-1} z_t``, z with the density f of the chosen family.

    v is the ``volatility`` feature as known a bar before, or 1. First mu is the mean of x weighted by ``1 / v**2``
    (generalised least squares: Aitken (1935)), then ``-sum log f((x_t - mu) / v_{t-1})`` is minimised over shapes,
    location and scale, as :func:`scipy.stats.fit` does. The probability of a positive return is
    ``1 - F(-mu / v_t)``, the closer to one half the wilder the bar. Without a volatility it is the same on every
    row: a base rate.
    """

    name: ClassVar = "distribution"
    has_bounds: ClassVar = True
    distribution: str = pydantic.Field(
        default="student_t", max_length=100, description="Name of the family; one's own may be registered."
    )
    volatility: str | None = pydantic.Field(
        default=None, max_length=100, description="Name of a feature that returns are divided by."
    )
    link: Literal["fitted", "distribution"] = pydantic.Field(
        default="distribution",
        description="Whether the answer is the distribution's own probability, or a regression of the label on it.",
    )

    @property
    def context_rows(self) -> int:
        """One row: a return is divided by the volatility known before it."""
        return 1

    @property
    def other_columns(self) -> tuple[str, ...]:
        """The volatility, where there is one."""
        return () if self.volatility is None else (self.volatility,)

    @property
    def family(self) -> Any:
        """The distribution in SciPy."""
        registered = DISTRIBUTIONS[self.distribution].distribution
        return getattr(stats, registered) if isinstance(registered, str) else registered

    def check(self, columns: Sequence[str], horizon: int, n_classes: int | None) -> None:
        """Refuse a family that there is not, too."""
        super().check(columns, horizon, n_classes)
        DISTRIBUTIONS[self.distribution]

    def estimate(self, segments: Sequence[FloatArray], seed: int | None) -> Fitted:
        """Fit the family to returns over their volatility."""
        wide = [one if one.ndim == 2 else np.column_stack([one, np.ones(len(one))]) for one in segments]
        value = np.concatenate([one[1:, 0] for one in wide])
        before = np.concatenate([one[:-1, 1] for one in wide])
        if len(value) < MIN_ROWS:
            raise TrainingError(f"distribution: {len(value)} rows are too few; it takes at least {MIN_ROWS}.")
        if not (before > 0).all():
            raise TrainingError(
                f"distribution: the volatility {self.volatility!r} is not positive on every row."
            )
        middle = float(np.average(value, weights=before**-2.0))
        away = (value - middle) / before
        unit = float(away.std())
        if not unit > 0:
            raise TrainingError("distribution: the series has the same value in every training row.")
        optimum, names = self._fit_family(away / unit, seed)
        shape = optimum.values.copy()
        shape[-2:] *= unit
        arrays = {
            "mean": np.array([middle]),
            "shape": shape,
            "calmest": np.array([before.min()]),
        }
        notes = (optimum.note, estimates_note(names, optimum.values, optimum.errors))
        return Fitted(
            arrays, notes if self.volatility else (*notes, "Without volatility every row has one answer.")
        )

    def _fit_family(self, values: FloatArray, seed: int | None) -> tuple[Optimum, tuple[str, ...]]:
        """Minimise the negative log-likelihood over shapes, location and scale."""
        box = {**DISTRIBUTIONS[self.distribution].bounds, "loc": (-2.0, 2.0), "scale": (0.05, 5.0)}
        names, family = tuple(box), self.family
        lower, upper = np.array(list(box.values())).T
        start = np.clip(np.full(len(box), 3.0), lower, upper)
        start[-2:] = 0.0, 0.8

        def loss(shape: FloatArray) -> float:
            return float(family.nnlf(shape, values))

        problem = Problem(names, start, loss, lower, upper, np.ones(len(box)), len(values))
        return self.minimise(problem, seed), names

    def outlook(self, arrays: Mapping[str, FloatArray], series: FloatArray, ends: IntArray) -> Outlook:
        """Return the mean and the probability of a positive value under the fitted family."""
        volatility = (
            np.maximum(series[ends, 1], arrays["calmest"][0]) if series.ndim == 2 else np.ones(len(ends))
        )
        shape, mean = arrays["shape"].tolist(), float(arrays["mean"][0])
        rise = self.family.sf(-mean / volatility, *shape)
        expected = mean + volatility * float(self.family.mean(*shape))
        return Outlook(expected, rise, volatility[:, None], rise[:, None])
