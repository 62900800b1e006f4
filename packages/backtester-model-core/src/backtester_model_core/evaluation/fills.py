"""When decisions become trades: at which opens, at what prices, and up to which weights.

A weight decided at the close of session s - 1 is filled at the open of session s. The simple after-cost return and
every engine that a bridge runs are given their trades from here, so that they differ in their accounts alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from backtester_model_core.config import CostsConfig
from backtester_model_core.exceptions import EvaluationError
from backtester_model_core.typing import BoolArray, FloatArray, IntArray

ScalarT = TypeVar("ScalarT", bound=np.generic)

SAME_WEIGHT = 1e-12
"""Targets closer than this are means of the same decisions in another order."""


@dataclass(frozen=True, eq=False)
class Fills:
    """What is asked for at each open, and what a share is worth there.

    Row s belongs to the open of session s. The first session fills nothing, as nothing was decided before it.

    Attributes:
        target: (n, n_symbols) weight aimed at; zero before a symbol's first decision and once it is delisted.
        value: (n, n_symbols) open, or the last close where there is none; NaN before a symbol's first bar.
        tradable: (n, n_symbols) whether there is an open.
        delisted: (n, n_symbols) whether the symbol is sold here, as the session before made it count as delisted.
    """

    target: FloatArray
    value: FloatArray
    tradable: BoolArray
    delisted: BoolArray

    @classmethod
    def of(
        cls,
        target_weight: ArrayLike,
        *,
        open_price: ArrayLike,
        close_price: ArrayLike,
        depth: int = 1,
        delisted_after: int = 5,
        day: ArrayLike | None = None,
    ) -> Self:
        """Lay decisions out beside the opens that can fill them; the arguments are ``after_cost_return``'s.

        Args:
            target_weight: (n, n_symbols) weights decided at each close; NaN is no new decision.
            open_price: (n, n_symbols); NaN where the symbol has no bar.
            close_price: (n, n_symbols); NaN where the symbol has no bar.
            depth: How many of the latest decisions are averaged: one, or the tranches that overlap.
            delisted_after: Days without a bar after which a symbol counts as delisted.
            day: (n,) number of each session's trading day; each session is a day when not given.

        Raises:
            EvaluationError: When the tables differ in shape, a price is not positive, or a weight is infinite.
        """
        weights, opens, closes = _check_tables(target_weight, open_price, close_price)
        days = np.arange(len(opens)) if day is None else np.asarray(day, dtype=np.int64)
        last_bar = _last_bar(closes)
        gone = _delisted(last_bar, day=days, delisted_after=delisted_after)
        aims = _aims(weights, delisted=gone, depth=depth)
        last_close = np.take_along_axis(closes, np.maximum(last_bar, 0), axis=0)
        value = opens.copy()
        value[1:] = np.where(np.isnan(opens[1:]), last_close[:-1], opens[1:])
        return cls(_one_later(aims), value, ~np.isnan(opens), _one_later(gone))

    def trades(self, costs: CostsConfig) -> BoolArray:
        """(n, n_symbols) whether a symbol is traded: at every open, or where its target is not what it last filled.

        A symbol without an open is not traded, and the latest decision waits for its next one. The sale of a
        delisted symbol is not among them.
        """
        can = self.tradable.copy()
        can[:1] = False
        if costs.rebalance == "every_bar":
            return can
        trades, filled = np.zeros_like(can), np.zeros(can.shape[1])
        any_gone: BoolArray = np.asarray(self.delisted.any(axis=1))
        for s in range(1, len(can)):
            if any_gone[s]:
                filled = np.where(self.delisted[s], 0.0, filled)
            trades[s] = can[s] & (np.abs(self.target[s] - filled) > SAME_WEIGHT)
            filled = np.where(trades[s], self.target[s], filled)
        return trades


def _one_later(table: NDArray[ScalarT]) -> NDArray[ScalarT]:
    """Move the rows of a table one session on: from decisions to the opens that fill them."""
    later = np.zeros_like(table)
    later[1:] = table[:-1]
    return later


def _aims(weights: FloatArray, *, delisted: BoolArray, depth: int) -> FloatArray:
    """Return the weights aimed at after each session: the mean of the latest ``depth`` decisions of each symbol.

    A NaN repeats the decision that stands; before the first one, and once a symbol is delisted, that is zero.
    """
    decided = np.where(delisted, 0.0, weights)
    session = np.arange(len(weights))[:, None]
    latest_at = np.maximum.accumulate(np.where(np.isnan(decided), -1, session), axis=0)
    standing = np.take_along_axis(decided, np.maximum(latest_at, 0), axis=0)
    latest = np.where(latest_at < 0, 0.0, standing)
    if depth == 1:
        return latest
    # A ring: an unchanged decision leaves the array as it is.
    recent, aims = np.zeros((depth, weights.shape[1])), np.empty_like(latest)
    for t in range(len(weights)):
        recent[:, delisted[t]] = 0.0
        recent[t % depth] = latest[t]
        aims[t] = recent.mean(axis=0)
    return aims


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
