"""Rebuild the sample bars of backtester-model-cli from bokeh_sampledata.

::

    pip install bokeh_sampledata pandas
    python tools/make_sample_bars.py

The source and the adjustment are described in PROVENANCE.md, beside the file.
"""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd

SAMPLE_BARS = (
    Path(__file__).parents[1]
    / "packages/backtester-model-cli/src/backtester_model_cli/sample_bars/daily.csv.gz"
)
PRICES = ["open", "high", "low", "close"]
SMALLEST_SPLIT = 1.5


def adjust_symbol(raw: pd.DataFrame) -> pd.DataFrame:
    """Adjust one symbol's bars for splits and dividends, so that the last bar keeps its quoted prices.

    ``adj_close / close`` steps up at every split and dividend. It also holds a constant for what happened after
    the last bar, which dividing by its last value removes. All four prices of a bar share one factor and one
    rounding, both of which keep order, so no high falls below its close.
    """
    ratio = raw["adj_close"].to_numpy() / raw["close"].to_numpy()
    step = ratio[1:] / ratio[:-1]
    split = np.where(step >= SMALLEST_SPLIT, np.round(step), 1.0)
    shares = np.append(np.cumprod(split[::-1])[::-1], 1.0)
    bars = raw[["date", "ticker"]].set_axis(["timestamp", "symbol"], axis="columns")
    for price in PRICES:
        bars[price] = (raw[price] * (ratio / ratio[-1])).round(6)
    return bars.assign(volume=(raw["volume"] * shares).astype("int64"))


def sample_csv() -> bytes:
    """Return the sample bars as CSV, time-major."""
    from bokeh_sampledata.stocks import data

    adjusted = pd.concat([adjust_symbol(raw) for _, raw in data.groupby("ticker")])
    text = adjusted.sort_values(["timestamp", "symbol"]).to_csv(
        index=False, date_format="%Y-%m-%d", lineterminator="\n"
    )
    return text.encode("ascii")


def main() -> None:
    """Write the file; without a name and a time in its header, the same bars give the same bytes."""
    with (
        SAMPLE_BARS.open("wb") as file,
        gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as zipped,
    ):
        zipped.write(sample_csv())


if __name__ == "__main__":
    main()
