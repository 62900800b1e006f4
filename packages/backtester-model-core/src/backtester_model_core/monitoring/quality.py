"""Whether live rows are fit to be learned from and foreseen by: missing, standing still, outside the training range."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from backtester_model_core.config import MonitoringConfig
from backtester_model_core.monitoring.reference import Reference
from backtester_model_core.monitoring.state import numbers_of, plain_numbers
from backtester_model_core.typing import BoolArray, FloatArray, IntArray

MOSTLY_TIED = 0.5
"""Share of equal values in the training rows from which a feature stands still by nature and is never called stale."""


def missing_features(share: FloatArray, reference: Reference, settings: MonitoringConfig) -> BoolArray:
    """Return (p,) which features are missing in a larger share of values than in training, beyond the margin."""
    return np.asarray(share > reference.missing + settings.max_missing)


def outside_range(values: FloatArray, reference: Reference, settings: MonitoringConfig) -> BoolArray:
    """Return (n, p) which values lie outside the training range by more than the margin; unknown ones do not."""
    low, high = reference.bins.low, reference.bins.high
    margin = settings.range_margin * (high - low)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.isfinite(values) & ((values < low - margin) | (values > high + margin)))


class Standstill:
    """For how many bars each feature of each symbol has not moved."""

    def __init__(self, n_features: int) -> None:
        self._place: dict[str, int] = {}
        self._last = np.empty((0, n_features))
        self._bars = np.empty((0, n_features), dtype=np.int64)

    def see(self, values: FloatArray, symbols: Sequence[str]) -> IntArray:
        """Take (n, p) rows in order of time and return (p,) the longest standstill of any symbol among them."""
        codes = self._codes(symbols)
        order = np.argsort(codes, kind="stable")
        rows, codes = values[order], codes[order]
        starts = np.flatnonzero(np.append(True, codes[1:] != codes[:-1]))
        ends = np.append(starts[1:], len(rows)) - 1
        earlier = np.concatenate([rows[:1], rows[:-1]])
        earlier[starts] = self._last[codes[starts]]
        place = np.arange(len(rows))[:, None]
        first = np.repeat(starts, ends - starts + 1)[:, None]
        last_move = np.maximum.accumulate(
            np.where(earlier != rows, place, -1), axis=0
        )  # the unknown always move
        run = np.where(last_move < first, place - first + 1 + self._bars[codes], place - last_move + 1)
        self._last[codes[ends]], self._bars[codes[ends]] = rows[ends], run[ends]
        return np.asarray(run.max(axis=0))

    def _codes(self, symbols: Sequence[str]) -> IntArray:
        """Return (n,) each row's place in the tables, which grow by the symbols that are new."""
        new = [symbol for symbol in dict.fromkeys(symbols) if symbol not in self._place]
        if new:
            self._place |= {symbol: len(self._place) + k for k, symbol in enumerate(new)}
            width = self._last.shape[1]
            self._last = np.concatenate([self._last, np.full((len(new), width), np.nan)])
            self._bars = np.concatenate([self._bars, np.zeros((len(new), width), dtype=np.int64)])
        return np.array([self._place[symbol] for symbol in symbols], dtype=np.int64)

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain data."""
        return {"symbols": list(self._place), "last": plain_numbers(self._last), "bars": self._bars.tolist()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that :meth:`snapshot` returned."""
        n_features = self._last.shape[1]
        self._place = {symbol: k for k, symbol in enumerate(state["symbols"])}
        self._last = numbers_of(state["last"], n_columns=n_features)
        self._bars = np.array(state["bars"], dtype=np.int64).reshape(-1, n_features)


def stale_features(longest: IntArray, reference: Reference, settings: MonitoringConfig) -> BoolArray:
    """Return (p,) which features have stood still too long, those aside that do so by nature."""
    return np.asarray(
        (longest >= settings.stale_after) & (reference.ties < MOSTLY_TIED) & reference.bins.varies
    )
