"""Proofs against look-ahead: what was said at a time may not change when the future does.

Each function compares, bit for bit, what is computed from the bars up to some time with what is computed from
bars that go on, or go on differently. What it returns is empty for anything causal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from backtester_model_core.config import ModelConfig
from backtester_model_core.walkforward import WalkForwardResult, walk_forward

Compute = Callable[[pd.DataFrame], pd.DataFrame]
"""From bars to a frame on the bars' index: features, predictions or signals."""


@dataclass(frozen=True)
class Leak:
    """A value that knew the future.

    Attributes:
        check: The check that found it.
        column: The column it stands in.
        row: Index label of the first row that differs.
        cut: Last timestamp whose bars were the same in both computations.
        message: The two values.
    """

    check: str
    column: str
    row: Any
    cut: pd.Timestamp
    message: str

    def __str__(self) -> str:
        return f"{self.check}: {self.column!r} at {self.row} depends on bars after {self.cut}: {self.message}"


def find_truncation_leaks(
    compute: Compute, bars: pd.DataFrame, *, cuts: Iterable[int] | None = None
) -> list[Leak]:
    """Cut the bars after each session and compare what is computed with what the full bars gave there.

    Args:
        compute: What is to be checked.
        bars: Checked bars of one symbol or a panel.
        cuts: Numbers of sessions to keep; every one for which ``compute`` can be asked when not given.
    """
    sessions = _sessions(bars)
    whole = compute(bars)
    leaks: list[Leak] = []
    for n_kept in cuts if cuts is not None else range(1, len(sessions)):
        last = sessions[n_kept - 1]
        leaks += _differences("truncation", whole, compute(_until(bars, last)), last)
    return leaks


def find_future_leaks(
    compute: Compute, bars: pd.DataFrame, *, cuts: Iterable[int], seed: int = 0
) -> list[Leak]:
    """Rewrite all bars after each session, four ways, and compare what was computed up to it.

    The future becomes another random walk, ten times its prices, its own reverse, or loses every other row.
    """
    sessions = _sessions(bars)
    whole = compute(bars)
    leaks: list[Leak] = []
    for n_kept in cuts:
        last = sessions[n_kept - 1]
        for name, rewritten in _rewritten(bars, last, seed=seed):
            leaks += _differences(
                f"future {name}", _until(whole, last), _until(compute(rewritten), last), last
            )
    return leaks


def find_walk_forward_leaks(
    config: ModelConfig,
    bars: pd.DataFrame,
    *,
    run: Callable[[ModelConfig, pd.DataFrame], WalkForwardResult] = walk_forward,
) -> list[Leak]:
    """Cut the bars one session after each window's fit, run the whole walk-forward again, and compare signals.

    Only this cut shows a missing purge: the first row that a window serves must not depend on anything after
    it, though the labels that overlap the fit do. Scaling, selection, thresholds, residuals and the gate are
    covered by the same comparison.

    Args:
        config: What to run.
        bars: Checked bars.
        run: The walk-forward to check; another one may be given to see a planted leak found.
    """
    whole = run(config, bars)
    sessions = _sessions(bars)
    leaks: list[Leak] = []
    for fit_at in pd.DatetimeIndex(whole.windows["serves_from"]):
        position = int(np.searchsorted(_utc(sessions), fit_at.to_datetime64(), side="right"))
        if position >= len(sessions):
            continue
        last = sessions[position - 1]
        part = run(whole.config, _until(bars, last))
        leaks += _differences("walk-forward", whole.signals, part.signals, last)
    return leaks


def _sessions(bars: pd.DataFrame) -> pd.DatetimeIndex:
    level = bars.index.get_level_values("timestamp") if isinstance(bars.index, pd.MultiIndex) else bars.index
    return pd.DatetimeIndex(level.unique()).sort_values()


def _utc(sessions: pd.DatetimeIndex) -> Any:
    naive = sessions if sessions.tz is None else sessions.tz_convert("UTC").tz_localize(None)
    return naive.to_numpy(dtype="datetime64[ns]")


def _until(frame: pd.DataFrame, last: pd.Timestamp) -> pd.DataFrame:
    """Keep the rows up to a session."""
    is_panel = isinstance(frame.index, pd.MultiIndex)
    level = frame.index.get_level_values("timestamp") if is_panel else frame.index
    return frame[np.asarray(level <= last)]


def _rewritten(bars: pd.DataFrame, last: pd.Timestamp, *, seed: int) -> list[tuple[str, pd.DataFrame]]:
    """Return the bars with four other futures."""
    kept = _until(bars, last)
    future = bars.iloc[len(kept) :]
    prices = ["open", "high", "low", "close"]
    steps = np.random.default_rng(seed).normal(0.0, 0.03, len(future))
    walked, larger, turned = future.copy(), future.copy(), future.copy()
    walked[prices] = future[prices].to_numpy() * np.exp(np.cumsum(steps))[:, None]
    larger[prices] = future[prices] * 10.0
    turned[:] = future.to_numpy()[::-1]
    others = {"random walk": walked, "times ten": larger, "reversed": turned, "thinned": future.iloc[::2]}
    return [(name, pd.concat([kept, other])) for name, other in others.items()]


def _differences(check: str, whole: pd.DataFrame, part: pd.DataFrame, last: pd.Timestamp) -> list[Leak]:
    """Report the first row of each column at which two computations of the same rows differ."""
    expected = whole.loc[part.index]
    leaks = []
    for name in part.columns:
        first, second = expected[name].to_numpy(), part[name].to_numpy()
        same = (first == second) | (pd.isna(first) & pd.isna(second))
        if not same.all():
            row = int(np.flatnonzero(~same)[0])
            message = f"{first[row]!r} with the whole bars, {second[row]!r} without"
            leaks.append(Leak(check, str(name), part.index[row], last, message))
    return leaks
