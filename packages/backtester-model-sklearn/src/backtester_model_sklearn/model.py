"""What training makes: a pipeline, and what it does not know of itself."""

from __future__ import annotations

from dataclasses import dataclass

from sklearn.pipeline import Pipeline

from backtester_model_core.typing import FloatArray
from backtester_model_sklearn.estimators import Estimator


@dataclass(frozen=True)
class SklearnModel:
    """A pipeline, and what it does not know of itself.

    Attributes:
        pipeline: Preprocessing steps and estimator, fitted together.
        n_classes: Number of classes there are, seen in training or not; ``None`` for regression.
        notes: What is worth knowing about the training.
    """

    pipeline: Pipeline
    n_classes: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def transformers(self) -> list[Estimator]:
        """The steps before the estimator."""
        return [step for _, step in self.pipeline.steps[:-1]]

    @property
    def estimator(self) -> Estimator:
        """The last step."""
        return self.pipeline.steps[-1][1]

    @property
    def estimator_name(self) -> str:
        """Name of the estimator's class."""
        return type(self.estimator).__name__

    def transform(self, features: FloatArray) -> FloatArray:
        """Apply the fitted steps before the estimator."""
        rows = features
        for transformer in self.transformers:
            rows = transformer.transform(rows)
        return rows
