"""Two ways to take a bar into a symbol's memory: the step functions as they are, and all of them compiled as one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate, pairwise
from typing import Literal, Protocol, TypeAlias

import numpy as np

from backtester_model_core.compiled import Kernel, check_numba, load_kernel, numba_is_here
from backtester_model_core.exceptions import ExpressionError, MissingExtraError
from backtester_model_core.features.plan import Plan
from backtester_model_core.features.primitives import INF, NAN
from backtester_model_core.features.row_source import (
    PLAIN_FUNCTION,
    compiled_row_source,
    plain_row_source,
    state_sizes,
)

logger = logging.getLogger(__name__)

StreamEngine: TypeAlias = Literal["auto", "python", "compiled"]

States: TypeAlias = Sequence[Sequence[float]]
"""The state of each call that has one."""


class Memory(Protocol):
    """What is remembered of one symbol.

    Attributes:
        update: Takes the values of a bar's columns, and returns the features.
    """

    update: Callable[..., list[float]]

    def states(self) -> list[list[float]]:
        """Return a copy of the state of each call that has one."""


class PlainMemory:
    """States as lists, which the step functions change as they are."""

    def __init__(self, update: Callable[..., list[float]], states: States) -> None:
        self._states = [list(state) for state in states]
        self.update: Callable[..., list[float]] = partial(update, self._states)

    def states(self) -> list[list[float]]:
        """Return a copy of each state."""
        return [list(state) for state in self._states]


class CompiledMemory:
    """Features and states in one array, which compiled code knows by its address."""

    def __init__(self, kernel: Kernel, n_outputs: int, states: States) -> None:
        self._memory = np.array([*[NAN] * n_outputs, *(value for state in states for value in state)])
        self._places = list(pairwise(accumulate(map(len, states), initial=n_outputs)))
        address = self._memory.ctypes.data
        read: Callable[[], list[float]] = self._memory[:n_outputs].tolist

        def update(*values: float) -> list[float]:
            kernel(address, *values)
            return read()

        self.update: Callable[..., list[float]] = update

    def states(self) -> list[list[float]]:
        """Return a copy of each state."""
        return [self._memory[first:end].tolist() for first, end in self._places]


def memory_maker(plan: Plan, engine: StreamEngine) -> Callable[[States], Memory]:
    """Return what makes a symbol's memory from the states that it begins with.

    Raises:
        ExpressionError: When ``compiled`` is asked for and a step cannot be compiled.
        MissingExtraError: When ``compiled`` is asked for without numba.
    """
    if engine == "compiled" or (engine == "auto" and _may_compile(plan)):
        try:
            return partial(CompiledMemory, _compiled_update(plan), len(plan.outputs))
        except (ExpressionError, MissingExtraError) as error:
            if engine == "compiled":
                raise
            logger.warning("Features are streamed in plain Python: %s", error)
    return partial(PlainMemory, _plain_update(plan))


def _may_compile(plan: Plan) -> bool:
    return numba_is_here() and all(planned.operator.compiled for planned in plan.calls)


def _compiled_update(plan: Plan) -> Kernel:
    check_numba("Compiling features")
    source = compiled_row_source(plan)
    try:
        return load_kernel("update", source)
    except Exception as error:  # numba's passes raise what they will; all of it means the same here
        raise ExpressionError(
            f"numba cannot compile these features together: {error}. Stream them by engine 'python'."
        ) from error


def _plain_update(plan: Plan) -> Callable[..., list[float]]:
    """Return one function for the whole plan: going through a list of calls would cost as much again."""
    scope: dict[str, object] = {"_NAN": NAN, "_INF": INF}
    scope |= {f"step_{call}": planned.operator.step for call, planned in enumerate(plan.calls)}
    exec(plain_row_source(plan), scope)  # noqa: S102 - made of places and numbers; no text of a user's is in it
    update: Callable[..., list[float]] = scope[PLAIN_FUNCTION]  # type: ignore[assignment]
    return update


__all__ = ["Memory", "States", "StreamEngine", "memory_maker", "state_sizes"]
