"""Thresholds chosen on earlier rows: what they would have paid, and that they are worth it only where they are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtester_model_core.config import CostsConfig
from backtester_model_core.signals import Odds
from backtester_model_core.signals.thresholds import Lane, kept_down_to, levels_by_cost, levels_by_quantile

FREE = CostsConfig(commission_bps=0, half_spread_bps=0, slippage_bps=0)
TEN_BPS = CostsConfig(commission_bps=10, half_spread_bps=0, slippage_bps=0)


def lane(score, returned, *, symbol=None, horizon=1, costs=TEN_BPS):
    score = np.asarray(score, dtype=np.float64)
    codes = np.zeros(len(score), dtype=np.int64) if symbol is None else np.asarray(symbol)
    known_at = np.datetime64("2024-01-01", "ns") + np.arange(len(score)) * np.timedelta64(1, "D")
    return Lane.of(
        score, np.asarray(returned, float), symbol=codes, known_at=known_at, horizon=horizon, costs=costs
    )


def edge(n_rows, *, size=0.02, seed=0, spread=0.1):
    """Scores that are the true probability of a return of ``size`` upwards, else downwards."""
    rng = np.random.default_rng(seed)
    score = np.clip(rng.normal(0.5, spread, n_rows), 0.05, 0.95)
    return score, np.where(rng.random(n_rows) < score, size, -size)


def utility_by_hand(score, symbol, returned, entry, leave, *, horizon, costs, lag):
    """Follow every symbol bar by bar."""
    total = 0.0
    for code in sorted(set(symbol)):
        sides, held = [], 0
        for p, own, r in zip(score.tolist(), symbol, returned, strict=True):
            if own != code:
                continue
            lean = (p > 0.5) - (p < 0.5)
            confidence = max(p, 1 - p)
            if lean and confidence >= entry:
                held = lean
            elif not (lean and lean == held and confidence >= leave):
                held = 0
            total += held * r / horizon - (held < 0) * costs.borrow_rate / costs.year
            sides.append(held)
        padded = [0] * lag + sides + [0] * lag
        total -= costs.one_way * sum(abs(b - a) for a, b in zip(padded, padded[lag:], strict=False)) / lag
    return total / len(score)


@settings(max_examples=100)
@given(
    st.integers(0, 2**20),
    st.integers(1, 40),
    st.integers(1, 4),
    st.sampled_from(["latest", "tranches"]),
    st.floats(0.5, 0.7),
    st.floats(0.5, 0.7),
)
def test_every_utility_is_what_following_the_bars_gives(seed, n_rows, horizon, holding, entry, leave):
    rng = np.random.default_rng(seed)
    score, symbol = np.round(rng.uniform(0.3, 0.7, n_rows), 2), rng.integers(0, 3, n_rows)
    returned = rng.normal(0, 0.01, n_rows)
    costs = CostsConfig(commission_bps=7, borrow_rate=0.3, holding=holding)
    rows = lane(score, returned, symbol=symbol, horizon=horizon, costs=costs)

    found = rows.utility(rows.sides(entry, min(leave, entry)))

    lag = horizon if holding == "tranches" else 1
    settings_ = {"horizon": horizon, "costs": costs, "lag": lag}
    assert found == pytest.approx(
        utility_by_hand(score, symbol, returned, entry, min(leave, entry), **settings_), abs=1e-12
    )


def test_a_side_that_is_kept_does_not_pay_again():
    rows = lane([0.6, 0.6, 0.6, 0.6], [0.01] * 4)

    # 4 * 1 % less 10 bps in and 10 bps out, over four rows
    assert rows.utility(rows.sides(0.6, 0.6)) == pytest.approx((0.04 - 0.002) / 4)


def test_costs_raise_the_entry_and_keep_what_is_held():
    score, returned = edge(4_000)

    free = levels_by_cost(lane(score, returned, costs=FREE))
    dear = levels_by_cost(lane(score, returned, costs=TEN_BPS))

    assert free.entry < 0.53
    assert dear.entry > free.entry
    assert dear.leave < dear.entry
    assert dear.strong >= dear.entry


def test_the_strong_level_pays_for_its_own_round_trip():
    score, returned = edge(40_000)

    found = levels_by_cost(lane(score, returned))

    # break-even of 2 % either way at 20 bps a round trip: (0.02 + 0.002) / 0.04
    assert found.strong == pytest.approx(0.55, abs=0.02)
    assert Odds(0.02, 0.02).break_even(one_way=0.001) == pytest.approx(0.55)


def test_nothing_is_chosen_where_nothing_pays():
    rng = np.random.default_rng(1)
    score = rng.uniform(0.4, 0.6, 2_000)

    assert levels_by_cost(lane(score, rng.normal(-0.0, 0.001, 2_000), costs=TEN_BPS)) is None


def test_a_handful_of_lucky_rows_is_no_choice():
    score, returned = np.full(200, 0.51), np.full(200, -0.01)
    score[:20], returned[:20] = 0.9, 0.05

    assert levels_by_cost(lane(score, returned)) is None


def test_rows_with_something_unknown_do_not_count():
    score, returned = edge(500)
    told = np.append(score, [np.nan, 0.99]), np.append(returned, [9.0, np.nan])

    assert levels_by_cost(lane(*told)) == levels_by_cost(lane(score, returned))


def test_a_quantile_is_the_share_of_confidences_below():
    confidence = np.linspace(0.5, 0.6, 101)

    levels = levels_by_quantile(confidence, 0.8, hysteresis=0.5)

    assert (levels.entry, levels.leave, levels.strong) == pytest.approx((0.58, 0.54, 0.585))


@pytest.mark.parametrize(("entry", "share", "down_to"), [(0.6, 0.0, 0.6), (0.6, 1.0, 0.5), (0.4, 1.0, 0.4)])
def test_a_side_is_kept_a_share_of_the_way_down(entry, share, down_to):
    assert kept_down_to(entry, share) == pytest.approx(down_to)


def test_odds_are_the_mean_gain_and_the_mean_loss():
    odds = Odds.measure(np.array([0.01, 0.03, -0.01, 0.0, -0.05]))

    assert (odds.win, odds.loss) == pytest.approx((0.02, 0.03))
    assert Odds.measure(np.array([0.01])) is None
