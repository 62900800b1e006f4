"""Python functions as compiled code: written out with all that they call, compiled by numba, kept in a cache."""

from backtester_model_core.compiled.cache import (
    CACHE_DIRECTORY,
    Kernel,
    cache_directory,
    check_numba,
    load_kernel,
    numba_is_here,
    numba_works,
)
from backtester_model_core.compiled.function import compile_function
from backtester_model_core.compiled.native import (
    NATIVE,
    NATIVE_HEADER,
    NATIVE_NAMES,
    Address,
    check_native,
    load_native,
    native_function,
)
from backtester_model_core.compiled.source import (
    COMPILED,
    HEADER,
    INLINED,
    join_source,
    write_functions,
)

__all__ = [
    "CACHE_DIRECTORY",
    "COMPILED",
    "HEADER",
    "INLINED",
    "NATIVE",
    "NATIVE_HEADER",
    "NATIVE_NAMES",
    "Address",
    "Kernel",
    "cache_directory",
    "check_native",
    "check_numba",
    "compile_function",
    "join_source",
    "load_kernel",
    "load_native",
    "native_function",
    "numba_is_here",
    "numba_works",
    "write_functions",
]
