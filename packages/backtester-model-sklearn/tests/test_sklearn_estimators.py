"""Names and parameters of scikit-learn estimators: what is found, and what is refused before any training."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from sklearn.decomposition import PCA
from sklearn.ensemble import AdaBoostClassifier
from sklearn.feature_selection import SelectKBest, VarianceThreshold, f_classif, f_regression
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from backtester_model_core.exceptions import ConfigError
from backtester_model_sklearn.config import SklearnModelConfig
from backtester_model_sklearn.estimators import (
    REFUSED,
    _find_quickly,
    build_pipeline,
    find_estimator,
    list_estimators,
)


def built(**fields: Any) -> list[Any]:
    """Return the pipeline's steps."""
    return [step for _, step in build_pipeline(SklearnModelConfig(**fields)).steps]


def refusal(model_class: str, hyperparameters: dict[str, Any], model_type: str = "classification") -> str:
    with pytest.raises(ConfigError) as caught:
        built(model_class=model_class, model_type=model_type, hyperparameters=hyperparameters)
    return str(caught.value)


# -- names -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list_estimators())
def test_the_quick_lookup_finds_nothing_else_than_the_listing(name: str) -> None:
    assert _find_quickly(name) in {None, list_estimators()[name]}


@pytest.mark.parametrize("name", ["BaseEnsemble", "lasso_path", "os", "__doc__", "IsolationForest", "KMeans"])
def test_what_scikit_learn_does_not_list_as_a_model_is_not_found(name: str) -> None:
    with pytest.raises(ConfigError, match=f"Unknown model_class '{name}'"):
        find_estimator(name, "classification")


def test_a_common_name_is_found_without_importing_the_rest_of_scikit_learn() -> None:
    code = (
        "import sys; from backtester_model_sklearn.estimators import find_estimator\n"
        "find_estimator('LogisticRegression', 'classification')\n"
        "sys.exit('sklearn.gaussian_process' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", code], check=False)

    assert done.returncode == 0


