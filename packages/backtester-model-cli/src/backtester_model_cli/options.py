"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ConfigArgument = Annotated[
    Path, typer.Argument(metavar="CONFIG", help="Configuration: .toml, .json or .yaml.")
]

BarsOption = Annotated[
    Path | None,
    typer.Option(
        help="Bars: a .csv or .parquet file, or a folder of them; by default those of the configuration."
    ),
]

SampleOption = Annotated[
    bool,
    typer.Option("--sample", help="Use the shipped bars: real daily bars of AAPL, FB, GOOG, IBM and MSFT."),
]

SymbolOption = Annotated[str | None, typer.Option(help="The one symbol to use, of several.")]


def _check_jobs(n_jobs: int) -> int:
    """Refuse what joblib has no meaning for."""
    if n_jobs == 0:
        raise typer.BadParameter("0 windows at a time are none. Give 1 or more, or -1 for one a core.")
    return n_jobs


JobsOption = Annotated[
    int,
    typer.Option(callback=_check_jobs, help="Windows trained at a time, each in a process; -1: one a core."),
]

JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON to stdout, and nothing else there.")]

DebugOption = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
