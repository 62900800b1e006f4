"""Combinatorial purged cross-validation: many backtest paths out of one history.

López de Prado (2018), *Advances in Financial Machine Learning*, chapter 12.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np

from backtester_model_core.exceptions import SplitError
from backtester_model_core.splits.folds import session_edges
from backtester_model_core.splits.spans import LabelSpans, check_embargo
from backtester_model_core.typing import FloatArray, IntArray, TimeArray

MAX_SPLITS = 10_000


@dataclass(frozen=True)
class CombinatorialPurgedCV:
    """Every choice of ``n_test_groups`` out of ``n_groups`` stretches of time is the test once.

    Each group is foreseen by as many models as there are paths, so their forecasts join into that many whole
    histories, each out of sample throughout (López de Prado 2018, section 12.4). Training rows are purged around
    every test row by itself: between two test groups, only those that conflict with one of them are dropped.

    Attributes:
        n_groups: Stretches of about equal length, in sessions (N in the book).
        n_test_groups: How many of them are held back together (k in the book).
        embargo: Sessions after a test row's label end that do not train, or a time span such as ``"5D"``.

    Raises:
        SplitError: When no group would be left to train on, when there would be more than 10,000 trainings, or
            when the embargo is negative or cannot be read.
    """

    n_groups: int = 6
    n_test_groups: int = 2
    embargo: int | str = 0

    def __post_init__(self) -> None:
        if not 1 <= self.n_test_groups < self.n_groups:
            raise SplitError(
                f"{self.n_test_groups} of {self.n_groups} groups cannot be held back: at least one, and at least one "
                "left to train on."
            )
        if self.n_splits > MAX_SPLITS:
            raise SplitError(
                f"{self.n_test_groups} of {self.n_groups} groups can be chosen in {self.n_splits:,} ways, each a "
                f"training; at most {MAX_SPLITS:,} are made. Lower n_groups or n_test_groups."
            )
        check_embargo(self.embargo)

    @property
    def n_splits(self) -> int:
        """Number of trainings: the ways to choose the test groups, C(N, k)."""
        return comb(self.n_groups, self.n_test_groups)

    @property
    def n_paths(self) -> int:
        """Number of whole out-of-sample histories, φ(N, k) = C(N, k) · k / N."""
        return comb(self.n_groups - 1, self.n_test_groups - 1)

    @property
    def test_groups(self) -> tuple[tuple[int, ...], ...]:
        """The groups that each split holds back, in the order of the splits."""
        return tuple(combinations(range(self.n_groups), self.n_test_groups))

    @property
    def path_splits(self) -> IntArray:
        """The split that foresees each group in each path, (n_paths, n_groups).

        Path *p* takes a group's forecasts from the *p*-th split that holds the group back, as figure 12.2 of the
        book numbers them.
        """
        holding = [
            [split for split, groups in enumerate(self.test_groups) if group in groups]
            for group in range(self.n_groups)
        ]
        return np.array(holding, dtype=np.int64).T

    def split(self, known_at: TimeArray, label_end: TimeArray) -> Iterator[tuple[IntArray, IntArray]]:
        """Yield (train_rows, test_rows) for each choice of groups; rows without a label are in neither.

        Raises:
            SplitError: When a group would hold no row with a label.
        """
        spans = LabelSpans.of(known_at, label_end)
        group = self._group_of(spans)
        for groups in self.test_groups:
            test = spans.is_labelled & np.isin(group, groups)
            yield spans.purged_rows(test, embargo=self.embargo), np.flatnonzero(test)

    def join_paths(
        self, forecasts: Sequence[FloatArray], *, known_at: TimeArray, label_end: TimeArray
    ) -> FloatArray:
        """Join the forecasts of all splits into whole histories, (n_paths, n); NaN for rows without a label.

        Args:
            forecasts: For each split, in order, one forecast for each of its test rows.
            known_at: (n,) as given to :meth:`split`.
            label_end: (n,) as given to :meth:`split`.

        Raises:
            SplitError: When the forecasts are not one for each test row of each split.
        """
        spans = LabelSpans.of(known_at, label_end)
        group = self._group_of(spans)
        if len(forecasts) != self.n_splits:
            raise SplitError(
                f"{len(forecasts)} forecasts were given for {self.n_splits} splits. Pass one each."
            )
        paths = np.full((self.n_paths, len(group)), np.nan)
        path_splits = self.path_splits
        for number, (groups, values) in enumerate(zip(self.test_groups, forecasts, strict=True)):
            rows = np.flatnonzero(spans.is_labelled & np.isin(group, groups))
            if len(values) != len(rows):
                raise SplitError(
                    f"Split {number} has {len(rows)} test rows and {len(values)} forecasts. Pass one for each row."
                )
            path = np.argmax(path_splits == number, axis=0)
            paths[path[group[rows]], rows] = values
        return paths

    def _group_of(self, spans: LabelSpans) -> IntArray:
        """Return the group of each row, (n,)."""
        n_sessions = len(spans.sessions)
        edges = session_edges(n_sessions, self.n_groups)
        group = np.searchsorted(edges, spans.start, side="right") - 1
        n_labels = np.bincount(group[spans.is_labelled], minlength=self.n_groups)
        if not n_labels.all():
            empty = int(np.flatnonzero(n_labels == 0)[0])
            raise SplitError(
                f"Of {n_sessions} sessions in {self.n_groups} groups, group {empty} holds no row with a label. "
                "Lower n_groups, or leave out stretches without labels."
            )
        return group
