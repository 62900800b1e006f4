"""Orders as vectorbt carries them out: target percentages of the value at the open, filled at the open."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd
import vectorbt as vbt
from vectorbt.portfolio.enums import OrderStatus

from backtester_model_core.config import CostsConfig
from backtester_model_core.engines import Orders, SignalSource, orders_of

logger = logging.getLogger(__name__)


def run_backtest(
    source: SignalSource,
    bars: pd.DataFrame,
    *,
    costs: CostsConfig | None = None,
    initial_cash: float = 1_000_000.0,
    name: str = "backtester-model",
) -> vbt.Portfolio:
    """Run signals through vectorbt, each filled at the open after its decision, and return vectorbt's portfolio.

    What is held is valued at the closes; the symbols of a panel share the cash. The commission is vectorbt's fee, the
    half spread and the slippage are its slippage. vectorbt lends no cash: a purchase beyond it is filled in part,
    and a warning in the log counts those that missed more than their own costs.

    Args:
        source: A walk-forward's result, a trained model or the folder of a saved one, a store of one model, a
            stream that has not seen the bars, or signals on the bars' index.
        bars: One symbol's frame or a panel; for a walk-forward, those that it walked.
        costs: What trading costs and when weights are restored; those of the source's configuration by default.
        initial_cash: Money at the start.
        name: Name of the group that the symbols are in.

    Raises:
        BarsError: When the bars must be refused.
        EngineError: When the signals are of other bars, or the costs hold a yearly rate, which vectorbt does not
            know.
    """
    orders = orders_of(source, bars, costs=costs)
    orders.refuse_rates("vectorbt")
    portfolio = vbt.Portfolio.from_orders(
        close=orders.close,
        size=orders.weight,
        size_type="targetpercent",
        direction="both",
        price=orders.price,
        val_price=orders.price,
        fees=orders.costs.commission_bps / 1e4,
        slippage=(orders.costs.half_spread_bps + orders.costs.slippage_bps) / 1e4,
        init_cash=initial_cash,
        cash_sharing=True,
        group_by=pd.Index([name] * orders.weight.shape[1], name="group"),
        call_seq="auto",  # sales first, so that they pay for purchases
        freq=orders.spacing,
        log=True,
    )
    _tell_partial_fills(portfolio, orders)
    return portfolio


def _tell_partial_fills(portfolio: vbt.Portfolio, orders: Orders) -> None:
    """Warn of orders that the cash did not reach for, beyond what their own costs took."""
    log = portfolio.logs.values
    asked = log[log["res_status"] != OrderStatus.Ignored]
    wanted = asked["req_size"] * asked["value"] / asked["val_price"] - asked["position"]
    missed = (np.abs(wanted) - np.nan_to_num(asked["res_size"])) * asked["val_price"] / asked["value"]
    short = missed > 4 * orders.costs.one_way + 1e-9
    if short.any():
        logger.warning(
            "vectorbt lends no cash: %d of %d orders were filled in part, the worst short by %.2g of the equity.",
            short.sum(),
            len(asked),
            missed.max(),
        )
