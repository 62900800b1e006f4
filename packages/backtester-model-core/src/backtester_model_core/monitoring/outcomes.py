"""Live accuracy, error and skill, from outcomes as they become known."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from backtester_model_core.evaluation import mean_with_bound
from backtester_model_core.exceptions import EvaluationError
from backtester_model_core.typing import FloatArray, TimeArray


@dataclass(frozen=True, eq=False)
class KnownOutcomes:
    """Forecasts beside outcomes that are known by now, row-aligned.

    Attributes:
        known_at: (n,) decision times.
        usable_from: (n,) instants from which the outcomes may be used.
        forecast: (n,) what was foreseen: a value, or the sum of class times probability.
        outcome: (n,) what happened.
        baseline: (n,) training mean of the model that foresaw, or one number for all.
    """

    known_at: TimeArray
    usable_from: TimeArray
    forecast: FloatArray
    outcome: FloatArray
    baseline: FloatArray | float

    def check_known(self, now: np.datetime64) -> None:
        """Refuse outcomes that are not known yet.

        Raises:
            EvaluationError: With their number and the first of them.
        """
        early = ~(self.usable_from <= now)  # NaT is never known
        if early.any():
            first = self.usable_from[early][0]
            raise EvaluationError(
                f"{int(early.sum())} of {len(early)} outcomes are not known at {now}: the first may be used from "
                f"{first}. Hand over rows whose usable_from has come."
            )

    def by_decision_time(self, *, middle: float | None) -> FloatArray:
        """Return (m, 3) the share of right sides, mean squared error and g of each decision time, in order.

        Args:
            middle: What parts the two sides of a forecast and of an outcome; the baseline when ``None``.
        """
        known = np.isfinite(self.forecast) & np.isfinite(self.outcome)
        baseline = np.broadcast_to(self.baseline, known.shape)[known]
        forecast, outcome = self.forecast[known], self.outcome[known]
        parting = baseline if middle is None else middle
        columns = (
            (forecast > parting) == (outcome > parting),
            (outcome - forecast) ** 2,
            (outcome - baseline) * (forecast - baseline),
        )
        _, group, size = np.unique(self.known_at[known], return_inverse=True, return_counts=True)
        return np.column_stack([np.bincount(group, weights=each) / size for each in columns])


def middle_of(classes: tuple[float, ...] | None) -> float | None:
    """Return what parts the two sides of a forecast: between the outer classes, or a regression's baseline."""
    return None if classes is None else (classes[0] + classes[-1]) / 2


class LiveOutcomes:
    """Rolling figures of the latest decision times whose outcomes are known.

    Args:
        window: Decision times that are kept.
        horizon: Bars from entry to exit: over as many, outcomes overlap.
    """

    def __init__(self, *, window: int, horizon: int) -> None:
        self._rows: deque[list[float]] = deque(maxlen=window)
        self._horizon = horizon

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, row: list[float]) -> None:
        """Add one decision time: share of right sides, mean squared error, g."""
        self._rows.append(row)

    def figures(self) -> dict[str, float]:
        """Return n, accuracy, mean squared error (of two classes the Brier score), skill g and its upper 95 % bound."""
        if not self._rows:
            return {
                "n": 0.0,
                **dict.fromkeys(("accuracy", "squared_error", "skill", "skill_upper"), float("nan")),
            }
        right, error, g = np.array(self._rows).T
        skill, upper, n = mean_with_bound(g, horizon=self._horizon)
        return {
            "n": float(n),
            "accuracy": float(right.mean()),
            "squared_error": float(error.mean()),
            "skill": skill,
            "skill_upper": upper,
        }

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain data."""
        return {"rows": [list(row) for row in self._rows]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that :meth:`snapshot` returned."""
        self._rows.extend([float(value) for value in row] for row in state["rows"])
