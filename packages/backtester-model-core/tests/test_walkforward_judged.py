"""What a walk-forward says of its symbols, of their order, of its coefficients and of its Sharpe ratio."""

from __future__ import annotations

import json
from math import isnan

import numpy as np
import pandas as pd
import pytest

from backtester_model_core.config import ModelConfig
from backtester_model_core.evaluation import (
    deflated_sharpe_ratio,
    information_intervals,
    judge_skill,
    judge_symbols,
    probabilistic_sharpe_ratio,
)
from backtester_model_core.exceptions import EvaluationError
from backtester_model_core.retraining import Never, Schedule, Spell
from backtester_model_core.runs import RunFolder
from backtester_model_core.testing import random_bars, random_panel
from backtester_model_core.walkforward import walk_forward


@pytest.fixture
def bars():
    return random_bars(300, seed=8)


def columns_of(result) -> dict:
    """Return the result's own predictions as the columns of a verdict."""
    frame = result.predictions
    return {
        "outcome": frame["outcome"],
        "forecast": frame["expected"],
        "baseline": frame["baseline"],
        "horizon": 1,
    }


def test_panel_is_judged_by_symbol_and_by_order(linear_config):
    skilled, noise = random_panel(3, 900, seed=3, momentum=0.4), random_panel(3, 900, seed=4)
    names = skilled.index.get_level_values("symbol")
    mixed = skilled.where(pd.Series(names == "S001", index=skilled.index), noise)

    result = walk_forward(linear_config.model_copy(update={"pooling": "per_symbol"}), mixed)
    times = result.predictions.index.get_level_values("timestamp").tz_localize(None).to_numpy()
    symbol = result.predictions.index.get_level_values("symbol")

    outcomes = {name: str(verdict.outcome) for name, verdict in result.symbol_verdicts.items()}
    assert list(outcomes) == ["S000", "S001", "S002"]
    assert [name for name, outcome in outcomes.items() if outcome == "skill"] == ["S001"]
    assert result.symbol_verdicts == judge_symbols(times, symbol=symbol.astype(str), **columns_of(result))
    assert result.order_verdict == judge_skill(times, **columns_of(result), cross_sectional=True)


def test_one_symbol_has_no_others_beside_it(linear_config, bars):
    result = walk_forward(linear_config, bars)

    assert result.order_verdict is None
    assert result.symbol_verdicts == {}
    assert result.summary()["order_verdict"] is None


def test_coefficients_stand_between_their_bounds(linear_config, bars):
    result = walk_forward(linear_config, bars)
    frame = result.predictions

    interval = information_intervals(
        frame["outcome"], forecast=frame["expected"], decision_time=np.arange(len(frame)), horizon=1
    )

    for name in ("ic", "rank_ic"):
        assert (result.metrics[f"{name}_low"], result.metrics[f"{name}_high"]) == pytest.approx(
            interval[name]
        )
        assert result.metrics[f"{name}_low"] < result.metrics[name] < result.metrics[f"{name}_high"]
    assert isnan(result.metrics["ic_across_low"])


def test_sharpe_ratio_of_the_signals_is_deflated_for_the_trials_and_the_baselines_are_not(
    linear_config, bars
):
    result = walk_forward(linear_config, bars, n_trials=30)

    figures = result.return_metrics
    net = result.returns["signals"]
    assert figures["signals"]["probabilistic_sharpe"] == pytest.approx(probabilistic_sharpe_ratio(net))
    assert figures["signals"]["deflated_sharpe"] == pytest.approx(deflated_sharpe_ratio(net, n_trials=30))
    for name in ("always_long", "buy_and_hold"):
        assert figures[name]["deflated_sharpe"] == figures[name]["probabilistic_sharpe"]


def test_run_folder_says_how_many_trials_there_were(linear_config, bars, tmp_path):
    for seed in (1, 2, 2):
        walk_forward(linear_config.model_copy(update={"random_state": seed}), bars, out=tmp_path)

    assert len(RunFolder(tmp_path).runs()) == 2


def test_no_trial_at_all_is_refused_before_any_training(linear_config, bars):
    told = []

    with pytest.raises(EvaluationError, match="itself a trial, so there is at least one; given 0"):
        walk_forward(linear_config, bars, n_trials=0, progress=lambda *done: told.append(done))

    assert told == []


