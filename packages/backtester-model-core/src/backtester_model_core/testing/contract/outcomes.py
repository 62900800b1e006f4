"""What came of a contract's checks: one row for each, and the table of all."""

from __future__ import annotations

import traceback
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import pandas as pd

Outcome: TypeAlias = Literal["passed", "failed", "expected", "not applicable"]
"""``expected`` is a failure that was announced, ``not applicable`` a check that says nothing of this subject."""

MAX_MESSAGE = 300


@dataclass(frozen=True)
class CheckResult:
    """What came of one check.

    Attributes:
        name: The check's name, as ``expected_failures`` takes it.
        outcome: Whether it passed, failed, failed as expected, or does not apply.
        seconds: How long it took.
        message: What is wrong, why that is expected, or why the check does not apply; empty for one that passed.
        look_at: What to look at when it fails.
    """

    name: str
    outcome: Outcome
    seconds: float
    message: str
    look_at: str


@dataclass(frozen=True)
class ContractReport:
    """What came of all checks of a contract.

    Attributes:
        contract: The contract's name.
        subject: What was checked.
        capabilities: What the subject declares that it can do.
        results: One for each check, in the order in which they ran.
    """

    contract: str
    subject: str
    capabilities: tuple[str, ...]
    results: tuple[CheckResult, ...]

    @property
    def is_kept(self) -> bool:
        """Whether no check failed that was not expected to."""
        return all(result.outcome != "failed" for result in self.results)

    @property
    def counts(self) -> dict[Outcome, int]:
        """How many checks had each outcome."""
        found = Counter(result.outcome for result in self.results)
        return {outcome: found[outcome] for outcome in ("passed", "failed", "expected", "not applicable")}

    @property
    def seconds(self) -> float:
        """How long all checks took."""
        return sum(result.seconds for result in self.results)

    @property
    def frame(self) -> pd.DataFrame:
        """The results as a frame, one row for each check: ``outcome``, ``seconds``, ``message`` and ``look_at``."""
        columns = ["name", "outcome", "seconds", "message", "look_at"]
        rows = [[getattr(result, column) for column in columns] for result in self.results]
        return pd.DataFrame(rows, columns=columns).set_index("name")

    def __str__(self) -> str:
        counted = ", ".join(f"{count} {outcome}" for outcome, count in self.counts.items() if count)
        lines = [f"{self.subject}: {len(self.results)} checks in {self.seconds:.1f} s: {counted}"]
        for result in self.results:
            if result.outcome != "passed":
                lines.append(f"  {result.outcome:14}  {result.name}: {result.message}")
            if result.outcome == "failed":
                lines.append(f"  {'':14}  {result.look_at}")
        return "\n".join(lines)


def explained(error: BaseException) -> str:
    """Say in one line what a check found wrong: its message, or the assertion itself, and what it was looking at."""
    said = " ".join(str(error).split())
    if error.__traceback__ is None:  # the contract's own verdict, which was never raised
        return said
    frame = traceback.extract_tb(error.__traceback__)[-1]
    is_assertion = isinstance(error, AssertionError)
    said = (said or str(frame.line)) if is_assertion else f"{type(error).__name__}: {said}"
    notes = "".join(f"; {note}" for note in getattr(error, "__notes__", ()))
    where = f" ({Path(frame.filename).name}:{frame.lineno}{notes})"
    return said[: MAX_MESSAGE - len(where)] + where
