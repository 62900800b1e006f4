"""Labels from the clearest linear trend ahead (López de Prado 2020, section 5.4)."""

from __future__ import annotations

import numpy as np

from backtester_model_core.bars import Panel
from backtester_model_core.config import ModelConfig
from backtester_model_core.exceptions import LabelError
from backtester_model_core.labels.forward import traded_returns
from backtester_model_core.labels.kinds import LABELS, Label, LabelKind
from backtester_model_core.labels.lives import NOT_YET, Span, Track, positive, tracks
from backtester_model_core.typing import BoolArray, FloatArray


def trend_scanning(panel: Panel, config: ModelConfig) -> Label:
    """Label rows 1 where the clearest trend of the close ahead rises and 0 where it does not.

    A line is fitted by least squares to ``close[t], ..., close[t+l]`` for every span l from
    ``trend_min_span`` to the horizon, and the span with the largest absolute t-value of the slope is chosen.
    Whichever it is, every span was looked at, so the label ends at the close of bar t+h. A delisted symbol
    stays at its payoff from the bar after its last.

    Raises:
        LabelError: When the horizon is shorter than the shortest span.
    """
    horizon, shortest = config.prediction_horizon, config.label.trend_min_span
    if horizon < shortest:
        raise LabelError(
            f"trend_scanning fits lines over {shortest} to prediction_horizon bars, and that is {horizon}. "
            "Raise prediction_horizon or lower label.trend_min_span."
        )
    closes = positive(panel, "close")
    entry_lag = 1 if config.label.entry == "open" else 0
    target, label_end = np.full(panel.n_rows, np.nan), np.full(panel.n_rows, NOT_YET)
    for track in tracks(panel, config):
        span = track.span(entry_lag=entry_lag, exit_lag=horizon)
        known = span.held | span.sold
        slope_t = _clearest_trend(closes[track.rows], track, span, known=known, config=config)
        target[track.rows][known] = slope_t > 0
        label_end[track.rows] = span.label_end
    traded = traded_returns(panel, config)
    return Label(target, label_end, traded.returns, return_end=traded.label_end)


LABELS.add("trend_scanning", LabelKind(trend_scanning, "classification", (0.0, 1.0)))


def _clearest_trend(
    closes: FloatArray, track: Track, span: Span, *, known: BoolArray, config: ModelConfig
) -> FloatArray:
    """Return the t-value of the slope over the span where it is largest in size, for each known row.

    Sums grow by one bar at a time and start from changes since ``close[t]``, which keeps them accurate far from
    zero. With x = 0..l the t-value is ``b / sqrt(SSE / ((l - 1) Sxx))``, b = Sxy / Sxx.
    """
    row = np.flatnonzero(known)
    last = track.last_of_life[row]
    payoff = closes[last] * np.where(span.sold[row], 1.0 + config.label.delisting_return, 1.0)
    total, squares, products, best = (np.zeros(len(row)) for _ in range(4))
    for length in range(1, config.prediction_horizon + 1):
        ahead = row + length
        price = np.where(ahead <= last, closes[np.minimum(ahead, last)], payoff)
        change = price / closes[row] - 1.0
        total += change
        squares += change**2
        products += length * change
        if length < config.label.trend_min_span:
            continue
        sxx = length * (length + 1) * (length + 2) / 12
        sxy = products - length / 2 * total
        unexplained = np.maximum(squares - total**2 / (length + 1) - sxy**2 / sxx, 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            t_value = np.nan_to_num(
                sxy / sxx / np.sqrt(unexplained / ((length - 1) * sxx)), posinf=np.inf, neginf=-np.inf
            )
        best = np.where(np.abs(t_value) > np.abs(best), t_value, best)
    return best
