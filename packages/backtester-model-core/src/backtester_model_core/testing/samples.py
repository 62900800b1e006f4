"""Seeded bars and rows: the same for everybody who asks with the same seed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import pandas as pd

from backtester_model_core.typing import FloatArray, IntArray


def random_bars(
    n_bars: int = 500,
    *,
    seed: int = 0,
    start: str = "2015-01-01",
    frequency: str = "B",
    momentum: float = 0.0,
) -> pd.DataFrame:
    """Return one symbol's random-walk bars, as ``check_bars`` would.

    Args:
        n_bars: Number of bars.
        seed: Seed of the walk.
        start: First timestamp.
        frequency: A pandas offset alias: ``B`` for business days, ``h`` for hours.
        momentum: Share of a bar's log return that repeats in the next: 0 for a walk that nobody can foresee.
    """
    rng = np.random.default_rng(seed)
    shocks = rng.normal(0.0, 0.01, n_bars)
    returns = np.empty(n_bars)
    previous = 0.0
    for row, shock in enumerate(shocks):
        previous = momentum * previous + shock
        returns[row] = previous
    close = 100.0 * np.exp(np.cumsum(returns))
    opens = np.concatenate([[100.0], close[:-1]]) * np.exp(rng.normal(0.0, 0.001, n_bars))
    reach = np.abs(rng.normal(0.0, 0.004, (2, n_bars)))
    frame = {
        "open": opens,
        "high": np.maximum(opens, close) * (1 + reach[0]),
        "low": np.minimum(opens, close) * (1 - reach[1]),
        "close": close,
        "volume": rng.integers(100_000, 1_000_000, n_bars).astype(np.float64),
    }
    index = pd.date_range(start, periods=n_bars, freq=frequency, name="timestamp")
    return pd.DataFrame(frame, index=index)


def random_panel(
    n_symbols: int = 3,
    n_bars: int = 500,
    *,
    seed: int = 0,
    momentum: float = 0.0,
    lives: Mapping[str, tuple[int, int]] | None = None,
) -> pd.DataFrame:
    """Return a panel of random walks, indexed by (timestamp, symbol).

    Args:
        n_symbols: Number of symbols, named ``S000``, ``S001`` and so on.
        n_bars: Number of sessions.
        seed: Seed of all walks.
        momentum: As for :func:`random_bars`.
        lives: First and last bar (exclusive) of symbols that list late or delist early.
    """
    frames = {}
    for number in range(n_symbols):
        name = f"S{number:03d}"
        first, last = (lives or {}).get(name, (0, n_bars))
        frames[name] = random_bars(n_bars, seed=seed * 10_007 + number, momentum=momentum).iloc[first:last]
    panel = pd.concat(frames, names=["symbol", "timestamp"]).swaplevel()
    return panel.sort_index()


def random_signals(
    bars: pd.DataFrame, *, seed: int = 0, gross: float = 1.0, sides_only: bool = False
) -> pd.DataFrame:
    """Return a frame of signals on the bars' index that know nothing: weights that stay for some bars, then change.

    Args:
        bars: One symbol's frame or a panel.
        seed: Seed of the weights.
        gross: Largest sum of the sizes of all weights at one time.
        sides_only: Whether weights are whole or none, as those of a unit size are.
    """
    rng = np.random.default_rng(seed)
    is_panel = isinstance(bars.index, pd.MultiIndex)
    n_symbols = bars.index.get_level_values("symbol").nunique() if is_panel else 1
    drawn = rng.choice([-1.0, 0.0, 1.0], len(bars)) if sides_only else rng.uniform(-1, 1, len(bars))
    weight = pd.Series(np.where(rng.random(len(bars)) < 0.6, np.nan, drawn), index=bars.index)
    kept = weight.groupby(level="symbol").ffill() if is_panel else weight.ffill()
    return pd.DataFrame({"target_weight": kept.fillna(0.0) * gross / n_symbols})


def synthetic_rows(
    n_rows: int = 600,
    *,
    seed: int = 0,
    model_type: Literal["classification", "regression"] = "classification",
    signal: float = 2.0,
) -> tuple[FloatArray, FloatArray | IntArray]:
    """Return (features, target) of four features, of which the first two decide the target.

    Args:
        n_rows: Number of rows.
        seed: Seed of features and noise.
        model_type: Class positions 0 and 1, or numbers.
        signal: Weight of what can be learned beside noise of deviation one; 0 for noise alone.
    """
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n_rows, 4))
    score = signal * (features[:, 0] - features[:, 1]) + rng.normal(size=n_rows)
    if model_type == "regression":
        return features, score
    return features, (score > 0).astype(np.int64)
