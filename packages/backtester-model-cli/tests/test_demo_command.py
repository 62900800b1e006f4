from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import tomllib
from importlib.resources import files
from pathlib import Path

import pandas as pd
import pytest

from backtester_model_core.plugins import Plugins, use_plugins


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def done(folder):
    """The demonstration, run once as a user would: in an empty folder, without an option."""
    command = Path(sys.executable).with_name("backtester-model")
    started = time.perf_counter()
    finished = subprocess.run(
        [command, "demo"],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    finished.seconds = time.perf_counter() - started
    return finished


def test_the_demonstration_runs_in_less_than_a_minute(done) -> None:
    assert done.returncode == 0, done.stderr
    assert done.seconds < 60


def test_it_serves_all_symbols_in_twenty_to_thirty_windows(done, folder) -> None:
    out = folder / "backtester-model-demo"

    assert 20 <= json.loads((out / "metrics.json").read_text())["n_windows"] <= 30
    assert set(pd.read_csv(out / "signals.csv")["symbol"]) == {"AAPL", "FB", "GOOG", "IBM", "MSFT"}


def test_it_gives_signals_and_says_why_they_prove_nothing(done, folder) -> None:
    funnel = json.loads((folder / "backtester-model-demo" / "metrics.json").read_text())["funnel"]

    assert funnel["acted"] > 0
    assert 'gate.mode is "warn"' in " ".join(done.stdout.split())
    assert "picked knowing how they fared" in " ".join(done.stdout.split())


def test_its_configuration_is_a_file_to_copy(done) -> None:
    path = str(files("backtester_model_cli") / "demo.toml")

    values = tomllib.loads(Path(path).read_text())

    assert path in done.stdout
    assert values["confidence_threshold"] == 0.52
    assert values["gate"]["mode"] == "warn"


def test_its_configuration_validates_as_it_is(invoke) -> None:
    assert invoke("validate", files("backtester_model_cli") / "demo.toml").exit_code == 0


def test_without_the_adapter_it_is_one_sentence_with_the_command(invoke, tmp_path) -> None:
    with use_plugins(Plugins(discover=False)):
        refused = invoke("demo", "--out", tmp_path / "demo")

    assert refused.exit_code == 1
    assert refused.stdout == ""
    assert refused.stderr == (
        "Error: No adapter for framework 'sklearn'; installed: none. "
        "Try: pip install backtester-model-sklearn\n"
    )
