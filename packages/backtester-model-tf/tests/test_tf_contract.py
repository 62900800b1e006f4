"""The contract that every adapter keeps, for rows and for windows."""

from __future__ import annotations

from typing import ClassVar

from backtester_model_core.testing import AdapterContract

QUICK = {"epochs": 5, "batch_size": 50, "learning_rate": 0.05}


class TestDense(AdapterContract):
    framework = "tensorflow"
    classification: ClassVar = {"training_config": QUICK}
    regression: ClassVar = {
        "model_architecture": {"layers": [{"type": "dense", "units": 8, "activation": "tanh"}]},
        "training_config": QUICK,
    }
