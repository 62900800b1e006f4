"""Whether a model's predictions have drifted from its own earlier ones."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np

from backtester_model_core.config import MonitoringConfig
from backtester_model_core.monitoring.drift import MEASURES, FeatureMeasure
from backtester_model_core.monitoring.reference import MIN_WINDOWS, Reference, TrainingRows, evenly_spread
from backtester_model_core.monitoring.state import arrays_of, numbers_of, plain_arrays, plain_numbers
from backtester_model_core.monitoring.watch import MAX_STRETCH_ROWS, Drifted, DriftWatch
from backtester_model_core.typing import FloatArray, IntArray

COLUMNS = ("prediction",)
KEPT_WINDOWS = 2 * MIN_WINDOWS
"""Windows of predictions that are remembered, to be what later ones are compared with."""


class PredictionWatch:
    """Compares the latest predictions with earlier ones, all out of sample.

    Predictions on the training rows would not do: a model is surer of rows that it has learned. So there is nothing to
    compare with until five windows have been foreseen; a new model's first predictions are compared with those of the
    models before it.
    """

    def __init__(self, settings: MonitoringConfig) -> None:
        names = [name for name in settings.measures if isinstance(MEASURES[name], FeatureMeasure)]
        self._settings = settings.model_copy(update={"measures": tuple(names)})
        self._per_window = settings.window // settings.check_every
        self._kept: deque[tuple[IntArray, FloatArray]] = deque(maxlen=KEPT_WINDOWS * self._per_window)
        self._watch: DriftWatch | None = None

    def look(self, time: IntArray, expected: FloatArray) -> tuple[Drifted, ...]:
        """Take the next stretch: (n,) the number of each row's decision time in it, and what was foreseen."""
        chosen = evenly_spread(len(expected), at_most=MAX_STRETCH_ROWS)
        self._kept.append((time[chosen], expected[chosen]))
        if self._watch is not None:
            return self._watch.look(expected[chosen, None])
        self.renew()
        return ()

    def renew(self) -> None:
        """Compare with the predictions up to now from here on, once they are enough."""
        if len(self._kept) < MIN_WINDOWS * self._per_window:
            return
        every = self._settings.check_every
        time = np.concatenate([time + k * every for k, (time, _) in enumerate(self._kept)])
        expected = np.concatenate([expected for _, expected in self._kept])
        rows = TrainingRows(COLUMNS, expected[:, None], time.astype("datetime64[ns]"))
        self._watch = DriftWatch(Reference.of(rows, self._settings), self._settings)
        for _, latest in list(self._kept)[-self._per_window :]:
            self._watch.keep(latest[:, None])

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain data."""
        state: dict[str, Any] = {"kept": [[time.tolist(), plain_numbers(rows)] for time, rows in self._kept]}
        if self._watch is not None:
            state |= {
                "reference": plain_arrays(self._watch.reference.to_arrays()),
                "watch": self._watch.snapshot(),
            }
        return state

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that :meth:`snapshot` returned."""
        for time, rows in state["kept"]:
            self._kept.append((np.array(time, dtype=np.int64), numbers_of(rows, n_columns=1)[:, 0]))
        if "reference" in state:
            reference = Reference.from_arrays(arrays_of(state["reference"]), columns=COLUMNS)
            self._watch = DriftWatch(reference, self._settings)
            self._watch.restore(state["watch"])
