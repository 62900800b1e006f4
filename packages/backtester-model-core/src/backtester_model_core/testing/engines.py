"""The contract that every bridge to an engine keeps: inherit :class:`EngineContract`, run the engine, run pytest."""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from backtester_model_core.config import CostsConfig
from backtester_model_core.engines import Mark, SignalSource, orders_of
from backtester_model_core.exceptions import BacktesterModelError, BarsError, EngineError
from backtester_model_core.factory import create_model, load_config
from backtester_model_core.model import BaseModel
from backtester_model_core.streaming import SignalStream
from backtester_model_core.testing.samples import random_bars, random_panel, random_signals
from backtester_model_core.walkforward import walk_forward

EXACT = 1e-9
"""How far an engine's equity may be from the core's where trading is free, as a share of it."""

NOTICED = 0.01
"""What a lag that is forgotten changes at least, on the contract's bars."""

FREE = {"commission_bps": 0.0, "half_spread_bps": 0.0, "slippage_bps": 0.0}


class EngineContract(ABC):
    """Checks that a bridge trades what was decided, when it may; each docstring says what to look at.

    Attributes:
        framework: Name of an installed adapter, whose model decides.
        marked_at: Where the engine values what it holds.
        cost_tolerance: How far the equity may be from the core's where trading costs what it costs by default, as
            a share of it: engines differ in what they charge first.
        rates_refused: Yearly rates of the costs that the engine does not know, and the bridge refuses.
    """

    framework: ClassVar[str]
    marked_at: ClassVar[Mark] = "close"
    cost_tolerance: ClassVar[float] = EXACT
    rates_refused: ClassVar[tuple[str, ...]] = ("borrow_rate", "risk_free_rate")

    @abstractmethod
    def run(self, source: SignalSource, bars: pd.DataFrame, **options: Any) -> Any:
        """Call the bridge with ``costs`` and ``initial_cash``, where they are given, and return the engine's result."""

    @abstractmethod
    def money_of(self, result: Any) -> pd.Series[float]:
        """Return the money at each session, from the first that may be decided on."""

    # -- agreement ------------------------------------------------------------------------------------------------

    def test_free_trades_earn_what_the_core_says(self) -> None:
        """Look at prices of fills and of marks, and at parts of shares."""
        for costs, signals in self.cases(FREE):
            distance = self.apart(self.run(signals, self.bars, costs=costs), signals, self.bars, costs)

            assert distance < EXACT, distance

    def test_costs_are_charged_as_the_core_charges_them(self) -> None:
        """Look at what the engine takes for a trade, and at what it sizes an order by."""
        for costs, signals in self.cases({}):
            result = self.run(signals, self.bars, costs=costs)
            free = self.run(signals, self.bars, costs=costs.model_copy(update=FREE))
            charged = self.money_of(free).iloc[-1] / self.money_of(result).iloc[-1] - 1
            distance = self.apart(result, signals, self.bars, costs)

            assert distance < self.cost_tolerance, distance
            assert charged > 100 * distance, (charged, distance)

    # -- the lag --------------------------------------------------------------------------------------------------

    def test_a_lag_that_is_forgotten_is_noticed(self) -> None:
        """Look at marks that are not the fills': the same orders one open earlier must earn something else."""
        for costs, signals in self.cases(FREE):
            early = signals.shift(-1, fill_value=0.0)
            distance = self.apart(self.run(early, self.bars, costs=costs), signals, self.bars, costs)

            assert distance > NOTICED, distance

    def test_a_side_does_not_earn_the_bar_that_showed_it(self) -> None:
        """Look at the open that fills an order: a decision at a close is filled at a later bar's."""
        signals = pd.DataFrame({"target_weight": np.sign(self.bars["close"] - self.bars["open"])})
        early = signals.shift(-1, fill_value=0.0)
        lagged, peeked = (self.run(each, self.bars, costs=CostsConfig(**FREE)) for each in (signals, early))

        assert self.money_of(peeked).iloc[-1] > 2 * self.money_of(lagged).iloc[-1]

    # -- sources --------------------------------------------------------------------------------------------------

    def test_a_walk_forward_runs_with_its_own_costs(self) -> None:
        """Look at costs, and at where the first session is: that of the first served bar."""
        result = walk_forward(self.config(), self.bars)
        engine = self.run(result, self.bars)

        assert result.signals["target_weight"].abs().sum() > 50
        assert self.apart(engine, result, self.bars) < self.cost_tolerance
        assert self.money_of(engine).index[0] == result.returns.index[0]

    def test_a_model_a_saved_one_and_a_stream_earn_the_same(self) -> None:
        """Look at what the bridge does with a source beside handing it to ``orders_of``."""
        model = self.trained()
        by_model = self.money_of(self.run(model, self.bars))
        later = self.bars.loc[by_model.index[0] :]
        stream = SignalStream(model, gate="policy")
        stream.warm_up(self.bars.loc[self.bars.index < later.index[0]])
        with tempfile.TemporaryDirectory() as folder:
            model.save(folder)
            by_folder = self.money_of(self.run(folder, self.bars))
        by_stream = self.money_of(self.run(stream, later))

        assert by_model.nunique() > 50
        pd.testing.assert_series_equal(by_folder, by_model)
        pd.testing.assert_series_equal(by_stream, by_model, check_freq=False)

    def test_the_money_at_the_start_is_what_was_given(self) -> None:
        """Look at the engine's smallest order, and at where ``initial_cash`` goes."""
        signals = random_signals(self.bars)
        small, large = (self.money_of(self.run(signals, self.bars, initial_cash=cash)) for cash in (1e3, 1e6))

        assert small.iloc[0] == 1e3
        assert abs(large.iloc[-1] / small.iloc[-1] / 1e3 - 1) < 1e-6

    # -- refusals -------------------------------------------------------------------------------------------------

    def test_a_yearly_rate_is_refused(self) -> None:
        """Look at ``Orders.refuse_rates``."""
        signals = random_signals(self.bars)
        for rate in self.rates_refused:
            costs = CostsConfig.model_validate(FREE | {rate: 0.05})
            refusal = _refusal_of(partial(self.run, signals, self.bars, costs=costs), EngineError)

            assert rate in refusal

    def test_bars_that_must_be_refused_are(self) -> None:
        """Look at a bridge that hands bars to the engine as they came."""
        signals, broken = random_signals(self.bars), self.bars.assign(low=-1.0)

        assert _refusal_of(partial(self.run, signals, broken), BarsError)

    def test_signals_of_other_bars_are_refused(self) -> None:
        """Look at a bridge that aligns signals by itself."""
        signals = random_signals(self.bars)

        assert _refusal_of(partial(self.run, signals, self.bars.iloc[1:]), EngineError)

    # -- what the checks share ------------------------------------------------------------------------------------

    @property
    def bars(self) -> pd.DataFrame:
        """One symbol's bars with some momentum."""
        return random_bars(400, seed=3, momentum=0.3)

    def cases(self, fields: dict[str, float]) -> Iterator[tuple[CostsConfig, pd.DataFrame]]:
        """Yield costs of both ways to restore weights, each with signals of whole weights and of parts."""
        for rebalance, sides_only in product(("every_bar", "on_change"), (True, False)):
            costs = CostsConfig.model_validate(fields | {"rebalance": rebalance})
            yield costs, random_signals(self.bars, sides_only=sides_only)

    def config(self, **fields: Any) -> dict[str, Any]:
        """Return a configuration whose model trades often."""
        return {
            "framework": self.framework,
            "confidence_threshold": 0.5,
            "features": {"sets": (), "expressions": {"r1": "close / ref(close, 1) - 1"}},
            "lookback_period": 5,
            "validation": {"train_size": 200, "test_size": 100},
            "gate": {"mode": "off"},
        } | fields

    def trained(self) -> BaseModel:
        """Return a model that learned from the first half of the bars."""
        model = create_model(load_config(self.config()))
        dataset = model.prepare(self.bars)
        model.train_dataset(dataset.take(np.arange(200)))
        return model

    def apart(
        self, result: Any, source: SignalSource, bars: pd.DataFrame, costs: CostsConfig | None = None
    ) -> float:
        """Return the largest distance between the engine's equity and the core's, as a share of the core's."""
        core = orders_of(source, bars, costs=costs).simple_equity(self.marked_at)
        money = self.money_of(result)
        pd.testing.assert_index_equal(money.index, core.index, check_names=False, exact=False)
        equity = money.to_numpy() / money.iloc[0]
        return float(np.abs(equity / core.to_numpy() - 1).max())


