"""What rows know and when, counted in sessions; which of them conflict with a test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd

from backtester_model_core.config.groups import SPAN
from backtester_model_core.exceptions import SplitError
from backtester_model_core.typing import BoolArray, IntArray, TimeArray


@dataclass(frozen=True, eq=False)
class LabelSpans:
    """Rows of any number of symbols by the sessions that their labels span.

    A session is a distinct instant of ``known_at`` over all symbols. Row *j* is known before row *i*'s label
    ends exactly when ``start[j] < stop[i]``, so conflicts are found among whole numbers.

    Attributes:
        sessions: (n_sessions,) distinct instants in time order.
        label_end: (n,) instant at which each row's label is known; NaT where it is not.
        start: (n,) session at which each row is known.
        stop: (n,) first session at or after its label's end; ``n_sessions`` where there is none.
        is_labelled: (n,) whether the label is known at all.
    """

    sessions: TimeArray
    label_end: TimeArray
    start: IntArray
    stop: IntArray
    is_labelled: BoolArray

    @classmethod
    def of(cls, known_at: TimeArray, label_end: TimeArray) -> Self:
        """Count the sessions between each row and its label's end.

        Raises:
            SplitError: When the arrays differ in length, a row is never known, or a label ends before its row.
        """
        if len(known_at) != len(label_end):
            raise SplitError(
                f"known_at has {len(known_at)} rows and label_end {len(label_end)}. Pass one entry for each row."
            )
        if np.isnat(known_at).any():
            row = int(np.flatnonzero(np.isnat(known_at))[0])
            raise SplitError(f"Row {row} has no known_at, so it belongs to no time. Leave it out.")
        if (label_end < known_at).any():
            row = int(np.flatnonzero(label_end < known_at)[0])
            raise SplitError(
                f"The label of row {row}, known at {known_at[row]}, ends before, at {label_end[row]}. "
                "Pass the instant at which each label is known, or NaT."
            )
        sessions, start = np.unique(known_at, return_inverse=True)
        stop = np.searchsorted(sessions, label_end)
        return cls(sessions, label_end, start.astype(np.int64), stop.astype(np.int64), ~np.isnat(label_end))

    def between(self, first: int, stop: int) -> BoolArray:
        """Mark the labelled rows of the sessions from ``first`` to before ``stop``."""
        return self.is_labelled & (self.start >= first) & (self.start < stop)

    def purged_rows(self, test: BoolArray, *, embargo: int | str = 0) -> IntArray:
        """Return the labelled rows outside the test that share no information with any row of it.

        Row *j* conflicts with test row *i* when ``known_at[j] < label_end[i] + embargo`` and
        ``known_at[i] < label_end[j]``. Each test row counts by itself, so a test made of several stretches
        purges around each of them and never all that lies between.

        Args:
            test: (n,) the rows that are held back.
            embargo: Sessions after a test row's label end, or a time span such as ``"5D"``, whose rows do not
                train either.
        """
        reach = np.zeros(len(self.sessions) + 1, dtype=np.int64)
        # reach[k]: the session up to which the test rows of the sessions before k forbid training
        np.maximum.at(reach, self.start[test] + 1, self._embargo_stop(embargo)[test])
        conflicts = np.maximum.accumulate(reach)[self.stop] > self.start
        return np.flatnonzero(self.is_labelled & ~test & ~conflicts)

    def _embargo_stop(self, embargo: int | str) -> IntArray:
        """Return the first session after each row's label end that its embargo leaves free."""
        if isinstance(embargo, str):
            return np.searchsorted(self.sessions, self.label_end + time_span(embargo))
        return self.stop + embargo


def check_embargo(embargo: int | str) -> None:
    """Refuse an embargo that is neither a number of sessions nor a time span.

    Raises:
        SplitError: When it is negative or cannot be read.
    """
    if isinstance(embargo, str):
        time_span(embargo)
    elif embargo < 0:
        raise SplitError(f"An embargo of {embargo} sessions cannot be kept: an embargo is zero or more.")


def time_span(text: str) -> np.timedelta64:
    """Read a time span: a number and a unit that always means the same length.

    Raises:
        SplitError: When the text is anything else.
    """
    if not SPAN.fullmatch(text):
        raise SplitError(
            f"{text!r} is not a time span. Write a number and a unit, W, D, h, min or s, such as '365D' or '12h'."
        )
    return np.timedelta64(pd.Timedelta(text).value, "ns")
