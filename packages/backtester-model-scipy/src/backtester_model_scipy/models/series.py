"""Models of one series in time: estimated over a symbol's consecutive rows, filtered over the rows before each."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import pydantic

from backtester_model_core.exceptions import ConfigError, PredictionError, TrainingError
from backtester_model_core.typing import FloatArray, IntArray
from backtester_model_scipy.models.link import apply_link, fit_link
from backtester_model_scipy.models.model import Fitted, Model, Rows


@dataclass(frozen=True, eq=False)
class Outlook:
    """What a model foresees of the next value of its series, one entry for each row asked about.

    Attributes:
        mean: (m,) expected value.
        rise: (m,) probability that it is positive.
        for_values: (m, k) what a label that is a number is regressed on.
        for_classes: (m, k) what the probability of a class is regressed on.
    """

    mean: FloatArray
    rise: FloatArray
    for_values: FloatArray
    for_classes: FloatArray

    def signals(self, *, is_classifier: bool) -> FloatArray:
        """Return what the label is regressed on."""
        return self.for_classes if is_classifier else self.for_values


class SeriesModel(Model):
    """A model of one series, such as the return of the last bar, that foresees its next value.

    It learns the series by maximum likelihood over the consecutive rows of each symbol, and then what its outlook
    means for the label: with ``link = "fitted"`` by a regression of the label on the outlook over the training
    rows, with ``link = "distribution"`` by the outlook itself. The series is taken as it is, whatever
    ``normalize_features`` says: the sign of a return must not move.

    Every answer comes from the same number of rows before it, so that a row is answered alike in a batch, by
    itself and live.
    """

    tasks: ClassVar = frozenset({"classification", "regression"})
    is_scaled: ClassVar = False
    series: str | None = pydantic.Field(
        default=None,
        max_length=100,
        description="Name of the feature that is the series; the first feature when not given.",
    )
    link: Literal["fitted", "distribution"] = pydantic.Field(
        default="fitted",
        description=(
            "Whether the answer is a regression of the label on the model's outlook, or the outlook's own "
            "probability of a positive next value; that takes two classes, or a regression, and a horizon of 1."
        ),
    )

    @property
    @abstractmethod
    def context_rows(self) -> int:
        """Number of a symbol's rows before a row that its answer comes from."""

    @property
    def other_columns(self) -> tuple[str, ...]:
        """Names of features that are needed beside the series; the series is then (n, 1 + number of these)."""
        return ()

    @abstractmethod
    def estimate(self, segments: Sequence[FloatArray], seed: int | None) -> Fitted:
        """Learn from stretches of consecutive values, of one symbol each."""

    @abstractmethod
    def outlook(self, arrays: Mapping[str, FloatArray], series: FloatArray, ends: IntArray) -> Outlook:
        """Look ahead from each end by its own row and the ``context_rows`` before it."""

    def check(self, columns: Sequence[str], horizon: int, n_classes: int | None) -> None:
        """Refuse a series that there is not, and a link that the label does not fit."""
        for name in (self.series, *self.other_columns):
            if name is not None and name not in columns:
                raise ConfigError.unknown("series", name, columns)
        if self.link == "distribution" and (horizon != 1 or n_classes not in {None, 2}):
            raise ConfigError(
                "link = 'distribution' answers whether the next value is positive: it takes two classes, or a "
                "regression, and prediction_horizon = 1. Use link = 'fitted'."
            )

    def fit(self, rows: Rows) -> Fitted:
        """Estimate the series, and what its outlook means for the label."""
        if rows.ends is None:
            raise TrainingError(f"{self.name} learns from consecutive rows: say where they end by ends.")
        columns = self._columns(rows.names)
        series = _picked(rows.features, columns)
        stretches = segments(rows.ends, self.context_rows)
        learned = self.estimate([series[stretch] for stretch in stretches], rows.seed)
        is_classifier = rows.n_classes is not None
        arrays = {
            **learned.arrays,
            "columns": columns,
            "is_classifier": np.array([float(is_classifier)]),
        }
        notes = list(learned.notes)
        if self.link == "fitted":
            outlook = self.outlook(learned.arrays, series, rows.ends)
            link = fit_link(outlook.signals(is_classifier=is_classifier), rows, model=self.name)
            arrays |= link.arrays
            notes += link.notes
        if rows.is_weighted:
            used = "in the link to the label only" if self.link == "fitted" else "nowhere"
            notes.append(f"Sample weights count {used}, not in the likelihood of the series.")
        return Fitted(arrays, tuple(notes))

    def forecast(self, fitted: Fitted, features: FloatArray, ends: IntArray | None = None) -> FloatArray:
        """Return what the outlook from each end says of its label."""
        if ends is None:
            raise PredictionError(
                f"{self.name} answers from the {self.context_rows} rows before a row: say where they end by ends."
            )
        series = _picked(features, fitted["columns"])
        outlook = self.outlook(fitted.arrays, series, ends)
        is_classifier = bool(fitted["is_classifier"][0])
        if self.link == "fitted":
            signals = outlook.signals(is_classifier=is_classifier)
            return apply_link(fitted.arrays, signals, is_classifier=is_classifier)
        return np.column_stack([1 - outlook.rise, outlook.rise]) if is_classifier else outlook.mean

    def _columns(self, names: tuple[str, ...]) -> FloatArray:
        """Return the positions of the series and of what is needed beside it."""
        wanted = (names[0] if self.series is None else self.series, *self.other_columns)
        for name in wanted:
            if name not in names:
                raise TrainingError(
                    f"{name!r} is not among the features of these rows, whose number is not the configuration's. "
                    "Leave series out to take the first."
                )
        return np.array([float(names.index(name)) for name in wanted])


def _picked(features: FloatArray, columns: FloatArray) -> FloatArray:
    """Return the series, or the (n, k) series with what is needed beside it."""
    positions = columns.astype(np.int64)
    if not len(positions) or positions.min() < 0:
        raise IndexError(f"{positions.tolist()} are no positions of features")
    return np.ascontiguousarray(features[:, positions[0]] if len(positions) == 1 else features[:, positions])


class FilteredSeriesModel(SeriesModel):
    """A series model whose filter starts afresh a fixed number of rows before each row that it answers."""

    memory: int = pydantic.Field(
        default=250,
        ge=2,
        le=10_000,
        description="Rows before a row that the filter runs over; rows with less history have no answer.",
    )

    @property
    def context_rows(self) -> int:
        """Number of a symbol's rows before a row that the filter runs over."""
        return self.memory


def segments(ends: IntArray, context_rows: int) -> list[slice]:
    """Return the longest stretches of rows that are known to be consecutive and of one symbol.

    The rows before an end are of its symbol, so windows that share a row belong together.
    """
    ends = np.unique(ends)
    starts = ends - context_rows
    breaks = np.flatnonzero(starts[1:] > ends[:-1]) + 1
    firsts, lasts = np.concatenate([[0], breaks]), np.concatenate([breaks - 1, [len(ends) - 1]])
    return [slice(int(starts[first]), int(ends[last]) + 1) for first, last in zip(firsts, lasts, strict=True)]


def pooled_deviation(stretches: Sequence[FloatArray], *, name: str) -> float:
    """Return the standard deviation of all values, and refuse a series that does not move."""
    values = np.concatenate(stretches)
    deviation = float(values.std())
    if not deviation > 1e-12 * np.abs(values).max():
        raise TrainingError(f"{name}: the series has the same value in every training row.")
    return deviation
