"""Ask for hostile plugins in a process of their own, and say what is wrong afterwards; nothing when all is well."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hostile_plugins.cases import EXTENSIONS, Hostile
from hostile_plugins.environment import Environment

CHILD = Path(__file__).with_name("child.py")
HANG_SECONDS = 120


@dataclass(frozen=True)
class Outcome:
    """What a process that asked for hostile plugins said.

    Attributes:
        lines: What it printed.
        log: What it wrote to the error stream.
        code: How it ended.
    """

    lines: list[str]
    log: str
    code: int

    @property
    def told(self) -> dict[str, Any]:
        """What the process found, which is all that it prints."""
        (line,) = self.lines
        found: dict[str, Any] = json.loads(line)
        return found


def try_adapters(environment: Environment, adapters: Sequence[Hostile]) -> Outcome:
    """Ask for adapters, one after the other, then train a good one; no extension is let in."""
    names = [adapter.name for adapter in adapters if not adapter.is_claimant]
    disable = ",".join(extension.name for extension in EXTENSIONS)
    options = ["--in-thread"] if any(adapter.in_thread for adapter in adapters) else []
    seconds = "1" if any(adapter.waits for adapter in adapters) else "60"
    return _run(
        environment,
        [*options, *names],
        BACKTESTER_MODEL_DISABLE=disable,
        BACKTESTER_MODEL_IMPORT_SECONDS=seconds,
    )


def try_extensions(environment: Environment) -> Outcome:
    """Let every extension in, then train a good adapter."""
    return _run(environment, [], BACKTESTER_MODEL_IMPORT_SECONDS="1")


def faults_of(plugin: Hostile, outcome: Outcome) -> list[str]:
    """Say what is wrong after a plugin was asked for: of its error, of the log, of the process, of a good adapter."""
    if outcome.code != 0 or len(outcome.lines) != 1:
        return [
            f"the process ended with {outcome.code}, having printed {outcome.lines}: {outcome.log[-500:]}"
        ]
    told = outcome.told
    found = [] if told["good adapter"] == "trained" else [f"the good adapter: {told['good adapter']}"]
    if plugin.is_extension or plugin.is_claimant:
        said = told["listed"].get(f"{plugin.name} {plugin.owners[0]}", "not listed")
    else:
        said = told["adapters"].get(plugin.name, "not asked for")
        found += [f"it left {change}" for change in told["changes"].get(plugin.name, [])]
    owners = [] if plugin.is_torn else plugin.owners
    if plugin.refused and not (re.search(plugin.refused, said) and all(owner in said for owner in owners)):
        found.append(f"refused by {said!r} instead of {plugin.refused!r}")
    if not plugin.refused and said not in {"", "still hanging"}:
        found.append(f"refused: {said}")
    if not re.search(plugin.logged, outcome.log):
        found.append(f"the log does not say {plugin.logged!r}: {outcome.log[-500:]}")
    return found


def _run(environment: Environment, arguments: list[str], **variables: str) -> Outcome:
    done = subprocess.run(
        [environment.python, str(CHILD), *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
        env={**os.environ, "OMP_NUM_THREADS": "1", **variables},
    )
    return Outcome(done.stdout.splitlines(), done.stderr, done.returncode)
