"""Two regimes that take turns: a hidden Markov chain of calm and wild bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from scipy import special

from backtester_model_core.exceptions import TrainingError
from backtester_model_core.typing import FloatArray, IntArray
from backtester_model_scipy.catalogs import register_model
from backtester_model_scipy.models.model import Fitted, Optimised, estimates_note
from backtester_model_scipy.models.series import FilteredSeriesModel, Outlook, pooled_deviation
from backtester_model_scipy.optimization import Problem, remembered

NAMES = ("mean_0", "mean_1", "deviation_0", "deviation_1", "stay_0", "stay_1")
MIN_ROWS = 50


@register_model("regime")
class TwoRegimes(FilteredSeriesModel, Optimised):
    """A hidden Markov chain of two states: in state k values are normal with its mean and deviation.

    ``stay_k`` is the probability that state k lasts another bar. Maximises the likelihood of Hamilton (1989),
    Econometrica 57(2), 357-384, equations 4.5 to 4.10, from the chain's stationary start. The gradient is exact, by
    Fisher's identity: the expected gradient of the complete-data likelihood under the smoothed states of Kim
    (1994), Journal of Econometrics 60, 1-22. State 1 is the one of larger deviation; the label is regressed on its
    probability in the next bar.
    """

    name: ClassVar = "regime"
    has_bounds: ClassVar = True

    def estimate(self, segments: Sequence[FloatArray], seed: int | None) -> Fitted:
        """Maximise the likelihood, from the better of two starts: regimes of volatility, or of the mean."""
        unit = pooled_deviation(segments, name=self.name)
        x = np.concatenate(segments)
        if len(x) < MIN_ROWS:
            raise TrainingError(f"regime: {len(x)} rows are too few; it takes at least {MIN_ROWS}.")

        @remembered
        def both(values: FloatArray) -> tuple[float, FloatArray]:
            parts = [negative_likelihood(values, one) for one in segments]
            return sum(loss for loss, _ in parts), np.sum([slope for _, slope in parts], axis=0)

        def loss(values: FloatArray) -> float:
            return both(values)[0]

        def gradient(values: FloatArray) -> FloatArray:
            return both(values)[1]

        middle = float(x.mean())
        by_volatility = np.array([middle, middle, 0.7 * unit, 1.5 * unit, 0.95, 0.9])
        by_mean = np.array([middle - 0.7 * unit, middle + 0.7 * unit, 0.7 * unit, 0.75 * unit, 0.9, 0.9])
        lower = np.array([-np.inf, -np.inf, 1e-3 * unit, 1e-3 * unit, 1e-4, 1e-4])
        upper = np.array([np.inf, np.inf, 1e3 * unit, 1e3 * unit, 1 - 1e-4, 1 - 1e-4])
        scale = np.array([unit, unit, unit, unit, 1.0, 1.0])
        start = min((by_volatility, by_mean), key=loss)
        optimum = self.minimise(Problem(NAMES, start, loss, lower, upper, scale, len(x), gradient), seed)
        order = [0, 1, 2, 3, 4, 5] if optimum.values[2] <= optimum.values[3] else [1, 0, 3, 2, 5, 4]
        values, errors = optimum.values[order], optimum.errors[order]
        return Fitted({"parameters": values}, (optimum.note, estimates_note(NAMES, values, errors)))

    def outlook(self, arrays: Mapping[str, FloatArray], series: FloatArray, ends: IntArray) -> Outlook:
        """Run Hamilton's filter over each window, all ends at once, and one bar on."""
        values = arrays["parameters"]
        mean, deviation, stay = values[:2], values[2:4], values[4:]
        wild = np.full(len(ends), stationary(stay)[1])
        for lag in range(self.memory, -1, -1):
            density = densities(series[ends - lag], mean, deviation)[0]
            seen = wild * density[1] / (wild * density[1] + (1 - wild) * density[0])
            wild = seen * stay[1] + (1 - seen) * (1 - stay[0])
        rises = special.ndtr(mean / deviation)
        expected = mean[0] + wild * (mean[1] - mean[0])
        rise = rises[0] + wild * (rises[1] - rises[0])
        return Outlook(expected, rise, wild[:, None], wild[:, None])


def stationary(stay: FloatArray) -> FloatArray:
    """Return the long-run probability of each state."""
    leave = 1 - stay[::-1]
    return np.asarray(leave / leave.sum())


def densities(x: FloatArray, mean: FloatArray, deviation: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return (2, n) densities of values in each state over the larger of the two, and the latter's logarithm."""
    z = (x - mean[:, None]) / deviation[:, None]
    log_density = -0.5 * z**2 - np.log(deviation)[:, None] - 0.5 * np.log(2 * np.pi)
    top = log_density.max(axis=0)
    return np.exp(log_density - top), top


def negative_likelihood(values: FloatArray, x: FloatArray) -> tuple[float, FloatArray]:
    """Return a stretch's negative log-likelihood and its gradient."""
    mean, deviation, stay = values[:2], values[2:4], values[4:]
    density, top = densities(x, mean, deviation)
    foreseen, seen, sums = _filter(density, stay)
    smooth = _smooth(foreseen, seen, stay)
    likelihood = float(np.log(sums).sum() + top.sum())
    away = x - mean[:, None]
    ratio = smooth[:, 1:] / foreseen[:, 1:]
    stayed = (seen[:, :-1] * ratio).sum(axis=1)
    left = (seen[:, :-1] * ratio[::-1]).sum(axis=1)
    first, leave = smooth[:, 0], 1 - stay
    gradient = np.concatenate(
        [
            (smooth * away).sum(axis=1) / deviation**2,
            (smooth * (away**2 / deviation[:, None] ** 3 - 1 / deviation[:, None])).sum(axis=1),
            stayed - left + 1 / leave.sum() - first[::-1] / leave,
        ]
    )
    return -likelihood, -gradient


def _filter(density: FloatArray, stay: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return (2, n) states as foreseen and as seen, and the (n,) density of each value given those before."""
    calm, wild = stationary(stay).tolist()
    stay_calm, stay_wild = stay.tolist()
    foreseen, seen, sums = [], [], []
    for density_calm, density_wild in zip(*density.tolist(), strict=True):
        foreseen.append((calm, wild))
        total = calm * density_calm + wild * density_wild
        low, high = calm * density_calm / total, wild * density_wild / total
        sums.append(total)
        seen.append((low, high))
        calm = low * stay_calm + high * (1.0 - stay_wild)
        wild = low * (1.0 - stay_calm) + high * stay_wild
    return np.array(foreseen).T, np.array(seen).T, np.array(sums)


def _smooth(foreseen: FloatArray, seen: FloatArray, stay: FloatArray) -> FloatArray:
    """Return (2, n) states given all values: Kim (1994), equation 2.20."""
    stay_calm, stay_wild = stay.tolist()
    smoothed = [tuple(seen[:, -1].tolist())]
    before = zip(seen[:, -2::-1].T.tolist(), foreseen[:, :0:-1].T.tolist(), strict=True)
    for (low, high), (calm, wild) in before:
        to_calm, to_wild = smoothed[-1][0] / calm, smoothed[-1][1] / wild
        smoothed.append(
            (
                low * (stay_calm * to_calm + (1.0 - stay_calm) * to_wild),
                high * (stay_wild * to_wild + (1.0 - stay_wild) * to_calm),
            )
        )
    return np.array(smoothed[::-1]).T
