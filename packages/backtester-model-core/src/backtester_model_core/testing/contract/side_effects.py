"""What a package may change of a process that it has no business with: randomness, logging, warnings, environment."""

from __future__ import annotations

import io
import logging
import os
import random
import re
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, TypeAlias

import numpy as np

Changes: TypeAlias = dict[str, list[str]]
"""What was changed, by its kind; kinds of which nothing was changed have no entry."""


AT_FIRST = dict(os.environ)
"""The environment before any adapter was imported, for another process to begin with."""

FOR_EVERYBODY = re.compile(r"^PYTHON|_NUM_THREADS$|^CUDA_VISIBLE_DEVICES$|_PROXY$", re.IGNORECASE)
"""Variables that others read too; what a framework sets under a name of its own concerns nobody else."""


@contextmanager
def noting_changes(changes: Changes) -> Iterator[None]:
    """Note what a block changes of the process."""
    random.random(), np.random.random_sample()  # noqa: NPY002, S311 - see _generators
    before, printed = _state(), io.StringIO()
    with redirect_stdout(printed), redirect_stderr(printed):
        yield
    after = _state()
    for kind, things in after.items():
        new = [name for name, value in things.items() if before[kind].get(name, ...) != value]
        new = [
            name
            for name in new
            if name in before[kind] or kind != "environment" or FOR_EVERYBODY.search(name)
        ]
        gone = [f"{name} is gone" for name in before[kind] if name not in things]
        if new or gone:
            changes[kind] = new + gone
    if printed.getvalue():
        changes["output"] = [printed.getvalue().strip()[:100]]


def _state() -> dict[str, Mapping[str, Any]]:
    root = logging.getLogger()
    return {
        "random": _generators(),
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


def _generators() -> dict[str, Any]:
    """Return what seeding a global generator changes, and drawing a few numbers does not.

    Libraries that make names for themselves draw some. The generators' words change when they are seeded or put
    back, and after six hundred draws: the first of them is drawn before anything is watched.
    """
    words: Any = np.random.get_state(legacy=True)  # noqa: NPY002 - it is watched, not drawn from
    return {
        "the random module was seeded": random.getstate()[1][:-1],
        "numpy.random was seeded": words[1].tobytes(),
    }


def _reaches_far(each: tuple[Any, ...]) -> bool:
    """Say whether a warnings filter concerns everybody's warnings: no message, no module, no category of its own."""
    _, message, category, module, _ = each
    return message is None and module is None and category.__module__ == "builtins"
