"""Five symbols' daily bars, shipped with the package, so that a first run needs no download."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path

import pandas as pd

from backtester_model_core.bars import check_bars
from backtester_model_core.exceptions import ConfigError

SAMPLE_SYMBOLS = ("AAPL", "FB", "GOOG", "IBM", "MSFT")

__all__ = ["SAMPLE_SYMBOLS", "sample_bars", "write_sample_csv"]


def sample_bars(symbols: Iterable[str] | None = None) -> pd.DataFrame:
    """Return real daily bars from March 2000 to March 2013, checked.

    Prices and volumes are adjusted for splits, prices for dividends too; ``PROVENANCE.md`` beside the file says
    where they come from. The symbols were picked knowing how they fared: what a model earns on them says
    nothing about what it would have earned on the companies of the year 2000.

    Args:
        symbols: Some of :data:`SAMPLE_SYMBOLS`; all of them by default.

    Returns:
        ``open, high, low, close, volume``, indexed by (timestamp, symbol).

    Raises:
        ConfigError: For a symbol that is not among the samples.
    """
    wanted = SAMPLE_SYMBOLS if symbols is None else tuple(symbols)
    for symbol in wanted:
        if symbol not in SAMPLE_SYMBOLS:
            raise ConfigError.unknown("sample symbol", symbol, SAMPLE_SYMBOLS)
    with files("backtester_model_cli").joinpath("sample_bars", "daily.csv.gz").open("rb") as file:
        bars = pd.read_csv(file, compression="gzip", parse_dates=["timestamp"])
    chosen = bars[bars["symbol"].isin(wanted)]
    return check_bars(chosen.set_index(["timestamp", "symbol"]))


def write_sample_csv(path: str | Path, *, symbol: str) -> None:
    """Write one symbol's bars as the plain CSV that one might have at hand."""
    sample_bars([symbol]).droplevel("symbol").to_csv(path)
