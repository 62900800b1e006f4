"""Which rows a model may learn from and which it serves: walk-forward windows and purged folds.

A label's information interval is ``(known_at, label_end]``. A training row conflicts with a test row when
their intervals overlap; purging removes exactly the rows that conflict (López de Prado 2018, ch. 7).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from backtester_model_core.config import ValidationConfig
from backtester_model_core.exceptions import SplitError
from backtester_model_core.typing import BoolArray, IntArray, TimeArray


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
    """

    number: int
    fit_at: np.datetime64
    serves_from: np.datetime64
    serves_to: np.datetime64
    train_rows: IntArray
    test_rows: IntArray


def resolve_train_size(
    validation: ValidationConfig, *, train_test_split: float, n_sessions: int
) -> int | str:
    """Return the length of the first training window: as configured, or the split's share of the sessions."""
    if validation.train_size is not None:
        return validation.train_size
    return max(1, _share(n_sessions, train_test_split))


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
    first = _advance(sessions, -1, train_size)
    if first >= len(sessions) - 1:
        raise SplitError(
            f"{len(sessions)} sessions are too few for a first training window of {train_size} and a session to "
            "serve. Bring more bars, or lower validation.train_size or train_test_split."
        )
    fits = [first]
    while (following := _advance(sessions, fits[-1], validation.test_size)) < len(sessions) - 1:
        fits.append(following)
    served = _served_from(sessions, fits, validation.retrain_delay)

    windows: list[Window] = []
    for number, (fit, start) in enumerate(zip(fits, served, strict=True)):
        stop = served[number + 1] if number + 1 < len(served) else len(sessions)
        if start >= stop:
            continue
        fit_at = sessions[fit]
        learnable = ~np.isnat(label_end) & (label_end <= fit_at) & (known_at <= fit_at)
        if validation.scheme == "rolling":
            learnable &= known_at > _rolling_start(sessions, fit, train_size)
        test = (known_at >= sessions[start]) & (known_at <= sessions[stop - 1])
        windows.append(
            Window(
                len(windows),
                fit_at,
                sessions[start],
                sessions[stop - 1],
                np.flatnonzero(learnable),
                np.flatnonzero(test),
            )
        )
    if not windows:
        raise SplitError(
            f"No session is left to serve when a model waits {validation.retrain_delay} after its fit. "
            "Bring more bars, or lower validation.retrain_delay."
        )
    return windows


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
    n_tail = min(_share(len(sessions), share), len(sessions) - 1)
    if n_tail <= 0:
        return np.arange(len(known_at)), np.array([], dtype=np.int64)
    tail_start = sessions[-n_tail]
    head = (known_at < tail_start) & (label_end <= sessions[-n_tail - 1])
    return np.flatnonzero(head), np.flatnonzero(known_at >= tail_start)


@dataclass(frozen=True)
class PurgedKFold:
    """Contiguous test folds; training rows on both sides, without those that overlap the fold.

    A row before the fold trains when its label is known by the fold's first decision. A row after it trains
    when it is known at or after the fold's last label end plus the embargo (López de Prado 2018, section 7.4).

    Attributes:
        n_folds: Number of folds.
        embargo: Sessions from the fold's last label end on that do not train.

    Raises:
        SplitError: When there are fewer than two folds, or the embargo is negative.
    """

    n_folds: int = 5
    embargo: int = 0

    def __post_init__(self) -> None:
        if self.n_folds < 2 or self.embargo < 0:
            raise SplitError(
                f"{self.n_folds} folds with an embargo of {self.embargo} sessions cannot be made: at least two "
                "folds, and an embargo of zero or more."
            )

    def split(self, known_at: TimeArray, label_end: TimeArray) -> Iterator[tuple[IntArray, IntArray]]:
        """Yield (train_rows, test_rows) for each fold; rows without a label are in neither.

        Raises:
            SplitError: When there are fewer sessions than folds.
        """
        sessions = np.unique(known_at)
        if len(sessions) < self.n_folds:
            raise SplitError(f"{len(sessions)} sessions cannot make {self.n_folds} folds. Lower cv_folds.")
        labelled: BoolArray = ~np.isnat(label_end)
        edges = np.linspace(0, len(sessions), self.n_folds + 1).astype(np.int64)
        for start, stop in pairwise(edges.tolist()):
            test = labelled & (known_at >= sessions[start]) & (known_at <= sessions[stop - 1])
            if not test.any():
                continue
            last_end = np.searchsorted(sessions, label_end[test].max()) + self.embargo
            before = label_end <= known_at[test].min()
            after = (
                known_at >= sessions[last_end]
                if last_end < len(sessions)
                else np.zeros(len(test), dtype=bool)
            )
            yield np.flatnonzero(labelled & ~test & (before | after)), np.flatnonzero(test)


def _share(n_sessions: int, share: float) -> int:
    """Return the whole sessions in a share, as written: 0.29 of 100 sessions is 29, though the product is below."""
    return int(round(n_sessions * share, 9))


def _advance(sessions: TimeArray, position: int, size: int | str) -> int:
    """Return the last session of a stretch of the given size that begins after ``position``."""
    if isinstance(size, int):
        return position + size
    start = sessions[min(position + 1, len(sessions) - 1)]
    stop = start + np.timedelta64(pd.Timedelta(size).value, "ns")
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


def _served_from(sessions: TimeArray, fits: list[int], delay: str | None) -> list[int]:
    """Return the first session that each fit serves, at least ``delay`` after it."""
    wait = np.timedelta64(pd.Timedelta(delay or 0).value, "ns")
    ready = [int(np.searchsorted(sessions, sessions[fit] + wait, side="left")) for fit in fits]
    return [max(fit + 1, start) for fit, start in zip(fits, ready, strict=True)]
