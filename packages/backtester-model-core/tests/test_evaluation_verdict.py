"""The verdict, its long-run variance and its gate: against slow definitions, hand arithmetic and simulations."""

from __future__ import annotations

from math import inf, isnan, nan, sqrt
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtester_model_core.evaluation import (
    SkillOutcome,
    gate_opens,
    gate_statistic,
    gate_threshold,
    judge_skill,
    mean_with_bound,
    skill_series,
)
from backtester_model_core.evaluation.long_run import (
    estimate_mean,
    fixed_b_critical,
    long_run_variance,
    newey_west_lags,
)
from backtester_model_core.exceptions import EvaluationError

N_ROWS = 2_000


def markets(n_seeds: int, *, horizon: int, ic: float) -> tuple[np.ndarray, np.ndarray]:
    """Return forecasts and overlapping outcomes, (n_seeds, N_ROWS), of a persistent forecast with a true IC."""
    rng = np.random.default_rng(17)
    forecast = rng.standard_normal((N_ROWS, n_seeds))
    for t in range(1, N_ROWS):
        forecast[t] = 0.9 * forecast[t - 1] + sqrt(1 - 0.81) * forecast[t]
    noise = np.cumsum(rng.standard_normal((N_ROWS + horizon, n_seeds)), axis=0)
    outcome = ic * forecast + sqrt(1 - ic**2) * (noise[horizon:] - noise[:-horizon]) / sqrt(horizon)
    return forecast.T, outcome.T


def share_with_skill(n_seeds: int, *, horizon: int, ic: float) -> float:
    """Return the share of simulated markets in which skill is found."""
    times = np.arange(N_ROWS)
    return float(
        np.mean(
            [
                judge_skill(times, outcome=y, forecast=f, baseline=0.0, horizon=horizon).outcome == "skill"
                for f, y in zip(*markets(n_seeds, horizon=horizon, ic=ic), strict=True)
            ]
        )
    )


@given(st.integers(0, 2**32 - 1), st.integers(2, 40), st.integers(0, 39))
def test_long_run_variance_is_the_weighted_double_sum(seed: int, n: int, lags: int):
    values = np.random.default_rng(seed).standard_normal(n) + 3
    lags = min(lags, n - 1)
    u = values - sum(values) / n
    double_sum = sum(
        (1 - abs(s - t) / (lags + 1)) * u[s] * u[t] for s in range(n) for t in range(n) if abs(s - t) <= lags
    )

    assert long_run_variance(values, lags=lags) == pytest.approx(double_sum / n, abs=1e-12)


@given(st.floats(-1e6, 1e6, allow_subnormal=False), st.integers(2, 3000))
def test_values_that_do_not_vary_have_no_variance(value: float, n: int):
    assert long_run_variance(np.full(n, value), lags=3) == 0.0


def test_without_lags_it_is_the_variance():
    values = np.array([1.0, 2.0, 4.0, 9.0])

    assert long_run_variance(values, lags=0) == pytest.approx(np.var(values))


@pytest.mark.parametrize(("n", "horizon", "lags"), [(2000, 1, 59), (2000, 50, 100), (100, 1, 13), (5, 20, 4)])
def test_lags_are_two_horizons_or_the_root_rule_and_fit_the_sample(n: int, horizon: int, lags: int):
    assert newey_west_lags(n, horizon=horizon) == lags


def test_critical_value_without_bandwidth_is_the_normal_one():
    assert fixed_b_critical(0.0) == pytest.approx(NormalDist().inv_cdf(0.95), abs=1e-4)
    assert fixed_b_critical(1.0) == pytest.approx(1.6449 + 2.1859 + 0.3142 - 0.3427)


@pytest.mark.parametrize("horizon", [1, 50])
def test_critical_value_holds_its_level_where_the_normal_one_does_not(horizon: int):
    series = np.random.default_rng(3).standard_normal((4000, 200))

    estimates = [estimate_mean(row, horizon=horizon) for row in series]

    above = np.mean([estimate.t > estimate.critical_above for estimate in estimates])
    above_normal = np.mean([estimate.t > 1.645 for estimate in estimates])
    assert 0.04 <= above <= 0.06
    assert above_normal > above + 0.01


