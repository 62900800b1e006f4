"""``backtester-model validate``: every fault of bars, or of a configuration, before a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backtester_model_cli.bars_input import examine_file
from backtester_model_cli.bars_tables import faults_table, notes_table
from backtester_model_cli.console import new_table, results_console, write_json
from backtester_model_cli.exits import ExitCode, one_message
from backtester_model_cli.formats import NOTHING, format_stamps
from backtester_model_cli.options import DebugOption, JsonOption, SymbolOption

if TYPE_CHECKING:
    from backtester_model_core.bars import BarsReport

CONFIG_ENDINGS = {".toml", ".json", ".yaml", ".yml"}
MAX_SYMBOLS = 10


def validate(
    file: Annotated[
        Path,
        typer.Argument(
            help="Bars (.csv, .parquet, a folder of them) or a configuration (.toml, .json, .yaml)."
        ),
    ],
    symbol: SymbolOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Report every fault of bars or of a configuration at once; exit code 1 when there is one.

    Of bars it also says what was normalised and what looks suspicious; of a configuration, the value of every
    field.
    """
    with one_message(debug=debug):
        check = _validate_config if file.suffix.lower() in CONFIG_ENDINGS else _validate_bars
        if not check(file, symbol=symbol, as_json=as_json):
            raise typer.Exit(ExitCode.REFUSED)


# -- bars ------------------------------------------------------------------------------------------------------


def _validate_bars(file: Path, *, symbol: str | None, as_json: bool) -> bool:
    """Report the faults and notes of bars, and return whether they are fine."""
    report = examine_file(file, symbol=symbol)
    facts = _facts(report)
    if as_json:
        faults, notes = ([asdict(item) for item in items] for items in (report.faults, report.notes))
        write_json({"fine": report.frame is not None, **facts, "faults": faults, "notes": notes})
        return report.frame is not None
    console = results_console()
    if report.faults:
        console.print(faults_table(report.faults), "")
    if report.notes:
        console.print(notes_table(report.notes), "")
    console.print(_sentence(facts) if facts else f"{file} must be refused.", style="bold", soft_wrap=True)
    return report.frame is not None


def _facts(report: BarsReport) -> dict[str, Any]:
    """Return how many bars there are, of what, from when to when and how far apart; nothing for refused bars."""
    import pandas as pd

    from backtester_model_core.bars.panel import bar_spacing

    if report.frame is None:
        return {}
    index = report.frame.index
    stamps = index.get_level_values("timestamp")
    first, last = format_stamps([stamps.min(), stamps.max()])
    return {
        "n_bars": len(index),
        "from": first,
        "to": last,
        "symbols": list(index.unique("symbol")) if isinstance(index, pd.MultiIndex) else [],
        "spacing": str(pd.Timedelta(bar_spacing(index)).to_pytimedelta()).removesuffix(", 0:00:00"),
    }


def _sentence(facts: Mapping[str, Any]) -> str:
    symbols = facts["symbols"]
    named = ", ".join(symbols[:MAX_SYMBOLS]) + (" ..." if len(symbols) > MAX_SYMBOLS else "")
    whose = f"{len(symbols)} symbols ({named})" if symbols else "one symbol"
    return f"Fine: {facts['n_bars']:,} bars of {whose}, {facts['from']} to {facts['to']}, spacing {facts['spacing']}."


# -- a configuration -------------------------------------------------------------------------------------------


def _validate_config(file: Path, *, symbol: str | None, as_json: bool) -> bool:
    """Report what a configuration resolves to, and return whether it is fine; as text its faults are an error."""
    from backtester_model_core.exceptions import BacktesterModelError
    from backtester_model_core.factory import create_model, load_config

    if symbol is not None:
        raise typer.BadParameter("A configuration has no symbol to pick; leave --symbol out.")
    try:
        settings = load_config(file)
        create_model(settings)
    except BacktesterModelError as error:
        if not as_json:
            raise
        write_json({"fine": False, "error": str(error)})
        return False
    values = settings.model_dump(mode="json")
    if as_json:
        write_json({"fine": True, "config": values})
        return True
    console = results_console()
    given = {name for name, _ in _flatten(settings.model_dump(mode="json", exclude_unset=True))}
    table = new_table(type(settings).__name__, ["field", "value", ""], text=["field", "value", ""])
    for name, value in _flatten(values):
        table.add_row(name, NOTHING if value is None else str(value), "" if name in given else "default")
    console.print(table, "")
    console.print(f"Fine: {file}", style="bold", soft_wrap=True)
    return True


def _flatten(values: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted name, value) of every field, groups opened."""
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flatten(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", value
