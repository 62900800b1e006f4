"""The feature operators that this package brings, registered through the core's hook."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from backtester_model_core.exceptions import ExpressionError
from backtester_model_core.features import Operator, Parameter
from backtester_model_core.features.window_steps import window_state
from backtester_model_core.hookspecs import hookimpl
from backtester_model_scipy import signal_steps


@dataclass(frozen=True)
class Count(Parameter):
    """A small whole number that is no number of bars, such as a filter's order.

    Attributes:
        maximum: The largest value that makes sense.
    """

    maximum: int = 8
    whole: ClassVar[bool] = True

    def accept(self, operator: str, value: object) -> float:
        """Return the number as an int, or refuse what is none or out of bounds.

        Raises:
            ExpressionError: With the bounds.
        """
        if isinstance(value, bool) or not isinstance(value, int) or not self.minimum <= value <= self.maximum:
            raise ExpressionError(
                f"{operator}: the {self.name} is a whole number from {self.minimum} to {self.maximum}, not {value}."
            )
        return value


def _until_full(window: int, *_: int) -> int:
    return window - 1


def _both_sides(lag: int) -> int:
    return 2 * lag


ORDER = Count("order")
DEGREE = Count("degree")

OPERATORS = {
    "butterworth_lowpass": Operator(
        signal_steps.butterworth_lowpass,
        parameters=(Parameter("period", 3), ORDER),
        state=signal_steps.lowpass_state,
        warm_up=_until_full,
        memory=signal_steps.filter_memory,
    ),
    "butterworth_highpass": Operator(
        signal_steps.butterworth_highpass,
        parameters=(Parameter("period", 3), ORDER),
        state=signal_steps.highpass_state,
        warm_up=_until_full,
        memory=signal_steps.filter_memory,
    ),
    "savgol": Operator(
        signal_steps.savgol,
        parameters=(Parameter("window", 2), DEGREE),
        state=signal_steps.smoother_state,
        warm_up=_until_full,
    ),
    "detrend": Operator(
        signal_steps.detrend,
        parameters=(Parameter("window", 2), DEGREE),
        state=signal_steps.smoother_state,
        warm_up=_until_full,
    ),
    "spectral_energy": Operator(
        signal_steps.spectral_energy,
        parameters=(Parameter("window", 4), Parameter("shortest", 2), Parameter("longest", 2)),
        state=signal_steps.spectrum_state,
        warm_up=_until_full,
        compiled=False,
    ),
    "rolling_entropy": Operator(
        signal_steps.rolling_entropy,
        parameters=(Parameter("window", 2), Count("bins", 2, maximum=100)),
        state=signal_steps.counting_state,
        warm_up=_until_full,
    ),
    "permutation_entropy": Operator(
        signal_steps.permutation_entropy,
        parameters=(Parameter("window", 3),),
        state=signal_steps.patterns_state,
        warm_up=_until_full,
    ),
    "hurst": Operator(
        signal_steps.hurst,
        parameters=(Parameter("window", 16),),
        state=window_state,
        warm_up=_until_full,
    ),
    "rolling_jarque_bera": Operator(
        signal_steps.rolling_jarque_bera,
        parameters=(Parameter("window", 3),),
        state=window_state,
        warm_up=_until_full,
    ),
    "peak_state": Operator(
        signal_steps.peak_state,
        parameters=(Parameter("lag"),),
        state=signal_steps.peak_memory,
        warm_up=_both_sides,
        anchored=True,
    ),
}


@hookimpl
def backtester_register(registry: Any) -> None:
    """Register the operators."""
    for name, operator in OPERATORS.items():
        registry.add_operator(name, operator)
