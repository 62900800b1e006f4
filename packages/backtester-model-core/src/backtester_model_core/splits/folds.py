"""Purged k-fold cross-validation: every stretch of time is the test once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from backtester_model_core.exceptions import SplitError
from backtester_model_core.splits.spans import LabelSpans, check_embargo
from backtester_model_core.typing import IntArray, TimeArray


@dataclass(frozen=True)
class PurgedKFold:
    """Contiguous test folds; training rows on both sides, without those that overlap the fold.

    A row before the fold trains when its label is known by the fold's first decision. A row after it trains
    when it is known at or after the fold's last label end plus the embargo (López de Prado 2018, section 7.4).

    Attributes:
        n_folds: Number of folds.
        embargo: Sessions from the fold's last label end on that do not train, or a time span such as ``"5D"``.

    Raises:
        SplitError: When there are fewer than two folds, or the embargo is negative or cannot be read.
    """

    n_folds: int = 5
    embargo: int | str = 0

    def __post_init__(self) -> None:
        if self.n_folds < 2 or (isinstance(self.embargo, int) and self.embargo < 0):
            raise SplitError(
                f"{self.n_folds} folds with an embargo of {self.embargo} sessions cannot be made: at least two "
                "folds, and an embargo of zero or more."
            )
        check_embargo(self.embargo)

    def split(self, known_at: TimeArray, label_end: TimeArray) -> Iterator[tuple[IntArray, IntArray]]:
        """Yield (train_rows, test_rows) for each fold that holds a label; rows without one are in neither.

        Raises:
            SplitError: When there are fewer sessions than folds.
        """
        spans = LabelSpans.of(known_at, label_end)
        n_sessions = len(spans.sessions)
        if n_sessions < self.n_folds:
            raise SplitError(f"{n_sessions} sessions cannot make {self.n_folds} folds. Lower cv_folds.")
        for first, stop in pairwise(session_edges(n_sessions, self.n_folds)):
            test = spans.between(first, stop)
            if test.any():
                yield spans.purged_rows(test, embargo=self.embargo), np.flatnonzero(test)


def session_edges(n_sessions: int, n_parts: int) -> list[int]:
    """Return where each of ``n_parts`` stretches of about equal length begins, and where the last one stops."""
    return [part * n_sessions // n_parts for part in range(n_parts + 1)]
