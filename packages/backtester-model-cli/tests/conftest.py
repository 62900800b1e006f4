"""What the tests of the command share: bars and configurations as files, and two ways to run a command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from backtester_model_cli.main import app
from backtester_model_core.testing import random_bars

COMMAND = str(Path(sys.executable).with_name("backtester-model"))

SMALL: Mapping[str, Any] = {
    "model_name": "small",
    "framework": "sklearn",
    "validation": {"train_size": 120, "test_size": 40},
    "gate": {"mode": "warn"},
    "confidence_threshold": 0.52,
}


def heed_ctrl_c() -> None:
    """Let a child be interrupted though these tests may have been started in the background, which is not."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def invoke() -> Callable[..., Result]:
    """Run a command in this process."""

    def run(*arguments: str | Path) -> Result:
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return run


@pytest.fixture
def start() -> Callable[..., subprocess.Popen[str]]:
    """Start a command as a process of its own, with one OpenMP thread."""

    def run(*arguments: str | Path, **options: Any) -> subprocess.Popen[str]:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **options.pop("env", {})}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "preexec_fn": heed_ctrl_c, **options}
        return subprocess.Popen([COMMAND, *map(str, arguments)], text=True, env=environment, **pipes)

    return run


@pytest.fixture
def write_config(tmp_path: Path) -> Callable[..., Path]:
    """Write a small configuration, with changes, as a file."""

    def write(name: str = "small.json", **changes: Any) -> Path:
        path = tmp_path / name
        path.write_text(json.dumps({**SMALL, **changes}))
        return path

    return write


@pytest.fixture
def bars_csv(tmp_path: Path) -> Path:
    """One symbol's 300 daily bars, as people have them: Title-case columns, and dates in the first."""
    frame = random_bars(300).rename(columns=str.title)
    frame.to_csv(tmp_path / "SPY.csv", index_label="Date")
    return tmp_path / "SPY.csv"


@pytest.fixture
def panel() -> pd.DataFrame:
    """Three symbols' 300 daily bars in one long frame."""
    frames = {name: random_bars(300, seed=seed) for seed, name in enumerate(("AAA", "BBB", "CCC"))}
    return pd.concat(frames, names=["symbol", "timestamp"]).reset_index()
