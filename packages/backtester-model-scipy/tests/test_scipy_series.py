"""Series models: likelihoods and filters against independent ones, windows, links and refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm
from arch import arch_model
from scipy import optimize, special
from statsmodels.tsa.ar_model import AutoReg
from statsmodels.tsa.arima.model import ARIMA
from statsmodels.tsa.arima_process import ArmaProcess

from backtester_model_core.exceptions import ConfigError, PredictionError, TrainingError
from backtester_model_core.typing import FloatArray, IntArray
from backtester_model_scipy.adapter import SciPyAdapter, SciPyModel
from backtester_model_scipy.config import SciPyModelConfig
from backtester_model_scipy.models.autoregressive import arma_terms, autocovariances
from backtester_model_scipy.models.regime import negative_likelihood
from backtester_model_scipy.models.series import segments
from backtester_model_scipy.models.volatility import AsymmetricGarch, Garch

ADAPTER = SciPyAdapter()
FILTERED = ("arma", "local_level", "local_trend", "garch", "gjr_garch", "regime")
SERIES = ("ar", "ornstein_uhlenbeck", *FILTERED)


def untrained(name: str, *, model_type: str = "regression", **parameters: Any) -> SciPyModel:
    if name in FILTERED:
        parameters.setdefault("memory", 60)
    method = parameters.pop("optimization_method", None)
    config = SciPyModelConfig(
        model=name, model_type=model_type, parameters=parameters, optimization_method=method
    )
    return ADAPTER.initialize_model(config)


def ends_of(model: SciPyModel, n_rows: int) -> IntArray:
    """Return every row of one symbol that has its context."""
    return np.arange(model.model.context_rows, n_rows)


def trained(
    name: str, series: FloatArray, *, model_type: str = "regression", target: Any = None, **parameters: Any
) -> SciPyModel:
    """Return a model of a series, whose label is the next value, or whether that is positive."""
    model = untrained(name, model_type=model_type, **parameters)
    ends = ends_of(model, len(series) - 1)
    if target is None:
        target = series[ends + 1] if model_type == "regression" else (series[ends + 1] > 0).astype(int)
    classes = None if model_type == "regression" else (0.0, 1.0)
    return ADAPTER.train_model(model, series[:, None], target, classes=classes, ends=ends, seed=0)


def learned(model: SciPyModel, name: str) -> FloatArray:
    assert model.fitted is not None
    return model.fitted[name]


def garch_returns(n: int = 2000, seed: int = 0, gamma: float = 0.0) -> FloatArray:
    """Return daily returns whose volatility comes in clusters."""
    rng = np.random.default_rng(seed)
    h, returns = 1e-4, np.empty(n)
    for row in range(n):
        shock = np.sqrt(h) * rng.normal()
        returns[row] = 5e-4 + shock
        h = 2e-6 + (0.08 - gamma / 2 + gamma * (shock < 0)) * shock**2 + 0.9 * h
    return returns


def arma_series(phi: float, theta: float, n: int = 1500, seed: int = 0) -> FloatArray:
    rng = np.random.default_rng(seed)
    return 0.3 + ArmaProcess([1, -phi], [1, theta]).generate_sample(
        n, distrvs=rng.standard_normal, burnin=100
    )


def level_series(n: int = 800, seed: int = 0, slope: float = 0.0) -> FloatArray:
    rng = np.random.default_rng(seed)
    slopes = np.cumsum(slope * rng.normal(size=n))
    return np.cumsum(0.4 * rng.normal(size=n) + slopes) + rng.normal(size=n)


def switching_series(n: int = 1500, seed: int = 0) -> FloatArray:
    rng = np.random.default_rng(seed)
    state, series = 0, np.empty(n)
    for row in range(n):
        series[row] = (0.05, -0.1)[state] + (0.5, 1.5)[state] * rng.normal()
        state = state if rng.random() < (0.98, 0.95)[state] else 1 - state
    return series


def some_series(name: str) -> FloatArray:
    """Return a series that the model suits."""
    if "garch" in name:
        return garch_returns(900)
    if name == "regime":
        return switching_series(900)
    if name.startswith("local"):
        return level_series(600, slope=0.02)
    return arma_series(0.6, 0.3, 700)


# -- against statsmodels and arch ---------------------------------------------------------------------------------


def test_an_autoregression_agrees_with_statsmodels() -> None:
    series = arma_series(0.5, 0.0)
    wanted = AutoReg(series[:-1], lags=2).fit()

    model = trained("ar", series, order=2)

    found = np.concatenate([learned(model, "intercept"), learned(model, "weights")])
    assert np.allclose(found, wanted.params, rtol=1e-8)
    assert f"phi_1 {wanted.params[1]:.4g} ({wanted.bse[1]:.2g})" in model.notes[0]


@pytest.mark.parametrize(("p", "q"), [(1, 1), (2, 0), (0, 1), (1, 2)])
def test_the_exact_likelihood_of_an_arma_agrees_with_statsmodels(p: int, q: int) -> None:
    series = arma_series(0.6, 0.3, 300)
    phi, theta = np.array([0.4, 0.2])[:p], np.array([0.3, -0.25])[:q]
    wanted = ARIMA(series, order=(p, 0, q)).loglike([0.3, *phi, *theta, 1.3])

    squares, log_det = arma_terms(series - 0.3, phi, theta)

    assert -0.5 * (300 * np.log(2 * np.pi * 1.3) + log_det + squares / 1.3) == pytest.approx(wanted, abs=1e-8)


def test_an_arma_agrees_with_statsmodels() -> None:
    series = arma_series(0.6, 0.3)
    wanted = ARIMA(series[:-1], order=(1, 0, 1)).fit()

    model = trained("arma", series)

    mean, phi, theta = wanted.params[:3]
    shown = model.notes[1]
    for name, value in (("mean", mean), ("phi_1", phi), ("theta_1", theta)):
        found = float(shown.split(f"{name} ")[1].split(" ")[0])
        assert found == pytest.approx(value, abs=2e-3), name
    errors = [float(part.split(")")[0]) for part in shown.split("(")[2:]]
    assert errors == pytest.approx(wanted.bse[:3], rel=0.1)


def test_the_forecasts_of_an_arma_agree_with_statsmodels() -> None:
    series = arma_series(0.6, 0.3)
    model = trained("arma", series, link="distribution", memory=80)
    ends = ends_of(model, len(series))

    found = ADAPTER.predict(model, series[:, None], ends=ends)

    wanted = ARIMA(series[:-1], order=(1, 0, 1)).fit().append(series[-1:]).get_prediction(start=81, end=1500)
    assert np.allclose(found, wanted.predicted_mean, atol=2e-3)


def test_autocovariances_agree_with_statsmodels() -> None:
    wanted = ArmaProcess([1, -0.5, -0.2], [1, 0.4, 0.1, -0.3]).acovf(12)

    found = autocovariances(np.array([0.5, 0.2]), np.array([0.4, 0.1, -0.3]), 12)

    assert np.allclose(found, wanted, atol=1e-10)


@pytest.mark.parametrize(("name", "kind"), [("local_level", "llevel"), ("local_trend", "lltrend")])
def test_a_kalman_filter_agrees_with_statsmodels(name: str, kind: str) -> None:
    series = level_series(slope=0.05 if name == "local_trend" else 0.0)
    oracle = sm.tsa.UnobservedComponents(series[:-1], kind, use_exact_diffuse=True)
    wanted = oracle.fit(disp=0, method="lbfgs", maxiter=500, pgtol=1e-9, factr=10)

    model = trained(name, series, link="distribution", foresees="value", memory=200)

    assert np.allclose(learned(model, "variances"), wanted.params, rtol=0.03, atol=2e-4)
    window = series[300:501]
    filtered = oracle.clone(window).filter(learned(model, "variances"))
    found = ADAPTER.predict(model, window[:, None], ends=np.array([200]))
    assert found[0] == pytest.approx(filtered.forecast(1)[0], abs=1e-8)
    assert learned(model, "deviation")[0] ** 2 == pytest.approx(
        filtered.get_forecast(1).var_pred_mean[0], rel=1e-8
    )


@pytest.mark.parametrize(("name", "o"), [("garch", 0), ("gjr_garch", 1)])
def test_garch_agrees_with_arch(name: str, o: int) -> None:
    returns = garch_returns(gamma=0.1 * o)
    oracle = arch_model(100 * returns[:-1], p=1, o=o, q=1, rescale=False)
    wanted = oracle.fit(disp="off", backcast=float(np.var(100 * returns[:-1])), tol=1e-10)
    ours = ["mu", "omega", "alpha[1]", "beta[1]", *(["gamma[1]"] if o else [])]
    units = np.array([1e-2, 1e-4, 1, 1, 1])[: len(ours)]

    model = trained(name, returns)

    assert np.allclose(learned(model, "parameters"), wanted.params[ours] * units, rtol=5e-3, atol=1e-7)
    shown = float(model.notes[1].split("beta ")[1].split("(")[1].split(")")[0])
    assert shown == pytest.approx(oracle.fit(disp="off").std_err["beta[1]"], rel=0.5)


@pytest.mark.parametrize("model_class", [Garch, AsymmetricGarch])
def test_the_likelihood_of_garch_is_that_of_arch(model_class: type[Garch]) -> None:
    returns = 100 * garch_returns(500)
    values = np.array([0.05, 0.02, 0.06, 0.9, 0.05])[: len(model_class.parameters)]
    oracle = arch_model(returns, p=1, o=len(values) - 4, q=1, rescale=False)
    order = [0, 1, 2, 4, 3] if len(values) == 5 else [0, 1, 2, 3]
    wanted = oracle.fix(values[order]).loglikelihood
    before = oracle.volatility.backcast(returns - returns.mean())

    loss, gradient = model_class().loss_of(values, returns, float(before))

    assert -loss == pytest.approx(wanted, rel=1e-9)
    numeric = optimize.approx_fprime(
        values, lambda v: model_class().loss_of(v, returns, float(before))[0], 1e-7
    )
    assert np.allclose(gradient, numeric, rtol=1e-3, atol=0.05)


def test_two_regimes_agree_with_statsmodels() -> None:
    series = switching_series()
    oracle = sm.tsa.MarkovRegression(series[:-1], k_regimes=2, switching_variance=True)
    values = np.array([0.05, -0.1, 0.5, 1.5, 0.98, 0.95])
    wanted = oracle.loglike([0.98, 0.05, 0.05, -0.1, 0.25, 2.25])

    loss, gradient = negative_likelihood(values, series[:-1])
    model = trained("regime", series)

    assert -loss == pytest.approx(wanted, rel=1e-9)
    numeric = optimize.approx_fprime(values, lambda v: negative_likelihood(v, series[:-1])[0], 1e-7)
    assert np.allclose(gradient, numeric, rtol=1e-3, atol=0.05)
    best = oracle.fit(disp=0).llf
    assert negative_likelihood(learned(model, "parameters"), series[:-1])[0] == pytest.approx(-best, abs=1e-3)


def test_the_filter_of_two_regimes_agrees_with_statsmodels() -> None:
    series = switching_series()
    model = trained("regime", series, link="distribution", memory=200)
    means, deviations, stay = learned(model, "parameters").reshape(3, 2)
    window = series[700:901]
    oracle = sm.tsa.MarkovRegression(window, k_regimes=2, switching_variance=True)
    result = oracle.filter([stay[0], 1 - stay[1], *means, *deviations**2])
    wild = result.filtered_marginal_probabilities[-1, 1]
    wild = wild * stay[1] + (1 - wild) * (1 - stay[0])

    found = ADAPTER.predict(model, window[:, None], ends=np.array([200]))

    assert found[0] == pytest.approx((1 - wild) * means[0] + wild * means[1], abs=1e-9)


def test_mean_reversion_is_found_as_it_was_made() -> None:
    rng = np.random.default_rng(0)
    kappa, theta, sigma, series = 0.1, 2.0, 0.3, np.empty(8000)
    phi = np.exp(-kappa)
    error = sigma * np.sqrt((1 - phi**2) / (2 * kappa))
    series[0] = theta
    for row in range(1, len(series)):
        series[row] = theta + phi * (series[row - 1] - theta) + error * rng.normal()

    model = trained("ornstein_uhlenbeck", series, target=np.diff(series)[1:], link="distribution")

    assert learned(model, "process") == pytest.approx([kappa, theta, sigma], rel=0.1)
    ahead = ADAPTER.predict(model, np.array([[2.0], [3.0]]), ends=np.array([1]))
    found_kappa, found_theta, _ = learned(model, "process")
    assert ahead[0] == pytest.approx((found_theta - 3.0) * (1 - np.exp(-found_kappa)))


# -- what foresees truly foresees ---------------------------------------------------------------------------------


def test_the_volatility_of_garch_is_foreseen() -> None:
    returns = garch_returns(4000)
    model = untrained("garch", memory=100)
    ends = np.arange(100, 2999)
    model = ADAPTER.train_model(model, returns[:3000, None], np.abs(returns[ends + 1]), ends=ends, seed=0)

    later = np.arange(3000, 3999)
    found = ADAPTER.predict(model, returns[:, None], ends=later)

    assert np.corrcoef(found, np.abs(returns[later + 1]))[0, 1] > 0.15


@pytest.mark.parametrize("link", ["fitted", "distribution"])
def test_an_autoregression_foresees_the_sign_of_the_next_value(link: str) -> None:
    series = arma_series(0.7, 0.0, 2000) - 0.3
    model = trained("ar", series[:1500], model_type="classification", link=link)

    later = np.arange(1500, 1999)
    rise = ADAPTER.predict(model, series[:, None], ends=later)[:, 1]

    assert ((rise > 0.5) == (series[later + 1] > 0)).mean() > 0.7


def test_the_probability_of_garch_is_that_of_the_normal_distribution() -> None:
    returns = garch_returns(1500)
    model = trained("garch", returns, model_type="classification", link="distribution", memory=500)
    mu, omega, alpha, beta = learned(model, "parameters")
    e = returns[900:1401] - mu
    h = np.mean(e**2)
    h = omega + (alpha + beta) * h
    for one in e:
        h = omega + alpha * one**2 + beta * h

    found = ADAPTER.predict(model, returns[900:1401, None], ends=np.array([500]))

    assert found[0] == pytest.approx(
        [special.ndtr(-mu / np.sqrt(h)), special.ndtr(mu / np.sqrt(h))], abs=1e-12
    )


@pytest.mark.parametrize("name", SERIES)
@pytest.mark.parametrize("model_type", ["classification", "regression"])
def test_a_row_is_answered_alike_in_a_batch_and_by_itself(name: str, model_type: str) -> None:
    series = some_series(name)
    model = trained(name, series, model_type=model_type)
    ends = ends_of(model, len(series))[-5:]

    batch = ADAPTER.predict(model, series[:, None], ends=ends)

    context = model.model.context_rows
    single = [
        ADAPTER.predict(model, series[end - context : end + 1, None], ends=np.array([context]))[0]
        for end in ends
    ]
    assert np.array_equal(batch, single)
    assert np.isfinite(batch).all()


@pytest.mark.parametrize("name", SERIES)
def test_a_later_row_or_one_before_the_memory_changes_nothing(name: str) -> None:
    series = some_series(name)
    model = trained(name, series)
    end, context = len(series) - 50, model.model.context_rows
    other = series.copy()
    other[end + 1 :] = 9.0
    other[: end - context] = -9.0

    answers = [ADAPTER.predict(model, one[:, None], ends=np.array([end])) for one in (series, other)]

    assert np.array_equal(*answers)


@pytest.mark.parametrize("name", SERIES)
def test_two_symbols_are_learned_from_as_two_stretches(name: str) -> None:
    series = some_series(name)
    model = untrained(name)
    one = ends_of(model, len(series) - 1)
    both = np.concatenate([one, len(series) + one])
    target = np.tile(series[one + 1], 2)

    doubled = ADAPTER.train_model(model, np.tile(series, 2)[:, None], target, ends=both, seed=0)

    alone = trained(name, series)
    key = "weights" if "weights" in doubled.fitted.arrays else "parameters"
    assert np.allclose(learned(doubled, key), learned(alone, key), rtol=2e-3, atol=2e-4)


def test_three_classes_are_answered_through_the_link() -> None:
    series = arma_series(0.7, 0.0, 1200) - 0.3
    model = untrained("ar", model_type="classification")
    ends = np.arange(1, 1199)
    target = np.digitize(series[ends + 1], [-0.5, 0.5])

    model = ADAPTER.train_model(model, series[:, None], target, classes=(-1.0, 0.0, 1.0), ends=ends, seed=0)

    found = ADAPTER.predict(model, series[:, None], ends=ends)
    assert found.shape == (len(ends), 3)
    assert np.allclose(found.sum(axis=1), 1)
    assert (found.argmax(axis=1) == target).mean() > 0.5


# -- segments -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ends", "wanted"),
    [
        ([3, 4, 5], [slice(0, 6)]),
        ([3, 6], [slice(0, 7)]),  # the windows 0-3 and 3-6 share a row
        ([3, 7], [slice(0, 4), slice(4, 8)]),  # nobody says that rows 3 and 4 are of one symbol
        ([3, 4, 12, 13], [slice(0, 5), slice(9, 14)]),
        ([12, 3, 13, 4], [slice(0, 5), slice(9, 14)]),  # rows of a panel come in order of time
    ],
)
def test_windows_that_share_a_row_are_one_stretch(ends: list[int], wanted: list[slice]) -> None:
    assert segments(np.array(ends), 3) == wanted


# -- notes and refusals ---------------------------------------------------------------------------------------------


def test_weights_that_reach_the_link_only_are_noted() -> None:
    series = arma_series(0.6, 0.0)
    model, ends = untrained("ar"), np.arange(1, 1499)

    model = ADAPTER.train_model(
        model, series[:, None], series[ends + 1], ends=ends, weight=np.ones(len(ends)), seed=0
    )

    assert (
        model.notes[-1]
        == "Sample weights count in the link to the label only, not in the likelihood of the series."
    )


def test_a_series_model_needs_to_be_told_where_rows_end() -> None:
    series = arma_series(0.6, 0.0)
    model = trained("ar", series)

    with pytest.raises(TrainingError, match="say where they end by ends"):
        ADAPTER.train_model(untrained("ar"), series[:, None], series, seed=0)
    with pytest.raises(PredictionError, match="say where they end by ends"):
        ADAPTER.predict(model, series[:, None])


def test_the_context_is_what_the_filter_runs_over() -> None:
    rows = [
        ADAPTER.context_rows(SciPyModelConfig(model=name, parameters=parameters))
        for name, parameters in (
            ("logistic", {}),
            ("ar", {"order": 3}),
            ("garch", {}),
            ("garch", {"memory": 99}),
        )
    ]

    assert rows == [0, 3, 250, 99]


def test_the_series_is_found_by_its_name() -> None:
    config = SciPyModelConfig(
        model="ar", model_type="regression", feature_columns=("a", "b"), parameters={"series": "b"}
    )
    series = arma_series(0.6, 0.0)
    ends = np.arange(1, 1499)

    model = ADAPTER.train_model(
        ADAPTER.initialize_model(config),
        np.column_stack([np.zeros(1500), series]),
        series[ends + 1],
        ends=ends,
        seed=0,
    )

    assert learned(model, "columns").tolist() == [1.0]
    assert np.array_equal(learned(model, "weights"), learned(trained("ar", series), "weights"))


def test_an_unknown_series_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"Unknown series 'return_11'. Did you mean 'return_1"):
        untrained("garch", series="return_11")


def test_a_named_series_among_other_features_is_refused() -> None:
    model = untrained("ar", series="return_5")

    with pytest.raises(TrainingError, match="'return_5' is not among the features of these rows"):
        ADAPTER.train_model(model, np.ones((9, 2)), np.ones(8), ends=np.arange(1, 9), seed=0)


def test_a_distribution_has_no_answer_over_several_bars() -> None:
    config = SciPyModelConfig(model="garch", parameters={"link": "distribution"}, prediction_horizon=5)

    with pytest.raises(ConfigError, match="prediction_horizon = 1"):
        ADAPTER.initialize_model(config)


@pytest.mark.parametrize("name", SERIES)
def test_a_series_that_does_not_move_is_refused(name: str) -> None:
    with pytest.raises(TrainingError, match="the same"):
        trained(name, np.full(200, 0.5))


@pytest.mark.parametrize("name", SERIES)
def test_too_few_rows_are_refused(name: str) -> None:
    rng = np.random.default_rng(0)

    with pytest.raises(TrainingError, match="too few"):
        trained(
            name,
            rng.normal(size=5),
            **({"memory": 2} if name in FILTERED else {"order": 3} if name == "ar" else {}),
        )


def test_a_series_that_runs_away_does_not_revert() -> None:
    with pytest.raises(TrainingError, match="does not revert to a mean"):
        trained("ornstein_uhlenbeck", 1.01 ** np.arange(300.0))


@pytest.mark.parametrize("name", ["garch", "regime", "arma", "local_level"])
def test_a_search_that_is_cut_short_is_refused(name: str) -> None:
    with pytest.raises(TrainingError, match=f"{name} did not converge: .* stopped after"):
        trained(name, some_series(name), max_iterations=1)


def test_an_arma_without_orders_is_refused() -> None:
    with pytest.raises(ConfigError, match="p and q are both 0"):
        untrained("arma", p=0, q=0)
