"""From names in a configuration to scikit-learn estimators whose every parameter was checked."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cache, partial
from importlib import import_module
from typing import Any, TypeAlias

from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.decomposition import PCA
from sklearn.feature_selection import (
    SelectKBest,
    VarianceThreshold,
    f_classif,
    f_regression,
    mutual_info_classif,
    mutual_info_regression,
)
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, QuantileTransformer, RobustScaler, StandardScaler
from sklearn.utils import get_tags
from sklearn.utils.discovery import all_estimators

from backtester_model_core.exceptions import ConfigError, nearest
from backtester_model_sklearn.config import (
    DEFAULT_CLASS,
    NestedEstimator,
    PreprocessingStep,
    SklearnModelConfig,
)

Estimator: TypeAlias = Any
"""A scikit-learn estimator or transformer; scikit-learn is untyped."""

EstimatorClass: TypeAlias = Any
"""The class of one."""

KINDS: Mapping[str, tuple[str, Any]] = {
    "classification": ("classifier", ClassifierMixin),
    "regression": ("regressor", RegressorMixin),
}

QUICK_MODULES = ("sklearn.linear_model", "sklearn.ensemble")
"""Where names are looked up first, because listing every estimator imports all of scikit-learn."""

TRANSFORMERS: Mapping[str, EstimatorClass] = {
    "simple_imputer": SimpleImputer,
    "standard_scaler": StandardScaler,
    "minmax_scaler": MinMaxScaler,
    "robust_scaler": RobustScaler,
    "quantile_transformer": QuantileTransformer,
    "variance_threshold": VarianceThreshold,
    "select_k_best": SelectKBest,
    "pca": PCA,
}
SCALERS = {"standard_scaler", "minmax_scaler", "robust_scaler", "quantile_transformer"}
BEFORE_SCALING = {"simple_imputer", "variance_threshold"}
"""Steps that look at features as they are; the scaler of ``normalize_features`` comes after them."""

SCORES: Mapping[str, Mapping[str, Callable[..., Any]]] = {
    "classification": {
        "f_classif": f_classif,
        "mutual_info_classif": partial(mutual_info_classif, random_state=0),
    },
    "regression": {
        "f_regression": f_regression,
        "mutual_info_regression": partial(mutual_info_regression, random_state=0),
    },
}
"""Score functions of select_k_best; the first is the default. The seed is that of a noise that breaks ties."""

REFUSED: Mapping[str, str] = {
    "copy": "the rows belong to the caller and are never overwritten",
    "copy_X": "the rows belong to the caller and are never overwritten",
    "copy_X_train": "the rows belong to the caller and are never overwritten",
    "memory": "a configuration does not name places on the disk",
    "pre_dispatch": "joblib evaluates it as code",
    "probability": "it cross-validates inside the training rows, where neighbouring labels overlap; "
    "without it the decision function is squashed",
    "random_state": "the model's own random_state seeds everything",
    "validation_fraction": "the model's validation_split says which rows are held back",
    "warm_start": "every training starts afresh",
}
"""Parameters that may not be set, whatever their value."""

SEVERAL_TARGETS = "it foresees several targets at once"


# -- names -------------------------------------------------------------------------------------------------------


@cache
def find_estimator(name: str, model_type: str) -> EstimatorClass:
    """Return the classifier or regressor that scikit-learn lists under a name.

    Raises:
        ConfigError: When there is none of that name, or it does the other task.
    """
    found = _find_quickly(name) or list_estimators().get(name)
    if found is None:
        raise ConfigError.unknown("model_class", name, estimator_names(model_type))
    kind, mixin = KINDS[model_type]
    if not issubclass(found, mixin):
        other = "regressor" if kind == "classifier" else "classifier"
        twin = name.replace(other.title(), kind.title())
        if name in DEFAULT_CLASS.values():
            twin = DEFAULT_CLASS[model_type]
        hint = nearest(twin, estimator_names(model_type))
        raise ConfigError(f"model_class {name!r} is a {other}, but model_type is {model_type!r}. {hint}")
    return found


@cache
def list_estimators() -> dict[str, EstimatorClass]:
    """Return every classifier and regressor that scikit-learn itself lists, by name."""
    return dict(all_estimators(["classifier", "regressor"]))


def estimator_names(model_type: str) -> list[str]:
    """Return the names of the estimators for one task."""
    mixin = KINDS[model_type][1]
    return [name for name, found in list_estimators().items() if issubclass(found, mixin)]


def _find_quickly(name: str) -> EstimatorClass | None:
    for module in map(import_module, QUICK_MODULES):
        found = getattr(module, name) if name in module.__all__ else None
        if inspect.isclass(found) and issubclass(found, (ClassifierMixin, RegressorMixin)):
            return found
    return None


# -- construction ------------------------------------------------------------------------------------------------


def build_pipeline(config: SklearnModelConfig) -> Pipeline:
    """Build the untrained preprocessing steps and estimator of a configuration.

    Raises:
        ConfigError: When a name or a parameter is not valid; nothing has been trained then.
    """
    steps = list(config.preprocessing)
    if config.normalize_features and not SCALERS & {step.name for step in steps}:
        position = next((i for i, step in enumerate(steps) if step.name not in BEFORE_SCALING), len(steps))
        steps.insert(position, PreprocessingStep(name="standard_scaler"))
    transformers = [_build_transformer(step, config.model_type) for step in steps]
    estimator = _build_estimator(config.estimator_name, config.hyperparameters, config.model_type)
    return make_pipeline(*transformers, estimator)


def _build_transformer(step: PreprocessingStep, model_type: str) -> Estimator:
    arguments = dict(step.arguments)
    if step.name == "select_k_best":
        scores = SCORES[model_type]
        name = arguments.get("score_func", next(iter(scores)))
        if name not in scores:
            raise ConfigError.unknown(f"score_func for {model_type}", str(name), scores)
        arguments["score_func"] = scores[name]
    return _construct(TRANSFORMERS[step.name], arguments)


def _build_estimator(name: str, hyperparameters: Mapping[str, Any], model_type: str) -> Estimator:
    found = find_estimator(name, model_type)
    if reason := _why_unusable(found):
        raise _unusable(name, reason)
    values = {
        key: _build_nested(value, model_type) if isinstance(value, NestedEstimator) else value
        for key, value in hyperparameters.items()
    }
    if takes_validation(found) and values.get("early_stopping", "auto") == "auto":
        values["early_stopping"] = False  # "auto" would hold back random rows of a large training set
    estimator = _construct(found, values)
    if not get_tags(estimator).target_tags.single_output:
        raise _unusable(name, SEVERAL_TARGETS)
    return estimator


def _build_nested(nested: NestedEstimator, model_type: str) -> Estimator:
    if nested.hyperparameters.get("early_stopping") is True:
        raise ConfigError(
            f"{nested.model_class}: early_stopping = True is refused inside another estimator: the rows that the "
            "model holds back do not reach it."
        )
    return _build_estimator(nested.model_class, nested.hyperparameters, model_type)


def _construct(found: EstimatorClass, values: Mapping[str, Any]) -> Estimator:
    """Call a scikit-learn class with parameters that it has, and that hold what it declares for them."""
    known = parameters_of(found)
    for key, value in values.items():
        if key not in known:
            raise ConfigError.unknown(f"parameter of {found.__name__}", key, known)
        if reason := _why_refused(found, key, value):
            raise ConfigError(f"{found.__name__}: {key} = {value!r} is refused: {reason}.")
    missing = [key for key, one in known.items() if one.default is one.empty and key not in values]
    if missing:
        needed = f'{missing[0]} = {{model_class = "..."}}'
        raise ConfigError(
            f"{found.__name__} works through another estimator. Give {needed} in hyperparameters."
        )
    instance = found(**values)
    try:
        instance._validate_params()  # noqa: SLF001 - scikit-learn itself checks only in fit, too late for us
    except ValueError as error:
        raise ConfigError(str(error)) from error
    return instance


def _unusable(name: str, reason: str) -> ConfigError:
    return ConfigError(f"model_class {name!r} cannot be used: {reason}.")


@cache
def _why_unusable(found: EstimatorClass) -> str | None:
    """Say why a class can never be used here, going by what it takes."""
    if "Y" in inspect.signature(found.fit).parameters:
        return SEVERAL_TARGETS
    if "estimators" in parameters_of(found):
        return "it takes a list of estimators, which a configuration cannot give"
    if "min_categories" in parameters_of(found):
        return "its features are categories, not numbers"
    if "cv" in parameters_of(found):
        return (
            "it cross-validates inside the training rows, where neighbouring labels overlap, so it chooses by a "
            "score that is too good. Set its parameters, and compare walk-forwards"
        )
    return None


def _why_refused(found: EstimatorClass, name: str, value: Any) -> str | None:
    """Say why a parameter may not have a value that scikit-learn itself would take."""
    if name in REFUSED:
        return REFUSED[name]
    if value == "precomputed":
        return "rows are features, not distances to each other"
    if name == "decision_function_shape" and value == "ovo":
        return "it scores pairs of classes, not classes"
    if _stops_early(found, name, value) and not takes_validation(found):
        return (
            "it holds back random rows of the training set, whose labels overlap those of its neighbours. "
            "HistGradientBoosting stops early by later, purged rows"
        )
    return None


def _stops_early(found: EstimatorClass, name: str, value: Any) -> bool:
    """Say whether a parameter turns early stopping on: where there is no switch, the patience is one."""
    if name == "n_iter_no_change":
        return value is not None and "early_stopping" not in parameters_of(found)
    return name == "early_stopping" and value is True


@cache
def parameters_of(found: EstimatorClass) -> Mapping[str, inspect.Parameter]:
    """Return the parameters of a scikit-learn class by name."""
    return inspect.signature(found).parameters


@cache
def takes_validation(found: EstimatorClass) -> bool:
    """Say whether a class can stop early by rows that it is given."""
    return "X_val" in inspect.signature(found.fit).parameters