def test_written_metrics_hold_every_verdict(linear_config, tmp_path):
    result = walk_forward(linear_config, random_panel(2, 300), out=tmp_path)

    written = json.loads((tmp_path / "metrics.json").read_text())

    assert written["order_verdict"]["sentence"] == result.order_verdict.sentence
    assert written["verdict"]["p_g"] == pytest.approx(result.verdict.p_g)
    assert {name: verdict["t_g"] for name, verdict in written["symbol_verdicts"].items()} == pytest.approx(
        {name: verdict.t_g for name, verdict in result.symbol_verdicts.items()}
    )


def test_the_trials_of_a_run_folder_are_counted(linear_config, bars, tmp_path):
    walk_forward(linear_config, bars, out=tmp_path)
    other = linear_config.model_copy(update={"prediction_horizon": 2})

    second = walk_forward(other, bars, out=tmp_path)

    net = second.returns["signals"].to_numpy()
    assert second.return_metrics["signals"]["deflated_sharpe"] == pytest.approx(
        deflated_sharpe_ratio(net, n_trials=2)
    )


@pytest.mark.parametrize("retraining", [{}, {"policy": "never"}])
def test_more_bars_are_no_further_trial(linear_config, tmp_path, retraining):
    """Neither are a share of the sessions, or an end of the data, that moves on with them."""
    fields = {**linear_config.model_dump(), "retraining": retraining, "validation": {"test_size": 40}}
    whole = random_bars(330, seed=6)

    for n_bars in (300, 301, 330):
        day = whole.index[n_bars - 1].date().isoformat()
        walk_forward(
            ModelConfig.model_validate({**fields, "data_config": {"end": day}}),
            whole.iloc[:n_bars],
            out=tmp_path,
        )

    assert len(RunFolder(tmp_path).runs()) == 1


def test_each_policy_of_ones_own_is_a_trial_by_what_it_says_of_itself(linear_config, bars, tmp_path):
    class Unspoken(Never):
        __repr__ = object.__repr__

    policies = [Schedule(Spell(20)), Schedule(Spell(37)), Schedule(Spell(50)), Unspoken()]
    again = [Schedule(Spell(20)), Unspoken()]

    for policy in (*policies, *again):
        walk_forward(linear_config, bars, out=tmp_path, policy=policy)

    assert len(RunFolder(tmp_path).runs()) == len(policies)


def test_changed_code_is_another_trial(linear_config, bars, tmp_path, monkeypatch):
    walk_forward(linear_config, bars, out=tmp_path)
    monkeypatch.setattr("backtester_model_core.walkforward.trials.code_facts", lambda model: {"sources": "b"})

    walk_forward(linear_config, bars, out=tmp_path)

    assert len(RunFolder(tmp_path).runs()) == 2


def test_repeating_a_run_is_no_further_trial(linear_config, bars, tmp_path):
    first = walk_forward(linear_config, bars, out=tmp_path)

    again = walk_forward(linear_config, bars, out=tmp_path)

    assert again.return_metrics == first.return_metrics


def test_what_each_window_earned_adds_up_to_what_all_did(linear_config):
    bars = random_bars(700, seed=8, momentum=0.4)
    config = linear_config.model_copy(update={"confidence_threshold": 0.5})

    result = walk_forward(config, bars)

    windows, figures = result.windows, result.return_metrics["signals"]
    assert np.prod(1 + windows["net_return"]) - 1 == pytest.approx(figures["total_return"])
    net = result.returns["signals"].set_axis(result.returns.index.tz_localize(None))
    last = windows.iloc[-1]
    own = net.loc[last["serves_from"].tz_localize(None) :]
    assert last["net_return"] == pytest.approx(np.prod(1 + own) - 1)
    traded = windows["mean_turnover"] * windows["n_served"]
    assert traded.sum() == pytest.approx(figures["mean_turnover"] * len(net), rel=0.01)


def test_the_hit_rate_of_a_window_is_that_of_its_signals(linear_config):
    bars = random_bars(700, seed=8, momentum=0.4)
    config = linear_config.model_copy(update={"confidence_threshold": 0.5})

    result = walk_forward(config, bars)

    of_all = result.signal_table.loc[["LONG", "STRONG_BUY", "SHORT", "STRONG_SELL"]]
    hits = (of_all["hit_rate"] * of_all["n_known"]).sum() / of_all["n_known"].sum()
    weight = result.signals.loc[result.predictions.index, "target_weight"]
    outcome = result.predictions["outcome"]
    counted = ((weight != 0) & outcome.notna()).groupby(result.predictions["window"]).sum()
    mean = (result.windows["hit_rate"] * counted.to_numpy()).sum() / counted.sum()
    assert mean == pytest.approx(hits)
    assert 0.4 < mean < 1
