"""Walk-forward windows: train on the past, serve a block of decisions, move on, train again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from backtester_model_core.config import ValidationConfig
from backtester_model_core.exceptions import SplitError
from backtester_model_core.splits.spans import LabelSpans
from backtester_model_core.typing import IntArray, TimeArray


@dataclass(frozen=True, eq=False)
class Window:
    """One training and the block of decisions that it serves.

    Attributes:
        number: Position in the walk-forward, from 0.
        fit_at: Instant of the fit; every training label is known by then.
        serves_from: First decision time the model serves.
        serves_to: Last decision time the model serves.
        train_rows: Rows to learn from: known and labelled by ``fit_at``.
        test_rows: Rows to decide on.
        trained_at: Where a model that was fitted before goes on serving, the instant of its fit; ``fit_at`` is
            then that of the decision that it does. ``None`` where ``fit_at`` is the fit.
    """

    number: int
    fit_at: np.datetime64
    serves_from: np.datetime64
    serves_to: np.datetime64
    train_rows: IntArray
    test_rows: IntArray
    trained_at: np.datetime64 | None = None

    @property
    def model_from(self) -> np.datetime64:
        """Instant at which the model that serves was fitted."""
        return self.fit_at if self.trained_at is None else self.trained_at


def resolve_train_size(
    validation: ValidationConfig, *, train_test_split: float, n_sessions: int
) -> int | str:
    """Return the length of the first training window: as configured, or the split's share of the sessions."""
    if validation.train_size is not None:
        return validation.train_size
    return max(1, share_of(n_sessions, train_test_split))


def walk_forward_windows(
    known_at: TimeArray,
    label_end: TimeArray,
    *,
    validation: ValidationConfig,
    train_test_split: float = 0.8,
) -> list[Window]:
    """Move a training window and the block it serves through time.

    A model is fitted at the close of a session ``b``, on rows whose ``label_end`` is not later, and serves from
    the first session after ``b`` that is at least ``retrain_delay`` later, until the next model does. Windows
    count sessions: the distinct instants of ``known_at`` over all symbols.

    Args:
        known_at: (n,) instant at which each row is known.
        label_end: (n,) instant at which its label is known; NaT where it is not.
        validation: Scheme and sizes.
        train_test_split: Share of the sessions in the first training window, where ``train_size`` is not given.

    Raises:
        SplitError: When the bars are too few for one window that serves a session.
    """
    sessions = np.unique(known_at)
    train_size = resolve_train_size(validation, train_test_split=train_test_split, n_sessions=len(sessions))
    fits = [first_fit(sessions, train_size)]
    while (following := advance(sessions, fits[-1], validation.test_size)) < len(sessions) - 1:
        fits.append(following)
    served = [served_from(sessions, fit, validation.retrain_delay) for fit in fits]

    windows: list[Window] = []
    for number, (fit, start) in enumerate(zip(fits, served, strict=True)):
        stop = served[number + 1] if number + 1 < len(served) else len(sessions)
        if start >= stop:
            continue
        last = train_size if validation.scheme == "rolling" else None
        train = rows_to_learn(known_at, label_end, sessions=sessions, fit=fit, last=last)
        test = np.flatnonzero((known_at >= sessions[start]) & (known_at <= sessions[stop - 1]))
        first, final = sessions[start], sessions[stop - 1]
        windows.append(Window(len(windows), sessions[fit], first, final, train, test))
    check_any_served(windows, validation)
    return windows


def first_fit(sessions: TimeArray, train_size: int | str) -> int:
    """Return the session of the first fit, after which at least one is left to serve.

    Raises:
        SplitError: When there is none.
    """
    first = advance(sessions, -1, train_size) if len(sessions) else 0
    if first >= len(sessions) - 1:
        raise SplitError(
            f"{len(sessions)} sessions are too few for a first training window of {train_size} and a session to "
            "serve. Bring more bars, or lower validation.train_size or train_test_split."
        )
    return first


def rows_to_learn(
    known_at: TimeArray,
    label_end: TimeArray,
    *,
    sessions: TimeArray,
    fit: int,
    last: int | str | None = None,
) -> IntArray:
    """Return the rows that are known and labelled by the close of session ``fit``, of the ``last`` ones only."""
    fit_at = sessions[fit]
    learnable = ~np.isnat(label_end) & (label_end <= fit_at) & (known_at <= fit_at)
    if last is not None:
        learnable &= known_at > _rolling_start(sessions, fit, last)
    return np.flatnonzero(learnable)


def served_from(sessions: TimeArray, fit: int, delay: str | None) -> int:
    """Return the first session after a fit that is at least ``delay`` later; as many as there are where none is."""
    wait = np.timedelta64(pd.Timedelta(delay or 0).value, "ns")
    return max(fit + 1, int(np.searchsorted(sessions, sessions[fit] + wait, side="left")))


def check_any_served(windows: list[Window], validation: ValidationConfig) -> None:
    """Refuse a walk-forward that serves nothing.

    Raises:
        SplitError: When there is no window.
    """
    if not windows:
        raise SplitError(
            f"No session is left to serve when a model waits {validation.retrain_delay} after its fit. "
            "Bring more bars, or lower validation.retrain_delay."
        )


@dataclass(frozen=True)
class WalkForwardSplit:
    """The windows of :func:`walk_forward_windows` as pairs of rows, for what asks for folds.

    Attributes:
        validation: Scheme and sizes.
        train_test_split: Share of the sessions in the first training window, where ``train_size`` is not given.
    """

    validation: ValidationConfig = field(default_factory=ValidationConfig)
    train_test_split: float = 0.8

    def split(self, known_at: TimeArray, label_end: TimeArray) -> Iterator[tuple[IntArray, IntArray]]:
        """Yield (train_rows, test_rows) for each window that serves a label; rows without one are in neither.

        Raises:
            SplitError: When the bars are too few for one window that serves a session.
        """
        spans = LabelSpans.of(known_at, label_end)
        for window in walk_forward_windows(
            known_at, label_end, validation=self.validation, train_test_split=self.train_test_split
        ):
            test_rows = window.test_rows[spans.is_labelled[window.test_rows]]
            if len(test_rows):
                yield window.train_rows, test_rows


def share_of(n_sessions: int, share: float) -> int:
    """Return the whole sessions in a share, as written: 0.29 of 100 sessions is 29, though the product is below."""
    return int(round(n_sessions * share, 9))


def advance(sessions: TimeArray, position: int, size: int | str) -> int:
    """Return the last session of a stretch of the given size that begins after ``position``."""
    if isinstance(size, int):
        return position + size
    stop = sessions[position + 1] + np.timedelta64(pd.Timedelta(size).value, "ns")
    return max(int(np.searchsorted(sessions, stop, side="left")) - 1, position + 1)


def _rolling_start(sessions: TimeArray, fit: int, size: int | str) -> np.datetime64:
    """Return the instant after which a rolling window's training rows begin."""
    before_all = sessions[0] - np.timedelta64(1, "ns")
    start: np.datetime64 = before_all
    if isinstance(size, str):
        start = sessions[fit] - np.timedelta64(pd.Timedelta(size).value, "ns")
    elif fit >= size:
        start = sessions[fit - size]
    return max(start, before_all)
