"""From live bars to the rows that a model is asked about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite, nan, sqrt
from operator import itemgetter
from typing import Any, Literal

from backtester_model_core.exceptions import ModelError
from backtester_model_core.features import FeatureStream, resolve_features, return_volatility
from backtester_model_core.model import BaseModel
from backtester_model_core.streaming.incoming import OHLCV, Incoming, check_extra, extra_columns
from backtester_model_core.streaming.memory import RowWindow, SymbolMemory

SCALE = "__scale__"
_five = itemgetter(*OHLCV)


class LiveRows:
    """Features of live bars, in the order that a model was trained on.

    Args:
        model: A trained model, whose configuration computes its features from bars.
        fast: Whether features may be compiled, where the configuration's ``features.engine`` is ``compiled``.
    """

    def __init__(self, model: BaseModel, *, fast: bool) -> None:
        self._config = model.config
        self._engine: Literal["python", "compiled"] = (
            "compiled" if fast and model.config.features.engine == "compiled" else "python"
        )
        self.names = model.columns
        self.n_context = model.context_rows
        self._n_early = max(model.config.lookback_period - 1 - self.n_context, 0)
        self._nothing = [nan] * len(self.names)
        self._root_horizon = sqrt(model.config.prediction_horizon)
        self.forget()

    def forget(self) -> None:
        """Forget every bar, and which columns they have."""
        self.symbols: dict[str, SymbolMemory] = {}
        self.columns: tuple[str, ...] = ()
        self._extra: list[str] = []
        self._features = FeatureStream({})
        self._has_scale = False

    def bind(self, columns: Sequence[str]) -> None:
        """Take note of the columns that bars have.

        Raises:
            ConfigError: When a feature needs another column.
            ModelError: When the model was trained on features that its configuration does not compute.
        """
        config = self._config
        expressions = resolve_features(
            config.features, bar_columns=columns, feature_columns=config.feature_columns
        )
        unknown = [name for name in self.names if name not in expressions]
        if unknown:
            raise ModelError(
                f"The model was trained on {unknown[0]!r}, which its configuration does not compute from bars. "
                "A stream needs a model that was trained on what prepare gave."
            )
        wanted = {name: expressions[name] for name in self.names}
        label = config.label
        needed = {config.target_column, label.side_column, label.excess_over}
        needed.update(*(expression.columns() for expression in wanted.values()))
        self._has_scale = config.target_column in columns
        if self._has_scale:
            wanted[SCALE] = return_volatility(config.target_column)
        self.columns = tuple(name for name in columns if name in needed or name in OHLCV)
        self._extra = [name for name in self.columns if name not in OHLCV]
        self._features = FeatureStream(wanted, engine=self._engine)

    def memory_of(self, incoming: Incoming) -> SymbolMemory:
        """Return what is remembered of a bar's symbol; the first bar of all says which columns there are."""
        memory = self.symbols.get(incoming.symbol)
        if memory is None:
            if not self.columns:
                self.bind([*OHLCV, *extra_columns(incoming)])
            memory = self.symbols[incoming.symbol] = self._blank_memory()
        return memory

    def _blank_memory(self) -> SymbolMemory:
        return SymbolMemory(RowWindow(self.n_context + 1, len(self.names)) if self.n_context else None)

    def take(self, memory: SymbolMemory, incoming: Incoming) -> tuple[Any, float]:
        """Take a symbol's next bar, and return what there is to ask about and the volatility of what is foreseen.

        The first is a list of p features, or the window of rows that the model looks back on; ``None`` in warm-up.

        Raises:
            BarsError: When it lacks a column that is needed; nothing has changed then.
        """
        values = incoming.values
        if self._extra:
            check_extra(incoming, self._extra)
        row = self._features.update(incoming.symbol, values)
        scale = row.pop() * self._root_horizon if self._has_scale else nan
        memory.at, memory.bar = incoming.at, _five(values)
        memory.n_bars = n_bars = memory.n_bars + 1
        if n_bars <= self._n_early:
            row = self._nothing
        memory.features = row
        total = sum(row)
        is_complete = total - total == 0.0 or all(map(isfinite, row))
        if memory.window is None:
            return row if is_complete else None, scale
        if is_complete:
            return memory.window.add(row), scale
        memory.window.interrupt()
        return None, scale

    def snapshot(self) -> dict[str, Any]:
        """Return what is remembered, as plain data."""
        return {
            "columns": list(self.columns),
            "features": self._features.snapshot(),
            "symbols": {symbol: memory.snapshot() for symbol, memory in self.symbols.items()},
        }

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Go on from a snapshot.

        Raises:
            ExpressionError: When it is of other features.
        """
        self.forget()
        if snapshot["columns"]:
            self.bind(snapshot["columns"])
            self._features.restore(snapshot["features"])
        for symbol, state in snapshot["symbols"].items():
            self.symbols[symbol] = self._blank_memory()
            self.symbols[symbol].restore(state)

    @property
    def layout(self) -> dict[str, Any]:
        """What a state must agree with: the features, and how many rows are looked back on."""
        return {"features": list(self.names), "context_rows": self.n_context}
