"""Splitters as scikit-learn's tools call them: ``split(X, y, groups)``, with times that are known beforehand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd

from backtester_model_core.bars.panel import utc_stamps
from backtester_model_core.exceptions import SplitError
from backtester_model_core.typing import IntArray, TimeArray


class Splitter(Protocol):
    """What deals rows into training and test by their times alone."""

    def split(self, known_at: TimeArray, label_end: TimeArray) -> Iterator[tuple[IntArray, IntArray]]:
        """Yield (train_rows, test_rows)."""
        ...


@dataclass(frozen=True, eq=False)
class BoundSplitter:
    """A splitter with the times of its rows, to pass as ``cv`` to scikit-learn's tools.

    The rows are those of ``label_end``. Where it is a Series, its index names them and tells when each is known, and
    ``X`` may be a frame with some of them in any order, as it is in a search inside a cross-validation. Otherwise
    ``X`` has all rows, in the same order. Rows without a label are in no split.

    Attributes:
        splitter: What deals the rows.
        label_end: (n,) instant at which each label is known; NaT where it is not.
        known_at: (n,) instant at which each row is known; by default the timestamps of the Series' index, which are
            right only where bars are stamped at their close.

    Raises:
        SplitError: When nothing tells when the rows are known, or not of every row.
    """

    splitter: Splitter
    label_end: pd.Series[pd.Timestamp] | TimeArray
    known_at: TimeArray | pd.Series[pd.Timestamp] | pd.DatetimeIndex | None = None

    def __post_init__(self) -> None:
        if len(self._stamps()) != len(self.label_end):
            raise SplitError(
                f"known_at has {len(self._stamps())} rows and label_end {len(self.label_end)}. Pass one entry for "
                "each row."
            )

    def split(self, X: Any = None, y: Any = None, groups: Any = None) -> Iterator[tuple[IntArray, IntArray]]:  # noqa: ARG002
        """Yield the positions in ``X`` of each split's training and test rows; ``y`` and ``groups`` do not matter.

        Raises:
            SplitError: When rows of ``X`` are unknown or ambiguous, or no row is left to train on.
        """
        known_at, label_end = self._times_of(X)
        for number, (train_rows, test_rows) in enumerate(self.splitter.split(known_at, label_end)):
            if len(train_rows) == 0:
                raise SplitError(
                    f"No row is left to train on in split {number}: the labels of all others overlap its test. Make "
                    "fewer splits, shorten the embargo, or bring more rows."
                )
            yield train_rows, test_rows

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:  # noqa: ARG002
        """Return the number of splits of ``X``; of all rows where it is not given."""
        return sum(1 for _ in self.splitter.split(*self._times_of(X)))

    @property
    def _row_names(self) -> pd.Index[Any] | None:
        return self.label_end.index if isinstance(self.label_end, pd.Series) else None

    def _stamps(self) -> pd.Index[Any]:
        """Return the instants at which the rows are known, as given or as the rows are named."""
        if self.known_at is not None:
            return pd.DatetimeIndex(self.known_at)
        names = self._row_names
        if isinstance(names, pd.DatetimeIndex):
            return names
        if isinstance(names, pd.MultiIndex) and "timestamp" in names.names:
            return names
        raise SplitError(
            "Nothing tells when the rows are known. Pass known_at, or a Series of label ends whose index is "
            "timestamps, or (timestamp, symbol)."
        )

    def _times_of(self, X: Any) -> tuple[TimeArray, TimeArray]:
        """Return (known_at, label_end) of the rows of ``X``."""
        rows = self._rows_of(X)
        return utc_stamps(self._stamps())[rows], utc_stamps(pd.DatetimeIndex(self.label_end))[rows]

    def _rows_of(self, X: Any) -> IntArray | slice:
        """Return which rows ``X`` has: those that its index names, or all of them."""
        names = self._row_names
        given = X.index if names is not None and isinstance(X, pd.DataFrame | pd.Series) else None
        if names is None or given is None:
            self._check_length(X)
            return slice(None)
        if given.equals(names):
            return slice(None)
        if not names.is_unique:
            raise SplitError(
                "The index of label_end names some rows twice, so the rows of X cannot be told apart. Index both by "
                "(timestamp, symbol)."
            )
        rows = np.asarray(names.get_indexer(given), dtype=np.int64)
        if (rows < 0).any():
            unknown = given[int(np.flatnonzero(rows < 0)[0])]
            raise SplitError(f"label_end has no row {unknown}, which X has. Pass the label ends of all rows.")
        return rows

    def _check_length(self, X: Any) -> None:
        if X is None:
            return
        n_given = X.shape[0] if hasattr(X, "shape") else len(X)
        if n_given != len(self.label_end):
            raise SplitError(
                f"X has {n_given} rows and label_end {len(self.label_end)}. To split some of the rows, pass X as a "
                "frame and label_end as a Series with the same kind of index."
            )
