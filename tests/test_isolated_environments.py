"""TensorFlow in one environment and torch in another serve the same walk-forward from a third that has neither.

The variables ``BACKTESTER_MODEL_TF_PYTHON`` and ``BACKTESTER_MODEL_TORCH_PYTHON`` name the interpreters of two other
environments; ``nox -s isolated`` makes them.
"""

from __future__ import annotations

import importlib.util
import os
import pickle
import subprocess
from functools import cache
from pathlib import Path

import pandas as pd
import pytest

from backtester_model_core.testing import random_bars, random_panel
from backtester_model_core.walkforward import walk_forward

isolated = pytest.importorskip("backtester_model_isolated")

INTERPRETERS = {
    framework: os.environ.get(f"BACKTESTER_MODEL_{name}_PYTHON")
    for framework, name in (("tensorflow", "TF"), ("pytorch", "TORCH"))
}
pytestmark = pytest.mark.skipif(
    not all(INTERPRETERS.values()), reason="two other environments are needed: nox -s isolated"
)

WINDOWS = {
    "validation": {"train_size": 250, "test_size": 100},
    "lookback_period": 10,
    "gate": {"mode": "off"},
}
STOPPED = {"epochs": 4, "batch_size": 64, "early_stopping": {"patience": 1}}
MODELS = {
    "lstm": (
        {},
        {"model_architecture": {"layers": [{"type": "lstm", "units": 4}]}, "training_config": STOPPED},
    ),
    "dense": (
        {
            "model_type": "regression",
            "label": {"weighting": {"basis": "uniqueness"}},
            "prediction_horizon": 3,
        },
        {
            "model_architecture": {"layers": [{"type": "dense", "units": 8, "activation": "relu"}]},
            "training_config": {"epochs": 3},
        },
    ),
}

IN_PROCESS = """
import pickle, sys
from backtester_model_core.walkforward import walk_forward
results = [walk_forward(fields, bars) for fields, bars in pickle.load(sys.stdin.buffer)]
told = [(each.predictions, dict(each.signals), str(each.verdict)) for each in results]
sys.stdout.buffer.write(b"answer:" + pickle.dumps(told))
"""


def bars_of(model):
    return random_panel(3, 450, seed=1) if model == "lstm" else random_bars(550, seed=1)


@cache
def in_process(framework):
    """Walk every model forward inside its own environment, where nothing is isolated."""
    asked = [
        ({**WINDOWS, **shared, "framework": framework, **own}, bars_of(model))
        for model, (shared, own) in MODELS.items()
    ]
    done = subprocess.run(
        [INTERPRETERS[framework], "-I", "-c", IN_PROCESS],
        input=pickle.dumps(asked),
        capture_output=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    return dict(zip(MODELS, pickle.loads(done.stdout.partition(b"answer:")[2]), strict=True))


@pytest.fixture(autouse=True)
def both_allowed(monkeypatch):
    monkeypatch.setenv("BACKTESTER_MODEL_INTERPRETERS", os.pathsep.join(INTERPRETERS.values()))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def test_this_environment_has_neither_framework():
    assert [name for name in ("tensorflow", "keras", "torch") if importlib.util.find_spec(name)] == []


@pytest.mark.parametrize(("framework", "strange"), [("tensorflow", "torch"), ("pytorch", "tensorflow")])
def test_each_other_environment_has_one_framework(framework, strange):
    code = f"import importlib.util; print(importlib.util.find_spec({strange!r}) is None)"

    told = subprocess.run(
        [INTERPRETERS[framework], "-I", "-c", code], check=True, capture_output=True, text=True
    )

    assert told.stdout.strip() == "True"


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("framework", INTERPRETERS)
def test_a_walk_forward_from_here_is_to_the_bit_the_one_there(framework, model):
    shared, own = MODELS[model]
    away = {"framework": "isolated", "python": INTERPRETERS[framework], "adapter": framework, "options": own}

    result = walk_forward({**WINDOWS, **shared, **away}, bars_of(model))

    predictions, signals, verdict = in_process(framework)[model]
    assert result.predictions.equals(predictions)
    assert pd.DataFrame(dict(result.signals)).equals(pd.DataFrame(signals))
    assert str(result.verdict) == verdict
    assert predictions["expected"].notna().sum() > 100


def test_both_frameworks_serve_one_backtest(tmp_path):
    shared, own = MODELS["dense"]
    bars = bars_of("dense")

    results = {
        framework: walk_forward(
            {
                **WINDOWS,
                **shared,
                "framework": "isolated",
                "python": python,
                "adapter": framework,
                "options": own,
            },
            bars,
            out=Path(tmp_path, framework),
        )
        for framework, python in INTERPRETERS.items()
    }

    first, second = (result.predictions["expected"] for result in results.values())
    assert first.index.equals(second.index)
    assert (first.notna() == second.notna()).all()
    assert first.notna().sum() > 100
    assert not first.equals(second)
