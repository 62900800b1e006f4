"""The stationary bootstrap and the small p-values: against closed forms, printed tables and simulations."""

from __future__ import annotations

from math import isnan, sqrt
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtester_model_core.evaluation import judge_skill
from backtester_model_core.evaluation.bootstrap import bootstrap_mean, mean_block, resampled_means
from backtester_model_core.evaluation.long_run import estimate_mean, fixed_b_critical, fixed_b_p_value
from backtester_model_core.exceptions import EvaluationError


def overlapping(n: int, *, horizon: int, seed: int) -> np.ndarray:
    """Return sums over ``horizon`` independent steps, whose mean is zero."""
    steps = np.cumsum(np.random.default_rng(seed).standard_normal(n + horizon))
    return (steps[horizon:] - steps[:-horizon]) / sqrt(horizon)


@pytest.mark.parametrize(("n", "horizon", "block"), [(1000, 1, 10.0), (1000, 20, 40.0), (1, 3, 1.0)])
def test_blocks_are_two_horizons_or_the_cube_root_and_fit_the_sample(n: int, horizon: int, block: float):
    assert mean_block(n, horizon=horizon) == pytest.approx(block)


@pytest.mark.parametrize("block", [1.0, 4.0, 25.0])
def test_resampled_means_vary_as_politis_and_romano_derived(block: float):
    # Politis & Romano (1994), lemma 1: weights (1 - i/n)(1 - p)^i + (i/n)(1 - p)^(n - i) on the autocovariances
    values = overlapping(60, horizon=5, seed=1)
    n, p = 60, 1 / block
    u = values - values.mean()
    variance = u @ u / n
    for i in range(1, n):
        weight = (1 - i / n) * (1 - p) ** i + i / n * (1 - p) ** (n - i)
        variance += 2 * weight * (u[i:] @ u[: n - i]) / n

    means = resampled_means(values, block=block, n_resamples=40_000, rng=np.random.default_rng(2))

    assert len(means) == 40_000
    assert means.mean() == pytest.approx(values.mean(), abs=4 * sqrt(variance / n / 40_000))
    assert means.var() == pytest.approx(variance / n, rel=0.03)


def test_block_that_never_ends_goes_round_the_whole_series():
    values = np.array([1.0, 2.0, 4.0, 9.0])

    means = resampled_means(values, block=1e12, n_resamples=50, rng=np.random.default_rng(0))

    assert means == pytest.approx(np.full(50, 4.0))


@given(st.integers(0, 2**32 - 1), st.floats(-0.3, 0.3))
def test_p_value_and_critical_value_decide_alike(seed: int, shift: float):
    values = np.random.default_rng(seed).standard_normal(40) + shift

    found = bootstrap_mean(values, horizon=1, n_resamples=199, seed=seed)

    assert (found.p_above <= 0.05) == (found.t > found.critical_above)
    assert (found.p_below <= 0.05) == (found.t < -found.critical_below)
    assert min(found.p_above, found.p_below) >= 1 / 200


def test_same_seed_gives_the_same_verdict_and_another_a_similar_one():
    rng = np.random.default_rng(3)
    y, f = rng.standard_normal((2, 600))
    columns = {"outcome": y, "forecast": f, "baseline": 0.0, "horizon": 2, "method": "bootstrap"}

    first, again, other = (judge_skill(np.arange(600), **columns, seed=seed) for seed in (5, 5, 6))

    assert first == again
    assert other.t_g != first.t_g
    assert other.t_g == pytest.approx(first.t_g, rel=0.1)


def test_both_methods_agree_on_a_clear_case():
    rng = np.random.default_rng(1)
    y = rng.standard_normal(500)

    for sign, outcome in ((1, "skill"), (-1, "worse than naive")):
        verdicts = [
            judge_skill(
                np.arange(500), outcome=y, forecast=sign * y / 2, baseline=0.0, horizon=1, method=method
            )
            for method in ("newey_west", "bootstrap")
        ]
        assert [verdict.outcome for verdict in verdicts] == [outcome, outcome]
        assert verdicts[1].t_g == pytest.approx(verdicts[0].t_g, rel=0.2)