def test_g_and_d_are_means_over_the_symbols_of_a_time():
    series = skill_series(
        np.array(["2024-01-03", "2024-01-02", "2024-01-03"], dtype="datetime64[D]"),
        outcome=[0.04, 0.02, -0.02],
        forecast=[0.03, 0.00, 0.01],
        baseline=0.01,
    )

    assert series.g == pytest.approx([0.01 * -0.01, (0.03 * 0.02 + -0.03 * 0.0) / 2])
    assert series.d == pytest.approx([0.01**2 - 0.02**2, (0.03**2 - 0.01**2 + 0.03**2 - 0.03**2) / 2])
    assert np.all(np.diff(series.decision_time) > 0)


def test_cross_sectional_judgement_ignores_what_all_symbols_share():
    columns = {"outcome": [1.0, 3.0, 5.0], "forecast": [7.0, 9.0, 4.0], "baseline": 100.0}

    series = skill_series([1, 1, 2], **columns, cross_sectional=True)

    assert series.decision_time.tolist() == [1]  # a symbol alone has no place among others
    assert series.g.tolist() == [1.0]
    assert series.d.tolist() == [1.0]


@pytest.mark.parametrize("horizon", [1, 5])
def test_noise_is_called_skill_about_as_often_as_the_level_says(horizon: int):
    assert share_with_skill(200, horizon=horizon, ic=0.0) <= 0.09


def test_overlapping_rows_taken_as_independent_find_skill_in_noise():
    forecast, outcome = markets(200, horizon=5, ic=0.0)
    g = forecast * outcome

    plain_t = g.mean(axis=1) / g.std(axis=1) * sqrt(N_ROWS)

    assert np.mean(plain_t > 1.645) > 0.15


def test_power_rises_with_the_true_correlation():
    shares = [share_with_skill(60, horizon=1, ic=ic) for ic in (0.0, 0.05, 0.1)]

    assert shares[0] < shares[1] < shares[2]
    assert shares[2] > 0.9


def test_copies_of_a_symbol_add_no_evidence():
    forecast, outcome = (rows[0] for rows in markets(1, horizon=1, ic=0.05))
    times = np.arange(N_ROWS)

    one = judge_skill(times, outcome=outcome, forecast=forecast, baseline=0.0, horizon=1)
    copied = judge_skill(
        np.tile(times, 30),
        outcome=np.tile(outcome, 30),
        forecast=np.tile(forecast, 30),
        baseline=0.0,
        horizon=1,
    )

    assert copied.n == one.n == N_ROWS
    assert copied.t_g == pytest.approx(one.t_g)


@given(st.integers(0, 2**32 - 1))
def test_order_of_the_rows_does_not_matter(seed: int):
    rng = np.random.default_rng(seed)
    times, outcome, forecast = rng.integers(0, 150, 300), rng.standard_normal(300), rng.standard_normal(300)
    order = rng.permutation(300)

    sorted_ = judge_skill(times, outcome=outcome, forecast=forecast, baseline=0.1, horizon=1)
    shuffled = judge_skill(
        times[order], outcome=outcome[order], forecast=forecast[order], baseline=0.1, horizon=1
    )

    assert shuffled.t_g == pytest.approx(sorted_.t_g)
    assert shuffled.outcome == sorted_.outcome


def test_t_is_the_mean_over_its_newey_west_error():
    rng = np.random.default_rng(5)
    y, f = rng.standard_normal(400), rng.standard_normal(400)
    g = (y - 0.2) * (f - 0.2)

    verdict = judge_skill(np.arange(400), outcome=y, forecast=f, baseline=0.2, horizon=2)

    error = sqrt(long_run_variance(g, lags=26) / 400)
    assert verdict.t_g == pytest.approx(g.mean() / error)
    assert verdict.critical == pytest.approx(fixed_b_critical(27 / 400))
    assert (verdict.n, verdict.n_over_h) == (400, 200)
    assert verdict.mean_g == pytest.approx(g.mean())


