"""Distributions, kernel densities, rank correlations and copulas: against oracles, and whether they foresee."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from scipy import optimize, stats

from backtester_model_core.exceptions import ConfigError, TrainingError
from backtester_model_core.testing import synthetic_rows
from backtester_model_core.typing import FloatArray
from backtester_model_scipy import catalogs
from backtester_model_scipy.adapter import SciPyAdapter, SciPyModel
from backtester_model_scipy.config import SciPyModelConfig
from backtester_model_scipy.models.dependence import normal_scores, quantile_table

ADAPTER = SciPyAdapter()


def untrained(name: str, model_type: str = "classification", **parameters: Any) -> SciPyModel:
    config = SciPyModelConfig(
        model=name,
        model_type=model_type,
        parameters=parameters,
        feature_columns=("return", "volatility"),
        normalize_features=False,
    )
    return ADAPTER.initialize_model(config)


def returns(n: int = 1500) -> FloatArray:
    """Return (n, 2): returns that are Student's t over the volatility of the bar before, and that volatility."""
    rng = np.random.default_rng(0)
    volatility = np.exp(rng.normal(-4.5, 0.5, n))
    values = np.empty(n)
    values[0] = 0.0
    values[1:] = 0.004 + volatility[:-1] * stats.t.rvs(5, size=n - 1, random_state=rng)
    return np.column_stack([values, volatility])


def distribution(features: FloatArray, model_type: str = "classification", **parameters: Any) -> SciPyModel:
    """Return a model of returns whose label is the next one, or whether it is positive."""
    ends = np.arange(1, len(features) - 1)
    ahead = features[ends + 1, 0]
    classes = (0.0, 1.0) if model_type == "classification" else None
    target = (ahead > 0).astype(int) if classes else ahead
    model = untrained("distribution", model_type, **parameters)
    return ADAPTER.train_model(model, features, target, classes=classes, ends=ends, seed=0)


def fitted(
    name: str, rows: tuple[Any, Any], *, n_classes: int = 0, weight: Any = None, **parameters: Any
) -> SciPyModel:
    model = untrained(name, "classification" if n_classes else "regression", **parameters)
    classes = tuple(float(value) for value in range(n_classes)) or None
    return ADAPTER.train_model(model, *rows, classes=classes, weight=weight, seed=0)


def rows_of(n_classes: int = 0, n_rows: int = 400, seed: int = 2) -> tuple[Any, Any]:
    features, score = synthetic_rows(n_rows, model_type="regression", signal=1.0, seed=seed)
    return features, np.digitize(
        score, np.quantile(score, np.arange(1, n_classes) / n_classes)
    ) if n_classes else score


# -- distributions -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["student_t", "normal", "laplace", "logistic", "generalized_normal"])
def test_a_fitted_family_is_as_likely_as_by_scipy_stats_fit(family: str) -> None:
    features = returns()
    value = features[1:-1, 0]
    bounds = {**catalogs.DISTRIBUTIONS[family].bounds, "loc": (-0.01, 0.01), "scale": (0.001, 0.1)}

    ours = distribution(features, distribution=family)

    known, away = ours.model.family, value - value.mean()
    wanted = stats.fit(known, away, bounds, optimizer=partial(optimize.differential_evolution, rng=0))
    assert known.nnlf(ours.fitted["shape"], away) <= wanted.nllf() + 0.01


def test_the_probability_is_that_of_the_family_over_its_volatility() -> None:
    features = returns()
    model = distribution(features, volatility="volatility")

    rise = ADAPTER.predict(model, features, ends=np.array([700, 800]))[:, 1]

    mean, shape = model.fitted["mean"][0], model.fitted["shape"]
    assert mean == pytest.approx(0.004, abs=0.001)
    assert shape[0] == pytest.approx(5, abs=2)
    assert rise == pytest.approx(stats.t.sf(-mean / features[[700, 800], 1], *shape), abs=1e-12)


def test_calm_bars_rise_more_surely_than_wild_ones() -> None:
    features = returns(4000)
    model = distribution(features[:2000], volatility="volatility")

    later = np.arange(2001, 3999)
    rise = ADAPTER.predict(model, features, ends=later)[:, 1]

    outcome = features[later + 1, 0] > 0
    sure, unsure = rise > np.quantile(rise, 0.8), rise < np.quantile(rise, 0.2)
    assert outcome[sure].mean() > outcome[unsure].mean() + 0.1
    assert outcome.mean() == pytest.approx(rise.mean(), abs=0.05)


def test_without_volatility_every_row_has_the_base_rate() -> None:
    features = returns()
    model = distribution(features, "classification")

    rise = ADAPTER.predict(model, features, ends=np.arange(1, 100))[:, 1]

    assert np.ptp(rise) == 0
    assert rise[0] == pytest.approx((features[:, 0] > 0).mean(), abs=0.03)
    assert model.notes[-1] == "Without volatility every row has one answer."


