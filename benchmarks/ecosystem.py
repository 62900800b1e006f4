"""Print what third parties can and cannot do here, as one table.

The contract's checks of each installed adapter, planted leaks and their clean twins, plugins that do what they must
not, and configurations that try to do anything at all. Each adapter, plugin and set of configurations is tried in a
process of its own. Run with::

    python benchmarks/ecosystem.py --cases 10000
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from hostile_configurations import STRINGS, run_watched
from hostile_plugins import ADAPTERS, EXTENSIONS, faults_of, make_environment, try_adapters, try_extensions
from look_ahead import table as look_ahead_table
from look_ahead_cases import PAIRS

from backtester_model_core import testing
from backtester_model_core.plugins import plugins

EPOCHS = {"training_config": {"epochs": 5, "batch_size": 50, "learning_rate": 0.05}}
DECLARED = {
    "pytorch": {"random": True, "classification": EPOCHS, "regression": EPOCHS},
    "tensorflow": {"random": True, "classification": EPOCHS, "regression": EPOCHS},
}
"""What an adapter declares to its contract, where the defaults do not say it."""

ELSEWHERE = {"isolated"}
"""Adapters whose contract needs another environment; their own tests keep it."""

CHECKED = """
import json, sys
from backtester_model_core.testing import check_adapter
report = check_adapter(sys.argv[1], **json.loads(sys.argv[2]))
print(json.dumps([report.counts, [each.name for each in report.results if each.outcome == "failed"]]))
"""

Row = tuple[str, int, str]


def contract_rows() -> list[Row]:
    """Run the adapter contract for each installed adapter."""
    if not hasattr(testing, "check_adapter"):
        return [("contract checks", 0, "this core has no check_adapter")]
    rows: list[Row] = []
    for framework in sorted({*plugins().frameworks()} - ELSEWHERE):
        command = [sys.executable, "-c", CHECKED, framework, json.dumps(DECLARED.get(framework, {}))]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=1800)
        if done.returncode:
            rows.append((f"contract checks of {framework}", 0, f"ended with {done.returncode}"))
            print(done.stderr[-2000:], file=sys.stderr)
            continue
        counts, failed = json.loads(done.stdout.splitlines()[-1])
        told = ", ".join(f"{n} {outcome}" for outcome, n in counts.items() if n)
        rows.append((f"contract checks of {framework}", sum(counts.values()), "; ".join([told, *failed])))
    return rows


def look_ahead_rows() -> list[Row]:
    """Try the checks against look-ahead on every planted leak and every clean twin."""
    _, n_found, n_accused = look_ahead_table(PAIRS)
    return [
        ("planted leaks", len(PAIRS), f"{n_found} found"),
        ("clean twins", len(PAIRS), f"{n_accused} falsely accused"),
    ]


def plugin_rows() -> list[Row]:
    """Install hostile plugins as wheels; ask for each adapter in a process of its own, for all extensions in one."""
    with tempfile.TemporaryDirectory(prefix="backtester-model-plugins-") as folder:
        environment = make_environment(Path(folder))
        faults = {
            adapter.name: faults_of(adapter, try_adapters(environment, [adapter])) for adapter in ADAPTERS
        }
        extended = try_extensions(environment)
        faults |= {extension.name: faults_of(extension, extended) for extension in EXTENSIONS}
    for name, found in faults.items():
        for fault in found:
            print(f"{name}: {fault}", file=sys.stderr)
    rows: list[Row] = []
    for kind, hostile in (("adapters", ADAPTERS), ("extensions", EXTENSIONS)):
        bad = [plugin for plugin in hostile if plugin.does != "nothing wrong"]
        n_survived = sum(not faults[plugin.name] for plugin in bad)
        rows.append((f"hostile {kind}", len(bad), f"{n_survived} survived and named"))
    return rows


def configuration_rows(n_cases: int) -> list[Row]:
    """Put each hostile text at each place of each configuration class, and try made-up files and expressions."""
    rows: list[Row] = []
    named = {
        "injections": f"{len(STRINGS)} texts at each place of each configuration class",
        "documents": f"{len(STRINGS)} texts as parts of files and as expressions",
        "fuzz": "made-up files and expressions",
    }
    for name, report in run_watched(*named, "--cases", str(n_cases), seconds=14_400).items():
        said = f"{report.accepted:,} accepted, {report.cases - report.accepted:,} refused"
        rows.append((named[name], report.cases, f"{said}, {len(report.surprises)} surprises"))
        for surprise in report.surprises:
            print(surprise, file=sys.stderr)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=int(os.environ.get("BACKTESTER_MODEL_FUZZ", "10000")))
    parser.add_argument(
        "parts", nargs="*", help="contract, look_ahead, plugins or configurations; all by default"
    )
    asked = parser.parse_args()
    parts: dict[str, Callable[[], list[Row]]] = {
        "contract": contract_rows,
        "look_ahead": look_ahead_rows,
        "plugins": plugin_rows,
        "configurations": lambda: configuration_rows(asked.cases),
    }
    print("| what | tried | outcome | seconds |\n|---|---:|---|---:|")
    for name in asked.parts or parts:
        started = time.perf_counter()
        rows = parts[name]()
        seconds = f"{time.perf_counter() - started:.0f}"
        for what, tried, outcome in rows:
            print(f"| {what} | {tried:,} | {outcome} | {seconds} |", flush=True)
            seconds = ""


if __name__ == "__main__":
    main()
