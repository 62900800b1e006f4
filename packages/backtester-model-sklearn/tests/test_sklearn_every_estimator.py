"""Every classifier and regressor that scikit-learn lists: it trains and forecasts, or is refused with a reason."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from backtester_model_core.exceptions import ConfigError, TrainingError
from backtester_model_sklearn.adapter import SklearnAdapter
from backtester_model_sklearn.config import SklearnModelConfig
from backtester_model_sklearn.estimators import estimator_names
from backtester_model_sklearn.model import SklearnModel

N_ROWS = 40
LINEAR = {"estimator": {"model_class": "LogisticRegression"}}

CROSS_VALIDATES = {
    *("CalibratedClassifierCV", "LogisticRegressionCV", "RidgeClassifierCV", "TunedThresholdClassifierCV"),
    *("ElasticNetCV", "LarsCV", "LassoCV", "LassoLarsCV", "MultiTaskElasticNetCV", "MultiTaskLassoCV"),
    *("OrthogonalMatchingPursuitCV", "RidgeCV"),
}
SEVERAL_TARGETS = {
    *("ClassifierChain", "MultiOutputClassifier", "MultiTaskElasticNet", "MultiTaskLasso"),
    *("MultiOutputRegressor", "RegressorChain"),
}
LISTS = {"StackingClassifier", "StackingRegressor", "VotingClassifier", "VotingRegressor"}
CATEGORIES = {"CategoricalNB"}
UNUSABLE = {
    **dict.fromkeys(CROSS_VALIDATES, "cross-validates"),
    **dict.fromkeys(SEVERAL_TARGETS, "several targets"),
    **dict.fromkeys(LISTS, "a list of estimators"),
    **dict.fromkeys(CATEGORIES, "categories"),
}
SETTINGS: dict[str, dict[str, Any]] = {
    "CCA": {"hyperparameters": {"n_components": 1}},
    "ComplementNB": {"preprocessing": ["minmax_scaler"]},
    "FixedThresholdClassifier": {"hyperparameters": LINEAR},
    "MultinomialNB": {"preprocessing": ["minmax_scaler"]},
    "MultiOutputRegressor": {"hyperparameters": {"estimator": {"model_class": "Ridge"}}},
    "OneVsOneClassifier": {"hyperparameters": LINEAR},
    "OneVsRestClassifier": {"hyperparameters": LINEAR},
    "OutputCodeClassifier": {"hyperparameters": LINEAR},
    "PLSCanonical": {"hyperparameters": {"n_components": 1}},
    "RadiusNeighborsClassifier": {"hyperparameters": {"radius": 10.0}},
    "RadiusNeighborsRegressor": {"hyperparameters": {"radius": 10.0}},
    "SelfTrainingClassifier": {"hyperparameters": LINEAR},
    "GradientBoostingClassifier": {"hyperparameters": {"n_estimators": 20}},
    "RandomForestClassifier": {"hyperparameters": {"n_estimators": 20}},
}
"""What an estimator needs that cannot do with its defaults here."""
POSITIVE_TARGETS = {"GammaRegressor", "PoissonRegressor"}
TWO_CLASSES = {"FixedThresholdClassifier"}
ONE_FEATURE = {"IsotonicRegression"}

rng = np.random.default_rng(0)
FEATURES = rng.normal(size=(N_ROWS, 3))
SCORE = FEATURES[:, 0] + 0.2 * rng.normal(size=N_ROWS)


def trained(name: str, model_type: str) -> SklearnModel:
    adapter = SklearnAdapter()
    model = adapter.initialize_model(config_of(name, model_type))
    if model_type == "classification":
        thresholds = [0.0] if name in TWO_CLASSES else [-0.5, 0.5]
        classes = tuple(float(position) for position in range(len(thresholds) + 1))
        return adapter.train_model(model, FEATURES, np.digitize(SCORE, thresholds), classes=classes, seed=0)
    target = np.exp(SCORE) if name in POSITIVE_TARGETS else SCORE
    return adapter.train_model(model, FEATURES[:, :1] if name in ONE_FEATURE else FEATURES, target, seed=0)


def config_of(name: str, model_type: str) -> SklearnModelConfig:
    return SklearnModelConfig(model_type=model_type, model_class=name, **SETTINGS.get(name, {}))


def named(model_type: str, *, usable: bool) -> list[str]:
    return [name for name in estimator_names(model_type) if (name not in UNUSABLE) == usable]


@pytest.mark.parametrize("name", named("classification", usable=True))
def test_a_classifier_gives_a_probability_to_each_class(name: str) -> None:
    probability = SklearnAdapter().predict(trained(name, "classification"), FEATURES)

    assert probability.shape == (N_ROWS, 2 if name in TWO_CLASSES else 3)
    assert ((probability >= 0) & (probability <= 1)).all()
    assert np.allclose(probability.sum(axis=1), 1.0)


@pytest.mark.parametrize("name", named("regression", usable=True))
def test_a_regressor_gives_a_number_to_each_row(name: str) -> None:
    features = FEATURES[:, :1] if name in ONE_FEATURE else FEATURES

    values = SklearnAdapter().predict(trained(name, "regression"), features)

    assert values.shape == (N_ROWS,)
    assert np.isfinite(values).all()


@pytest.mark.parametrize("model_type", ["classification", "regression"])
def test_what_cannot_be_used_is_refused_before_training(model_type: str) -> None:
    for name in named(model_type, usable=False):
        with pytest.raises(ConfigError, match=UNUSABLE[name]):
            trained(name, model_type)


@pytest.mark.parametrize(
    ("name", "model_type", "reason"),
    [
        ("CCA", "regression", "n_components"),
        ("GammaRegressor", "regression", "out of the valid range"),
        ("IsotonicRegression", "regression", "1 feature"),
        ("MultinomialNB", "classification", "Negative values"),
    ],
)
def test_rows_that_an_estimator_cannot_take_are_refused_in_training(
    name: str, model_type: str, reason: str
) -> None:
    adapter = SklearnAdapter()
    model = adapter.initialize_model(SklearnModelConfig(model_type=model_type, model_class=name))
    classes = (0.0, 1.0) if model_type == "classification" else None
    target = (SCORE > 0).astype(int) if classes else SCORE

    with pytest.raises(TrainingError, match=f"{name} cannot learn from these rows: .*{reason}"):
        adapter.train_model(model, FEATURES, target, classes=classes, seed=0)


@pytest.mark.parametrize(
    ("name", "model_type"),
    [(name, kind) for kind in ("classification", "regression") for name in named(kind, usable=True)],
)
def test_an_estimator_answers_to_the_bit_after_loading(name: str, model_type: str) -> None:
    adapter, model = SklearnAdapter(), trained(name, model_type)
    features = FEATURES[:, :1] if name in ONE_FEATURE else FEATURES
    classes = None if model.n_classes is None else tuple(float(value) for value in range(model.n_classes))

    loaded = adapter.load_model(
        adapter.save_model(model),
        config_of(name, model_type),
        n_features=features.shape[1],
        classes=classes,
    )

    assert np.array_equal(adapter.predict(loaded, features), adapter.predict(model, features))
