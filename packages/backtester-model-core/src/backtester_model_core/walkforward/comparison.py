"""What retraining would have cost and earned: the same model and bars under several policies, side by side."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from backtester_model_core.config import ModelConfig, PolicyRule, RetrainingConfig, parse_config
from backtester_model_core.events import EventKind
from backtester_model_core.factory import load_config
from backtester_model_core.labels import label_kind
from backtester_model_core.plugins import plugins
from backtester_model_core.retraining import side_came_true
from backtester_model_core.runs import RunFolder
from backtester_model_core.signals import Reason
from backtester_model_core.walkforward.engine import walk_forward
from backtester_model_core.walkforward.result import WalkForwardResult

COMPARED: tuple[PolicyRule, ...] = ("never", "schedule", "drift", "skill")
"""The policies that are compared with the configuration's own."""

COMPARISON = "comparison.csv"


def compare_retraining(
    config: ModelConfig | Mapping[str, Any] | str | Path,
    bars: pd.DataFrame,
    *,
    policies: Mapping[str, PolicyRule] | None = None,
    out: str | Path | None = None,
    n_jobs: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Walk forward under several retraining policies, and return what each cost and earned.

    Only ``retraining.policy`` differs between them; its bounds, challengers and expiry are the configuration's.

    Args:
        config: A configuration, a mapping, or the path of a configuration file.
        bars: What ``check_bars`` accepts.
        policies: Policies by the name they are shown under; by default never, schedule, drift (where monitoring is on)
            and skill, and as ``configured`` the configuration's own where it is none of them.
        out: A folder: each policy gets a run folder of its own there, so that a killed comparison resumes, and the
            table is written as ``comparison.csv``.
        n_jobs: Policies walked at a time, each in its own process; -1 for one a core.
        progress: Called with (policies done, policies in all).

    Returns:
        One row for each policy: trainings, challengers promoted and kept, roll-backs; live accuracy (share of sides
        that came true), skill (mean g) with its t; net return, Sharpe ratio, share of served bars whose model had
        expired, and the seconds it took.

    Raises:
        BacktesterModelError: As for :func:`walk_forward`.
    """
    import joblib  # here, because the core's import must stay light

    settings = config if isinstance(config, ModelConfig) else load_config(config)
    compared = _policies(settings) if policies is None else dict(policies)
    in_code = plugins().registered_in_code()
    tasks = (
        joblib.delayed(_walk)(
            _under(settings, rule),
            bars,
            out=None if out is None else Path(out) / name,
            n_trials=len(compared),
            in_code=in_code,
        )
        for name, rule in compared.items()
    )
    rows: list[dict[str, float]] = []
    for row in joblib.Parallel(n_jobs=n_jobs, return_as="generator")(tasks):
        rows.append(row)
        if progress is not None:
            progress(len(rows), len(compared))
    table = pd.DataFrame(rows, index=pd.Index(list(compared), name="policy"))
    if out is not None:
        RunFolder(out).write_result(COMPARISON, table.to_csv(lineterminator="\n").encode())
    return table


def _policies(config: ModelConfig) -> dict[str, PolicyRule]:
    """Return the policies to compare by name, the configuration's own among them."""
    named = {str(rule): rule for rule in COMPARED if rule != "drift" or config.enable_monitoring}
    own = config.retraining.policy
    return named if own in COMPARED else {**named, "configured": own}


def _under(config: ModelConfig, rule: PolicyRule) -> ModelConfig:
    """Return a configuration with another policy."""
    retraining = parse_config(RetrainingConfig, {**config.retraining.model_dump(), "policy": rule})
    return config.model_copy(update={"retraining": retraining})


def _walk(
    config: ModelConfig,
    bars: pd.DataFrame,
    *,
    out: Path | None,
    n_trials: int,
    in_code: list[tuple[str, str, Any]],
) -> dict[str, float]:
    """Walk forward under one policy, in a process where what was registered in code is registered again."""
    plugins().repeat(in_code)
    started = time.perf_counter()
    result = walk_forward(config, bars, out=out, n_trials=n_trials)
    return {**_figures(result), "seconds": time.perf_counter() - started}


def _figures(result: WalkForwardResult) -> dict[str, float]:
    """Return what a policy cost and earned."""
    happened = result.events["kind"].value_counts()
    trainings = result.events[result.events["kind"] == EventKind.TRAINED]["at"].nunique()
    kept = int(happened.get(EventKind.CHAMPION_KEPT, 0))
    served = result.signals.loc[result.predictions.index, "reason"]
    earned = result.return_metrics["signals"]
    return {
        "trainings": trainings + kept,
        "promoted": int(happened.get(EventKind.CHALLENGER_PROMOTED, 0)),
        "kept": kept,
        "rolled_back": int(happened.get(EventKind.ROLLED_BACK, 0)),
        "accuracy": _live_accuracy(result),
        "skill": result.verdict.mean_g,
        "t_skill": result.verdict.t_g,
        "net_return": earned["total_return"],
        "sharpe": earned["sharpe"],
        "stale_share": float((served == Reason.STALE_MODEL).mean()),
    }


def _live_accuracy(result: WalkForwardResult) -> float:
    """Return the share of served rows whose side came true."""
    forecast, outcome = (result.predictions[name].to_numpy() for name in ("expected", "outcome"))
    known = ~np.isnan(forecast) & ~np.isnan(outcome)
    right = side_came_true(forecast[known], outcome[known], label_kind(result.config).classes)
    return float(right.mean()) if len(right) else float("nan")
