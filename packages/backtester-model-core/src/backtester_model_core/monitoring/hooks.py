"""What monitoring wraps around the steps: it keeps what was trained on, and how long predictions take."""

from __future__ import annotations

from collections.abc import Generator
from time import perf_counter
from typing import TYPE_CHECKING

from backtester_model_core.hookspecs import hookimpl
from backtester_model_core.monitoring.latency import Latency
from backtester_model_core.monitoring.reference import TrainingRows

if TYPE_CHECKING:
    from backtester_model_core.dataset import Dataset, Prediction, TrainReport
    from backtester_model_core.model import BaseModel


class MonitoringHooks:
    """Wraps train and predict of models whose configuration enables monitoring."""

    @hookimpl(wrapper=True)
    def backtester_train(
        self, model: BaseModel, dataset: Dataset
    ) -> Generator[None, TrainReport, TrainReport]:
        """Put the training rows aside, once the training has succeeded."""
        report = yield
        if model.config.enable_monitoring:
            model.watched_rows = TrainingRows.of(dataset.columns, dataset.values, dataset.known_at)
        return report

    @hookimpl(wrapper=True)
    def backtester_predict(self, model: BaseModel) -> Generator[None, Prediction, Prediction]:
        """Take the time of a prediction, whatever its number of rows."""
        if not model.config.enable_monitoring:
            return (yield)
        started = perf_counter()
        prediction = yield
        if model.latency is None:
            model.latency = Latency()
        model.latency.add(perf_counter() - started)
        return prediction
