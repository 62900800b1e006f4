"""The linear family: against independent estimates, formulas by hand, weights and refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import special
from statsmodels.miscmodels.ordinal_model import OrderedModel

from backtester_model_core.config import ModelConfig
from backtester_model_core.exceptions import ConfigError, ModelError, TrainingError
from backtester_model_core.testing import synthetic_rows
from backtester_model_core.typing import FloatArray
from backtester_model_scipy.adapter import SciPyAdapter, SciPyModel
from backtester_model_scipy.config import SciPyModelConfig
from backtester_model_scipy.models.linear import weighted_median

ADAPTER = SciPyAdapter()


def trained(
    name: str,
    rows: tuple[Any, Any],
    *,
    classes: tuple[float, ...] | None = None,
    weight: FloatArray | None = None,
    method: str | None = None,
    normalize: bool = False,
    **parameters: Any,
) -> SciPyModel:
    config = SciPyModelConfig(
        model=name,
        parameters=parameters,
        optimization_method=method,
        normalize_features=normalize,
        model_type="regression" if classes is None else "classification",
    )
    model = ADAPTER.initialize_model(config)
    return ADAPTER.train_model(model, *rows, classes=classes, weight=weight, seed=0)


def regression_rows(n_rows: int = 300) -> tuple[Any, Any]:
    return synthetic_rows(n_rows, model_type="regression", seed=3)


def outlying_rows() -> tuple[Any, Any]:
    features, target = regression_rows()
    return features, target + np.where(np.arange(len(target)) % 20 == 0, 30.0, 0.0)


def class_rows(n_classes: int = 2, n_rows: int = 400) -> tuple[Any, Any]:
    """Return rows whose classes are equally frequent intervals of a noisy score."""
    features, score = synthetic_rows(n_rows, model_type="regression", signal=0.7, seed=5)
    edges = np.quantile(score, np.arange(1, n_classes) / n_classes)
    return features, np.searchsorted(edges, score)


def coefficients(model: SciPyModel) -> FloatArray:
    assert model.fitted is not None
    return model.fitted["coefficients"]


# -- against statsmodels -----------------------------------------------------------------------------------------


def test_least_squares_agree_with_statsmodels() -> None:
    features, target = regression_rows()
    weight = np.linspace(0.1, 2.0, len(target))
    wanted = sm.WLS(target, sm.add_constant(features), weights=weight).fit()

    model = trained("ols", (features, target), weight=weight)

    assert np.allclose(coefficients(model), wanted.params, rtol=1e-10)
    assert f"x1 {wanted.params[2]:.4g} ({wanted.bse[2]:.2g})" in model.notes[0]


def test_a_line_on_one_feature_agrees_with_statsmodels() -> None:
    features, target = regression_rows()
    wanted = sm.OLS(target, sm.add_constant(features[:, :1])).fit()

    model = trained("ols", (features[:, :1], target))

    assert np.allclose(coefficients(model), wanted.params, rtol=1e-10)
    assert f"p-value of the slope {wanted.pvalues[1]:.3g}" in model.notes[0]


def test_huber_agrees_with_statsmodels_at_the_same_scale() -> None:
    features, target = outlying_rows()
    wanted = sm.RLM(target, sm.add_constant(features), M=sm.robust.norms.HuberT(1.345)).fit(
        update_scale=False, tol=1e-12, maxiter=200
    )

    model = trained("huber", (features, target), tuning=1.345)

    assert np.allclose(coefficients(model), wanted.params, rtol=0, atol=1e-5)


@pytest.mark.parametrize("quantile", [0.1, 0.5, 0.9])
def test_quantiles_agree_with_statsmodels(quantile: float) -> None:
    features, target = regression_rows()
    wanted = sm.QuantReg(target, sm.add_constant(features)).fit(q=quantile, p_tol=1e-10, max_iter=5000)

    model = trained("quantile", (features, target), quantile=quantile)

    assert np.allclose(coefficients(model), wanted.params, rtol=0, atol=1e-4)
    assert ADAPTER.predict(model, features) == pytest.approx(wanted.fittedvalues, abs=1e-3)


def test_ridge_minimises_what_it_says() -> None:
    features, target = regression_rows()
    design = np.column_stack([np.ones(len(features)), features])
    wanted = np.linalg.solve(design.T @ design + np.diag([0, 7.0, 7, 7, 7]), design.T @ target)

    model = trained("ridge", (features, target), alpha=7.0)

    assert np.allclose(coefficients(model), wanted, rtol=1e-10)


def test_elastic_net_agrees_with_statsmodels() -> None:
    features, target = regression_rows()
    center = features.mean(axis=0)
    wanted = sm.OLS(target - target.mean(), features - center).fit_regularized(
        alpha=0.3, L1_wt=0.4, cnvrg_tol=1e-12, maxiter=500
    )

    model = trained("elastic_net", (features, target), alpha=0.3, l1_ratio=0.4, relative=False)

    assert np.allclose(coefficients(model)[1:], wanted.params, rtol=0, atol=1e-6)


def test_logistic_regression_agrees_with_statsmodels() -> None:
    features, target = class_rows()
    wanted = sm.Logit(target, sm.add_constant(features)).fit(disp=0, tol=1e-12)

    model = trained("logistic", (features, target), classes=(0.0, 1.0), alpha=0.0)

    assert np.allclose(coefficients(model)[0], wanted.params, rtol=0, atol=1e-5)
    assert f"x0 {wanted.params[1]:.4g} ({wanted.bse[1]:.2g})" in model.notes[1]


def test_multinomial_regression_agrees_with_statsmodels() -> None:
    features, target = class_rows(3)
    wanted = sm.MNLogit(target, sm.add_constant(features)).fit(disp=0, tol=1e-12)

    model = trained("logistic", (features, target), classes=(-1.0, 0.0, 1.0), alpha=0.0)

    assert np.allclose(coefficients(model), wanted.params.T, rtol=0, atol=1e-5)
    assert np.allclose(ADAPTER.predict(model, features), wanted.predict(), atol=1e-5)


def test_ordinal_regression_agrees_with_statsmodels() -> None:
    features, target = class_rows(3)
    wanted = OrderedModel(target, features, distr="logit").fit(method="bfgs", disp=0, gtol=1e-8)

    model = trained("ordinal_logistic", (features, target), classes=(-1.0, 0.0, 1.0), alpha=0.0)

    assert np.allclose(coefficients(model), wanted.params[:4], rtol=0, atol=1e-4)
    assert np.allclose(ADAPTER.predict(model, features), wanted.predict(), atol=1e-4)


# -- by hand ------------------------------------------------------------------------------------------------------


def test_theil_and_sen_take_the_median_slope() -> None:
    x = np.array([[0.0], [1.0], [2.0], [3.0]])
    target = np.array([0.0, 2.0, 4.0, 60.0])  # slopes 2, 2, 20, 2, 29, 56

    model = trained("theil_sen", (x, target))

    assert coefficients(model)[1] == 11.0


def test_theil_and_sen_draw_among_many_rows() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3500, 1))

    model = trained("theil_sen", (x, 3 * x[:, 0] + 1))

    assert coefficients(model) == pytest.approx([1.0, 3.0])
    assert model.notes[0] == "3,000 of 3,500 rows were drawn."


def test_theil_and_sen_take_the_named_feature() -> None:
    features, target = regression_rows()
    config = SciPyModelConfig(
        model="theil_sen",
        model_type="regression",
        feature_columns=("a", "b", "c", "d"),
        parameters={"feature": "b"},
    )

    model = ADAPTER.train_model(ADAPTER.initialize_model(config), features, target, seed=0)

    assert np.flatnonzero(coefficients(model)).tolist() == [0, 2]


def test_the_weighted_median_halves_the_weight() -> None:
    assert weighted_median(np.array([3.0, 1.0, 2.0]), np.array([1.0, 5.0, 1.0])) == 1.0


@pytest.mark.parametrize("name", ["huber", "soft_l1", "cauchy", "theil_sen", "quantile"])
def test_a_robust_model_is_not_moved_by_outliers(name: str) -> None:
    clean, dirty = (trained(name, rows) for rows in (regression_rows(), outlying_rows()))
    ordinary = [trained("ols", rows) for rows in (regression_rows(), outlying_rows())]

    moved = np.abs(coefficients(clean) - coefficients(dirty)).max()

    assert moved < 0.35 * np.abs(coefficients(ordinary[0]) - coefficients(ordinary[1])).max()


@pytest.mark.parametrize("name", ["ols", "ridge", "elastic_net", "huber", "cauchy", "quantile", "soft_l1"])
def test_a_row_of_weight_two_counts_as_two_rows(name: str) -> None:
    features, target = regression_rows(80)
    weight = np.where(np.arange(80) < 30, 2.0, 1.0)
    twice = np.repeat(np.arange(80), weight.astype(int))

    weighted = trained(name, (features, target), weight=weight)
    repeated = trained(name, (features[twice], target[twice]))

    tolerance = 1e-6 if name not in {"huber", "cauchy", "soft_l1"} else 0.02  # their scale is a plain median
    assert np.allclose(coefficients(weighted), coefficients(repeated), rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", ["logistic", "ordinal_logistic"])
def test_a_row_of_weight_two_counts_as_two_rows_of_a_class(name: str) -> None:
    features, target = class_rows(3, 120)
    weight = np.where(np.arange(120) < 50, 2.0, 1.0)
    twice = np.repeat(np.arange(120), weight.astype(int))
    classes = (-1.0, 0.0, 1.0)

    weighted = trained(name, (features, target), classes=classes, weight=weight)
    repeated = trained(name, (features[twice], target[twice]), classes=classes)

    assert np.allclose(coefficients(weighted), coefficients(repeated), rtol=0, atol=1e-5)


def test_of_two_classes_ordinal_and_logistic_regression_are_one() -> None:
    rows = class_rows()
    logistic, ordinal = (
        trained(name, rows, classes=(0.0, 1.0), alpha=0.0) for name in ("logistic", "ordinal_logistic")
    )

    answers = [ADAPTER.predict(model, rows[0]) for model in (logistic, ordinal)]

    assert np.allclose(*answers, rtol=0, atol=1e-6)


def test_a_probability_is_the_squashed_score() -> None:
    rows = class_rows()
    model = trained("logistic", rows, classes=(0.0, 1.0))

    rise = ADAPTER.predict(model, rows[0])[:, 1]

    intercept, *slopes = coefficients(model)[0]
    assert np.allclose(rise, special.expit(intercept + rows[0] @ slopes), atol=1e-12)


def test_importance_is_the_coefficient_times_the_deviation() -> None:
    features, target = regression_rows()
    model = trained("ridge", (features * [1, 10, 1, 1], target))

    importance = ADAPTER.feature_importance(model, features * [1, 10, 1, 1], target)

    assert importance == pytest.approx(
        np.abs(coefficients(model)[1:]) * (features * [1, 10, 1, 1]).std(axis=0)
    )


# -- refusals -----------------------------------------------------------------------------------------------------


def test_a_model_that_does_not_answer_the_task_is_refused_with_those_that_do() -> None:
    with pytest.raises(
        ConfigError, match=r"'ols' does not answer.*'classification'.*kernel_density, .*logistic"
    ):
        trained("ols", class_rows(), classes=(0.0, 1.0))


def test_an_unknown_model_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"Unknown model 'logistik'. Did you mean 'logistic'?"):
        trained("logistik", class_rows(), classes=(0.0, 1.0))


def test_an_unknown_parameter_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"alhpa: unknown key. Did you mean 'alpha'?"):
        trained("ridge", regression_rows(), alhpa=1.0)


def test_another_frameworks_configuration_is_refused() -> None:
    with pytest.raises(ConfigError, match="takes a SciPyModelConfig, not a ModelConfig"):
        ADAPTER.initialize_model(ModelConfig(framework="scipy"))


@pytest.mark.parametrize("name", ["ols", "ridge", "theil_sen"])
def test_a_model_without_an_optimiser_takes_no_method(name: str) -> None:
    with pytest.raises(ConfigError, match=f"'{name}' is not fitted by one"):
        trained(name, regression_rows(), method="BFGS")


@pytest.mark.parametrize(
    ("name", "valid"), [("huber", "trf, dogbox"), ("quantile", "highs, highs-ds, highs-ipm")]
)
def test_a_method_of_another_kind_is_refused_with_the_valid_ones(name: str, valid: str) -> None:
    with pytest.raises(ConfigError, match=f"Valid: {valid}"):
        trained(name, regression_rows(), method="BFGS")


@pytest.mark.parametrize(
    ("name", "method"), [("huber", "dogbox"), ("quantile", "highs-ds"), ("quantile", "highs-ipm")]
)
def test_the_methods_of_a_kind_agree(name: str, method: str) -> None:
    rows = outlying_rows()

    chosen, default = trained(name, rows, method=method), trained(name, rows)

    assert np.allclose(coefficients(chosen), coefficients(default), rtol=0, atol=1e-5)


def test_classes_that_a_line_separates_have_no_maximum_of_the_likelihood() -> None:
    features = np.linspace(-1, 1, 40)[:, None]
    target = (features[:, 0] > 0).astype(int)

    with pytest.raises(TrainingError, match="logistic did not converge"):
        trained("logistic", (features, target), classes=(0.0, 1.0), alpha=0.0, max_iterations=5)


def test_a_robust_fit_that_is_cut_short_is_refused() -> None:
    with pytest.raises(TrainingError, match="cauchy did not converge"):
        trained("cauchy", outlying_rows(), max_iterations=1)


@pytest.mark.parametrize("name", ["ols", "theil_sen"])
def test_a_single_feature_that_does_not_vary_is_refused(name: str) -> None:
    with pytest.raises(TrainingError, match="the same value in every training row"):
        trained(name, (np.ones((20, 1)), np.arange(20.0)))


def test_a_target_that_does_not_vary_is_refused_by_the_elastic_net() -> None:
    with pytest.raises(TrainingError, match="the target has the same value"):
        trained("elastic_net", (np.arange(20.0)[:, None], np.ones(20)))


def test_an_unknown_feature_of_theil_and_sen_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"Unknown feature 'return_7'. Did you mean 'return_"):
        trained("theil_sen", regression_rows(), feature="return_7")


def test_features_that_repeat_each_other_are_noted() -> None:
    features, target = regression_rows()

    model = trained("ols", (np.column_stack([features, features[:, 0]]), target))

    assert "1 of 5 features are combinations of others" in model.notes[0]
    assert np.isfinite(ADAPTER.predict(model, np.column_stack([features, features[:, 0]]))).all()


def test_a_perfect_line_leaves_nothing_to_be_robust_against() -> None:
    x = np.arange(20.0)[:, None]

    model = trained("huber", (x, np.zeros(20)))

    assert model.notes == ("Least squares left no residuals to be robust against.",)


def test_singular_rows_are_a_training_error() -> None:
    with pytest.raises(TrainingError, match="ridge cannot learn from these rows"):
        trained("ridge", (np.full((5, 2), 1e300) * np.arange(5)[:, None], np.arange(5.0)))


def test_a_model_without_coefficients_names_those_that_have() -> None:
    model = ADAPTER.initialize_model(SciPyModelConfig())

    with pytest.raises(ModelError, match=r"Models that have: .*logistic.*ols"):
        ADAPTER.feature_importance(model, *class_rows())
