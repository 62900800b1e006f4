"""scikit-learn estimators as models: trained with their preprocessing, asked in the fixed class order."""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from sklearn import config_context
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, is_classifier
from sklearn.feature_selection import SelectorMixin
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import QuantileTransformer

from backtester_model_core.adapter import HeldBack, ModelFrameworkAdapter, expect_config
from backtester_model_core.artifacts import expect_files, pack_json, unpack_json
from backtester_model_core.compiled import numba_works
from backtester_model_core.config import ModelConfig
from backtester_model_core.exceptions import (
    ArtifactError,
    ModelError,
    PredictionError,
    TrainingError,
)
from backtester_model_core.notes import NOT_STOPPED_EARLY, unseen_classes
from backtester_model_core.probabilities import among_all_classes, softmax
from backtester_model_core.typing import FloatArray, IntArray, ModelFiles, RowStep
from backtester_model_sklearn.config import SklearnModelConfig
from backtester_model_sklearn.estimators import Estimator, build_pipeline
from backtester_model_sklearn.model import SklearnModel
from backtester_model_sklearn.row_steps import row_step
from backtester_model_sklearn.trusted import VERSION as TRUSTED_VERSION

REFUSALS = (ValueError, TypeError, ArithmeticError, LookupError, RuntimeError)
"""What scikit-learn raises on rows, and on parameters that only the rows show to be wrong."""

CONTINUABLE = {
    "classification": ("BernoulliNB", "GaussianNB", "MLPClassifier", "Perceptron", "SGDClassifier"),
    "regression": ("MLPRegressor", "SGDRegressor"),
}
"""Estimators whose training can be continued, to be named to those who chose another."""

MAX_NOTE = 300
FACTS = "model.json"
PIPELINE = "pipeline.skops"


