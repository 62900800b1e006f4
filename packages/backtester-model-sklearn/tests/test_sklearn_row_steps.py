"""A compiled step answers one row as ``predict`` does, for every estimator and step before it that has one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtester_model_core.compiled import numba_is_here
from backtester_model_core.exceptions import ModelError
from backtester_model_sklearn import tree_walks
from backtester_model_sklearn.adapter import SklearnAdapter
from backtester_model_sklearn.config import SklearnModelConfig
from backtester_model_sklearn.model import SklearnModel
from backtester_model_sklearn.row_steps import SCORERS, VALUES, one_vs_rest_link, row_step
from backtester_model_sklearn.tree_walks import walk_together

ADAPTER = SklearnAdapter()
ENGINES = [False, pytest.param(True, marks=pytest.mark.skipif(not numba_is_here(), reason="needs numba"))]
each_engine = pytest.mark.parametrize(
    "compiled", ENGINES, ids=lambda compiled: "compiled" if compiled else "plain"
)

LOCATIONS = np.array([0.0, 1e6, -3.0, 1e-4, 50.0, 0.0])
WIDTHS = np.array([1.0, 10.0, 100.0, 1e-5, 7.0, 1e-3])


def rows(seed: int, n: int) -> np.ndarray:
    """Return features of very different sizes, as prices, returns and volumes are."""
    return LOCATIONS + WIDTHS * np.random.default_rng(seed).normal(size=(n, len(WIDTHS)))


def trained(fields: dict[str, Any], n_classes: int | None, *, seen: int | None = None) -> SklearnModel:
    """Train on rows with a rule and noise; of the classes only the first ``seen`` occur."""
    features = rows(1, 300)
    score = ((features - LOCATIONS) / WIDTHS) @ [1.0, -1.0, 0.5, 2.0, 0.0, 0.3]
    score = score + np.random.default_rng(2).normal(size=len(score))
    kind = "regression" if n_classes is None else "classification"
    config = SklearnModelConfig(model_type=kind, **fields)
    if n_classes is None:
        target, classes = np.exp(score / 10), None
    else:
        n_seen = seen or n_classes
        edges = np.quantile(score, np.arange(1, n_seen) / n_seen)
        target, classes = np.searchsorted(edges, score), tuple(map(float, range(n_classes)))
    model = ADAPTER.initialize_model(config)
    return ADAPTER.train_model(model, features, target, classes=classes, seed=0)


def assert_step_is_predict(model: SklearnModel, *, compiled: bool, tolerance: float = 1e-9) -> None:
    step, served = row_step(model, compiled=compiled), rows(3, 200)

    answers = np.array([step(row) for row in served.tolist()])

    assert np.abs(answers - ADAPTER.predict(model, served)).max() <= tolerance


# -- linear ------------------------------------------------------------------------------------------------------

REGRESSORS = sorted(VALUES)


@pytest.mark.parametrize("name", REGRESSORS)
def test_a_linear_regression_answers_a_row_as_predict_does(name: str) -> None:
    model = trained({"model_class": name}, None)

    assert_step_is_predict(model, compiled=False)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize(
    ("name", "hyperparameters"),
    [*((name, {}) for name in SCORERS), ("SGDClassifier", {"loss": "log_loss"})],
)
def test_a_linear_classifier_answers_a_row_as_predict_does(
    name: str, hyperparameters: dict[str, Any], n_classes: int
) -> None:
    model = trained({"model_class": name, "hyperparameters": hyperparameters}, n_classes)

    assert_step_is_predict(model, compiled=False)


@pytest.mark.parametrize(
    "preprocessing",
    [
        ["simple_imputer", "standard_scaler"],
        ["robust_scaler"],
        [{"name": "robust_scaler", "with_centering": False, "with_scaling": False}],
        [{"name": "standard_scaler", "with_mean": False, "with_std": False}],
        ["minmax_scaler"],
        ["variance_threshold", "standard_scaler", {"name": "select_k_best", "k": 3}],
        ["standard_scaler", {"name": "pca", "n_components": 4}],
        [{"name": "pca", "n_components": 2, "whiten": True}],
    ],
    ids=str,
)
def test_linear_preprocessing_is_a_part_of_the_step(preprocessing: list[Any]) -> None:
    model = trained(
        {"model_class": "Ridge", "preprocessing": preprocessing, "normalize_features": False}, None
    )

    assert_step_is_predict(model, compiled=False)


def test_scores_far_from_zero_give_certainties() -> None:
    model = trained({}, 2)
    model.estimator.coef_ *= 1e6

    assert_step_is_predict(model, compiled=False)


def test_a_class_that_no_row_had_keeps_its_place() -> None:
    model = trained({}, 3, seen=2)

    assert_step_is_predict(model, compiled=False)
    assert row_step(model, compiled=False)(rows(4, 1)[0].tolist())[2] == 0.0


def test_one_against_the_rest_is_even_where_every_class_is_impossible() -> None:
    assert one_vs_rest_link([-1e9, -1e9]) == [0.5, 0.5]
    assert one_vs_rest_link([0.0, 0.0, 0.0, 0.0]) == [0.25] * 4


# -- trees -------------------------------------------------------------------------------------------------------

SMALL = {"n_estimators": 23}
BOTH = ["DecisionTree", "ExtraTree", "RandomForest", "ExtraTrees", "GradientBoosting", "HistGradientBoosting"]


def tree_fields(name: str, kind: str) -> dict[str, Any]:
    few = {"max_iter": 23} if name.startswith("Hist") else {} if name.endswith("Tree") else SMALL
    return {"model_class": f"{name}{kind}", "hyperparameters": few}


def test_trees_are_walked_together_and_each_adds_its_leaf() -> None:
    # A stump on column 1 at 0.5 (10 or 20, to the first score) and a lone leaf (3, to the second).
    scores, nodes = np.zeros(2), np.zeros(2, dtype=np.int64)
    shape = {
        "features": [1, 0, 0, 0],
        "thresholds": [0.5, np.inf, np.inf, np.inf],
        "children": [1, 2, 1, 1, 2, 2, 3, 3],
        "values": np.array([[0.0], [10.0], [20.0], [3.0]]),
        "roots": [0, 3],
        "depths": [1, 1],
        "columns": [0, 1],
    }

    walk_together([9.0, 0.5], **shape, nodes=nodes, scores=scores)
    walk_together([9.0, 0.6], **shape, nodes=nodes, scores=scores)

    assert scores.tolist() == [30.0, 6.0]


@each_engine
@pytest.mark.parametrize("name", BOTH)
def test_a_regression_by_trees_answers_a_row_as_predict_does(name: str, compiled: bool) -> None:
    model = trained(tree_fields(name, "Regressor"), None)

    assert_step_is_predict(model, compiled=compiled)


@each_engine
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("name", BOTH)
def test_a_classifier_by_trees_answers_a_row_as_predict_does(
    name: str, n_classes: int, compiled: bool
) -> None:
    model = trained(tree_fields(name, "Classifier"), n_classes)

    assert_step_is_predict(model, compiled=compiled)


@pytest.mark.parametrize("limit", ["LEAVES", "MOST_BYTES"])
@pytest.mark.parametrize("name", ["RandomForestClassifier", "GradientBoostingClassifier"])
def test_more_trees_than_go_together_answer_as_predict_does(
    name: str, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        tree_walks, limit, 20
    )  # so few leaves share an integer, or so few bytes would be kept
    model = trained({"model_class": name, "hyperparameters": SMALL}, 3)

    assert_step_is_predict(model, compiled=False)


@pytest.mark.parametrize(
    ("name", "hyperparameters"),
    [
        ("HistGradientBoostingRegressor", {"loss": "poisson", "max_iter": 5}),
        ("GradientBoostingRegressor", {"loss": "huber", "n_estimators": 5, "init": "zero"}),
        ("RandomForestRegressor", {"max_leaf_nodes": 7, "n_estimators": 5}),
    ],
)
def test_a_regression_of_another_loss_or_shape_answers_as_predict_does(
    name: str, hyperparameters: dict[str, Any]
) -> None:
    model = trained({"model_class": name, "hyperparameters": hyperparameters}, None)

    assert_step_is_predict(model, compiled=False)


def test_boosting_by_the_exponential_loss_answers_as_predict_does() -> None:
    hyperparameters = {"loss": "exponential", "n_estimators": 5}
    model = trained({"model_class": "GradientBoostingClassifier", "hyperparameters": hyperparameters}, 2)

    assert_step_is_predict(model, compiled=False)


def test_a_class_that_no_tree_saw_keeps_its_place() -> None:
    model = trained(tree_fields("RandomForest", "Classifier"), 3, seen=2)

    assert_step_is_predict(model, compiled=False)


@pytest.mark.parametrize(
    "preprocessing",
    [
        [],
        ["minmax_scaler"],
        [{"name": "minmax_scaler", "clip": True}],
        ["quantile_transformer"],
        ["robust_scaler", "minmax_scaler"],
        ["variance_threshold", "simple_imputer", "standard_scaler", {"name": "select_k_best", "k": 3}],
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["DecisionTree", "HistGradientBoosting"])
def test_preprocessing_of_each_column_becomes_a_part_of_the_thresholds(
    name: str, preprocessing: list[Any]
) -> None:
    fields = tree_fields(name, "Regressor")
    model = trained(fields | {"preprocessing": preprocessing, "normalize_features": False}, None)

    assert_step_is_predict(model, compiled=False)


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("name", ["DecisionTree", "HistGradientBoosting"])
@settings(max_examples=25)
@given(data=st.data())
def test_a_row_beside_a_threshold_goes_the_way_it_goes_in_predict(
    name: str, normalize: bool, data: st.DataObject
) -> None:
    model = CORNERS[name, normalize]
    step, centre = row_step(model, compiled=False), LOCATIONS.copy()
    feature = data.draw(st.integers(0, len(WIDTHS) - 1))
    near = data.draw(st.sampled_from(rows(1, 300)[:, feature].tolist()))
    for _ in range(data.draw(st.integers(0, 3))):
        near = np.nextafter(near, data.draw(st.sampled_from([-np.inf, np.inf])))
    centre[feature] = data.draw(st.sampled_from([near, float(np.float32(near))]))

    assert step(centre.tolist()) == pytest.approx(ADAPTER.predict(model, centre[np.newaxis])[0], abs=1e-12)


CORNERS = {
    (name, normalize): trained(tree_fields(name, "Regressor") | {"normalize_features": normalize}, None)
    for name in ("DecisionTree", "HistGradientBoosting")
    for normalize in (True, False)
}


# -- what has no such form ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"model_class": "KNeighborsRegressor"}, "neither linear nor made of trees"),
        ({"model_class": "Ridge", "preprocessing": ["quantile_transformer"]}, "no linear map"),
        (
            {"model_class": "Ridge", "preprocessing": [{"name": "minmax_scaler", "clip": True}]},
            "no linear map",
        ),
        (
            {"model_class": "Ridge", "preprocessing": [{"name": "simple_imputer", "missing_values": 0}]},
            "no linear map",
        ),
        ({"model_class": "DecisionTreeRegressor", "preprocessing": ["pca"]}, "does not take columns apart"),
        (
            {
                "model_class": "GradientBoostingRegressor",
                "hyperparameters": {"init": {"model_class": "Ridge"}},
            },
            "begins with another estimator",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_model_without_a_fast_form_says_why(fields: dict[str, Any], reason: str) -> None:
    model = trained(fields, None)

    with pytest.raises(ModelError, match=rf"{reason}.*asked through predict"):
        ADAPTER.compile_step(model)


def test_a_classifier_whose_probabilities_are_of_another_kind_is_asked_through_predict() -> None:
    fields = {"model_class": "SGDClassifier", "hyperparameters": {"loss": "modified_huber"}}

    with pytest.raises(ModelError, match="neither linear"):
        ADAPTER.compile_step(trained(fields, 2))


def test_trees_that_split_by_categories_are_asked_through_predict() -> None:
    hyperparameters = {"categorical_features": [0]}
    config = SklearnModelConfig(
        model_type="regression",
        model_class="HistGradientBoostingRegressor",
        hyperparameters=hyperparameters,
        normalize_features=False,
    )
    codes = np.random.default_rng(5).integers(0, 4, size=(200, 1)).astype(float)
    model = ADAPTER.train_model(ADAPTER.initialize_model(config), codes, (codes[:, 0] - 1.5) ** 2)

    with pytest.raises(ModelError, match="splits by categories"):
        ADAPTER.compile_step(model)
