"""Where a command writes: results to stdout, progress and errors to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

WIDTH_OF_A_FILE = 120
"""Columns of a table that is piped or redirected, where there is no terminal to ask."""


def results_console() -> Console:
    """Return the console of stdout, which takes text as it is: no markup, no colouring of numbers."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else WIDTH_OF_A_FILE
    return Console(width=width, markup=False, highlight=False)


def new_table(title: str, columns: Sequence[str], *, text: Sequence[str] = ()) -> Table:
    """Return an empty table with a title; columns of numbers stand to the right, those of ``text`` to the left."""
    from rich import box
    from rich.table import Table

    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        collapse_padding=True,
    )
    for name in columns:
        table.add_column(name, justify="left" if name in text else "right", overflow="fold")
    return table


def write_json(value: Any) -> None:
    """Write plain data to stdout, and nothing else."""
    sys.stdout.write(json.dumps(value, indent=2, allow_nan=False) + "\n")
