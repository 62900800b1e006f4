"""Real runs in a real SQLite store: what was found is there, to the last bit, and no result depends on it."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from backtester_model_core import walk_forward
from backtester_model_core.plugins import Plugins, plugins, use_plugins
from backtester_model_core.testing import EchoAdapter, ExtensionContract, random_bars
from mlflow.tracking import MlflowClient

import backtester_model_mlflow.extension as extension

FIELDS = {"framework": "echo", "model_name": "tracked", "random_state": 3}


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store without runs, to copy: MLflow takes seconds to lay out its tables."""
    database = tmp_path_factory.mktemp("empty") / "runs.db"
    MlflowClient(f"sqlite:///{database}").search_experiments()
    return database


@pytest.fixture
def store(empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Point MLflow to a store of the test's own."""
    address = f"sqlite:///{shutil.copy(empty, tmp_path)}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.chdir(tmp_path)
    return address


@pytest.mark.usefixtures("store")
class TestContract(ExtensionContract):
    entry_point = "mlflow"


def walked(*, tracked: bool = True, **fields: Any) -> Any:
    own = Plugins(discover=False)
    with use_plugins(own):
        own.register_adapter("echo", EchoAdapter)
        if tracked:
            own.register_extension("mlflow", extension)
        return walk_forward({**FIELDS, **fields}, random_bars(700))


def test_it_is_found_by_its_entry_point_and_mlflow_is_not_imported_for_that() -> None:
    listed = {info.name: info for info in plugins().listing() if info.kind == "extension"}

    assert listed["mlflow"].state == "loaded"
    assert "MlflowClient" not in vars(extension)


def test_a_run_holds_parameters_metrics_and_the_verdict(store: str) -> None:
    result = walked()

    client = MlflowClient(store)
    experiment = client.get_experiment_by_name("tracked")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.tags["verdict.sentence"] == result.verdict.sentence
    assert run.data.params["random_state"] == "3"
    assert run.data.params["validation.scheme"] == result.config.validation.scheme
    assert run.data.metrics["metrics.accuracy"] == result.metrics["accuracy"]
    figures = {key: value for key, value, _ in extension.metrics_of(result)}  # of a window's, the last
    assert run.data.metrics == figures
    steps = client.get_metric_history(run.info.run_id, "window.n_train")
    in_order = [each.value for each in sorted(steps, key=lambda each: each.step)]
    assert in_order == list(result.windows["n_train"])


def test_runs_of_one_model_stand_side_by_side(store: str) -> None:
    walked(loudness=1.0)
    walked(loudness=0.5)

    client = MlflowClient(store)
    runs = client.search_runs([client.get_experiment_by_name("tracked").experiment_id])
    assert {run.data.params["loudness"] for run in runs} == {"1.0", "0.5"}


def test_no_result_depends_on_it(store: str) -> None:
    with_it, without = walked(), walked(tracked=False)

    assert with_it.signals.equals(without.signals)
    assert with_it.predictions.equals(without.predictions)


def test_without_an_address_the_store_is_an_sqlite_file_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)

    walked()

    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        assert database.execute("select count(*) from runs where status = 'FINISHED'").fetchone() == (1,)
    database.close()


def test_what_is_no_finite_figure_is_left_out() -> None:
    metrics = list(extension.metrics_of(walked(tracked=False)))

    assert all(abs(value) < float("inf") for _, value, _ in metrics)
    assert len({(key, step) for key, _, step in metrics}) == len(metrics)
