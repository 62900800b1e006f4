"""backtesting.py, really run: what it earns is what the core says, and every order waits for the next open."""

from __future__ import annotations

from importlib.metadata import version

import numpy as np
import pandas as pd
import pytest

from backtester_model_core.config import CostsConfig
from backtester_model_core.engines import orders_of
from backtester_model_core.exceptions import BarsError, EngineError
from backtester_model_core.factory import create_model
from backtester_model_core.streaming import SignalStream
from backtester_model_core.testing import random_bars, random_panel, random_signals
from backtester_model_core.walkforward import walk_forward
from backtester_model_backtesting import __all__ as exported
from backtester_model_backtesting import __version__, run_backtest

BARS = random_bars(400, seed=3, momentum=0.3)
FREE = {"commission_bps": 0.0, "half_spread_bps": 0.0, "slippage_bps": 0.0}
CONFIG = {
    "framework": "scipy",
    "confidence_threshold": 0.5,
    "features": {"sets": (), "expressions": {"r1": "close / ref(close, 1) - 1"}},
    "lookback_period": 5,
    "validation": {"train_size": 200, "test_size": 100},
    "gate": {"mode": "off"},
}
each_rebalance = pytest.mark.parametrize("rebalance", ["every_bar", "on_change"])


def money_of(stats: pd.Series) -> pd.Series:
    """Return the equity at each close; the engine's first row is the flat bar before the bars."""
    return stats["_equity_curve"]["Equity"].iloc[1:]


def equity_of(stats: pd.Series) -> pd.Series:
    return money_of(stats) / money_of(stats).iloc[0]


def apart(result, source, bars, costs=None) -> float:
    """Return the largest relative distance between the engine's equity and the core's own."""
    core = orders_of(source, bars, costs=costs).simple_equity("close")
    engine = equity_of(result)
    pd.testing.assert_index_equal(engine.index, core.index, check_names=False, exact=False)
    return float(np.abs(engine.to_numpy() / core.to_numpy() - 1).max())


def trained():
    model = create_model(CONFIG)
    dataset = model.prepare(BARS)
    model.train_dataset(dataset.take(np.arange(200)))
    return model


@each_rebalance
@pytest.mark.parametrize("sides_only", [True, False])
def test_one_symbol_without_costs_earns_what_the_core_says(rebalance: str, sides_only: bool) -> None:
    costs, signals = CostsConfig(rebalance=rebalance, **FREE), random_signals(BARS, sides_only=sides_only)

    result = run_backtest(signals, BARS, costs=costs)

    assert apart(result, signals, BARS, costs) < 1e-9


@each_rebalance
def test_one_symbol_with_costs_earns_it_within_the_stated_tolerance(rebalance: str) -> None:
    costs, signals = CostsConfig(rebalance=rebalance), random_signals(BARS, sides_only=True)

    result = run_backtest(signals, BARS, costs=costs)

    distance = apart(result, signals, BARS, costs)
    costless = run_backtest(signals, BARS, costs=CostsConfig(rebalance=rebalance, **FREE))
    assert distance < 1e-9
    assert equity_of(costless).iloc[-1] / equity_of(result).iloc[-1] - 1 > 100 * distance  # costs are charged


@each_rebalance
def test_forgetting_the_lag_is_noticed(rebalance: str) -> None:
    costs, signals = CostsConfig(rebalance=rebalance, **FREE), random_signals(BARS, sides_only=True)
    early = signals.shift(-1, fill_value=0.0)  # as if the decision of a close were filled at its own open

    result = run_backtest(early, BARS, costs=costs)

    assert apart(result, signals, BARS, costs) > 0.01


def test_a_side_known_at_the_close_does_not_earn_the_bar_that_showed_it() -> None:
    moved = np.sign(BARS["close"] - BARS["open"])
    signals = pd.DataFrame({"target_weight": moved})
    costs = CostsConfig(**FREE)

    lagged = equity_of(run_backtest(signals, BARS, costs=costs)).iloc[-1]
    peeked = equity_of(run_backtest(signals.shift(-1, fill_value=0.0), BARS, costs=costs)).iloc[-1]

    assert peeked > 2 * lagged


