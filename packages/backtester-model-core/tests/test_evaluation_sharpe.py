"""Sharpe ratios that know their error: the papers' worked examples, slow definitions, and simulations."""

from __future__ import annotations

from itertools import combinations
from math import inf, isnan, log, nan, sqrt
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtester_model_core.config import CostsConfig
from backtester_model_core.evaluation import (
    ReturnPath,
    deflated_sharpe_ratio,
    expected_maximum_sharpe,
    minimum_track_record_length,
    probabilistic_sharpe_ratio,
    probability_of_overfitting,
    return_metrics,
)
from backtester_model_core.evaluation.sharpe import SharpeEstimate
from backtester_model_core.exceptions import EvaluationError


def noise(n_seeds: int, n: int, *, skewed: bool = False) -> np.ndarray:
    """Return (n_seeds, n) returns without drift; skewed ones lose seldom and much."""
    rng = np.random.default_rng(11)
    return 1 - rng.exponential(size=(n_seeds, n)) if skewed else rng.standard_normal((n_seeds, n))


def test_probabilities_of_the_papers_fund():
    # Bailey & López de Prado (2012): two years of months, monthly ratio 0.458, skewness -2.448, kurtosis 10.164
    assert SharpeEstimate(0.458, 24).probability_above() == pytest.approx(0.982, abs=5e-4)
    as_it_is = SharpeEstimate(0.458, 24, skewness=-2.448, kurtosis=10.164)
    assert as_it_is.probability_above() == pytest.approx(0.913, abs=5e-4)


@pytest.mark.parametrize(("bars_per_year", "years"), [(250, 2.73), (52, 2.83), (12, 3.24)])
def test_track_records_of_the_paper(bars_per_year: int, years: float):
    # Bailey & López de Prado (2012): a yearly ratio of 2 against 1, normal returns, 95 %
    estimate = SharpeEstimate(2 / sqrt(bars_per_year), n=1)

    needed = estimate.min_track_record(1 / sqrt(bars_per_year))

    assert needed / bars_per_year == pytest.approx(years, abs=0.005)


def test_deflated_ratio_of_the_papers_example():
    # Bailey & López de Prado (2014): the best of 100 trials, 1,250 days, yearly 2.5, variance 1/2 a year
    best = SharpeEstimate(2.5 / sqrt(250), 1250, skewness=-3.0, kurtosis=10.0)

    assert expected_maximum_sharpe(100, variance=0.5 / 250) == pytest.approx(0.1132, abs=5e-5)
    for n_trials, probability in ((100, 0.9004), (46, 0.9505)):
        luck = expected_maximum_sharpe(n_trials, variance=0.5 / 250)
        assert best.probability_above(luck) == pytest.approx(probability, abs=5e-5)


def test_expected_maximum_is_that_of_simulated_trials():
    ratios = np.random.default_rng(0).standard_normal((20_000, 50)) * 0.3

    assert expected_maximum_sharpe(50, variance=0.09) == pytest.approx(ratios.max(axis=1).mean(), rel=0.02)
    assert expected_maximum_sharpe(1, variance=0.09) == 0.0


def test_moments_and_probability_of_five_returns_by_hand():
    returns = [0.01, -0.02, 0.03, 0.0, 0.03, nan]
    mean = 0.05 / 5
    deviations = [value - mean for value in returns[:5]]
    second, third, fourth = (sum(d**k for d in deviations) / 5 for k in (2, 3, 4))
    ratio = mean / sqrt(second * 5 / 4)
    unit = 1 - third / second**1.5 * ratio + (fourth / second**2 - 1) / 4 * ratio**2
    probability = NormalDist().cdf(ratio * sqrt(4 / unit))

    assert probabilistic_sharpe_ratio(returns) == pytest.approx(probability)
    assert deflated_sharpe_ratio(returns, n_trials=1) == pytest.approx(probability)
    assert minimum_track_record_length(returns) == pytest.approx(1 + unit * (1.6448536 / ratio) ** 2)


def test_luck_without_a_known_variance_is_that_of_trials_without_skill():
    returns = noise(1, 500)[0] + 0.1

    plain = deflated_sharpe_ratio(returns, n_trials=20)

    assert plain == pytest.approx(deflated_sharpe_ratio(returns, n_trials=20, trial_variance=1 / 499))
    assert plain < probabilistic_sharpe_ratio(returns)


def test_returns_that_do_not_vary_have_no_probability():
    for returns in ([], [0.1], [0.02] * 9, [nan, nan]):
        assert isnan(probabilistic_sharpe_ratio(returns))
        assert isnan(deflated_sharpe_ratio(returns, n_trials=3))
        assert isnan(minimum_track_record_length(returns))


def test_moments_that_leave_no_error_give_no_probability():
    # Two values p : 1 - p have unit variance (1 - γ₃ SR/2)², which a mean of 2/γ₃ deviations makes zero.
    values = np.array([0.0] * 900 + [1.0] * 100)
    skewness = (1 - 2 * 0.1) / sqrt(0.09)

    assert isnan(probabilistic_sharpe_ratio(values - 0.1 + 2 / skewness * values.std(ddof=1)))


def test_ratio_below_its_benchmark_is_never_sure():
    assert minimum_track_record_length(-np.abs(noise(1, 50)[0])) == inf


@pytest.mark.parametrize("skewed", [False, True])
def test_noise_is_sure_of_a_ratio_above_zero_about_as_often_as_the_level_says(skewed: bool):
    sure = [probabilistic_sharpe_ratio(row) > 0.95 for row in noise(1500, 500, skewed=skewed)]

    assert np.mean(sure) == pytest.approx(0.05, abs=0.017)


