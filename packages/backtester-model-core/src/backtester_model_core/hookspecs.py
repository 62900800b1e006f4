"""The four steps as hooks, and the hook by which a plugin registers what it brings.

An adapter or extension answers a hook with ``@hookimpl``. The core answers all four steps last, so an adapter
needs no hook at all, and an extension wraps any step with ``@hookimpl(wrapper=True)``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pluggy

if TYPE_CHECKING:
    import pandas as pd

    from backtester_model_core.dataset import Dataset, Prediction, TrainReport
    from backtester_model_core.model import BaseModel
    from backtester_model_core.plugins import Registry
    from backtester_model_core.signals import SignalFrame
    from backtester_model_core.walkforward import WalkForwardResult

PROJECT = "backtester_model"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class ModelHooks(Protocol):
    """What a plugin may answer or wrap."""

    @hookspec(firstresult=True)
    def backtester_prepare(self, model: BaseModel, data: pd.DataFrame) -> Dataset:
        """Turn bars into features and labels, one row for each bar.

        Args:
            model: The model that will learn or predict; its ``config`` says what is wanted.
            data: Bars, as ``check_bars`` returns them.
        """
        ...

    @hookspec(firstresult=True)
    def backtester_train(self, model: BaseModel, dataset: Dataset, validation: Dataset | None) -> TrainReport:
        """Fit the model to a dataset's complete, labelled rows and set ``model.native``.

        Args:
            model: The model to train.
            dataset: The rows to learn from. Every ``label_end`` is known by the time of the fit.
            validation: Later, purged rows to stop early by; ``None`` when there are none.
        """
        ...

    @hookspec(firstresult=True)
    def backtester_predict(self, model: BaseModel, features: pd.DataFrame) -> Prediction:
        """Foresee, one row for each feature row; NaN where the features are incomplete.

        Args:
            model: A trained model.
            features: The trained columns, in any order.
        """
        ...

    @hookspec(firstresult=True)
    def backtester_signal(self, model: BaseModel, data: pd.DataFrame, prediction: Prediction) -> SignalFrame:
        """Turn predictions into signals, one for each prediction row.

        Args:
            model: A model with its ``policy``.
            data: The bars of the prediction's rows.
            prediction: What the model foresees.
        """
        ...

    @hookspec
    def backtester_result(self, model: BaseModel, result: WalkForwardResult) -> None:
        """Hear of a finished walk-forward, once its files are written; an experiment tracker records it here.

        Args:
            model: The untrained model of the resolved configuration.
            result: What was found. Nothing that is returned changes it.
        """
        ...

    @hookspec(historic=True)
    def backtester_register(self, registry: Registry) -> None:
        """Register feature sets, operators, labels, data sources, models, drift measures and detectors by name."""
        ...
