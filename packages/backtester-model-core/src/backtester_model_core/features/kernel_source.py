"""A step function as source text that numba can cache: the step, all that it calls, and a loop over bars.

numba keeps compiled code beside the file that a function was written in, and does not see when another file, with
a function that the first one calls, has changed. So a kernel is one text that holds everything it runs, and it
is named by a hash of that text.
"""

from __future__ import annotations

import ast
import builtins
import hashlib
import inspect
import math
import textwrap
from types import FunctionType, ModuleType
from typing import Any

from backtester_model_core.exceptions import ExpressionError
from backtester_model_core.features.definition import Operator

HEADER = '''"""Generated from step functions; made again when it is missing."""

from numba import carray, njit, types
from numba.extending import intrinsic


@intrinsic
def floats_at(typing, address):
    def generate(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.CPointer(types.float64)(types.intp), generate'''
"""What every kernel begins with. A row of the states is reached by its address: numba counts the references to a
view of an array, in steps that other processors wait for, which takes longer than a rolling mean."""

OPTIONS = 'error_model="numpy", no_cfunc_wrapper=True'
"""How numba is to divide: as the processor does, without a test for zero that the steps make themselves. And that it
need not compile a way to call it from C."""

INLINED = f"{OPTIONS}, forceinline=True, no_cpython_wrapper=True"
"""The same for what a kernel calls: it becomes a part of the loop, and is not called from Python either."""


def kernel_source(operator: Operator) -> str:
    """Return the text of a module whose ``kernel`` runs an operator's step over consecutive rows.

    ``kernel(states, symbols, *inputs, out, *parameters)`` takes a float64 array with a state of each symbol in its
    rows, which it changes, and an int64 array with each row's symbol; without a state no such two. Each input and
    the output is a contiguous float64 array with a value of each row.

    Raises:
        ExpressionError: When the step, or a function it calls, cannot be written out.
    """
    step = operator.step
    written: dict[str, str] = {}
    _write_function(step, step.__globals__ if isinstance(step, FunctionType) else {}, written)
    inputs = [f"x{place}" for place in range(len(operator.inputs))]
    parameters = [f"p{place}" for place in range(len(operator.parameters))]
    remembers = operator.state is not None
    states = ["states", "symbols"] if remembers else []
    types = ["float64[:, ::1]", "int64[::1]"] if remembers else []
    types += ["float64[::1]"] * (len(inputs) + 1)
    types += ["int64" if parameter.whole else "float64" for parameter in operator.parameters]
    arguments = [*(["state"] if remembers else []), *(f"{name}[row]" for name in inputs), *parameters]
    loop = [
        f'@njit("void({", ".join(types)})", cache=True, nogil=True, {OPTIONS})',
        f"def kernel({', '.join([*states, *inputs, 'out', *parameters])}):",
        "    for row in range(out.shape[0]):",
        f"        out[row] = {step.__name__}({', '.join(arguments)})",
    ]
    if remembers:
        loop.insert(2, "    first, size = states.ctypes.data, states.shape[1]")
        loop.insert(4, "        state = carray(floats_at(first + 8 * size * symbols[row]), size)")
    return "\n\n\n".join([HEADER, *written.values(), "\n".join(loop)]) + "\n"


WRITER_SOURCE = f'''"""Generated; made again when it is missing."""

from numba import njit

NAN = float("nan")


@njit("void(float64[:, :], int64[::1], int64[::1], float64[:, ::1])", cache=True, nogil=True, {OPTIONS})
def kernel(values, outputs, rows, features):
    for at in range(rows.shape[0]):
        row = rows[at]
        for column in range(outputs.shape[0]):
            value = values[outputs[column], at]
            features[row, column] = value if value - value == 0.0 else NAN
'''
"""The text of a module whose ``kernel`` writes some of the values' rows into columns, with NaN for what is infinite."""


def kernel_name(step: str, source: str) -> str:
    """Return the name of the module with that text: the step's name and a hash of the text."""
    return f"{step}_{hashlib.sha256(source.encode()).hexdigest()[:16]}"


def _write_function(function: Any, scope: dict[str, Any], written: dict[str, str]) -> None:
    """Write out a function after the functions, numbers and modules that it names."""
    definition = _definition(function)
    name = definition.name
    text = f"@njit({INLINED})\n{ast.unparse(definition)}"
    if written.get(name, text) != text:
        raise _cannot(function, f"it calls two functions of the name {name!r}")
    local = set(function.__code__.co_varnames)
    for node in ast.walk(definition):
        if (
            isinstance(node, ast.Name)
            and node.id not in local
            and node.id in scope
            and node.id not in written
        ):
            written[node.id] = ""  # holds the place, so that a step that calls itself ends
            _write_value(function, node.id, scope[node.id], written)
    written.pop(name, None)
    written[name] = text


def _write_value(function: Any, name: str, value: Any, written: dict[str, str]) -> None:
    if isinstance(value, FunctionType):
        del written[name]
        _write_function(value, value.__globals__, written)
        if value.__name__ != name:
            written[name] = f"{name} = {value.__name__}"
    elif isinstance(value, ModuleType):
        written[name] = f"import {value.__name__} as {name}"
    elif isinstance(value, float) and not math.isfinite(value):
        written[name] = f'{name} = float("{value}")'
    elif isinstance(value, (bool, int, float)):
        written[name] = f"{name} = {value!r}"
    elif getattr(builtins, name, None) is value:
        del written[name]
    else:
        raise _cannot(function, f"it uses {name!r}, which is no number, module or plain function")


def _definition(function: Any) -> ast.FunctionDef:
    """Return a function's syntax tree, bare of what does not run: its docstring and annotations."""
    if not isinstance(function, FunctionType):
        raise _cannot(function, "it is no plain function")
    if function.__closure__ or function.__defaults__ or function.__kwdefaults__:
        raise _cannot(function, "it has default values, or uses variables of a function around it")
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, SyntaxError) as error:
        raise _cannot(function, "its source is not in a file") from error
    match tree.body:
        case [ast.FunctionDef(decorator_list=[]) as definition]:
            pass
        case _:
            raise _cannot(function, "it is not a single undecorated def")
    if ast.get_docstring(definition) is not None:
        definition.body = definition.body[1:] or [ast.Pass()]
    definition.returns = None
    for argument in definition.args.args:
        argument.annotation = None
    return definition


def _cannot(function: Any, reason: str) -> ExpressionError:
    name = getattr(function, "__name__", repr(function))
    return ExpressionError(
        f"The step {name!r} cannot be compiled: {reason}. Give its operator compiled=False to run it as it is."
    )
