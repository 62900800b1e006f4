"""Out-of-sample forecasts beside what then happened: what policies are fitted to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from backtester_model_core.dataset import Dataset, Prediction
from backtester_model_core.typing import BoolArray, FloatArray, IntArray, TimeArray


@dataclass(frozen=True, eq=False)
class ScoredRows:
    """Out-of-sample forecasts beside what then happened, row-aligned.

    Attributes:
        known_at: (n,) decision times.
        label_end: (n,) instants from which the outcomes may be used; NaT where they are not known.
        forecast: (n,) what was foreseen; NaN where nothing was.
        outcome: (n,) what happened; NaN where it is unknown.
        baseline: (n,) training mean of the model that foresaw.
        scale: (n,) volatility as known at the row; NaN where unknown.
        probability: (n, k) of each class, for a classifier; no column for a regression.
        forward_return: (n,) return of the position that a signal would have opened; NaN where unknown.
        return_end: (n,) instants from which that return may be used.
        symbol: (n,) the symbol's code.
    """

    known_at: TimeArray
    label_end: TimeArray
    forecast: FloatArray
    outcome: FloatArray
    baseline: FloatArray
    scale: FloatArray
    probability: FloatArray
    forward_return: FloatArray
    return_end: TimeArray
    symbol: IntArray

    def __len__(self) -> int:
        return len(self.forecast)

    def take(self, rows: BoolArray | IntArray) -> ScoredRows:
        """Return the given rows, as positions or as a mask."""
        return ScoredRows(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))

    def known_by(self, instant: np.datetime64) -> ScoredRows:
        """Return the rows that were foreseen and whose outcome is known at an instant, without later returns."""
        rows = self.take(~np.isnan(self.forecast) & ~np.isnan(self.outcome) & (self.label_end <= instant))
        known = rows.return_end <= instant
        return replace(rows, forward_return=np.where(known, rows.forward_return, np.nan))

    def latest_last(self) -> ScoredRows:
        """Return the rows in the order in which their outcomes became known."""
        return self.take(np.lexsort((self.known_at, self.label_end)))

    def prediction(self, classes: tuple[float, ...] | None) -> Prediction:
        """Return the forecasts as a prediction, its index the rows' positions."""
        probability = None if classes is None else self.probability
        return Prediction(pd.RangeIndex(len(self)), self.forecast, probability, classes, self.scale)

    @classmethod
    def joined(cls, parts: Sequence[ScoredRows]) -> ScoredRows:
        """Join parts in the order given."""
        return cls(
            *(np.concatenate([getattr(part, name) for part in parts]) for name in cls.__dataclass_fields__)
        )

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        *,
        forecast: FloatArray,
        baseline: FloatArray,
        probability: FloatArray | None = None,
    ) -> ScoredRows:
        """Set forecasts beside a dataset's outcomes."""
        unknown = np.full(len(dataset), np.nan)
        return cls(
            dataset.known_at,
            dataset.usable_from,
            forecast,
            dataset.target,
            baseline,
            unknown if dataset.scale is None else dataset.scale,
            np.empty((len(dataset), 0)) if probability is None else probability,
            unknown if dataset.forward_return is None else dataset.forward_return,
            dataset.return_usable_from,
            dataset.symbol_codes,
        )
