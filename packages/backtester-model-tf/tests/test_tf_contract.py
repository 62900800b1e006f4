"""The contract that every adapter keeps: a classifier of windows, and a regression of rows."""

from __future__ import annotations

from typing import Any, ClassVar

from backtester_model_core.testing import AdapterContract

TRAINING: dict[str, Any] = {"epochs": 5, "batch_size": 50, "learning_rate": 0.05}


class TestWindowsAndRows(AdapterContract):
    framework = "tensorflow"
    random = True
    classification: ClassVar = {
        "lookback_period": 3,
        "model_architecture": {"layers": [{"type": "lstm", "units": 8}]},
        "training_config": TRAINING,
    }
    regression: ClassVar = {"training_config": TRAINING}