class SklearnAdapter(ModelFrameworkAdapter[SklearnModel]):
    """Any scikit-learn classifier or regressor that can learn from plain rows of numbers."""

    config_class: ClassVar[type[ModelConfig]] = SklearnModelConfig

    def initialize_model(self, config: ModelConfig) -> SklearnModel:
        """Build the untrained pipeline and check every parameter against what the estimator declares."""
        config = expect_config(config, SklearnModelConfig)
        notes: list[str] = []
        with _warnings_as(notes):  # a deprecated estimator warns when it is built
            pipeline = build_pipeline(config)
        return SklearnModel(pipeline, notes=_distinct(notes))

    def train_model(
        self,
        model: SklearnModel,
        features: FloatArray,
        target: FloatArray | IntArray,
        *,
        classes: tuple[float, ...] | None = None,
        weight: FloatArray | None = None,
        validation: HeldBack | None = None,
        seed: int | None = None,
    ) -> SklearnModel:
        """Fit each step to the training rows in turn, and the estimator to what they make of them.

        Raises:
            TrainingError: When scikit-learn refuses the rows.
        """
        notes = list(model.notes)
        estimator = model.estimator
        # Parameters were checked when the model was built, so scikit-learn need not do it again.
        with _reporting(model, notes), config_context(skip_parameter_validation=True):
            rows = features
            for transformer in model.transformers:
                _seed(transformer, seed)
                if isinstance(transformer, QuantileTransformer):
                    transformer.n_quantiles = min(transformer.n_quantiles, len(rows))
                rows = transformer.fit_transform(rows, target)
            _seed(estimator, seed)
            extra = _weight_for(estimator.fit, weight, notes) | _held_back(model, target, validation, notes)
            estimator.fit(rows, target, **extra)
        if classes is not None:
            notes += _class_notes(estimator, classes)
        return replace(model, n_classes=None if classes is None else len(classes), notes=_distinct(notes))

    def predict(self, model: SklearnModel, features: FloatArray) -> FloatArray:
        """Return values, or probabilities with 0 for a class that no training row had.

        Raises:
            PredictionError: When scikit-learn cannot answer for a row.
        """
        try:
            rows = model.transform(features)
            if model.n_classes is None:
                return np.asarray(model.estimator.predict(rows), dtype=np.float64)
            probability = _probability(model.estimator, rows)
        except REFUSALS as error:
            raise PredictionError(f"{model.estimator_name} cannot answer for these rows: {error}") from error
        return among_all_classes(probability, seen=model.estimator.classes_, n_classes=model.n_classes)

    def uses_validation(self, config: ModelConfig) -> bool:
        """Say whether the configuration asks to stop early; estimators that cannot are refused with it."""
        return isinstance(config, SklearnModelConfig) and config.hyperparameters.get("early_stopping") is True

    def training_notes(self, model: SklearnModel) -> tuple[str, ...]:
        """Return scikit-learn's warnings, and what could not be done as asked."""
        return model.notes

    def feature_importance(
        self,
        model: SklearnModel,
        features: FloatArray,
        target: FloatArray | IntArray,
        *,
        seed: int | None = None,
    ) -> FloatArray:
        """Return the estimator's own importances, or else how much worse shuffling each feature makes it.

        Its own are ``feature_importances_``, or the absolute coefficient times the standard deviation of its
        column: how far one deviation moves the score. They hold where each feature is a column that the
        estimator sees, or that a selection dropped (0). Elsewhere it is the rise of the mean squared error (of
        the probabilities, for a classifier) over five seeded shuffles of the given rows, or 0 where it falls.
        """
        own = _own_importance(model, features)
        return _permutation_importance(self, model, features, target, seed) if own is None else own

    def update_model(
        self,
        model: SklearnModel,
        features: FloatArray,
        target: FloatArray | IntArray,
        *,
        weight: FloatArray | None = None,
        seed: int | None = None,
    ) -> SklearnModel:
        """Continue a copy by ``partial_fit``; the steps before the estimator stay as training fitted them.

        Raises:
            ModelError: When the estimator has no ``partial_fit``.
            TrainingError: When the rows hold a class that training had not seen.
        """
        if not hasattr(model.estimator, "partial_fit"):
            raise _cannot_update(model)
        updated = replace(model, pipeline=copy.deepcopy(model.pipeline))
        estimator = updated.estimator
        if model.n_classes is not None and not np.isin(target, estimator.classes_).all():
            raise TrainingError(
                f"The new rows hold a class that no training row had, and {model.estimator_name} cannot learn "
                "a further one. Train it again on all rows."
            )
        notes = list(model.notes)
        with _reporting(model, notes):
            _seed(estimator, seed)
            extra = _weight_for(estimator.partial_fit, weight, notes)
            estimator.partial_fit(updated.transform(features), target, **extra)
        return replace(updated, notes=_distinct(notes))

    def compile_step(self, model: SklearnModel) -> RowStep:
        """Return a weighted sum in plain Python, or a walk through trees that is compiled where numba is installed.

        Raises:
            ModelError: When the estimator is neither linear nor made of trees, or a step before it has no such form.
        """
        return row_step(model, compiled=numba_works())

    def save_model(self, model: SklearnModel) -> ModelFiles:
        """Return the fitted pipeline as a skops file of trusted types.

        Raises:
            ModelError: When the estimator holds something that cannot be written as data.
        """
        from backtester_model_sklearn.saved import pack_pipeline  # skops imports all of scikit-learn

        facts = {"n_classes": model.n_classes, "notes": list(model.notes), "trusted": TRUSTED_VERSION}
        return {PIPELINE: pack_pipeline(model.pipeline), FACTS: pack_json(facts)}

    def load_model(
        self,
        files: ModelFiles,
        config: ModelConfig,
        *,
        n_features: int,
        classes: tuple[float, ...] | None,
    ) -> SklearnModel:
        """Read the pipeline back, once it has been checked type by type, and its trees node by node."""
        from backtester_model_sklearn.saved import unpack_pipeline

        expect_files(files, [FACTS, PIPELINE])
        facts = unpack_json(files[FACTS], name=FACTS)
        n_classes = None if classes is None else len(classes)
        if not isinstance(facts, dict) or facts.keys() != {"n_classes", "notes", "trusted"}:
            raise ArtifactError.in_file(FACTS, "it does not say what a scikit-learn model needs")
        if facts["n_classes"] != n_classes:
            raise ArtifactError.in_file(FACTS, f"it is of {facts['n_classes']} classes, not {n_classes}")
        if facts["trusted"] != TRUSTED_VERSION:
            raise ArtifactError.in_file(FACTS, f"its list of trusted types is not version {TRUSTED_VERSION}")
        wanted = self.initialize_model(config).pipeline
        pipeline = unpack_pipeline(files[PIPELINE], name=PIPELINE, wanted=wanted, n_features=n_features)
        return SklearnModel(pipeline, n_classes, tuple(str(note) for note in facts["notes"]))


# -- training ----------------------------------------------------------------------------------------------------


@contextmanager
def _reporting(model: SklearnModel, notes: list[str]) -> Iterator[None]:
    """Write scikit-learn's warnings down instead of showing them, and raise its refusals as our own error."""
    try:
        with _warnings_as(notes):
            yield
    except REFUSALS as error:
        reason = " ".join(str(error).split())
        raise TrainingError(f"{model.estimator_name} cannot learn from these rows: {reason}") from error


@contextmanager
def _warnings_as(notes: list[str]) -> Iterator[None]:
    with warnings.catch_warnings(record=True) as caught:
        for category in (UserWarning, RuntimeWarning, FutureWarning):
            warnings.simplefilter("always", category)
        yield
    notes += [f"{one.category.__name__}: {' '.join(str(one.message).split())}"[:MAX_NOTE] for one in caught]


