"""The bars of a run, kept beside its results: what was backtested can be looked at and replayed later."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from backtester_model_core.artifacts import pack_arrays, unpack_arrays
from backtester_model_core.bars.panel import symbol_codes, utc_stamps
from backtester_model_core.exceptions import RunError

BARS = "bars.npz"


def pack_bars(bars: pd.DataFrame) -> bytes:
    """Write bars, as ``check_bars`` returns them, as plain arrays; the same bars give the same bytes."""
    is_panel = isinstance(bars.index, pd.MultiIndex)
    stamps = pd.DatetimeIndex(bars.index.get_level_values("timestamp"))
    codes, symbols = symbol_codes(bars.index)
    names = {
        "columns": [str(name) for name in bars.columns],
        "symbols": list(symbols) if is_panel else None,
        "timezone": None if stamps.tz is None else str(stamps.tz),
    }
    return pack_arrays(
        {
            "names": np.frombuffer(json.dumps(names, sort_keys=True).encode(), dtype=np.uint8),
            "stamps": utc_stamps(bars.index).view(np.int64),
            "symbols": codes,
            "values": bars.to_numpy(dtype=np.float64),
        }
    )


def read_bars(folder: str | Path) -> pd.DataFrame:
    """Return the bars that a run folder keeps.

    Raises:
        RunError: When it keeps none.
        ArtifactError: When the file is damaged.
    """
    file = Path(folder) / BARS
    if not file.is_file():
        raise RunError(
            f"{folder} keeps no {BARS}: no run was started there, or by an earlier version. Run it again."
        )
    arrays = unpack_arrays(file.read_bytes(), name=BARS)
    names = json.loads(arrays["names"].tobytes())
    stamps = pd.DatetimeIndex(arrays["stamps"].view("datetime64[ns]"), name="timestamp")
    if names["timezone"] is not None:
        stamps = stamps.tz_localize("UTC").tz_convert(names["timezone"])
    index: pd.Index = stamps
    if names["symbols"] is not None:
        symbols = pd.Index(names["symbols"]).take(arrays["symbols"])
        index = pd.MultiIndex.from_arrays([stamps, symbols], names=["timestamp", "symbol"])
    return pd.DataFrame(arrays["values"], index=index, columns=names["columns"])