def test_best_of_many_is_sure_without_deflation_and_seldom_with():
    runs = noise(200 * 20, 250).reshape(200, 20, 250)
    best = [run[np.argmax(run.mean(axis=1) / run.std(axis=1))] for run in runs]

    plain = np.mean([probabilistic_sharpe_ratio(row) > 0.95 for row in best])
    deflated = np.mean([deflated_sharpe_ratio(row, n_trials=20) > 0.95 for row in best])
    assert plain > 0.5
    assert deflated <= 0.05


def test_a_real_edge_survives_the_deflation():
    returns = noise(100, 2520) + 2.5 / sqrt(252)

    assert np.mean([deflated_sharpe_ratio(row, n_trials=20) > 0.95 for row in returns]) > 0.9


@pytest.mark.parametrize(("n_trials", "variance"), [(0, 1.0), (3, -1.0), (3, nan)])
def test_impossible_trials_are_refused(n_trials: int, variance: float):
    with pytest.raises(EvaluationError, match="Count every variant that was tried"):
        expected_maximum_sharpe(n_trials, variance=variance)


def test_return_metrics_hold_both_probabilities_of_the_excess_return():
    net = noise(1, 300)[0] * 0.01 + 0.001
    empty = np.zeros(300)
    path = ReturnPath(net, net, empty, empty, empty[:, None])
    costs = CostsConfig(risk_free_rate=0.0252, bars_per_year=252)

    metrics = return_metrics(path, costs=costs, n_trials=7)

    assert metrics["probabilistic_sharpe"] == pytest.approx(probabilistic_sharpe_ratio(net - 0.0001))
    assert metrics["deflated_sharpe"] == pytest.approx(deflated_sharpe_ratio(net - 0.0001, n_trials=7))


def slow_overfitting(table: np.ndarray, n_blocks: int) -> list[float]:
    """Return the logits by concatenating the blocks of each split and ranking by counting."""
    blocks = np.array_split(table, n_blocks)
    logits = []
    for inside in combinations(range(n_blocks), n_blocks // 2):
        seen = np.concatenate([blocks[k] for k in inside])
        unseen = np.concatenate([blocks[k] for k in range(n_blocks) if k not in inside])
        best = np.argmax(seen.mean(axis=0) / seen.std(axis=0))
        ratios = unseen.mean(axis=0) / unseen.std(axis=0)
        relative = sum(ratio <= ratios[best] for ratio in ratios) / (len(ratios) + 1)
        logits.append(log(relative / (1 - relative)))
    return logits


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.sampled_from([2, 4, 6]), st.integers(13, 40))
def test_overfitting_is_that_of_every_split_written_out(seed: int, n_variants: int, n_blocks: int, n: int):
    table = np.random.default_rng(seed).standard_normal((n, n_variants)) + 5

    found = probability_of_overfitting(table, n_blocks=n_blocks)

    expected = slow_overfitting(table, n_blocks)
    assert found.logit == pytest.approx(np.array(expected))
    assert found.probability == np.mean(np.array(expected) <= 1e-12)
    assert found.loss_probability == 0.0


def test_variant_that_is_always_best_is_not_overfitted():
    table = np.random.default_rng(1).standard_normal((320, 8))
    table[:, 5] += 2

    found = probability_of_overfitting(table)

    assert len(found.logit) == 12_870
    assert found.probability == found.loss_probability == 0.0
    assert found.logit == pytest.approx(np.full(12_870, log(8)))


def test_variant_that_was_best_by_one_stretch_is_overfitted():
    # Each variant earns in one of the two blocks what it loses in the other.
    table = 0.01 * np.random.default_rng(2).standard_normal((40, 2))
    table[:20] += [1, -1]
    table[20:] += [-1, 1]

    found = probability_of_overfitting(table, n_blocks=2)

    assert found.probability == found.loss_probability == 1.0


def test_choice_among_noise_is_overfitted_in_half_of_the_splits_on_average():
    found = [
        probability_of_overfitting(
            np.random.default_rng(seed).standard_normal((400, 10)), n_blocks=8
        ).probability
        for seed in range(150)
    ]

    assert np.mean(found) == pytest.approx(0.5, abs=0.07)
    assert np.mean(np.array(found) < 0.05) <= 0.06


def test_equal_variants_are_in_the_middle():
    column = np.random.default_rng(3).standard_normal((40, 1))

    found = probability_of_overfitting(np.repeat(column, 3, axis=1), n_blocks=4)

    assert found.logit == pytest.approx(np.zeros(6))


def test_variant_that_never_trades_has_a_ratio_of_zero():
    table = np.zeros((40, 2))
    table[:, 1] = np.random.default_rng(4).standard_normal(40) - 3

    found = probability_of_overfitting(table, n_blocks=4)

    assert found.probability == found.loss_probability == 0.0


@pytest.mark.parametrize(
    ("shape", "n_blocks", "message"),
    [
        ((100, 3), 5, "Take an even number from 2 to 20"),
        ((100, 3), 22, "Take an even number"),
        ((100, 1), 4, "at least two variants"),
        ((7, 3), 4, "at least 8 rows"),
    ],
)
def test_tables_that_cannot_be_split_are_refused(shape: tuple[int, int], n_blocks: int, message: str):
    with pytest.raises(EvaluationError, match=message):
        probability_of_overfitting(np.zeros(shape), n_blocks=n_blocks)


def test_unknown_returns_are_refused():
    with pytest.raises(EvaluationError, match="Pass the bars that all variants have"):
        probability_of_overfitting(np.full((40, 2), nan), n_blocks=4)
