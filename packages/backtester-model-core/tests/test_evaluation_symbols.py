"""Verdicts side by side: Holm's step-down, one verdict for each symbol, classes and the order of symbols."""

from __future__ import annotations

from math import isnan, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtester_model_core.evaluation import (
    SkillOutcome,
    holm_adjusted,
    judge_skill,
    judge_symbols,
    skill_series,
)
from backtester_model_core.exceptions import EvaluationError

N_ROWS = 600


def panel(n_symbols: int, *, seed: int, skilled: int = 0, strength: float = 0.0) -> dict:
    """Return the columns of a panel of noise in which the first symbols are foreseen a little."""
    rng = np.random.default_rng(seed)
    outcome, forecast = rng.standard_normal((2, N_ROWS, n_symbols))
    forecast[:, :skilled] += strength * outcome[:, :skilled]
    return {
        "decision_time": np.repeat(np.arange(N_ROWS), n_symbols),
        "symbol": np.tile([f"S{k:03}" for k in range(n_symbols)], N_ROWS),
        "outcome": outcome.ravel(),
        "forecast": forecast.ravel(),
        "baseline": 0.0,
        "horizon": 1,
    }


def test_adjusted_p_values_by_hand():
    # smallest times 4, next times 3, then the larger of what came before and p times 2, then times 1
    assert holm_adjusted([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm_adjusted([0.9, 0.6]).tolist() == [1.0, 1.0]
    assert holm_adjusted([]).tolist() == []


def test_untested_claim_costs_the_others_nothing():
    adjusted = holm_adjusted([0.02, nan, 0.03])

    assert adjusted[[0, 2]] == pytest.approx([0.04, 0.04])
    assert isnan(adjusted[1])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_adjusted_p_values_reject_what_stepping_down_rejects(p_values: list[float]):
    m, level = len(p_values), 0.05
    rejected: set[int] = set()
    for step, k in enumerate(sorted(range(m), key=lambda k: p_values[k])):
        if p_values[k] * (m - step) > level:
            break
        rejected.add(k)

    assert {k for k, p in enumerate(holm_adjusted(p_values)) if p <= level} == rejected


@pytest.mark.parametrize("method", ["newey_west", "bootstrap"])
def test_one_symbol_alone_gets_the_plain_verdict(method: str):
    columns = panel(1, seed=3, skilled=1, strength=0.2)
    plain = {name: values for name, values in columns.items() if name != "symbol"}

    assert judge_symbols(**columns, method=method) == {"S000": judge_skill(**plain, method=method)}


@pytest.mark.parametrize("method", ["newey_west", "bootstrap"])
def test_the_symbols_with_an_edge_are_found_among_the_others(method: str):
    verdicts = judge_symbols(**panel(8, seed=1, skilled=2, strength=0.5), method=method)

    found = [name for name, verdict in verdicts.items() if verdict.outcome is SkillOutcome.SKILL]
    assert list(verdicts) == [f"S{k:03}" for k in range(8)]
    assert found == ["S000", "S001"]
    assert " when adjusted for 8 symbols" in verdicts["S000"].reason


def test_luck_that_one_symbol_alone_would_be_believed_is_not_believed_among_twenty():
    columns = panel(20, seed=0)
    names, codes = np.unique(columns["symbol"], return_inverse=True)
    alone = {
        name: judge_skill(
            columns["decision_time"][codes == k],
            outcome=columns["outcome"][codes == k],
            forecast=columns["forecast"][codes == k],
            baseline=0.0,
            horizon=1,
        )
        for k, name in enumerate(names)
    }
    lucky = [name for name, verdict in alone.items() if verdict.outcome is SkillOutcome.SKILL]

    together = judge_symbols(**columns)

    assert lucky
    for name in lucky:
        assert together[name].outcome is SkillOutcome.NONE_SHOWN
        assert together[name].t_g == alone[name].t_g
        assert ", but p = " in together[name].reason


def test_a_family_of_noise_is_believed_about_as_seldom_as_the_level_says():
    adjusted = [judge_symbols(**panel(10, seed=seed)).values() for seed in range(150)]

    any_found = np.mean([any(v.outcome == "skill" for v in verdicts) for verdicts in adjusted])
    any_alone = np.mean([any(v.t_g > v.critical for v in verdicts) for verdicts in adjusted])
    assert any_found <= 0.1
    assert any_alone > 0.25


def test_symbol_with_too_few_rows_makes_no_claim():
    columns = panel(2, seed=4, skilled=1, strength=0.13)
    short = np.arange(N_ROWS * 2) < 160
    kept = (columns["symbol"] == "S000") | short
    few = {
        name: values[kept] if isinstance(values, np.ndarray) else values for name, values in columns.items()
    }

    verdicts = judge_symbols(**few)

    assert verdicts["S001"].reason == "only 80 non-overlapping horizons, and 100 are needed"
    assert isnan(verdicts["S001"].p_g)
    assert verdicts["S000"].p_g == judge_symbols(**panel(1, seed=4) | _only(few, "S000"))["S000"].p_g


def _only(columns: dict, name: str) -> dict:
    """Return the rows of one symbol."""
    kept = columns["symbol"] == name
    return {key: values[kept] for key, values in columns.items() if isinstance(values, np.ndarray)}


def test_worse_than_naive_is_adjusted_too():
    columns = panel(4, seed=5)
    columns["forecast"] = -columns["outcome"]

    for verdict in judge_symbols(**columns).values():
        assert verdict.outcome is SkillOutcome.WORSE
        assert ", p = " in verdict.reason


def test_symbols_may_be_codes_and_lengths_must_agree():
    verdicts = judge_symbols([1, 2], symbol=[7, 3], outcome=[0.1, 0.2], forecast=0.0, baseline=0.0, horizon=1)

    assert list(verdicts) == [3, 7]
    with pytest.raises(EvaluationError, match="symbol 1"):
        judge_symbols([1, 2], symbol=[7], outcome=[0.1, 0.2], forecast=0.0, baseline=0.0, horizon=1)


def test_classes_are_judged_by_their_expectation_against_that_of_their_prior():
    classes = np.array([-1.0, 0.0, 1.0])
    probability = np.array([[0.2, 0.3, 0.5], [0.6, 0.2, 0.2]])
    prior = np.array([0.25, 0.25, 0.5])

    series = skill_series([1, 2], outcome=[1, 0], forecast=probability @ classes, baseline=prior @ classes)

    # f = 0.3 and -0.4, b = 0.25
    assert series.g == pytest.approx([(1 - 0.25) * (0.3 - 0.25), (0 - 0.25) * (-0.4 - 0.25)])
    assert series.d == pytest.approx([0.75**2 - 0.7**2, 0.25**2 - 0.4**2])


def test_noise_in_three_classes_is_seldom_called_skill_and_an_edge_often():
    shares = []
    for edge in (0.0, 0.1):
        verdicts = []
        for seed in range(150):
            rng = np.random.default_rng(seed)
            hint = rng.standard_normal(N_ROWS)
            outcome = np.digitize(edge * hint + rng.standard_normal(N_ROWS), [-0.7, 0.7]) - 1.0
            odds = np.exp(np.column_stack([-0.3 * hint, np.zeros(N_ROWS), 0.3 * hint]))
            probability = odds / odds.sum(axis=1, keepdims=True)
            verdicts.append(
                judge_skill(
                    np.arange(N_ROWS),
                    outcome=outcome,
                    forecast=probability @ [-1, 0, 1],
                    baseline=0.0,
                    horizon=1,
                )
            )
        shares.append(np.mean([verdict.outcome == "skill" for verdict in verdicts]))

    assert shares[0] <= 0.1
    assert shares[1] >= 0.6


def test_order_of_the_symbols_is_judged_apart_from_the_market():
    rng = np.random.default_rng(6)
    times = np.repeat(np.arange(N_ROWS), 5)
    market = np.repeat(rng.standard_normal(N_ROWS), 5)
    own = rng.standard_normal(N_ROWS * 5)
    foresees = {"the market": market, "the order": own + 2 * rng.standard_normal(N_ROWS * 5)}

    found = {
        name: [
            judge_skill(
                times, outcome=market + own, forecast=forecast, baseline=0.0, horizon=1, cross_sectional=flag
            ).outcome
            for flag in (False, True)
        ]
        for name, forecast in foresees.items()
    }

    assert found == {"the market": ["skill", "no skill shown"], "the order": ["skill", "skill"]}


def test_noise_in_the_order_of_symbols_is_seldom_called_skill():
    found = []
    for seed in range(150):
        columns = panel(6, seed=seed)
        del columns["symbol"]
        found.append(judge_skill(**columns, cross_sectional=True).outcome == "skill")

    assert np.mean(found) <= 0.1
