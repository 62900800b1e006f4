"""One training part and one later test part."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from backtester_model_core.exceptions import SplitError
from backtester_model_core.splits.spans import LabelSpans, time_span
from backtester_model_core.splits.windows import share_of
from backtester_model_core.typing import IntArray, TimeArray


@dataclass(frozen=True)
class ChronologicalSplit:
    """One training on what was known by the last session before the test, and a test on all that follows.

    The training is fitted at that session: rows whose label is not known by then are in neither part.

    Attributes:
        test_size: Length of the test: a share of the sessions, a number of sessions, or a time span.

    Raises:
        SplitError: When the size is not positive, is a share of 1 or more, or cannot be read.
    """

    test_size: int | float | str = 0.2

    def __post_init__(self) -> None:
        size = self.test_size
        if isinstance(size, str):
            is_positive = bool(time_span(size) > np.timedelta64(0))
        else:
            is_positive = size >= 1 if isinstance(size, int) else 0 < size < 1
        if not is_positive:
            raise SplitError(
                f"A test of size {size} cannot be made. Name a share of the sessions between 0 and 1, a number of "
                "sessions, or a time span such as '365D'."
            )

    def split(self, known_at: TimeArray, label_end: TimeArray) -> Iterator[tuple[IntArray, IntArray]]:
        """Yield the one (train_rows, test_rows); rows without a label are in neither.

        Raises:
            SplitError: When the test leaves no session to train on, or holds no session.
        """
        spans = LabelSpans.of(known_at, label_end)
        n_sessions = len(spans.sessions)
        first = n_sessions - self._n_test_sessions(spans.sessions)
        if not 0 < first < n_sessions:
            raise SplitError(
                f"A test of size {self.test_size} cannot be made of {n_sessions} sessions: both parts need one."
            )
        is_known = spans.is_labelled & (label_end <= spans.sessions[first - 1])
        yield np.flatnonzero(is_known), np.flatnonzero(spans.between(first, n_sessions))

    def _n_test_sessions(self, sessions: TimeArray) -> int:
        size = self.test_size
        if isinstance(size, str):
            return int((sessions > sessions[-1] - time_span(size)).sum()) if len(sessions) else 0
        return size if isinstance(size, int) else share_of(len(sessions), size)


def purged_tail(known_at: TimeArray, label_end: TimeArray, *, share: float) -> tuple[IntArray, IntArray]:
    """Split rows into a head to learn from and the latest ``share`` of sessions, purged between them.

    The head is fitted at its last session: rows whose label is not known by then belong to neither part.

    Raises:
        SplitError: When the share is not in [0, 1).
    """
    if not 0 <= share < 1:
        raise SplitError(
            f"A share of {share:g} of the sessions cannot be held back. Name one from 0 to below 1."
        )
    sessions = np.unique(known_at)
    n_tail = min(share_of(len(sessions), share), len(sessions) - 1)
    if n_tail <= 0:
        return np.arange(len(known_at)), np.array([], dtype=np.int64)
    tail_start = sessions[-n_tail]
    head = (known_at < tail_start) & (label_end <= sessions[-n_tail - 1])
    return np.flatnonzero(head), np.flatnonzero(known_at >= tail_start)
