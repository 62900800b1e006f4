"""``backtester-model schema``: what a configuration of one framework may hold."""

from __future__ import annotations

from typing import Annotated

import typer

from backtester_model_cli.console import write_json
from backtester_model_cli.exits import one_message
from backtester_model_cli.options import DebugOption


def schema(
    framework: Annotated[str, typer.Argument(help="Name of an adapter, such as sklearn.")],
    debug: DebugOption = False,
) -> None:
    """Print the JSON schema of a framework's configuration: every field with its bounds and what it means."""
    with one_message(debug=debug):
        from backtester_model_core.plugins import config_class

        write_json(config_class(framework).model_json_schema())