def test_a_walk_forward_runs_with_its_own_costs() -> None:
    result = walk_forward(CONFIG, BARS)

    engine = run_backtest(result, BARS)

    assert result.signals["target_weight"].abs().sum() > 50
    assert apart(engine, result, BARS) < 1e-9
    assert equity_of(engine).index[0] == result.returns.index[0]


def test_a_model_a_saved_one_and_a_stream_earn_the_same(tmp_path) -> None:
    model = trained()
    model.save(tmp_path)
    by_model = equity_of(run_backtest(model, BARS))
    later = BARS.loc[by_model.index[0] :]
    stream = SignalStream(model, gate="policy")
    stream.warm_up(BARS.loc[BARS.index < later.index[0]])

    by_folder = equity_of(run_backtest(tmp_path, BARS))
    by_stream = equity_of(run_backtest(stream, later))

    assert by_model.nunique() > 50
    pd.testing.assert_series_equal(by_folder, by_model)
    pd.testing.assert_series_equal(by_stream, by_model, check_freq=False)


def test_the_money_at_the_start_is_what_was_given() -> None:
    signals = random_signals(BARS)

    small, large = (run_backtest(signals, BARS, initial_cash=cash) for cash in (1_000.0, 1e6))

    assert money_of(small).iloc[0] == 1_000.0
    assert money_of(small).iloc[-1] / 1e3 == pytest.approx(money_of(large).iloc[-1] / 1e6, rel=1e-6)


def test_equity_that_is_used_up_stays_at_nothing_or_is_refused_by_the_engine() -> None:
    bars = BARS.iloc[:5].assign(open=[10.0, 10, 25, 5, 5], high=99.0, low=1.0, close=[10.0, 10, 25, 5, 5])

    stats = run_backtest(
        pd.DataFrame({"target_weight": -1.0}, index=bars.index), bars, costs=CostsConfig(**FREE)
    )

    assert equity_of(stats).to_list() == [1.0, 1.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize("rate", ["borrow_rate", "risk_free_rate"])
def test_a_yearly_rate_is_refused(rate: str) -> None:
    with pytest.raises(EngineError, match="backtesting.py cannot charge costs." + rate):
        run_backtest(random_signals(BARS), BARS, costs=CostsConfig(**{rate: 0.01}))


def test_bars_that_check_bars_refuses_are_refused() -> None:
    with pytest.raises(BarsError, match="negative|not_positive|price"):
        run_backtest(random_signals(BARS), BARS.assign(low=-1.0))


def test_the_engines_own_statistics_come_back_with_fractions_of_shares() -> None:
    signals = pd.DataFrame({"target_weight": [0.0] * 5 + [0.5] * 100 + [0.0] * 295}, index=BARS.index)

    stats = run_backtest(signals, BARS, initial_cash=100.0, costs=CostsConfig(**FREE), name="drawn")

    (trade,) = stats["_trades"].to_dict(orient="records")
    assert type(stats["_strategy"]).__name__ == "drawn"
    assert 0 < trade["Size"] < 1
    assert (trade["EntryTime"], trade["ExitTime"]) == (BARS.index[6], BARS.index[106])
    assert trade["EntryPrice"] == pytest.approx(BARS["open"].iloc[6])


def test_a_weight_above_one_is_lent_for() -> None:
    costs, signals = CostsConfig(rebalance="every_bar"), random_signals(BARS, gross=2.5)

    result = run_backtest(signals, BARS, costs=costs)

    assert signals["target_weight"].abs().max() > 2
    assert apart(result, signals, BARS, costs) < 1e-9


def test_a_panel_of_one_symbol_is_taken_and_one_of_several_is_refused() -> None:
    one, several = random_panel(1, 100), random_panel(3, 100)

    stats = run_backtest(random_signals(one), one)

    assert stats["# Trades"] > 5
    with pytest.raises(EngineError, match=r"cannot hold 3 symbols at once\. Pass one symbol's bars, or use"):
        run_backtest(random_signals(several), several)


def test_bars_in_another_spelling_are_taken() -> None:
    titled = BARS.rename(columns=str.title)

    stats = run_backtest(random_signals(BARS), titled)

    assert stats["Equity Final [$]"] == run_backtest(random_signals(BARS), BARS)["Equity Final [$]"]


def test_the_package_says_its_version_and_exports_what_there_is() -> None:
    assert __version__ == version("backtester-model-backtesting")
    assert exported == ["run_backtest"]