class PanelEngineContract(EngineContract):
    """The same for an engine that holds several symbols at once.

    Attributes:
        gross: Largest sum of the sizes of all weights: below one where the engine lends no cash.
    """

    gross: ClassVar[float] = 1.0

    def test_free_trades_of_a_panel_earn_what_the_core_says(self) -> None:
        """Look at symbols that list late or end early, and at sales that pay for purchases."""
        for costs, signals in self.panel_cases(FREE):
            distance = self.apart(self.run(signals, self.panel, costs=costs), signals, self.panel, costs)

            assert distance < EXACT, distance

    def test_costs_of_a_panel_are_charged_as_the_core_charges_them(self) -> None:
        """Look at what an order is sized by once another has paid its costs."""
        for costs, signals in self.panel_cases({}):
            distance = self.apart(self.run(signals, self.panel, costs=costs), signals, self.panel, costs)

            assert distance < self.cost_tolerance, distance

    def test_a_lag_that_is_forgotten_on_a_panel_is_noticed(self) -> None:
        """Look at rows of symbols that are shifted together."""
        for costs, signals in self.panel_cases(FREE):
            early = signals.groupby(level="symbol").shift(-1, fill_value=0.0)
            distance = self.apart(self.run(early, self.panel, costs=costs), signals, self.panel, costs)

            assert distance > NOTICED, distance

    def test_a_delisted_symbol_is_sold_at_what_it_fell_to(self) -> None:
        """Look at prices after a symbol's last bar: those of ``Orders`` go on."""
        delisting = {"delisted_after": 3, "delisting_return": -0.3}
        costs = FREE | {"rebalance": "every_bar"}
        result = walk_forward(self.config(label=delisting, costs=costs), self.panel)
        distance = self.apart(self.run(result, self.panel), result, self.panel)

        assert distance < EXACT, distance

    @property
    def panel(self) -> pd.DataFrame:
        """Four symbols, one of which lists late, and one ends early."""
        return random_panel(4, 400, seed=2, lives={"S001": (0, 310), "S002": (60, 400)})

    def panel_cases(self, fields: dict[str, float]) -> Iterator[tuple[CostsConfig, pd.DataFrame]]:
        """Yield costs of both ways to restore weights, with signals on the panel."""
        for rebalance in ("every_bar", "on_change"):
            costs = CostsConfig.model_validate(fields | {"rebalance": rebalance})
            yield costs, random_signals(self.panel, gross=self.gross)


def _refusal_of(call: Callable[[], object], error: type[BacktesterModelError]) -> str:
    """Return the message of the error that a call must end in."""
    try:
        call()
    except error as refusal:
        return str(refusal)
    raise AssertionError(f"nothing was refused; a {error.__name__} is due")
