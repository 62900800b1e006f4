"""Looks at the latest window of rows, again and again, and says which features have drifted for good."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from backtester_model_core.config import MonitoringConfig
from backtester_model_core.monitoring.drift import MEASURES, JointMeasure
from backtester_model_core.monitoring.histogram import Histogram
from backtester_model_core.monitoring.reference import Reference, evenly_spread
from backtester_model_core.monitoring.state import numbers_of, plain_numbers
from backtester_model_core.typing import FloatArray

MAX_STRETCH_ROWS = 1_000
"""Rows that are kept of one stretch, evenly spread."""

TOGETHER = "all features"
CLEARED = 0.5
"""Share of the limit below which a drifted feature counts as back."""


@dataclass(frozen=True)
class Drifted:
    """A feature that has drifted.

    Attributes:
        feature: Its name, or ``all features`` for a joint measure.
        measure: The measure that says so.
        distance: The distance in the measure's own unit.
        limit: The distance from which it counts.
    """

    feature: str
    measure: str
    distance: float
    limit: float

    def __str__(self) -> str:
        return f"{self.feature} ({self.measure} {self.distance:.3g}, limit {self.limit:.3g})"


class DriftWatch:
    """Compares the latest window with a reference, one stretch of rows after the other.

    A feature has drifted when it lies beyond the limit at ``persistence`` looks in a row; it is named once, and again
    only after it had come back to within half the limit.
    """

    def __init__(self, reference: Reference, settings: MonitoringConfig) -> None:
        self.reference = reference
        self._settings = settings
        self._names = settings.measures if reference.window else ()
        self.stretches: deque[FloatArray] = deque(maxlen=max(1, reference.window // settings.check_every))
        self._counted: deque[Histogram] = deque(maxlen=self.stretches.maxlen)
        sizes = {name: reference.usual[name].shape[1] for name in self._names}
        self._streak = {name: np.zeros(size, dtype=np.int64) for name, size in sizes.items()}
        self._held = {name: np.zeros(size, dtype=np.bool_) for name, size in sizes.items()}
        n_claims = max(1, sum(int(np.isfinite(reference.usual[name][0]).sum()) for name in self._names))
        self._limits = {
            name: reference.yardstick(name).limits(settings.drift_level, n_claims=n_claims)
            for name in self._names
        }

    @property
    def drifted(self) -> tuple[str, ...]:
        """Names of the features that are drifted now, by any measure."""
        names = {
            feature
            for name, held in self._held.items()
            for feature, is_held in zip(self._labels(name), held, strict=True)
            if is_held
        }
        return tuple(sorted(names))

    def follow(self, other: DriftWatch) -> None:
        """Take over the rows that another watch holds, to go on with another reference without waiting."""
        for stretch in other.stretches:
            self.keep(stretch)

    def look(self, stretch: FloatArray) -> tuple[Drifted, ...]:
        """Take the next stretch of rows and name the features that are now found drifted and were not before."""
        self.keep(stretch[evenly_spread(len(stretch), at_most=MAX_STRETCH_ROWS)])
        if len(self.stretches) < (self.stretches.maxlen or 0):
            return ()
        before = self.drifted if any(held.any() for held in self._held.values()) else ()
        found = [each for name in self._names for each in self._judge(name)]
        return tuple(each for each in found if each.feature not in before)

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain data."""
        return {
            "stretches": [plain_numbers(stretch) for stretch in self.stretches],
            "streak": {name: streak.tolist() for name, streak in self._streak.items()},
            "held": {name: held.tolist() for name, held in self._held.items()},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that :meth:`snapshot` returned for the same reference and settings."""
        for stretch in state["stretches"]:
            self.keep(numbers_of(stretch, n_columns=len(self.reference.columns)))
        for name in self._names:
            self._streak[name][:] = state["streak"][name]
            self._held[name][:] = state["held"][name]

    def keep(self, stretch: FloatArray) -> None:
        """Take a stretch of rows without looking."""
        self.stretches.append(stretch)
        self._counted.append(self.reference.bins.count(stretch))

    def _judge(self, name: str) -> list[Drifted]:
        measure, limits = MEASURES[name], self._limits[name]
        if isinstance(measure, JointMeasure):
            distance = self._joint_distance(measure)
        else:
            window = Histogram.joined(self._counted)
            distance = measure.distance(self.reference.histogram, window)
        is_far, held = distance > limits, self._held[name]
        streak = self._streak[name] = np.where(is_far, self._streak[name] + 1, 0)
        is_new = (streak >= self._settings.persistence) & ~held
        self._held[name] = (held | is_new) & ~(distance < CLEARED * limits)
        return [
            Drifted(self._labels(name)[j], name, float(distance[j]), float(limits[j]))
            for j in np.flatnonzero(is_new)
        ]

    def _joint_distance(self, measure: JointMeasure) -> FloatArray:
        """Compare as many live rows as a window of the reference's own sample had."""
        rows = np.concatenate(self.stretches)
        rows = rows[np.isfinite(rows).all(axis=1)]
        size = self.reference.joint_size
        if len(rows) < size:
            return np.array([np.nan])
        return np.array(
            [measure.distance(self.reference.sample, rows[evenly_spread(len(rows), at_most=size)])]
        )

    def _labels(self, name: str) -> tuple[str, ...]:
        return (TOGETHER,) if isinstance(MEASURES[name], JointMeasure) else self.reference.columns
