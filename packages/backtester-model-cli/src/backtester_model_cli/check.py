"""``backtester-model check``: whether something looks ahead, and where, or why nobody can tell."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backtester_model_cli.check_targets import verdict_on
from backtester_model_cli.console import new_table, results_console, write_json
from backtester_model_cli.exits import ExitCode, one_message
from backtester_model_cli.options import DebugOption, JsonOption, SymbolOption
from backtester_model_cli.progress import window_progress

if TYPE_CHECKING:
    from backtester_model_core.testing import Leak, LookAheadVerdict

MAX_COLUMNS = 10
STYLES = {"leaks": "bold red", "cannot tell": "yellow"}


def check(
    target: Annotated[
        str,
        typer.Argument(
            help="A configuration (.toml, .json, .yaml), an installed adapter or extension, a feature set, or a "
            "function of yours from bars to columns as FILE.py:FUNCTION."
        ),
    ],
    bars: Annotated[
        Path | None,
        typer.Option(help="Bars: a .csv or .parquet file, or a folder of them; by default the shipped ones."),
    ] = None,
    symbol: SymbolOption = None,
    panel: Annotated[
        bool, typer.Option("--panel", help="Hand a function the bars of all symbols at once.")
    ] = False,
    as_json: JsonOption = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no table.")] = False,
    debug: DebugOption = False,
) -> None:
    """Look for look-ahead with every check that applies: clean, leaks here, or cannot tell, because.

    Bars are cut, rewritten and streamed, folds and fits are watched, and each
    check first has to find a leak that is planted for it. A function is run
    from its file: check only what you would run. Exit code 5 says that
    something leaks, 6 that nobody can tell.
    """
    with one_message(debug=debug):
        with window_progress(quiet=quiet, of="check") as progress:
            verdict = verdict_on(target, bars=bars, symbol=symbol, panel=panel, progress=progress)
        if as_json:
            write_json(_facts(verdict))
        else:
            if not quiet:
                _show_findings(verdict)
            results_console().print(verdict.sentence, style="bold", soft_wrap=True)
    code = {"leaks": ExitCode.LOOKS_AHEAD, "cannot tell": ExitCode.CANNOT_TELL}.get(verdict.outcome)
    if code is not None:
        raise typer.Exit(code)


def _show_findings(verdict: LookAheadVerdict) -> None:
    """Print what each check asked and said, and then where it found something, or why it cannot tell."""
    has_parts = any(finding.of for finding in verdict.findings)
    text = ["", *(["of"] if has_parts else []), "question", "answer"]
    table = new_table(f"Does {verdict.target} look ahead?", [*text, "seconds"], text=text)
    said = []
    for finding in verdict.findings:
        part = [finding.of] if has_parts else []
        answer = finding.outcome.value + (", with a warning" if finding.has_warning else "")
        cells = (finding.number, *part, finding.question, answer, f"{finding.seconds:.1f}")
        table.add_row(*cells, style=STYLES.get(finding.outcome.value))
        said += [
            f"{finding.number}  {text}"
            for text in (*finding.first_leaks[:MAX_COLUMNS], finding.reason)
            if text
        ]
        n_more = len(finding.first_leaks) - MAX_COLUMNS
        said += [f"{finding.number}  ... and {n_more} more columns"] if n_more > 0 else []
    said += [f"{column!r} looks {ahead}." for column, ahead in verdict.ahead]
    console = results_console()
    console.print(table, "")
    for line in said:
        console.print(line, soft_wrap=True)
    if said:
        console.print("")


def _facts(verdict: LookAheadVerdict) -> dict[str, Any]:
    return {
        "target": verdict.target,
        "outcome": verdict.outcome.value,
        "sentence": verdict.sentence,
        "ahead": dict(verdict.ahead),
        "findings": [
            {
                "check": finding.number,
                "of": finding.of,
                "question": finding.question,
                "outcome": finding.outcome.value,
                "reason": finding.reason,
                "leaks": [_plain(leak) for leak in finding.first_leaks],
                "seconds": finding.seconds,
            }
            for finding in verdict.findings
        ],
    }


def _plain(leak: Leak) -> dict[str, Any]:
    row, cut = (None if value is None else str(value) for value in (leak.row, leak.cut))
    return {**asdict(leak), "row": row, "cut": cut}
