"""``backtester-model run``: one walk-forward, from bars to a verdict."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backtester_model_cli.bars_input import load_with_bars
from backtester_model_cli.exits import ExitCode, one_message
from backtester_model_cli.options import (
    BarsOption,
    ConfigArgument,
    DebugOption,
    JobsOption,
    JsonOption,
    SampleOption,
    SymbolOption,
)
from backtester_model_cli.progress import window_progress
from backtester_model_cli.report import show_result, show_verdict, write_result_json

if TYPE_CHECKING:
    import pandas as pd

    from backtester_model_core.config import ModelConfig


def run(
    config: ConfigArgument,
    out: Annotated[
        Path,
        typer.Option(
            help="Run folder: results are written here. Each finished window is kept here too, so that the same "
            "command resumes a run that was killed."
        ),
    ],
    meta: Annotated[
        Path | None,
        typer.Option(
            help="Configuration of a second model, with a meta-label, that decides whether to act on the first one's "
            "signals. Results are then in the folders primary and meta of OUT."
        ),
    ] = None,
    bars: BarsOption = None,
    sample: SampleOption = False,
    symbol: SymbolOption = None,
    n_jobs: JobsOption = 1,
    as_json: JsonOption = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress and no tables: the verdict only.")
    ] = False,
    require_skill: Annotated[
        bool, typer.Option("--require-skill", help="End with exit code 3 when no skill was shown.")
    ] = False,
    debug: DebugOption = False,
) -> None:
    """Walk forward through bars: train, foresee, decide and judge, window after window.

    Every figure is out of sample, and returns are after costs.

    In OUT: signals.parquet and signals.csv, one signal for every bar;
    metrics.json; config.json, which repeats the run; and windows, events,
    returns and predictions as CSV.
    """
    with one_message(debug=debug, out=out):
        from backtester_model_core.config import read_config_file
        from backtester_model_core.factory import load_config
        from backtester_model_core.sources import DataRetrieval

        settings = load_with_bars(config, bars=bars, symbol=symbol, sample=sample)
        data = DataRetrieval(settings.data_config).get_data()
        second = None if meta is None else load_config(read_config_file(meta))
        skilled = walk_and_report(
            settings, data, meta=second, out=out, n_jobs=n_jobs, as_json=as_json, quiet=quiet
        )
    if require_skill and not skilled:
        raise typer.Exit(ExitCode.NO_SKILL)


def walk_and_report(
    settings: ModelConfig,
    bars: pd.DataFrame,
    *,
    meta: ModelConfig | None = None,
    out: Path,
    n_jobs: int,
    as_json: bool,
    quiet: bool,
) -> bool:
    """Walk forward, say on stdout what was found, and return whether the model, or the second one, showed skill."""
    from backtester_model_core.bars import bars_notes
    from backtester_model_core.evaluation import SkillOutcome
    from backtester_model_core.walkforward import walk_forward, walk_forward_meta

    of = "window" if settings.retraining.is_planned else "session"
    with window_progress(quiet=quiet, of=of) as progress:
        if meta is None:
            found = {out: walk_forward(settings, bars, out=out, n_jobs=n_jobs, progress=progress)}
        else:
            both = walk_forward_meta(settings, meta, bars, out=out, n_jobs=n_jobs, progress=progress)
            found = {out / "primary": both.primary, out / "meta": both.meta}
    if as_json:
        write_result_json(out=list(found)[-1])
    for folder, result in found.items():
        if quiet and not as_json:
            show_verdict(result, out=folder)
        elif not as_json:
            show_result(result, notes=bars_notes(bars), out=folder)
    return result.verdict.outcome is SkillOutcome.SKILL
