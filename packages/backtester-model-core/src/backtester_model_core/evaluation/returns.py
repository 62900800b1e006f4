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
from backtester_model_core.evaluation.sharpe import (
    SAME_RETURN,
    deflated_sharpe_ratio,
    probabilistic_sharpe_ratio,
)
from backtester_model_core.exceptions import EvaluationError
from backtester_model_core.typing import BoolArray, FloatArray, IntArray

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
SAME_WEIGHT = 1e-12
"""Targets closer than this are means of the same decisions in another order."""


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


@dataclass(frozen=True)
class _Bars:
    """The table of prices as the loop over sessions needs it; entry t belongs to the decision of session t.

    Attributes:
        earned: (n, n_symbols) return from the open of t+1 to the open of t+2, or of what stands in for them.
        tradable: (n, n_symbols) whether there is an open at t+1.
        delisted: (n, n_symbols) whether session t makes the symbol count as delisted.
    """

    earned: FloatArray
    tradable: BoolArray
    delisted: BoolArray


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
    weights, opens, closes = _check_tables(target_weight, open_price, close_price)
    days = np.arange(len(opens)) if day is None else np.asarray(day, dtype=np.int64)
    last_bar = _last_bar(closes)
    gone = _delisted(last_bar, day=days, delisted_after=delisted_after)
    bars = _lay_out(opens, closes, last_bar=last_bar, delisted=gone, delisting_return=delisting_return)
    depth = horizon if costs.holding == "tranches" else 1
    return _follow(_targets(weights, delisted=bars.delisted, depth=depth), bars=bars, costs=costs)


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


def _targets(weights: FloatArray, *, delisted: BoolArray, depth: int) -> FloatArray:
    """Return the weights aimed at in each session: the mean of the latest ``depth`` decisions of each symbol.

    A NaN repeats the decision that stands; before the first one, and once a symbol is delisted, that is zero.
    """
    n_bars = len(delisted)
    decided = np.where(delisted, 0.0, weights[:n_bars])
    session = np.arange(n_bars)[:, None]
    latest_at = np.maximum.accumulate(np.where(np.isnan(decided), -1, session), axis=0)
    standing = np.take_along_axis(decided, np.maximum(latest_at, 0), axis=0)
    latest = np.where(latest_at < 0, 0.0, standing)
    if depth == 1:
        return latest
    # A ring: an unchanged decision leaves the array as it is.
    recent, targets = np.zeros((depth, weights.shape[1])), np.empty_like(latest)
    for t in range(n_bars):
        recent[:, delisted[t]] = 0.0
        recent[t % depth] = latest[t]
        targets[t] = recent.mean(axis=0)
    return targets


def _follow(targets: FloatArray, *, bars: _Bars, costs: CostsConfig) -> ReturnPath:
    """Walk through the sessions; names as in the formulas of the module."""
    interest = costs.risk_free_rate / costs.year
    borrow = costs.borrow_rate / costs.year
    one_way, restores = costs.one_way, costs.rebalance == "every_bar"
    n_bars, n_symbols = bars.earned.shape
    gross, cost, turnover = np.zeros(n_bars), np.zeros(n_bars), np.zeros(n_bars)
    weight_path = np.zeros((n_bars, n_symbols))
    growths: FloatArray = 1 + bars.earned
    any_gone: BoolArray = np.asarray(bars.delisted.any(axis=1))
    weight, filled, growth = np.zeros(n_symbols), np.zeros(n_symbols), 1.0
    for t in range(n_bars):
        drifted = weight * growths[t - 1] / growth
        weight = drifted
        if any_gone[t]:
            weight, filled = np.where(bars.delisted[t], 0.0, weight), np.where(bars.delisted[t], 0.0, filled)
        trades = bars.tradable[t] & (restores | (np.abs(targets[t] - filled) > SAME_WEIGHT))
        if any_gone[t] or trades.any():
            weight, filled = np.where(trades, targets[t], weight), np.where(trades, targets[t], filled)
            turnover[t] = np.abs(weight - drifted).sum()
        gross[t] = weight @ bars.earned[t] + (1 - weight.sum()) * interest
        cost[t] = one_way * turnover[t]
        if borrow:
            cost[t] += borrow * np.maximum(-weight, 0).sum()
        weight_path[t] = weight
        growth = 1 + gross[t] - cost[t]
        if growth <= 0:
            break
    return ReturnPath(np.maximum(gross - cost, -1.0), gross, cost, turnover, weight_path)


def _check_tables(
    target_weight: ArrayLike, open_price: ArrayLike, close_price: ArrayLike
) -> tuple[FloatArray, FloatArray, FloatArray]:
    weights, opens, closes = (
        np.asarray(table, dtype=np.float64) for table in (target_weight, open_price, close_price)
    )
    if weights.ndim != 2 or not weights.shape == opens.shape == closes.shape:
        shapes = {"target_weight": weights.shape, "open_price": opens.shape, "close_price": closes.shape}
        raise EvaluationError.lengths(shapes)
    if np.isinf(weights).any():
        raise EvaluationError(
            "A target weight is infinite. Pass shares of the equity, or NaN for no decision."
        )
    for name, prices in (("open_price", opens), ("close_price", closes)):
        wrong = (prices <= 0) | np.isinf(prices)
        if wrong.any():
            raise EvaluationError(
                f"{name} holds {prices[wrong][0]:g}. Pass positive prices, or NaN for no bar."
            )
    return weights, opens, closes


def _delisted(last_bar: IntArray, *, day: IntArray, delisted_after: int) -> BoolArray:
    """(n_sessions, n_symbols) whether a session, the last of its day, makes a symbol count as delisted."""
    silent = day[:, None] - day[np.maximum(last_bar, 0)]
    ends_day = np.append(np.diff(day) > 0, True)[: len(day), None]
    return np.asarray((last_bar >= 0) & (silent == delisted_after) & ends_day)


def _last_bar(closes: FloatArray) -> IntArray:
    """(n_sessions, n_symbols) the session of the latest bar so far; -1 before the first."""
    session = np.arange(len(closes))[:, None]
    return np.maximum.accumulate(np.where(np.isnan(closes), -1, session), axis=0)


def _lay_out(
    opens: FloatArray,
    closes: FloatArray,
    *,
    last_bar: IntArray,
    delisted: BoolArray,
    delisting_return: float,
) -> _Bars:
    """Value every symbol at every open."""
    last_close = np.take_along_axis(closes, np.maximum(last_bar, 0), axis=0)
    value = opens.copy()
    value[1:] = np.where(np.isnan(opens[1:]), last_close[:-1], opens[1:])
    # Before its first bar a symbol has no value, and nobody holds it.
    earned = np.nan_to_num(value[2:] / value[1:-1] - 1)
    earned[delisted[1:-1]] = delisting_return
    return _Bars(earned, ~np.isnan(opens[1:-1]), delisted[: max(len(opens) - 2, 0)])
