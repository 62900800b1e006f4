"""How long the model in force has served, and what has come since the last training."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from typing import Any

import numpy as np

from backtester_model_core.retraining import Evidence

N_RECENT = 1_000
"""Decision times that are remembered, to count those since a fit that is handed over later."""


class Tenure:
    """Counts decision times, as UTC nanoseconds at which their rows are known, and trainings.

    Where a stream begins later than the fit, the sessions between are estimated by the mean distance of those seen.

    Args:
        fitted_at: When the model in force was fitted.
    """

    def __init__(self, fitted_at: int) -> None:
        self.fitted_at = fitted_at
        self.is_due = False
        self._n_trainings = 1
        self._n_labels = 0
        self._n_counted = 0
        self._tried_at: int | None = None
        self._since_trial = 0
        self._first: int | None = None
        self._n_times = 0
        self._recent: list[int] = []

    def begin_time(self, at: int) -> None:
        """Count a later decision time."""
        if self._first is None:
            self._first = at
        self._n_times += 1
        recent = self._recent
        recent.append(at)
        if len(recent) > 2 * N_RECENT:
            del recent[:-N_RECENT]
        if at > self.fitted_at:
            self._n_counted += 1
            self._since_trial += 1

    def learned(self, n_labels: int) -> None:
        """Count labels that have become known."""
        self._n_labels += n_labels

    def succeed(self, fitted_at: int) -> None:
        """Begin anew with a model that was fitted at an instant, which may be some times ago."""
        self.fitted_at = fitted_at
        self.is_due = False
        self._n_trainings += 1
        self._n_labels = 0
        self._tried_at = None
        self._n_counted = self._since_trial = len(self._recent) - bisect_right(self._recent, fitted_at)

    def tried(self) -> None:
        """Count a training that led to no successor: the model stays, and the next wish is a new one."""
        self.is_due = False
        self._n_trainings += 1
        self._n_labels = self._since_trial = 0
        self._tried_at = self._recent[-1] if self._recent else self.fitted_at

    @property
    def sessions(self) -> int:
        """Decision times since the fit."""
        return self._n_counted + self._n_unseen

    @property
    def _n_unseen(self) -> int:
        """About how many there were between the fit and the first that was seen."""
        if self._first is None or self._first <= self.fitted_at or self._n_times < 2:
            return 0
        spacing = (self._recent[-1] - self._recent[0]) / (len(self._recent) - 1)
        return max(round((self._first - self.fitted_at) / spacing) - 1, 0)

    def evidence(self, now: np.datetime64, **known: Any) -> Evidence:
        """Return what a retraining policy goes by, with what else is known."""
        since = self._since_trial if self._tried_at is not None else self.sessions
        tried_at = self.fitted_at if self._tried_at is None else self._tried_at
        return Evidence(
            now=now,
            trained_at=np.datetime64(self.fitted_at, "ns"),
            age_sessions=self.sessions,
            last_training_at=np.datetime64(tried_at, "ns"),
            sessions_since_training=since,
            sessions_served=self._n_counted,
            new_labels=self._n_labels,
            n_trainings=self._n_trainings,
            **known,
        )

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain data."""
        return {name.lstrip("_"): value for name, value in vars(self).items()}

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Go on from a snapshot."""
        for name in vars(self):
            setattr(self, name, snapshot[name.lstrip("_")])
        self._recent = list(self._recent)
