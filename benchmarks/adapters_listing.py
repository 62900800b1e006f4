"""Time ``backtester-model adapters`` where fifty adapters are installed, beyond what Python and pandas take to start.

Fifty wheels are installed into an environment that sees this one's packages. A fresh interpreter lists all of them, in
turn with one that only imports pandas. Run with::

    python benchmarks/adapters_listing.py
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from hostile_plugins import EXTENSIONS, make_environment

LISTED = ["-m", "backtester_model_cli", "adapters", "--json"]


def seconds_of(command: list[str], environ: dict[str, str]) -> tuple[float, float, str]:
    """Return wall seconds, processor seconds and what was printed."""
    before, started = os.times(), time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environ)
    after, ended = os.times(), time.perf_counter()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return ended - started, used, done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=11, help="counted runs of each, after one that is not")
    runs = parser.parse_args().runs
    disable = ",".join(extension.name for extension in EXTENSIONS)
    environ = {**os.environ, "BACKTESTER_MODEL_DISABLE": disable}
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory(prefix="backtester-model-fifty-") as folder:
        python = make_environment(Path(folder)).python
        beyond: list[tuple[float, float, float]] = []
        for _ in range(runs + 1):
            listed = seconds_of([python, *LISTED], environ)
            pandas = seconds_of([python, "-c", "import pandas"], environ)
            beyond.append((listed[0] - pandas[0], listed[1] - pandas[1], pandas[1]))
        names = [info["name"] for info in json.loads(listed[2])["plugins"]]
    wall, used, start = (statistics.median(column) for column in zip(*beyond[1:], strict=True))
    n_flock = sum(name.startswith("flock_") for name in names)
    print(f"{len(names)} plugins listed, {n_flock} of them the fifty adapters")
    print(f"beyond the start of Python and pandas: {wall:.2f} s, of which {used:.2f} s of a processor")
    print(f"that start itself: {start:.2f} s of a processor")


if __name__ == "__main__":
    main()
