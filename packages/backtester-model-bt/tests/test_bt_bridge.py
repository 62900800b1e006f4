"""bt, really run: what it earns is what the core says, and every order waits for the next open."""

from __future__ import annotations

from importlib.metadata import version

import bt
import pandas as pd
import pytest

from backtester_model_bt import __all__ as exported
from backtester_model_bt import __version__, run_backtest
from backtester_model_core.config import CostsConfig
from backtester_model_core.testing import random_bars, random_panel, random_signals
from backtester_model_core.testing.engines import FREE, PanelEngineContract

# bt's reckoning uses what pandas gives up
pytestmark = pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning")


class TestBt(PanelEngineContract):
    framework = "scipy"
    marked_at = "open"
    cost_tolerance = 1e-4

    def run(self, source, bars, **options) -> bt.backtest.Result:
        return run_backtest(source, bars, **options)

    def money_of(self, result: bt.backtest.Result) -> pd.Series:
        """Leave out the first row, which is bt's own, a day before the bars."""
        return result.backtest_list[0].strategy.values.iloc[1:]


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # bt takes logarithms of what is left
def test_equity_that_is_used_up_is_bts_bankruptcy() -> None:
    bars = random_bars(5).assign(open=[10.0, 10, 25, 5, 5], high=99.0, low=1.0, close=[10.0, 10, 25, 5, 5])
    short = pd.DataFrame({"target_weight": -1.0}, index=bars.index)

    result = run_backtest(short, bars, costs=CostsConfig(**FREE))

    assert result.backtest_list[0].strategy.bankrupt
    assert result.backtest_list[0].strategy.values.iloc[-1] == -500_000.0


def test_bts_own_result_comes_back_under_the_given_name() -> None:
    panel = random_panel(4, 100, seed=2)

    result = run_backtest(random_signals(panel), panel, name="drawn")

    assert type(result) is bt.backtest.Result
    assert list(result.stats.columns) == ["drawn"]
    assert set(result.get_transactions().index.get_level_values(1)) == {"S000", "S001", "S002", "S003"}


def test_a_decision_at_one_close_is_a_transaction_at_the_next_open() -> None:
    bars = random_bars(50, seed=3)
    signals = pd.DataFrame({"target_weight": [0.0] * 5 + [0.5] * 45}, index=bars.index)

    transactions = run_backtest(signals, bars).get_transactions()

    ((day, symbol),) = transactions.index
    assert (day, symbol) == (bars.index[6], "asset")
    assert transactions["price"].iloc[0] == bars["open"].iloc[6]


def test_the_package_says_its_version_and_exports_what_there_is() -> None:
    assert __version__ == version("backtester-model-bt")
    assert exported == ["run_backtest"]