@pytest.mark.parametrize("link", ["fitted", "distribution"])
def test_a_distribution_answers_in_numbers_too(link: str) -> None:
    features = returns()
    model = distribution(features, "regression", volatility="volatility", link=link)

    forecast = ADAPTER.predict(model, features, ends=np.arange(1, 100))

    assert forecast.mean() == pytest.approx(0.004, abs=0.002)


def test_a_registered_distribution_is_found_by_its_name() -> None:
    class DoubleExponential(stats.rv_continuous):
        def _pdf(self, x: FloatArray) -> FloatArray:
            return np.exp(-np.abs(x)) / 2

        def _sf(self, x: FloatArray) -> FloatArray:
            return np.where(x > 0, np.exp(-np.abs(x)) / 2, 1 - np.exp(-np.abs(x)) / 2)

        def _stats(self) -> tuple[float, float, float, float]:
            return 0.0, 2.0, 0.0, 3.0

    catalogs.register_distribution("double_exponential", DoubleExponential())
    try:
        own = distribution(returns(), distribution="double_exponential", volatility="volatility")
    finally:
        catalogs.DISTRIBUTIONS.discard("double_exponential")

    known = distribution(returns(), distribution="laplace", volatility="volatility")
    assert own.fitted["shape"] == pytest.approx(known.fitted["shape"], abs=1e-4)


def test_an_unknown_family_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"Unknown distribution 'studentt'. Did you mean 'student_t'"):
        untrained("distribution", distribution="studentt")


def test_an_unknown_volatility_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"Unknown series 'vol'"):
        untrained("distribution", volatility="vol")


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (np.ones((100, 2)), "the same value"),
        (np.ones((9, 2)), "too few"),
        (np.column_stack([np.arange(100.0), np.zeros(100)]), "'volatility' is not positive on every row"),
    ],
)
def test_returns_that_no_family_fits_are_refused(features: FloatArray, message: str) -> None:
    ends = np.arange(1, len(features))
    model = untrained("distribution", "regression", volatility="volatility")

    with pytest.raises(TrainingError, match=message):
        ADAPTER.train_model(model, features, np.ones(len(ends)), ends=ends, seed=0)


# -- kernel densities ----------------------------------------------------------------------------------------------


def test_kernel_densities_follow_bayes_rule() -> None:
    features, target = rows_of(2)
    model = fitted("kernel_density", (features, target), n_classes=2)
    served = rows_of(2, seed=3)[0][:50]

    joint = np.array(
        [
            (target == label).mean()
            * np.prod(
                [stats.gaussian_kde(features[target == label, at])(served[:, at]) for at in range(4)], axis=0
            )
            for label in range(2)
        ]
    ).T

    found = ADAPTER.predict(model, served)
    assert np.allclose(found, joint / joint.sum(axis=1, keepdims=True), atol=2e-3)


def test_a_feature_far_from_any_row_does_not_decide() -> None:
    model = fitted("kernel_density", rows_of(2), n_classes=2)

    found = ADAPTER.predict(model, np.array([[1e9, 0.0, 0.0, 0.0]]))

    assert np.isfinite(found).all()


def test_a_lower_temper_is_less_sure() -> None:
    plain, tempered = (
        fitted("kernel_density", rows_of(2), n_classes=2, temper=temper) for temper in (1.0, 0.3)
    )
    served = rows_of(2, seed=3)[0]

    sure = [np.abs(ADAPTER.predict(model, served)[:, 1] - 0.5).mean() for model in (plain, tempered)]

    assert sure[1] < sure[0]


def test_a_feature_that_does_not_vary_says_nothing() -> None:
    features, target = rows_of(2)
    still = np.column_stack([features, np.ones(len(features))])

    models = [fitted("kernel_density", (rows, target), n_classes=2) for rows in (features, still)]

    assert np.allclose(ADAPTER.predict(models[0], features), ADAPTER.predict(models[1], still))
    assert models[1].notes[1] == "1 features do not vary and say nothing."


def test_a_class_of_a_few_rows_has_no_density() -> None:
    features, target = rows_of(2)
    target = np.where(np.arange(len(target)) < 3, 1, 0)

    with pytest.raises(TrainingError, match="a class has 3 training rows"):
        fitted("kernel_density", (features, target), n_classes=2)


def test_a_bandwidth_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="above 0 and at most 10"):
        untrained("kernel_density", bandwidth=0.0)


# -- ranks -----------------------------------------------------------------------------------------------------------


