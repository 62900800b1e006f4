"""What a walk-forward was worth: metrics beside baselines, the verdict, returns after costs, the funnel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from backtester_model_core.bars.calendar import TradingDays, timezone_of
from backtester_model_core.config import ModelConfig
from backtester_model_core.dataset import Dataset, Prediction
from backtester_model_core.evaluation import (
    ReturnPath,
    SessionTables,
    Verdict,
    after_cost_return,
    baseline_returns,
    calibration_metrics,
    decision_turnover,
    information_coefficients,
    information_intervals,
    interval_metrics,
    judge_skill,
    judge_symbols,
    last_known_outcome,
    reliability_curve,
    return_metrics,
    signal_metrics,
)
from backtester_model_core.model import prediction_metrics
from backtester_model_core.signals import Reason, SignalFrame, rise_share, rose
from backtester_model_core.splits import Window
from backtester_model_core.typing import BoolArray, FloatArray, IntArray, TimeArray
from backtester_model_core.walkforward.blocks import Block


@dataclass(frozen=True, eq=False)
class Served:
    """Everything foreseen out of sample, in the dataset's row order.

    Attributes:
        rows: (n,) the dataset's rows that were served.
        window: (n,) number of the window that served each.
        prediction: What was foreseen.
        baseline: (n,) training mean of the row's model.
        class_share: (n, k) training share of each class, for a classifier.
    """

    rows: IntArray
    window: IntArray
    prediction: Prediction
    baseline: FloatArray
    class_share: FloatArray | None

    @classmethod
    def of(cls, dataset: Dataset, windows: Sequence[Window], blocks: Sequence[Block]) -> Served:
        """Join the blocks of all windows."""
        rows = np.concatenate([window.test_rows for window in windows])
        number = np.repeat(
            [window.number for window in windows], [len(window.test_rows) for window in windows]
        )
        probability = _joined([block.probability for block in blocks])
        prediction = Prediction(
            dataset.index[rows],
            np.concatenate([block.expected for block in blocks]),
            probability,
            dataset.classes,
        )
        baseline = np.concatenate([block.baseline for block in blocks])
        return cls(rows, number, prediction, baseline, _joined([block.class_share for block in blocks]))


@dataclass(frozen=True)
class Verdicts:
    """What the out-of-sample forecasts have shown: together, and on a panel also taken apart.

    Attributes:
        together: Of all symbols together.
        order: Of the order of the symbols at each time only; ``None`` for one symbol.
        by_symbol: Of each symbol by itself, adjusted for their number; empty for one symbol.
    """

    together: Verdict
    order: Verdict | None
    by_symbol: Mapping[str, Verdict]


def judge(config: ModelConfig, dataset: Dataset, served: Served) -> Verdicts:
    """Judge the out-of-sample forecasts against the training means."""
    times = dataset.known_at[served.rows]
    columns: dict[str, Any] = {
        "outcome": dataset.target[served.rows],
        "forecast": served.prediction.expected,
        "baseline": served.baseline,
        "horizon": config.prediction_horizon,
    }
    together = judge_skill(times, **columns)
    if len(dataset.symbols) == 1:
        return Verdicts(together, None, {})
    symbols = np.array(dataset.symbols, dtype=np.str_)[dataset.symbol_codes[served.rows]]
    by_symbol = judge_symbols(times, symbol=symbols, **columns)
    return Verdicts(
        together,
        judge_skill(times, **columns, cross_sectional=True),
        {str(name): verdict for name, verdict in by_symbol.items()},
    )


def forecast_metrics(dataset: Dataset, served: Served, rows: Any = slice(None)) -> dict[str, float]:
    """Return the metrics of the forecasts on served rows, information coefficients among them."""
    prediction, outcome = (
        served.prediction.take(np.arange(len(served.rows))[rows]),
        dataset.target[served.rows[rows]],
    )
    known = ~np.isnan(prediction.expected)
    metrics = prediction_metrics(prediction.take(known), outcome[known], served.baseline[rows][known])
    coefficients = information_coefficients(
        outcome, forecast=prediction.expected, decision_time=dataset.known_at[served.rows[rows]]
    )
    return {**metrics, **{name: value for name, value in coefficients.items() if name != "n"}}


def coefficient_bounds(config: ModelConfig, dataset: Dataset, served: Served) -> dict[str, float]:
    """Return the lower and upper 95 % bound of each information coefficient, as ``ic_low``, ``ic_high`` and so on."""
    intervals = information_intervals(
        dataset.target[served.rows],
        forecast=served.prediction.expected,
        decision_time=dataset.known_at[served.rows],
        horizon=config.prediction_horizon,
    )
    return {
        f"{name}_{end}": bound
        for name, interval in intervals.items()
        for end, bound in zip(("low", "high"), interval, strict=True)
    }


@dataclass(frozen=True, eq=False)
class Reliability:
    """Whether the probabilities of a rise meant what they said, out of sample.

    Attributes:
        metrics: Brier score, log loss and calibration error of each: of a classifier ``raw`` and ``calibrated``, of
            a regression ``calibrated`` alone.
        curve: The reliability curve of each, indexed by it and by the bin.
    """

    metrics: dict[str, dict[str, float]]
    curve: pd.DataFrame


def reliability(dataset: Dataset, served: Served, foreseen: pd.DataFrame) -> Reliability:
    """Set the probabilities of a rise beside what came, on all rows on which it was a rise or a fall."""
    outcome, classes = dataset.target[served.rows], dataset.classes
    said = {"calibrated": foreseen["probability_up"].to_numpy()[served.rows]}
    if classes is None or served.prediction.probability is None:
        came = np.where(np.isnan(outcome), np.nan, (outcome > 0).astype(np.float64))
    else:
        came = rose(outcome, classes)
        said = {"raw": rise_share(served.prediction.probability, classes), **said}
    curves = {name: reliability_curve(came, probability=p) for name, p in said.items()}
    return Reliability(
        {name: calibration_metrics(came, probability=p) for name, p in said.items()},
        pd.concat(curves, names=["probability", "bin"]),
    )


def interval_coverage(dataset: Dataset, served: Served, foreseen: pd.DataFrame) -> dict[str, float]:
    """Return the share of outcomes that a regression's intervals held, and their mean width; nothing without them."""
    if "interval_low" not in foreseen:
        return {}
    low, high = (foreseen[name].to_numpy()[served.rows] for name in ("interval_low", "interval_high"))
    return interval_metrics(dataset.target[served.rows], low=low, high=high)


