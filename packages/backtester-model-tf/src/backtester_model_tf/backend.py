"""Keras on its TensorFlow back end, imported quietly, with the threads that it may use."""

from __future__ import annotations

import os
import random
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from backtester_model_core.exceptions import MissingExtraError, PluginError

__all__ = ["THREADS_NOTE", "budget_threads", "check_backend", "keras", "own_settings", "quietly", "tf"]

BACKEND = "KERAS_BACKEND"
LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
CHATTER = (b"I0000", b"WARNING: All log messages before absl::InitializeLog()")
"""How the lines begin that TensorFlow writes when it is imported, whatever its log level."""


def check_backend() -> None:
    """Refuse to start when Keras could not compute by TensorFlow.

    Raises:
        MissingExtraError: When TensorFlow is not installed.
        PluginError: When Keras has, or is told to have, another back end.
    """
    if find_spec("tensorflow") is None:
        raise MissingExtraError(
            "backtester-model-tf needs TensorFlow, which is not installed. Try: pip install "
            "'backtester-model-tf[cpu]' (or [gpu]; never both, they install the same files)."
        )
    chosen = os.environ.get(BACKEND, "tensorflow")
    if chosen != "tensorflow":
        raise PluginError(
            f"{BACKEND}={chosen} in the environment, but backtester-model-tf computes by TensorFlow. Unset it, or "
            "set it to tensorflow, and start again."
        )
    imported = sys.modules.get("keras")
    if imported is not None and imported.config.backend() != "tensorflow":
        raise PluginError(
            f"Keras is already imported with the back end {imported.config.backend()!r}, but backtester-model-tf "
            f"computes by TensorFlow. Set {BACKEND}=tensorflow before the first import of keras."
        )


@contextmanager
def quietly() -> Iterator[None]:
    """Keep TensorFlow's notes about itself off the standard error, unless the user has set its log level.

    They are written by C++ before any log level counts, so the stream itself is held, and what is not a mere note
    goes on afterwards.
    """
    if LOG_LEVEL in os.environ:
        yield
        return
    os.environ[LOG_LEVEL] = "2"
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            held.seek(0)
            told = [line for line in held.read().splitlines(keepends=True) if not line.startswith(CHATTER)]
            os.write(2, b"".join(told))


def budget_threads(tensorflow: Any, environ: dict[str, str] | os._Environ[str] = os.environ) -> str | None:
    """Let TensorFlow use as many threads as ``OMP_NUM_THREADS`` says, and say why where it is too late.

    Workers of a parallel walk-forward are started with their share of the cores in that variable, which TensorFlow
    itself does not read. Threads that the user has set stay as they are.
    """
    budget = environ.get("OMP_NUM_THREADS", "")
    threading = tensorflow.config.threading
    own = threading.get_intra_op_parallelism_threads() or "TF_NUM_INTRAOP_THREADS" in environ
    if not budget.isdigit() or int(budget) < 1 or own:
        return None
    try:
        threading.set_intra_op_parallelism_threads(int(budget))
        threading.set_inter_op_parallelism_threads(int(budget))
    except RuntimeError:
        return f"TensorFlow was in use before, so OMP_NUM_THREADS={budget} does not bound its threads."
    return None


check_backend()
with quietly():
    os.environ.setdefault(BACKEND, "tensorflow")
    import keras
    import tensorflow as tf

THREADS_NOTE = budget_threads(tf)


@contextmanager
def own_settings(*, seed: int | None, policy: str = "float32") -> Iterator[None]:
    """Build layers with a seed and a precision of our own, and leave Keras's and Python's settings as they were.

    Layers, initializers and dropouts that are given no seed draw one from Python's ``random`` when they are built;
    without a seed it begins anew there.
    """
    state, before = random.getstate(), keras.config.dtype_policy()
    layout = keras.config.image_data_format()
    try:
        random.seed(seed)
        keras.config.set_dtype_policy(policy)
        keras.config.set_image_data_format("channels_last")
        yield
    finally:
        random.setstate(state)
        keras.config.set_dtype_policy(before)
        keras.config.set_image_data_format(layout)
