"""Many windows: train, foresee, decide, and judge, as it would have gone in time."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from backtester_model_core.bars import bars_notes, check_bars
from backtester_model_core.bars.panel import bar_spacing
from backtester_model_core.config import ModelConfig
from backtester_model_core.dataset import Dataset
from backtester_model_core.events import event_frame
from backtester_model_core.exceptions import EvaluationError
from backtester_model_core.factory import create_model, load_config
from backtester_model_core.model import BaseModel
from backtester_model_core.plugins import plugins
from backtester_model_core.retraining import Policy, retraining_policy
from backtester_model_core.runs import RunFolder
from backtester_model_core.splits import Window, resolve_train_size, walk_forward_windows
from backtester_model_core.typing import TimeArray
from backtester_model_core.walkforward.blocks import Block, serve_or_resume, window_keys
from backtester_model_core.walkforward.kept_bars import BARS, pack_bars
from backtester_model_core.walkforward.lived import Lived, live_through
from backtester_model_core.walkforward.result import WalkForwardResult
from backtester_model_core.walkforward.scoring import (
    Served,
    baseline_metrics,
    coefficient_bounds,
    forecast_metrics,
    funnel,
    interval_coverage,
    judge,
    reliability,
    signal_table,
    trade,
    window_table,
    window_trading,
)
from backtester_model_core.walkforward.second_pass import SecondPass, run_second_pass
from backtester_model_core.walkforward.trials import record_trial
from backtester_model_core.walkforward.watching import MonitorWatch

Progress = Callable[[int, int], None]
"""Called with (windows done, windows in all) as windows finish."""


def walk_forward(
    config: ModelConfig | Mapping[str, Any] | str | Path,
    bars: pd.DataFrame,
    *,
    out: str | Path | None = None,
    n_jobs: int = 1,
    progress: Progress | None = None,
    logger: logging.Logger | None = None,
    n_trials: int | None = None,
    policy: Policy | None = None,
) -> WalkForwardResult:
    """Train and serve window after window, and judge what was foreseen out of sample.

    Features and labels are computed once for all rows: features are causal, so windows cannot contaminate each
    other, and training rows are purged by their label's end. The first pass trains and foresees every window;
    the second, in time order, sets policies from the outcomes then known and gives signals.

    Where ``retraining`` is more than a schedule, windows are not planned but lived: session by session the policy
    is asked, on what is known by then, whether to train.

    Args:
        config: A configuration, a mapping, or the path of a configuration file.
        bars: What ``check_bars`` accepts.
        out: A run folder. Each finished window is on disk there before the next starts, so that a killed run
            resumes; results are written there at the end.
        n_jobs: Windows served at a time, each in its own process (joblib); -1 for one a core. Lived windows are
            served one after the other, since each depends on what came before.
        progress: Called as windows finish.
        logger: Where events are logged.
        n_trials: How many variants are being tried, this one among them: what the deflated Sharpe ratio allows for.
            When not given, the variants that were ever started in ``out`` are counted, or this one alone. The same
            configuration, policy and code on other bars is no other variant.
        policy: A policy of one's own that says when to train, within the bounds of ``retraining``; by default that
            of the configuration.

    Raises:
        BacktesterModelError: A subclass that says which bars, option or package is at fault.
    """
    if n_trials is not None and n_trials < 1:
        raise EvaluationError(f"This run is itself a trial, so there is at least one; given {n_trials}.")
    walked = walk_windows(
        config, bars, out=out, n_jobs=n_jobs, progress=progress, logger=logger, policy=policy
    )
    if n_trials is None:
        n_trials = 1 if out is None else len(RunFolder(out).runs())
    decided = time.perf_counter()
    result = _judged(walked, n_trials=n_trials)
    finished = result({**walked.seconds, "judge": time.perf_counter() - decided})
    if out is not None:
        finished.write(out)
    plugins().hooks(walked.model.config.framework).backtester_result(model=walked.model, result=finished)
    return finished


@dataclass(frozen=True, eq=False)
class Walked:
    """Windows that were walked through, before anything is judged.

    Attributes:
        model: The untrained model of the resolved configuration.
        bars: The checked bars.
        dataset: Features and labels of every bar.
        windows: What was learned from, and what was served.
        blocks: What each window's model foresaw.
        second: What was decided.
        seconds: Time spent in each stage.
    """

    model: BaseModel
    bars: pd.DataFrame
    dataset: Dataset
    windows: list[Window]
    blocks: list[Block]
    second: SecondPass
    seconds: Mapping[str, float]


def walk_windows(
    config: ModelConfig | Mapping[str, Any] | str | Path,
    bars: pd.DataFrame,
    *,
    out: str | Path | None = None,
    n_jobs: int = 1,
    progress: Progress | None = None,
    logger: logging.Logger | None = None,
    policy: Policy | None = None,
    record: bool = True,
) -> Walked:
    """Train, foresee and decide window after window; arguments and errors as for :func:`walk_forward`.

    Without ``record`` the run folder takes no note of this run, as one more trial, nor of its bars; finished windows
    are taken from it, and kept there, either way.
    """
    started = time.perf_counter()
    settings = config if isinstance(config, ModelConfig) else load_config(config)
    checked = check_bars(bars)
    given = create_model(settings)
    dataset = given.prepare(checked)
    model = create_model(
        resolve_config(given.config.model_copy(update={"random_state": given.seed}), dataset)
    )
    if out is not None and record:
        record_trial(out, given, wish=policy)
        RunFolder(out).write_result(BARS, pack_bars(checked))
    prepared = time.perf_counter()
    if policy is None and model.config.retraining.is_planned:
        first = _first_pass(model, dataset, out=out, n_jobs=n_jobs, progress=progress)
    else:
        first = _live(model, dataset, policy, out=out, progress=progress)
    windows, blocks = first.windows, first.blocks
    served_at = time.perf_counter()
    second = run_second_pass(
        model,
        checked,
        dataset,
        windows,
        blocks,
        logger=logger or logging.getLogger(__name__),
        lived_events=first.events,
    )
    seconds = {
        "prepare": prepared - started,
        "train": sum(block.seconds["train"] for block in blocks),
        "predict": sum(block.seconds["predict"] for block in blocks),
        "first_pass": served_at - prepared,
        "second_pass": time.perf_counter() - served_at,
    }
    return Walked(model, checked, dataset, windows, blocks, second, seconds)


def resolve_config(config: ModelConfig, dataset: Dataset) -> ModelConfig:
    """Fill in what the data or a default decides, so that the configuration repeats the run on other bars.

    The length of the first training window becomes a number of sessions: a share of the sessions would change
    when bars are added. So would the number of bars in a year, which is counted where it is not given,
    and the spacing of bars that are stamped at their open.
    """
    sessions = np.unique(dataset.known_at)
    size = resolve_train_size(
        config.validation, train_test_split=config.train_test_split, n_sessions=len(sessions)
    )
    year = config.costs.bars_per_year or _sessions_per_year(sessions)
    stamps = config.data_config
    if stamps.bar_stamp == "open" and stamps.frequency is None:
        spacing = bar_spacing(dataset.index) // np.timedelta64(1, "s")
        stamps = stamps.model_copy(update={"frequency": f"{spacing}s"})
    return config.model_copy(
        update={
            "validation": config.validation.model_copy(update={"train_size": size}),
            "label": config.label.model_copy(update={"kind": config.label_kind}),
            "strong_threshold": config.strong_confidence,
            "data_config": stamps,
            "costs": config.costs.model_copy(update={"bars_per_year": year}),
        }
    )


def _sessions_per_year(sessions: TimeArray) -> float:
    """Count the sessions of an average year, at least one."""
    years = float((sessions[-1] - sessions[0]) / np.timedelta64(1, "s")) / (365.25 * 86_400)
    return float(max(1, round((len(sessions) - 1) / years))) if years > 0 else 1.0


def plan_windows(config: ModelConfig, dataset: Dataset) -> list[Window]:
    """Return the windows of a walk-forward; only rows that can be learned from are training rows."""
    learnable = dataset.is_complete & dataset.is_labelled
    usable_from = np.where(learnable, dataset.usable_from, np.datetime64("NaT"))
    return walk_forward_windows(
        dataset.known_at, usable_from, validation=config.validation, train_test_split=config.train_test_split
    )


def _live(
    model: BaseModel,
    dataset: Dataset,
    wish: Policy | None,
    *,
    out: str | Path | None,
    progress: Progress | None,
) -> Lived:
    """Serve session by session, trained when the policy says so, from the run folder where that is finished."""
    folder = None if out is None else RunFolder(out).path
    policy = retraining_policy(model.config, wish=wish)
    watch = MonitorWatch(model.config, dataset) if model.config.enable_monitoring else None
    return live_through(model, dataset, policy, folder=folder, watch=watch, progress=progress)


def _first_pass(
    model: BaseModel,
    dataset: Dataset,
    *,
    out: str | Path | None,
    n_jobs: int,
    progress: Progress | None,
) -> Lived:
    """Serve every planned window, in parallel where asked to, from the run folder where it is finished."""
    import joblib  # here, because the core's import must stay light

    windows = plan_windows(model.config, dataset)
    keys: list[str | None] = [None] * len(windows)
    folder = None
    if out is not None:
        folder = RunFolder(out).path
        keys = list(window_keys(model, dataset, windows))
    in_code = plugins().registered_in_code()
    tasks = (
        joblib.delayed(serve_or_resume)(model, dataset, window, key=key, folder=folder, in_code=in_code)
        for window, key in zip(windows, keys, strict=True)
    )
    blocks: list[Block] = []
    for block in joblib.Parallel(n_jobs=n_jobs, return_as="generator")(tasks):
        blocks.append(block)
        if progress is not None:
            progress(len(blocks), len(windows))
    return Lived(windows, blocks, None)


def _judged(walked: Walked, *, n_trials: int) -> Callable[[Mapping[str, float]], WalkForwardResult]:
    """Measure everything; what remains is to say how long it took."""
    config, bars, dataset, windows, second = (
        walked.model.config,
        walked.bars,
        walked.dataset,
        walked.windows,
        walked.second,
    )
    served = Served.of(dataset, windows, walked.blocks)
    trading = trade(config, bars, dataset, served, second.signals, n_trials=n_trials)
    verdicts = judge(config, dataset, served)
    meant = reliability(dataset, served, second.foreseen)
    traded = window_trading(dataset, windows, second.signals, trading)
    table = window_table(dataset, windows, walked.blocks, served, traded, second.gate, second.live)
    fields: dict[str, Any] = {
        "config": config,
        "predictions": _predictions(dataset, served, second.foreseen),
        "signals": second.signals,
        "windows": table,
        "metrics": forecast_metrics(dataset, served)
        | coefficient_bounds(config, dataset, served)
        | interval_coverage(dataset, served, second.foreseen),
        "baselines": baseline_metrics(dataset, served),
        "calibration": meant.metrics,
        "reliability": meant.curve,
        "verdict": verdicts.together,
        "order_verdict": verdicts.order,
        "symbol_verdicts": verdicts.by_symbol,
        "signal_table": signal_table(dataset, served, second.signals),
        "returns": trading.frame,
        "return_metrics": trading.metrics,
        "funnel": funnel(dataset, windows, served, second.signals),
        "events": event_frame(second.events),
        "bars_notes": (*(str(note) for note in bars_notes(bars)), *dataset.notes),
    }
    return lambda timings: WalkForwardResult(**fields, timings=timings)


def _predictions(dataset: Dataset, served: Served, foreseen: pd.DataFrame) -> pd.DataFrame:
    frame = served.prediction.frame
    for name, values in foreseen.items():
        frame[str(name)] = values.to_numpy()[served.rows]
    frame["baseline"] = served.baseline
    frame["outcome"] = dataset.target[served.rows]
    frame["label_end"] = dataset.label_end[served.rows]
    frame["window"] = served.window
    return frame
