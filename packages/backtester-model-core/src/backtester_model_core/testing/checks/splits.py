"""The structural audit of folds and windows: no training label overlaps what it serves."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from backtester_model_core.splits import Window
from backtester_model_core.testing.leak import Leak
from backtester_model_core.typing import IntArray, TimeArray

Fold = tuple[IntArray, IntArray]
"""Training rows and test rows."""


def find_fold_leaks(
    folds: Iterable[Fold], known_at: TimeArray, label_end: TimeArray, *, embargo: int = 0
) -> list[Leak]:
    """Compare every training row's information interval with every test row's, across all symbols (T5).

    Row ``j`` is known at ``a_j`` and its label at ``e_j``. Training row ``j`` conflicts with test row ``i``
    when ``a_j < e_i + E`` and ``a_i < e_j`` (López de Prado 2018, section 7.4.1): its label must have ended by
    the test row's decision, or it must begin after the test label's end and the embargo. A test row without a
    label is open-ended. Also finds rows in both parts, and training rows without a known label. It trusts
    ``label_end``, which T4 proves, and cannot find what else the training saw. Exact, in n·log n for each fold.

    Args:
        folds: (training rows, test rows) as positions.
        known_at: (n,) instant at which each row is known.
        label_end: (n,) instant at which its label is known; NaT where it is not.
        embargo: Sessions after a test label's end in which no row may train.
    """
    sessions = np.unique(known_at)
    begins = np.searchsorted(sessions, known_at)
    far = len(sessions) + embargo + 1
    ends = np.where(np.isnat(label_end), far, np.searchsorted(sessions, label_end))
    leaks: list[Leak] = []
    for number, (train, test) in enumerate(folds):
        shared = np.intersect1d(train, test)
        unlabelled = train[np.isnat(label_end[train])]
        clashing = _conflicts(train, test, begins, ends, embargo)
        for rows, message in (
            (shared, "rows both train and are tested"),
            (unlabelled, "training rows have no known label"),
            (clashing, f"training rows overlap the test rows or their embargo of {embargo} sessions"),
        ):
            if len(rows):
                said = f"{len(rows)} of {len(train)} {message}"
                leaks.append(Leak("folds", f"fold {number}", known_at[rows[0]], None, said))
    return leaks


def find_window_leaks(windows: Iterable[Window], known_at: TimeArray, label_end: TimeArray) -> list[Leak]:
    """Audit walk-forward windows: what was learned ended by the fit, and the fit came before the first decision (T5).

    Beside what :func:`find_fold_leaks` finds: a training label or row later than ``fit_at``, a served row that
    is not later than the fit, and a row that two windows serve. The same limits hold. Takes n·log n a window.
    """
    leaks: list[Leak] = []
    served = np.zeros(len(known_at), dtype=bool)
    for window in windows:
        train, test = window.train_rows, window.test_rows
        leaks += [
            Leak(each.check, f"window {window.number}", each.row, None, each.message)
            for each in find_fold_leaks([(train, test)], known_at, label_end)
        ]
        for rows, message in (
            (train[label_end[train] > window.fit_at], "training labels end after the fit"),
            (train[known_at[train] > window.fit_at], "training rows are later than the fit"),
            (test[known_at[test] <= window.fit_at], "served rows are not later than the fit"),
            (test[served[test]], "rows were served by an earlier window already"),
        ):
            if len(rows):
                said = f"{len(rows)} {message} at {window.fit_at}"
                leaks.append(Leak("folds", f"window {window.number}", known_at[rows[0]], None, said))
        served[test] = True
    return leaks


def _conflicts(train: IntArray, test: IntArray, begins: IntArray, ends: IntArray, embargo: int) -> IntArray:
    """Return the training rows whose interval overlaps a test row's, in sessions.

    With the test rows in order of ``a``, those with ``a_i < e_j`` come first; the latest of their ends decides.
    """
    if not len(train) or not len(test):
        return train[:0]
    order = np.argsort(begins[test], kind="stable")
    test_begins = begins[test][order]
    latest_end = np.maximum.accumulate(ends[test][order]) + embargo
    n_before = np.searchsorted(test_begins, ends[train], side="left")
    clashes = (n_before > 0) & (begins[train] < latest_end[np.maximum(n_before - 1, 0)])
    return train[clashes]
