"""Functions as source text that numba can cache: each with all that it calls.

numba keeps compiled code beside the file that a function was written in, and does not see when another file, with
a function that the first one calls, has changed. So a kernel is one text that holds everything it runs, and it
is named by a hash of that text.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import math
import textwrap
from collections.abc import Iterable
from types import FunctionType, ModuleType
from typing import Any

HEADER = '''"""Generated; made again when it is missing."""

from numba import carray, njit, types
from numba.extending import intrinsic


@intrinsic
def floats_at(typing, address):
    def generate(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.CPointer(types.float64)(types.intp), generate'''
"""What every kernel begins with. A row of the states is reached by its address: numba counts the references to a
view of an array, in steps that other processors wait for, which takes longer than a rolling mean."""

COMPILED = 'error_model="numpy", no_cfunc_wrapper=True'
"""How numba is to divide: as the processor does, without a test for zero that the steps make themselves. And that it
need not compile a way to call it from C."""

CALLED = f"{COMPILED}, no_cpython_wrapper=True"
"""The same for what a kernel calls: it is not called from Python."""

INLINED = f"{CALLED}, forceinline=True"
"""The same for what becomes a part of a kernel's loop."""


def write_functions(functions: Iterable[Any], *, options: str = CALLED) -> dict[str, str]:
    """Write out functions after the functions, numbers and modules that they name.

    Args:
        functions: Plain functions; each name means the same in all of them.
        options: How numba is to compile each.

    Returns:
        The text of everything by its name, in an order in which a text comes after those it needs.

    Raises:
        ValueError: When one cannot be written out; the message says which, and why.
    """
    writer = _Writer(options)
    for function in functions:
        writer.add_function(function)
    return writer.written


def join_source(*parts: str) -> str:
    """Return the text of a module of these parts."""
    return "\n\n\n".join(parts) + "\n"


class _Writer:
    """Texts by name, each after those it needs."""

    def __init__(self, options: str) -> None:
        self.written: dict[str, str] = {}
        self._options = options
        self._functions: set[FunctionType] = set()

    def add_function(self, function: Any) -> None:
        """Write out a function after the functions, numbers and modules that it names."""
        definition = _definition(function)
        if function in self._functions:  # also one that calls itself
            return
        self._functions.add(function)
        local = set(function.__code__.co_varnames)
        scope = function.__globals__
        for node in ast.walk(definition):
            if isinstance(node, ast.Name) and node.id not in local and node.id in scope:
                self._add_value(function, node.id, scope[node.id])
        self._put(function, definition.name, f"@njit({self._options})\n{ast.unparse(definition)}")

    def _add_value(self, function: FunctionType, name: str, value: Any) -> None:
        if isinstance(value, FunctionType):
            self.add_function(value)
            if value.__name__ != name:
                self._put(function, name, f"{name} = {value.__name__}")
        elif isinstance(value, ModuleType):
            self._put(function, name, f"import {value.__name__} as {name}")
        elif isinstance(value, float) and not math.isfinite(value):
            self._put(function, name, f'{name} = float("{value}")')
        elif isinstance(value, (bool, int, float)):
            self._put(function, name, f"{name} = {value!r}")
        elif getattr(builtins, name, None) is not value:
            raise _cannot(function, f"it uses {name!r}, which is no number, module or plain function")

    def _put(self, function: FunctionType, name: str, text: str) -> None:
        if self.written.setdefault(name, text) != text:
            raise _cannot(function, f"{name!r} is also the name of something else that is compiled with it")


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


def _cannot(function: Any, reason: str) -> ValueError:
    return ValueError(f"{getattr(function, '__name__', repr(function))!r} cannot be compiled: {reason}")
