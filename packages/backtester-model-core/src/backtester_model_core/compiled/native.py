"""Functions as native code in files of their own, which a later process loads without numba.

Importing numba and filling its tables takes longer than most of what is computed. So what numba has made of a text
is kept as an object file, and llvmlite, which numba is built on, loads such a file in a millisecond. Such code is
called by its address: it takes and returns numbers and addresses only.

A file is for one processor and one version of numba and of llvmlite: they are part of its name. The hash in it finds
damage, not malice: who can write to the cache directory can have any code run, as with Python's own ``__pycache__``.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import json
import logging
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

from backtester_model_core.compiled.cache import cache_directory, check_numba, write_whole
from backtester_model_core.exceptions import MissingExtraError

Address: TypeAlias = int

NATIVE = "no_cfunc_wrapper=True, no_cpython_wrapper=True"
"""How numba is to compile what is called by its address: without a way to call it from Python or C."""

NATIVE_HEADER = """

@intrinsic
def number_at(typing, address, place):
    def generate(context, builder, signature, arguments):
        numbers = builder.inttoptr(arguments[0], context.get_value_type(types.float64).as_pointer())
        return builder.load(builder.gep(numbers, [arguments[1]]))

    return types.float64(types.intp, types.intp), generate


@intrinsic
def whole_at(typing, address, place):
    def generate(context, builder, signature, arguments):
        numbers = builder.inttoptr(arguments[0], context.get_value_type(types.intp).as_pointer())
        return builder.load(builder.gep(numbers, [arguments[1]]))

    return types.intp(types.intp, types.intp), generate


@intrinsic
def put_at(typing, address, place, number):
    def generate(context, builder, signature, arguments):
        numbers = builder.inttoptr(arguments[0], context.get_value_type(types.float64).as_pointer())
        builder.store(arguments[2], builder.gep(numbers, [arguments[1]]))
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.float64), generate"""
"""What such code begins with, after HEADER: numbers by the address of the first. It compiles in half the time that
arrays take."""

NATIVE_NAMES = ("number_at", "put_at", "whole_at")

MATH = ("cos", "exp", "exp2", "log", "log10", "log2", "pow", "sin", "tan")
"""Functions of C's mathematics that LLVM calls where its text has an operation of its own."""

LAYOUT = "1"
"""Another number for another layout of the files, or another way to call what is in them."""

logger = logging.getLogger(__name__)

_engines: list[Any] = []  # code lives as long as its engine


@dataclass(frozen=True)
class _Code:
    """What is kept of a text.

    Attributes:
        name: What the code is called in it.
        needs: What it needs from the process.
        binary: An object file.
    """

    name: str
    needs: tuple[str, ...]
    binary: bytes

    @classmethod
    def read(cls, file: Path) -> _Code | None:
        """Return what a file keeps, unless it cannot be read or is damaged."""
        try:
            digest, _, kept = file.read_bytes().partition(b"\n")
        except OSError:
            return None
        if hashlib.sha256(kept).hexdigest().encode() != digest:
            return None
        described, _, binary = kept.partition(b"\n")
        name, *needs = json.loads(described)
        return cls(name, tuple(needs), binary)

    def write(self, file: Path) -> None:
        """Keep it in a file, behind a hash of it."""
        kept = json.dumps([self.name, *self.needs]).encode() + b"\n" + self.binary
        write_whole(file, hashlib.sha256(kept).hexdigest().encode() + b"\n" + kept)

    def missing(self) -> list[str]:
        """Return what it needs and the process does not have, once numba has brought what it has."""
        from llvmlite import binding as llvm

        if not all(map(llvm.address_of_symbol, self.needs)):
            check_numba("Running compiled code")
        return [name for name in self.needs if not llvm.address_of_symbol(name)]

    def link(self) -> Address:
        """Make it ready to run."""
        from llvmlite import binding as llvm

        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _target_machine())
        engine.add_object_file(llvm.ObjectFileRef.from_data(self.binary))
        engine.finalize_object()
        _engines.append(engine)
        address: Address = engine.get_function_address(self.name)
        return address


