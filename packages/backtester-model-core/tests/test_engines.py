"""Orders for engines: what is decided at one close is ordered at the next open, whoever decided it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from backtester_model_core.config import CostsConfig
from backtester_model_core.engines import orders_of
from backtester_model_core.exceptions import ArtifactError, EngineError, NotTrainedError
from backtester_model_core.factory import create_model
from backtester_model_core.store import ModelStore
from backtester_model_core.streaming import SignalStream
from backtester_model_core.testing import random_bars, random_panel, random_signals
from backtester_model_core.walkforward import walk_forward

BARS = random_bars(300, seed=3, momentum=0.3)
FREE = CostsConfig(commission_bps=0, half_spread_bps=0, slippage_bps=0)


def signals_of(weights: list[float], bars: pd.DataFrame = BARS) -> pd.DataFrame:
    return pd.DataFrame({"target_weight": weights}, index=bars.index)


def trained(config, bars=BARS):
    model = create_model(config)
    dataset = model.prepare(bars)
    model.train_dataset(dataset.take(np.arange(len(dataset) // 2)))
    return model


def test_a_decision_is_ordered_at_the_open_after_it() -> None:
    bars = BARS.iloc[:5]

    orders = orders_of(signals_of([0.5, 0.5, -1.0, 0.0, 1.0], bars), bars)

    expected = [np.nan, 0.5, np.nan, -1.0, 0.0]
    np.testing.assert_array_equal(orders.weight["asset"], expected)
    np.testing.assert_array_equal(orders.price["asset"], bars["open"])


def test_weights_that_are_restored_are_ordered_at_every_open() -> None:
    bars = BARS.iloc[:4]

    orders = orders_of(signals_of([0.5, 0.5, 0.5, 1.0], bars), bars, costs=CostsConfig(rebalance="every_bar"))

    np.testing.assert_array_equal(orders.weight["asset"], [np.nan, 0.5, 0.5, 0.5])


def test_a_missing_open_waits_and_a_delisted_symbol_is_sold_at_what_it_fell_to(linear_config) -> None:
    panel = random_panel(2, 12, seed=1, lives={"S001": (0, 3)})
    label = linear_config.label.model_copy(update={"delisted_after": 2, "delisting_return": -0.5})
    config = linear_config.model_copy(update={"label": label, "lookback_period": 1})
    frame = random_signals(panel)
    frame["target_weight"] = 0.5
    model = trained(config, random_panel(2, 60, seed=4))
    model.generate_signals = lambda bars: frame.set_index(bars.index)
    late = panel.set_index(panel.index.set_levels(panel.index.levels[0] + pd.Timedelta("3650D"), level=0))

    orders = orders_of(model, late, costs=FREE)

    gone = orders.weight["S001"].to_numpy()
    last = late.xs("S001", level="symbol")["close"].iloc[-1]
    np.testing.assert_array_equal(np.flatnonzero(~np.isnan(gone)), [1, 5])
    assert (gone[1], gone[5]) == (0.5, 0.0)
    assert orders.price["S001"].iloc[4] == last
    assert orders.price["S001"].iloc[5] == 0.5 * last


def test_the_simple_equity_at_opens_is_the_walk_forwards_own_return(linear_config) -> None:
    panel = random_panel(3, 300, seed=6, lives={"S002": (40, 220)})
    result = walk_forward(linear_config.model_copy(update={"costs": FREE}), panel)

    equity = orders_of(result, panel).simple_equity("open")

    own = np.concatenate([[1.0, 1.0], np.cumprod(1 + result.returns["signals"])])
    np.testing.assert_allclose(equity, own, rtol=0, atol=1e-12)
    assert abs(equity.iloc[-1] - 1) > 0.01


def test_a_close_is_marked_by_what_is_held_there() -> None:
    bars = pd.DataFrame(
        {"open": [10.0, 10.0, 12.0], "high": 20.0, "low": 1.0, "close": [10.0, 11.0, 9.0], "volume": 1.0},
        index=pd.date_range("2024-01-01", periods=3, name="timestamp"),
    )
    costs = CostsConfig(commission_bps=100, half_spread_bps=0, slippage_bps=0)

    orders = orders_of(signals_of([0.5, -0.5, 0.0], bars), bars, costs=costs)

    first = 1 + 0.5 * 0.1 - 0.005
    whole_bar = 1 + 0.5 * 0.2 - 0.005
    turned = 0.5 * 1.2 / whole_bar + 0.5
    last = whole_bar * (1 + 0.5 * 0.25 - 0.01 * turned)
    assert orders.simple_equity("close").to_numpy() == pytest.approx([1.0, first, last])
    assert orders.simple_equity("open").to_numpy() == pytest.approx(
        [1.0, 0.995, whole_bar * (1 - 0.01 * turned)]
    )


@pytest.mark.parametrize("n_symbols", [1, 3])
def test_a_stream_a_model_and_a_saved_one_order_the_same(linear_config, tmp_path, n_symbols: int) -> None:
    bars = BARS if n_symbols == 1 else random_panel(n_symbols, 200, seed=2, momentum=0.3)
    model = trained(linear_config, bars)
    store = ModelStore(tmp_path / "store")
    store.promote(linear_config.model_name, store.publish(model))
    model.save(tmp_path / "saved")
    by_model = orders_of(model, bars).weight
    stamps = bars.index.get_level_values("timestamp")
    stream = SignalStream(model, gate="policy")
    stream.warm_up(bars[stamps < by_model.index[0]])

    by_stream = orders_of(stream, bars[stamps >= by_model.index[0]])

    assert by_model.notna().to_numpy().sum() > 10
    assert by_model.index[0] > stamps[len(bars) // 3]  # what it may have learned from is not traded
    pd.testing.assert_frame_equal(by_stream.weight, by_model)
    pd.testing.assert_frame_equal(orders_of(tmp_path / "saved", bars).weight, by_model)
    pd.testing.assert_frame_equal(orders_of(store, bars).weight, by_model)


def test_bars_stamped_at_their_open_are_ordered_at_their_own_open(linear_config) -> None:
    stamped = linear_config.model_copy(
        update={
            "data_config": linear_config.data_config.model_copy(
                update={"bar_stamp": "open", "frequency": "1D"}
            )
        }
    )
    bars = random_bars(300, seed=3, momentum=0.3, frequency="D")
    at_open, at_close = (walk_forward(config, bars) for config in (stamped, linear_config))

    orders = orders_of(at_open, bars)

    pd.testing.assert_frame_equal(orders.weight, orders_of(at_close, bars).weight)
    assert orders.weight.notna().to_numpy().any()


def test_bars_with_a_time_zone_keep_it(linear_config) -> None:
    bars = BARS.tz_localize("America/New_York")
    result = walk_forward(linear_config, bars)

    orders = orders_of(result, bars)

    assert str(orders.weight.index.tz) == "America/New_York"
    np.testing.assert_array_equal(orders.weight, orders_of(walk_forward(linear_config, BARS), BARS).weight)


def test_a_stream_that_has_seen_the_bars_is_refused(linear_config) -> None:
    stream = SignalStream(trained(linear_config))
    stream.warm_up(BARS)

    with pytest.raises(EngineError, match=r"had taken the bar of .* Pass the bars that come after"):
        orders_of(stream, BARS.iloc[-10:])


def test_signals_of_other_bars_are_refused(linear_config) -> None:
    result = walk_forward(linear_config, BARS)

    with pytest.raises(EngineError, match="300 signals are not of these 299 bars"):
        orders_of(result, BARS.iloc[1:])


def test_what_says_nothing_about_weights_is_refused(linear_config, tmp_path) -> None:
    with pytest.raises(EngineError, match="no column 'target_weight'; it has open, high"):
        orders_of(BARS, BARS)
    with pytest.raises(EngineError, match="A int says nothing"):
        orders_of(3, BARS)
    with pytest.raises(EngineError, match="holds 0 models: none"):
        orders_of(ModelStore(tmp_path), BARS)
    with pytest.raises(NotTrainedError):
        orders_of(create_model(linear_config), BARS)
    with pytest.raises(ArtifactError):
        orders_of(tmp_path / "nowhere", BARS)


def test_bars_that_a_model_may_have_learned_from_are_not_enough(linear_config) -> None:
    model = trained(linear_config)

    with pytest.raises(EngineError, match="Of 100 bars, 0 are left to trade"):
        orders_of(model, BARS.iloc[:100])


@pytest.mark.parametrize("rate", ["borrow_rate", "risk_free_rate"])
def test_a_yearly_rate_is_refused_for_an_engine_that_knows_none(rate: str) -> None:
    orders = orders_of(random_signals(BARS), BARS, costs=CostsConfig(**{rate: 0.02}))

    with pytest.raises(EngineError, match=rf"bt cannot charge costs.{rate} = 0.02"):
        orders.refuse_rates("bt")
