"""What an operator is: a step function, and what is known about it beforehand."""

from __future__ import annotations

import numbers
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from backtester_model_core.exceptions import ExpressionError
from backtester_model_core.features.steps import State

MAX_BARS = 10_000
"""The longest lag or window, in bars."""


@dataclass(frozen=True)
class Parameter:
    """A whole number of bars that an operator takes after its inputs.

    Attributes:
        name: ``lag`` or ``window``, as messages call it.
        minimum: The smallest value that makes sense; at least 1, for 0 or less would look ahead.
    """

    name: str
    minimum: int = 1
    whole: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.minimum < 1:
            raise ExpressionError(
                f"The parameter {self.name!r} allows {self.minimum}; it counts bars back, so from 1."
            )

    def accept(self, operator: str, value: object) -> float:
        """Return a number of bars as an int, or refuse what is none or out of bounds.

        Raises:
            ExpressionError: With the bounds and, for 0 or less, the reason.
        """
        if isinstance(value, bool) or not isinstance(value, numbers.Integral):
            raise ExpressionError(f"{operator}: the {self.name} is a whole number of bars, not {value}.")
        bars = int(value)
        if self.minimum <= bars <= MAX_BARS:
            return bars
        reason = " It counts bars back: zero or less would look ahead." if bars < 1 else ""
        raise ExpressionError(
            f"{operator}: the {self.name} is {bars}, but goes from {self.minimum} to {MAX_BARS:,} bars.{reason}"
        )


@dataclass(frozen=True)
class Level(Parameter):
    """A share from 0 to 1 that an operator takes after its inputs, such as that of a quantile."""

    whole: ClassVar[bool] = False

    def accept(self, operator: str, value: object) -> float:
        """Return a share as a float, or refuse what is none.

        Raises:
            ExpressionError: With the bounds.
        """
        if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0.0 <= float(value) <= 1.0:
            raise ExpressionError(f"{operator}: the {self.name} is a number from 0 to 1, not {value}.")
        return float(value) + 0.0  # -0.0 becomes 0.0: equal trees give equal texts


@dataclass(frozen=True)
class Halves:
    """A step in two, so that compiled loops take a value in once for all that is answered from it.

    The step is ``answer`` where ``take`` says that there is an answer, and NaN elsewhere.

    Attributes:
        take: Called as the step is; brings the state up to date and tells whether there is an answer.
        kept: Places in the state of the numbers that are answered from.
        answer: Called ``answer(*inputs, *parameters, *kept)``.
    """

    take: Callable[..., bool]
    kept: tuple[int, ...]
    answer: Callable[..., float]


@dataclass(frozen=True)
class Operator:
    """A step function and what is known about it beforehand.

    With a state the step is called ``step(state, *inputs, *parameters)`` for each bar of a symbol in turn, and
    without one ``step(*inputs)``. It returns one float.

    Attributes:
        step: One bar in, one value out; its first docstring line says what it is.
        inputs: Names of its inputs.
        parameters: Its whole numbers of bars, given after the inputs.
        state: From the parameters to a fresh state; ``None`` when a bar's value depends on that bar alone.
        warm_up: From the parameters to the number of leading rows that are NaN.
        memory: From the parameters to the number of earlier rows after which older ones no longer matter;
            ``None`` when that is the warm-up.
        anchored: Whether a value depends on the first bar for ever, as a cumulative sum does, so that no number
            of earlier rows is enough.
        answers_unknown: Whether it gives a value where its inputs are unknown, so that their warm-up is not its own.
        ufunc: A NumPy function equal to the step in every bit, for whole columns. Only a true ufunc is allowed
            and only without a state: it takes element by element, so it cannot look ahead either.
        compiled: Whether numba can compile the step. One that it cannot, such as a call of SciPy, is run as it is.
        halves: The step in two, where other operators of the same state take values in alike.
    """

    step: Callable[..., float]
    inputs: tuple[str, ...] = ("x",)
    parameters: tuple[Parameter, ...] = ()
    state: Callable[..., State] | None = None
    warm_up: Callable[..., int] | None = None
    memory: Callable[..., int] | None = None
    ufunc: np.ufunc | None = None
    compiled: bool = True
    anchored: bool = False
    answers_unknown: bool = False
    halves: Halves | None = None

    def __post_init__(self) -> None:
        if not self.inputs:
            raise ExpressionError(
                "An operator has at least one input: without one nothing tells it of a bar."
            )
        if self.state is None and (self.parameters or self.warm_up or self.memory or self.anchored):
            raise ExpressionError(
                "An operator with parameters, a warm-up or a memory counts bars: give it a state."
            )
        if self.ufunc is not None and not self._is_elementwise(self.ufunc):
            raise ExpressionError(
                f"{self.ufunc!r} cannot stand for a step over whole columns. Only a NumPy ufunc of "
                f"{len(self.inputs)} inputs can, and only without a state: anything else could look ahead."
            )

    @property
    def signature(self) -> str:
        """What it takes, such as ``(x, window)``."""
        return f"({', '.join([*self.inputs, *(parameter.name for parameter in self.parameters)])})"

    @property
    def summary(self) -> str:
        """What it returns, in one line."""
        return (self.step.__doc__ or "").strip().partition("\n")[0]

    def new_state(self, parameters: tuple[float, ...]) -> State | None:
        """Return the state before the first bar, or ``None`` when there is none to keep."""
        return None if self.state is None else self.state(*parameters)

    def warm_up_bars(self, parameters: tuple[float, ...]) -> int:
        """Return the number of leading rows that are NaN when the inputs have none."""
        return 0 if self.warm_up is None else self.warm_up(*parameters)

    def memory_bars(self, parameters: tuple[float, ...]) -> int:
        """Return how many earlier rows matter to a value."""
        return self.warm_up_bars(parameters) if self.memory is None else self.memory(*parameters)

    def _is_elementwise(self, ufunc: object) -> bool:
        return (
            self.state is None
            and isinstance(ufunc, np.ufunc)
            and ufunc.signature is None
            and (ufunc.nin, ufunc.nout) == (len(self.inputs), 1)
        )
