"""Compiled loops of operators' steps, and what goes around them, each loaded once."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

from backtester_model_core.compiled import Address, check_native, load_native, native_function
from backtester_model_core.exceptions import ExpressionError, MissingExtraError
from backtester_model_core.features.definition import Operator
from backtester_model_core.features.kernel_source import (
    DRIVE_SOURCE,
    GATHER_SOURCE,
    WRITE_SOURCE,
    kernel_source,
)


@functools.cache
def load_loop(operator: Operator) -> Address:
    """Return the address of an operator's step as a compiled loop, from the cache directory when it is there.

    Raises:
        MissingExtraError: Without numba.
        ExpressionError: When numba cannot compile the step.
    """
    check_native("Compiling features")
    source = kernel_source(operator)
    try:
        return load_native(operator.step.__name__, source)
    except MissingExtraError:
        raise
    except Exception as error:  # numba's passes raise what they will; all of it means the same here
        raise ExpressionError(
            f"numba cannot compile the step {operator.step.__name__!r}. Give its operator compiled=False to run it "
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
