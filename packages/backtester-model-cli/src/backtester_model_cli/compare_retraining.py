"""``backtester-model compare-retraining``: what each way of retraining would have cost and earned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from backtester_model_cli.bars_input import load_with_bars
from backtester_model_cli.console import results_console, write_json
from backtester_model_cli.exits import one_message
from backtester_model_cli.options import (
    BarsOption,
    ConfigArgument,
    DebugOption,
    JsonOption,
    SampleOption,
    SymbolOption,
)
from backtester_model_cli.progress import window_progress
from backtester_model_cli.result_tables import comparison_table


def compare_retraining(
    config: ConfigArgument,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder: the table is written here as comparison.csv, and each policy's run in a folder of its "
            "own, so that the same command resumes a comparison that was killed."
        ),
    ] = None,
    bars: BarsOption = None,
    sample: SampleOption = False,
    symbol: SymbolOption = None,
    n_jobs: Annotated[
        int, typer.Option(help="Policies walked at a time, each in a process; -1: one a core.")
    ] = 1,
    as_json: JsonOption = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    debug: DebugOption = False,
) -> None:
    """Walk forward under several retraining policies, and show side by side what each cost and earned.

    Never, schedule, drift and skill, and the configuration's own where it is another. Trainings are decided at the
    bar at which they would have been, on outcomes then known, and serve once retrain_delay is over.
    """
    with one_message(debug=debug, out=out):
        from backtester_model_core.runs import encode_json
        from backtester_model_core.sources import DataRetrieval
        from backtester_model_core.walkforward import compare_retraining as compare

        settings = load_with_bars(config, bars=bars, symbol=symbol, sample=sample)
        data = DataRetrieval(settings.data_config).get_data()
        with window_progress(quiet=quiet, of="policy") as progress:
            table = compare(settings, data, out=out, n_jobs=n_jobs, progress=progress)
        if as_json:
            write_json(json.loads(encode_json(table.reset_index().to_dict(orient="records"))))
            return
        console = results_console()
        console.print(comparison_table(settings.model_name, table))
        if out is not None:
            console.print(f"\nWritten to {out}", soft_wrap=True)
