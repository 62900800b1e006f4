"""What an examination of bars has found, as tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from backtester_model_cli.console import new_table

if TYPE_CHECKING:
    from rich.table import Table

    from backtester_model_core.bars import BarsNote
    from backtester_model_core.exceptions import BarsFault

FAULT_FIELDS = ("code", "column", "symbol", "count", "first", "value", "hint")
NOTE_FIELDS = ("code", "column", "symbol", "count", "first", "message")


def faults_table(faults: Sequence[BarsFault]) -> Table:
    """Show every fault of refused bars: what, where, how often, and what to do."""
    return _table(f"{len(faults)} fault{'' if len(faults) == 1 else 's'}", FAULT_FIELDS, faults)


def notes_table(notes: Sequence[BarsNote]) -> Table:
    """Show what was normalised in bars, and what looks suspicious."""
    return _table("About the bars", NOTE_FIELDS, notes)


def _table(title: str, fields: Sequence[str], found: Sequence[BarsFault] | Sequence[BarsNote]) -> Table:
    table = new_table(title, fields, text=[name for name in fields if name != "count"])
    for values in map(asdict, found):
        table.add_row(*("" if values[name] is None else str(values[name]) for name in fields))
    return table
