"""Monitoring inside a walk-forward: the served rows pass a monitor in order of time, as they would have live."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from backtester_model_core.config import ModelConfig
from backtester_model_core.dataset import Dataset
from backtester_model_core.events import Event
from backtester_model_core.monitoring import KnownOutcomes, Monitor, Reference, TrainingRows
from backtester_model_core.signals import ScoredRows
from backtester_model_core.splits import Window
from backtester_model_core.typing import FloatArray
from backtester_model_core.walkforward.blocks import Block


def watch_windows(
    config: ModelConfig,
    dataset: Dataset,
    windows: Sequence[Window],
    blocks: Sequence[Block],
    served: Sequence[ScoredRows],
    *,
    logger: logging.Logger,
) -> list[Event]:
    """Let one monitor see every window's rows, against the rows that its model was trained on.

    After each look it is handed the outcomes that have become known since the last.
    """
    monitor: Monitor | None = None
    waiting = _Waiting(served)
    symbols = np.array(dataset.symbols, dtype=np.str_)[dataset.symbol_codes]
    for window, block in zip(windows, blocks, strict=True):
        trained_on = TrainingRows.of(
            dataset.columns, dataset.values, dataset.known_at, rows=window.train_rows
        )
        reference = Reference.of(trained_on, config.monitoring)
        monitor = monitor or Monitor(config, reference, logger=logger)
        monitor.serve(reference, window=window.number)
        watching, tested = monitor, window.test_rows
        monitor.saw_rows(
            dataset.known_at[tested],
            dataset.values[tested],
            block.expected,
            symbols=symbols[tested].tolist(),
            after_look=lambda now, watching=watching: watching.learned(now, waiting.known_by(now)),  # type: ignore[misc]
        )
    return [] if monitor is None else monitor.events


class MonitorWatch:
    """A monitor that is asked session by session, where a policy decides on what it notices."""

    def __init__(self, config: ModelConfig, dataset: Dataset) -> None:
        self._config = config
        self._symbols = np.array(dataset.symbols, dtype=np.str_)
        self._monitor: Monitor | None = None

    def serve(self, learned_from: Dataset) -> None:
        """Go on with a model that has learned from other rows."""
        trained_on = TrainingRows.of(learned_from.columns, learned_from.values, learned_from.known_at)
        reference = Reference.of(trained_on, self._config.monitoring)
        if self._monitor is None:
            # the second pass logs these events with all others
            self._monitor = Monitor(
                self._config, reference, logger=logging.Logger("silent", logging.CRITICAL)
            )
        else:
            self._monitor.serve(reference)

    def observe(
        self, now: np.datetime64, *, served: Dataset, forecast: FloatArray, learned: ScoredRows
    ) -> Sequence[Event]:
        """Hand one session's rows and outcomes to the monitor, and return what it says."""
        if self._monitor is None:
            return ()
        n_said = len(self._monitor.events)
        symbols = self._symbols[served.symbol_codes].tolist()
        self._monitor.saw_rows(served.known_at, served.values, forecast, symbols=symbols)
        self._monitor.learned(now, _outcomes_of(learned))
        return self._monitor.events[n_said:]


def _outcomes_of(rows: ScoredRows) -> KnownOutcomes:
    return KnownOutcomes(rows.known_at, rows.label_end, rows.forecast, rows.outcome, rows.baseline)


class _Waiting:
    """Served rows whose outcomes have not been handed over, in the order in which they become known."""

    def __init__(self, served: Sequence[ScoredRows]) -> None:
        rows = ScoredRows.joined(list(served))
        rows = rows.take(~np.isnat(rows.label_end))
        self._rows = rows.take(np.lexsort((rows.known_at, rows.label_end)))
        self._n_given = 0

    def known_by(self, now: np.datetime64) -> KnownOutcomes:
        """Return the rows that have become known since the last time."""
        first = self._n_given
        self._n_given = int(np.searchsorted(self._rows.label_end, now, side="right"))
        rows = self._rows.take(np.arange(first, self._n_given))
        return _outcomes_of(rows)
