"""Compiled kernels: generated once, kept in a cache directory, and loaded from there by later processes."""

from __future__ import annotations

import atexit
import functools
import hashlib
import importlib.util
import logging
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from backtester_model_core.exceptions import MissingExtraError

logger = logging.getLogger(__name__)

Kernel: TypeAlias = Callable[..., Any]

CACHE_DIRECTORY = "BACKTESTER_MODEL_CACHE"
"""The environment variable that names another cache directory."""


def numba_is_here() -> bool:
    """Tell whether numba is installed; nothing is imported."""
    return importlib.util.find_spec("numba") is not None


def check_numba(what: str) -> None:
    """Refuse to go on without numba.

    Args:
        what: What needs it, as a message begins.

    Raises:
        MissingExtraError: With the extra to install.
    """
    try:
        import numba.core.errors  # noqa: F401 - so that the kernel's own import of numba cannot fail
    except ImportError as error:
        raise MissingExtraError.needs(what, "fast") from error


def numba_works() -> bool:
    """Tell whether numba is installed and can be imported; where it is there and cannot be, a log line says why."""
    if not numba_is_here():
        return False
    try:
        check_numba("Compiling")
    except MissingExtraError as error:
        logger.warning("numba is installed but does not work, so nothing is compiled: %s", error.__cause__)
        return False
    return True


@functools.cache
def load_kernel(name: str, source: str) -> Kernel:
    """Return the ``kernel`` of a module of that text, compiled, from the cache directory when it is there.

    Args:
        name: What it does, in a word; a hash of the text is added.
        source: The text, from imports to ``kernel``.

    Raises:
        Exception: What numba raises when it cannot compile the text; its passes raise what they will.
    """
    name = f"{name}_{hashlib.sha256(source.encode()).hexdigest()[:16]}"
    file = _write_source(name, source)
    spec = importlib.util.spec_from_file_location(f"backtester_model_kernels_{name}", file)
    if spec is None or spec.loader is None:
        raise ImportError(f"The generated kernel {file} is not a Python file that can be loaded.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # numba finds a function's file through its module
    try:
        spec.loader.exec_module(module)
    except Exception:
        del sys.modules[spec.name]
        raise
    kernel: Kernel = module.kernel
    return kernel


def _write_source(name: str, source: str) -> Path:
    """Write a kernel's text into the cache directory, unless that very text is there."""
    file = cache_directory() / f"{name}.py"
    text = source.encode()
    if not file.is_file() or file.read_bytes() != text:
        write_whole(file, text)
    return file


def write_whole(file: Path, content: bytes) -> None:
    """Write a file whole or not at all, also for another process that reads it."""
    with tempfile.NamedTemporaryFile(dir=file.parent, suffix=".tmp", delete=False) as temporary:
        try:
            temporary.write(content)
            temporary.flush()
            Path(temporary.name).replace(file)
        except BaseException:
            Path(temporary.name).unlink()
            raise


@functools.cache
def cache_directory() -> Path:
    """Return a directory that this process may write compiled code to, and that nobody else may.

    It is the one that the environment variable BACKTESTER_MODEL_CACHE names, else ``backtester-model`` in the
    user's cache directory. When that cannot be made, is read-only or may be written by others, it is a
    temporary one that goes with the process, and a log line says so.
    """
    try:
        directory = _wanted_directory(os.environ)
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_private(directory)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except (OSError, RuntimeError) as error:
        directory = Path(tempfile.mkdtemp(prefix="backtester-model-kernels-"))
        atexit.register(shutil.rmtree, directory, ignore_errors=True)
        logger.warning("Compiled features are kept for this process only, in %s: %s", directory, error)
    return directory


def _wanted_directory(environ: Mapping[str, str]) -> Path:
    if environ.get(CACHE_DIRECTORY):
        return Path(environ[CACHE_DIRECTORY]).absolute()
    home = environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "backtester-model"


def _check_private(directory: Path) -> None:
    """Refuse a directory whose compiled code another user could replace."""
    status = directory.stat()
    if hasattr(os, "getuid") and (
        status.st_uid != os.getuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    ):
        raise PermissionError(f"{directory} is not this user's alone")