def test_quantiles_lead_to_normal_scores() -> None:
    values = np.random.default_rng(0).exponential(size=2000)

    scores = normal_scores(values[:, None], quantile_table(values, np.ones(2000))[None])[:, 0]

    inner = np.abs(scores) < 2.5
    assert np.array_equal(np.argsort(scores[inner]), np.argsort(values[inner]))
    assert stats.kstest(scores, "norm").pvalue > 0.5


@pytest.mark.parametrize("measure", ["spearman", "kendall"])
@pytest.mark.parametrize("n_classes", [0, 2, 3])
@pytest.mark.parametrize("name", ["rank_correlation", "gaussian_copula"])
def test_ranks_foresee_as_well_as_values(name: str, n_classes: int, measure: str) -> None:
    model = fitted(name, rows_of(n_classes, 600), n_classes=n_classes, measure=measure)
    served, outcome = rows_of(n_classes, 600, seed=9)

    forecast = ADAPTER.predict(model, served)

    if n_classes:
        assert np.allclose(forecast.sum(axis=1), 1)
        forecast = forecast @ np.arange(n_classes)
    assert np.corrcoef(forecast, outcome)[0, 1] > 0.6


@pytest.mark.parametrize("name", ["rank_correlation", "gaussian_copula"])
def test_a_monotone_change_of_a_feature_changes_no_forecast(name: str) -> None:
    features, target = rows_of(0)

    answers = [
        ADAPTER.predict(fitted(name, (rows, target)), rows)
        for rows in (features, np.sign(features) * features**2)
    ]

    assert np.allclose(*answers, atol=0.05 * target.std())


def test_the_copula_of_normal_rows_is_their_regression() -> None:
    features, target = rows_of(0, 4000)
    model = fitted("gaussian_copula", (features, target), shrinkage=0.0)
    wanted = features @ np.linalg.lstsq(features, target, rcond=None)[0]

    forecast = ADAPTER.predict(model, features)

    assert np.sqrt(np.mean((forecast - wanted) ** 2)) < 0.08 * target.std()


def test_the_copula_of_classes_finds_the_latent_correlation() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(6000, 1))
    latent = 0.5 * x[:, 0] + np.sqrt(0.75) * rng.normal(size=6000)

    model = fitted("gaussian_copula", (x, (latent > 0.7).astype(int)), n_classes=2, shrinkage=0.0)

    assert model.fitted["loading"][0] == pytest.approx(0.5, abs=0.03)


def test_features_that_tell_all_leave_a_little_doubt() -> None:
    x = np.linspace(0, 1, 200)[:, None]

    model = fitted("gaussian_copula", (np.hstack([x, x]), x[:, 0]), shrinkage=0.0)

    assert model.fitted["deviation"][0] == pytest.approx(0.1)
    assert np.isfinite(ADAPTER.predict(model, np.hstack([x, x]))).all()


def test_features_without_significance_leave_the_base_rate() -> None:
    rng = np.random.default_rng(1)
    model = fitted(
        "rank_correlation",
        (rng.normal(size=(200, 3)), rng.integers(0, 2, 200)),
        n_classes=2,
        significance=1e-6,
    )

    rise = ADAPTER.predict(model, rng.normal(size=(50, 3)))[:, 1]

    assert np.ptp(rise) == 0
    assert model.notes[0].startswith("0 of 3 features go with the target")


def test_spearman_counts_weights_and_kendall_says_that_he_does_not() -> None:
    features, target = rows_of(0, 200)
    weight = np.where(np.arange(200) < 60, 2.0, 1.0)
    twice = np.repeat(np.arange(200), weight.astype(int))

    weighted = fitted("rank_correlation", (features, target), weight=weight)
    repeated = fitted("rank_correlation", (features[twice], target[twice]))
    kendall = [
        fitted(name, (features, target), weight=weight, measure="kendall")
        for name in ("rank_correlation", "gaussian_copula")
    ]

    assert weighted.fitted["loading"][:2] == pytest.approx(repeated.fitted["loading"][:2], abs=1e-10)
    assert all("takes no sample weights" in model.notes[-1] for model in kendall)


@pytest.mark.parametrize("name", ["rank_correlation", "gaussian_copula"])
def test_the_features_that_matter_weigh_most(name: str) -> None:
    features, target = rows_of(0)

    importance = ADAPTER.feature_importance(fitted(name, (features, target)), features, target)

    assert set(np.argsort(importance)[-2:]) == {0, 1}


@pytest.mark.parametrize("measure", ["spearman", "kendall"])
@pytest.mark.parametrize("name", ["rank_correlation", "gaussian_copula"])
def test_a_feature_that_does_not_vary_has_no_rank(name: str, measure: str) -> None:
    features, target = rows_of(0, 100)
    features[:, 2] = 1.0

    model = fitted(name, (features, target), measure=measure)

    assert model.fitted["loading"][2] == 0
