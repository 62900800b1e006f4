"""What a package may change of a process that it has no business with: randomness, logging, warnings, environment."""

from __future__ import annotations

import io
import logging
import os
import random
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, TypeAlias

import numpy as np

Changes: TypeAlias = dict[str, list[str]]
"""What was changed, by its kind; kinds of which nothing was changed have no entry."""


@contextmanager
def noting_changes(changes: Changes) -> Iterator[None]:
    """Note what a block changes of the process."""
    before, printed = _state(), io.StringIO()
    with redirect_stdout(printed), redirect_stderr(printed):
        yield
    after = _state()
    for kind, things in after.items():
        new = [name for name, value in things.items() if before[kind].get(name, ...) != value]
        gone = [f"{name} is gone" for name in before[kind] if name not in things]
        if new or gone:
            changes[kind] = new + gone
    if printed.getvalue():
        changes["output"] = [printed.getvalue().strip()[:100]]


def _state() -> dict[str, Mapping[str, Any]]:
    numpy_state = np.random.get_state()  # noqa: NPY002 - it is watched, not drawn from
    root = logging.getLogger()
    return {
        "random": {"random": random.getstate(), "numpy.random": repr(numpy_state)},
        "logging": {
            "the root logger's level": root.level,
            "logging.disable": root.manager.disable,
            **{f"a handler of the root logger: {handler!r}": True for handler in root.handlers},
        },
        "warnings": {repr(each): True for each in warnings.filters if _reaches_far(each)},
        "environment": {
            **os.environ,
            "the working directory": os.getcwd(),
            "sys.path": tuple(sys.path),
            "sys.excepthook": sys.excepthook,
        },
        "threads": {f"the thread {thread.name}": True for thread in threading.enumerate()},
    }


def _reaches_far(each: tuple[Any, ...]) -> bool:
    """Say whether a warnings filter concerns more than one package's own warnings, or those of its own modules."""
    _, _, category, module, _ = each
    return module is None and category.__module__ == "builtins"