@pytest.mark.parametrize("horizon", [1, 5, 20])
def test_bootstrap_calls_a_mean_of_zero_positive_about_as_often_as_the_level_says(horizon: int):
    found = [
        bootstrap_mean(overlapping(1500, horizon=horizon, seed=seed), horizon=horizon, n_resamples=199)
        for seed in range(300)
    ]

    assert 0.015 <= np.mean([each.p_above <= 0.05 for each in found]) <= 0.1


def test_drawing_single_rows_calls_overlapping_noise_positive_far_too_often():
    rng = np.random.default_rng(9)
    found = []
    for seed in range(200):
        values = overlapping(1500, horizon=5, seed=seed)
        drawn = resampled_means(values - values.mean(), block=1.0, n_resamples=199, rng=rng)
        found.append(np.mean(drawn >= values.mean()) <= 0.05)

    assert np.mean(found) > 0.15


def test_values_that_do_not_vary_have_no_p_value():
    for values in ([], [1.0], [0.5] * 30):
        found = bootstrap_mean(np.array(values), horizon=1)

        assert isnan(found.t)
        assert isnan(found.p_above)
        assert found.n == len(values)


def test_too_few_resamples_and_unknown_methods_are_refused():
    with pytest.raises(EvaluationError, match=r"18 resamples cannot show anything at 5 %\. Draw at least 19"):
        bootstrap_mean(np.arange(9.0), horizon=1, n_resamples=18)
    with pytest.raises(EvaluationError, match=r"No method 'jackknife' to judge by\. Valid: 'newey_west'"):
        judge_skill([1], outcome=[1.0], forecast=[1.0], baseline=0.0, horizon=1, method="jackknife")


@pytest.mark.parametrize("b", [0.001, 0.02, 0.05, 0.1, 0.14])
def test_p_value_is_five_per_cent_at_the_critical_value_and_agrees_with_the_rest_of_the_table(b: float):
    # Kiefer & Vogelsang (2005), table 1, Bartlett: the rows of 97.5 % and of 99 %
    at_two_sided = 1.9600 + 2.9694 * b + 0.4160 * b**2 - 0.5324 * b**3
    at_99 = 2.3263 + 4.1618 * b + 0.5368 * b**2 - 0.9060 * b**3

    assert fixed_b_critical(b, two_sided=True) == pytest.approx(at_two_sided)
    assert fixed_b_p_value(fixed_b_critical(b), b=b) == pytest.approx(0.05, rel=1e-6)
    assert fixed_b_p_value(at_two_sided, b=b) == pytest.approx(0.025, rel=0.05)
    assert fixed_b_p_value(at_99, b=b) == pytest.approx(0.01, rel=0.1)


@given(st.floats(0.001, 1.0), st.floats(-5, 8), st.floats(0.01, 2))
def test_p_value_falls_with_t_and_its_two_sides_add_up_to_one(b: float, t: float, step: float):
    assert fixed_b_p_value(t, b=b) > fixed_b_p_value(t + step, b=b)
    assert fixed_b_p_value(t, b=b) + fixed_b_p_value(-t, b=b) == pytest.approx(1)


def test_p_value_without_bandwidth_is_the_normal_one():
    for t in (0.5, 1.0, 3.0):
        assert fixed_b_p_value(t, b=1e-6) == pytest.approx(1 - NormalDist().cdf(t), rel=1e-3)


def test_p_values_of_noise_are_below_a_small_level_about_as_often_as_it_says():
    series = np.random.default_rng(4).standard_normal((6000, 300))

    p_values = np.array([estimate_mean(row, horizon=1).p_above for row in series])

    assert np.mean(p_values <= 0.05) == pytest.approx(0.05, abs=0.01)
    assert np.mean(p_values <= 0.01) == pytest.approx(0.01, abs=0.004)
