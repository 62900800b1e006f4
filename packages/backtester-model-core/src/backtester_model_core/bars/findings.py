"""What an examination of bars has found so far, and where each row stands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import tzinfo
from typing import Any

import numpy as np
import pandas as pd

from backtester_model_core.exceptions import BarsFault
from backtester_model_core.typing import BoolArray, IntArray

NO_TIME = np.iinfo(np.int64).min
"""The nanoseconds of NaT."""

MAX_VALUE_CHARACTERS = 40


@dataclass(frozen=True)
class BarsNote:
    """One thing about bars that was accepted: a lossless normalisation, or something suspicious left as it is.

    Attributes:
        code: A stable name of the kind of note, such as ``renamed`` or ``spike``.
        message: What was done, or what looks odd.
        column: The column concerned, or ``None`` when the whole frame or its index is.
        symbol: The symbol concerned, or ``None`` for a plain frame or when it concerns several.
        count: The number of rows, columns or events.
        first: The first timestamp concerned, as text; ``None`` where there is none.
    """

    code: str
    message: str
    column: str | None = None
    symbol: str | None = None
    count: int = 1
    first: str | None = None

    def __str__(self) -> str:
        where = " ".join(part for part in (self.symbol, self.column) if part)
        first = f", first at {self.first}" if self.first else ""
        return f"{where + ': ' if where else ''}{self.message} ({self.count} x{first})"


@dataclass(frozen=True)
class Spot:
    """The rows of one symbol that a mask has picked: how many, and which is first."""

    symbol: str | None
    count: int
    first: str
    row: int


@dataclass(frozen=True)
class Rows:
    """The timestamp and the symbol of each row.

    Attributes:
        nanos: (n,) UTC nanoseconds, ``NO_TIME`` for NaT; what the clock shows when ``tz`` is ``None``.
        tz: The time zone in which stamps are shown.
        codes: (n,) position of each row's symbol in ``symbols``, -1 for none; ``None`` for a plain frame.
        symbols: Sorted symbol names.
        readable: Whether the timestamps could be read; ``nanos`` means nothing otherwise.
    """

    nanos: IntArray
    tz: tzinfo | None = None
    codes: IntArray | None = None
    symbols: tuple[str, ...] = ()
    readable: bool = True

    @property
    def n(self) -> int:
        """Number of rows."""
        return len(self.nanos)

    def take(self, order: IntArray | BoolArray) -> Rows:
        """Return the rows at these positions, or of this mask."""
        codes = None if self.codes is None else self.codes[order]
        return replace(self, nanos=self.nanos[order], codes=codes)

    def text(self, row: int) -> str:
        """Show the timestamp of one row; its number where there is no timestamp."""
        if not self.readable or self.nanos[row] == NO_TIME:
            return f"row {row}"
        stamp = pd.Timestamp(int(self.nanos[row]), tz="UTC").tz_convert(self.tz)
        return stamp.date().isoformat() if stamp == stamp.normalize() else stamp.isoformat(sep=" ")

    def spots(self, mask: BoolArray) -> Iterator[Spot]:
        """Yield, for each symbol of which the mask picks rows, their count and the first of them."""
        rows = np.flatnonzero(mask)
        if len(rows) == 0:
            return
        if self.codes is None:
            yield Spot(None, len(rows), self.text(int(rows[0])), int(rows[0]))
            return
        found, firsts, counts = np.unique(self.codes[rows], return_index=True, return_counts=True)
        for code, first, count in zip(found, firsts, counts, strict=True):
            symbol = self.symbols[code] if code >= 0 else None
            yield Spot(symbol, int(count), self.text(int(rows[first])), int(rows[first]))


class Findings:
    """The faults that refuse the bars and the notes that do not, in the order in which they were found."""

    def __init__(self) -> None:
        self.faults: list[BarsFault] = []
        self._notes: dict[tuple[str, str | None, str | None], BarsNote] = {}

    @property
    def notes(self) -> tuple[BarsNote, ...]:
        """All notes, one for each code, column and symbol."""
        return tuple(self._notes.values())

    def refuse(
        self,
        code: str,
        hint: str,
        *,
        column: str | None = None,
        symbol: str | None = None,
        count: int = 1,
        first: str | None = None,
        value: object = None,
    ) -> None:
        """Add a fault."""
        shown = None if value is None else _shorten(value)
        self.faults.append(BarsFault(code, column, symbol, count, first, shown, hint))

    def refuse_rows(
        self,
        code: str,
        hint: str,
        mask: BoolArray,
        rows: Rows,
        *,
        column: str | None = None,
        values: Any = None,
    ) -> None:
        """Add a fault for each symbol of which the mask picks rows."""
        for spot in rows.spots(mask):
            value = None if values is None else values[spot.row]
            self.refuse(
                code,
                hint,
                column=column,
                symbol=spot.symbol,
                count=spot.count,
                first=spot.first,
                value=value,
            )

    def record(self, note: BarsNote) -> None:
        """Add a note; one of the same code, column and symbol is counted on."""
        key = (note.code, note.column, note.symbol)
        before = self._notes.get(key)
        if before is not None:
            note = replace(before, count=before.count + note.count)
        self._notes[key] = note

    def record_rows(
        self, code: str, message: str, mask: BoolArray, rows: Rows, *, column: str | None = None
    ) -> None:
        """Add a note for each symbol of which the mask picks rows."""
        for spot in rows.spots(mask):
            self.record(BarsNote(code, message, column, spot.symbol, spot.count, spot.first))

    def recall(self, earlier: Iterable[BarsNote]) -> None:
        """Put an earlier examination's notes before those of this one."""
        self._notes = {(note.code, note.column, note.symbol): note for note in earlier} | self._notes

    def include(self, others: Findings, *, symbol: str) -> None:
        """Add what an examination of one symbol's part has found."""
        self.faults += [replace(fault, symbol=fault.symbol or symbol) for fault in others.faults]
        for note in others.notes:
            self.record(note)


def _shorten(value: object) -> str:
    """Show a value as text of bounded length."""
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= MAX_VALUE_CHARACTERS else text[: MAX_VALUE_CHARACTERS - 3] + "..."
