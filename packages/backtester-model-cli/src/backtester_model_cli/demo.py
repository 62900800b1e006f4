"""``backtester-model demo``: the main job on the bars and the configuration that come with this package."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated

import typer

from backtester_model_cli.console import results_console
from backtester_model_cli.exits import one_message
from backtester_model_cli.options import DebugOption, JobsOption
from backtester_model_cli.run import walk_and_report

ABOUT = (
    "Five symbols' daily bars from 2000 to 2013, and one logistic regression for all of them. "
    'Its gate.mode is "warn", so that you see signals although no skill may be shown: the default, "block", keeps a '
    "model from trading until it has shown some. "
    "And the symbols were picked knowing how they fared: what is earned on them is no evidence."
)


def demo(
    out: Annotated[Path, typer.Option(help="Run folder.")] = Path("backtester-model-demo"),
    n_jobs: JobsOption = 1,
    debug: DebugOption = False,
) -> None:
    """Walk forward on shipped sample bars with a scikit-learn model, in less than a minute."""
    with one_message(debug=debug, out=out), as_file(files("backtester_model_cli") / "demo.toml") as config:
        from backtester_model_cli.sample_data import sample_bars
        from backtester_model_core.factory import load_config

        settings = load_config(config)
        console = results_console()
        console.print(ABOUT)
        console.print(f"The configuration, to copy and change: {config}\n", soft_wrap=True)
        walk_and_report(settings, sample_bars(), out=out, n_jobs=n_jobs, as_json=False, quiet=False)