@pytest.mark.parametrize(
    ("name", "model_type", "words"),
    [
        ("LogisticRegresion", "classification", "Did you mean 'LogisticRegression'?"),
        ("RandomForest", "regression", "Did you mean 'RandomForestRegressor'?"),
        ("xyz", "regression", "Valid: ARDRegression, AdaBoostRegressor, "),
        ("RandomForestClassifier", "regression", "is a classifier, .*'RandomForestRegressor'"),
        (
            "HistGradientBoostingRegressor",
            "classification",
            "is a regressor, .*'HistGradientBoostingClassifier'",
        ),
        ("LogisticRegression", "regression", "is a classifier, .*'Ridge'"),
    ],
)
def test_a_wrong_name_is_answered_by_the_nearest_right_one(name: str, model_type: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        find_estimator(name, model_type)


# -- parameters --------------------------------------------------------------------------------------------------


def test_parameters_reach_the_estimator() -> None:
    estimator = built(hyperparameters={"C": 0.1, "max_iter": 500})[-1]

    assert isinstance(estimator, LogisticRegression)
    assert (estimator.C, estimator.max_iter) == (0.1, 500)


def test_a_nested_estimator_is_built_and_checked_like_an_outer_one() -> None:
    tree = {"model_class": "DecisionTreeClassifier", "hyperparameters": {"max_depth": 2}}

    estimator = built(model_class="AdaBoostClassifier", hyperparameters={"estimator": tree})[-1]

    assert isinstance(estimator, AdaBoostClassifier)
    assert isinstance(estimator.estimator, DecisionTreeClassifier)
    assert estimator.estimator.max_depth == 2
    tree["hyperparameters"] = {"max_depht": 2}
    assert "Did you mean 'max_depth'?" in refusal("AdaBoostClassifier", {"estimator": tree})


@pytest.mark.parametrize(
    ("name", "hyperparameters", "words"),
    [
        ("LogisticRegression", {"max_itr": 9}, ["parameter of LogisticRegression 'max_itr'", "'max_iter'?"]),
        ("LogisticRegression", {"C": -1.0}, ["'C'", "(0.0, inf]", "Got -1.0"]),
        ("LogisticRegression", {"solver": "adam"}, ["'solver'", "'lbfgs'", "Got 'adam'"]),
        ("LogisticRegression", {"C": "1"}, ["'C'", "Got '1'"]),
        ("RandomForestClassifier", {"n_estimators": 1.5}, ["'n_estimators'", "int", "Got 1.5"]),
        ("LogisticRegression", {"C": {"model_class": "SVC"}}, ["'C'", "Got SVC()"]),
        ("GaussianProcessClassifier", {"kernel": "RBF"}, ["'kernel'", "Got 'RBF'"]),
        ("OneVsRestClassifier", {}, ["works through another estimator", "estimator = {model_class ="]),
    ],
)
def test_a_wrong_parameter_is_named_with_its_value_and_what_is_valid(
    name: str, hyperparameters: dict[str, Any], words: list[str]
) -> None:
    message = refusal(name, hyperparameters)

    assert [word for word in words if word not in message] == []


@pytest.mark.parametrize(
    ("name", "hyperparameters", "reason"),
    [
        ("LogisticRegression", {"random_state": 1}, "random_state seeds everything"),
        ("LogisticRegression", {"warm_start": True}, "starts afresh"),
        ("SVC", {"probability": True}, "cross-validates"),
        ("SVC", {"kernel": "precomputed"}, "not distances"),
        ("SVC", {"decision_function_shape": "ovo"}, "pairs of classes"),
        ("KNeighborsClassifier", {"metric": "precomputed"}, "not distances"),
        ("HistGradientBoostingClassifier", {"validation_fraction": 0.1}, "validation_split"),
        ("SGDClassifier", {"early_stopping": True}, "random rows"),
        ("MLPClassifier", {"early_stopping": True}, "random rows"),
        ("GradientBoostingClassifier", {"n_iter_no_change": 5}, "random rows"),
        (
            "BaggingClassifier",
            {
                "estimator": {
                    "model_class": "HistGradientBoostingClassifier",
                    "hyperparameters": {"early_stopping": True},
                }
            },
            "inside another",
        ),
    ],
)
def test_a_parameter_that_would_break_the_clock_or_the_model_is_refused(
    name: str, hyperparameters: dict[str, Any], reason: str
) -> None:
    assert reason in refusal(name, hyperparameters)


@pytest.mark.parametrize(
    ("name", "hyperparameters"),
    [
        ("SGDClassifier", {"early_stopping": False, "n_iter_no_change": 3}),
        ("GradientBoostingClassifier", {"n_iter_no_change": None}),
        ("SVC", {"decision_function_shape": "ovr", "kernel": "linear"}),
        ("HistGradientBoostingClassifier", {"early_stopping": True, "n_iter_no_change": 3}),
    ],
)
def test_the_harmless_value_of_such_a_parameter_is_accepted(
    name: str, hyperparameters: dict[str, Any]
) -> None:
    estimator = built(model_class=name, hyperparameters=hyperparameters)[-1]

    assert {key: getattr(estimator, key) for key in hyperparameters} == hyperparameters


def test_a_wrong_value_of_early_stopping_is_not_passed_over() -> None:
    message = refusal("HistGradientBoostingClassifier", {"early_stopping": "yes"})

    assert "Got 'yes'" in message


@pytest.mark.parametrize("hyperparameters", [{}, {"early_stopping": "auto"}])
def test_boosting_does_not_hold_back_rows_by_itself(hyperparameters: dict[str, Any]) -> None:
    outer = built(model_class="HistGradientBoostingClassifier", hyperparameters=hyperparameters)[-1]
    nested = {"model_class": "HistGradientBoostingClassifier", "hyperparameters": hyperparameters}
    inner = built(model_class="BaggingClassifier", hyperparameters={"estimator": nested})[-1].estimator

    assert outer.early_stopping is False
    assert inner.early_stopping is False


def test_a_text_goes_nowhere_but_to_choices_that_scikit_learn_declares() -> None:
    """Elsewhere it is a class's own name, or the name of a scorer, which is looked up in a table."""
    free = {
        (name, parameter)
        for name, found in list_estimators().items()
        for parameter, allowed in found._parameter_constraints.items()
        if parameter not in REFUSED and "cv" not in found._parameter_constraints
        if allowed == "no_validation" or str in allowed
    }

    assert free == {
        ("DummyClassifier", "constant"),
        ("FixedThresholdClassifier", "pos_label"),
        ("HistGradientBoostingClassifier", "scoring"),
        ("HistGradientBoostingRegressor", "scoring"),
        ("RadiusNeighborsClassifier", "outlier_label"),
    }


# -- preprocessing -----------------------------------------------------------------------------------------------


def test_features_are_standardised_when_no_scaler_is_listed() -> None:
    assert [type(step) for step in built()] == [StandardScaler, LogisticRegression]
    assert [type(step) for step in built(preprocessing=["pca"])] == [StandardScaler, PCA, LogisticRegression]


def test_a_listed_scaler_takes_the_place_of_the_default_one() -> None:
    steps = built(preprocessing=["pca", "robust_scaler"])

    assert [type(step) for step in steps] == [PCA, RobustScaler, LogisticRegression]


def test_standardising_comes_after_steps_that_look_at_features_as_they_are() -> None:
    steps = built(preprocessing=["variance_threshold"])

    assert [type(step) for step in steps] == [VarianceThreshold, StandardScaler, LogisticRegression]


def test_without_normalize_features_there_is_no_scaler() -> None:
    assert [type(step) for step in built(normalize_features=False)] == [LogisticRegression]


def test_a_step_takes_its_arguments_lists_as_ranges() -> None:
    scaler = built(preprocessing=[{"name": "minmax_scaler", "feature_range": [-1, 1]}])[0]

    assert isinstance(scaler, MinMaxScaler)
    assert scaler.feature_range == (-1, 1)


@pytest.mark.parametrize(
    ("model_type", "score"), [("classification", f_classif), ("regression", f_regression)]
)
def test_features_are_selected_by_the_score_of_the_task(model_type: str, score: object) -> None:
    selector = built(model_type=model_type, preprocessing=[{"name": "select_k_best", "k": 2}])[1]

    assert isinstance(selector, SelectKBest)
    assert (selector.k, selector.score_func) == (2, score)


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ({"name": "pca", "n_component": 2}, "parameter of PCA 'n_component'. Did you mean 'n_components'?"),
        ({"name": "pca", "n_components": -2}, "'n_components' .* Got -2"),
        ({"name": "pca", "random_state": 2}, "random_state seeds everything"),
        ({"name": "standard_scaler", "copy": False}, "never overwritten"),
        ({"name": "select_k_best", "score_func": "f_regression"}, "score_func for classification"),
        ({"name": "select_k_best", "score_func": "mutual_info"}, "Did you mean 'mutual_info_classif'?"),
    ],
)
def test_a_wrong_argument_of_a_step_is_refused(step: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        built(preprocessing=[step])
