"""Ask for the adapters that are named, and tell in one line of JSON what came of it. A program of the trial."""

from __future__ import annotations

import json
import logging
import os
import random
import sys
import threading
import warnings
from typing import Any

import numpy as np
import threadpoolctl

from backtester_model_core.exceptions import BacktesterModelError
from backtester_model_core.factory import create_model, load_config
from backtester_model_core.plugins import plugins
from backtester_model_core.testing import random_bars


def state() -> dict[str, Any]:
    """Return what all share of the process, as anybody would see it."""
    root = logging.getLogger()
    with warnings.catch_warnings(record=True) as heard:
        warnings.warn("is this heard?", UserWarning, stacklevel=1)
        warnings.warn("and this not?", PendingDeprecationWarning, stacklevel=1)
    random_state, random_words = random.getstate(), np.random.get_state()  # noqa: NPY002 - looked at only
    seen = {
        "random numbers": [random.random(), np.random.random_sample()],  # noqa: NPY002
        "the root logger": [root.level, len(root.handlers), root.manager.disable],
        "warnings": [str(each.message) for each in heard],
        "float errors": np.geterr(),
        "thread counts": [pool["num_threads"] for pool in threadpoolctl.threadpool_info()],
        "OMP_NUM_THREADS": os.environ["OMP_NUM_THREADS"],
        "the working directory": os.getcwd(),
        "sys.excepthook": sys.excepthook is sys.__excepthook__,
    }
    random.setstate(random_state)
    np.random.set_state(random_words)  # noqa: NPY002
    return seen


def ask(framework: str) -> str:
    """Ask for an adapter and return the error that refuses it; empty when there is none."""
    try:
        plugins().adapter(framework)
    except BacktesterModelError as error:
        return str(error)
    return ""


def ask_in_thread(framework: str) -> str:
    """Ask from another thread, which cannot be interrupted, and wait until the log must have named the adapter."""
    thread = threading.Thread(target=ask, args=(framework,), daemon=True)
    thread.start()
    thread.join(3)
    return "still hanging" if thread.is_alive() else "it returned"


def train_good() -> str:
    """Train and ask the good adapter."""
    try:
        model = create_model(load_config({"framework": "good", "lookback_period": 5}))
        bars = random_bars(120)
        model.train_dataset(model.prepare(bars))
        n_signals = len(model.generate_signals(bars))
    except BacktesterModelError as error:
        return str(error)
    return "trained" if n_signals == 120 else f"{n_signals} signals"


def main(arguments: list[str]) -> None:
    """Print what became of each adapter, of each extension, and of the process."""
    asked, changes = {}, {}
    plugins()
    for framework in [name for name in arguments if name != "--in-thread"]:
        before = state()
        asked[framework] = ask_in_thread(framework) if "--in-thread" in arguments else ask(framework)
        after = state()
        changes[framework] = [f"{name} {after[name]}" for name in before if before[name] != after[name]]
    reasons = {
        f"{info.name} {info.distribution}": f"{info.distribution}: {info.reason}" if info.reason else ""
        for info in plugins().listing()
    }
    told = {"adapters": asked, "changes": changes, "listed": reasons, "good adapter": train_good()}
    print(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1:])
