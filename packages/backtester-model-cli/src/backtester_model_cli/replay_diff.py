"""``backtester-model replay-diff``: whether what was backtested is what would run live."""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backtester_model_cli.console import new_table, results_console, write_json
from backtester_model_cli.exits import ExitCode, one_message
from backtester_model_cli.options import BarsOption, DebugOption, JsonOption, SymbolOption
from backtester_model_cli.progress import window_progress

if TYPE_CHECKING:
    from backtester_model_core.replay import Difference, ReplayReport


def replay_diff(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="Folder of a finished run, as run --out names it.")
    ],
    bars: BarsOption = None,
    symbol: SymbolOption = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="Ask the models themselves, not their compiled steps.")
    ] = False,
    as_json: JsonOption = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no table.")] = False,
    debug: DebugOption = False,
) -> None:
    """Replay a finished run one bar at a time through a live stream, and compare.

    Features must agree in every bit, forecasts to 1e-9 (1e-6 where a model
    has a compiled step), and signals wherever the score does not lie that
    close to a threshold. Exit code 4 says that something differs, and the
    first bar, feature and value that do are named: a bug, or bars that were
    edited since. The bars are those that the run keeps, or those of --bars.
    """
    with one_message(debug=debug):
        from backtester_model_core.config import DataConfig
        from backtester_model_core.replay import replay_diff as compare
        from backtester_model_core.sources import DataRetrieval

        given = None
        if bars is not None:
            symbols = None if symbol is None else (symbol,)
            given = DataRetrieval(DataConfig(path=str(bars), symbols=symbols)).get_data()
        with window_progress(quiet=quiet) as progress:
            report = compare(run, given, fast=not plain, progress=progress)
        if as_json:
            write_json(_facts(report))
        else:
            if not quiet and report.first:
                _show_differences(report)
            results_console().print(report.sentence, style="bold", soft_wrap=True)
    if not report.is_equal:
        raise typer.Exit(ExitCode.DIFFERS)


def _show_differences(report: ReplayReport) -> None:
    """Print how much differs of each kind, and where first."""
    text = ["kind", "first at", "symbol", "what", "backtest", "stream"]
    table = new_table("What differs", ["kind", "count", *text[1:]], text=text)
    for kind, difference in report.first.items():
        cells = [difference.symbol, difference.what, difference.batch, difference.stream]
        table.add_row(kind, f"{report.counts[kind]:,}", str(difference.at), *map(str, cells))
    results_console().print(table, "")


def _facts(report: ReplayReport) -> dict[str, Any]:
    return {
        "equal": report.is_equal,
        "n_bars": report.n_bars,
        "n_served": report.n_served,
        "n_signals": report.n_signals,
        "n_not_compared": report.n_not_compared,
        "tolerance": report.tolerance,
        "worst_forecast": report.worst_forecast if isfinite(report.worst_forecast) else None,
        "counts": report.counts,
        "first": {kind: _plain(difference) for kind, difference in report.first.items()},
        "at_threshold": [_plain(difference) for difference in report.at_threshold],
        "n_at_threshold": report.n_at_threshold,
    }


def _plain(difference: Difference) -> dict[str, str]:
    values = (difference.at, difference.symbol, difference.what, difference.batch, difference.stream)
    return dict(zip(("at", "symbol", "what", "backtest", "stream"), map(str, values), strict=True))
