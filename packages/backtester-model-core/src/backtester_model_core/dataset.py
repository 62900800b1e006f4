"""The values that travel between the steps: Dataset, Prediction and the report of a training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import pandas as pd

from backtester_model_core.bars.panel import symbol_codes, utc_stamps
from backtester_model_core.exceptions import PredictionError, TrainingError
from backtester_model_core.history import History
from backtester_model_core.typing import BoolArray, FloatArray, IntArray, TimeArray

OPTIONAL_COLUMNS = ("forward_return", "scale", "weight", "settled_at", "span_prices", "return_end")
"""What a dataset need not have for its rows."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Features and labels of bars, one row for each bar, in the bars' own row order.

    Attributes:
        values: (n, p) features, C-contiguous; NaN in warm-up.
        columns: Names of the p features.
        index: The bars' index: timestamps, or (timestamp, symbol).
        known_at: (n,) UTC instant at which the row is known.
        symbol_codes: (n,) position of the row's symbol in ``symbols``.
        symbols: Symbol names; ``("",)`` for one symbol's plain frame.
        target: (n,) label: a class, or a number; NaN where it is unknown.
        label_end: (n,) UTC instant at which the label is known; NaT where it is not.
        classes: Classes in their fixed order, or ``None`` for regression.
        forward_return: (n,) return of the position that a signal at the row would open, NaN where unknown;
            ``None`` when the dataset was built from features alone.
        scale: (n,) volatility of the forward return as known at the row; ``None`` when it was not computed.
        weight: (n,) sample weights, or ``None`` for equal ones.
        settled_at: (n,) UTC instant from which the label may be used, NaT before; ``None`` when it is the
            label's end. A triple barrier's is the close of its last bar, however early the touch.
        span_prices: (n, 2) close at the row and the last one known at its label end; ``None`` when no weight
            needs them.
        return_end: (n,) UTC instant at which the forward return is known, NaT where it is not; ``None`` when that is
            never later than the label's end.
        history: What came before each row; ``None`` for models that look at one row alone.
        notes: What the label counted and a reader should know.

    Raises:
        TrainingError: When the columns do not belong to the same rows.
    """

    values: FloatArray
    columns: tuple[str, ...]
    index: pd.Index
    known_at: TimeArray
    symbol_codes: IntArray
    symbols: tuple[str, ...]
    target: FloatArray
    label_end: TimeArray
    classes: tuple[float, ...] | None
    forward_return: FloatArray | None = None
    scale: FloatArray | None = None
    weight: FloatArray | None = None
    settled_at: TimeArray | None = None
    span_prices: FloatArray | None = None
    return_end: TimeArray | None = None
    history: History | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        lengths = {name: len(column) for name, column in self._row_columns().items()}
        if len(set(lengths.values())) > 1 or self.values.shape[1:] != (len(self.columns),):
            given = ", ".join(f"{name} {length}" for name, length in lengths.items())
            raise TrainingError(
                f"A dataset's columns do not belong to the same rows: {given}; its values have shape "
                f"{self.values.shape} for {len(self.columns)} names. Give one entry for each row and column."
            )

    def __len__(self) -> int:
        return len(self.values)

    @classmethod
    def of_frames(
        cls,
        features: pd.DataFrame,
        target: pd.Series[float],
        *,
        label_end: pd.Series[pd.Timestamp] | None,
        weight: pd.Series[float] | None,
        classes: tuple[float, ...] | None,
    ) -> Self:
        """Build a dataset from a caller's frames, which share one index in order of time.

        Raises:
            TrainingError: When they do not.
        """
        index = features.index
        for name, series in (("target", target), ("label_end", label_end), ("weight", weight)):
            if series is not None and not series.index.equals(index):
                raise TrainingError(
                    f"The index of {name} is not the features' index. Align them with .reindex."
                )
        known_at = utc_stamps(index)
        ends = np.full(len(index), np.datetime64("NaT"), dtype="datetime64[ns]")
        if label_end is not None:
            ends = utc_stamps(pd.DatetimeIndex(label_end))
        if not (np.diff(known_at) >= np.timedelta64(0)).all():
            raise TrainingError("The training rows are not in order of time. Sort them by timestamp.")
        codes, symbols = symbol_codes(index)
        return cls(
            values=np.ascontiguousarray(features.to_numpy(dtype=np.float64)),
            columns=tuple(str(name) for name in features.columns),
            index=index,
            known_at=known_at,
            symbol_codes=codes,
            symbols=symbols,
            target=np.asarray(target, dtype=np.float64),
            label_end=ends,
            classes=classes,
            weight=None if weight is None else np.asarray(weight, dtype=np.float64),
        )

    @property
    def features(self) -> pd.DataFrame:
        """The features as a frame on the bars' index; it shares the dataset's memory."""
        return pd.DataFrame(self.values, index=self.index, columns=list(self.columns), copy=False)

    @property
    def target_series(self) -> pd.Series[float]:
        """The labels as a series on the bars' index."""
        return pd.Series(self.target, index=self.index, name="target")

    @property
    def label_end_series(self) -> pd.Series[pd.Timestamp]:
        """The instants at which the labels are known, as a series on the bars' index."""
        return pd.Series(self.label_end, index=self.index, name="label_end")

    @property
    def is_complete(self) -> BoolArray:
        """(n,) whether every feature of the row, and of those it looks back on, is a finite number."""
        if self.history is not None:
            return self.history.is_known
        return np.asarray(np.isfinite(self.values).all(axis=1), dtype=np.bool_)

    @property
    def is_labelled(self) -> BoolArray:
        """(n,) whether the row's label is known at all."""
        return np.asarray(~np.isnan(self.target) & ~np.isnat(self.label_end), dtype=np.bool_)

    @property
    def usable_from(self) -> TimeArray:
        """(n,) UTC instant from which the row's label may be learned from or judged by; NaT where it is not known."""
        return self.label_end if self.settled_at is None else self.settled_at

    @property
    def return_usable_from(self) -> TimeArray:
        """(n,) UTC instant from which the row's forward return may be used; NaT where it is not known."""
        return self.usable_from if self.return_end is None else np.maximum(self.usable_from, self.return_end)

    def take(self, rows: IntArray | BoolArray) -> Self:
        """Return the given rows, as positions or as a mask."""
        history = None if self.history is None else self.history.take(rows)
        columns = {name: column[rows] for name, column in self._row_columns().items()}
        return replace(self, **columns, history=history)

    def with_history(self, n_context: int) -> Self:
        """Remember the ``n_context`` rows before each row, so that taking some rows does not lose them."""
        if n_context == 0 or self.history is not None:
            return self
        history = History.of(self.values, self.index, self.symbol_codes, n_context=n_context)
        return replace(self, history=history)

    def _row_columns(self) -> dict[str, Any]:
        """Return everything that has one entry for each row, by attribute."""
        names = ("values", "index", "known_at", "symbol_codes", "target", "label_end")
        optional = [name for name in OPTIONAL_COLUMNS if getattr(self, name) is not None]
        return {name: getattr(self, name) for name in (*names, *optional)}


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a model foresees, one row for each feature row.

    Attributes:
        index: The features' index.
        expected: (n,) the regression value, or the sum of class times probability; NaN where the features
            are incomplete.
        probability: (n, k) probability of each class in the order of ``classes``; ``None`` for regression.
        classes: Classes in their fixed order; ``None`` for regression.
        scale: (n,) volatility of what is foreseen, as known at the row; ``None`` when unknown.
        held: The side that each symbol was left with before the first row, 1 or -1; a symbol that is not named
            holds none. Only a policy that keeps sides reads it.

    Raises:
        PredictionError: When the columns do not belong to the same rows, or the probabilities to the classes.
    """

    index: pd.Index
    expected: FloatArray
    probability: FloatArray | None = None
    classes: tuple[float, ...] | None = None
    scale: FloatArray | None = None
    held: Mapping[str, int] | None = None

    def __post_init__(self) -> None:
        n = len(self.index)
        columns = {"expected": self.expected, "probability": self.probability, "scale": self.scale}
        shapes = {name: None if column is None else column.shape for name, column in columns.items()}
        wanted = {
            "expected": (n,),
            "probability": None if self.classes is None else (n, len(self.classes)),
            "scale": None if self.scale is None else (n,),
        }
        if shapes != wanted:
            raise PredictionError(
                f"A prediction of {n} rows with the classes {self.classes} has the shapes {shapes}. "
                "Give one entry for each row, and of probability one column for each class."
            )

    def __len__(self) -> int:
        return len(self.expected)

    @classmethod
    def blank(cls, index: pd.Index, classes: tuple[float, ...] | None) -> Self:
        """Return a prediction that says nothing on any row."""
        probability = None if classes is None else np.full((len(index), len(classes)), np.nan)
        return cls(index, np.full(len(index), np.nan), probability, classes)

    @property
    def frame(self) -> pd.DataFrame:
        """The prediction as a frame: ``expected``, and ``probability_<class>`` for a classifier."""
        columns: dict[str, FloatArray] = {"expected": self.expected}
        if self.probability is not None and self.classes is not None:
            for position, value in enumerate(self.classes):
                columns[f"probability_{value:g}"] = self.probability[:, position]
        return pd.DataFrame(columns, index=self.index)

    def take(self, rows: IntArray | BoolArray) -> Self:
        """Return the given rows, as positions or as a mask; what was held before the first is not known of them."""
        return replace(
            self,
            held=None,
            index=self.index[rows],
            expected=self.expected[rows],
            probability=None if self.probability is None else self.probability[rows],
            scale=None if self.scale is None else self.scale[rows],
        )


@dataclass(frozen=True)
class TrainReport:
    """What one training used and how it went.

    Attributes:
        n_rows: Rows that were learned from: complete features, known label.
        n_dropped: Rows that were offered but could not be learned from.
        n_validation: Rows held back to stop early; 0 when the adapter does not use any.
        columns: Features in the order the model was trained on.
        baseline: Mean of the target over the training rows: what a model without skill would say.
        class_share: Share of each class in the training rows; ``None`` for regression.
        trained_to: Latest label end among the rows learned from and those held back, as an ISO instant: what is
            foreseen of earlier rows is not out of sample. ``unknown`` where labels have no end.
        seed: Seed that was used.
        notes: What the adapter wants known: a class that was missing, a device, a convergence warning.
    """

    n_rows: int
    n_dropped: int
    n_validation: int
    columns: tuple[str, ...]
    baseline: float
    class_share: tuple[float, ...] | None
    trained_to: str
    seed: int
    notes: tuple[str, ...] = field(default=())

    def extended(self, rows: Dataset) -> Self:
        """Return the report of a training that went on with further learnable rows."""
        n_rows = self.n_rows + len(rows)
        shares = (self.n_rows / n_rows, len(rows) / n_rows)
        ends = [end for end in (self.trained_to, latest_label_end(rows)) if end != "unknown"]

        def mixed(before: float, value: FloatArray) -> float:
            return shares[0] * before + shares[1] * float(np.average(value, weights=rows.weight))

        class_share = None
        if self.class_share is not None and rows.classes is not None:
            pairs = zip(self.class_share, rows.classes, strict=True)
            class_share = tuple(mixed(share, rows.target == value) for share, value in pairs)
        return replace(
            self,
            n_rows=n_rows,
            baseline=mixed(self.baseline, rows.target),
            class_share=class_share,
            trained_to=max(ends, key=pd.Timestamp, default="unknown"),
        )

    def as_dict(self) -> Mapping[str, object]:
        """Return the report as plain data, for a file."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def latest_label_end(*datasets: Dataset) -> str:
    """Return when the latest label of all these rows is known, as an ISO instant; ``unknown`` where none has an end."""
    ends = np.concatenate([rows.label_end for rows in datasets])
    known = ends[~np.isnat(ends)]
    return f"{known.max()}Z" if len(known) else "unknown"
