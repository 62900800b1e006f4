"""One plain function, compiled: the text that runs is its own."""

from __future__ import annotations

from types import FunctionType

from backtester_model_core.compiled.cache import Kernel, check_numba, load_kernel
from backtester_model_core.compiled.source import COMPILED, HEADER, join_source, write_functions


def compile_function(function: FunctionType, signature: str) -> Kernel:
    """Return a plain function compiled by numba, from the cache directory when it is there.

    Args:
        function: Takes and returns what the signature says, and names only numbers, modules and such functions.
        signature: Its types as numba writes them, such as ``float64(float64[::1])``.

    Raises:
        MissingExtraError: Without numba.
        ValueError: When the function cannot be written out.
    """
    check_numba(f"Compiling {function.__name__}")
    written = write_functions([function])
    arguments = ", ".join(function.__code__.co_varnames[: function.__code__.co_argcount])
    kernel = [
        f'@njit("{signature}", cache=True, {COMPILED})',
        f"def kernel({arguments}):",
        f"    return {written.names[0]}({arguments})",
    ]
    return load_kernel(function.__name__, join_source(HEADER, *written.parts, "\n".join(kernel)))
