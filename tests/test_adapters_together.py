"""Any two adapters train in one process, in either order: each pair in a child of its own, since a clash aborts it."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations

import pytest

FRAMEWORKS = {
    "sklearn": ("backtester_model_sklearn", {"model_class": "HistGradientBoostingClassifier"}),
    "scipy": ("backtester_model_scipy", {"model": "logistic"}),
    "pytorch": ("backtester_model_torch", {"model_architecture": {"layers": [{"type": "lstm", "units": 4}]}}),
    "tensorflow": ("backtester_model_tf", {"model_architecture": {"layers": [{"type": "lstm", "units": 4}]}}),
}
EPOCHS = {"training_config": {"epochs": 1}}

CHILD = """
import sys
from backtester_model_core import ModelFactory, load_config
from backtester_model_core.testing import random_bars

bars = random_bars(160, seed=1)
for fields in {fields!r}:
    model = ModelFactory.create(fields["framework"], load_config(fields))
    model.train_dataset(model.prepare(bars))
    assert len(model.generate_signals(bars)) == 160
    print(fields["framework"])
"""


def fields_of(framework):
    deep = EPOCHS if framework in {"pytorch", "tensorflow"} else {}
    return {"framework": framework, "lookback_period": 5, **FRAMEWORKS[framework][1], **deep}


def trained_in_a_child(pair):
    code = CHILD.format(fields=[fields_of(framework) for framework in pair])
    quiet = {**os.environ, "OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, env=quiet, timeout=300
    )
    return done.returncode, done.stdout.split(), done.stderr[-2000:]


def test_every_ordered_pair_trains_in_one_process():
    for module, _ in FRAMEWORKS.values():
        pytest.importorskip(module)
    pairs = list(permutations(FRAMEWORKS, 2))

    with ThreadPoolExecutor(2) as pool:
        outcomes = dict(zip(pairs, pool.map(trained_in_a_child, pairs), strict=True))

    failed = {pair: outcome for pair, outcome in outcomes.items() if outcome[:2] != (0, list(pair))}
    assert failed == {}
