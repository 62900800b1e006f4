"""Intervals of information coefficients: their influence by brute force, their coverage by simulation."""

from __future__ import annotations

from math import asin, atanh, isnan, nan, pi, sqrt, tanh

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtester_model_core.evaluation import information_coefficients, information_intervals
from backtester_model_core.evaluation.coefficients import (
    COEFFICIENTS,
    _moment_influence,
    _rank_influence,
    midranks,
)
from backtester_model_core.evaluation.long_run import fixed_b_critical, long_run_variance
from backtester_model_core.exceptions import EvaluationError

pytestmark = pytest.mark.exhaustive

PERSISTENCE = 0.9


def counted_ranks(values: np.ndarray) -> np.ndarray:
    """Rank by counting who is below, ties half."""
    ordered = np.sort(values)
    return (np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")) / 2


def markets(n_bars: int, n_symbols: int, *, horizon: int, ic: float, seed: int) -> dict:
    """Return the columns of a persistent forecast and overlapping outcomes that share a common factor.

    By construction the correlation of both is ``ic``, over all rows as well as across symbols.
    """
    rng = np.random.default_rng(seed)

    def shocks(n: int) -> np.ndarray:
        own, common = rng.standard_normal((n, n_symbols)), rng.standard_normal((n, 1))
        return own if n_symbols == 1 else sqrt(0.7) * own + sqrt(0.3) * common

    forecast = shocks(n_bars)
    for t in range(1, n_bars):
        forecast[t] = PERSISTENCE * forecast[t - 1] + sqrt(1 - PERSISTENCE**2) * forecast[t]
    steps = np.cumsum(shocks(n_bars + horizon), axis=0)
    outcome = ic * forecast + sqrt(1 - ic**2) * (steps[horizon:] - steps[:-horizon]) / sqrt(horizon)
    return {
        "outcome": outcome.ravel(),
        "forecast": forecast.ravel(),
        "decision_time": np.repeat(np.arange(n_bars), n_symbols),
        "horizon": horizon,
    }


def expected_across(n: int, ic: float) -> dict[str, float]:
    """Return what normal samples of n symbols give on average: Pearson's r to order 1/n, Spearman's exactly.

    Fisher (1915); Moran (1948).
    """
    pearson = ic * (1 - (1 - ic**2) / (2 * n))
    spearman = 6 / pi * (asin(ic) + (n - 2) * asin(ic / 2)) / (n + 1)
    return {"ic_across": pearson, "rank_ic_across": spearman}


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_influence_is_what_a_little_more_weight_on_a_row_does(seed: int, ties: bool):
    rng = np.random.default_rng(seed)
    y, f = rng.standard_normal((2, 25))
    f += y
    if ties:
        y, f = (y > 0).astype(float), np.round(f)
    if np.ptp(y) == 0:
        y[0] += 1
    copies = 200
    for transform, influence in (
        (np.asarray, _moment_influence(y, f)),
        (counted_ranks, _rank_influence(counted_ranks(y) + 0.5, counted_ranks(f) + 0.5)),
    ):
        before = np.corrcoef(transform(y), transform(f))[0, 1]
        more_y, more_f = np.append(np.tile(y, copies), y[3]), np.append(np.tile(f, copies), f[3])

        after = np.corrcoef(transform(more_y), transform(more_f))[0, 1]

        assert influence.mean() == pytest.approx(0, abs=1e-12)
        assert (after - before) * len(more_y) == pytest.approx(influence[3], abs=0.02, rel=0.02)


def test_midranks_within_groups_by_hand():
    values, group = np.array([5.0, 1.0, 1.0, 7.0, 7.0]), np.array([0, 0, 0, 1, 1])

    assert midranks(values, group=group).tolist() == [3.0, 1.5, 1.5, 4.5, 4.5]


def test_interval_over_all_rows_is_fishers_with_a_long_run_error():
    columns = markets(400, 1, horizon=3, ic=0.3, seed=2)
    y, f = columns["outcome"], columns["forecast"]
    r = np.corrcoef(y, f)[0, 1]
    zy, zf = (y - y.mean()) / y.std(), (f - f.mean()) / f.std()
    error = sqrt(long_run_variance(zy * zf - r / 2 * (zy**2 + zf**2), lags=26) / 400) / (1 - r**2)
    half = fixed_b_critical(27 / 400, two_sided=True) * error

    low, high = information_intervals(**columns)["ic"]

    assert (low, high) == (pytest.approx(tanh(atanh(r) - half)), pytest.approx(tanh(atanh(r) + half)))


def test_interval_across_is_that_of_the_mean_over_times():
    rng = np.random.default_rng(3)
    y, f = rng.standard_normal((2, 200, 6))
    of_times = np.array([np.corrcoef(a, b)[0, 1] for a, b in zip(y, f, strict=True)])
    half = fixed_b_critical(20 / 200, two_sided=True) * sqrt(long_run_variance(of_times, lags=19) / 200)

    found = information_intervals(
        y.ravel(), forecast=f.ravel(), decision_time=np.repeat(np.arange(200), 6), horizon=1
    )

    assert found["ic_across"] == pytest.approx((of_times.mean() - half, of_times.mean() + half))


@pytest.mark.parametrize("horizon", [1, 5, 20])
@pytest.mark.parametrize(("n_symbols", "ic"), [(1, 0.0), (1, 0.3), (6, 0.1)])
def test_intervals_hold_the_true_coefficient_about_as_often_as_they_say(
    horizon: int, n_symbols: int, ic: float
):
    true = {"ic": ic, "rank_ic": 6 / pi * asin(ic / 2), **expected_across(n_symbols, ic)}
    names = COEFFICIENTS if n_symbols > 1 else COEFFICIENTS[:2]
    held = dict.fromkeys(names, 0)
    for seed in range(120):
        found = information_intervals(**markets(2000, n_symbols, horizon=horizon, ic=ic, seed=seed))
        for name in names:
            held[name] += found[name][0] <= true[name] <= found[name][1]

    assert all(0.88 <= count / 120 <= 0.99 for count in held.values()), held


def test_rows_taken_as_independent_hold_it_far_too_seldom():
    held = []
    for seed in range(120):
        columns = markets(1000, 6, horizon=5, ic=0.0, seed=seed)
        r = np.corrcoef(columns["outcome"], columns["forecast"])[0, 1]
        held.append(abs(atanh(r)) < 1.96 / sqrt(6000 - 3))

    assert np.mean(held) < 0.75


@given(st.integers(0, 2**32 - 1))
def test_interval_surrounds_its_coefficient_and_stays_within_one(seed: int):
    rng = np.random.default_rng(seed)
    columns = {
        "outcome": rng.standard_normal(40),
        "forecast": rng.standard_normal(40),
        "decision_time": rng.integers(0, 6, 40),
    }

    coefficients = information_coefficients(**columns)
    intervals = information_intervals(**columns, horizon=1)

    for name in ("ic", "rank_ic"):
        low, high = intervals[name]
        assert -1 <= low <= coefficients[name] <= high <= 1


def test_copies_of_a_symbol_make_no_interval_narrower():
    one = markets(300, 1, horizon=2, ic=0.1, seed=5)
    copied = {name: np.repeat(values, 4) for name, values in one.items() if name != "horizon"} | {
        "horizon": 2
    }

    for name in ("ic", "rank_ic"):
        assert information_intervals(**copied)[name] == pytest.approx(information_intervals(**one)[name])


@pytest.mark.parametrize(
    ("outcome", "forecast"),
    [([], []), ([nan, 1.0], [1.0, nan]), ([1.0, 2.0], [3.0, 3.0]), ([1.0, 2.0], [2.0, 4.0])],
)
def test_rows_that_define_no_interval_give_nan(outcome: list[float], forecast: list[float]):
    times = np.arange(len(outcome))

    found = information_intervals(outcome, forecast=forecast, decision_time=times, horizon=1)

    assert tuple(found) == COEFFICIENTS
    assert all(isnan(bound) for interval in found.values() for bound in interval)


def test_wrong_horizon_is_refused():
    with pytest.raises(EvaluationError, match="at least one bar; given 0"):
        information_intervals([1.0], forecast=[1.0], decision_time=[1], horizon=0)
