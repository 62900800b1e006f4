"""Generations of a model that is trained again and again, each foreseeing a stretch of sessions at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from backtester_model_core.dataset import Dataset
from backtester_model_core.model import BaseModel
from backtester_model_core.splits import Window
from backtester_model_core.typing import FloatArray, IntArray, TimeArray
from backtester_model_core.walkforward.blocks import Block, BlockKeys, Training, kept_block


@dataclass(frozen=True, eq=False)
class Sessions:
    """Rows by the session that they belong to.

    Attributes:
        known_at: (n_sessions,) distinct instants in time order.
        of_row: (n,) session of each row.
        by_session: (n,) rows, those of a session together and in their order.
        starts: (n_sessions + 1,) where the rows of each begin in ``by_session``, and where the last one's end.
    """

    known_at: TimeArray
    of_row: IntArray
    by_session: IntArray
    starts: IntArray

    @classmethod
    def of(cls, dataset: Dataset) -> Sessions:
        """Count the sessions of a dataset."""
        known_at, of_row = np.unique(dataset.known_at, return_inverse=True)
        by_session = np.argsort(of_row, kind="stable")
        starts = np.searchsorted(of_row[by_session], np.arange(len(known_at) + 1))
        return cls(known_at, of_row.astype(np.int64), by_session, starts)

    def __len__(self) -> int:
        return len(self.known_at)

    def rows(self, first: int, stop: int) -> IntArray:
        """Return the rows of the sessions from ``first`` to before ``stop``, in row order."""
        return np.sort(self.by_session[self.starts[first] : self.starts[stop]])


class Workshop:
    """Where generations are trained, and where what they foresee is kept.

    Args:
        model: An untrained model; it stays untrained.
        dataset: All rows.
        folder: A run folder, or ``None`` to keep nothing.
    """

    def __init__(self, model: BaseModel, dataset: Dataset, folder: Path | None = None) -> None:
        self.model = model
        self.dataset = dataset
        self.folder = folder
        self.keys = None if folder is None else BlockKeys(model, dataset)

    def train(
        self, train_rows: IntArray, *, is_first: bool = False, continued: Generation | None = None
    ) -> Generation:
        """Return the generation of some training rows; it is trained when it is first asked.

        Args:
            train_rows: Rows to learn from.
            is_first: Whether to measure residuals in training.
            continued: A generation whose training is to go on; by default they are learned anew.
        """
        if continued is not None and len(continued.training.train_rows) == 0:
            continued = None
        training = Training(
            self.model,
            self.dataset,
            train_rows,
            measure_residuals=is_first,
            continued=None if continued is None else continued.training,
        )
        return Generation(self, training, after="" if continued is None else continued.lineage)


@dataclass(frozen=True, eq=False)
class Generation:
    """One training, and what its model foresees.

    Attributes:
        workshop: Where it was made.
        training: The training.
        after: Lineage of the generation whose training it continues; empty where it learned anew.
    """

    workshop: Workshop
    training: Training
    after: str = ""

    def foresee(self, rows: IntArray) -> Block:
        """Foresee some rows, or take that from the run folder."""
        key = self.key_of(rows)
        return kept_block(lambda: self.training.foresee(rows), key=key, folder=self.workshop.folder)

    def key_of(self, rows: IntArray) -> str | None:
        """Return a digest of all that foreseeing these rows depends on; ``None`` where nothing is kept."""
        keys, training = self.workshop.keys, self.training
        if keys is None:
            return None
        return keys.of(training.train_rows, rows, is_first=training.measure_residuals, after=self.after)

    @property
    def lineage(self) -> str:
        """A digest of all that the training depends on, those before it included; empty where nothing is kept."""
        return self.key_of(self.training.train_rows[-1:]) or ""


@dataclass(frozen=True, eq=False)
class Reign:
    """A generation in force.

    Attributes:
        generation: The generation.
        decided: Session at whose close it was decided that it serves.
        start: First session that it serves.
        trained: Session at whose close it was fitted.
        rival: The reign before, which may be put back; ``None`` where it may not.
    """

    generation: Generation
    decided: int
    start: int
    trained: int
    rival: Reign | None = None


@dataclass(frozen=True, eq=False)
class Stretch:
    """Sessions that a reign serves before its signals' policy is set anew.

    Attributes:
        number: Position among the stretches.
        decided: Session at whose close it was decided that the reign serves it.
        trained: Session at whose close the reign's generation was fitted.
        first: First session.
        stop: Session after the last.
        train_rows: Rows that the generation learned from.
        rows: Rows of the stretch's sessions.
        block: What was foreseen on them.
    """

    number: int
    decided: int
    trained: int
    first: int
    stop: int
    train_rows: IntArray
    rows: IntArray
    block: Block

    @property
    def is_refused(self) -> bool:
        """Whether no model came of the training."""
        return not self.block.reports

    def until(self, stop: int, sessions: Sessions) -> Stretch:
        """Return what was served before a session at which another reign began."""
        if stop >= self.stop:
            return self
        kept = np.flatnonzero(sessions.of_row[self.rows] < stop)
        return replace(self, stop=stop, rows=self.rows[kept], block=_part_of(self.block, kept))

    def window(self, sessions: Sessions) -> Window:
        """Return the stretch as a window, whose training lies back where the reign only goes on."""
        times = sessions.known_at
        return Window(
            self.number,
            times[self.decided],
            times[self.first],
            times[self.stop - 1],
            self.train_rows,
            self.rows,
            None if self.decided == self.trained else times[self.trained],
        )


def _part_of(block: Block, kept: IntArray) -> Block:
    """Return some rows of a block, by their positions in it."""

    def some(values: FloatArray | None) -> FloatArray | None:
        return None if values is None else values[kept]

    return replace(
        block,
        expected=block.expected[kept],
        probability=some(block.probability),
        baseline=block.baseline[kept],
        class_share=some(block.class_share),
    )
