"""A process in which hostile configurations are used as anybody would use them, and an audit hook that sees it all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

PROGRAM = Path(__file__).with_name("watched.py")


@dataclass(frozen=True)
class Report:
    """What came of hostile configurations and expressions.

    Attributes:
        cases: How many were tried.
        accepted: How many of them were used to the end; our own errors refused the others.
        surprises: What was neither: another error, something that took too long, or what the audit hook saw.
    """

    cases: int
    accepted: int
    surprises: list[str]


def run_watched(*arguments: str, seconds: float = 600) -> dict[str, Report]:
    """Do works of the program, ``injections``, ``documents`` or ``fuzz``, and return what came of each.

    Raises:
        subprocess.SubprocessError: When the process crashed, or did not come to an end.
    """
    with tempfile.TemporaryDirectory(prefix="backtester-model-hostile-") as folder:
        done = subprocess.run(
            [sys.executable, str(PROGRAM), *arguments],
            check=False,
            capture_output=True,
            text=True,
            timeout=seconds,
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"},
        )
        left = [f"it left {path.name}" for path in Path(folder).rglob("owned*")]
    if done.returncode:
        raise subprocess.SubprocessError(f"it ended with {done.returncode}: {done.stderr[-3000:]}")
    told = json.loads(done.stdout.splitlines()[-1])
    return {
        name: Report(work["cases"], work["accepted"], [*work["surprises"], *left])
        for name, work in told.items()
    }
