"""The ``backtester-model`` command."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from backtester_model_cli.adapters import adapters
from backtester_model_cli.check import check
from backtester_model_cli.compare_retraining import compare_retraining
from backtester_model_cli.cross_validate import cross_validate
from backtester_model_cli.demo import demo
from backtester_model_cli.exits import EXIT_CODES
from backtester_model_cli.new_project import new_adapter, new_extension, new_features
from backtester_model_cli.replay_diff import replay_diff
from backtester_model_cli.run import run
from backtester_model_cli.schema import schema
from backtester_model_cli.validate import validate

app = typer.Typer(
    name="backtester-model",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # an error that is not ours is a bug, and a bug report wants the plain traceback
)
app.command(epilog=EXIT_CODES)(run)
app.command()(demo)
app.command()(adapters)
app.command()(validate)
app.command(epilog=EXIT_CODES)(check)
app.command(name="cross-validate")(cross_validate)
app.command(name="compare-retraining")(compare_retraining)
app.command(name="replay-diff", epilog=EXIT_CODES)(replay_diff)
app.command()(schema)
app.command(name="new-adapter")(new_adapter)
app.command(name="new-extension")(new_extension)
app.command(name="new-features")(new_features)


def show_version(wanted: bool) -> None:
    """Print the version and end, where it is asked for."""
    if wanted:
        typer.echo(f"backtester-model {version('backtester-model-cli')}")
        raise typer.Exit


@app.callback()
def main(
    _version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Put machine-learning models into trading backtests, and say honestly what they are worth."""
