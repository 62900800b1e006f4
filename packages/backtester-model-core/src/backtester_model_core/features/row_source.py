"""A plan as the text of one function, which takes a bar and brings every state up to date; run as it is or compiled."""

from __future__ import annotations

import math
from collections.abc import Sequence

from backtester_model_core.compiled import COMPILED, HEADER, join_source, write_functions
from backtester_model_core.exceptions import ExpressionError
from backtester_model_core.features.plan import Plan

PLAIN_FUNCTION = "update"

NUMBERS = '_NAN = float("nan")\n_INF = float("inf")'


def plain_row_source(plan: Plan) -> str:
    """Return the text of ``update(states, *columns)``, which returns the features of one bar as a list.

    It names _NAN, _INF and the step of each call, ``step_0`` and so on.
    """
    names = _value_names(plan)
    states = _state_names(plan)
    steps = [f"step_{call}" for call in range(len(plan.calls))]
    lines = [
        f"def {PLAIN_FUNCTION}({', '.join(['states', *names[: len(plan.columns)]])}):",
        *([f"    {', '.join(states)}, = states"] if states else []),
        *_call_lines(plan, names, steps),
        f"    outputs = ({''.join(f'{names[place]}, ' for place in plan.outputs)})",
        "    return [value if value - value == 0.0 else _NAN for value in outputs]",
    ]
    return "\n".join(lines) + "\n"


def compiled_row_source(plan: Plan) -> str:
    """Return the text of a module whose ``kernel(memory, *columns)`` brings a memory up to date with one bar.

    The memory is the address of contiguous doubles: the features, which the kernel writes, then each call's state.

    Raises:
        ExpressionError: When a step is not to be compiled, or cannot be written out.
    """
    for planned in plan.calls:
        if not planned.operator.compiled:
            name = getattr(planned.operator.step, "__name__", "")
            raise ExpressionError(
                f"The step {name!r} is not to be compiled, as its operator says, so these features are streamed by "
                "engine 'python'; 'auto' chooses it."
            )
    names = _value_names(plan)
    own_names = {"_INF", "_NAN", "memory", "outputs", *names, *_state_names(plan)}
    try:
        written = write_functions([planned.operator.step for planned in plan.calls], reserved=own_names)
    except ValueError as error:
        raise ExpressionError(
            f"The step {error}. Give its operator compiled=False to run it as it is."
        ) from error
    columns = names[: len(plan.columns)]
    lines = [
        f'@njit("void({", ".join(["int64", *("float64" for _ in columns)])})", cache=True, {COMPILED})',
        f"def kernel({', '.join(['memory', *columns])}):",
        f"    outputs = carray(floats_at(memory), {len(plan.outputs)})",
        *_state_lines(plan),
        *_call_lines(plan, names, written.names),
        *(
            f"    outputs[{at}] = {names[place]} if {names[place]} - {names[place]} == 0.0 else _NAN"
            for at, place in enumerate(plan.outputs)
        ),
    ]
    return join_source(HEADER, NUMBERS, *written.parts, "\n".join(lines))


def state_sizes(plan: Plan) -> list[int]:
    """Return how many numbers each state of a plan has, in the order of its calls."""
    states = (planned.operator.new_state(planned.parameters) for planned in plan.calls)
    return [len(state) for state in states if state is not None]


def _value_names(plan: Plan) -> list[str]:
    """Return what the text calls the value of each place; a constant is written out."""
    n_columns, n_given = len(plan.columns), len(plan.columns) + len(plan.constants)
    columns = [f"value_{place}" for place in range(n_columns)]
    calls = [f"value_{place}" for place in range(n_given, n_given + len(plan.calls))]
    return [*columns, *map(_literal, plan.constants), *calls]


def _literal(number: float) -> str:
    if math.isnan(number):
        return "_NAN"
    return f"({number!r})" if math.isfinite(number) else "_INF" if number > 0 else "(-_INF)"


def _state_names(plan: Plan) -> list[str]:
    return [f"state_{call}" for call, planned in enumerate(plan.calls) if planned.operator.state is not None]


def _state_lines(plan: Plan) -> list[str]:
    """Write where each state is in the memory, behind the features."""
    lines, first = [], len(plan.outputs)
    for name, size in zip(_state_names(plan), state_sizes(plan), strict=True):
        lines.append(f"    {name} = carray(floats_at(memory + {8 * first}), {size})")
        first += size
    return lines


def _call_lines(plan: Plan, names: Sequence[str], steps: Sequence[str]) -> list[str]:
    """Write each call, in the plan's order."""
    lines = []
    for call, (planned, step, name) in enumerate(
        zip(plan.calls, steps, names[len(names) - len(plan.calls) :], strict=True)
    ):
        arguments = [names[place] for place in planned.inputs]
        if planned.operator.state is not None:
            arguments = [f"state_{call}", *arguments, *map(repr, planned.parameters)]
        lines.append(f"    {name} = {step}({', '.join(arguments)})")
    return lines
