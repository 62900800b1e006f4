"""Bars laid out symbol by symbol, for everything that walks along one symbol's time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from backtester_model_core.typing import FloatArray, IntArray, TimeArray

ScalarT = TypeVar("ScalarT", bound=np.generic)

SINGLE_SYMBOL = ""
"""The name that one symbol's plain frame has inside."""


@dataclass(frozen=True)
class Panel:
    """Checked bars, symbol-major: all rows of the first symbol in time order, then the second's, and so on.

    One symbol is a panel of one. The caller's frame is time-major; :attr:`order` is the one permutation
    between the two layouts.

    Attributes:
        index: The caller's index, time-major: timestamps, or (timestamp, symbol).
        symbols: Symbol names in the order of their segments; ``("",)`` for a plain frame.
        order: (n,) the caller's row at each symbol-major position.
        offsets: (n_symbols + 1,) the segment of symbol ``k`` is ``offsets[k]:offsets[k + 1]``.
        known_at: (n,) UTC instant at which each symbol-major row is known: its bar's close.
        columns: Each column's values, (n,) symbol-major and contiguous.
    """

    index: pd.Index
    symbols: tuple[str, ...]
    order: IntArray
    offsets: IntArray
    known_at: TimeArray
    columns: Mapping[str, FloatArray]

    @classmethod
    def of(
        cls,
        bars: pd.DataFrame,
        *,
        bar_stamp: Literal["open", "close"] = "close",
        frequency: str | None = None,
    ) -> Panel:
        """Lay out bars that :func:`check_bars` has returned.

        Args:
            bars: Time-major bars, indexed by timestamp or (timestamp, symbol).
            bar_stamp: Whether a stamp marks its bar's open or its close. A bar stamped at its open is known
                one spacing later.
            frequency: Spacing of the bars; by default the most frequent distance between two stamps.
        """
        index = bars.index
        if isinstance(index, pd.MultiIndex):
            codes, symbols = symbol_codes(index)
            order = np.argsort(codes, kind="stable").astype(np.int64)
            counts = np.bincount(codes, minlength=len(symbols))
        else:
            symbols = (SINGLE_SYMBOL,)
            order = np.arange(len(index), dtype=np.int64)
            counts = np.array([len(index)])
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        stamps = utc_stamps(index)[order]
        if bar_stamp == "open":
            stamps = stamps + bar_spacing(index, frequency)
        columns = {
            str(name): np.ascontiguousarray(bars[name].to_numpy(dtype=np.float64)[order])
            for name in bars.columns
        }
        return cls(index, symbols, order, offsets, stamps, columns)

    @property
    def n_rows(self) -> int:
        """Number of bars over all symbols."""
        return len(self.order)

    @property
    def is_single(self) -> bool:
        """Whether the bars are one symbol's plain frame."""
        return not isinstance(self.index, pd.MultiIndex)

    def segments(self) -> list[slice]:
        """Return one slice of the symbol-major rows for each symbol."""
        return [slice(int(a), int(b)) for a, b in zip(self.offsets[:-1], self.offsets[1:], strict=True)]

    def to_rows(self, values: NDArray[ScalarT]) -> NDArray[ScalarT]:
        """Put symbol-major values, (n,) or (n, k), back into the caller's row order."""
        out = np.empty_like(values)
        out[self.order] = values
        return out


def utc_stamps(index: pd.Index) -> TimeArray:
    """Return the index's timestamps as UTC ``datetime64[ns]``; naive stamps are taken as UTC."""
    level = index.get_level_values("timestamp") if isinstance(index, pd.MultiIndex) else index
    stamps = pd.DatetimeIndex(level)
    if stamps.tz is not None:
        stamps = stamps.tz_convert("UTC").tz_localize(None)
    return stamps.to_numpy(dtype="datetime64[ns]")


def symbol_codes(index: pd.Index) -> tuple[IntArray, tuple[str, ...]]:
    """Return (n,) the code of each row's symbol, and the symbols' names; one symbol's plain index has one."""
    if not isinstance(index, pd.MultiIndex):
        return np.zeros(len(index), dtype=np.int64), (SINGLE_SYMBOL,)
    codes, names = pd.factorize(index.get_level_values("symbol"), sort=True)
    return np.asarray(codes, dtype=np.int64), tuple(str(name) for name in names)


def decision_index(
    index: pd.Index, *, bar_stamp: Literal["open", "close"], frequency: str | None = None
) -> pd.Index:
    """Return an index of bars with each stamp moved to its bar's close: the time at which its row is decided on."""
    if bar_stamp == "close":
        return index
    spacing = pd.Timedelta(bar_spacing(index, frequency))
    if isinstance(index, pd.MultiIndex):
        stamps = pd.DatetimeIndex(index.levels[index.names.index("timestamp")])
        return index.set_levels(list(stamps + spacing), level="timestamp")
    return pd.DatetimeIndex(index) + spacing


def bar_spacing(index: pd.Index, frequency: str | None = None) -> np.timedelta64:
    """Return the spacing of the bars: the given frequency, or a symbol's most frequent distance of two stamps."""
    if frequency is not None:
        return np.timedelta64(pd.Timedelta(frequency).value, "ns")
    stamps = utc_stamps(index)
    if isinstance(index, pd.MultiIndex):
        codes = np.asarray(index.codes[index.names.index("symbol")])
        order = np.argsort(codes, kind="stable")
        distances = np.diff(stamps[order])[np.diff(codes[order]) == 0]
    else:
        distances = np.diff(stamps)
    if len(distances) == 0:
        return np.timedelta64(pd.Timedelta("1D").value, "ns")
    values, counts = np.unique(distances, return_counts=True)
    return np.timedelta64(values[np.argmax(counts)], "ns")