def test_strong_forecast_has_skill_and_says_so():
    rng = np.random.default_rng(1)
    y = rng.standard_normal(500)

    verdict = judge_skill(np.arange(500), outcome=y, forecast=y / 2, baseline=0.0, horizon=1)

    assert verdict.outcome is SkillOutcome.SKILL
    assert verdict.detail == ""
    assert verdict.sentence.startswith(f"Skill: t(g) = {verdict.t_g:.2f} is above {verdict.critical:.2f}")
    assert verdict.sentence.endswith("(500 decision times, 500 horizons).")


def test_right_order_at_a_wrong_size_is_skill_but_miscalibrated():
    rng = np.random.default_rng(1)
    y = rng.standard_normal(500)

    verdict = judge_skill(np.arange(500), outcome=y, forecast=y * 5, baseline=0.0, horizon=1)

    assert verdict.outcome is SkillOutcome.SKILL
    assert verdict.t_d < -verdict.critical
    assert verdict.sentence.startswith("Skill, raw forecasts miscalibrated: t(g)")


def test_forecast_against_the_outcome_is_worse_than_naive():
    y = np.random.default_rng(1).standard_normal(500)

    verdict = judge_skill(np.arange(500), outcome=y, forecast=-y, baseline=0.0, horizon=1)

    assert verdict.outcome is SkillOutcome.WORSE
    assert verdict.sentence.startswith("Worse than naive: t(d) =")


def test_loud_forecast_with_a_positive_product_is_not_called_worse():
    rng = np.random.default_rng(4)
    y = rng.standard_normal(500)
    noise = rng.standard_normal(500)
    f = 10 * (noise - y * (noise @ y) / (y @ y)) + 0.2 * y

    verdict = judge_skill(np.arange(500), outcome=y, forecast=f, baseline=0.0, horizon=1)

    assert verdict.t_d < -verdict.critical
    assert 0 < verdict.t_g < verdict.critical
    assert verdict.outcome is SkillOutcome.NONE_SHOWN
    assert "is not above" in verdict.reason


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("n", "horizon"), [(99, 1), (1999, 20)])
def test_below_a_hundred_horizons_nothing_is_ever_shown(n: int, horizon: int, sign: int):
    y = np.random.default_rng(1).standard_normal(n)

    verdict = judge_skill(np.arange(n), outcome=y, forecast=sign * y, baseline=0.0, horizon=horizon)

    assert abs(verdict.t_g) > verdict.critical
    assert verdict.outcome is SkillOutcome.NONE_SHOWN
    assert verdict.reason == "only 99 non-overlapping horizons, and 100 are needed"


def test_forecast_that_repeats_the_baseline_shows_no_skill():
    y = np.random.default_rng(1).standard_normal(500) + 0.5

    equal = judge_skill(np.arange(500), outcome=y, forecast=0.1, baseline=0.1, horizon=1)
    rounded = judge_skill(np.arange(500), outcome=y, forecast=0.1 + 1e-16, baseline=0.1, horizon=1)

    for verdict in (equal, rounded):
        assert verdict.outcome is SkillOutcome.NONE_SHOWN
        assert verdict.reason == "the forecasts never differ from the training mean"
        assert isnan(verdict.t_g)


def test_products_that_do_not_vary_show_no_skill():
    outcome = np.full(500, 0.3)

    verdict = judge_skill(np.arange(500), outcome=outcome, forecast=0.2, baseline=0.1, horizon=1)

    assert verdict.outcome is SkillOutcome.NONE_SHOWN
    assert verdict.reason == "the products of forecast and outcome do not vary"


def test_unknown_rows_are_left_out_of_the_count():
    y = np.random.default_rng(1).standard_normal(300)
    f = y.copy()
    f[:50], y[-20:] = nan, nan

    assert judge_skill(np.arange(300), outcome=y, forecast=f, baseline=0.0, horizon=1).n == 230