@functools.cache
def load_native(name: str, source: str) -> Address:
    """Return the address of the ``kernel`` of a text, compiled, from the cache directory when it is there.

    It is called as numba calls functions: with an address for the result, one for an error, and the arguments. It
    returns 0, or something else after an error.

    Args:
        name: What it does, in a word; a hash of the text, and of what compiles it for which processor, is added.
        source: The text, from imports to ``kernel``, which is compiled for one signature.

    Raises:
        Exception: What numba raises when it cannot compile the text; its passes raise what they will.
    """
    digest = hashlib.sha256("\n".join([LAYOUT, *_machine(), source]).encode()).hexdigest()
    file = cache_directory() / f"{name}_{digest[:16]}.native"
    code = _Code.read(file)
    if code is None or code.missing():
        code = _compile(source)
        if code.missing():  # LLVM would end the process
            raise ImportError(f"The compiled code needs what this process does not have: {code.missing()}.")
        try:
            code.write(file)
        except OSError as error:
            logger.warning("Compiled code serves this process only: %s", error)
    return code.link()


def native_function(address: Address, n_arguments: int) -> Callable[..., int]:
    """Return native code at an address as a function of whole numbers that returns one; other threads run meanwhile.

    Raises:
        RuntimeError: By that function, when the code ends in an error.
    """
    kinds = [ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_ssize_t] * n_arguments]
    code = ctypes.CFUNCTYPE(ctypes.c_int, *kinds)(address)

    def function(*arguments: int) -> int:
        result, error = ctypes.c_ssize_t(), ctypes.c_void_p()
        if code(ctypes.addressof(result), ctypes.addressof(error), *arguments):
            raise RuntimeError("Compiled code ended in an error of its own.")
        return result.value

    return function


def check_native(what: str) -> None:
    """Refuse to go on without numba; it is not imported.

    Args:
        what: What needs it, as a message begins.

    Raises:
        MissingExtraError: With the extra to install.
    """
    try:
        _machine()
    except ImportError as error:
        raise MissingExtraError.needs(what, "fast") from error


@functools.cache
def _machine() -> tuple[str, ...]:
    """Return what else decides on the code: the versions of what compiles it, and the processor."""
    from llvmlite import binding as llvm

    features = llvm.get_host_cpu_features().flatten()
    return (
        version("numba"),
        version("llvmlite"),
        llvm.get_process_triple(),
        llvm.get_host_cpu_name(),
        features,
    )


def _target_machine() -> Any:
    from llvmlite import binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    _, _, triple, processor, features = _machine()
    options = {"opt": 3, "reloc": "default", "codemodel": "jitdefault", "jit": True}
    return llvm.Target.from_triple(triple).create_target_machine(cpu=processor, features=features, **options)


def _compile(source: str) -> _Code:
    """Compile a text by numba, and take its code out of numba's hands."""
    from llvmlite import binding as llvm

    check_numba("Compiling")
    scope: dict[str, Any] = {}
    exec(source, scope)  # noqa: S102 - made of the source of functions that run in this process anyway
    kernel = scope["kernel"]
    (signature,) = kernel.signatures
    name = kernel.overloads[signature].fndesc.llvm_func_name
    module = llvm.parse_assembly(kernel.inspect_llvm(signature))
    for function in module.functions:
        if not function.is_declaration and function.name != name:
            function.linkage = llvm.Linkage.internal  # numba adds some that nothing calls
    machine = _target_machine()
    passes = llvm.create_new_module_pass_manager()
    passes.add_global_dead_code_eliminate_pass()
    passes.run(module, llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options()))
    return _Code(name, tuple(sorted(_needs(module))), machine.emit_object(module))


def _needs(module: Any) -> Iterable[str]:
    """Return the functions and variables that a module needs from the process."""
    text = str(module)
    yield from (name for name in MATH if f"@llvm.{name}.f64" in text)
    if re.search(r"\bfrem\b", text):
        yield "fmod"
    for value in [*module.functions, *module.global_variables]:
        if value.is_declaration and not value.name.startswith("llvm."):
            yield value.name
