"""Loops over consecutive rows as source text: an operator's step with all that it calls, and what goes around it.

Every loop is called as ``kernel(call, first, n)``. ``first`` is the first of ``n`` rows among those of a
computation, and ``call`` the address of what belongs to the call, whole numbers of eight bytes each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from backtester_model_core.compiled import (
    HEADER,
    NATIVE,
    NATIVE_HEADER,
    NATIVE_NAMES,
    join_source,
    write_functions,
)
from backtester_model_core.exceptions import ExpressionError
from backtester_model_core.features.definition import Halves, Operator

LOOP = f'@njit("void(intp, intp, intp)", error_model="numpy", {NATIVE})'

MEMORY = ("states", "size", "symbols")

LOCAL_NAMES = ("NAN", "call", "first", "known", "n", "out", "row", "state", *MEMORY)

PUT_OUT = "put_at(out, row, {result})"


def step_source(operator: Operator) -> str:
    """Return the text of a loop that runs an operator's step.

    To the call belong the addresses of each input's and the output's values for these rows; the parameters; and
    where the operator remembers something, the address of an array with a state of each symbol in its rows, how
    many numbers a state has, and the address of the symbols of all rows.

    Raises:
        ExpressionError: When the step, or a function it calls, cannot be written out.
    """
    return _source(
        operator, operator.step, outs=["out"], remembers=operator.state is not None, body=[PUT_OUT]
    )


def take_source(operator: Operator, halves: Halves) -> str:
    """Return the text of a loop that runs the first half of an operator's step.

    To the call belongs what belongs to one of a step, but that there is an output for each number that is kept.

    Raises:
        ExpressionError: When the half, or a function it calls, cannot be written out.
    """
    kept = _kept(halves)
    puts = [
        f"put_at({name}, row, state[{place}] if known else NAN)"
        for name, place in zip(kept, halves.kept, strict=True)
    ]
    return _source(operator, halves.take, outs=kept, remembers=True, body=["known = {result}", *puts])


def answer_source(operator: Operator, halves: Halves) -> str:
    """Return the text of a loop that runs the second half of an operator's step.

    To the call belong the addresses of each input's and the output's values for these rows, the parameters, and the
    addresses of what was kept.

    Raises:
        ExpressionError: When the half, or a function it calls, cannot be written out.
    """
    return _source(operator, halves.answer, outs=["out"], remembers=False, kept=_kept(halves), body=[PUT_OUT])


def _kept(halves: Halves) -> list[str]:
    return [f"k{number}" for number in range(len(halves.kept))]


def _source(
    operator: Operator,
    function: Callable[..., Any],
    *,
    outs: Sequence[str],
    remembers: bool,
    body: Sequence[str],
    kept: Sequence[str] = (),
) -> str:
    """Return the text of a loop whose ``body`` says what becomes of a function's ``{result}`` in each row.

    The function takes the state if it remembers, a value of each input, the parameters, and a value of all that was
    kept.
    """
    inputs = [f"x{number}" for number in range(len(operator.inputs))]
    parameters = [f"p{number}" for number in range(len(operator.parameters))]
    shares = {name for name, one in zip(parameters, operator.parameters, strict=True) if not one.whole}
    given = [*inputs, *outs, *parameters, *kept, *(MEMORY if remembers else ())]
    try:
        written = write_functions([function], reserved=[*NATIVE_NAMES, *LOCAL_NAMES, *given])
    except ValueError as error:
        raise ExpressionError(
            f"The step {error}. Give its operator compiled=False to run it as it is."
        ) from error
    arguments = [
        *(["state"] if remembers else []),
        *(f"number_at({name}, row)" for name in inputs),
        *parameters,
        *(f"number_at({name}, row)" for name in kept),
    ]
    result = f"{written.names[0]}({', '.join(arguments)})"
    address = "states + 8 * size * whole_at(symbols, first + row)"
    lines = [
        LOOP,
        "def kernel(call, first, n):",
        *(
            f"    {name} = {'number_at' if name in shares else 'whole_at'}(call, {place})"
            for place, name in enumerate(given)
        ),
        "    for row in range(n):",
        *([f"        state = carray(floats_at({address}), size)"] if remembers else []),
        *(f"        {line.format(result=result)}" for line in body),
    ]
    return join_source(HEADER + NATIVE_HEADER, 'NAN = float("nan")', *written.parts, "\n".join(lines))


GATHER_SOURCE = f"""{HEADER}{NATIVE_HEADER}


{LOOP}
def kernel(call, first, n):
    column = whole_at(call, 0)
    places = whole_at(call, 1)
    out = whole_at(call, 2)
    for row in range(n):
        put_at(out, row, number_at(column, whole_at(places, first + row)))
"""
"""The text of a loop that takes values of a column. To the call belong the addresses of the column, of the places in
it of all rows, and of these rows' values."""

WRITE_SOURCE = f"""{HEADER}{NATIVE_HEADER}


NAN = float("nan")


{LOOP}
def kernel(call, first, n):
    features = whole_at(call, 0)
    rows = whole_at(call, 1)
    n_columns = whole_at(call, 2)
    for at in range(n):
        row = features + 8 * n_columns * whole_at(rows, first + at)
        for column in range(n_columns):
            value = number_at(whole_at(call, 3 + column), at)
            put_at(row, column, value if value - value == 0.0 else NAN)
"""
"""The text of a loop that writes rows of features, with NaN for what is infinite. To the call belong the address of
the features, that of the rows' places in them, the number of columns, and the address of each one's values for these
rows."""

DRIVE_SOURCE = f"""{HEADER}{NATIVE_HEADER}


@intrinsic
def run_at(typing, address, call, first, n):
    def generate(context, builder, signature, arguments):
        kinds = (types.intp, types.intp, types.intp)
        kind = context.call_conv.get_function_type(types.void, kinds)
        kernel = builder.inttoptr(arguments[0], kind.as_pointer())
        status, _ = context.call_conv.call_function(builder, kernel, types.void, kinds, arguments[1:])
        return builder.sext(status.code, context.get_value_type(types.intp))

    return types.intp(types.intp, types.intp, types.intp, types.intp), generate


@njit("intp(intp, intp, intp, intp, intp)", error_model="numpy", {NATIVE})
def kernel(calls, n_calls, first, end, n_at_once):
    for start in range(first, end, n_at_once):
        n = min(n_at_once, end - start)
        for at in range(n_calls):
            call = whole_at(calls, at)
            if run_at(whole_at(call, 0), call + 8, start, n) != 0:
                return at
    return -1
"""
"""The text of ``kernel(calls, n_calls, first, end, n_at_once)``, which takes rows through one call after another, some
rows at a time. At ``calls`` are the addresses of the calls: of a loop's address, and behind it of what belongs to the
call. It returns -1, or the call whose step ended in an error."""
