"""What all code of a process shares, and an import must leave as it was: randomness, warnings, logging, threads."""

from __future__ import annotations

import logging
import os
import random
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np

PutBack: TypeAlias = Callable[[], bool]
"""Puts something back as it was, and says whether anybody would have noticed that it had changed."""

N_TWISTS = 4
"""A generator's words change after 624 draws. As many times they may, before a change counts as a new seed."""


@contextmanager
def left_as_it_was() -> Iterator[list[str]]:
    """Put back what a block changes of what all share, whatever becomes of it; the list then names each change.

    Numbers that were drawn from a global generator are put back and not named: libraries draw some for names.
    """
    changes: list[str] = []
    put_back = {change: keep() for change, keep in _SHARED.items()}
    try:
        yield changes
    finally:
        changes += [change for change, restore in put_back.items() if restore()]


def _keep_random() -> PutBack:
    before = random.getstate()

    def put_back() -> bool:
        after = random.getstate()
        random.setstate(before)
        earlier = random.Random()  # noqa: S311 - a copy of the generator that is looked at
        earlier.setstate(before)
        for _ in range(N_TWISTS):
            if earlier.getstate()[1][:-1] == after[1][:-1]:
                return False
            for _ in range(624):
                earlier.getrandbits(32)
        return True

    return put_back


def _keep_numpy_random() -> PutBack:
    before = _words()

    def put_back() -> bool:
        after = _words()
        np.random.set_state(before)  # noqa: NPY002 - the generator that everybody shares
        if "key" not in after["state"] or "key" not in before["state"]:
            return bool(after["state"] != before["state"])
        earlier = np.random.RandomState()
        earlier.set_state(before)
        for _ in range(N_TWISTS):
            state: Any = earlier.get_state(legacy=False)
            if np.array_equal(state["state"]["key"], after["state"]["key"]):
                return False
            earlier.randint(0, 2**32, size=624, dtype=np.uint32)
        return True

    return put_back


def _words() -> Any:
    return np.random.get_state(legacy=False)  # noqa: NPY002 - it is looked at, not drawn from


def _keep_warnings() -> PutBack:
    """Keep the filters that concern everybody; one with a message, a module or a category of its own may stay."""
    before, show = list(warnings.filters), warnings.showwarning

    def put_back() -> bool:
        after = list(warnings.filters)
        far = [each for each in after if each not in before and _reaches_far(each)]
        is_changed = bool(far) or any(each not in after for each in before)
        is_redirected = warnings.showwarning is not show
        warnings.showwarning = show
        if is_changed:
            own = [each for each in after if each not in before and not _reaches_far(each)]
            warnings.filters[:] = [*own, *before]  # type: ignore[index]
            with warnings.catch_warnings():  # whose end tells the interpreter that the filters are others
                pass
        return is_changed or is_redirected

    return put_back


def _reaches_far(each: tuple[Any, ...]) -> bool:
    _, message, category, module, _ = each
    return message is None and module is None and category.__module__ == "builtins"


def _keep_logging() -> PutBack:
    root = logging.getLogger()
    before = (root.level, list(root.handlers), root.manager.disable)

    def put_back() -> bool:
        is_changed = before != (root.level, list(root.handlers), root.manager.disable)
        root.setLevel(before[0])
        root.handlers[:] = before[1]
        logging.disable(before[2])
        return is_changed

    return put_back


def _keep_float_errors() -> PutBack:
    before = np.geterr()

    def put_back() -> bool:
        is_changed = np.geterr() != before
        np.seterr(**before)
        return is_changed

    return put_back


def _keep_folder() -> PutBack:
    before = _folder()

    def put_back() -> bool:
        is_changed = before is not None and _folder() != before
        if before is not None and is_changed:
            os.chdir(before)
        return is_changed

    return put_back


def _folder() -> str | None:
    try:
        return os.getcwd()
    except FileNotFoundError:  # somebody has removed it
        return None


def _keep_threads() -> PutBack:
    """Keep the thread counts of the environment, and of loaded BLAS and OpenMP libraries where they can be asked.

    They can where threadpoolctl is installed, as it is with scikit-learn. Libraries that the block loads may have
    counts of their own.
    """
    named = _named_threads()
    pools = [(pool, pool.num_threads) for pool in _thread_pools()]

    def put_back() -> bool:
        is_changed = _named_threads() != named
        for name in _named_threads().keys() - named.keys():
            del os.environ[name]
        os.environ.update(named)
        for pool, n_threads in pools:
            if pool.num_threads != n_threads:
                pool.set_num_threads(n_threads)
                is_changed = True
        return is_changed

    return put_back


def _named_threads() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.endswith("_NUM_THREADS")}


def _thread_pools() -> list[Any]:
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:  # then only the environment's counts are kept
        return []
    return list(ThreadpoolController().lib_controllers)


def _keep_excepthook() -> PutBack:
    before = sys.excepthook

    def put_back() -> bool:
        is_changed = sys.excepthook is not before
        sys.excepthook = before
        return is_changed

    return put_back


_SHARED: dict[str, Callable[[], PutBack]] = {
    "seeds the random module": _keep_random,
    "seeds numpy.random": _keep_numpy_random,
    "filters everybody's warnings": _keep_warnings,
    "sets up the root logger": _keep_logging,
    "changes NumPy's floating-point errors": _keep_float_errors,
    "changes the number of threads": _keep_threads,
    "changes the working directory": _keep_folder,
    "replaces sys.excepthook": _keep_excepthook,
}
