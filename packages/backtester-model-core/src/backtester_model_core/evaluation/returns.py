"""The simple after-cost return of a table of target weights.

The clock of one decision: a weight decided at the close of session t is filled at the open of session t+1 and
earns until the open of session t+2. With r the return of that bar, w the weights held over it, w̃ the earlier
weights after their drift, and κ the one-way cost::

    r_t = O[t+2]/O[t+1] - 1
    w̃_t = w_{t-1}(1 + r_{t-1}) / (1 + R_{t-1})
    τ_t = Σ|w_t - w̃_t|
    R_t = Σ w r + (1 - Σ w)·r_f - borrow·Σ max(-w, 0) - κ·τ_t

Nothing decided at t can earn the move that ends at the open of t+1: that bar belongs to the decision before.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from backtester_model_core.config import CostsConfig
from backtester_model_core.evaluation.fills import Fills
from backtester_model_core.evaluation.sharpe import (
    SAME_RETURN,
    deflated_sharpe_ratio,
    probabilistic_sharpe_ratio,
)
from backtester_model_core.typing import BoolArray, FloatArray

NAN = float("nan")

RETURN_FIGURES = (
    "total_return",
    "annualised_return",
    "annualised_volatility",
    "sharpe",
    "probabilistic_sharpe",
    "deflated_sharpe",
    "max_drawdown",
    "mean_turnover",
)


@dataclass(frozen=True)
class ReturnPath:
    """What a table of decisions earned, one entry for each decision that a later open lets be judged.

    Entry t belongs to the decision of session t: filled at the open of t+1 and held to the open of t+2, so the
    last two sessions have none.

    Attributes:
        net: (n,) return after all costs. It is -1, and everything after it 0, once the equity is used up.
        gross: (n,) return of the positions and interest on cash, before costs.
        cost: (n,) trading and borrowing costs, as a share of the equity at the fill.
        turnover: (n,) traded value, as a share of the equity at the fill: τ.
        weight: (n, n_symbols) weights held over the bar, after the fill.
    """

    net: FloatArray
    gross: FloatArray
    cost: FloatArray
    turnover: FloatArray
    weight: FloatArray

    @property
    def equity(self) -> FloatArray:
        """(n,) value of one unit of money at the end of each bar."""
        return np.asarray(np.cumprod(1 + self.net), dtype=np.float64)


def after_cost_return(
    target_weight: ArrayLike,
    *,
    open_price: ArrayLike,
    close_price: ArrayLike,
    costs: CostsConfig,
    horizon: int = 1,
    delisting_return: float = 0.0,
    delisted_after: int = 5,
    day: ArrayLike | None = None,
) -> ReturnPath:
    """Follow target weights through the bars, with costs, drift, missing opens and delistings.

    A symbol without an open is not traded: its shares are carried, valued at the last close, and the latest
    decision waits for its next open. A symbol without a bar for ``delisted_after`` days is sold at its last
    close times (1 + ``delisting_return``); its decisions lapse, and if it comes back it needs a new one.
    Nothing is sold at the end.

    Args:
        target_weight: (n_sessions, n_symbols) share of the equity decided at each close; NaN is no new decision.
        open_price: (n_sessions, n_symbols); NaN where the symbol has no bar.
        close_price: (n_sessions, n_symbols); NaN where the symbol has no bar.
        costs: ``rebalance = "every_bar"`` restores the weights at every open, ``"on_change"`` trades a symbol only
            when its decision differs from the one it last filled. ``holding = "tranches"`` holds the average of
            the ``horizon`` latest decisions.
        horizon: Bars that a decision is meant to be held; matters for tranches only.
        delisting_return: Return from the last close at which a delisted symbol is sold.
        delisted_after: Days without a bar after which a symbol counts as delisted.
        day: (n_sessions,) number of each session's trading day; each session is a day when not given.

    Raises:
        EvaluationError: When the tables differ in shape, a price is not positive, or a weight is infinite.
    """
    fills = Fills.of(
        target_weight,
        open_price=open_price,
        close_price=close_price,
        depth=horizon if costs.holding == "tranches" else 1,
        delisted_after=delisted_after,
        day=day,
    )
    return _follow(fills, costs=costs, delisting_return=delisting_return)


def return_metrics(path: ReturnPath, *, costs: CostsConfig, n_trials: int = 1) -> dict[str, float]:
    """Return n, total and yearly return, volatility, Sharpe ratios, maximum drawdown and mean turnover.

    The yearly return compounds; the Sharpe ratio (Sharpe 1994) is the mean over the deviation of the return above
    the risk-free rate, times the root of the bars in a year; the drawdown is the largest share lost from a peak.
    ``probabilistic_sharpe`` is the probability that the true Sharpe ratio is above zero, ``deflated_sharpe`` that
    it is above what the best of ``n_trials`` without skill would show. A figure that the path does not define, such
    as the ratio of a return that does not vary, is NaN.
    """
    net, n = path.net, len(path.net)
    if n == 0:
        return {"n": 0} | dict.fromkeys(RETURN_FIGURES, NAN)
    year = costs.year
    excess = net - costs.risk_free_rate / year
    volatility = float(excess.std(ddof=1)) * year**0.5 if n > 1 else NAN
    value = np.concatenate([[1.0], path.equity])
    with np.errstate(over="ignore"):  # a good week may stand for more in a year than a float can hold
        yearly = float(np.power(value[-1], year / n) - 1)
    figures = (
        float(value[-1] - 1),
        yearly,
        volatility,
        float(excess.mean()) * year / volatility if np.ptp(excess) > SAME_RETURN else NAN,
        probabilistic_sharpe_ratio(excess),
        deflated_sharpe_ratio(excess, n_trials=n_trials),
        float(np.max(1 - value / np.maximum.accumulate(value))),
        float(path.turnover.mean()),
    )
    return {"n": n} | dict(zip(RETURN_FIGURES, figures, strict=True))


def _follow(fills: Fills, *, costs: CostsConfig, delisting_return: float) -> ReturnPath:
    """Walk through the sessions; names as in the formulas of the module."""
    interest = costs.risk_free_rate / costs.year
    borrow = costs.borrow_rate / costs.year
    one_way = costs.one_way
    # Entry t belongs to the decision of session t, which the open of session t + 1 fills.
    targets, trades, delisted = fills.target[1:-1], fills.trades(costs)[1:-1], fills.delisted[1:-1]
    # Before its first bar a symbol has no value, and nobody holds it.
    earned = np.nan_to_num(fills.value[2:] / fills.value[1:-1] - 1)
    earned[fills.delisted[2:]] = delisting_return
    n_bars, n_symbols = earned.shape
    gross, cost, turnover = np.zeros(n_bars), np.zeros(n_bars), np.zeros(n_bars)
    weight_path = np.zeros((n_bars, n_symbols))
    growths: FloatArray = 1 + earned
    any_gone: BoolArray = np.asarray(delisted.any(axis=1))
    any_trade: BoolArray = np.asarray(trades.any(axis=1))
    weight, growth = np.zeros(n_symbols), 1.0
    for t in range(n_bars):
        drifted = weight * growths[t - 1] / growth
        weight = drifted
        if any_gone[t] or any_trade[t]:
            weight = np.where(trades[t], targets[t], np.where(delisted[t], 0.0, weight))
            turnover[t] = np.abs(weight - drifted).sum()
        gross[t] = weight @ earned[t] + (1 - weight.sum()) * interest
        cost[t] = one_way * turnover[t]
        if borrow:
            cost[t] += borrow * np.maximum(-weight, 0).sum()
        weight_path[t] = weight
        growth = 1 + gross[t] - cost[t]
        if growth <= 0:
            break
    return ReturnPath(np.maximum(gross - cost, -1.0), gross, cost, turnover, weight_path)
