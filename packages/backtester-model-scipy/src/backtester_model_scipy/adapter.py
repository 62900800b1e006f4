"""SciPy models as an adapter: parameters checked beforehand, features standardised, classes in their fixed order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
from scipy import linalg

from backtester_model_core.adapter import HeldBack, SequenceAdapter, expect_config
from backtester_model_core.config import ModelConfig
from backtester_model_core.config.files import parse_config
from backtester_model_core.exceptions import (
    BacktesterModelError,
    ConfigError,
    ModelError,
    TrainingError,
)
from backtester_model_core.features import feature_set
from backtester_model_core.features.expansion import expand
from backtester_model_core.labels import label_kind
from backtester_model_core.notes import unseen_classes
from backtester_model_core.typing import FloatArray, IntArray, ModelFiles, RowStep
from backtester_model_scipy.catalogs import MODELS
from backtester_model_scipy.config import SciPyModelConfig
from backtester_model_scipy.models import Fitted, Model, Rows
from backtester_model_scipy.native import SciPyModel, pack_model, unpack_model

REFUSALS = (ValueError, ArithmeticError, linalg.LinAlgError)
"""What SciPy and NumPy raise on rows that an estimate cannot be made from."""


class SciPyAdapter(SequenceAdapter[SciPyModel]):
    """Statistical and optimisation-based models, by SciPy."""

    config_class: ClassVar[type[ModelConfig]] = SciPyModelConfig

    def initialize_model(self, config: ModelConfig) -> SciPyModel:
        """Look the model up, and check its parameters, its optimiser and whether it answers the task."""
        config = expect_config(config, SciPyModelConfig)
        model = model_of(config)
        columns = column_names(config)
        classes = label_kind(config).classes
        model.check(columns, config.prediction_horizon, None if classes is None else len(classes))
        return SciPyModel(model, columns, normalize=config.normalize_features)

    def context_rows(self, config: ModelConfig) -> int:
        """Return the rows before a row that a series model filters."""
        return model_of(config).context_rows if isinstance(config, SciPyModelConfig) else 0

    @np.errstate(all="ignore")
    def train_model(
        self,
        model: SciPyModel,
        features: FloatArray,
        target: FloatArray | IntArray,
        *,
        classes: tuple[float, ...] | None = None,
        weight: FloatArray | None = None,
        validation: HeldBack | None = None,  # noqa: ARG002 - no model of this package stops early
        seed: int | None = None,
        ends: IntArray | None = None,
    ) -> SciPyModel:
        """Standardise the features, and fit the model to them.

        Raises:
            TrainingError: When the rows cannot be learned from, or the optimiser did not converge.
        """
        center, scale = _moments(features if ends is None else features[ends])
        if not (model.normalize and model.model.is_scaled):
            center, scale = np.zeros_like(center), np.ones_like(scale)
        seen: IntArray | None = None
        if classes is not None:
            positions, target = np.unique(target, return_inverse=True)
            seen = np.asarray(positions, dtype=np.int64)
        ready = replace(
            model,
            center=center,
            scale=scale,
            seen=seen,
            n_classes=None if classes is None else len(classes),
        )
        rows = Rows(
            features=ready.standardised(features),
            target=target,
            n_classes=None if seen is None else len(seen),
            weight=np.ones(len(target)) if weight is None else weight,
            names=_names(model.columns, features.shape[1]),
            ends=ends,
            seed=seed,
            is_weighted=weight is not None,
        )
        try:
            fitted = model.model.fit(rows)
        except BacktesterModelError:
            raise
        except REFUSALS as error:
            raise TrainingError(f"{model.model.name} cannot learn from these rows: {error}") from error
        # Arrays laid out as they are after loading: products then agree to the last bit.
        fitted = Fitted.from_state(fitted.state(), fitted.notes)
        absent = [] if classes is None or seen is None else unseen_classes(classes, seen)
        return replace(ready, fitted=fitted, notes=(*fitted.notes, *absent))

    @np.errstate(all="ignore")
    def predict(self, model: SciPyModel, features: FloatArray, *, ends: IntArray | None = None) -> FloatArray:
        """Return values, or probabilities with 0 for a class that no training row had."""
        return model.forecast(features, ends)

    def training_notes(self, model: SciPyModel) -> tuple[str, ...]:
        """Return how the search went, the estimates, and what could not be done as asked."""
        return model.notes

    def compile_step(self, model: SciPyModel) -> RowStep:
        """Return the weighted sums of a linear or logistic model, in plain Python.

        Raises:
            ModelError: When the model is another.
        """
        return model.row_step()

    def save_model(self, model: SciPyModel) -> ModelFiles:
        """Return what was learned as arrays, and a few facts."""
        return pack_model(model)

    def load_model(
        self,
        files: ModelFiles,
        config: ModelConfig,
        *,
        n_features: int,
        classes: tuple[float, ...] | None,
    ) -> SciPyModel:
        """Rebuild a trained model from its arrays, and check that it answers as one of that task and size."""
        return unpack_model(self.initialize_model(config), files, n_features=n_features, classes=classes)

    def feature_importance(
        self,
        model: SciPyModel,
        features: FloatArray,
        target: FloatArray | IntArray,  # noqa: ARG002 - coefficients say it without
        *,
        seed: int | None = None,  # noqa: ARG002
        ends: IntArray | None = None,
    ) -> FloatArray:
        """Return how far one standard deviation of each feature moves the score.

        Raises:
            ModelError: When the model has no coefficients.
        """
        own = None
        if model.fitted is not None:
            rows = features if ends is None else features[ends]
            own = model.model.importance(model.fitted, model.standardised(rows).std(axis=0))
        if own is None:
            weighing = sorted(
                name for name, one in _models().items() if one.importance is not Model.importance
            )
            raise ModelError(
                f"The model {model.model.name!r} has no coefficients to weigh features by. Models that have: "
                f"{', '.join(weighing)}."
            )
        return own


# -- from a configuration ----------------------------------------------------------------------------------------


def model_of(config: SciPyModelConfig) -> Model:
    """Return the configured model with its parameters and its optimiser.

    Raises:
        ConfigError: When there is no such model or parameter, or the model does not answer the task.
    """
    model_class = MODELS[config.chosen_model]
    if config.model_type not in model_class.tasks:
        able = ", ".join(sorted(name for name, one in _models().items() if config.model_type in one.tasks))
        raise ConfigError(
            f"The model {config.chosen_model!r} does not answer model_type {config.model_type!r}. "
            f"Models that do: {able}."
        )
    if "method" in config.parameters:
        raise ConfigError("The optimiser is not among the parameters: set optimization_method instead.")
    return parse_config(model_class, config.parameters).with_method(config.optimization_method)


def column_names(config: ModelConfig) -> tuple[str, ...]:
    """Return the names of the features that a configuration means, in order."""
    if config.feature_columns is not None:
        return config.feature_columns
    sets = [name for one in config.features.sets for name in feature_set(one)]
    return (*sets, *expand(config.features.expressions))


def _models() -> Mapping[str, type[Model]]:
    return {name: MODELS[name] for name in MODELS}


def _names(columns: Sequence[str], n_features: int) -> tuple[str, ...]:
    """Return the configured names, or numbered ones where the rows came from elsewhere."""
    return tuple(columns) if len(columns) == n_features else tuple(f"x{at}" for at in range(n_features))


def _moments(features: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the columns' means and deviations, 1 for a column that does not vary."""
    deviation = features.std(axis=0)
    mean = features.mean(axis=0)
    constant = deviation <= 10 * np.finfo(np.float64).eps * np.abs(mean)
    return mean, np.where(constant, 1.0, deviation)
