"""From a configuration to checked bars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import tzinfo
from typing import Protocol

import numpy as np
import pandas as pd

from backtester_model_core.bars import check_bars
from backtester_model_core.bars.panel import bar_spacing
from backtester_model_core.catalog import Catalog
from backtester_model_core.config import DataConfig
from backtester_model_core.exceptions import DataSourceError, nearest
from backtester_model_core.sources.files import ANY_FILES, CSV_FILES, PARQUET_FILES

SAME_SPACING = 0.15
"""By this share the bars' spacing may differ from the frequency asked for: months have 28 to 31 days."""


class DataSource(Protocol):
    """Anything that gets bars for a configuration, in any shape that ``check_bars`` accepts."""

    def __call__(self, config: DataConfig, /) -> pd.DataFrame | Mapping[str, pd.DataFrame]:
        """Return the bars, raw; they may be more than was asked for."""
        ...


DATA_SOURCES: Catalog[DataSource] = Catalog("data source")
DATA_SOURCES.add("csv", CSV_FILES)
DATA_SOURCES.add("parquet", PARQUET_FILES)
DATA_SOURCES.add("auto", ANY_FILES)


@dataclass(frozen=True)
class DataRetrieval:
    """Gets the bars that a configuration names, checks them, and keeps the part that it asks for.

    Attributes:
        config: Where the bars are and which of them to keep.
    """

    config: DataConfig

    def get_data(self) -> pd.DataFrame:
        """Return checked bars of the symbols, from the start, to the end, with the frequency asked for.

        One symbol gives its plain frame, several a panel. All that the source holds of these symbols is
        checked before the rows outside of start and end are cut off. Bars are never resampled.

        Raises:
            ConfigError: When no data source has the name.
            DataSourceError: When the source cannot be read, or does not hold what is asked for.
            BarsError: When the bars must be refused.
        """
        raw = DATA_SOURCES[self.config.source](self.config)
        symbols = self.config.symbols or ()
        bars = check_bars(raw, symbol=symbols[0] if len(symbols) == 1 else None)
        kept = _keep_symbols(bars, symbols) if len(symbols) > 1 else bars
        kept = _keep_span(kept, self.config.start, self.config.end)
        _check_frequency(kept, self.config.frequency)
        return bars if len(kept) == len(bars) else check_bars(kept)


def _keep_symbols(bars: pd.DataFrame, symbols: tuple[str, ...]) -> pd.DataFrame:
    if not isinstance(bars.index, pd.MultiIndex):
        raise DataSourceError(
            f"data_config.symbols asks for {', '.join(symbols)}; the bars are one symbol's. Ask for that one."
        )
    there = set(bars.index.unique("symbol"))
    missing = [symbol for symbol in symbols if symbol not in there]
    if missing:
        raise DataSourceError(f"No bars of {', '.join(missing)}. {nearest(missing[0], there)}")
    return bars[bars.index.isin(symbols, level="symbol")]


def _keep_span(bars: pd.DataFrame, start: str | None, end: str | None) -> pd.DataFrame:
    """Keep the bars from start to end, both included; an end without a time includes its whole day."""
    stamps = pd.DatetimeIndex(bars.index.get_level_values("timestamp"))
    keep = np.ones(len(bars), dtype=bool)
    if start is not None:
        keep &= stamps >= _instant(pd.Timestamp(start), stamps.tz)
    if end is not None:
        has_time = ":" in end or "T" in end
        keep &= stamps <= _instant(pd.Timestamp(end) if has_time else pd.Period(end).end_time, stamps.tz)
    if not keep.any():
        raise DataSourceError(
            f"No bars from {start or 'the first'} to {end or 'the last'}; there are bars from {stamps.min()} "
            f"to {stamps.max()}. Change data_config.start or data_config.end."
        )
    return bars[keep]


def _instant(moment: pd.Timestamp, zone: tzinfo | None) -> pd.Timestamp:
    """Bring a bound to the bars' time zone; naive bars count as UTC, a naive bound as local to the bars."""
    if zone is None:
        return moment.tz_convert("UTC").tz_localize(None) if moment.tz is not None else moment
    return (
        moment
        if moment.tz is not None
        else moment.tz_localize(zone, ambiguous=True, nonexistent="shift_forward")
    )


def _check_frequency(bars: pd.DataFrame, frequency: str | None) -> None:
    """Refuse bars of another spacing than the one asked for."""
    if frequency is None or bars.index.get_level_values("timestamp").nunique() < 2:
        return
    asked, there = pd.Timedelta(frequency), pd.Timedelta(bar_spacing(bars.index))
    if abs(asked / there - 1) > SAME_SPACING:
        raise DataSourceError(
            f"data_config.frequency asks for bars of {asked}; these are {there} apart. Bars are never "
            f"resampled: bring bars of {asked}, or ask for {there}."
        )
