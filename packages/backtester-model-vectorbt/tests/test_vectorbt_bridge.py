"""vectorbt, really run: what it earns is what the core says, and every order waits for the next open."""

from __future__ import annotations

import logging
from importlib.metadata import version

import numpy as np
import pandas as pd
import pytest
import vectorbt as vbt

from backtester_model_core.config import CostsConfig
from backtester_model_core.engines import orders_of
from backtester_model_core.testing import random_bars, random_signals
from backtester_model_core.testing.engines import FREE, PanelEngineContract
from backtester_model_vectorbt import __all__ as exported
from backtester_model_vectorbt import __version__, run_backtest

BARS = random_bars(400, seed=3, momentum=0.3)

# vectorbt's reckoning uses what pandas gives up
pytestmark = pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning")


def money_of(portfolio: vbt.Portfolio) -> pd.Series:
    return portfolio.value().squeeze(axis="columns") if portfolio.value().ndim > 1 else portfolio.value()


class TestVectorbt(PanelEngineContract):
    framework = "scipy"
    marked_at = "close"
    cost_tolerance = 1e-4
    gross = 0.5

    def run(self, source, bars, **options) -> vbt.Portfolio:
        return run_backtest(source, bars, **options)

    def money_of(self, result: vbt.Portfolio) -> pd.Series:
        return money_of(result)


def test_equity_that_is_used_up_orders_nothing_more() -> None:
    bars = BARS.iloc[:5].assign(open=[10.0, 10, 25, 5, 5], high=99.0, low=1.0, close=[10.0, 10, 25, 5, 5])
    short = pd.DataFrame({"target_weight": -1.0}, index=bars.index)

    portfolio = run_backtest(short, bars, costs=CostsConfig(rebalance="every_bar", **FREE))

    assert money_of(portfolio).iloc[2] < 0
    assert (portfolio.logs.values["res_status"][2:] == vbt.portfolio.enums.OrderStatus.Rejected).any()


def test_vectorbts_own_portfolio_comes_back_with_fees_and_slippage_apart() -> None:
    costs = CostsConfig(commission_bps=10, half_spread_bps=3, slippage_bps=4)
    signals = pd.DataFrame({"target_weight": 0.5}, index=BARS.index)

    portfolio = run_backtest(signals, BARS, costs=costs, name="drawn")

    (order,) = portfolio.orders.records_readable.to_dict(orient="records")
    assert type(portfolio) is vbt.Portfolio
    assert portfolio.value().name == "drawn"
    assert order["Timestamp"] == BARS.index[1]
    assert order["Price"] == pytest.approx(BARS["open"].iloc[1] * 1.0007)
    assert order["Fees"] == pytest.approx(order["Size"] * order["Price"] * 0.001)


def test_a_purchase_beyond_the_cash_is_filled_in_part_and_said(caplog) -> None:
    signals = pd.DataFrame({"target_weight": 1.5}, index=BARS.index)

    with caplog.at_level(logging.WARNING):
        portfolio = run_backtest(signals, BARS, costs=CostsConfig(**FREE))

    (record,) = caplog.records
    core = orders_of(signals, BARS, costs=CostsConfig(**FREE)).simple_equity("close")
    assert "vectorbt lends no cash: 1 of 1 orders were filled in part, the worst short by 0.5" in (
        record.getMessage()
    )
    assert np.abs(money_of(portfolio).to_numpy() / 1e6 / core.to_numpy() - 1).max() > 0.01


def test_orders_that_the_cash_reaches_for_are_not_complained_of(caplog) -> None:
    with caplog.at_level(logging.WARNING):
        run_backtest(random_signals(BARS, sides_only=True), BARS)

    assert caplog.records == []


def test_the_package_says_its_version_and_exports_what_there_is() -> None:
    assert __version__ == version("backtester-model-vectorbt")
    assert exported == ["run_backtest"]
