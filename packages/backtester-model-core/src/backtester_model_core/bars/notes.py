"""The notes that a checked frame carries with it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict

import pandas as pd

from backtester_model_core.bars.findings import BarsNote
from backtester_model_core.exceptions import BarsError, BarsFault

NOTES_KEY = "backtester_model_core.bars_notes"
"""One JSON text in ``frame.attrs``: Parquet can store it, and pandas copies it for next to nothing."""


def bars_notes(frame: pd.DataFrame) -> tuple[BarsNote, ...]:
    """Return what was normalised or looked suspicious when the frame was checked.

    Raises:
        BarsError: When the frame's notes are not those that :func:`check_bars` wrote.
    """
    text = frame.attrs.get(NOTES_KEY, "[]")
    try:
        return tuple(BarsNote(**note) for note in json.loads(text))
    except (TypeError, ValueError) as error:
        hint = f"Delete frame.attrs[{NOTES_KEY!r}] and check the bars again."
        raise BarsError.of([BarsFault("unreadable_notes", None, None, 1, None, None, hint)]) from error


def attach_notes(frame: pd.DataFrame, notes: Iterable[BarsNote]) -> None:
    """Write the notes into the frame."""
    frame.attrs[NOTES_KEY] = json.dumps([asdict(note) for note in notes])
