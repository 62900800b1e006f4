"""Labels from the return between a fixed entry and a fixed exit: the return itself, its sign, three ways."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from backtester_model_core.bars import Panel
from backtester_model_core.config import ModelConfig
from backtester_model_core.exceptions import LabelError
from backtester_model_core.labels.kinds import LABELS, Label, LabelKind
from backtester_model_core.labels.lives import NOT_YET, bars_column, positive, tracks, volatility
from backtester_model_core.typing import FloatArray, TimeArray

CROSS_SECTION = "cross_section"
"""What ``excess_over`` says for the mean of all symbols; any other name is a column of the bars."""


@dataclass(frozen=True, eq=False)
class Traded:
    """What the positions of all rows pay, and when that is known.

    Attributes:
        returns: (n,) simple return from entry to exit; NaN where there is none.
        label_end: (n,) instant at which it is known; NaT where there is none.
        settled_at: (n,) instant at which it is known whether there is one; NaT before.
    """

    returns: FloatArray
    label_end: TimeArray
    settled_at: TimeArray


def forward_return(panel: Panel, config: ModelConfig) -> Label:
    """Label rows with the return from entry to exit.

    With the default legs and horizon ``h``, a row ``t`` has ``open[t+1+h] / open[t+1] - 1``, known at the close
    of bar ``t+1+h``; ``t+k`` is the symbol's own k-th later bar. With ``exit = "close"`` the exit is
    ``close[t+h]``; with ``entry = "close"`` it is ``close[t+h] / close[t] - 1``; both are known at the close of
    bar ``t+h``. A symbol without a bar for ``delisted_after`` days while the panel goes on counts as
    delisted: it pays its last close times ``1 + delisting_return``, known when that silence is.

    With ``form = "log"`` the target is the logarithm of one plus the return. With ``excess_over`` it is the
    target less the mean of all symbols at the same decision time, known at the latest of their ends, or less
    the change of a benchmark column from ``t`` to ``t+h``. With a ``target_column`` other than ``close``, the
    target is that column's relative change from ``t`` to ``t+h``. The forward return stays the simple return
    of the traded price.
    """
    traded = traded_returns(panel, config)
    if config.target_column != "close":
        if config.label.excess_over is not None:
            raise LabelError(
                f"label.excess_over is for the traded price, but target_column is {config.target_column!r}. "
                "Leave one of them out."
            )
        target, label_end = _relative_change(panel, config.target_column, config.prediction_horizon)
        note = (
            f"the target is {config.target_column!r}: LONG foresees its rise, returns are of the traded price"
        )
        return Label(
            _in_form(target, config),
            label_end,
            traded.returns,
            return_end=traded.label_end,
            notes=(note,),
        )
    target = _in_form(traded.returns, config)
    if config.label.excess_over is None:
        return Label(target, traded.label_end, traded.returns)
    if config.label.excess_over == CROSS_SECTION:
        excess, label_end = _over_cross_section(panel, target, traded.settled_at)
        return Label(excess, label_end, traded.returns)
    benchmark = _in_form(_benchmark_return(panel, config), config)
    return Label(target - benchmark, traded.label_end, traded.returns)


def direction(panel: Panel, config: ModelConfig) -> Label:
    """Label rows 1 where :func:`forward_return` is above zero and 0 where it is not."""
    label = forward_return(panel, config)
    target = np.where(np.isnan(label.target), np.nan, (label.target > 0).astype(np.float64))
    return replace(label, target=target)


def three_way(panel: Panel, config: ModelConfig) -> Label:
    """Label rows 1 where :func:`forward_return` is above a band around zero, -1 where below, 0 within.

    The band is ``label.band``, as a return or in units of the volatility known at the row; a row whose
    volatility is not known has no label.
    """
    label = forward_return(panel, config)
    band = np.full(panel.n_rows, config.label.band)
    if config.label.band_unit == "volatility":
        band *= volatility(panel, config.label.volatility_window)
    known = ~np.isnan(label.target) & ~np.isnan(band)
    side = (label.target > band).astype(np.float64) - (label.target < -band)
    return replace(
        label,
        target=np.where(known, side, np.nan),
        label_end=np.where(known, label.label_end, NOT_YET),
    )


LABELS.add("forward_return", LabelKind(forward_return, "regression"))
LABELS.add("direction", LabelKind(direction, "classification", (0.0, 1.0)))
LABELS.add("three_way", LabelKind(three_way, "classification", (-1.0, 0.0, 1.0)))


def traded_returns(panel: Panel, config: ModelConfig) -> Traded:
    """Compute simple entry-to-exit returns symbol by symbol, delistings included."""
    horizon, legs = config.prediction_horizon, config.label
    opens, closes = (positive(panel, name) for name in ("open", "close"))
    entry_price, entry_lag = (opens, 1) if legs.entry == "open" else (closes, 0)
    exit_price, exit_lag = (opens, horizon + 1) if legs.exit == "open" else (closes, horizon)

    returns = np.full(panel.n_rows, np.nan)
    label_end, settled_at = np.full(panel.n_rows, NOT_YET), np.full(panel.n_rows, NOT_YET)
    for track in tracks(panel, config):
        span = track.span(entry_lag=entry_lag, exit_lag=exit_lag)
        paid_in, paid_out, last_close = (each[track.rows] for each in (entry_price, exit_price, closes))
        out, held, sold = returns[track.rows], span.held, span.sold
        out[held] = paid_out[span.exit[held]] / paid_in[span.entry[held]] - 1.0
        payoff = last_close[span.exit[sold]] * (1.0 + legs.delisting_return)
        out[sold] = payoff / paid_in[span.entry[sold]] - 1.0
        label_end[track.rows], settled_at[track.rows] = span.label_end, span.settled_at
    return Traded(returns, label_end, settled_at)


def _in_form(returns: FloatArray, config: ModelConfig) -> FloatArray:
    """Return simple returns as they are, or their logarithmic form."""
    return np.log1p(returns) if config.label.form == "log" else returns


def _over_cross_section(
    panel: Panel, returns: FloatArray, settled_at: TimeArray
) -> tuple[FloatArray, TimeArray]:
    """Take the mean of all symbols at the same decision time off; it is known at the latest of their ends.

    A symbol that will never have a return at that time does not count, and that too must be known first: else
    the mean would change when later bars arrive.
    """
    if panel.is_single:
        raise LabelError(
            "label.excess_over = 'cross_section' needs a panel of symbols, and these are one symbol's bars. "
            "Bring several symbols, or name a benchmark column of the bars."
        )
    times, time = np.unique(panel.known_at, return_inverse=True)
    latest = np.full(len(times), np.datetime64(np.iinfo(np.int64).min + 1, "ns"))
    np.maximum.at(latest, time, settled_at)
    known = ~np.isnan(returns)
    count = np.bincount(time, weights=known, minlength=len(times))
    mean = np.bincount(time, weights=np.where(known, returns, 0.0), minlength=len(times)) / np.maximum(
        count, 1
    )
    usable = known & (count >= 2)[time] & ~np.isnat(latest)[time]
    return np.where(usable, returns - mean[time], np.nan), np.where(usable, latest[time], NOT_YET)


def _benchmark_return(panel: Panel, config: ModelConfig) -> FloatArray:
    """Compute a benchmark column's change from ``t`` to ``t+h``, or to the last bar of the symbol's life."""
    name = str(config.label.excess_over)
    bars_column(panel, name, field="label.excess_over")
    values = positive(panel, name)
    change = np.full(panel.n_rows, np.nan)
    for track in tracks(panel, config):
        x = values[track.rows]
        until = np.minimum(np.arange(len(x)) + config.prediction_horizon, track.last_of_life)
        change[track.rows] = x[until] / x - 1.0
    return change


def _relative_change(panel: Panel, column: str, horizon: int) -> tuple[FloatArray, TimeArray]:
    """Compute ``x[t+h] / x[t] - 1`` of a positive column, known at the close of bar ``t+h``."""
    values = positive(panel, column)
    target = np.full(panel.n_rows, np.nan)
    label_end = np.full(panel.n_rows, NOT_YET)
    for segment in panel.segments():
        n_labelled = max(segment.stop - segment.start - horizon, 0)
        x = values[segment]
        target[segment][:n_labelled] = x[horizon:] / x[:n_labelled] - 1.0
        label_end[segment][:n_labelled] = panel.known_at[segment][horizon:]
    return target, label_end
