"""What a check against look-ahead reports, and how two computations of the same rows are compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from backtester_model_core.typing import BoolArray, TimeArray

Compute = Callable[[pd.DataFrame], pd.DataFrame]
"""From bars to a frame on the bars' index: features, predictions or signals."""

Severity = Literal["leak", "warning"]


@dataclass(frozen=True)
class Leak:
    """A value that knew the future, or something that makes it likely.

    Attributes:
        check: The check that found it.
        column: The column it stands in, or what else is at fault.
        row: Index label of the first row at fault; ``None`` where it is not about a row.
        cut: Last timestamp whose bars were the same in both computations; ``None`` where nothing was cut.
        message: What is wrong: two values that differ, or a rule with the instants that break it.
        severity: ``"warning"`` for what cannot be proven.
    """

    check: str
    column: str
    row: Any
    cut: pd.Timestamp | None
    message: str
    severity: Severity = "leak"

    def __str__(self) -> str:
        at = "" if self.row is None else f" at {self.row}"
        after = "" if self.cut is None else f" depends on bars after {self.cut}"
        return f"{self.check}: {self.column!r}{at}{after}: {self.message}"


def sessions_of(bars: pd.DataFrame) -> pd.DatetimeIndex:
    """Return the distinct timestamps of bars, in order."""
    level = bars.index.get_level_values("timestamp") if isinstance(bars.index, pd.MultiIndex) else bars.index
    return pd.DatetimeIndex(level.unique()).sort_values()


def utc(sessions: pd.DatetimeIndex) -> TimeArray:
    """Return timestamps as naive UTC instants."""
    naive = sessions if sessions.tz is None else sessions.tz_convert("UTC").tz_localize(None)
    return naive.to_numpy(dtype="datetime64[ns]")


def until(frame: pd.DataFrame, last: pd.Timestamp) -> pd.DataFrame:
    """Keep the rows up to a session."""
    is_panel = isinstance(frame.index, pd.MultiIndex)
    level = frame.index.get_level_values("timestamp") if is_panel else frame.index
    return frame[np.asarray(level <= last)]


def rewritten(bars: pd.DataFrame, last: pd.Timestamp, *, seed: int) -> dict[str, pd.DataFrame]:
    """Return the bars with four other futures after a session.

    The future becomes another random walk, ten times its prices, its own reverse, or loses every other row.
    """
    kept = until(bars, last)
    future = bars.iloc[len(kept) :]
    prices = ["open", "high", "low", "close"]
    steps = np.random.default_rng(seed).normal(0.0, 0.03, len(future))
    walked, larger, turned = future.copy(), future.copy(), future.copy()
    walked[prices] = future[prices].to_numpy() * np.exp(np.cumsum(steps))[:, None]
    larger[prices] = future[prices] * 10.0
    turned[:] = future.to_numpy()[::-1]
    others = {"random walk": walked, "times ten": larger, "reversed": turned, "thinned": future.iloc[::2]}
    return {name: pd.concat([kept, other]) for name, other in others.items()}


def differences(
    check: str,
    whole: pd.DataFrame,
    part: pd.DataFrame,
    last: pd.Timestamp | None,
    *,
    between: tuple[str, str] = ("with the whole bars", "without"),
    tolerance: float = 0.0,
) -> list[Leak]:
    """Report the first row of each column at which two computations of the same rows differ."""
    expected = whole.loc[part.index]
    leaks = []
    for name in part.columns:
        first, second = expected[name].to_numpy(), part[name].to_numpy()
        same = _same(first, second, tolerance)
        if not same.all():
            row = int(np.flatnonzero(~same)[0])
            message = f"{_plain(first[row])!r} {between[0]}, {_plain(second[row])!r} {between[1]}"
            leaks.append(Leak(check, str(name), part.index[row], last, message))
    return leaks


def _plain(value: Any) -> Any:
    """Return a numpy number as Python's own, which is shorter to read."""
    return value.item() if isinstance(value, np.generic) else value


def _same(first: Any, second: Any, tolerance: float) -> BoolArray:
    same: BoolArray = (first == second) | (pd.isna(first) & pd.isna(second))
    if tolerance > 0 and not same.all() and first.dtype.kind == "f":
        same |= np.abs(first - second) <= tolerance * np.maximum(np.abs(first), np.abs(second))
    return same
