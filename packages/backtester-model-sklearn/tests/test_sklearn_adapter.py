"""The scikit-learn adapter: fixed classes, preprocessing, weights, seeds, early stopping, importance, updates."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier
from sklearn.preprocessing import StandardScaler

from backtester_model_core.adapter import HeldBack
from backtester_model_core.config import ModelConfig
from backtester_model_core.exceptions import ConfigError, ModelError, PredictionError, TrainingError
from backtester_model_core.factory import ModelFactory
from backtester_model_core.testing import AdapterContract, ModelContract, random_bars, synthetic_rows
from backtester_model_core.walkforward import walk_forward
from backtester_model_sklearn.adapter import CONTINUABLE, SklearnAdapter
from backtester_model_sklearn.config import SklearnModelConfig
from backtester_model_sklearn.estimators import TRANSFORMERS
from backtester_model_sklearn.model import SklearnModel

ADAPTER = SklearnAdapter()
BOOSTING = {"max_iter": 200, "learning_rate": 0.3, "early_stopping": True, "n_iter_no_change": 3}


def untrained(
    model_class: str | None = None, model_type: str = "classification", **fields: Any
) -> SklearnModel:
    return ADAPTER.initialize_model(
        SklearnModelConfig(model_class=model_class, model_type=model_type, **fields)
    )


def rows(n_rows: int = 100, model_type: Any = "classification", seed: int = 0) -> tuple[Any, Any]:
    return synthetic_rows(n_rows, model_type=model_type, seed=seed)


def classifier(
    model_class: str, hyperparameters: dict[str, Any] | None = None, **fields: Any
) -> SklearnModel:
    """Return a classifier of two classes, trained on a hundred rows."""
    model = untrained(model_class, hyperparameters=hyperparameters or {}, **fields)
    return ADAPTER.train_model(model, *rows(), classes=(0.0, 1.0), seed=0)


def regressor(model_class: str, hyperparameters: dict[str, Any] | None = None, **fields: Any) -> SklearnModel:
    """Return a regressor trained on a hundred rows."""
    model = untrained(model_class, "regression", hyperparameters=hyperparameters or {}, **fields)
    return ADAPTER.train_model(model, *rows(model_type="regression"), seed=0)


class TestLinearModels(AdapterContract):
    framework = "sklearn"


class TestBoosting(ModelContract):
    framework = "sklearn"
    classification: ClassVar = {
        "model_class": "HistGradientBoostingClassifier",
        "hyperparameters": {"max_iter": 20},
    }
    regression: ClassVar = {
        "model_class": "HistGradientBoostingRegressor",
        "hyperparameters": {"max_iter": 20},
        "preprocessing": ["quantile_transformer", {"name": "select_k_best", "k": 3}],
    }


class TestWithoutProbabilities(ModelContract):
    framework = "sklearn"
    classification: ClassVar = {"model_class": "LinearSVC", "preprocessing": ["robust_scaler"]}
    regression: ClassVar = {
        "model_class": "KNeighborsRegressor",
        "preprocessing": [{"name": "pca", "n_components": 3}],
    }


def test_another_frameworks_configuration_is_refused() -> None:
    with pytest.raises(ConfigError, match="takes a SklearnModelConfig, not a ModelConfig"):
        ADAPTER.initialize_model(ModelConfig(framework="sklearn"))


# -- against scikit-learn by hand --------------------------------------------------------------------------------


def test_a_classifier_answers_as_scikit_learn_by_hand() -> None:
    features, target = rows()
    scaler = StandardScaler()
    by_hand = LogisticRegression(C=0.5).fit(scaler.fit_transform(features), target)

    model = classifier("LogisticRegression", {"C": 0.5})

    served = rows(seed=1)[0]
    wanted = by_hand.predict_proba(scaler.transform(served))
    assert np.array_equal(ADAPTER.predict(model, served), wanted)
    assert np.array_equal(model.pipeline.predict_proba(served), wanted)


def test_a_regressor_answers_as_scikit_learn_by_hand() -> None:
    features, target = rows(model_type="regression")
    by_hand = Ridge(alpha=2.0).fit(features, target)

    model = regressor("Ridge", {"alpha": 2.0}, normalize_features=False)

    assert np.array_equal(ADAPTER.predict(model, features), by_hand.predict(features))


def test_sample_weights_reach_the_estimator() -> None:
    features, target = rows(model_type="regression")
    weight = np.linspace(0.1, 1.0, len(target))
    by_hand = Ridge().fit(features, target, sample_weight=weight)

    model = untrained("Ridge", "regression", normalize_features=False)
    model = ADAPTER.train_model(model, features, target, weight=weight, seed=0)

    assert np.array_equal(ADAPTER.predict(model, features), by_hand.predict(features))
    assert ADAPTER.training_notes(model) == ()


def test_weights_that_cannot_be_used_are_noted() -> None:
    model = untrained("KNeighborsClassifier")

    model = ADAPTER.train_model(model, *rows(), classes=(0.0, 1.0), weight=np.ones(100), seed=0)

    assert model.notes == ("The estimator takes no sample weights: every row counted the same.",)


# -- classes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["LogisticRegression", "LinearSVC", "SVC"])
def test_a_class_that_training_never_saw_has_probability_zero_and_a_note(name: str) -> None:
    features, target = rows()

    model = ADAPTER.train_model(untrained(name), features, 2 * target, classes=(-1.0, 0.0, 1.0), seed=0)

    probability = ADAPTER.predict(model, features)
    assert (probability[:, 1] == 0).all()
    assert np.allclose(probability.sum(axis=1), 1)
    assert (probability.argmax(axis=1) == 2 * target).mean() > 0.8
    assert "No training row has the class 0: its probability is 0." in model.notes


@pytest.mark.parametrize("name", ["LinearSVC", "SVC", "RidgeClassifier", "Perceptron"])
def test_squashed_scores_keep_the_order_of_the_decision_function(name: str) -> None:
    model = classifier(name)
    served = rows(seed=1)[0]

    rise = ADAPTER.predict(model, served)[:, 1]

    score = model.pipeline.decision_function(served)
    assert np.allclose(rise, 1 / (1 + np.exp(-score)), rtol=1e-12)
    assert (np.diff(rise[np.argsort(score)]) >= 0).all()
    assert model.notes == (f"{name} has no probabilities: they are its squashed scores, uncalibrated.",)


@pytest.mark.parametrize("name", ["LinearSVC", "SVC", "RidgeClassifier"])
def test_of_several_classes_the_one_that_is_predicted_is_the_likeliest(name: str) -> None:
    features, score = rows(model_type="regression")
    target = np.digitize(score, [-1.0, 1.0])

    model = ADAPTER.train_model(untrained(name), features, target, classes=(-1.0, 0.0, 1.0), seed=0)

    probability = ADAPTER.predict(model, features)
    assert np.array_equal(probability.argmax(axis=1), model.pipeline.predict(features))
    assert np.allclose(probability.sum(axis=1), 1)


def test_scores_that_are_huge_do_not_overflow() -> None:
    model = classifier("LinearSVC")

    probability = ADAPTER.predict(model, np.array([[1e9, -1e9, 0.0, 0.0], [-1e9, 1e9, 0.0, 0.0]]))

    assert np.array_equal(probability, [[0.0, 1.0], [1.0, 0.0]])


def test_an_estimator_with_neither_probabilities_nor_scores_says_zero_or_one() -> None:
    model = classifier("OutputCodeClassifier", {"estimator": {"model_class": "LogisticRegression"}})
    features, _ = rows()

    probability = ADAPTER.predict(model, features)

    assert np.array_equal(probability[:, 1], model.pipeline.predict(features))
    assert model.notes == ("OutputCodeClassifier has no probabilities: they are 0 or 1, uncalibrated.",)


def test_rows_that_cannot_be_answered_are_an_error_of_prediction() -> None:
    model = classifier("RadiusNeighborsClassifier", {"radius": 3.0})

    with pytest.raises(PredictionError, match=r"RadiusNeighborsClassifier cannot answer .* No neighbors"):
        ADAPTER.predict(model, np.full((1, 4), 1e6))


# -- preprocessing -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", sorted(TRANSFORMERS))
def test_a_constant_column_gives_neither_nan_nor_a_warning(step: str) -> None:
    features, target = rows()
    features[:, 2] = 3.0
    arguments = {"k": 4} if step == "select_k_best" else {}
    model = untrained(preprocessing=[{"name": step, **arguments}])

    with warnings.catch_warnings(action="error"):
        model = ADAPTER.train_model(model, features, target, classes=(0.0, 1.0), seed=0)
        probability = ADAPTER.predict(model, features)

    assert np.isfinite(probability).all()
    assert [note for note in model.notes if "constant" not in note and "divide" not in note] == []


def test_a_selection_by_score_notes_constant_columns() -> None:
    features, target = rows()
    features[:, 2] = 3.0

    model = untrained(preprocessing=[{"name": "select_k_best", "k": 2}])
    model = ADAPTER.train_model(model, features, target, classes=(0.0, 1.0), seed=0)

    assert "UserWarning: Features [2] are constant." in model.notes


def test_quantiles_are_no_more_than_the_rows() -> None:
    model = classifier("LogisticRegression", preprocessing=["quantile_transformer"])

    assert model.transformers[0].n_quantiles == 100
    assert model.notes == ()


def test_steps_run_in_the_order_given() -> None:
    steps = [{"name": "select_k_best", "k": 3}, {"name": "pca", "n_components": 2}]

    model = classifier("LogisticRegression", preprocessing=["robust_scaler", *steps])

    assert [step.n_features_in_ for step in model.transformers] == [4, 4, 3]
    assert model.estimator.n_features_in_ == 2


def test_more_components_than_columns_are_refused_in_training() -> None:
    with pytest.raises(TrainingError, match="cannot learn from these rows: n_components=9"):
        classifier("LogisticRegression", preprocessing=[{"name": "pca", "n_components": 9}])


def test_steps_are_fitted_to_training_rows_and_not_to_rows_held_back() -> None:
    features, target = rows(200)
    held_back = HeldBack(features[100:] + 50.0, target[100:])
    model = untrained("HistGradientBoostingClassifier", hyperparameters=BOOSTING)

    model = ADAPTER.train_model(
        model, features[:100], target[:100], classes=(0.0, 1.0), validation=held_back, seed=0
    )

    assert np.allclose(model.transformers[0].mean_, features[:100].mean(axis=0))


# -- seeds -------------------------------------------------------------------------------------------------------


def test_a_forest_repeats_with_its_seed_and_differs_with_another() -> None:
    features, target = rows(model_type="regression")
    forest = {
        "model_class": "RandomForestRegressor",
        "model_type": "regression",
        "hyperparameters": {"n_estimators": 5},
    }

    first, again, other = (
        ADAPTER.predict(ADAPTER.train_model(untrained(**forest), features, target, seed=seed), features)
        for seed in (7, 7, 8)
    )

    by_hand = RandomForestRegressor(n_estimators=5, random_state=7)
    scaled = StandardScaler().fit_transform(features)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert np.array_equal(first, by_hand.fit(scaled, target).predict(scaled))


def test_the_seed_reaches_steps_and_nested_estimators() -> None:
    nested = {"estimator": {"model_class": "ExtraTreeClassifier"}, "n_estimators": 2}
    model = untrained("BaggingClassifier", hyperparameters=nested, preprocessing=["pca"])

    model = ADAPTER.train_model(model, *rows(), classes=(0.0, 1.0), seed=7)

    _, pca = model.transformers
    seeds = [pca.random_state, model.estimator.random_state, model.estimator.estimator.random_state]
    assert seeds == [7, 7, 7]


def test_without_a_seed_scikit_learn_draws_one() -> None:
    model = ADAPTER.train_model(untrained("RandomForestClassifier"), *rows(), classes=(0.0, 1.0))

    assert model.estimator.random_state is None


# -- warnings ----------------------------------------------------------------------------------------------------


def test_a_training_that_does_not_converge_is_noted_and_not_shown() -> None:
    with warnings.catch_warnings(action="error"):
        model = classifier("LogisticRegression", {"max_iter": 1})

    assert len(ADAPTER.training_notes(model)) == 1
    assert ADAPTER.training_notes(model)[0].startswith("ConvergenceWarning: lbfgs failed to converge")


def test_a_trained_model_that_has_nothing_to_say_has_no_notes() -> None:
    assert ADAPTER.training_notes(classifier("LogisticRegression")) == ()


def test_parameters_that_do_not_go_together_are_an_error_of_training() -> None:
    with pytest.raises(
        TrainingError, match=r"LinearDiscriminantAnalysis cannot learn .* shrinkage not supported"
    ):
        classifier("LinearDiscriminantAnalysis", {"shrinkage": 0.5})


# -- early stopping ----------------------------------------------------------------------------------------------


def boosted(held_back: HeldBack | None, n_rows: int = 300) -> SklearnModel:
    features, target = rows(n_rows)
    model = untrained("HistGradientBoostingClassifier", hyperparameters=BOOSTING)
    return ADAPTER.train_model(model, features, target, classes=(0.0, 1.0), validation=held_back, seed=0)


def test_validation_is_wanted_only_to_stop_early() -> None:
    early, late = (
        SklearnModelConfig(model_class="HistGradientBoostingClassifier", hyperparameters=hyperparameters)
        for hyperparameters in ({"early_stopping": True}, {})
    )

    assert ADAPTER.uses_validation(early)
    assert not ADAPTER.uses_validation(late)


def test_the_rows_held_back_decide_when_boosting_stops() -> None:
    features, target = rows(300, seed=1)
    like_training = boosted(HeldBack(features, target))
    unlike_training = boosted(HeldBack(features, 1 - target))

    assert unlike_training.estimator.n_iter_ == BOOSTING["n_iter_no_change"]
    assert like_training.estimator.n_iter_ > 2 * unlike_training.estimator.n_iter_


def test_no_training_row_is_held_back_at_random() -> None:
    model = boosted(HeldBack(*rows(100, seed=1)))

    root = model.estimator._predictors[0][0].nodes[0]
    assert root["count"] == 300


def test_a_large_training_set_is_used_whole_when_nothing_is_said() -> None:
    features, target = rows(10_001)
    model = untrained("HistGradientBoostingClassifier", hyperparameters={"max_iter": 1})

    model = ADAPTER.train_model(model, features, target, classes=(0.0, 1.0), seed=0)

    assert model.estimator._predictors[0][0].nodes[0]["count"] == 10_001


@pytest.mark.parametrize("held_back", [None, HeldBack(np.empty((0, 4)), np.empty(0, dtype=int))])
def test_without_rows_held_back_boosting_runs_to_its_end_and_says_so(held_back: Any) -> None:
    model = boosted(held_back)

    assert model.estimator.n_iter_ == BOOSTING["max_iter"]
    assert model.notes == ("No later rows were held back, so the training did not stop early.",)


def test_a_class_only_among_the_rows_held_back_does_not_score() -> None:
    features, target = rows(300)
    later, outcome = rows(100, seed=1)
    model = untrained("HistGradientBoostingClassifier", hyperparameters=BOOSTING)
    known = ADAPTER.train_model(
        model, features, target, classes=(0.0, 1.0, 2.0), validation=HeldBack(later, outcome), seed=0
    )

    mixed = HeldBack(np.concatenate([later, later]), np.concatenate([outcome, np.full(100, 2)]))
    again = ADAPTER.train_model(
        untrained("HistGradientBoostingClassifier", hyperparameters=BOOSTING),
        features,
        target,
        classes=(0.0, 1.0, 2.0),
        validation=mixed,
        seed=0,
    )

    assert np.array_equal(again.estimator.validation_score_, known.estimator.validation_score_)


def test_rows_held_back_go_through_the_fitted_steps() -> None:
    features, target = rows(300, "regression")
    later, outcome = rows(100, "regression", seed=1)
    features, later = 50.0 * features + 7.0, 50.0 * later + 7.0
    scaler = StandardScaler().fit(features)
    by_hand = HistGradientBoostingRegressor(**BOOSTING, random_state=0)
    by_hand.fit(scaler.transform(features), target, X_val=scaler.transform(later), y_val=outcome)
    model = untrained("HistGradientBoostingRegressor", "regression", hyperparameters=BOOSTING)

    model = ADAPTER.train_model(model, features, target, validation=HeldBack(later, outcome), seed=0)

    assert model.estimator.n_iter_ < BOOSTING["max_iter"]
    assert np.array_equal(model.estimator.validation_score_, by_hand.validation_score_)


# -- importance --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model_class", "fields"),
    [
        ("LogisticRegression", {}),
        ("LogisticRegression", {"normalize_features": False}),
        ("LinearSVC", {"preprocessing": ["minmax_scaler"]}),
        ("RandomForestClassifier", {}),
        ("LogisticRegression", {"preprocessing": [{"name": "pca", "n_components": 4}]}),
        ("GaussianNB", {}),
        ("RidgeClassifier", {"preprocessing": ["simple_imputer"]}),
    ],
)
def test_the_two_features_that_decide_weigh_most(model_class: str, fields: dict[str, Any]) -> None:
    features, target = rows(400)
    features[:, 3] *= 1000.0
    model = ADAPTER.train_model(
        untrained(model_class, **fields), features, target, classes=(0.0, 1.0), seed=0
    )

    importance = ADAPTER.feature_importance(model, features, target, seed=0)

    assert importance.shape == (4,)
    assert (importance >= 0).all()
    assert importance[:2].min() > 3 * importance[2:].max()


def test_a_coefficient_weighs_by_what_one_deviation_changes() -> None:
    features = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 20.0], [2.0, 20.0]])
    target = features @ [3.0, -0.5]
    model = untrained("LinearRegression", "regression", normalize_features=False)
    model = ADAPTER.train_model(model, features, target, seed=0)

    importance = ADAPTER.feature_importance(model, features, target)

    assert np.allclose(importance, [3.0 * 1.0, 0.5 * 10.0])


def test_features_that_a_selection_dropped_weigh_nothing() -> None:
    features, target = rows(model_type="regression")
    model = regressor("Ridge", preprocessing=[{"name": "select_k_best", "k": 2}])

    importance = ADAPTER.feature_importance(model, features, target, seed=0)

    assert (importance[:2] > 1).all()
    assert (importance[2:] == 0).all()


def test_shuffled_importance_repeats_with_its_seed() -> None:
    features, target = rows(model_type="regression")
    model = regressor("KNeighborsRegressor")

    first, again, other = (
        ADAPTER.feature_importance(model, features, target, seed=seed) for seed in (1, 1, 2)
    )

    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


# -- updates -----------------------------------------------------------------------------------------------------


def test_an_update_continues_by_partial_fit_and_leaves_the_old_model() -> None:
    features, target = rows()
    later, outcome = rows(seed=1)
    weight = np.linspace(0.5, 1.0, 100)
    scaler = StandardScaler().fit(features)
    by_hand = SGDClassifier(loss="log_loss", random_state=0).fit(scaler.transform(features), target)
    before = by_hand.predict_proba(scaler.transform(later))
    by_hand.partial_fit(scaler.transform(later), outcome, sample_weight=weight)
    model = classifier("SGDClassifier", {"loss": "log_loss"})

    updated = ADAPTER.update_model(model, later, outcome, weight=weight, seed=0)

    assert ADAPTER.can("update_model")
    assert np.array_equal(ADAPTER.predict(model, later), before)
    assert np.array_equal(ADAPTER.predict(updated, later), by_hand.predict_proba(scaler.transform(later)))


@pytest.mark.parametrize("name", CONTINUABLE["classification"])
def test_the_classifiers_that_are_named_can_be_updated(name: str) -> None:
    model = classifier(name)
    later, outcome = rows(seed=1)

    updated = ADAPTER.update_model(model, later, 1 - outcome)

    assert not np.array_equal(ADAPTER.predict(updated, later), ADAPTER.predict(model, later))


@pytest.mark.parametrize("name", CONTINUABLE["regression"])
def test_the_regressors_that_are_named_can_be_updated(name: str) -> None:
    model = regressor(name)
    later, outcome = rows(model_type="regression", seed=1)

    updated = ADAPTER.update_model(model, later, -outcome)

    assert not np.array_equal(ADAPTER.predict(updated, later), ADAPTER.predict(model, later))


@pytest.mark.parametrize(
    ("name", "hyperparameters"), [("RandomForestClassifier", {}), ("MLPClassifier", {"solver": "lbfgs"})]
)
def test_an_estimator_that_cannot_be_updated_names_those_that_can(
    name: str, hyperparameters: dict[str, Any]
) -> None:
    model = classifier(name, hyperparameters)

    with pytest.raises(ModelError, match=f"{name}, as it is configured, has no partial_fit.*SGDClassifier"):
        ADAPTER.update_model(model, *rows(seed=1))


def test_a_regressor_that_cannot_be_updated_names_regressors() -> None:
    with pytest.raises(ModelError, match="use one of: MLPRegressor, SGDRegressor"):
        ADAPTER.update_model(regressor("Ridge"), *rows(model_type="regression"))


def test_an_update_with_a_class_that_training_never_saw_is_refused() -> None:
    features, target = rows()
    model = ADAPTER.train_model(untrained("BernoulliNB"), features, target, classes=(0.0, 1.0, 2.0), seed=0)

    with pytest.raises(TrainingError, match="a class that no training row had"):
        ADAPTER.update_model(model, features, target + 1)


# -- through the core --------------------------------------------------------------------------------------------


def test_the_core_holds_rows_back_for_boosting_that_stops_early() -> None:
    bars = random_bars(300, seed=1)
    fields = {
        "model_class": "HistGradientBoostingClassifier",
        "hyperparameters": BOOSTING,
        "validation_split": 0.2,
    }
    model = ModelFactory.create("sklearn", fields)

    model.train_dataset(model.prepare(bars))

    assert model.report is not None
    assert 0.15 < model.report.n_validation / (model.report.n_rows + model.report.n_validation) < 0.25
    assert model.report.notes == ()


def test_a_model_walks_forward() -> None:
    fields = {"framework": "sklearn", "train_test_split": 0.5, "validation": {"test_size": 50}}

    result = walk_forward(fields, random_bars(300, seed=1))

    assert len(result.windows) == 3
    assert result.signals.index.is_monotonic_increasing
