"""Compiled loops of operators' steps, and what goes around them, each loaded once."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from backtester_model_core.compiled import Address, check_native, load_native, native_function
from backtester_model_core.exceptions import ExpressionError, MissingExtraError
from backtester_model_core.features.definition import Operator
from backtester_model_core.features.kernel_source import (
    DRIVE_SOURCE,
    GATHER_SOURCE,
    WRITE_SOURCE,
    answer_source,
    step_source,
    take_source,
)


@dataclass(frozen=True)
class StepLoop:
    """An operator's step as a compiled loop, or as two.

    Attributes:
        answer: The loop that gives the output: of the step, or of its second half.
        take: The loop of its first half.
        n_kept: How many numbers of each row the first half hands to the second.
    """

    answer: Address
    take: Address | None = None
    n_kept: int = 0


@functools.cache
def load_loop(operator: Operator) -> StepLoop:
    """Return an operator's step as compiled loops, from the cache directory when they are there.

    Raises:
        MissingExtraError: Without numba.
        ExpressionError: When numba cannot compile the step.
    """
    check_native("Compiling features")
    halves = operator.halves
    if halves is None:
        return StepLoop(_load(operator.step, step_source(operator)))
    return StepLoop(
        answer=_load(halves.answer, answer_source(operator, halves)),
        take=_load(halves.take, take_source(operator, halves)),
        n_kept=len(halves.kept),
    )


def _load(function: Callable[..., Any], source: str) -> Address:
    try:
        return load_native(function.__name__, source)
    except MissingExtraError:
        raise
    except Exception as error:  # numba's passes raise what they will; all of it means the same here
        raise ExpressionError(
            f"numba cannot compile the step {function.__name__!r}. Give its operator compiled=False to run it "
            f"as it is. {error}"
        ) from error


@dataclass(frozen=True)
class Loops:
    """The loops around the operators'.

    Attributes:
        gather: Takes values of a column.
        write: Writes rows of features.
        drive: Takes rows through one call after another; see ``DRIVE_SOURCE``.
    """

    gather: Address
    write: Address
    drive: Callable[[int, int, int, int, int], int]


@functools.cache
def load_loops() -> Loops:
    """Return the compiled loops around the operators', from the cache directory when they are there.

    Raises:
        MissingExtraError: Without numba.
    """
    check_native("Compiling features")
    return Loops(
        gather=load_native("gather", GATHER_SOURCE),
        write=load_native("write_rows", WRITE_SOURCE),
        drive=native_function(load_native("drive", DRIVE_SOURCE), 5),
    )
