"""Silence is counted in trading days, the same way where rows are labelled and where trades are followed."""

import numpy as np
import pandas as pd
import pytest

from backtester_model_core.bars import Panel
from backtester_model_core.bars.calendar import TradingDays, timezone_of
from backtester_model_core.config import CostsConfig, ModelConfig
from backtester_model_core.evaluation import after_cost_return
from backtester_model_core.factory import create_model
from backtester_model_core.testing import find_label_leaks, label_values, random_bars


def hours(first, last, days):
    """The hours of a market that is open from one hour to another on some days."""
    return pd.DatetimeIndex(
        [pd.Timestamp(day) + pd.Timedelta(hours=hour) for day in days for hour in range(first, last)]
    )


def market(stamps, seed):
    return random_bars(len(stamps), seed=seed).set_axis(pd.DatetimeIndex(stamps, name="timestamp"))


def panel_of(**frames):
    return pd.concat(frames, names=["symbol"]).swaplevel().sort_index()


WEEKDAYS = pd.bdate_range("2024-01-01", periods=15)
EVERY_DAY = pd.date_range("2024-01-01", "2024-01-21")
STOCK = market(hours(15, 22, WEEKDAYS), seed=1)
COIN = market(hours(0, 24, EVERY_DAY), seed=2)


@pytest.fixture
def config(own_plugins):
    return ModelConfig(
        framework="least_squares",
        model_type="regression",
        lookback_period=1,
        features={"sets": (), "expressions": {"r1": "close / ref(close, 1) - 1"}},
        confidence_threshold=0.5,
        gate={"mode": "off"},
        validation={"train_size": 60, "test_size": 30},
    )


def labels(config, bars):
    dataset = create_model(config).prepare(bars)
    return pd.DataFrame({"target": dataset.target, "label_end": dataset.label_end}, index=dataset.index)


def test_a_stock_is_labelled_the_same_beside_a_market_that_never_closes(config):
    alone = labels(config, STOCK)

    beside = labels(config, panel_of(COIN=COIN, STOCK=STOCK)).xs("STOCK", level="symbol")

    pd.testing.assert_frame_equal(alone, beside, check_freq=False)


def test_a_stock_that_falls_silent_ends_with_its_fifth_silent_day(config):
    quiet = STOCK[STOCK.index < "2024-01-10"]
    last_bar = pd.Timestamp("2024-01-09 21:00")

    label = labels(config, panel_of(COIN=COIN, QUIET=quiet)).xs("QUIET", level="symbol").iloc[-2]

    assert label.name == last_bar - pd.Timedelta(hours=1)
    assert label["target"] == quiet["close"].iloc[-1] / quiet["open"].iloc[-1] - 1
    assert label["label_end"] == pd.Timestamp("2024-01-15 00:00")


def test_a_day_that_is_not_over_proves_no_silence(config):
    quiet = STOCK[STOCK.index < "2024-01-10"]
    coin = COIN[COIN.index < "2024-01-15 00:00"]

    label = labels(config, panel_of(COIN=coin, QUIET=quiet)).xs("QUIET", level="symbol").iloc[-2]

    assert np.isnan(label["target"])
    assert pd.isna(label["label_end"])


def test_no_bar_after_it_moves_the_label_of_a_silent_symbol(config):
    quiet = STOCK[(STOCK.index < "2024-01-05") | (STOCK.index >= "2024-01-12")]
    panel = panel_of(COIN=COIN, QUIET=quiet)

    assert find_label_leaks(label_values(config), panel, cuts=range(40, 480, 29)) == []


def test_daily_bars_count_as_they_come(config):
    daily = panel_of(A=market(EVERY_DAY, seed=1), B=market(EVERY_DAY[:10], seed=2))

    label = labels(config, daily).xs("B", level="symbol").iloc[-2]

    assert label["label_end"] == EVERY_DAY[9 + 5]


def test_days_are_those_of_the_bars_own_time_zone():
    evening = market(hours(15, 24, WEEKDAYS), seed=1).tz_localize("America/New_York")
    utc = evening.tz_convert("UTC")

    own, other = (TradingDays.of_panel(Panel.of(bars)) for bars in (evening, utc))

    assert timezone_of(evening.index) == "America/New_York"
    assert len(own.ends) == len(WEEKDAYS)
    assert len(other.ends) > len(WEEKDAYS)
    assert own.ends[0] == np.datetime64("2024-01-02T05:00")


def test_a_night_beside_an_open_market_sells_nothing():
    """Seven hours a day of one symbol, twenty-four of the other: the first is held through its nights."""
    day = np.repeat(np.arange(8), 24)
    opens = np.full((len(day), 2), 100.0)
    closed = np.tile(np.arange(24) < 17, 8)
    opens[closed, 0] = np.nan
    weights = np.full_like(opens, np.nan)
    weights[17] = [0.5, 0.0]
    options = {
        "open_price": opens, "close_price": opens, "costs": CostsConfig(rebalance="on_change"),
        "delisting_return": -0.5, "delisted_after": 5,
    }  # fmt: skip

    by_day = after_cost_return(weights, **options, day=day)
    by_instant = after_cost_return(weights, **options)

    assert by_day.gross.min() == 0.0
    assert by_instant.gross.min() < -0.2


def test_trading_and_labels_agree_on_who_is_gone(config):
    """A symbol that falls silent is sold at the instant at which its labels say so."""
    panel = panel_of(COIN=COIN, QUIET=STOCK[STOCK.index < "2024-01-10"])
    opens, closes = (
        panel.pivot_table(index="timestamp", columns="symbol", values=name) for name in ("open", "close")
    )
    weights = opens.mask(opens.notna(), np.nan)
    weights.loc["2024-01-09 16:00", "QUIET"] = 1.0

    path = after_cost_return(
        weights,
        open_price=opens,
        close_price=closes,
        costs=CostsConfig(rebalance="on_change"),
        delisting_return=-0.9,
        day=TradingDays.of_panel(Panel.of(panel)).number,
    )

    sold_at = opens.index[int(np.argmin(path.gross)) + 1]
    assert path.gross.min() < -0.85
    assert sold_at == labels(config, panel).xs("QUIET", level="symbol")["label_end"].iloc[-2]
