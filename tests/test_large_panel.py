"""A hundred symbols over ten years through the command, as a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from backtester_model_core.testing import random_panel

COMMAND = Path(sys.executable).with_name("backtester-model")
CONFIG = {
    "framework": "sklearn",
    "confidence_threshold": 0.52,
    "validation": {"train_size": 1260, "test_size": 315},
    "gate": {"mode": "warn"},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> tuple[dict, Path]:
    folder = tmp_path_factory.mktemp("panel")
    random_panel(100, 2520).to_parquet(folder / "panel.parquet")
    (folder / "model.json").write_text(json.dumps(CONFIG))
    done = subprocess.run(
        [COMMAND, "run", "model.json", "--bars", "panel.parquet", "--out", "run", "--json"],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), folder / "run"


def test_every_bar_of_every_symbol_has_a_signal(run) -> None:
    _, out = run

    signals = pd.read_parquet(out / "signals.parquet")

    assert signals.groupby(level="symbol").size().tolist() == [2520] * 100


def test_the_second_half_is_served_in_four_windows(run) -> None:
    result, _ = run

    assert result["n_windows"] == 4
    assert result["funnel"]["served"] == 100 * 1260


def test_random_walks_show_no_skill(run) -> None:
    result, _ = run

    assert result["verdict"]["outcome"] != "skill"
    assert result["verdict"]["n_decision_times"] == 1258  # the last two sessions' outcomes are still to come
