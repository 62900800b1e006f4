"""Orders as bt carries them out: target weights at dates, which bt fills at that date's price."""

from __future__ import annotations

from typing import Any

import bt
import pandas as pd

from backtester_model_core.config import CostsConfig
from backtester_model_core.engines import SignalSource, orders_of


def run_backtest(
    source: SignalSource,
    bars: pd.DataFrame,
    *,
    costs: CostsConfig | None = None,
    initial_cash: float = 1_000_000.0,
    name: str = "backtester-model",
) -> bt.backtest.Result:
    """Run signals through bt, each filled at the open after its decision, and return bt's result.

    bt knows one price a day, so it is given the opens: it trades at them, and values what it holds at them. Shares
    are traded in fractions. The whole one-way cost is bt's commission; bt buys so much less that a purchase and its
    commission together take the ordered weight.

    Args:
        source: A walk-forward's result, a trained model or the folder of a saved one, a store of one model, a
            stream that has not seen the bars, or signals on the bars' index.
        bars: One symbol's frame or a panel; for a walk-forward, those that it walked.
        costs: What trading costs and when weights are restored; those of the source's configuration by default.
        initial_cash: Money at the start.
        name: Name of the strategy in bt's tables and plots.

    Raises:
        BarsError: When the bars must be refused.
        EngineError: When the signals are of other bars, or the costs hold a yearly rate, which bt does not know.
    """
    orders = orders_of(source, bars, costs=costs)
    orders.refuse_rates("bt")
    one_way = orders.costs.one_way
    ordered = orders.weight[orders.weight.notna().any(axis=1)]
    strategy = bt.Strategy(name, [bt.algos.WeighTarget(ordered), TradeNamed()])
    backtest = bt.Backtest(
        strategy,
        orders.price,
        initial_capital=initial_cash,
        commissions=(lambda quantity, price: abs(quantity) * price * one_way) if one_way else None,
        integer_positions=False,
        progress_bar=False,
    )
    return bt.run(backtest, progress_bar=False)


class TradeNamed(bt.Algo):  # type: ignore[misc]  # bt is untyped
    """Trade the symbols that have a weight today, and leave the others as they are.

    ``bt.algos.Rebalance`` closes what has no weight; here that has no order.
    """

    def __call__(self, target: Any) -> bool:
        """Bring each named symbol to its weight of the strategy's value before the first of the trades."""
        value = target.value
        for symbol, weight in target.temp["weights"].items():
            target.rebalance(weight, child=symbol, base=value, update=False)
        target.root.update(target.now)
        return True
