"""What is answered: clean, leaks, or cannot tell, with a finding for each check that applies."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from backtester_model_core.exceptions import EvaluationError
from backtester_model_core.testing.leak import Leak

Progress = Callable[[int, int], None]
"""Called with the checks done and the checks in all."""


class Outcome(StrEnum):
    """What a check says, or all of them together."""

    CLEAN = "clean"
    LEAKS = "leaks"
    CANNOT_TELL = "cannot tell"


@dataclass(frozen=True)
class Check:
    """One check, pointed at one target.

    Attributes:
        number: Its number, T1 to T16.
        question: What it asks.
        run: Returns what it finds.
        control: The same check on something that leaks for certain; what finds nothing there proves nothing.
        of: Which part of the target it asks about, where that has several.
    """

    number: str
    question: str
    run: Callable[[], list[Leak]]
    control: Callable[[], list[Leak]] | None = None
    of: str = ""


@dataclass(frozen=True)
class Finding:
    """What one check said.

    Attributes:
        number: Its number.
        question: What it asked.
        outcome: What it says.
        leaks: What it found, warnings among it.
        reason: Why it cannot tell; empty otherwise.
        seconds: What it took.
        of: Which part of the target it asked about, where that has several.
    """

    number: str
    question: str
    outcome: Outcome
    leaks: tuple[Leak, ...] = ()
    reason: str = ""
    seconds: float = 0.0
    of: str = ""

    @property
    def first_leaks(self) -> list[Leak]:
        """The leak at the earliest row of each column, warnings among them."""
        first: dict[str, Leak] = {}
        for leak in self.leaks:
            known = first.get(leak.column)
            if known is None or (leak.row is not None and leak.row < known.row):
                first[leak.column] = leak
        return list(first.values())

    @property
    def has_warning(self) -> bool:
        """Whether it is clean but for what nobody can prove."""
        return self.outcome is Outcome.CLEAN and bool(self.leaks)


@dataclass(frozen=True)
class LookAheadVerdict:
    """What the checks say together: one leak is a leak, and a check that cannot tell leaves the whole open.

    Attributes:
        target: What was checked.
        findings: One for each check that applies.
        ahead: How far ahead each leaking column looks, in words, by its name; where that was measured.
    """

    target: str
    findings: tuple[Finding, ...]
    ahead: tuple[tuple[str, str], ...] = ()

    @property
    def outcome(self) -> Outcome:
        """The worst that a check said."""
        said = {finding.outcome for finding in self.findings}
        for outcome in (Outcome.LEAKS, Outcome.CANNOT_TELL):
            if outcome in said:
                return outcome
        return Outcome.CLEAN if said else Outcome.CANNOT_TELL

    @property
    def first_leaks(self) -> list[Leak]:
        """The leak at the earliest row of each column, by each check that found one, without warnings."""
        found = [leak for finding in self.findings for leak in finding.first_leaks]
        return [leak for leak in found if leak.severity == "leak"]

    @property
    def sentence(self) -> str:
        """The verdict in a sentence that names the first leak, or the first reason."""
        if self.outcome is Outcome.CLEAN:
            return f"{self.target} is clean: {len(self.findings)} checks found no look-ahead."
        if self.outcome is Outcome.LEAKS:
            first = self.first_leaks[0]
            far = dict(self.ahead).get(first.column)
            return f"{self.target} leaks, here: {first}." + (f" It looks {far}." if far else "")
        open_ones = [finding for finding in self.findings if finding.outcome is Outcome.CANNOT_TELL]
        reason = f"{open_ones[0].number}: {open_ones[0].reason}" if open_ones else "no check applies."
        return f"Nobody can tell whether {self.target} looks ahead, because {reason}"


def run_checks(checks: Iterable[Check], *, progress: Progress | None = None) -> tuple[Finding, ...]:
    """Run checks one after another, each after the control that shows that it is not blind."""
    planned = list(checks)
    findings = []
    for done, check in enumerate(planned, start=1):
        findings.append(_find(check))
        if progress is not None:
            progress(done, len(planned))
    return tuple(findings)


def _find(check: Check) -> Finding:
    """Run one check; what it cannot be asked about, and what its control misses, it cannot tell."""
    started = time.perf_counter()
    outcome, reason = Outcome.CLEAN, ""
    leaks: tuple[Leak, ...] = ()
    try:
        leaks = tuple(check.run())
        if any(leak.severity == "leak" for leak in leaks):
            outcome = Outcome.LEAKS
        elif check.control is not None and not check.control():
            outcome, reason = (
                Outcome.CANNOT_TELL,
                "a leak that was planted to try the check was not found either.",
            )
    except EvaluationError as error:
        outcome, reason = Outcome.CANNOT_TELL, str(error)
    seconds = time.perf_counter() - started
    return Finding(check.number, check.question, outcome, leaks, reason, seconds, check.of)
