"""Records each finished walk-forward in MLflow: parameters, metrics, windows, and the verdict.

The store is ``MLFLOW_TRACKING_URI``, or an SQLite file ``mlflow.db`` in the working folder. MLflow is
imported when a run is recorded, and not when the extension is loaded.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Generator, Iterator, Mapping
from typing import Any

from backtester_model_core import hookimpl
from backtester_model_core.model import BaseModel
from backtester_model_core.walkforward import WalkForwardResult

DEFAULT_STORE = "sqlite:///mlflow.db"
LONGEST_PARAMETER = 6000
LONGEST_TAG = 5000
BATCH = 1000
"""The most metrics that MLflow takes at a time."""


@hookimpl(wrapper=True)
def backtester_result(model: BaseModel, result: WalkForwardResult) -> Generator[None, Any, Any]:
    """Record one walk-forward, once every other extension has heard of it."""
    heard = yield
    record(model.config.model_name, result)
    return heard


def record(name: str, result: WalkForwardResult) -> None:
    """Write a walk-forward as a run of the experiment that is called by the model's name."""
    from mlflow.entities import Metric, Param, RunTag
    from mlflow.tracking import MlflowClient

    client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_STORE)
    experiment = client.get_experiment_by_name(name)
    number = experiment.experiment_id if experiment else client.create_experiment(name)
    run = client.create_run(number, run_name=f"{name} {result.verdict.outcome}").info.run_id
    try:
        parameters = [Param(key, text) for key, text in parameters_of(result)]
        tags = [RunTag(key, text) for key, text in tags_of(result)]
        now = int(time.time() * 1000)
        metrics = [Metric(key, value, now, step) for key, value, step in metrics_of(result)]
        client.log_batch(run, params=parameters, tags=tags)
        for first in range(0, len(metrics), BATCH):
            client.log_batch(run, metrics=metrics[first : first + BATCH])
    except BaseException:
        client.set_terminated(run, "FAILED")
        raise
    client.set_terminated(run, "FINISHED")


def parameters_of(result: WalkForwardResult) -> Iterator[tuple[str, str]]:
    """Yield each field of the configuration as it was resolved, those of groups by their path."""
    for key, value in _flat(result.config.model_dump(mode="json")):
        yield key, (value if isinstance(value, str) else json.dumps(value))[:LONGEST_PARAMETER]


def tags_of(result: WalkForwardResult) -> Iterator[tuple[str, str]]:
    """Yield the verdict in words, and what was found worth saying about the bars."""
    yield "verdict", str(result.verdict.outcome)
    yield "verdict.sentence", result.verdict.sentence[:LONGEST_TAG]
    for symbol, verdict in result.symbol_verdicts.items():
        yield f"verdict.{symbol}", str(verdict.outcome)
    yield "bars_notes", "\n".join(result.bars_notes)[:LONGEST_TAG]


def metrics_of(result: WalkForwardResult) -> Iterator[tuple[str, float, int]]:
    """Yield (name, value, step): figures of the whole run at step 0, and each window's at its number.

    What is not a finite number is left out: an SQL store has no way to hold it.
    """
    summary = result.summary()
    groups = {name: summary[name] for name in ("metrics", "baselines", "calibration", "returns", "funnel")}
    groups["verdict"] = {"t_g": result.verdict.t_g, "p_g": result.verdict.p_g, "t_d": result.verdict.t_d}
    for key, value in _flat(groups):
        if _is_figure(value):
            yield key, float(value), 0
    for step, row in enumerate(result.windows.to_dict("records")):
        for column, value in row.items():
            if _is_figure(value):
                yield f"window.{column}", float(value), step


def _flat(values: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value


def _is_figure(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
