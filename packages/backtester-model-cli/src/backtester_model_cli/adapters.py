"""``backtester-model adapters``: which adapters and extensions are here, and what keeps one from being used."""

from __future__ import annotations

from dataclasses import asdict

from backtester_model_cli.console import new_table, results_console, write_json
from backtester_model_cli.exits import one_message
from backtester_model_cli.options import DebugOption, JsonOption

STATE_STYLES = {"broken": "bold red", "blocked": "yellow"}


def adapters(as_json: JsonOption = False, debug: DebugOption = False) -> None:
    """List every installed adapter and extension, from package metadata: no framework is imported.

    An adapter that is "available" is imported when a configuration first names it; until then nobody knows whether
    it loads.
    """
    with one_message(debug=debug):
        from backtester_model_core.plugins import FIRST_PARTY, plugins

        listing = plugins().listing()
        usable = plugins().frameworks()
        to_install = (
            {} if usable else {name: f"pip install {package}" for name, package in FIRST_PARTY.items()}
        )
        if as_json:
            write_json({"plugins": [asdict(info) for info in listing], "to_install": to_install})
            return
        console = results_console()
        text = ["name", "kind", "distribution", "version", "state", "reason"]
        table = new_table("Adapters and extensions", text, text=text)
        for info in listing:
            row = (info.name, info.kind, info.distribution, info.version, info.state, info.reason)
            table.add_row(*row, style=STATE_STYLES.get(info.state))
        if listing:
            console.print(table)
        if not usable:
            console.print("No adapter can be used, so no model can be trained. Install one:")
            for framework, command in to_install.items():
                console.print(f"  {framework:<12}{command}")
