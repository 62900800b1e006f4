"""Orders for an engine: up to which weight to trade which symbol at which open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd

from backtester_model_core.bars import Panel, check_bars
from backtester_model_core.bars.calendar import TradingDays, timezone_of
from backtester_model_core.bars.panel import SINGLE_SYMBOL, bar_spacing
from backtester_model_core.config import CostsConfig
from backtester_model_core.engines.decided import SignalSource, decide
from backtester_model_core.evaluation import Fills, SessionTables, after_cost_return
from backtester_model_core.exceptions import EngineError
from backtester_model_core.typing import FloatArray

Mark: TypeAlias = Literal["open", "close"]
"""Where an engine values what it holds: at each open, once it has traded there, or at each close."""


@dataclass(frozen=True, eq=False)
class Orders:
    """What an engine is to trade. The lag of one bar is in here: a row's orders are filled at its own open.

    All tables have one row for each session from the first decision on, at the stamp of its bars, and one column
    for each symbol. The first session orders nothing.

    Attributes:
        weight: Share of the equity to hold after the open; NaN where nothing is ordered.
        price: What a share is traded and worth at the open: the last close where there is no open, and where a
            delisted symbol is sold, what it is sold at; NaN before a symbol's first bar.
        close: What a share is worth at the close; the last one where there is no bar.
        bars: The checked bars from the first session on.
        costs: What trading costs.
        spacing: Distance of two bars.
    """

    weight: pd.DataFrame
    price: pd.DataFrame
    close: pd.DataFrame
    bars: pd.DataFrame
    costs: CostsConfig
    spacing: pd.Timedelta
    _decided: FloatArray
    _rules: dict[str, Any]

    @property
    def is_panel(self) -> bool:
        """Whether there may be several symbols: one symbol's plain frame is none."""
        return isinstance(self.bars.index, pd.MultiIndex)

    def simple_equity(self, at: Mark) -> pd.Series[float]:
        """Return what the core's own after-cost return makes of one unit of money, where an engine values it.

        Rates on cash and on short positions are charged by whole bars, so that at a close they are ahead.
        """
        rules = dict(self._rules)
        opens, closes = rules.pop("open_price"), rules.pop("close_price")
        # One session more, at the last closes: what the last fill is worth at its own close.
        last = self.close.to_numpy()[-1:]
        path = after_cost_return(
            np.vstack([self._decided, np.full_like(last, np.nan)]),
            open_price=np.vstack([opens, last]),
            close_price=np.vstack([closes, last]),
            costs=self.costs,
            **{**rules, "day": np.append(rules["day"], rules["day"][-1])},
        )
        before = np.concatenate([[1.0, 1.0], path.equity])[:-1]
        cost = np.concatenate([[0.0], path.cost])
        moved = np.zeros(len(before))
        if at == "close":
            held = np.vstack([np.zeros_like(last), path.weight])
            moved = (held * np.nan_to_num(self.close.to_numpy() / self.price.to_numpy() - 1)).sum(axis=1)
        equity = before * np.maximum(1 + moved - cost, 0.0)
        return pd.Series(equity, index=self.weight.index, name="equity")

    def refuse_rates(self, engine: str) -> None:
        """Refuse yearly rates for an engine that knows none.

        Raises:
            EngineError: When cash earns interest, or short positions pay.
        """
        for name in ("borrow_rate", "risk_free_rate"):
            if getattr(self.costs, name):
                raise EngineError.cannot(
                    engine,
                    f"charge costs.{name} = {getattr(self.costs, name):g}",
                    f"Pass costs with {name} = 0; the walk-forward's own return knows it.",
                )


def orders_of(source: SignalSource, bars: pd.DataFrame, *, costs: CostsConfig | None = None) -> Orders:
    """Turn signals into orders at the opens after them.

    Args:
        source: A walk-forward's result, a trained model or the folder of a saved one, a store of one model, a
            stream that has not seen the bars, or signals on the bars' index.
        bars: What ``check_bars`` accepts; for a walk-forward, those that it walked.
        costs: What trading costs and when weights are restored; those of the source's configuration when not
            given.

    Raises:
        BarsError: When the bars must be refused.
        EngineError: When the signals are of other bars, or fewer than two sessions are left to trade.
    """
    checked = check_bars(bars)
    decided = decide(source, checked)
    config, costs = decided.config, costs or decided.config.costs
    stamps = config.data_config
    panel = Panel.of(checked, bar_stamp=stamps.bar_stamp, frequency=stamps.frequency)
    known_at = panel.to_rows(panel.known_at)
    codes = panel.to_rows(np.repeat(np.arange(len(panel.symbols)), np.diff(panel.offsets)))
    tables = SessionTables.of(known_at, symbol=codes, n_symbols=len(panel.symbols), start=decided.start)
    if len(tables.sessions) < 2:
        raise EngineError(
            f"Of {len(checked)} bars, {len(tables.sessions)} are left to trade: a decision needs the open of a later "
            f"bar, and counts from {decided.start} on. Pass later bars."
        )
    opens, closes = tables.table(checked["open"]), tables.table(checked["close"])
    weights = tables.table(decided.signals["target_weight"])
    zone = config.label.session_timezone or timezone_of(checked.index)
    rules: dict[str, Any] = {
        "open_price": opens,
        "close_price": closes,
        "delisted_after": config.label.delisted_after,
        "day": TradingDays.of(tables.sessions, zone).number,
    }
    tranches = config.prediction_horizon if costs.holding == "tranches" else 1
    fills = Fills.of(weights, depth=tranches, **rules)
    price_table, close_table = _worth(fills, closes, delisting_return=config.label.delisting_return)
    ordered = np.where(fills.trades(costs), fills.target, np.where(fills.delisted, 0.0, np.nan))
    names = pd.Index([name if name != SINGLE_SYMBOL else "asset" for name in panel.symbols])
    kept = checked.iloc[tables.rows]
    index = pd.DatetimeIndex(kept.index.get_level_values("timestamp").unique(), name="timestamp")
    weight, price, close = (
        pd.DataFrame(table, index=index, columns=names) for table in (ordered, price_table, close_table)
    )
    rules |= {"horizon": config.prediction_horizon, "delisting_return": config.label.delisting_return}
    spacing = pd.Timedelta(bar_spacing(checked.index, stamps.frequency))
    return Orders(weight, price, close, kept, costs, spacing, weights, rules)


def _worth(fills: Fills, closes: FloatArray, *, delisting_return: float) -> tuple[FloatArray, FloatArray]:
    """Return what a share is worth at each open and at each close, the fall of a delisted one included."""
    fallen = np.ones_like(fills.value)
    for s in range(1, len(fallen)):
        fallen[s] = np.where(fills.delisted[s], 1 + delisting_return, fallen[s - 1])
        fallen[s, fills.tradable[s]] = 1.0
    session = np.arange(len(closes))[:, None]
    latest = np.maximum.accumulate(np.where(np.isnan(closes), -1, session), axis=0)
    close = np.where(latest < 0, np.nan, np.take_along_axis(closes, np.maximum(latest, 0), axis=0))
    return fills.value * fallen, close * fallen
