"""Orders as backtesting.py carries them out: a strategy that asks for shares at each close, filled at the next open."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from backtesting import Strategy
from backtesting.lib import FractionalBacktest

from backtester_model_core.config import CostsConfig
from backtester_model_core.engines import Orders, SignalSource, orders_of
from backtester_model_core.exceptions import EngineError
from backtester_model_core.typing import FloatArray

UNIT = 1e-8
"""Smallest part of a share that is traded: backtesting.py's own default."""


def run_backtest(
    source: SignalSource,
    bars: pd.DataFrame,
    *,
    costs: CostsConfig | None = None,
    initial_cash: float = 1_000_000.0,
    name: str = "backtester-model",
) -> pd.Series[Any]:
    """Run signals through backtesting.py, each filled at the open after its decision, and return its statistics.

    What is held is valued at the closes. backtesting.py trades whole units, so it is given units of a
    hundred-millionth of a share (``FractionalBacktest``), and only what is missing to the target is traded. The
    whole one-way cost is its commission. It starts with one flat bar more than the bars: it asks a strategy for
    nothing at its first.

    Args:
        source: A walk-forward's result, a trained model or the folder of a saved one, a store of one model, a
            stream that has not seen the bars, or signals on the bars' index.
        bars: One symbol's frame; for a walk-forward, those that it walked.
        costs: What trading costs and when weights are restored; those of the source's configuration by default.
        initial_cash: Money at the start.
        name: Name of the strategy class.

    Raises:
        BarsError: When the bars must be refused.
        EngineError: When the bars are a panel, the signals are of other bars, or the costs hold a yearly rate,
            which backtesting.py does not know.
    """
    orders = orders_of(source, bars, costs=costs)
    orders.refuse_rates("backtesting.py")
    frame = _title_case(orders)
    weight, price = (np.append(table.to_numpy()[:, 0], np.nan) for table in (orders.weight, orders.price))
    strategy = type(name, (TargetWeights,), {"order_weight": weight, "order_price": price * UNIT})
    largest = max(1.0, float(np.nanmax(np.abs(weight), initial=0.0)))
    backtest = FractionalBacktest(
        frame,
        strategy,
        fractional_unit=UNIT,
        cash=initial_cash,
        commission=orders.costs.one_way,
        # The target is of the equity before costs: as much is lent as they take.
        margin=1 / (2 * largest),
        finalize_trades=False,
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Some trades remain open", UserWarning)
        statistics: pd.Series[Any] = backtest.run()
    return statistics


class TargetWeights(Strategy):  # type: ignore[misc]  # backtesting.py is untyped
    """Ask at each close for what is missing to the weight that is ordered at the next open.

    Attributes:
        order_weight: (n + 1,) share of the equity to hold after each bar's open; NaN where nothing is ordered.
        order_price: (n + 1,) price of a unit at each bar's open, which sizes the order and is what it is filled at.
    """

    order_weight: ClassVar[FloatArray]
    order_price: ClassVar[FloatArray]

    def init(self) -> None:
        """Prepare nothing: the weights were decided elsewhere."""

    def next(self) -> None:
        """Order for the bar after this one."""
        coming = len(self.data) - 1  # the flat bar, which comes first, has no number
        weight, price = self.order_weight[coming], self.order_price[coming]
        if np.isnan(weight):
            return
        held = self.position.size
        equity = self.equity + held * (price - self.data.Close[-1])
        missing = round(weight * equity / price) - held
        if missing > 0:
            self.buy(size=missing)
        elif missing < 0:
            self.sell(size=-missing)


def _title_case(orders: Orders) -> pd.DataFrame:
    """Return one symbol's bars with the names that backtesting.py wants, after one flat bar at the first open.

    Raises:
        EngineError: For several symbols.
    """
    if orders.weight.shape[1] != 1:
        raise EngineError.cannot(
            "backtesting.py",
            f"hold {orders.weight.shape[1]} symbols at once",
            "Pass one symbol's bars, or use backtester-model-bt or backtester-model-vectorbt.",
        )
    bars = orders.bars.droplevel("symbol") if orders.is_panel else orders.bars
    named = bars[["open", "high", "low", "close", "volume"]].set_axis(
        ["Open", "High", "Low", "Close", "Volume"], axis=1
    )
    opened, first = pd.DatetimeIndex(named.index)[0], named["Open"].iloc[0]
    flat = named.iloc[[0]].assign(High=first, Low=first, Close=first, Volume=0.0)
    return pd.concat([flat.set_axis([opened - orders.spacing], axis=0), named])
