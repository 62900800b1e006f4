"""Kill writers at random moments of a save, and see whether every version of the store is whole.

A program of its own, ``python -m backtester_model_core.testing.kills FOLDER N_KILLS``, because it forks: that is safe
where no framework has been imported, and none is needed. An adapter hands bytes to the core and never touches the disk,
so what may be killed while it writes is the core, with that adapter's files.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from backtester_model_core.artifacts import VersionFolder


def kill_writers(folder: Path, n_kills: int, *, seed: int = 0) -> dict[str, int]:
    """Publish a saved model again and again from processes that are killed, and read every version after each.

    Args:
        folder: Where a model was saved; its version in force is what is published.
        n_kills: Number of writers to kill, each within two saves' time.
        seed: Seed of the moments.

    Returns:
        Versions that are there and whole, and temporary folders: left by the dead, and after the next save.
    """
    store, rng = VersionFolder(folder), random.Random(seed)  # noqa: S311 - moments, not secrets
    artifact = store.read()
    started = time.perf_counter()
    store.promote(store.publish(artifact))
    one_save = time.perf_counter() - started
    read: set[int] = set()
    left = 0
    for _ in range(n_kills):
        writer = os.fork()
        if writer == 0:
            while True:
                store.promote(store.publish(artifact))
        time.sleep(rng.uniform(0, 2 * one_save))
        os.kill(writer, signal.SIGKILL)
        os.waitpid(writer, 0)
        left += len(list(folder.glob(".tmp-*")))
        for number in {*store.versions(), store.current() or 0} - read:
            store.read(number)
            read.add(number)
    store.publish(artifact)
    return {"versions": len(read), "left": left, "after": len(list(folder.glob(".tmp-*")))}


if __name__ == "__main__":
    print(json.dumps(kill_writers(Path(sys.argv[1]), int(sys.argv[2]))))
