"""What became of live forecasts: each outcome, once the label says that it is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

import numpy as np
import pandas as pd

from backtester_model_core.bars import Panel
from backtester_model_core.bars.panel import bar_spacing, utc_stamps
from backtester_model_core.config import ModelConfig
from backtester_model_core.labels import compute_label
from backtester_model_core.monitoring import KnownOutcomes

LONG_SILENCE = 10
"""Times the patience with one symbol after which a silent one is given up."""

SETTLING = 5
"""Bars beyond the label's own that a tail keeps, so that no window in it is cut short."""


class OutcomeLedger:
    """Forecasts that wait for their outcomes, beside the bars that will tell; it does not grow with history.

    Labels are computed by the labels' own code over the tail of the bars, so that live and backtest agree on what
    an outcome is and when it is known.

    Args:
        config: What is foreseen.
        columns: The bar columns to remember.
    """

    def __init__(self, config: ModelConfig, columns: Sequence[str]) -> None:
        self._config = config
        self._columns = tuple(columns)
        self._pick = itemgetter(*self._columns)
        self._context = config.label.volatility_window + SETTLING
        self._patience = config.prediction_horizon + config.label.delisted_after + SETTLING
        self._bars: dict[str, list[list[Any]]] = {}
        self._waiting: dict[tuple[int, str], tuple[float, float]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def saw(self, symbol: str, stamp: pd.Timestamp, values: Mapping[str, Any]) -> None:
        """Remember a bar."""
        row = [stamp, *self._pick(values)]
        try:
            self._bars[symbol].append(row)
        except KeyError:
            self._bars[symbol] = [row]

    def foresaw(self, symbol: str, at: int, forecast: float, baseline: float) -> None:
        """Remember what was foreseen at a bar, by its stamp in UTC nanoseconds."""
        self._waiting[at, symbol] = (forecast, baseline)

    def settle(self) -> KnownOutcomes | None:
        """Hand over the forecasts whose outcomes are known by the latest bar, time by time, and forget them.

        A time is handed over once every symbol's outcome is known, since outcomes of one time are one piece of
        evidence. A forecast whose symbol, or all others, have long gone on without telling has none and is forgotten.
        """
        if not self._waiting:
            self._trim()
            return None
        panel, place = self._tail()
        label = compute_label(panel, self._config)
        usable_from = label.label_end if label.settled_at is None else label.settled_at
        is_known = ~np.isnan(label.target) & (usable_from <= panel.known_at.max())
        overdue = self._overdue()
        lost = [key for key in self._waiting if not is_known[place[key]] and key[0] < overdue[key[1]]]
        open_times = {key[0] for key in self._waiting if not is_known[place[key]]} - {key[0] for key in lost}
        known = [key for key in sorted(self._waiting) if is_known[place[key]] and key[0] not in open_times]
        rows = [place[key] for key in known]
        foreseen = np.array([self._waiting[key] for key in known]).reshape(-1, 2)
        for key in (*known, *lost):
            del self._waiting[key]
        self._trim()
        return KnownOutcomes(
            panel.known_at[rows], usable_from[rows], foreseen[:, 0], label.target[rows], foreseen[:, 1]
        )

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain data."""
        return {
            "columns": list(self._columns),
            "bars": {
                symbol: [[row[0].isoformat(), *map(float, row[1:])] for row in rows]
                for symbol, rows in self._bars.items()
            },
            "waiting": [[at, symbol, *foreseen] for (at, symbol), foreseen in self._waiting.items()],
        }

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Go on from a snapshot of a ledger of the same columns."""
        self._bars = {
            symbol: [[pd.Timestamp(row[0]), *row[1:]] for row in rows]
            for symbol, rows in snapshot["bars"].items()
        }
        self._waiting = {
            (at, symbol): (forecast, baseline) for at, symbol, forecast, baseline in snapshot["waiting"]
        }

    # -- inside -------------------------------------------------------------------------------------------------

    def _tail(self) -> tuple[Panel, dict[tuple[int, str], int]]:
        """Lay the remembered bars out as a panel, and say where each bar is, by its stamp and symbol."""
        symbols = sorted(self._bars)
        rows = [row for symbol in symbols for row in self._bars[symbol]]
        lengths = [len(self._bars[symbol]) for symbol in symbols]
        index = pd.DatetimeIndex([row[0] for row in rows], name="timestamp")
        stamps = utc_stamps(index)
        names = [symbol for symbol, length in zip(symbols, lengths, strict=True) for _ in range(length)]
        place = {key: row for row, key in enumerate(zip(stamps.view(np.int64).tolist(), names, strict=True))}
        values = np.array([row[1:] for row in rows], dtype=np.float64).T
        known_at = stamps
        if self._config.data_config.bar_stamp == "open":
            known_at = stamps + bar_spacing(index[: lengths[0]], self._config.data_config.frequency)
        panel = Panel(
            index=index
            if len(symbols) == 1
            else pd.MultiIndex.from_arrays([index, names], names=["timestamp", "symbol"]),
            symbols=tuple(symbols),
            order=np.arange(len(rows), dtype=np.int64),
            offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            known_at=known_at,
            columns=dict(zip(self._columns, np.ascontiguousarray(values), strict=True)),
        )
        return panel, place

    def _overdue(self) -> dict[str, int]:
        """Return for each symbol the stamp before which a forecast has waited too long."""
        times = sorted({row[0].value for rows in self._bars.values() for row in rows})
        by_all = (
            times[-LONG_SILENCE * self._patience] if len(times) > LONG_SILENCE * self._patience else times[0]
        )
        return {
            symbol: max(rows[-self._patience][0].value if len(rows) >= self._patience else by_all, by_all)
            for symbol, rows in self._bars.items()
        }

    def _trim(self) -> None:
        """Forget the bars that no waiting forecast needs."""
        first: dict[str, int] = {}
        for at, symbol in self._waiting:
            first[symbol] = min(at, first.get(symbol, at))
        for symbol, rows in self._bars.items():
            keep = len(rows)
            while keep > 0 and rows[keep - 1][0].value >= first.get(symbol, rows[-1][0].value):
                keep -= 1
            del rows[: max(keep - self._context, 0)]