def baseline_metrics(dataset: Dataset, served: Served) -> dict[str, dict[str, float]]:
    """Return the same metrics for what needs no model: the training prior or mean, and the last known outcome."""
    last = last_known_outcome(
        dataset.target, known_at=dataset.known_at, label_end=dataset.usable_from, symbol=dataset.symbol_codes
    )[served.rows]
    usable = ~np.isnan(served.prediction.expected) & ~np.isnan(last)
    shares = (
        None if dataset.classes is None else (last[:, None] == np.asarray(dataset.classes)).astype(np.float64)
    )
    repeated = Prediction(served.prediction.index, last, shares, dataset.classes).take(usable)
    outcome = dataset.target[served.rows[usable]]
    name = "training_mean" if dataset.classes is None else "class_prior"
    return {
        name: _naive_metrics(dataset, served, np.ones(len(served.rows), dtype=np.bool_)),
        "last_value": prediction_metrics(repeated, outcome, served.baseline[usable]),
    }


def _naive_metrics(dataset: Dataset, served: Served, rows: BoolArray) -> dict[str, float]:
    """Return the metrics that the training prior or mean has on some served rows."""
    chosen = rows & ~np.isnan(served.prediction.expected)
    shares = None if served.class_share is None else served.class_share[chosen]
    prior = Prediction(served.prediction.index[chosen], served.baseline[chosen], shares, dataset.classes)
    return prediction_metrics(prior, dataset.target[served.rows[chosen]], served.baseline[chosen])


def window_table(
    dataset: Dataset,
    windows: Sequence[Window],
    blocks: Sequence[Block],
    served: Served,
    *further: pd.DataFrame,
) -> pd.DataFrame:
    """Return one row for each window: its dates, its training, its metrics, its live figures."""
    rows = []
    for window, block in zip(windows, blocks, strict=True):
        chosen = served.window == window.number
        metrics = forecast_metrics(dataset, served, chosen)
        naive = _naive_metrics(dataset, served, chosen)
        rows.append(
            {
                "fit_at": pd.Timestamp(window.fit_at),
                "serves_from": pd.Timestamp(window.serves_from),
                "serves_to": pd.Timestamp(window.serves_to),
                "n_train": sum(int(report["n_rows"]) for report in block.reports),
                "n_served": len(window.test_rows),
                "n_refused": len(block.refusals),
                **metrics,
                **{f"naive_{name}": value for name, value in naive.items() if name != "n"},
            }
        )
    return pd.concat([pd.DataFrame(rows), *further], axis=1).rename_axis("window")


def signal_table(dataset: Dataset, served: Served, signals: SignalFrame) -> pd.DataFrame:
    """Return, by signal type, how many there were, how often they hit, and what followed."""
    returns = dataset.forward_return
    known = np.full(len(served.rows), np.nan) if returns is None else returns[served.rows]
    return signal_metrics(signals["signal"].to_numpy()[served.rows], forward_return=known)


@dataclass(frozen=True, eq=False)
class Trading:
    """The simple after-cost return of the signals, beside always long and buy-and-hold.

    Attributes:
        sessions: (n,) instants of the served sessions.
        paths: Return paths by name: ``signals``, ``always_long``, ``buy_and_hold``.
        metrics: Figures of each path.
    """

    sessions: pd.DatetimeIndex
    paths: dict[str, ReturnPath]
    metrics: dict[str, dict[str, float]]

    @property
    def instants(self) -> TimeArray:
        """(n,) the sessions as the dataset has them."""
        return np.asarray(self.sessions, dtype="datetime64[ns]")

    @property
    def frame(self) -> pd.DataFrame:
        """Net return of each path, on the bar at whose close it was decided."""
        length = len(self.paths["signals"].net)
        return pd.DataFrame(
            {name: path.net for name, path in self.paths.items()}, index=self.sessions[:length]
        )


