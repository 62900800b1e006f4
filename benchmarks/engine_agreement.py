"""Measure how far engines' equity is from the core's own after-cost return, for the same signals on real bars.

The table of ``docs/engines.md``: each cell is the largest distance of an engine's equity from the core's at any
session, as a share of the core's. In the rows of a forgotten lag the engine is given each decision one bar early. Run
with all bridges installed, as ``nox -s engines`` has them::

    python benchmarks/engine_agreement.py

It ends with an error where an engine is farther from the core than 1e-9 without costs, or 1e-3 with them, though its
cash reaches for its orders; or where a forgotten lag is not seen.
"""

from __future__ import annotations

import argparse
import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

import backtester_model_backtesting
import backtester_model_bt
import backtester_model_vectorbt
from backtester_model_cli.sample_data import sample_bars
from backtester_model_core.config import CostsConfig
from backtester_model_core.engines import Mark, orders_of
from backtester_model_core.walkforward import walk_forward

EXACT = 1e-9
WITH_COSTS = 1e-3
NOTICED = 1e-2
FREE = {"commission_bps": 0.0, "half_spread_bps": 0.0, "slippage_bps": 0.0}
EARLY = "none, lag forgotten"
COSTS: dict[str, dict[str, float]] = {"none": FREE, "default": {}, EARLY: FREE}
HALF = "five symbols, half invested"
CONFIG = {
    "framework": "sklearn",
    "model_class": "LogisticRegression",
    "confidence_threshold": 0.5,
    "validation": {"train_size": 1000, "test_size": 126},
    "gate": {"mode": "off"},
    "enable_monitoring": False,
}


@dataclass(frozen=True)
class Engine:
    """An engine as its bridge runs it.

    Attributes:
        name: Name in the table.
        run: The bridge.
        money: How to read the money at each session from the engine's result.
        mark: Where the engine values what it holds.
        holds_panels: Whether it holds several symbols.
        lends: Whether it buys what the cash does not reach for.
    """

    name: str
    run: Callable[..., Any]
    money: Callable[[Any], pd.Series]
    mark: Mark
    holds_panels: bool = True
    lends: bool = True


ENGINES = (
    Engine(
        "bt", backtester_model_bt.run_backtest, lambda r: r.backtest_list[0].strategy.values.iloc[1:], "open"
    ),
    Engine(
        "vectorbt",
        backtester_model_vectorbt.run_backtest,
        lambda r: r.value().squeeze(axis="columns") if r.value().ndim > 1 else r.value(),
        "close",
        lends=False,
    ),
    Engine(
        "backtesting.py",
        backtester_model_backtesting.run_backtest,
        lambda r: r["_equity_curve"]["Equity"].iloc[1:],
        "close",
        holds_panels=False,
    ),
)


def distance(
    engine: Engine, given: pd.DataFrame, signals: pd.DataFrame, bars: pd.DataFrame, costs: CostsConfig
) -> float:
    """Return how far the engine, given some signals, is from what the core makes of the right ones."""
    core = orders_of(signals, bars, costs=costs).simple_equity(engine.mark).to_numpy()
    money = engine.money(engine.run(given, bars, costs=costs)).to_numpy()
    return float(np.abs(money / money[0] / core - 1).max())


def cases(symbol: str) -> Iterator[tuple[str, pd.DataFrame, pd.DataFrame]]:
    """Yield a name, bars, and what a walk-forward decided on them: for one symbol, then for the panel, twice."""
    one, panel = sample_bars([symbol]).droplevel("symbol"), sample_bars()
    yield symbol, one, walk_forward(CONFIG, one).signals[["target_weight"]]
    signals = walk_forward(CONFIG, panel).signals[["target_weight"]]
    yield HALF, panel, signals / 2
    yield "five symbols", panel, signals


def row(
    name: str, bars: pd.DataFrame, signals: pd.DataFrame, *, costs: CostsConfig, is_early: bool
) -> Iterator[float]:
    """Yield each engine's distance, NaN where it cannot hold the bars."""
    given = signals
    if is_early:
        given = (signals.groupby(level="symbol") if bars.index.nlevels > 1 else signals).shift(-1).fillna(0.0)
    for engine in ENGINES:
        if bars.index.nlevels > 1 and not engine.holds_panels:
            yield np.nan
            continue
        far = distance(engine, given, signals, bars, costs)
        may_borrow = name != HALF and bars.index.nlevels > 1
        if is_early and far < NOTICED:
            sys.exit(f"{engine.name} does not notice on {name} that the lag is forgotten: {far:.1e}")
        allowed = WITH_COSTS if costs.one_way else EXACT
        if not is_early and far > allowed and (engine.lends or not may_borrow):
            sys.exit(f"{engine.name} is {far:.1e} from the core on {name}, more than {allowed:.0e}")
        yield far


def main() -> None:
    """Hand the same signals to every engine, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--symbol", default="MSFT", help="The one symbol; the panel is all five.")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)  # vectorbt's bridge counts what the cash did not reach for
    warnings.simplefilter("ignore", DeprecationWarning)  # the engines' own use of pandas
    print(
        "| bars | costs | weights restored | core | " + " | ".join(engine.name for engine in ENGINES) + " |"
    )
    print("|---|---|---|---:|" + "---:|" * len(ENGINES))
    for name, bars, signals in cases(arguments.symbol):
        for (costs_name, fields), rebalance in product(COSTS.items(), ("every_bar", "on_change")):
            costs = CostsConfig.model_validate(fields | {"rebalance": rebalance})
            end = orders_of(signals, bars, costs=costs).simple_equity("close").iloc[-1]
            far = row(name, bars, signals, costs=costs, is_early=costs_name == EARLY)
            cells = " | ".join("-" if np.isnan(each) else f"{each:.1g}" for each in far)
            print(f"| {name} | {costs_name} | {rebalance} | {end:.3f} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