def test_no_known_row_shows_no_skill():
    verdict = judge_skill([1, 2], outcome=[nan, nan], forecast=[1.0, 2.0], baseline=0.0, horizon=1)

    assert verdict.outcome is SkillOutcome.NONE_SHOWN
    assert verdict.n == 0
    assert isnan(verdict.critical)


def test_three_classes_are_judged_by_their_expectation():
    rng = np.random.default_rng(2)
    y = rng.integers(-1, 2, 600).astype(float)
    probability = np.where(y[:, None] == [-1, 0, 1], 0.5, 0.25)

    verdict = judge_skill(
        np.arange(600), outcome=y, forecast=probability @ [-1, 0, 1], baseline=0.0, horizon=1
    )

    assert verdict.outcome is SkillOutcome.SKILL


def test_wrong_horizon_and_lengths_are_refused():
    with pytest.raises(EvaluationError, match="at least one bar; given 0"):
        judge_skill([1], outcome=[1.0], forecast=[1.0], baseline=0.0, horizon=0)
    with pytest.raises(EvaluationError, match="decision_time 1, outcome 2"):
        judge_skill([1], outcome=[1.0, 2.0], forecast=0.0, baseline=0.0, horizon=1)


def test_bound_lies_one_critical_error_above_the_mean():
    values = np.random.default_rng(8).standard_normal(500)

    mean, bound, n = mean_with_bound([*values, nan], horizon=5)

    error = sqrt(long_run_variance(values, lags=30) / 500)
    assert (mean, n) == (pytest.approx(values.mean()), 500)
    assert bound == pytest.approx(mean + fixed_b_critical(31 / 500) * error)


def test_bound_covers_the_true_mean_about_as_often_as_it_says():
    series = np.random.default_rng(9).standard_normal((2000, 150))

    covered = np.mean([mean_with_bound(row, horizon=3)[1] > 0 for row in series])

    assert 0.93 <= covered <= 0.97


@pytest.mark.parametrize("values", [[], [0.2]])
def test_bound_of_almost_nothing_is_infinite(values: list[float]):
    assert mean_with_bound(values, horizon=1)[1] == inf


@pytest.mark.parametrize(
    ("done", "planned", "threshold"),
    [(0, 20, inf), (1, 4, 1.96 * 2), (5, 20, 1.96 * 2), (20, 20, 1.96), (40, 20, 1.96)],
)
def test_gate_threshold_falls_with_the_root_of_the_windows_done(done: int, planned: int, threshold: float):
    assert gate_threshold(done, planned_windows=planned) == pytest.approx(threshold)


def test_gate_opens_at_the_threshold_and_never_on_an_undefined_statistic():
    assert gate_opens(3.92, windows_done=5, planned_windows=20)
    assert not gate_opens(3.91, windows_done=5, planned_windows=20)
    assert not gate_opens(nan, windows_done=20, planned_windows=20)


def test_gate_statistic_is_t_of_g():
    rng = np.random.default_rng(6)
    columns = {"outcome": rng.standard_normal(200), "forecast": rng.standard_normal(200), "baseline": 0.0}

    z = gate_statistic(np.arange(200), **columns, horizon=2)

    assert z == judge_skill(np.arange(200), **columns, horizon=2).t_g


def test_noise_rarely_opens_the_gate_at_any_of_its_windows():
    forecast, outcome = markets(100, horizon=1, ic=0.0)
    window = N_ROWS // 10

    opened = [
        any(
            gate_opens(
                gate_statistic(
                    np.arange(k * window),
                    outcome=y[: k * window],
                    forecast=f[: k * window],
                    baseline=0.0,
                    horizon=1,
                ),
                windows_done=k,
                planned_windows=10,
            )
            for k in range(1, 11)
        )
        for f, y in zip(forecast, outcome, strict=True)
    ]

    assert np.mean(opened) <= 0.09
