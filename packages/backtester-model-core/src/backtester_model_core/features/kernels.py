"""Operators' steps as compiled loops, loaded once."""

from __future__ import annotations

import functools

from backtester_model_core.compiled import Kernel, check_numba, load_kernel
from backtester_model_core.exceptions import ExpressionError
from backtester_model_core.features.definition import Operator
from backtester_model_core.features.kernel_source import WRITER_SOURCE, kernel_source


@functools.cache
def load_loop(operator: Operator) -> Kernel:
    """Return an operator's step as a compiled loop, from the cache directory when it is there.

    Raises:
        MissingExtraError: Without numba.
        ExpressionError: When numba cannot compile the step.
    """
    check_numba("Compiling features")
    source = kernel_source(operator)
    try:
        return load_kernel(operator.step.__name__, source)
    except Exception as error:  # numba's passes raise what they will; all of it means the same here
        raise ExpressionError(
            f"numba cannot compile the step {operator.step.__name__!r}. Give its operator compiled=False to run it "
            f"as it is. {error}"
        ) from error


@functools.cache
def load_writer() -> Kernel:
    """Return the compiled loop that writes features' rows, from the cache directory when it is there.

    Raises:
        MissingExtraError: Without numba.
    """
    check_numba("Compiling features")
    return load_kernel("write_rows", WRITER_SOURCE)
