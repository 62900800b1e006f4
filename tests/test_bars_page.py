"""The page on bars names every code that a fault or a note can have, and no other."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
BARS = ROOT / "packages/backtester-model-core/src/backtester_model_core/bars"
CODE = re.compile(r"[a-z]+(_[a-z0-9]+)*")


def codes_in_source() -> set[str]:
    """Return every text in the room that stands where a fault's or a note's code does."""
    calls = [
        node
        for file in BARS.glob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call)
    ]
    takers = {"refuse": 0, "refuse_rows": 0, "record_rows": 0, "_refuse": 1, "BarsNote": 0, "BarsFault": 0}
    found = set()
    for call in calls:
        name = getattr(call.func, "attr", getattr(call.func, "id", ""))
        if name in takers and len(call.args) > takers[name]:
            found |= {n.value for n in ast.walk(call.args[takers[name]]) if isinstance(n, ast.Constant)}
    return found


def codes_in_page() -> set[str]:
    """Return what the first cells of the tables of codes hold between backticks."""
    rows = [
        line.split("|")[1]
        for line in (ROOT / "docs/bars.md").read_text().splitlines()
        if line.startswith("| `")
    ]
    return {code for row in rows for code in re.findall(r"`([^`]+)`", row) if CODE.fullmatch(code)}


def test_the_page_names_every_code_and_no_other() -> None:
    # chosen by a condition, so no literal stands at the call
    chosen = {"no_bars", "absent_bars"}

    assert codes_in_page() == codes_in_source() | chosen
