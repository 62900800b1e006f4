"""An extension that is in force for a block of code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from backtester_model_core.plugins import plugins

Extension = TypeVar("Extension")


@contextmanager
def extension_in_force(name: str, extension: Extension) -> Iterator[Extension]:
    """Register an extension for a block, and take it back; other processes do not see it."""
    in_force = plugins()
    before = in_force.registered_in_code()
    in_force.register_extension(name, extension)
    try:
        yield extension
    finally:
        in_force.repeat(before)
