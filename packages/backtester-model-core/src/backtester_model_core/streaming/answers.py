"""A trained model as a stream asks it: one row at a time, by the fastest way there is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from backtester_model_core.exceptions import NotTrainedError, PredictionError
from backtester_model_core.model import BaseModel
from backtester_model_core.plugins import plugins
from backtester_model_core.signals import SignalPolicy
from backtester_model_core.typing import RowStep


class Foreseen(NamedTuple):
    """What a model foresees for one bar.

    Attributes:
        expected: The regression value, or the sum of class times probability; NaN where nothing is foreseen.
        probability: Of each class; ``None`` for regression, and where nothing is foreseen.
        scale: Volatility of what is foreseen; NaN where unknown.
    """

    expected: float
    probability: Sequence[float] | None
    scale: float


class Answers:
    """A model's forecasts of single rows, and the policy that goes with them.

    A row goes to the adapter's ``compile_step`` where it has one, else to the model's own forecast; through the
    hooks only where an extension wraps ``backtester_predict``.

    Attributes:
        trained_to: UTC nanoseconds at which the latest label that the model learned from was known; what it
            foresees of earlier bars is no evidence of anything.

    Args:
        model: A trained model.
        policy: How its forecasts become signals; its own when not given.
        fast: Whether ``compile_step`` may be used.

    Raises:
        NotTrainedError: Before training.
    """

    def __init__(self, model: BaseModel, policy: SignalPolicy | None = None, *, fast: bool = True) -> None:
        if not model.is_trained:
            raise NotTrainedError.before(model.config.model_name, "serve live bars")
        self.model = model
        self.policy = model.policy if policy is None else policy
        self.baseline = float(np.mean(self.policy.baseline)) if model.classes is None else model.baseline
        self.trained_to = trained_to(model)
        self.step: RowStep | None = model.row_step() if fast else None
        self._hooked = plugins().is_wrapped(model.config.framework, "backtester_predict")
        self._classes = model.classes
        self._is_binary = model.classes == (0.0, 1.0)

    def gated(self, *, may_trade: bool) -> None:
        """Let signals through, or not."""
        if self.policy.may_trade != may_trade:
            self.policy = replace(self.policy, may_trade=may_trade)

    def foresee(self, row: Any, scale: float) -> Foreseen:
        """Ask about one complete row: a list of p values, or a (context_rows + 1, p) window.

        Raises:
            PredictionError: When the answer is not finite.
        """
        answer: Any = self._ask(row) if self.step is None or self._hooked else self.step(row)
        if self._classes is None:
            expected, probability = float(answer), None
        elif self._is_binary:
            expected, probability = answer[1], answer
        else:
            expected, probability = (
                sum(p * value for p, value in zip(answer, self._classes, strict=True)),
                answer,
            )
        if expected - expected != 0.0:
            raise PredictionError(
                f"The model {self.model.config.model_name!r} gave a NaN or infinite forecast on a complete row. "
                "Its training has probably diverged; normalise the features or lower the learning rate."
            )
        # a named tuple's constructor is a detour to this
        return tuple.__new__(Foreseen, (expected, probability, scale))

    def _ask(self, row: Any) -> Any:
        """Ask the model as a whole panel would."""
        model = self.model
        values = np.ascontiguousarray(row, dtype=np.float64)
        values = values.reshape(-1, values.shape[-1])
        if self._hooked:
            stamps = pd.date_range("2000-01-01", periods=len(values), name="timestamp")
            prediction = model.predict_distribution(
                pd.DataFrame(values, index=stamps, columns=list(model.columns))
            )
            found = prediction.expected if prediction.probability is None else prediction.probability
            return found[-1]
        if model.context_rows:
            return model.forecast_sequences(values, np.array([len(values) - 1]))[0]
        return model.forecast(values)[0]


def trained_to(model: BaseModel) -> int:
    """Return when, in UTC nanoseconds, the latest training label was known, or the latest row where none has an end."""
    known = "unknown" if model.report is None else model.report.trained_to
    if known == "unknown" and model.trained_on is not None:
        known = model.trained_on.last
    return int(pd.Timestamp(known).value)