def trade(
    config: ModelConfig,
    bars: pd.DataFrame,
    dataset: Dataset,
    served: Served,
    signals: SignalFrame,
    *,
    n_trials: int,
) -> Trading:
    """Follow the signals through the served sessions with the configuration's costs.

    Only the signals are deflated for ``n_trials``: the baselines beside them were not chosen.
    """
    tables = SessionTables.of(
        dataset.known_at,
        symbol=dataset.symbol_codes,
        n_symbols=len(dataset.symbols),
        start=dataset.known_at[served.rows[0]],
    )
    weights = tables.table(signals["target_weight"])
    foreseen = np.zeros(len(dataset), dtype=np.float64)
    foreseen[served.rows] = ~np.isnan(served.prediction.expected)
    zone = config.label.session_timezone or timezone_of(bars.index)
    prices: dict[str, Any] = {
        "open_price": tables.table(bars["open"]),
        "close_price": tables.table(bars["close"]),
        "costs": config.costs,
        "delisting_return": config.label.delisting_return,
        "delisted_after": config.label.delisted_after,
        "day": TradingDays.of(tables.sessions, zone).number,
    }
    followed = after_cost_return(weights, horizon=config.prediction_horizon, **prices)
    paths = {"signals": followed, **baseline_returns(np.nan_to_num(tables.table(foreseen)) > 0, **prices)}
    metrics = {
        name: return_metrics(path, costs=config.costs, n_trials=n_trials if path is followed else 1)
        for name, path in paths.items()
    }
    metrics["signals"]["decision_turnover"] = decision_turnover(weights)
    return Trading(pd.DatetimeIndex(tables.sessions), paths, metrics)


def window_trading(
    dataset: Dataset, windows: Sequence[Window], signals: SignalFrame, trading: Trading
) -> pd.DataFrame:
    """Return for each window how often its signals hit, what they earned after costs, and how much they traded.

    ``hit_rate`` is the share of its signals for a position, of those whose forward return is known, that moved their
    way; ``net_return`` compounds its sessions, and ``mean_turnover`` is their mean traded value over equity.
    """
    followed, returns = trading.paths["signals"], dataset.forward_return
    side = np.sign(signals["target_weight"].to_numpy(dtype=np.float64))
    gained = np.full(len(dataset), np.nan) if returns is None else side * returns
    rows = []
    for window in windows:
        paid = gained[window.test_rows][side[window.test_rows] != 0]
        paid = paid[~np.isnan(paid)]
        session = np.unique(np.searchsorted(trading.instants, dataset.known_at[window.test_rows]))
        session = session[session < len(followed.net)]
        rows.append(
            {
                "hit_rate": float((paid > 0).mean()) if len(paid) else float("nan"),
                "net_return": float(np.prod(1 + followed.net[session]) - 1) if len(session) else float("nan"),
                "mean_turnover": float(followed.turnover[session].mean()) if len(session) else float("nan"),
            }
        )
    return pd.DataFrame(rows)


def funnel(
    dataset: Dataset, windows: Sequence[Window], served: Served, signals: SignalFrame
) -> dict[str, int]:
    """Count the rows that pass each stage, from bars to signals: the answer to "why no trades?"."""
    reasons = signals["reason"].to_numpy()[served.rows]
    passed = {"served": len(served.rows)}
    remaining = len(served.rows)
    for stage, stopped in (
        ("foreseen", (Reason.WARM_UP, Reason.NO_MODEL, Reason.ONE_CLASS)),
        ("in_date", (Reason.STALE_MODEL,)),
        ("with_probability", (Reason.NO_RESIDUALS, Reason.NO_VOLATILITY)),
        ("past_gate", (Reason.NO_SKILL,)),
        ("above_signal_threshold", (Reason.BELOW_SIGNAL_THRESHOLD,)),
        ("above_confidence", (Reason.BELOW_CONFIDENCE, Reason.FLAT_LIKELIEST, Reason.NO_SIDE)),
        ("above_cost", (Reason.BELOW_COST, Reason.NO_ODDS)),
        ("selected", (Reason.NOT_SELECTED,)),
    ):
        remaining -= int(np.isin(reasons, [reason.value for reason in stopped]).sum())
        passed[stage] = remaining
    trained = np.zeros(len(dataset), dtype=bool)
    for window in windows:
        trained[window.train_rows] = True
    return {
        "bars": len(dataset),
        "complete_features": int(dataset.is_complete.sum()),
        "known_label": int((dataset.is_complete & dataset.is_labelled).sum()),
        "trained_on": int(trained.sum()),
        **passed,
        "acted": int((signals["target_weight"].to_numpy()[served.rows] != 0).sum()),
    }


def _joined(parts: Sequence[FloatArray | None]) -> FloatArray | None:
    known = [part for part in parts if part is not None]
    return np.concatenate(known) if known else None
