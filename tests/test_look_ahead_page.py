"""The page on look-ahead shows every check, and every planted leak beside its twin."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from look_ahead_cases import PAIRS

from backtester_model_core.testing import CHECKS

PAGE = (Path(__file__).parents[1] / "docs/look-ahead.md").read_text()


@pytest.mark.parametrize("number", CHECKS)
def test_every_check_is_listed_with_its_functions(number: str) -> None:
    functions = ", ".join(f"`{function.__name__}`" for function in CHECKS[number])

    assert f"| {number} | {functions} | " in PAGE


def test_every_planted_leak_is_shown_beside_its_twin() -> None:
    rows = re.findall(r"^\| (.+?) \| T[^|]* \| [^|]*\| (.+?) \| none \| [\d.]+ \|$", PAGE, flags=re.MULTILINE)

    assert rows == [(pair.leak, pair.twin) for pair in PAIRS]
