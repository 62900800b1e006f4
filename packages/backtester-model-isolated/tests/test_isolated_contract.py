"""The contract that every adapter keeps, kept by adapters of another environment."""

from __future__ import annotations

import sys

import pytest

from backtester_model_core.testing import AdapterContract, ModelContract
from backtester_model_isolated.interpreters import INTERPRETERS

HERE = {"python": sys.executable, "adapter": "sklearn"}
LOGISTIC = {**HERE, "options": {"model_class": "LogisticRegression"}}
RIDGE = {**HERE, "options": {"model_class": "Ridge"}}


@pytest.fixture(autouse=True)
def every_interpreter_of_this_page(monkeypatch, elsewhere):
    monkeypatch.setenv(INTERPRETERS, f"{elsewhere}:{sys.executable}")


class TestWindowsElsewhere(ModelContract):
    """An adapter that looks back over rows, of an environment that this one does not share."""

    framework = "isolated"

    @pytest.fixture(autouse=True)
    def _at(self, elsewhere):
        type(self).classification = type(self).regression = {"python": elsewhere, "adapter": "windowed"}


class TestSklearnElsewhere(AdapterContract):
    """An adapter that takes rows of a framework, by the same interpreter in a process of its own."""

    framework = "isolated"
    classification = LOGISTIC
    regression = RIDGE
