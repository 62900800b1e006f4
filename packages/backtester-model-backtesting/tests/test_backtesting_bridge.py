"""backtesting.py, really run: what it earns is what the core says, and every order waits for the next open."""

from __future__ import annotations

from importlib.metadata import version

import pandas as pd
import pytest

from backtester_model_backtesting import __all__ as exported
from backtester_model_backtesting import __version__, run_backtest
from backtester_model_core.config import CostsConfig
from backtester_model_core.exceptions import EngineError
from backtester_model_core.testing import random_bars, random_panel, random_signals
from backtester_model_core.testing.engines import FREE, EngineContract

BARS = random_bars(400, seed=3, momentum=0.3)

# backtesting.py's statistics use what pandas gives up
pytestmark = pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning")


class TestBacktesting(EngineContract):
    framework = "scipy"
    marked_at = "close"

    def run(self, source, bars, **options) -> pd.Series:
        return run_backtest(source, bars, **options)

    def money_of(self, result: pd.Series) -> pd.Series:
        """Leave out the first row, which is the flat bar before the bars."""
        return result["_equity_curve"]["Equity"].iloc[1:]

    def test_a_weight_above_one_is_lent_for(self) -> None:
        costs, signals = CostsConfig(rebalance="every_bar"), random_signals(self.bars, gross=2.5)

        result = self.run(signals, self.bars, costs=costs)

        assert signals["target_weight"].abs().max() > 2
        assert self.apart(result, signals, self.bars, costs) < self.cost_tolerance


def test_equity_that_is_used_up_stays_at_nothing() -> None:
    bars = BARS.iloc[:5].assign(open=[10.0, 10, 25, 5, 5], high=99.0, low=1.0, close=[10.0, 10, 25, 5, 5])
    short = pd.DataFrame({"target_weight": -1.0}, index=bars.index)

    stats = run_backtest(short, bars, costs=CostsConfig(**FREE), initial_cash=100.0)

    assert stats["_equity_curve"]["Equity"].iloc[1:].to_list() == [100.0, 100.0, 0.0, 0.0, 0.0]


def test_the_engines_own_statistics_come_back_with_fractions_of_shares() -> None:
    signals = pd.DataFrame({"target_weight": [0.0] * 5 + [0.5] * 100 + [0.0] * 295}, index=BARS.index)

    stats = run_backtest(signals, BARS, initial_cash=100.0, costs=CostsConfig(**FREE), name="drawn")

    (trade,) = stats["_trades"].to_dict(orient="records")
    assert type(stats["_strategy"]).__name__ == "drawn"
    assert 0 < trade["Size"] < 1
    assert (trade["EntryTime"], trade["ExitTime"]) == (BARS.index[6], BARS.index[106])
    assert trade["EntryPrice"] == pytest.approx(BARS["open"].iloc[6])


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
