"""A step function as source text that numba can cache: the step, all that it calls, and a loop over bars."""

from __future__ import annotations

from backtester_model_core.compiled import COMPILED, HEADER, join_source, write_functions
from backtester_model_core.exceptions import ExpressionError
from backtester_model_core.features.definition import Operator


def kernel_source(operator: Operator) -> str:
    """Return the text of a module whose ``kernel`` runs an operator's step over consecutive rows.

    ``kernel(states, symbols, *inputs, out, *parameters)`` takes a float64 array with a state of each symbol in its
    rows, which it changes, and an int64 array with each row's symbol; without a state no such two. Each input and
    the output is a contiguous float64 array with a value of each row.

    Raises:
        ExpressionError: When the step, or a function it calls, cannot be written out.
    """
    step = operator.step
    try:
        written = write_functions([step])
    except ValueError as error:
        raise ExpressionError(
            f"The step {error}. Give its operator compiled=False to run it as it is."
        ) from error
    inputs = [f"x{place}" for place in range(len(operator.inputs))]
    parameters = [f"p{place}" for place in range(len(operator.parameters))]
    remembers = operator.state is not None
    states = ["states", "symbols"] if remembers else []
    types = ["float64[:, ::1]", "int64[::1]"] if remembers else []
    types += ["float64[::1]"] * (len(inputs) + 1)
    types += ["int64" if parameter.whole else "float64" for parameter in operator.parameters]
    arguments = [*(["state"] if remembers else []), *(f"{name}[row]" for name in inputs), *parameters]
    loop = [
        f'@njit("void({", ".join(types)})", cache=True, nogil=True, {COMPILED})',
        f"def kernel({', '.join([*states, *inputs, 'out', *parameters])}):",
        "    for row in range(out.shape[0]):",
        f"        out[row] = {written.names[0]}({', '.join(arguments)})",
    ]
    if remembers:
        loop.insert(2, "    first, size = states.ctypes.data, states.shape[1]")
        loop.insert(4, "        state = carray(floats_at(first + 8 * size * symbols[row]), size)")
    return join_source(HEADER, *written.parts, "\n".join(loop))


WRITER_SOURCE = f'''"""Generated; made again when it is missing."""

from numba import njit

NAN = float("nan")


@njit("void(float64[:, :], int64[::1], int64[::1], float64[:, ::1])", cache=True, nogil=True, {COMPILED})
def kernel(values, outputs, rows, features):
    for at in range(rows.shape[0]):
        row = rows[at]
        for column in range(outputs.shape[0]):
            value = values[outputs[column], at]
            features[row, column] = value if value - value == 0.0 else NAN
'''
"""The text of a module whose ``kernel`` writes some of the values' rows into columns, with NaN for what is infinite."""
