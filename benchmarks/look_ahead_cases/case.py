"""One thing to be checked, and the pair of a leak and its clean twin."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from backtester_model_core.testing import Leak

Checks = Mapping[str, Callable[[], list[Leak]]]
"""By a check's number, what runs it."""


@dataclass(frozen=True)
class Pair:
    """A planted leak, and a clean twin that looks as suspicious; all checks that apply are run on both.

    Attributes:
        leak: What is wrong, in a few words.
        twin: What is right about the twin.
        leak_checks: The checks that apply, on the leak.
        twin_checks: The same checks, on the twin.
    """

    leak: str
    twin: str
    leak_checks: Checks
    twin_checks: Checks
