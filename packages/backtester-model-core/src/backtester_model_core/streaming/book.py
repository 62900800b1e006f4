"""How live forecasts have done, in a memory that does not grow."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from math import nan
from typing import Any

import numpy as np

from backtester_model_core.evaluation import mean_with_bound
from backtester_model_core.monitoring import KnownOutcomes
from backtester_model_core.retraining import LiveScores

NOT_YET = np.datetime64("NaT", "ns")


class LiveBook:
    """Scores of the latest decision times, and the mean of all before them; it does not grow.

    Args:
        window: Decision times that count as live.
        horizon: Bars from entry to exit, over which outcomes overlap.
    """

    def __init__(self, *, window: int, horizon: int) -> None:
        self._live: deque[list[float]] = deque()
        self._window, self._horizon = window, horizon
        self._before = [0.0, 0.0]  # sum of g, and how many
        self.latest_used = NOT_YET

    def enter(self, known: KnownOutcomes, *, middle: float | None) -> None:
        """Take outcomes that have become known."""
        for right, _, g in known.by_decision_time(middle=middle).tolist():
            self._live.append([g, right])
            if len(self._live) > self._window:
                self._retire()
        if len(known.usable_from):
            self.latest_used = np.fmax(self.latest_used, known.usable_from.max())

    def begin_anew(self) -> None:
        """Take what is live for what came before: another model serves from here on."""
        while self._live:
            self._retire()

    def scores(self) -> LiveScores:
        """Return the figures that a policy goes by."""
        g, right = np.array(list(self._live)).reshape(-1, 2).T
        skill, upper, n = mean_with_bound(g, horizon=self._horizon)
        total, n_before = self._before
        return LiveScores(
            n=n,
            skill=skill,
            skill_upper=upper,
            accuracy=float(right.mean()) if n else nan,
            reference=total / n_before if n_before else nan,
            n_reference=int(n_before),
            latest_used=self.latest_used,
        )

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain data."""
        used = None if np.isnat(self.latest_used) else int(self.latest_used.astype(np.int64))
        return {"live": [list(row) for row in self._live], "before": list(self._before), "used": used}

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Go on from a snapshot."""
        self._live = deque([float(value) for value in row] for row in snapshot["live"])
        self._before = [float(value) for value in snapshot["before"]]
        self.latest_used = NOT_YET if snapshot["used"] is None else np.datetime64(snapshot["used"], "ns")

    def _retire(self) -> None:
        g, _ = self._live.popleft()
        self._before = [self._before[0] + g, self._before[1] + 1]
