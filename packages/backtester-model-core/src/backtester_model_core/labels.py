"""What a model learns to foresee, each label with the instant at which it becomes known.

A row is known at its bar's close, a position is entered at the next bar's open by default, and an unknown
label is NaN with no label end: never a class.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from backtester_model_core.bars import Panel
from backtester_model_core.catalog import Catalog
from backtester_model_core.config import ModelConfig
from backtester_model_core.exceptions import LabelError
from backtester_model_core.typing import FloatArray, IntArray, TimeArray


@dataclass(frozen=True, eq=False)
class Label:
    """A label for each row of a panel, symbol-major.

    Attributes:
        target: (n,) class or number; NaN where unknown.
        label_end: (n,) UTC instant at which the label is known; NaT where it is not.
        forward_return: (n,) return of the position that a signal at the row would open; NaN where unknown.
    """

    target: FloatArray
    label_end: TimeArray
    forward_return: FloatArray


@dataclass(frozen=True)
class LabelKind:
    """A way to label rows, by name in :data:`LABELS`.

    Attributes:
        compute: From a panel and a configuration to the labels.
        model_type: The kind of model that learns it.
        classes: Classes in ascending order, those above zero for a rise; ``None`` for regression.

    Raises:
        LabelError: When the classes are not what a model of that kind can learn and a signal can follow.
    """

    compute: Callable[[Panel, ModelConfig], Label]
    model_type: Literal["classification", "regression"]
    classes: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if (self.classes is None) != (self.model_type == "regression"):
            raise LabelError(f"A label for {self.model_type} cannot have the classes {self.classes}.")
        if self.classes is not None:
            ascending = all(lower < upper for lower, upper in pairwise(self.classes))
            if not ascending or not self.classes or not self.classes[0] <= 0 < self.classes[-1]:
                raise LabelError(
                    f"The classes {self.classes} are not ascending numbers from at most zero, for a fall, to above "
                    "zero, for a rise."
                )


LABELS: Catalog[LabelKind] = Catalog("label kind")


def label_kind(config: ModelConfig) -> LabelKind:
    """Return the label kind that a configuration names.

    Raises:
        ConfigError: When no label has that name.
        LabelError: When the label is for the other kind of model.
    """
    kind = LABELS[config.label_kind]
    if kind.model_type != config.model_type:
        raise LabelError(
            f"The label {config.label_kind!r} is for {kind.model_type}, but model_type is {config.model_type!r}. "
            "Change label.kind or model_type."
        )
    return kind


def compute_label(panel: Panel, config: ModelConfig) -> Label:
    """Label every row of a panel as the configuration says.

    Raises:
        LabelError: When these bars cannot be labelled so, or the label kind answers with other rows.
    """
    label = label_kind(config).compute(panel, config)
    lengths = [len(label.target), len(label.label_end), len(label.forward_return)]
    if lengths != [panel.n_rows] * 3:
        raise LabelError(f"The label {config.label_kind!r} gave {lengths} rows for {panel.n_rows} bars.")
    if (label.label_end < panel.known_at).any():
        row = int(np.flatnonzero(label.label_end < panel.known_at)[0])
        raise LabelError(
            f"The label {config.label_kind!r} of {panel.known_at[row]} ends before, at {label.label_end[row]}."
        )
    return label


def forward_return(panel: Panel, config: ModelConfig) -> Label:
    """Label rows with the simple return from entry to exit.

    With the default legs and horizon ``h``, a row ``t`` has ``open[t+1+h] / open[t+1] - 1``, known at the close
    of bar ``t+1+h``; ``t+k`` is the symbol's own k-th later bar. With ``exit = "close"`` the exit is
    ``close[t+h]``; with ``entry = "close"`` it is ``close[t+h] / close[t] - 1``; both are known at the close of
    bar ``t+h``. A symbol without a bar for ``delisted_after`` sessions while the panel goes on counts as
    delisted: it pays its last close times ``1 + delisting_return``, known when that silence is.

    With a ``target_column`` other than ``close``, the target is that column's relative change from ``t`` to
    ``t+h``; the forward return stays that of the traded price.
    """
    traded = _traded_return(panel, config)
    if config.target_column == "close":
        return traded
    target, label_end = _relative_change(panel, config.target_column, config.prediction_horizon)
    return Label(target, label_end, traded.forward_return)


def direction(panel: Panel, config: ModelConfig) -> Label:
    """Label rows 1 where :func:`forward_return` is above zero and 0 where it is not."""
    label = forward_return(panel, config)
    target = np.where(np.isnan(label.target), np.nan, (label.target > 0).astype(np.float64))
    return Label(target, label.label_end, label.forward_return)


LABELS.add("forward_return", LabelKind(forward_return, "regression"))
LABELS.add("direction", LabelKind(direction, "classification", (0.0, 1.0)))


def _traded_return(panel: Panel, config: ModelConfig) -> Label:
    """Compute entry-to-exit returns symbol by symbol, delistings included."""
    horizon, legs = config.prediction_horizon, config.label
    opens, closes = (_positive(panel, name) for name in ("open", "close"))
    entry_price, entry_lag = (opens, 1) if legs.entry == "open" else (closes, 0)
    exit_price, exit_lag = (opens, horizon + 1) if legs.exit == "open" else (closes, horizon)
    sessions = np.unique(panel.known_at)

    returns = np.full(panel.n_rows, np.nan)
    label_end = np.full(panel.n_rows, np.datetime64("NaT"), dtype="datetime64[ns]")
    for segment in panel.segments():
        known_at = panel.known_at[segment]
        n = len(known_at)
        rank = np.searchsorted(sessions, known_at)
        last_of_life, silence_end = _lives(rank, sessions, legs.delisted_after)
        row = np.arange(n)
        entry, exit_ = row + entry_lag, row + exit_lag
        entered = entry <= last_of_life
        held = entered & (exit_ <= last_of_life)
        sold = entered & (exit_ > last_of_life) & ~np.isnat(silence_end)
        paid_in, paid_out = entry_price[segment], exit_price[segment]
        out, end = returns[segment], label_end[segment]
        out[held] = paid_out[exit_[held]] / paid_in[entry[held]] - 1.0
        end[held] = known_at[exit_[held]]
        payoff = closes[segment][last_of_life[sold]] * (1.0 + legs.delisting_return)
        out[sold] = payoff / paid_in[entry[sold]] - 1.0
        end[sold] = silence_end[sold]
    return Label(returns, label_end, returns)


def _lives(rank: IntArray, sessions: TimeArray, delisted_after: int) -> tuple[IntArray, TimeArray]:
    """Find, for each bar of one symbol, the last bar before its next long silence and when that is known.

    A silence of ``delisted_after`` sessions ends a life even when the symbol comes back later: whoever stood
    there could not know that it would.

    Args:
        rank: (n,) session number of each bar.
        sessions: Instants of all sessions of the panel.
        delisted_after: Length of a silence that ends a life.

    Returns:
        (n,) position of the life's last bar, and (n,) the instant at which its end is known (NaT: it goes on).
    """
    n = len(rank)
    following = np.append(rank[1:], len(sessions))
    last_bars = np.flatnonzero((following - rank > delisted_after) | (np.arange(n) == n - 1))
    last_of_life = last_bars[np.searchsorted(last_bars, np.arange(n))]
    silence = rank[last_of_life] + delisted_after
    known = silence < len(sessions)
    ends = np.full(n, np.datetime64("NaT"), dtype="datetime64[ns]")
    ends[known] = sessions[silence[known]]
    return last_of_life, ends


def _relative_change(panel: Panel, column: str, horizon: int) -> tuple[FloatArray, TimeArray]:
    """Compute ``x[t+h] / x[t] - 1`` of a positive column, known at the close of bar ``t+h``."""
    if column not in panel.columns:
        raise LabelError(
            f"target_column {column!r} is not among the bars' columns: {', '.join(panel.columns)}. "
            "Name one of them."
        )
    values = _positive(panel, column)
    target = np.full(panel.n_rows, np.nan)
    label_end = np.full(panel.n_rows, np.datetime64("NaT"), dtype="datetime64[ns]")
    for segment in panel.segments():
        n_labelled = max(segment.stop - segment.start - horizon, 0)
        x = values[segment]
        target[segment][:n_labelled] = x[horizon:] / x[:n_labelled] - 1.0
        label_end[segment][:n_labelled] = panel.known_at[segment][horizon:]
    return target, label_end


def _positive(panel: Panel, column: str) -> FloatArray:
    """Return a column of which returns can be taken, or name the earliest value of which none can."""
    values = panel.columns[column]
    usable = np.isfinite(values) & (values > 0)
    if not usable.all():
        bad = np.flatnonzero(~usable)
        row = int(bad[np.argmin(panel.known_at[bad])])
        at = panel.index[panel.order[row]]
        stamp = f"{at[0]} ({at[1]})" if isinstance(at, tuple) else f"{at}"
        raise LabelError(
            f"The column {column!r} is {values[row]:g} at {stamp}, and a relative change needs values above zero. "
            "Name a column that has them as target_column, or leave these bars out."
        )
    return values
