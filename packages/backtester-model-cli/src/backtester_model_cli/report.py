"""What a finished walk-forward says on stdout: tables, one sentence, or JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backtester_model_cli.bars_tables import notes_table
from backtester_model_cli.console import results_console, write_json
from backtester_model_cli.result_tables import (
    calibration_table,
    events_table,
    funnel_sentence,
    funnel_table,
    metrics_table,
    returns_table,
    signals_table,
    verdicts_table,
    windows_table,
)

if TYPE_CHECKING:
    from backtester_model_core.bars import BarsNote
    from backtester_model_core.walkforward import WalkForwardResult


WALL_CLOCK = ("prepare", "first_pass", "second_pass", "judge")
"""The stages that follow each other; ``train`` and ``predict`` are sums over windows within the first pass."""


def show_result(result: WalkForwardResult, *, notes: Sequence[BarsNote], out: Path) -> None:
    """Print the tables of a result, the verdict first and last, and where its files are.

    Args:
        result: What the walk-forward found.
        notes: What was normalised in its bars, or looks suspicious.
        out: Its run folder.
    """
    console = results_console()
    console.print(f"{result.verdict.sentence}\n", style="bold", soft_wrap=True)
    if (verdicts := verdicts_table(result)) is not None:
        console.print(verdicts, "")
    tables = [windows_table(result), metrics_table(result), calibration_table(result), signals_table(result)]
    for table in [*tables, returns_table(result), funnel_table(result)]:
        console.print(table, "")
    if (sentence := funnel_sentence(result)) is not None:
        console.print(f"{sentence}\n", soft_wrap=True)
    if (events := events_table(result)) is not None:
        console.print(events, "")
    if notes:
        console.print(notes_table(notes), "")
    seconds = sum(result.timings[stage] for stage in WALL_CLOCK)
    console.print(f"{len(result.windows)} windows in {seconds:.1f} s, written to {out}:")
    console.print(", ".join(result_files(out)))
    console.print(f"\n{result.verdict.sentence}", style="bold", soft_wrap=True)


def show_verdict(result: WalkForwardResult, *, out: Path) -> None:
    """Print the verdict and where the files are, and nothing more."""
    console = results_console()
    console.print(result.verdict.sentence, soft_wrap=True)
    console.print(f"Written to {out}", soft_wrap=True)


def write_result_json(*, out: Path) -> None:
    """Write what ``metrics.json`` holds, and the path of each result file, to stdout."""
    summary: dict[str, Any] = json.loads((out / "metrics.json").read_bytes())
    write_json({**summary, "files": result_files(out)})


def result_files(out: Path) -> dict[str, str]:
    """Return the path of each file in a run folder by its name."""
    return {path.name: str(path) for path in sorted(out.iterdir()) if path.is_file()}
