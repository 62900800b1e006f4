"""Functions as source text that numba can cache: each with all that it calls.

numba keeps compiled code beside the file that a function was written in, and does not see when another file, with
a function that the first one calls, has changed. So a kernel is one text that holds everything it runs, and it
is named by a hash of that text.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import itertools
import math
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
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

INLINED = f"{COMPILED}, forceinline=True, no_cpython_wrapper=True"
"""The same for what a kernel calls: it becomes a part of the kernel, and is not called from Python either."""

HEADER_NAMES = ("carray", "floats_at", "intrinsic", "kernel", "njit", "types")


@dataclass(frozen=True)
class Written:
    """Functions as text.

    Attributes:
        parts: The texts of the functions and of what they name, each after those it needs.
        names: What the text calls each of the functions.
    """

    parts: tuple[str, ...]
    names: tuple[str, ...]


def write_functions(
    functions: Iterable[Any], *, options: str = INLINED, reserved: Iterable[str] = ()
) -> Written:
    """Write out functions after the functions, numbers and modules that they name.

    A name that means different things in different modules gets a number where it is met again.

    Args:
        functions: Plain functions.
        options: How numba is to compile each.
        reserved: Names that the text around them uses for something else.

    Raises:
        ValueError: When one cannot be written out; the message says which, and why.
    """
    writer = _Writer(options, {*HEADER_NAMES, *reserved})
    names = tuple(writer.add_function(function) for function in functions)
    return Written(tuple(writer.parts), names)


def join_source(*parts: str) -> str:
    """Return the text of a module of these parts."""
    return "\n\n\n".join(parts) + "\n"


class _Writer:
    """Texts, each after those it needs, and what each thing is called in them."""

    def __init__(self, options: str, taken: set[str]) -> None:
        self.parts: list[str] = []
        self._options = options
        self._taken = taken
        self._names: dict[Any, str] = {}

    def add_function(self, function: Any) -> str:
        """Write out a function after what it names, and return what it is called."""
        definition = _definition(function)
        if function in self._names:  # also one that calls itself
            return self._names[function]
        name = self._names[function] = self._free(definition.name)
        local, scope = set(function.__code__.co_varnames), function.__globals__
        for node in ast.walk(definition):
            if isinstance(node, ast.Name) and node.id not in local and node.id in scope:
                node.id = self._add_value(function, node.id, scope[node.id])
        definition.name = name
        self.parts.append(f"@njit({self._options})\n{ast.unparse(definition)}")
        return name

    def _add_value(self, function: FunctionType, name: str, value: Any) -> str:
        if isinstance(value, FunctionType):
            return self.add_function(value)
        if isinstance(value, ModuleType):
            return self._add_text(name, f"import {value.__name__} as {{}}")
        if isinstance(value, float) and not math.isfinite(value):
            return self._add_text(name, f'{{}} = float("{value}")')
        if isinstance(value, (bool, int, float)):
            return self._add_text(name, f"{{}} = {value!r}")
        if getattr(builtins, name, None) is value:
            return name
        raise _cannot(function, f"it uses {name!r}, which is no number, module or plain function")

    def _add_text(self, name: str, text: str) -> str:
        """Write what a name stands for, unless that very text is there; return what it is called."""
        key = (name, text)
        if key not in self._names:
            self._names[key] = self._free(name)
            self.parts.append(text.format(self._names[key]))
        return self._names[key]

    def _free(self, name: str) -> str:
        """Take a name that nothing else has."""
        names = itertools.chain([name], (f"{name}_{number}" for number in itertools.count(2)))
        free = next(one for one in names if one not in self._taken)
        self._taken.add(free)
        return free


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
