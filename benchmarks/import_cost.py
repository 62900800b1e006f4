"""Time ``import backtester_model_core`` against ``import pandas``, and count what the core alone installs.

``python benchmarks/import_cost.py`` starts a fresh interpreter for each import, the two in turn, and prints the median
processor seconds and the median of the ratios. The core needs pandas, so a ratio of one is the least there can be.
Both are imported from compiled bytecode, as pip installs them; the first, uncounted run writes it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from importlib.metadata import distribution

from packaging.requirements import Requirement

CLOCK = "import time; started = time.process_time(); import {}; print(time.process_time() - started)"


def import_seconds(module: str) -> float:
    """Return how long a fresh interpreter takes to import a module."""
    command = [sys.executable, "-c", CLOCK.format(module)]
    compiled = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=compiled)
    return float(done.stdout)


def required(name: str, seen: set[str]) -> set[str]:
    """Return the distributions that a distribution needs without extras, itself included."""
    if name not in seen:
        seen.add(name)
        for text in distribution(name).requires or []:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                required(requirement.name.lower(), seen)
    return seen


def main() -> None:
    """Print both figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--runs", type=int, default=11, help="counted runs of each import, after one that is not"
    )
    runs = parser.parse_args().runs
    pairs = [(import_seconds("backtester_model_core"), import_seconds("pandas")) for _ in range(runs + 1)][1:]
    core, pandas = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(ours / theirs for ours, theirs in pairs)
    print(f"import backtester_model_core {core:.3f} s, import pandas {pandas:.3f} s, ratio {ratio:.2f}")
    names = sorted(required("backtester-model-core", set()))
    print(f"{len(names)} distributions: {', '.join(names)}")


if __name__ == "__main__":
    main()
