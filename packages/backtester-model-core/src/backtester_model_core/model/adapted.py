"""A model whose two middle steps an adapter answers."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
import pandas as pd

from backtester_model_core.adapter import HeldBack, ModelFrameworkAdapter, SequenceAdapter
from backtester_model_core.dataset import Dataset
from backtester_model_core.exceptions import ModelError
from backtester_model_core.model.model import BaseModel
from backtester_model_core.monitoring import Reference, TrainingRows
from backtester_model_core.monitoring.reference import MIN_WINDOWS
from backtester_model_core.plugins import plugins
from backtester_model_core.steps import class_positions, learnable_rows, weighted_rows
from backtester_model_core.typing import FloatArray, IntArray, ModelFiles, RowStep


class AdapterModel(BaseModel):
    """A model whose two middle steps an adapter answers."""

    @property
    def adapter(self) -> ModelFrameworkAdapter[Any]:
        """The adapter of the configuration's framework."""
        return plugins().adapter(self.config.framework)

    def fit(self, rows: Dataset, validation: Dataset | None) -> Sequence[str]:
        """Build a native model and let the adapter train it."""
        adapter = self.adapter
        features, ends = _handed_over(rows)
        held_back = None
        if validation is not None:
            later, later_ends = _handed_over(validation)
            held_back = HeldBack(later, class_positions(validation), **later_ends)
        self.native = adapter.train_model(
            adapter.initialize_model(self.config),
            features,
            class_positions(rows),
            classes=rows.classes,
            weight=rows.weight,
            validation=held_back,
            seed=self.seed,
            **ends,
        )
        return adapter.training_notes(self.native)

    def forecast(self, values: FloatArray) -> FloatArray:
        """Let the adapter ask the native model."""
        return self.adapter.predict(self.native, values)

    def forecast_sequences(self, values: FloatArray, ends: IntArray) -> FloatArray:
        """Let the adapter ask the native model about the rows at ``ends``."""
        adapter = self.adapter
        if not isinstance(adapter, SequenceAdapter):
            return super().forecast_sequences(values, ends)
        return adapter.predict(self.native, values, ends=ends)

    def row_step(self) -> RowStep | None:
        """Let the adapter compile the native model; ``None``, logged, where it cannot."""
        adapter = self.adapter
        if not adapter.can("compile_step"):
            return None
        try:
            return adapter.compile_step(self.native)
        except ModelError as error:
            self.logger.info(
                "%s is asked one row at a time through predict: %s", self.config.model_name, error
            )
            return None

    def to_files(self) -> ModelFiles:
        """Let the adapter write the native model as data."""
        if not self.adapter.can("save_model"):
            raise ModelError(f"The adapter for {self.config.framework!r} does not save its models.")
        return self.adapter.save_model(self.native)

    def from_files(self, files: ModelFiles) -> None:
        """Let the adapter rebuild the native model."""
        self.native = self.adapter.load_model(
            files, self.config, n_features=len(self.columns), classes=self.classes
        )

    @property
    def context_rows(self) -> int:
        """How many rows of its symbol before a row the adapter's forecast needs."""
        adapter = self.adapter
        return adapter.context_rows(self.config) if isinstance(adapter, SequenceAdapter) else 0

    def feature_importance(self, dataset: Dataset) -> pd.Series[float]:
        """Return how much each feature matters, most first, measured on a dataset's learnable rows.

        Raises:
            ModelError: When the adapter cannot say.
        """
        self._trained_report("weigh its features")
        if not self.adapter.can("feature_importance"):
            raise ModelError(f"The adapter for {self.config.framework!r} does not weigh features.")
        rows = learnable_rows(dataset.with_history(self.context_rows))
        features, ends = _handed_over(rows)
        weights = self.adapter.feature_importance(
            self.native, features, class_positions(rows), seed=self.seed, **ends
        )
        return pd.Series(weights, index=list(self.columns), name="importance").sort_values(ascending=False)

    def update(self, dataset: Dataset) -> None:
        """Continue the training on new learnable rows, where the adapter can.

        Report, record and baseline then tell of all rows. The policy's thresholds and calibration stay.
        """
        report = self._trained_report("be updated")
        rows = weighted_rows(learnable_rows(dataset.with_history(self.context_rows)), self.config)
        features, ends = _handed_over(rows)
        self.native = self.adapter.update_model(
            self.native, features, class_positions(rows), weight=rows.weight, seed=self.seed, **ends
        )
        self.report = report.extended(rows)
        self.trained_on = None if self.trained_on is None else self.trained_on.extended(dataset)
        self.watched_rows = self._watched_after(dataset)
        self.policy = replace(self.policy, baseline=self.report.baseline)

    def continued(self, dataset: Dataset) -> Self:
        """Return a model whose training goes on from this one's by the adapter's ``update_model``; this one stays."""
        if not self.adapter.can("update_model"):
            return super().continued(dataset)
        twin = copy.copy(self)
        twin.update(dataset)
        twin.inner = None
        return twin

    def _watched_after(self, dataset: Dataset) -> TrainingRows | Reference | None:
        """Return the rows that a training went on with, or what was watched before where they are too few for drift."""
        wanted = MIN_WINDOWS * self.config.monitoring.check_every
        if not self.config.enable_monitoring or len(np.unique(dataset.known_at)) < wanted:
            return self.watched_rows
        return TrainingRows.of(dataset.columns, dataset.values, dataset.known_at)

    def _uses_validation(self) -> bool:
        return self.adapter.uses_validation(self.config)


def _handed_over(rows: Dataset) -> tuple[FloatArray, dict[str, IntArray]]:
    """Return features as adapters take them, and the ``ends`` that go with them where rows are looked back on.

    Nothing is among them that no row looks back on: an adapter cannot learn from rows that it was not given.
    """
    if rows.history is None:
        return rows.values, {}
    history = rows.history.needed()
    return history.values, {"ends": history.ends}
