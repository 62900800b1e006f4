"""What is done to some rows at a time: by steps and NumPy functions as they are, or by a program of compiled loops."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Protocol, TypeAlias

import numpy as np

from backtester_model_core.compiled import Address
from backtester_model_core.exceptions import ExpressionError
from backtester_model_core.features.definition import Operator
from backtester_model_core.features.kernels import load_loops
from backtester_model_core.typing import FloatArray, IntArray

Given: TypeAlias = "FloatArray | IntArray | float"
"""What belongs to a call: an array, whose address the call knows; a whole number; or a share."""


class Piece(Protocol):
    """A part of the work."""

    def run(self, first: int, end: int) -> None:
        """Do it for the rows from the first to before the end; these follow what was done before."""


@dataclass(frozen=True)
class TakeColumn:
    """Take values of a column.

    Attributes:
        places: (n,) where the column has each row's value.
    """

    column: FloatArray
    places: IntArray
    out: FloatArray

    def run(self, first: int, end: int) -> None:
        """Take these rows' values."""
        # mode "raise" would copy
        np.take(self.column, self.places[first:end], out=self.out[: end - first], mode="clip")


@dataclass(frozen=True)
class CallUfunc:
    """Hand whole registers to a NumPy function."""

    ufunc: np.ufunc
    inputs: Sequence[FloatArray]
    out: FloatArray

    def run(self, first: int, end: int) -> None:
        """Compute these rows."""
        n = end - first
        self.ufunc(*(values[:n] for values in self.inputs), out=self.out[:n])


@dataclass(frozen=True)
class CallStep:
    """Hand rows to a step, one after another.

    Attributes:
        symbols: (n,) the number of each row's symbol.
        states: A state for each symbol; ``None`` when there is none to keep.
    """

    operator: Operator
    parameters: tuple[float, ...]
    inputs: Sequence[FloatArray]
    out: FloatArray
    symbols: IntArray
    states: list[list[float]] | None

    def run(self, first: int, end: int) -> None:
        """Compute these rows."""
        n, states = end - first, self.states
        before = () if states is None else (map(states.__getitem__, self.symbols[first:end].tolist()),)
        # a step is twice as quick on Python's floats as on NumPy's
        rows = [values[:n].tolist() for values in self.inputs]
        outputs = map(self.operator.step, *before, *rows, *map(repeat, self.parameters))
        self.out[:n] = np.fromiter(outputs, dtype=np.float64, count=n)


@dataclass(frozen=True)
class WriteRows:
    """Write registers into columns of rows, with NaN for what is infinite.

    Attributes:
        rows: (n,) which row of the features each is.
    """

    values: Sequence[FloatArray]
    rows: IntArray
    features: FloatArray

    def run(self, first: int, end: int) -> None:
        """Write these rows."""
        block = np.array([values[: end - first] for values in self.values])
        block[~np.isfinite(block)] = np.nan
        self.features[self.rows[first:end]] = block.T


class Program:
    """Calls of compiled loops, one after another, on arrays that stay where they are.

    Args:
        n_at_once: Rows that go through all calls before the next ones do.
    """

    def __init__(self, n_at_once: int) -> None:
        self._n_at_once = n_at_once
        self._calls: list[IntArray] = []
        self._names: list[str] = []
        self._arrays: list[FloatArray | IntArray] = []  # which the calls know by their addresses only
        self._addresses: dict[int, Address] = {}
        self._drive = load_loops().drive

    def add(self, name: str, loop: Address, given: Iterable[Given]) -> None:
        """Add a call.

        Args:
            name: What an error calls it.
            loop: The compiled loop.
            given: What belongs to the call.
        """
        call = [loop]
        for one in given:
            if isinstance(one, np.ndarray):
                call.append(self._address(one))
            else:
                call.append(one if isinstance(one, int) else int(np.float64(one).view(np.int64)))
        self._calls.append(np.array(call, dtype=np.int64))
        self._names.append(name)

    def run(self, first: int, end: int) -> None:
        """Compute these rows.

        Raises:
            ExpressionError: When a step ended in an error.
        """
        calls = np.array([call.ctypes.data for call in self._calls], dtype=np.int64)
        failed = self._drive(calls.ctypes.data, len(calls), first, end, self._n_at_once)
        if failed >= 0:
            raise ExpressionError(
                f"The step {self._names[failed]!r} ended in an error. No step may; engine 'python' shows which it was."
            )

    def _address(self, array: FloatArray | IntArray) -> Address:
        """Return an array's address, having kept the array.

        Raises:
            ExpressionError: When its numbers do not lie one after another, eight bytes each: loops go by that.
        """
        if not (array.flags.c_contiguous and array.itemsize == 8):
            raise ExpressionError(
                f"Compiled loops need contiguous numbers of eight bytes; these are {array.dtype}, {array.strides} "
                "bytes apart. Panel.of lays bars out so."
            )
        if id(array) not in self._addresses:
            self._arrays.append(array)
            self._addresses[id(array)] = array.ctypes.data
        return self._addresses[id(array)]


class Work:
    """Pieces in the order in which they were added; loops that follow each other are one program.

    Args:
        n_at_once: Rows that go through all pieces before the next ones do.
    """

    def __init__(self, n_at_once: int) -> None:
        self._n_at_once = n_at_once
        self._pieces: list[Piece] = []

    def add(self, piece: Piece) -> None:
        """Add a piece."""
        self._pieces.append(piece)

    def add_loop(self, name: str, loop: Address, given: Iterable[Given]) -> None:
        """Add a call of a compiled loop; see ``Program.add``."""
        last = self._pieces[-1] if self._pieces else None
        if not isinstance(last, Program):
            last = Program(self._n_at_once)
            self._pieces.append(last)
        last.add(name, loop, given)

    def run(self, n_rows: int) -> None:
        """Do all of it."""
        alone = len(self._pieces) == 1  # a program takes some rows at a time by itself
        n_at_once = max(n_rows, 1) if alone else self._n_at_once
        with np.errstate(all="ignore"):
            for first in range(0, n_rows, n_at_once):
                for piece in self._pieces:
                    piece.run(first, min(first + n_at_once, n_rows))