def _distinct(notes: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(notes))


def _seed(estimator: Estimator, seed: int | None) -> None:
    """Seed an estimator and the ones inside it."""
    if seed is None:
        return
    if hasattr(estimator, "random_state"):
        estimator.random_state = seed
    for part in vars(estimator).values():
        if isinstance(part, BaseEstimator):
            _seed(part, seed)


def _weight_for(fit: Callable[..., Any], weight: FloatArray | None, notes: list[str]) -> dict[str, Any]:
    """Return sample weights as an argument, where a method takes them."""
    if weight is None:
        return {}
    if "sample_weight" in inspect.signature(fit).parameters:
        return {"sample_weight": weight}
    notes.append("The estimator takes no sample weights: every row counted the same.")
    return {}


def _held_back(
    model: SklearnModel,
    target: FloatArray | IntArray,
    validation: HeldBack | None,
    notes: list[str],
) -> dict[str, Any]:
    """Return the rows to stop early by as arguments, as the fitted steps make them."""
    estimator = model.estimator
    if not getattr(estimator, "early_stopping", False):
        return {}
    if validation is not None:
        features, outcome = validation.features, validation.target
        # A classifier cannot score a class that it never saw.
        known = np.isin(outcome, target) if is_classifier(estimator) else np.ones(len(outcome), dtype=bool)
        if known.any():
            return {"X_val": model.transform(features[known]), "y_val": outcome[known]}
    estimator.early_stopping = False
    notes.append(NOT_STOPPED_EARLY)
    return {}


def _class_notes(estimator: Estimator, classes: tuple[float, ...]) -> list[str]:
    """Say which classes were missing, and where probabilities come from when the estimator has none."""
    notes = unseen_classes(classes, estimator.classes_)
    if hasattr(estimator, "predict_proba"):
        return notes
    source = "its squashed scores" if hasattr(estimator, "decision_function") else "0 or 1"
    return [*notes, f"{type(estimator).__name__} has no probabilities: they are {source}, uncalibrated."]


def _cannot_update(model: SklearnModel) -> ModelError:
    able = CONTINUABLE["regression" if model.n_classes is None else "classification"]
    return ModelError(
        f"{model.estimator_name}, as it is configured, has no partial_fit to continue its training by. "
        f"Train it again on all rows, or use one of: {', '.join(able)}."
    )


# -- answers -----------------------------------------------------------------------------------------------------


def _probability(estimator: Estimator, rows: FloatArray) -> FloatArray:
    """Return one column of probability for each class that training saw."""
    if hasattr(estimator, "predict_proba"):
        return np.asarray(estimator.predict_proba(rows), dtype=np.float64)
    if not hasattr(estimator, "decision_function"):
        return np.asarray(np.equal.outer(estimator.predict(rows), estimator.classes_), dtype=np.float64)
    scores = np.asarray(estimator.decision_function(rows), dtype=np.float64)
    if scores.ndim == 1:  # of two classes: the score of the second against the first
        scores = np.column_stack([np.zeros_like(scores), scores])
    return softmax(scores)


def _own_importance(model: SklearnModel, features: FloatArray) -> FloatArray | None:
    """Return what the estimator says of its columns, led back to the features; ``None`` where that is not possible."""
    if not all(isinstance(one, (OneToOneFeatureMixin, SelectorMixin)) for one in model.transformers):
        return None
    estimator = model.estimator
    if hasattr(estimator, "feature_importances_"):
        importance = np.asarray(estimator.feature_importances_, dtype=np.float64)
    elif hasattr(estimator, "coef_"):
        rows = model.transform(features)
        importance = np.abs(estimator.coef_).reshape(-1, rows.shape[1]).mean(axis=0) * rows.std(axis=0)
    else:
        return None
    for transformer in reversed(model.transformers):
        if isinstance(transformer, SelectorMixin):
            importance = transformer.inverse_transform(importance[np.newaxis])[0]
    return importance


def _permutation_importance(
    adapter: SklearnAdapter,
    model: SklearnModel,
    features: FloatArray,
    target: FloatArray | IntArray,
    seed: int | None,
) -> FloatArray:
    from sklearn.inspection import permutation_importance

    outcome = target if model.n_classes is None else np.eye(model.n_classes)[target]

    def skill(_: Pipeline, rows: FloatArray, __: FloatArray) -> float:
        return -float(np.mean((adapter.predict(model, rows) - outcome) ** 2))

    found = permutation_importance(
        model.pipeline, features, target, scoring=skill, random_state=seed, n_jobs=1
    )
    return np.asarray(np.maximum(found.importances_mean, 0.0), dtype=np.float64)
