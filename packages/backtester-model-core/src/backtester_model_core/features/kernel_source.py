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

HEADER = '"""Generated from step functions; made again when it is missing."""'

OPTIONS = 'error_model="numpy"'
"""How numba is to divide: as the processor does, without a test for zero that the steps make themselves."""


def kernel_source(operator: Operator) -> str:
    """Return the text of a module whose ``kernel`` runs an operator's step over consecutive bars.

    ``kernel(state, *inputs, out, *parameters)`` takes the state as a float64 array that it changes, without a
    state no such argument, and each input and the output as contiguous float64 arrays of one length.

    Raises:
        ExpressionError: When the step, or a function it calls, cannot be written out.
    """
    step = operator.step
    written: dict[str, str] = {}
    _write_function(step, step.__globals__ if isinstance(step, FunctionType) else {}, written)
    inputs = [f"x{place}" for place in range(len(operator.inputs))]
    parameters = [f"p{place}" for place in range(len(operator.parameters))]
    state = [] if operator.state is None else ["state"]
    types = ["float64[::1]"] * (len(state) + len(inputs) + 1)
    types += ["int64" if parameter.whole else "float64" for parameter in operator.parameters]
    arguments = [*state, *(f"{name}[row]" for name in inputs), *parameters]
    loop = [
        f'@njit("void({", ".join(types)})", cache=True, nogil=True, {OPTIONS})',
        f"def kernel({', '.join([*state, *inputs, 'out', *parameters])}):",
        "    for row in range(out.shape[0]):",
        f"        out[row] = {step.__name__}({', '.join(arguments)})",
    ]
    parts = [HEADER, "from numba import njit", *written.values(), "\n".join(loop)]
    return "\n\n".join(parts) + "\n"


def kernel_name(operator: Operator, source: str) -> str:
    """Return the name of the module with that text: the step's name and a hash of the text."""
    return f"{operator.step.__name__}_{hashlib.sha256(source.encode()).hexdigest()[:16]}"


def _write_function(function: Any, scope: dict[str, Any], written: dict[str, str]) -> None:
    """Write out a function after the functions, numbers and modules that it names."""
    definition = _definition(function)
    name = definition.name
    text = f"@njit({OPTIONS})\n{ast.unparse(definition)}"
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
